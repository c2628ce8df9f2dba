"""The core of all receivers that are reached over HTTP.

Mirrors notify/util.go: what answer is a success, what is tried again, what an error tells of the answer. URLs
hold secrets and are left out of errors.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

import msgspec

from wavetank import __version__
from wavetank.alerting.receivers.notification import Notification, NotifyError
from wavetank.clock import Clock
from wavetank.gotemplate import TemplateError
from wavetank.limits import NOTIFY_ANSWER_BYTES_MAX
from wavetank.monitoring.http_client import FETCH_ERRORS, HTTPClient

__all__ = [
    "Build",
    "Send",
    "Talk",
    "WebAnswer",
    "WebIntegration",
    "WebRequest",
    "json_request",
    "one_way",
]

_USER_AGENT: Final = f"Alertmanager/{__version__}"
ANSWER_CHARACTERS_SHOWN: Final = 1000
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class WebAnswer:
    """``body``: as much of it as is read."""

    status: int
    media_type: str
    body: bytes

    def text(self) -> str:
        return self.body.decode("utf-8", "replace").strip()

    def decode(self, kind: type[T]) -> T:
        """The JSON body as ``kind``. Raises NotifyError."""
        try:
            return msgspec.json.decode(self.body, type=kind)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            shown = self.text()[:ANSWER_CHARACTERS_SHOWN]
            raise NotifyError(f"could not read the JSON answer {shown!r}: {error}", retry=True) from None


@dataclass(frozen=True, slots=True)
class WebRequest:
    """``retry_codes``: answers beside 5xx after which to try again. ``check`` raises NotifyError for an
    answer that has a status of success and is none."""

    url: str
    body: bytes
    method: str = "POST"
    headers: Mapping[str, str] = field(default_factory=dict)
    retry_codes: tuple[int, ...] = ()
    check: Callable[[WebAnswer], None] | None = None


Build = Callable[[Any, Notification], Sequence[WebRequest]]
Send = Callable[[WebRequest], Awaitable[WebAnswer]]
Talk = Callable[[Any, Notification, Send], Awaitable[None]]
"""A receiver whose later requests depend on earlier answers: (section, notification, send)."""


def one_way(build: Build) -> Talk:
    """A receiver whose requests do not depend on answers; they are sent one after another."""

    async def talk(section: Any, notification: Notification, send: Send) -> None:
        for request in build(section, notification):
            await send(request)

    return talk


def json_request(
    url: str,
    body: Any,
    *,
    method: str = "POST",
    retry_codes: tuple[int, ...] = (),
    check: Callable[[WebAnswer], None] | None = None,
    headers: Mapping[str, str] | None = None,
) -> WebRequest:
    """A request with a JSON body."""
    sent = {"Content-Type": "application/json", **(headers or {})}
    return WebRequest(url, msgspec.json.encode(body), method, sent, retry_codes, check)


class WebIntegration:
    """One section of a receiver, and how it is told."""

    def __init__(self, name: str, index: int, section: Any, talk: Talk, clock: Clock) -> None:
        self.name = name
        self.index = index
        self.send_resolved: bool = section.send_resolved
        self._section = section
        self._talk = talk
        self._client = HTTPClient(section.http_config, clock)
        timeout = getattr(section, "timeout", 0)
        self._timeout_seconds = timeout / 1000 if timeout else None

    async def notify(self, notification: Notification, seconds: float) -> None:
        """Deliver within ``seconds``. Raises NotifyError."""
        limit = min(seconds, self._timeout_seconds or seconds)
        try:
            await self._talk(self._section, notification, lambda request: self._send(request, limit))
        except TemplateError as error:
            raise NotifyError(f"failed to template: {error}", retry=False, reason="other") from None

    async def _send(self, request: WebRequest, seconds: float) -> WebAnswer:
        answer = await self._answer(request, seconds)
        status = answer.status
        if status // 100 == 2:
            if request.check is not None:
                request.check(answer)
            return answer
        shown = answer.text()[:ANSWER_CHARACTERS_SHOWN]
        raise NotifyError(
            f"unexpected status code {status}" + (f": {shown}" if shown else ""),
            retry=status // 100 == 5 or status in request.retry_codes,
            reason="clientError" if status // 100 == 4 else "serverError" if status // 100 == 5 else "other",
        )

    async def _answer(self, request: WebRequest, seconds: float) -> WebAnswer:
        try:
            async with self._client.request(
                request.method,
                request.url,
                headers={"User-Agent": _USER_AGENT, **request.headers},
                data=request.body,
                timeout_seconds=seconds,
            ) as response:
                body = await response.content.read(NOTIFY_ANSWER_BYTES_MAX)
                kind = response.headers.get("Content-Type", "").partition(";")[0]
                return WebAnswer(response.status, kind.strip().lower(), body)
        except TimeoutError:
            raise NotifyError(
                f"no answer within {seconds:g} s", retry=True, reason="contextDeadlineExceeded"
            ) from None
        except FETCH_ERRORS as error:
            text = str(error).replace(request.url, "<redacted>") or type(error).__name__
            raise NotifyError(text, retry=True) from None

    async def close(self) -> None:
        await self._client.close()
