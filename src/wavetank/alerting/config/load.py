"""Loading ``alertmanager.yml``: read, check, hand global values down, resolve file names.

A configuration that is returned can be used as it stands: every receiver's section is complete.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, TypeVar
from urllib.parse import urlsplit

import msgspec
import yaml

from wavetank.alerting.config.model import AlertmanagerConfig, GlobalConfig, NamedIntervals, RouteConfig
from wavetank.alerting.config.receivers import (
    ReceiverConfig,
    check_receiver,
    integrations,
)
from wavetank.alerting.config.routes import check_inhibit_rule, check_route
from wavetank.alerting.config.sections import complete
from wavetank.alerting.intervals import compile_interval
from wavetank.errors import InputError
from wavetank.monitoring.config.decode import decode_section
from wavetank.monitoring.config.http import check_http, http_with_paths, join_path
from wavetank.monitoring.config.show import plain
from wavetank.yamlfile import Document, load_documents, parse_documents

__all__ = ["load_config", "parse_config", "show_config"]

_LOG = logging.getLogger(__name__)
_PATTERNS: Final = ("match_re", "source_match_re", "target_match_re")
S = TypeVar("S", bound=msgspec.Struct)
_PAIRS: Final = (
    "opsgenie_api_key",
    "victorops_api_key",
    "telegram_bot_token",
    "smtp_auth_password",
    "rocketchat_token",
    "rocketchat_token_id",
    "smtp_auth_secret",
    "wechat_api_secret",
    "mattermost_webhook_url",
)


def load_config(path: Path) -> AlertmanagerConfig:
    """The configuration in a file. Raises InputError with file, line, value and fix."""
    return _build(load_documents(path), path.parent, str(path))


def parse_config(
    text: str, *, path: str = "alertmanager.yml", base: Path | None = None
) -> AlertmanagerConfig:
    """The configuration in a text; file names are taken relative to ``base``."""
    return _build(parse_documents(text, path=path), base or Path(), path)


def show_config(config: AlertmanagerConfig) -> str:
    """YAML again, secrets masked, as ``/api/v2/status`` shows it; it can be loaded again.

    Of a webhook's URL the host stays to be seen: older versions of amtool do not load a URL without one.
    """
    shown = plain(config)
    for receiver, entry in zip(config.receivers, shown.get("receivers", ()), strict=True):
        if entry["labels"] == {"name": receiver.name}:
            del entry["labels"]
        for webhook, section in zip(receiver.webhook_configs, entry.get("webhook_configs", ()), strict=True):
            if webhook.url and "{{" not in webhook.url.reveal():
                parts = urlsplit(webhook.url.reveal())
                section["url"] = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}/<secret>"
    return yaml.safe_dump(shown, sort_keys=False, default_flow_style=False, allow_unicode=True)


def _build(documents: list[Document], base: Path, path: str) -> AlertmanagerConfig:
    if not documents:
        raise InputError("no route provided in config", at=path)
    document = documents[0]
    if not isinstance(document.value, dict):
        raise document.error("a configuration is a mapping of sections")
    _no_empty_sections(document)
    _no_empty_patterns(document, document.value, ())
    config = decode_section(document, AlertmanagerConfig)
    _check_globals(document, config.globals)
    if config.event_recorder:
        raise document.error("event_recorder is not built in", "event_recorder", fix="remove the section")
    if config.tracing is not None:
        if not config.tracing.endpoint:
            raise document.error("tracing endpoint must be set", "tracing")
        _LOG.warning("%s: the section tracing has no effect: notifications are not traced here", path)
    receivers = _receivers(document, config)
    _check_routes(document, config, {receiver.name for receiver in receivers})
    _check_intervals(document, config)
    for i, rule in enumerate(config.inhibit_rules):
        _checked(document, ("inhibit_rules", i), check_inhibit_rule, rule)
    globals_ = config.globals
    if globals_.http_config is not None:
        globals_ = msgspec.structs.replace(globals_, http_config=http_with_paths(globals_.http_config, base))
    return msgspec.structs.replace(
        config,
        globals=globals_,
        receivers=[_with_paths(receiver, base) for receiver in receivers],
        templates=[join_path(base, name) for name in config.templates],
    )


def _checked(
    document: Document, where: tuple[str | int, ...], check: Callable[..., Any], *values: Any
) -> Any:
    """``check(*values)``; a ValueError becomes an InputError with the place."""
    try:
        return check(*values)
    except ValueError as error:
        raise document.error(str(error), *where) from None


def _no_empty_sections(document: Document) -> None:
    """``- `` without content in a list of receivers' sections: upstream has a text for it."""
    for i, receiver in enumerate(document.value.get("receivers") or []):
        if not isinstance(receiver, dict):
            continue
        for name, entries in receiver.items():
            if name.endswith("_configs") and isinstance(entries, list) and None in entries:
                text = f"missing {name.removesuffix('_configs')} config"
                raise document.error(text, "receivers", i, name, entries.index(None))


def _no_empty_patterns(document: Document, value: Any, where: tuple[str | int, ...]) -> None:
    """``match_re: {name: }``: a pattern that was forgotten would match nothing but the empty value."""
    if isinstance(value, list):
        for i, entry in enumerate(value):
            _no_empty_patterns(document, entry, (*where, i))
    elif isinstance(value, dict):
        for key, entry in value.items():
            if key in _PATTERNS and isinstance(entry, dict):
                for name in [name for name, pattern in entry.items() if pattern is None]:
                    raise document.error(f'invalid regexp value for "{name}"', *where, key, name)
            elif key in ("route", "routes", "inhibit_rules"):
                _no_empty_patterns(document, entry, (*where, key))


def _check_globals(document: Document, section: GlobalConfig) -> None:
    for name in _PAIRS:
        if getattr(section, name) and getattr(section, f"{name}_file"):
            text = f"at most one of {name} & {name}_file must be configured"
            raise document.error(text, "global", name)
    token = section.slack_app_token or section.slack_app_token_file
    url = section.slack_api_url or section.slack_api_url_file
    for name in ("slack_app_token", "slack_api_url"):
        if getattr(section, name) and getattr(section, f"{name}_file"):
            text = f"at most one of {name} & {name}_file must be configured"
            raise document.error(text, "global", name)
    if token and url and section.slack_api_url.reveal() not in ("<secret>", section.slack_app_url):
        raise document.error(
            "at most one of slack_app_token/slack_app_token_file & slack_api_url/slack_api_url_file must be "
            "configured",
            "global",
        )
    for name in GlobalConfig.__struct_fields__:
        value = getattr(section, name)
        if name.endswith("_url") and value:
            shown = value.reveal() if hasattr(value, "reveal") else value
            _checked(document, ("global", name), check_url, shown)
    if section.http_config is not None:
        _checked(document, ("global", "http_config"), check_http, section.http_config)


def check_url(text: str) -> None:
    """Raises ValueError for what is not an absolute http or https URL."""
    if text == "<secret>":
        return
    try:
        parts = urlsplit(text)
        assert parts.port is None or parts.port >= 0
    except ValueError as error:
        raise ValueError(f"parse {text!r}: {error}") from None
    if parts.scheme not in ("http", "https"):
        raise ValueError(f'unsupported scheme "{parts.scheme}" for URL')
    if not parts.netloc:
        raise ValueError("missing host for URL")


def _receivers(document: Document, config: AlertmanagerConfig) -> list[ReceiverConfig]:
    names: set[str] = set()
    found = []
    for i, receiver in enumerate(config.receivers):
        if not receiver.name:
            raise document.error("missing name in receiver", "receivers", i)
        if receiver.name in names:
            text = f'notification config name "{receiver.name}" is not unique'
            raise document.error(text, "receivers", i, "name")
        names.add(receiver.name)
        label = receiver.labels.get("name", receiver.name)
        if label != receiver.name:
            text = f'receiver label "name" must match receiver name "{receiver.name}", got "{label}"'
            raise document.error(text, "receivers", i, "labels")
        found.append(_complete_receiver(document, receiver, config.globals, i))
    return found


def _complete_receiver(
    document: Document, receiver: ReceiverConfig, section: GlobalConfig, index: int
) -> ReceiverConfig:
    changes: dict[str, list[Any]] = {}
    for name, i, entry in integrations(receiver):
        field = f"{name}_configs"
        where = ("receivers", index, field, i)
        _checked(document, where, check_receiver, entry)
        done = _checked(document, where, complete, entry, section)
        http = getattr(done, "http_config", None)
        if http is not None:
            _checked(document, (*where, "http_config"), check_http, http)
        for url in ("url", "api_url", "webhook_url"):
            value = getattr(done, url, "")
            text = value.reveal() if hasattr(value, "reveal") else value
            if text and "{{" not in text:
                _checked(document, (*where, url), check_url, text)
        changes.setdefault(field, []).append(done)
    labels = {**receiver.labels, "name": receiver.name}
    return msgspec.structs.replace(receiver, labels=labels, **changes)


def _with_paths(receiver: ReceiverConfig, base: Path) -> ReceiverConfig:
    changes: dict[str, list[Any]] = {}
    for name, _, entry in integrations(receiver):
        http = getattr(entry, "http_config", None)
        done = (
            entry if http is None else msgspec.structs.replace(entry, http_config=http_with_paths(http, base))
        )
        changes.setdefault(f"{name}_configs", []).append(done)
    return msgspec.structs.replace(receiver, **changes)


def _check_routes(document: Document, config: AlertmanagerConfig, receivers: set[str]) -> None:
    route = config.route
    if route is None:
        given = document.value.get("route", "absent") is None
        raise document.error("no routes provided" if given else "no route provided in config", "route")
    if route.continue_:
        raise document.error("cannot have continue in root route", "route", "continue")
    if not route.receiver:
        raise document.error("root route must specify a default receiver", "route")
    if route.match or route.match_re or route.matchers:
        raise document.error("root route must not have any matchers", "route")
    if route.mute_time_intervals:
        raise document.error("root route must not have any mute time intervals", "route")
    if route.active_time_intervals:
        raise document.error("root route must not have any active time intervals", "route")
    intervals = {entry.name for entry in [*config.mute_time_intervals, *config.time_intervals]}
    _walk(document, route, receivers, intervals, ("route",))


def _walk(
    document: Document,
    route: RouteConfig,
    receivers: set[str],
    intervals: set[str],
    where: tuple[str | int, ...],
) -> None:
    _checked(document, where, check_route, route)
    for i, child in enumerate(route.routes):
        _walk(document, child, receivers, intervals, (*where, "routes", i))
    if route.receiver and route.receiver not in receivers:
        text = f'undefined receiver "{route.receiver}" used in route'
        raise document.error(text, *where, "receiver")
    for field in ("active_time_intervals", "mute_time_intervals"):
        for name in getattr(route, field):
            if name not in intervals:
                raise document.error(f'undefined time interval "{name}" used in route', *where, field)


def _check_intervals(document: Document, config: AlertmanagerConfig) -> None:
    names: set[str] = set()
    for field, word in (("mute_time_intervals", "mute time interval"), ("time_intervals", "time interval")):
        entries: list[NamedIntervals] = getattr(config, field)
        for i, entry in enumerate(entries):
            if not entry.name:
                raise document.error(f"missing name in {word}", field, i)
            if entry.name in names:
                raise document.error(f'{word} "{entry.name}" is not unique', field, i, "name")
            names.add(entry.name)
            for j, interval in enumerate(entry.time_intervals):
                where = (field, i, "time_intervals", j)
                _checked(document, where, compile_interval, interval)
