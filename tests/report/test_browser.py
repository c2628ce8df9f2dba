"""The HTML report in a real browser, from a file and without a network."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from test_renderings import empty, hostile

from wavetank.rehearsal.report import Report, render_html
from wavetank.rehearsal.report.model import Timeline

playwright = pytest.importorskip("playwright.sync_api")
expect = playwright.expect
CHROMIUM = os.environ.get("WAVETANK_CHROMIUM") or shutil.which("chromium")
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
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


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with playwright.sync_playwright() as driver:
        started = driver.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield started
        started.close()


class Opener:
    """Opens reports, and remembers every complaint and request of the pages."""

    def __init__(self, browser: Any, directory: Path) -> None:
        self._browser = browser
        self._directory = directory
        self._contexts: list[Any] = []
        self.complaints: list[str] = []
        self.requests: list[str] = []

    def __call__(self, report: Report, width: int = 1280, **settings: Any) -> Any:
        path = self._directory / "report.html"
        path.write_text(render_html(report), encoding="utf-8")
        context = self._browser.new_context(
            viewport={"width": width, "height": 900}, locale="en-US", timezone_id="UTC", **settings
        )
        context.set_offline(True)
        self._contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: self.complaints.append(message.text))
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("request", lambda request: self.requests.append(request.url))
        page.goto(path.as_uri())
        if settings.get("java_script_enabled", True):
            page.wait_for_selector("html[data-ready]")
        return page

    def close(self) -> None:
        for context in self._contexts:
            context.close()


@pytest.fixture
def opened(browser: Any, tmp_path: Path) -> Iterator[Opener]:
    opener = Opener(browser, tmp_path)
    yield opener
    opener.close()
    assert opener.complaints == []
    assert [url for url in opener.requests if not url.startswith("file://")] == []
    assert len(opener.requests) <= len(opener._contexts)


def shown_ticks(page: Any) -> list[str]:
    return list(page.locator(".ticks span").all_inner_texts())


def test_the_verdict_comes_first_and_every_part_is_there(opened: Opener, example: Report) -> None:
    page = opened(example)
    assert "latency-p99 was 2.13\N{NO-BREAK SPACE}s" in page.locator("h1").text_content()
    assert page.locator("main h2").all_inner_texts() == [
        "SLOs",
        "What gave out first",
        "What to change",
        "Timeline",
        "Where the seconds went checkout",
        "Requests",
        "Pods",
        "Events",
        "Environment",
    ]
    assert page.locator(".slos tbody").count() == 2
    assert page.locator(".pods tbody tr").count() == len(example.pods)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_chart_is_painted(opened: Opener, example: Report, scheme: str) -> None:
    page = opened(example, color_scheme=scheme)
    painted = [canvas.evaluate(PAINTED) for canvas in page.locator(".chart canvas").all()]
    assert len(painted) == 9 and min(painted) > 1000
    assert page.locator("html").get_attribute("data-theme") == scheme


def test_a_scaling_is_shown_second_by_second(opened: Opener, example: Report) -> None:
    page = opened(example)
    assert page.locator(".waterfall").count() == 3
    first = page.locator(".waterfall").first
    stages = first.locator(".rows .stage").all_text_contents()
    assert stages[5:9] == ["image pulledmodelled", "process started", "ready", "unexplained"]
    assert first.locator(".rows .length").all_inner_texts()[-1] == "31.9 s"
    hatched = first.locator(".modelled .bar i").evaluate("bar => getComputedStyle(bar).backgroundImage")
    assert "repeating-linear-gradient" in hatched
    colours = [
        first.locator(f".phase-{phase} .bar i").first.evaluate("b => getComputedStyle(b).backgroundColor")
        for phase in ("metrics", "autoscaler", "traffic", "unexplained")
    ]
    assert len(set(colours)) == 4


@pytest.mark.parametrize("width", [400, 1280])
def test_nothing_is_wider_than_the_screen(opened: Opener, example: Report, width: int) -> None:
    page = opened(example, width)
    assert page.evaluate("document.documentElement.scrollWidth") == width


def test_one_cursor_moves_through_all_charts(opened: Opener, example: Report) -> None:
    page = opened(example)
    page.locator("#chart-rate .u-over").hover(position={"x": 400, "y": 40})
    replicas = page.locator("figure[id^=chart-replicas] output")
    expect(replicas).to_have_text(["3", "5"])
    page.mouse.move(0, 0)
    expect(replicas).to_have_text(["max 5", "max 5"])


def test_scale_ups_point_up_and_scale_downs_down(opened: Opener, example: Report) -> None:
    page = opened(example)
    scaled = page.locator(".marks button[aria-label*=scaled]")
    turned = [glyph.get_attribute("transform") for glyph in scaled.locator("path").all()]
    assert turned == [None, None, "rotate(180 5 5)"]


def test_dragging_zooms_all_charts_and_a_double_click_shows_all(opened: Opener, example: Report) -> None:
    page = opened(example)
    before = shown_ticks(page)
    chart = page.locator("#chart-rate .u-over")
    chart.scroll_into_view_if_needed()
    box = chart.bounding_box()
    page.mouse.move(box["x"] + 300, box["y"] + 60)
    page.mouse.down()
    page.mouse.move(box["x"] + 500, box["y"] + 60, steps=4)
    page.mouse.up()
    expect(page.locator(".stages span")).to_have_count(1)
    assert shown_ticks(page) != before
    page.mouse.dblclick(box["x"] + 300, box["y"] + 60)
    expect(page.locator(".ticks span")).to_have_text(before)


def test_the_keyboard_reaches_the_charts(opened: Opener, example: Report) -> None:
    page = opened(example)
    before = shown_ticks(page)
    page.locator(".timeline").focus()
    page.keyboard.press("End")
    expect(page.locator(".now output")).to_have_text("3:07")
    page.keyboard.press("ArrowLeft")
    expect(page.locator(".now output")).to_have_text("3:06")
    page.keyboard.press("+")
    expect(page.locator(".ticks span")).not_to_have_text(before)
    page.keyboard.press("Escape")
    expect(page.locator(".ticks span")).to_have_text(before)
    expect(page.locator(".now")).to_have_count(0)


def test_events_are_filtered_and_lead_to_the_charts(opened: Opener, example: Report) -> None:
    page = opened(example)
    page.get_by_label("Filter events by word").fill("oomkilled 192")
    expect(page.locator(".events .kind")).to_have_text(["oom"])
    page.locator(".events .time").click()
    expect(page.locator(".now output")).to_have_text("1:11")
    page.get_by_label("Filter events by word").fill("")
    page.get_by_label("scale", exact=True).uncheck()
    expect(page.locator(".events li")).to_have_count(len(example.events) - 3)
    assert "scale" not in page.locator(".events .kind").all_inner_texts()


def test_the_reader_chooses_the_colours(opened: Opener, example: Report) -> None:
    page = opened(example, color_scheme="light")
    page.get_by_text("dark", exact=True).click()
    expect(page.locator("html")).to_have_attribute("data-theme", "dark")
    assert page.locator("body").evaluate("b => getComputedStyle(b.parentElement).backgroundColor") == (
        "rgb(20, 24, 27)"
    )


def test_print_is_light_and_fits_the_paper(opened: Opener, example: Report) -> None:
    page = opened(example, color_scheme="dark")
    page.evaluate("window.dispatchEvent(new Event('beforeprint'))")
    assert page.locator("html").get_attribute("data-theme") == "light"
    assert page.locator("#chart-rate .uplot").evaluate("u => u.clientWidth") <= 700
    page.evaluate("window.dispatchEvent(new Event('afterprint'))")
    assert page.locator("html").get_attribute("data-theme") == "dark"


def test_tables_take_the_place_of_charts_for_readers(opened: Opener, example: Report) -> None:
    page = opened(example)
    page.get_by_text("The same as a table").click()
    expect(page.get_by_label("Timeline as a table").locator("tbody tr")).to_have_count(187)


def test_every_control_and_chart_has_a_name(opened: Opener, example: Report) -> None:
    page = opened(example)
    nameless = page.evaluate(
        """() => [...document.querySelectorAll("button, input, select, a, [role]")].filter(e =>
             !(e.ariaLabel || e.textContent.trim() || e.labels?.length)).map(e => e.outerHTML)"""
    )
    assert nameless == []


def test_without_scripts_the_text_is_there(opened: Opener, example: Report) -> None:
    page = opened(example, java_script_enabled=False)
    assert "It does not hold" in page.locator("noscript h1").inner_text()
    assert "OOM" not in page.title()


@pytest.mark.parametrize("text", ["</script><script>console.log(1)</script>", '"><img src=x>', ""])
def test_hostile_texts_are_shown_as_texts(opened: Opener, example: Report, text: str) -> None:
    page = opened(hostile(example, text))
    assert page.locator(".kicker b").inner_text() == text
    assert page.locator("img").count() == 0


def test_a_run_that_was_stopped_at_once_still_opens(opened: Opener, example: Report) -> None:
    page = opened(empty(example))
    assert page.locator("h1").inner_text().replace("\N{NO-BREAK SPACE}", " ") == "No verdict after 3 min 7 s."
    assert "No timeline was recorded." in page.locator("#timeline").inner_text()


def test_series_of_the_wrong_length_or_without_values_do_no_harm(opened: Opener, example: Report) -> None:
    timeline = Timeline(
        step_seconds=0.5,
        at_seconds=(0.5, 1.0, 1.5),
        arrival_rps=(1.0,),
        p99_ms=(None, None, None),
        success_ratio=(None, 1.0, 0.0, 0.5),
        p50_ms=(0.0, 0.0, 0.0),
    )
    page = opened(msgspec.structs.replace(example, timeline=timeline, workloads=(), slos=()))
    assert page.locator(".chart").count() == 3


def test_it_saves_its_own_json(opened: Opener, example: Report, tmp_path: Path) -> None:
    page = opened(example)
    with page.expect_download() as download:
        page.get_by_text("Save this report as JSON").click()
    download.value.save_as(tmp_path / "saved.json")
    opened.requests[:] = [url for url in opened.requests if not url.startswith("blob:")]
    assert json.loads((tmp_path / "saved.json").read_text())["name"] == example.name
