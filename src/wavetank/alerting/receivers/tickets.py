"""Receivers that keep an issue or an incident for a group: Jira, incident.io.

Mirrors notify/{jira,incidentio}. In Jira the issue of a group is the one with the label ``ALERT{hash of the
group's key}``: it is looked for, made or changed, and moved when the group is resolved or fires again.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final
from urllib.parse import urlsplit

import msgspec

from wavetank.alerting.config.services import IncidentioConfig, JiraConfig, JiraField
from wavetank.alerting.receivers.notification import Notification, NotifyError, deep_text, secret, truncate
from wavetank.alerting.receivers.paging import with_alerts_max
from wavetank.alerting.receivers.web import Send, WebRequest, json_request
from wavetank.model.quoting import quote
from wavetank.monitoring.config.values import Secret

__all__ = ["incidentio", "jira"]

_INCIDENTIO_BYTES: Final = 512 * 1024
_JIRA_SUMMARY: Final = 255
_JIRA_DESCRIPTION: Final = 32_767
_RETRY_CODES: Final = (429,)


def incidentio(config: IncidentioConfig, n: Notification) -> Sequence[WebRequest]:
    n, left_out = with_alerts_max(n, config.max_alerts)
    body = {**n.data.json(), "version": "1", "groupKey": n.key, "truncatedAlerts": left_out}
    url = config.url or secret(Secret(), config.url_file, "url_file")
    request = json_request(url, body, retry_codes=_RETRY_CODES)
    if len(request.body) > _INCIDENTIO_BYTES:
        body["alerts"] = body["alerts"][:1]
        request = json_request(url, body, retry_codes=_RETRY_CODES)
    return [request]


class _Category(msgspec.Struct, frozen=True):
    key: str = ""


class _Status(msgspec.Struct, rename="camel", frozen=True):
    status_category: _Category = _Category()


class _Fields(msgspec.Struct, frozen=True):
    status: _Status | None = None


class _Issue(msgspec.Struct, frozen=True):
    key: str = ""
    fields: _Fields = _Fields()

    @property
    def done(self) -> bool:
        return self.fields.status is not None and self.fields.status.status_category.key == "done"


class _Found(msgspec.Struct, frozen=True):
    issues: list[_Issue] = []


class _Transition(msgspec.Struct, frozen=True):
    id: str
    name: str = ""


class _Transitions(msgspec.Struct, frozen=True):
    transitions: list[_Transition] = []


async def jira(config: JiraConfig, n: Notification, send: Send) -> None:
    """One issue a group: made when it fires, changed while it does, moved when that ends or begins again."""
    issue = await _search(config, n, send)
    if issue is None:
        if n.firing:
            await send(_request("POST", f"{config.api_url}/issue", {"fields": _fields(config, n, new=True)}))
        return
    own = f"{config.api_url}/issue/{issue.key}"
    await send(_request("PUT", own, {"fields": _fields(config, n, new=False)}))
    transition = config.reopen_transition if n.firing else config.resolve_transition
    if not transition or not issue.key or issue.fields.status is None or issue.done != n.firing:
        return
    answer = await send(_request("GET", f"{own}/transitions", None))
    for known in answer.decode(_Transitions).transitions:
        if known.name == transition:
            await send(_request("POST", f"{own}/transitions", {"transition": {"id": known.id}}))
            return
    raise NotifyError(f"can't find transition {transition} for issue {issue.key}", retry=False)


def _request(method: str, url: str, body: Any) -> WebRequest:
    headers = {"Content-Type": "application/json", "Accept-Language": "en"}
    content = b"" if body is None else msgspec.json.encode(body)
    return WebRequest(url, content, method, headers, _RETRY_CODES)


async def _search(config: JiraConfig, n: Notification, send: Send) -> _Issue | None:
    query = {"jql": _jql(config, n), "maxResults": 2, "fields": ["status"]}
    url = f"{config.api_url}/search"
    on_cloud = (urlsplit(config.api_url).hostname or "").endswith("atlassian.net")
    if config.api_type == "cloud" or (config.api_type == "auto" and on_cloud):
        url = f"{url}/jql".replace("/rest/api/2/", "/rest/api/3/", 1)
    answer = await send(_request("POST", url, query))
    found = answer.decode(_Found).issues
    return found[0] if found else None


def _jql(config: JiraConfig, n: Notification) -> str:
    """The open issue of the group; or one that was closed so lately that it is opened again."""
    conditions = []
    if config.wont_fix_resolution:
        resolution = quote(config.wont_fix_resolution)
        # An issue that is open has no resolution, and != alone would leave it out.
        conditions.append(f"(resolution is EMPTY or resolution != {resolution})")
    minutes = config.reopen_duration // 60_000
    if n.firing and config.reopen_transition and minutes > 0:
        conditions.append(f"(resolutiondate is EMPTY OR resolutiondate >= -{minutes}m)")
    else:
        conditions.append("statusCategory != Done")
    conditions.append(f"project={quote(n.text(config.project))}")
    conditions.append(f"labels={quote(_label(n))}")
    return f"{' and '.join(conditions)} order by status ASC,resolutiondate DESC"


def _label(n: Notification) -> str:
    return f"ALERT{{{n.key_hash}}}"


def _fields(config: JiraConfig, n: Notification, *, new: bool) -> dict[str, Any]:
    found: dict[str, Any] = {
        "project": {"key": n.text(config.project)},
        "issuetype": {"name": n.text(config.issue_type)},
        "labels": sorted([*(n.text(label) for label in config.labels), _label(n)]),
    }
    summary, description = _field(config.summary), _field(config.description)
    if new or summary.enable_update:
        found["summary"] = truncate(n.text(summary.template), _JIRA_SUMMARY)
    if new or description.enable_update:
        text = truncate(n.text(description.template), _JIRA_DESCRIPTION)
        if made := _description(config, text):
            found["description"] = made
    if priority := n.text(config.priority):
        found["priority"] = {"name": priority}
    return {**found, **{name: deep_text(value, n) for name, value in config.fields.items()}}


def _field(value: str | JiraField) -> JiraField:
    return JiraField(template=value) if isinstance(value, str) else value


def _description(config: JiraConfig, text: str) -> Any:
    """A text; for version 3 of Jira's API, the document that the text has to be."""
    if not config.api_url.endswith("/3") or not text.strip():
        return text if not config.api_url.endswith("/3") else None
    try:
        return msgspec.json.decode(text)
    except msgspec.DecodeError:
        raise NotifyError("description template: invalid JSON for API v3", retry=False) from None
