"""Panels in a real browser, offline: every type is painted, in both themes, and nothing of the data runs."""

from __future__ import annotations

import json
import os
import re
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from dashboard_samples import NOW_S, board, panel
from PIL import Image

from wavetank.clock import VirtualClock
from wavetank.dashboards.load import to_dashboard
from wavetank.dashboards.page import render_page
from wavetank.dashboards.render import render, snapshot
from wavetank.dashboards.source import EngineSource

playwright = pytest.importorskip("playwright.sync_api")
CHROMIUM = os.environ.get("WAVETANK_CHROMIUM") or shutil.which("chromium")
FLAGS = [
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
]
pytestmark = [
    pytest.mark.peer,
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed"),
]

PAINTED = (
    "canvas => canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data"
    ".reduce((painted, value, i) => painted + (i % 4 === 3 && value > 0), 0)"
)
UP = [
    {
        "type": "value",
        "options": {"0": {"text": "down", "color": "red"}, "1": {"text": "up", "color": "green"}},
    }
]
BY_JOB = {"expr": "load", "legendFormat": "{{job}}"}
TABLE = {"expr": "load", "format": "table", "instant": True}
BUCKETS = {"expr": "rate(latency_bucket[1m])", "format": "heatmap"}
HOSTILE = "<img src=x onerror='document.title=1'>"
MAX = {"legend": {"displayMode": "table", "calcs": ["max"]}}
STATES = {"defaults": {"mappings": UP}}

#: Type, panel, what must be there.
TYPES: list[tuple[str, dict[str, Any], str]] = [
    ("timeseries", panel("timeseries", BY_JOB, options=MAX), "canvas"),
    ("stat", panel("stat", BY_JOB), ".wt-stat b"),
    ("gauge", panel("gauge", BY_JOB), ".wt-gauge path"),
    ("bargauge", panel("bargauge", BY_JOB), ".wt-bar i"),
    ("table", panel("table", TABLE), ".wt-table tbody td"),
    ("heatmap", panel("heatmap", BUCKETS), "canvas"),
    ("piechart", panel("piechart", BY_JOB), ".wt-pie path"),
    ("barchart", panel("barchart", TABLE), "rect"),
    ("histogram", panel("histogram", BY_JOB), "rect"),
    ("state-timeline", panel("state-timeline", "up", fieldConfig=STATES), "rect"),
    ("status-history", panel("status-history", "up", fieldConfig=STATES), "rect"),
    ("text", panel("text", options={"content": f"# Hi\n\n**there** {HOSTILE}"}), ".wt-text b"),
    ("dashlist", panel("dashlist"), ".wt-text"),
    ("canvas", panel("canvas"), ".wt-none"),
]


def dashboard(**more: Any) -> dict[str, Any]:
    panels = []
    for index, (_, found, _) in enumerate(TYPES):
        place = {"x": index % 3 * 8, "y": index // 3 * 8, "w": 8, "h": 8}
        panels.append({**found, "id": index + 1, "gridPos": place, "title": f"{found['type']} {HOSTILE}"})
    return board(panels, **more)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with playwright.sync_playwright() as driver:
        started = driver.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield started
        started.close()


class Pages:
    """Opens pages and remembers their complaints."""

    def __init__(self, browser: Any) -> None:
        self._browser = browser
        self.contexts: list[Any] = []
        self.complaints: list[str] = []

    def __call__(self, url: str, **settings: Any) -> Any:
        viewport = {"width": settings.pop("width", 1280), "height": 900}
        context = self._browser.new_context(viewport=viewport, timezone_id="UTC", **settings)
        self.contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: self.complaints.append(message.text))
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.goto(url)
        page.wait_for_selector("html[data-ready]", timeout=30_000)
        return page


@pytest.fixture
def pages(browser: Any) -> Iterator[Pages]:
    found = Pages(browser)
    yield found
    for context in found.contexts:
        context.close()
    assert found.complaints == []


@pytest.fixture
def file(tmp_path: Path, source: EngineSource) -> str:
    found = snapshot(to_dashboard(dashboard()), source, VirtualClock(start=NOW_S))
    path = tmp_path / "all.html"
    path.write_text(render_page([found], title=HOSTILE), encoding="utf-8")
    return path.as_uri()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_type_is_drawn_and_no_data_runs(pages: Pages, file: str, scheme: str) -> None:
    page = pages(file, color_scheme=scheme)
    assert page.locator("html").get_attribute("data-theme") == scheme
    assert page.locator(".wt-panel").count() == len(TYPES)
    for index, (name, _, selector) in enumerate(TYPES):
        inside = page.locator(f'[data-panel="{index + 1}"]')
        assert inside.locator(selector).count() > 0, name
        assert HOSTILE in inside.locator("h3").inner_text()
    for canvas in page.locator(".wt-panel canvas").all():
        assert canvas.evaluate(PAINTED) > 500
    assert page.locator("img, script[src], iframe").count() == 0


def test_at_400_pixels_panels_stand_below_each_other(pages: Pages, file: str) -> None:
    page = pages(file, width=400)
    assert page.evaluate("document.documentElement.scrollWidth") <= 400


def test_a_legend_entry_shows_its_series_alone_and_all_again(pages: Pages, file: str) -> None:
    page = pages(file)
    chart = page.locator('[data-panel="1"]')
    entry = chart.locator(".wt-name").first
    entry.click()
    assert chart.locator('.wt-name[aria-pressed="false"]').count() == 2
    entry.click()
    assert chart.locator('.wt-name[aria-pressed="false"]').count() == 0


def test_pointing_at_a_chart_reads_its_values(pages: Pages, file: str) -> None:
    page = pages(file)
    plot = page.locator('[data-panel="1"] .wt-plot .u-over')
    plot.hover(position={"x": 100, "y": 40})
    page.wait_for_selector('[data-panel="1"] .wt-tip')
    assert "2025-10-09" in page.locator(".wt-tip b").inner_text()


def test_a_picture_is_not_blank(tmp_path: Path, source: EngineSource) -> None:
    found = snapshot(to_dashboard(dashboard()), source, VirtualClock(start=NOW_S))
    out = tmp_path / "out.png"
    worker = threading.Thread(target=lambda: render([found], out, theme="dark", width=900, title="x"))
    worker.start()  # playwright's own loop is taken in this thread
    worker.join(60)
    with Image.open(out) as image:
        assert image.width == 900 and len(image.convert("RGB").getcolors(1 << 24) or []) > 50


def test_the_served_json_is_what_the_browser_expects(source: EngineSource) -> None:
    """Every drawing's fields are those of contract.ts."""
    contract = (Path(__file__).parents[2] / "ui/src/dashboards/contract.ts").read_text()
    found = snapshot(to_dashboard(dashboard()), source, VirtualClock(start=NOW_S))
    drawn = [p["drawing"] for p in found["frames"]["panels"] if p["drawing"]]
    assert {d["draw"] for d in drawn} == {kind for kind, _, _ in TYPES} - {"canvas"}
    for drawing in drawn:
        body = next(
            text
            for text in re.findall(
                r"^export interface \w+Drawing \{\n(.*?)^\}", contract, flags=re.MULTILINE | re.DOTALL
            )
            if re.search(rf'^  draw: .*"{drawing["draw"]}"', text, flags=re.MULTILINE)
        )
        assert set(re.findall(r"^  (\w+): ", body, flags=re.MULTILINE)) == set(drawing), drawing["draw"]
    assert json.dumps(found["frames"])
