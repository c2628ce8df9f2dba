"""The console in a real browser: every page opens, does its main action, and goes on after a restart."""

from __future__ import annotations

import io
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from web_data import OBJECTS, RECORDS
from web_server import StillTank, WebServer

from wavetank.web.console import Console
from wavetank.web.session import Sessions

playwright = pytest.importorskip("playwright.sync_api")
expect = playwright.expect
expect.set_options(timeout=30_000)
CHROMIUM = os.environ.get("WAVETANK_CHROMIUM") or shutil.which("chromium")
AXE = Path(__file__).parents[2] / "ui" / "node_modules" / "axe-core" / "axe.min.js"
REPORT = Path(__file__).parents[1] / "report" / "data" / "example.json"
FLAGS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip
pytestmark = [
    pytest.mark.peer,
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed"),
]
PAINTED = """
canvas => {
  const pixels = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
  let painted = 0;
  for (let i = 3; i < pixels.length; i += 4) painted += pixels[i] > 0;
  return painted;
}
"""
#: Page -> a text that stands there when it has its data.
PAGES = {
    "rehearsal": "Where the lag came from",
    "cluster": "web-1-bbbbb",
    "traffic": "shop.example.com",
    "load": "Start load",
    "query?g0.expr=up&g0.tab=table": "instance",
    "alerts": "TargetDown",
    "rules": "job:up:sum",
    "targets": "/metrics",
    "service-discovery": "dropped",
    "tsdb": "Series in the head",
    "status": "Behaves as Prometheus",
    "config": "scrape_configs",
    "flags": "Search flags",
}


class Site:
    """A signed-in browser's way around the console; remembers complaints of its pages."""

    def __init__(self, browser: Any, server: WebServer, sessions: Sessions) -> None:
        self._browser = browser
        self.server = server
        self.sessions = sessions
        self.complaints: list[str] = []
        self._contexts: list[Any] = []

    def context(self, width: int, **settings: Any) -> Any:
        context = self._browser.new_context(
            viewport={"width": width, "height": 900}, locale="en-US", timezone_id="UTC", **settings
        )
        self._contexts.append(context)
        context.request.get(f"{self.server.url}/?token={self.sessions.token}")
        return context

    def open(self, address: str, width: int = 1280, **settings: Any) -> Any:
        page = self.context(width, **settings).new_page()
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("console", lambda m: self.complaints.append(m.text) if m.type == "error" else None)
        page.goto(f"{self.server.url}/{address}")
        page.wait_for_selector("html[data-ready]", timeout=30_000)
        return page

    def close(self) -> None:
        for context in self._contexts:
            context.close()


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with playwright.sync_playwright() as driver:
        started = driver.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield started
        started.close()


@pytest.fixture(scope="module")
def tank() -> StillTank:
    body = REPORT.read_bytes()
    return StillTank(body, OBJECTS, RECORDS)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory, tank: StillTank) -> Iterator[tuple[WebServer, Sessions]]:
    directory = tmp_path_factory.mktemp("console")
    sessions = Sessions(directory)
    many = "".join(f'many{{i="{i}"}} {i}\n' for i in range(2000))
    page = Route("/many", lambda request: PlainTextResponse(many))
    server = WebServer(
        directory / "server", Console(tank=tank, sessions=sessions, extra=lambda services: [page])
    )
    server.start()
    # Once more on the same port, now that the server can be told to scrape itself.
    server.stop()
    server.start()
    yield server, sessions
    server.stop()


@pytest.fixture
def site(browser: Any, served: tuple[WebServer, Sessions]) -> Iterator[Site]:
    opened = Site(browser, *served)
    yield opened
    opened.close()
    assert opened.complaints == []


def painted(page: Any) -> int:
    """Pixels that are not empty, once the graph is drawn. (The page's policy forbids waiting by eval.)"""
    expect(page.locator(".graph .uplot[data-drawn]")).to_be_visible()
    return int(page.locator(".graph canvas").evaluate(PAINTED))


def run_query(page: Any, text: str) -> None:
    page.wait_for_selector(".input.loaded .cm-content")
    page.click(".cm-content")
    page.keyboard.press("Control+A")
    page.keyboard.insert_text(text)
    page.keyboard.press("Escape")
    page.click("button.primary:has-text('Run')")


def visit(page: Any, address: str) -> None:
    """Go to a page within the console and wait for its data."""
    page.evaluate(f"location.hash = '#/{address}'")
    text = PAGES[address]
    found = (
        page.get_by_placeholder(text) if text.startswith("Search") else page.locator("main").get_by_text(text)
    )
    expect(found.first).to_be_visible()


def test_every_page_opens_and_fits_400_pixels(site: Site) -> None:
    page = site.open("#/query", width=400)
    too_wide = {}
    for address in PAGES:
        visit(page, address)
        too_wide[address] = page.evaluate("document.documentElement.scrollWidth - innerWidth")
    assert {address: by for address, by in too_wide.items() if by > 0} == {}


def test_a_query_is_written_completed_run_and_drawn(site: Site) -> None:
    page = site.open("#/query?g0.expr=&g0.range_input=1m")  # steps of a second: the server is young
    page.wait_for_selector(".input.loaded .cm-content")
    page.click(".cm-content")
    page.keyboard.type("scrape_dur")
    expect(page.locator(".cm-tooltip-autocomplete")).to_contain_text("scrape_duration_seconds")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    assert painted(page) > 500
    expect(page.locator(".series")).to_contain_text("self")
    expect(page.locator(".cost")).to_contain_text("samples read")
    assert "g0.expr=scrape_duration_seconds" in page.url
    page.click("button:has-text('Stacked')")
    assert painted(page) > 500
    assert "display_mode=stacked" in page.url


def test_an_expression_is_formatted_and_its_tree_evaluated(site: Site) -> None:
    page = site.open("#/query?g0.expr=sum(up)by(job)/2&g0.tab=tree")
    expect(page.locator("[role=tree]")).to_contain_text("sum by (job)")
    expect(page.locator("[role=tree]")).to_contain_text("series")
    page.wait_for_selector(".input.loaded")
    page.click("button:has-text('Format')")
    expect(page.locator(".cm-content")).to_contain_text("sum by (job) (up) / 2")


def test_a_wrong_expression_says_where(site: Site) -> None:
    page = site.open("#/query?g0.tab=table")
    run_query(page, "sum(up")
    expect(page.locator("[role=alert]")).to_contain_text("parse error")
    site.complaints.clear()  # the browser's own line about the answer 400


def test_the_metric_browser_builds_a_selector(site: Site) -> None:
    page = site.open("#/query")
    page.wait_for_selector(".input.loaded")
    page.click("button:has-text('Metrics')")
    page.fill("[placeholder='Search metrics']", "scrape sam")
    page.click("button.metric:has-text('scrape_samples_scraped')")
    page.click(".chips button:has-text('job')")
    page.click(".values button:has-text('self')")
    page.click(".chosen button:has-text('Insert')")
    expect(page.locator(".cm-content")).to_contain_text('scrape_samples_scraped{job="self"}')


def test_hostile_label_values_are_texts(site: Site) -> None:
    page = site.open("#/query?g0.expr=up&g0.tab=table")
    expect(page.locator(".result")).to_contain_text('<img src=x onerror="window.hacked=1">')
    page.goto(f"{site.server.url}/#/alerts")
    expect(page.locator("main")).to_contain_text("down: <b>gone</b>")
    page.goto(f"{site.server.url}/#/targets")
    expect(page.locator("main")).to_contain_text("evil")
    assert page.evaluate("window.hacked") is None and page.locator("main img").count() == 0


def test_more_series_than_can_be_told_apart_are_cut_and_said(site: Site) -> None:
    page = site.open("#/query?g0.expr=many&g0.range_input=5m")
    expect(page.locator(".note.warn")).to_contain_text("The first 500 of 2,000 series are drawn")
    expect(page.locator(".legend-block")).to_contain_text("All 500 series")
    page.click("text=Draw the largest 20 instead")
    expect(page.locator(".series li")).to_have_count(20)


def test_relabelling_is_told_rule_by_rule(site: Site) -> None:
    page = site.open("#/service-discovery")
    dropped = page.locator(".entry", has_text="dropped")
    dropped.locator("summary").click()
    expect(dropped.locator(".relabel")).to_contain_text("dropped here")


def test_the_cluster_page_tells_why_and_shows_a_log(site: Site) -> None:
    page = site.open("#/cluster")
    expect(page.locator(".why")).to_contain_text("Deployment/web goes from 1 to 2")
    expect(page.locator("main")).to_contain_text("4 allowed (ScaleUpLimit)")
    page.click("button:has-text('web-1-aaaaa')")
    expect(page.locator(".logs pre")).to_contain_text("log of web-1-aaaaa")


def test_weights_are_moved_by_slider_and_request_is_explained(site: Site, tank: StillTank) -> None:
    page = site.open("#/traffic")
    slider = page.get_by_label("Weight of web (v2)")
    slider.focus()
    for _ in range(5):
        page.keyboard.press("ArrowRight")
    with page.expect_response("**/api/wavetank/weights"):
        page.click("button:has-text('Shift traffic')")
    expect(page.get_by_role("button", name="Shift traffic")).to_be_enabled()
    expect(page.locator(".weights [role=alert]")).to_have_count(0)
    assert [op["value"] for op in tank.patches[-1][3]] == [85, 15]


def test_load_is_started_changed_and_stopped(site: Site, tank: StillTank) -> None:
    page = site.open("#/load")
    page.get_by_label("Requests per second", exact=True).fill("35")
    page.click("button:has-text('Start load')")
    expect(page.get_by_role("button", name="Stop")).to_be_visible()
    assert tank.load.asked[-1].rps == 35
    page.click("button:has-text('Stop')")
    expect(page.get_by_role("button", name="Start load")).to_be_visible()


def test_without_signing_in_the_tank_stays_hidden(site: Site) -> None:
    page = site._browser.new_page()
    page.goto(f"{site.server.url}/#/cluster")
    expect(page.locator("main")).to_contain_text("wavetank status")
    page.close()


def test_everything_is_reachable_by_keyboard(site: Site) -> None:
    page = site.open("#/targets")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    page.get_by_role("link", name="Rules").focus()
    page.keyboard.press("Enter")
    expect(page.locator("h1")).to_have_text("Rules")


@pytest.mark.skipif(not AXE.is_file(), reason="run `npm ci` in ui/ first")
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_no_page_breaks_an_accessibility_rule(site: Site, scheme: str) -> None:
    page = site.open("#/query", color_scheme=scheme, bypass_csp=True)
    page.add_script_tag(path=str(AXE))
    found = {}
    # Dark differs by its colours alone, which a few pages have all of.
    for address in PAGES if scheme == "light" else ("rehearsal", "cluster", "targets", "tsdb"):
        visit(page, address)
        result = page.evaluate("axe.run(document, {resultTypes: ['violations']})")
        for broken in result["violations"]:
            found[f"{address}: {broken['id']}"] = [node["html"][:160] for node in broken["nodes"][:3]]
    assert found == {}


#: Pages that are the same whenever they are looked at, but for what is painted over.
PICTURES = ("rehearsal", "cluster", "traffic", "load", "service-discovery")
GOLDENS = Path(__file__).parent / "goldens"
MOVING = "time, .dim, .age, .banner, nav small, pre, .series output, td.number, [aria-live]"
#: Luminance is compared in blocks of this many pixels, so that another machine's fonts make no difference.
BLOCK = 16


def picture(page: Any) -> Any:
    """A page in blocks of luminance, 0 to 255."""
    shot = page.screenshot(mask=[page.locator(MOVING)], mask_color="#808080", animations="disabled")
    with Image.open(io.BytesIO(shot)) as image:
        return image.convert("L").resize((image.width // BLOCK, image.height // BLOCK), Image.Resampling.BOX)


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (1280, "dark"), (400, "light")])
def test_pages_look_as_they_did_when_somebody_looked(site: Site, width: int, scheme: str) -> None:
    """Renew after a change that is meant, and look at what changed:
    ``WAVETANK_RENEW_GOLDENS=1 pytest tests/web/test_console_browser.py -k look_as``."""
    page = site.open("#/query", width=width, color_scheme=scheme)
    apart = {}
    for address in PICTURES:
        visit(page, address)
        page.wait_for_load_state("networkidle")
        found = picture(page)
        golden = GOLDENS / f"{address}-{scheme}-{width}.png"
        if os.environ.get("WAVETANK_RENEW_GOLDENS"):
            found.save(golden, optimize=True)
        with Image.open(golden) as kept:
            assert kept.size == found.size
            apart[address] = far(np.asarray(kept, float), np.asarray(found, float))
    assert {address: share for address, share in apart.items() if share > 0.3} == {}


def far(kept: Any, found: Any) -> float:
    """The share of blocks with something in them that have no counterpart in or beside their place, since
    another font breaks lines elsewhere; of both pictures, the larger."""
    return max(_without_counterpart(kept, found), _without_counterpart(found, kept))


def _without_counterpart(one: Any, other: Any) -> float:
    inked = np.abs(one - np.median(one)) > 8
    padded = np.pad(other, 1, mode="edge")
    rows, columns = other.shape
    near = [padded[y : y + rows, x : x + columns] for y in range(3) for x in range(3)]
    alone = (one < np.min(near, axis=0) - 12) | (one > np.max(near, axis=0) + 12)
    return float(alone[inked].mean()) if inked.any() else 0.0


def test_a_page_survives_a_restart_of_the_server(site: Site) -> None:
    page = site.open("#/query?g0.expr=up&g0.tab=table")
    expect(page.locator(".result")).to_contain_text("self")
    site.server.stop()
    expect(page.locator(".banner")).to_contain_text("has not answered")
    expect(page.locator(".result")).to_contain_text("self")
    site.server.start()
    expect(page.locator(".banner")).to_have_count(0)
    page.click("button.primary:has-text('Run')")
    expect(page.locator(".result")).to_contain_text("self")
    expect(page.locator("[role=alert]")).to_have_count(0)
    page.goto(f"{site.server.url}/#/cluster")
    expect(page.locator("main")).to_contain_text("web-1-aaaaa")  # still signed in
    refused = re.compile("ERR_CONNECTION_REFUSED|ERR_EMPTY_RESPONSE|ERR_CONNECTION_RESET|ERR_INCOMPLETE|503")
    site.complaints[:] = [text for text in site.complaints if not refused.search(text)]
