"""``wavetank dashboard render``: a dashboard as HTML, CSV, PNG or PDF.

HTML is one file that works offline. PNG and PDF are made of that file by Chromium through playwright, where
both are there. CSV is one table a panel, one after the other, each under its panel's title.
"""

from __future__ import annotations

import csv
import io
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from wavetank.clock import Clock
from wavetank.dashboards.annotations import Marks
from wavetank.dashboards.model import Dashboard
from wavetank.dashboards.page import render_page
from wavetank.dashboards.refresh import refresh
from wavetank.dashboards.source import Source
from wavetank.dashboards.view import open_view, view_json
from wavetank.errors import InputError

__all__ = ["FORMATS", "render", "rendered", "snapshot"]

FORMATS: Final = (".html", ".csv", ".png", ".pdf")

_FLAGS: Final = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--force-color-profile=srgb",
]
_READY_MS: Final = 30_000
_HEIGHT_MAX: Final = 16_000  # pixels of a picture; what lies below is cut


def snapshot(
    dashboard: Dashboard,
    source: Source,
    clock: Clock,
    *,
    raw_from: str = "",
    raw_to: str = "",
    given: Mapping[str, Sequence[str]] | None = None,
    width: int = 1280,
    panel: str = "",
    marks: Marks | None = None,
) -> dict[str, Any]:
    """``{board, frames}`` of the whole dashboard, or of one panel by its id. Raises InputError."""
    now_ms = int(clock.now() * 1000)
    view = open_view(dashboard, source, now_ms, raw_from=raw_from, raw_to=raw_to, given=given)
    board = view_json(view, can_save=False, folder="", catalogue=lambda tags: [])
    placed = view.panels(collapsed=True)
    if panel:
        placed = [p for p in placed if p.id == panel or str(p.panel.id) == panel]
        if not placed:
            known = ", ".join(p.id for p in view.panels(collapsed=True)[:30])
            raise InputError(f"no panel {panel!r}", fix=f"panels here: {known}")
        board["rows"] = [_alone(board, {p.id for p in placed})]
    for row in board["rows"]:
        row["collapsed"] = False
    panels = [(p, width if panel else width * p.grid.w // 24) for p in placed]
    frames = refresh(view, source, clock, panels=panels, catalogue=lambda tags: [], marks=marks)
    return {"board": board, "frames": frames}


def _alone(board: Mapping[str, Any], wanted: set[str]) -> dict[str, Any]:
    """One row with only these panels, each over the whole width."""
    panels = [p for row in board["rows"] for p in row["panels"] if p["id"] in wanted]
    y = 0
    for found in panels:
        height = max(found["grid"]["h"], 10)
        found["grid"] = {"x": 0, "y": y, "w": 24, "h": height}
        y += height
    return {"id": "", "title": "", "collapsed": False, "panels": panels}


def rendered(
    snapshots: Sequence[Mapping[str, Any]], suffix: str, *, theme: str, width: int, title: str
) -> bytes:
    """The file that ``suffix`` stands for. Raises InputError, also where a browser is wanted and absent."""
    if suffix == ".csv":
        return _csv(snapshots).encode()
    page = render_page(snapshots, title=title, theme=theme if suffix == ".html" else theme or "light")
    return page.encode() if suffix == ".html" else _printed(page, suffix, width)


def render(snapshots: Sequence[Mapping[str, Any]], out: Path, *, theme: str, width: int, title: str) -> None:
    """Write ``out`` in the format of its suffix. Raises InputError as ``rendered`` does."""
    suffix = out.suffix.lower()
    if suffix not in FORMATS:
        raise InputError(f"cannot write {out.name!r}", fix=f"end it in one of {', '.join(FORMATS)}")
    data = rendered(snapshots, suffix, theme=theme, width=width, title=title)
    try:
        out.write_bytes(data)
    except OSError as error:
        raise InputError(f"cannot write it: {error.strerror}", at=out) from None


def _printed(page: str, suffix: str, width: int) -> bytes:
    """The page through Chromium."""
    try:
        from playwright.sync_api import Error, sync_playwright
    except ImportError:
        raise InputError(
            "PNG and PDF need playwright", fix="pip install 'wavetank[browser]', or write .html"
        ) from None
    browser_path = os.environ.get("WAVETANK_CHROMIUM") or _chromium()
    with tempfile.TemporaryDirectory(prefix="wavetank-render-") as directory:
        file = Path(directory) / "dashboard.html"
        file.write_text(page, encoding="utf-8")
        try:
            with sync_playwright() as driver:
                browser = driver.chromium.launch(executable_path=browser_path, args=_FLAGS)
                tab = browser.new_page(viewport={"width": width, "height": 900}, timezone_id="UTC")
                tab.goto(file.as_uri())
                tab.wait_for_selector("html[data-ready]", timeout=_READY_MS)
                height = min(_HEIGHT_MAX, int(tab.evaluate("document.documentElement.scrollHeight")))
                if suffix == ".pdf":
                    found = bytes(
                        tab.pdf(print_background=True, width=f"{width}px", height=f"{height + 1}px")
                    )
                else:
                    tab.set_viewport_size({"width": width, "height": height})
                    tab.wait_for_timeout(300)
                    found = bytes(tab.screenshot(full_page=False))
                browser.close()
        except Error as error:
            text = error.message.splitlines()[0]
            raise InputError(
                f"the browser failed: {text}", fix="set WAVETANK_CHROMIUM, or write .html"
            ) from None
    return found


def _chromium() -> str:
    for name in ("chromium", "chromium-browser", "google-chrome", "chrome"):
        found = shutil.which(name)
        if found:
            return found
    raise InputError(
        "PNG and PDF need Chromium, which is not here",
        fix="install chromium, set WAVETANK_CHROMIUM, or write .html",
    )


def _csv(snapshots: Sequence[Mapping[str, Any]]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    for stored in snapshots:
        titles = {p["id"]: p["title"] for row in stored["board"]["rows"] for p in row["panels"]}
        for panel in stored["frames"]["panels"]:
            rows = list(_rows(panel["drawing"])) if panel["drawing"] else []
            if rows:
                writer.writerow([f"# {titles.get(panel['id'], '')} ({panel['id']})"])
                writer.writerows([_harmless(cell) for cell in row] for row in rows)
                writer.writerow([])
    return text.getvalue()


def _harmless(cell: Any) -> Any:
    """A spreadsheet runs texts that begin like formulas."""
    return f"'{cell}" if isinstance(cell, str) and cell[:1] in ("=", "+", "-", "@", "\t") else cell


def _rows(drawing: Mapping[str, Any]) -> Iterator[list[Any]]:
    match drawing["draw"]:
        case "timeseries":
            yield ["time", *(s["label"] for s in drawing["series"])]
            columns = [s["values"] for s in drawing["series"]]
            for moment, *values in zip(drawing["times"], *columns, strict=True):
                yield [datetime.fromtimestamp(moment, UTC).isoformat(), *values]
        case "table":
            yield [column["name"] for column in drawing["columns"]]
            for row in drawing["rows"]:
                yield [c["sort"] if isinstance(c["sort"], int | float) else c["text"] for c in row]
        case "stat" | "gauge" | "bargauge" | "piechart":
            yield ["name", "value", "text"]
            for item in drawing["items"]:
                yield [item["title"], item["value"], item["text"]]
        case "barchart":
            yield ["category", *(s["label"] for s in drawing["series"])]
            for index, name in enumerate(drawing["categories"]):
                yield [name, *(s["values"][index] for s in drawing["series"])]
        case "heatmap":
            yield ["time", *drawing["labels"]]
            for moment, *values in zip(drawing["times"], *drawing["counts"], strict=True):
                yield [datetime.fromtimestamp(moment, UTC).isoformat(), *values]
