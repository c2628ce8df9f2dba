"""The core of all receivers that are reached over HTTP.

Mirrors notify/util.go: what answer is a success, what is tried again, what an error tells of the answer. URLs
hold secrets and are left out of errors.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec

from wavetank import __version__
from wavetank.alerting.receivers.notification import Notification, NotifyError
from wavetank.clock import Clock
from wavetank.gotemplate import TemplateError
from wavetank.limits import NOTIFY_ANSWER_BYTES_MAX
from wavetank.monitoring.http_client import FETCH_ERRORS, HTTPClient

__all__ = ["Build", "WebIntegration", "WebRequest", "json_request"]

_USER_AGENT = f"Alertmanager/{__version__}"


@dataclass(frozen=True, slots=True)
class WebRequest:
    """``retry_codes``: answers beside 5xx after which to try again."""

    url: str
    body: bytes
    method: str = "POST"
    headers: Mapping[str, str] = field(default_factory=dict)
    retry_codes: tuple[int, ...] = ()


Build = Callable[[Any, Notification], Sequence[WebRequest]]


def json_request(
    url: str, body: Any, *, method: str = "POST", retry_codes: tuple[int, ...] = (), **headers: str
) -> WebRequest:
    """A request with a JSON body."""
    sent = {"Content-Type": "application/json", **headers}
    return WebRequest(url, msgspec.json.encode(body), method, sent, retry_codes)


class WebIntegration:
    """One section of a receiver. ``build`` makes its requests; they are sent one after another."""

    def __init__(self, name: str, index: int, section: Any, build: Build, clock: Clock) -> None:
        self.name = name
        self.index = index
        self.send_resolved: bool = section.send_resolved
        self._section = section
        self._build = build
        self._client = HTTPClient(section.http_config, clock)
        timeout = getattr(section, "timeout", 0)
        self._timeout_seconds = timeout / 1000 if timeout else None

    async def notify(self, notification: Notification, seconds: float) -> None:
        """Deliver within ``seconds``. Raises NotifyError."""
        try:
            requests = self._build(self._section, notification)
        except TemplateError as error:
            raise NotifyError(f"failed to template: {error}", retry=False, reason="other") from None
        limit = min(seconds, self._timeout_seconds or seconds)
        for request in requests:
            await self._send(request, limit)

    async def _send(self, request: WebRequest, seconds: float) -> None:
        try:
            async with self._client.request(
                request.method,
                request.url,
                headers={"User-Agent": _USER_AGENT, **request.headers},
                data=request.body,
                timeout_seconds=seconds,
            ) as response:
                status = response.status
                answer = await response.content.read(NOTIFY_ANSWER_BYTES_MAX)
        except TimeoutError:
            raise NotifyError(
                f"no answer within {seconds:g} s", retry=True, reason="contextDeadlineExceeded"
            ) from None
        except FETCH_ERRORS as error:
            text = str(error).replace(request.url, "<redacted>") or type(error).__name__
            raise NotifyError(text, retry=True) from None
        if status // 100 == 2:
            return
        shown = answer.decode("utf-8", "replace").strip()
        raise NotifyError(
            f"unexpected status code {status}" + (f": {shown[:1000]}" if shown else ""),
            retry=status // 100 == 5 or status in request.retry_codes,
            reason="clientError" if status // 100 == 4 else "serverError" if status // 100 == 5 else "other",
        )

    async def close(self) -> None:
        await self._client.close()
