"""What the routes do, without HTTP: open a dashboard for a reader, refresh its panels.

Variables are asked once for a short while, so that the refresh that follows the opening does not ask them
again.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from wavetank.clock import Clock, RealClock
from wavetank.dashboards.annotations import Marks
from wavetank.dashboards.layout import PlacedPanel
from wavetank.dashboards.refresh import refresh
from wavetank.dashboards.render import FORMATS, rendered, snapshot
from wavetank.dashboards.source import Source
from wavetank.dashboards.store import Store, Stored
from wavetank.dashboards.times import time_range, zone_of
from wavetank.dashboards.values import integer, items, mapping, mappings, text, texts
from wavetank.dashboards.variables import built_ins
from wavetank.dashboards.view import View, open_view, view_json
from wavetank.errors import InputError

__all__ = ["Service"]

_VIEWS_KEPT: Final = 32
_VIEW_SECONDS: Final = 20.0
EXPORT_WIDTH: Final = 1280  # pixels

Given = Mapping[str, Sequence[str]]


class Service:
    """One store over one source."""

    def __init__(
        self, store: Store, source: Source, clock: Clock | None = None, marks: Marks | None = None
    ) -> None:
        self.store = store
        self.source = source
        self.clock = clock or RealClock()
        self._marks = marks
        self._exporting = threading.Lock()
        self._views: OrderedDict[tuple[Any, ...], tuple[float, View]] = OrderedDict()

    def stored(self, uid: str) -> Stored:
        """Raises InputError."""
        found = self.store.get(uid)
        if found is None:
            raise InputError(f"no dashboard {uid!r}")
        return found

    def catalogue(self, tags: Sequence[str]) -> list[tuple[str, str]]:
        """(title, uid) of the dashboards with all these tags."""
        return [(s.dashboard.title, s.uid) for s in self.store.all() if set(tags) <= set(s.dashboard.tags)]

    def resolved(self, uid: str, raw_from: str, raw_to: str, given: Given) -> dict[str, Any]:
        """As ``Resolved``. Raises InputError."""
        stored = self.stored(uid)
        view = self._view(stored, raw_from, raw_to, given, fresh=True)
        folder = stored.folder.title if stored.folder else ""
        return view_json(view, can_save=stored.writable, folder=folder, catalogue=self.catalogue)

    def frames(self, uid: str, request: Mapping[str, Any]) -> dict[str, Any]:
        """``FramesRequest`` in, ``FramesAnswer`` out. Raises InputError."""
        given = {name: texts(values) for name, values in mapping(request, "variables").items()}
        view = self._view(self.stored(uid), text(request, "from"), text(request, "to"), given, fresh=False)
        whole = integer(request, "width")
        wanted = self._wanted(view, request, whole)
        return refresh(
            view,
            self.source,
            self.clock,
            panels=wanted,
            catalogue=self.catalogue,
            marks=self._marks,
            annotations=texts(request["annotations"]) if "annotations" in request else None,
        )

    def exported(self, uid: str, suffix: str, raw_from: str, raw_to: str, given: Given) -> bytes:
        """The whole dashboard as a file, one at a time: a picture takes a browser. Raises InputError."""
        if suffix not in FORMATS:
            raise InputError(f"cannot export {suffix!r}", fix=f"one of {', '.join(FORMATS)}")
        board = self.stored(uid).dashboard
        with self._exporting:
            found = snapshot(
                board,
                self.source,
                self.clock,
                raw_from=raw_from,
                raw_to=raw_to,
                given=given,
                marks=self._marks,
            )
            return rendered([found], suffix, theme="", width=EXPORT_WIDTH, title=board.title)

    def _wanted(self, view: View, request: Mapping[str, Any], whole: int) -> list[tuple[PlacedPanel, int]]:
        if "panels" not in request:
            return [(p, whole * p.grid.w // 24) for p in view.panels(collapsed=False)]
        by_id = {p.id: p for p in view.panels(collapsed=True)}
        asked = mappings(request, "panels") or [{"id": i} for i in items(request, "panels")]
        found = [(by_id.get(text(entry, "id")), integer(entry, "width")) for entry in asked]
        return [
            (p, min(max(0, width or whole * p.grid.w // 24), 10_000)) for p, width in found if p is not None
        ]

    def _view(self, stored: Stored, raw_from: str, raw_to: str, given: Given, *, fresh: bool) -> View:
        key = (
            stored.uid,
            stored.version,
            raw_from,
            raw_to,
            tuple(sorted((name, tuple(values)) for name, values in given.items())),
        )
        now = self.clock.monotonic()
        known = self._views.get(key)
        if known is not None and not fresh and now - known[0] < _VIEW_SECONDS:
            return self._moved(known[1])
        view = open_view(
            stored.dashboard,
            self.source,
            int(self.clock.now() * 1000),
            raw_from=raw_from,
            raw_to=raw_to,
            given=given,
        )
        self._views[key] = (now, view)
        # What the reader sends back are the values that this view chose.
        chosen = tuple(sorted((c.variable.name, tuple(c.selected)) for c in view.chosen))
        self._views[(*key[:2], view.time.raw_from, view.time.raw_to, chosen)] = (now, view)
        while len(self._views) > _VIEWS_KEPT:
            self._views.popitem(last=False)
        return view

    def _moved(self, view: View) -> View:
        """The same variables at the present time."""
        board = view.dashboard
        time = time_range(
            view.time.raw_from,
            view.time.raw_to,
            int(self.clock.now() * 1000),
            zone_of(board.timezone),
            board.week_start,
            board.fiscal_month,
        )
        return replace(view, time=time, scope={**view.scope, **built_ins(time, self.source)})
