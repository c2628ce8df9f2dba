"""Live events: what the journals note and how alerts change, as server-sent events.

``GET /api/wavetank/events`` answers with a stream. ``hello`` tells when the server started, so that a page
knows a restart from a broken line; ``record`` carries one journal record; ``alerts`` the number that fire and
wait; a comment every 15 s keeps proxies from closing the line. Events carry no ids: a page that comes back
asks for the state anew instead of what it missed.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, Final

import msgspec
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from wavetank.limits import CONSOLE_STREAMS_MAX
from wavetank.monitoring.api.services import Services
from wavetank.web.bundle import SECURITY_HEADERS
from wavetank.web.session import Sessions
from wavetank.web.tank import Tank

__all__ = ["SHOWN_KINDS", "routes"]

_LOOK_SECONDS: Final = 1.0
_COMMENT_SECONDS: Final = 15.0
#: Kinds of records that a page shows at once; the others come too often or explain nothing alone.
SHOWN_KINDS: Final = frozenset(
    ("load.start", "load.stage", "load.stop", "scale", "pod.created", "pod.unschedulable", "pod.scheduled",
     "container.exited", "pod.ready", "pod.unready", "pod.terminating", "pod.gone", "child.exited")
)  # fmt: skip


def _event(name: str, data: Any) -> bytes:
    return b"event: " + name.encode() + b"\ndata: " + msgspec.json.encode(data) + b"\n\n"


def _alerts(services: Services) -> dict[str, int]:
    """How many alerts there are in each state."""
    counts = {"firing": 0, "pending": 0}
    for group in services.rules.groups.values():
        for rule in group.alert_rules:
            for alert in rule.active.values():
                state = str(alert.state)
                counts[state] = counts.get(state, 0) + 1
    return counts


async def _stream(services: Services, tank: Tank | None) -> AsyncIterator[bytes]:
    yield _event("hello", {"startedAt": services.state.started_at})
    before: Mapping[str, int] | None = None
    seen = services.clock.now()
    quiet = 0.0
    while True:
        alerts = _alerts(services)
        if alerts != before:
            before, quiet = alerts, 0.0
            yield _event("alerts", alerts)
        for record in _after(tank.records() if tank is not None else (), seen):
            seen, quiet = max(seen, float(record["at"])), 0.0
            yield _event("record", record)
        await services.clock.sleep(_LOOK_SECONDS)
        quiet += _LOOK_SECONDS
        if quiet >= _COMMENT_SECONDS:
            quiet = 0.0
            yield b": still here\n\n"


def _after(records: Sequence[Mapping[str, Any]], moment: float) -> list[Mapping[str, Any]]:
    """Shown records after a moment; records are in order, so the search begins at the end."""
    found = []
    for record in reversed(records):
        if float(record["at"]) <= moment:
            break
        if record["kind"] in SHOWN_KINDS:
            found.append(record)
    return found[::-1]


def routes(services: Services, tank: Tank | None, sessions: Sessions | None) -> list[Route]:
    """``/events``, below ``/api/wavetank``. Records of a tank only for browsers that signed in."""
    open_streams = 0

    async def events(request: Request) -> Response:
        nonlocal open_streams
        if open_streams >= CONSOLE_STREAMS_MAX:
            return PlainTextResponse("too many event streams\n", 503)
        shown = tank if sessions is None or sessions.knows(request) else None

        async def counted() -> AsyncIterator[bytes]:
            nonlocal open_streams
            open_streams += 1
            try:
                async for part in _stream(services, shown):
                    yield part
            finally:
                open_streams -= 1

        headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no", **SECURITY_HEADERS}
        return StreamingResponse(counted(), media_type="text/event-stream", headers=headers)

    return [Route("/events", events)]
