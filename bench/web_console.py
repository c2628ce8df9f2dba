"""How soon the console paints, and how soon a graph of 50 series x 2,000 points stands, part by part.

Starts a server of its own over made data and opens its console in Chromium. Of each graph the browser itself
tells the parts: the server (request sent until first byte), the network (first byte until last), decoding
(bytes to columns), drawing (page and canvas until the next frame is out). ``busy`` is what the page's main
thread computed meanwhile, in seconds of CPU, which other programs on the machine do not lengthen. ``bare
uPlot`` draws the same numbers on an empty page in the same minute: what the library alone takes here and now.
Last, a query of 50,000 series: until it is drawn and said, and the longest the page did not answer.

    python bench/web_console.py [REPEATS]      # needs chromium and playwright; bare uPlot: `npm ci` in ui/
"""

from __future__ import annotations

import contextlib
import gzip
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from playwright.sync_api import Page, sync_playwright

from wavetank.clock import VirtualClock
from wavetank.model.labels import Labels
from wavetank.tsdb.db import DB
from wavetank.tsdb.options import Options

ROOT = Path(__file__).parents[1]
STATIC = ROOT / "src" / "wavetank" / "web" / "static"
UPLOT = ROOT / "ui" / "node_modules" / "uplot" / "dist" / "uPlot.iife.min.js"
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"]
FLAGS += ["--disable-background-networking", "--disable-component-update"]
SERIES, POINTS, MANY = 50, 2000, 50_000
NOW = 1_760_000_000

#: Waits until the graph was drawn `before` + 1 times and the frame with it is out; gives the parts in ms.
PARTS = """
before => new Promise(done => {
  const marks = name => performance.getEntriesByName(name);
  const look = () => requestAnimationFrame(
    marks("graph-drawn").length > before ? () => setTimeout(out) : look);
  const out = () => {
    const end = performance.now();
    const [asked, answered, decoded] =
      ["query-asked", "query-answered", "query-decoded"].map(name => marks(name).at(-1).startTime);
    const all = performance.getEntriesByType("resource");
    const r = all.filter(e => e.name.includes("query_range")).at(-1);
    done({server: r.responseStart - r.requestStart, network: r.responseEnd - r.responseStart,
          decode: decoded - answered, draw: end - decoded, shown: end - answered, whole: end - asked});
  };
  look();
})
"""
BARE = """
async ([series, points]) => {
  const frame = () => new Promise(r => requestAnimationFrame(() => setTimeout(r)));
  const column = value => Float64Array.from({length: points}, (_, i) => value(i));
  const wave = (s, shift) => column(i => s + Math.sin(i / 50 + s + shift));
  const numbers = shift => [column(i => 1e9 + i), ...Array.from({length: series}, (_, s) => wave(s, shift))];
  const line = i => ({stroke: `hsl(${i * 7},60%,50%)`, width: 1, points: {show: false}});
  const lines = Array.from({length: series}, (_, i) => line(i));
  const size = {width: 1200, height: 320, legend: {show: false}, series: [{}, ...lines]};
  const first = numbers(0), second = numbers(1);
  let began = performance.now();
  const u = new uPlot(size, first, document.body);
  await frame();
  const made = performance.now() - began;
  began = performance.now();
  u.setData(second);
  await frame();
  return [made, performance.now() - began];
}
"""
LONGEST = """
() => { window.longest = 0; new PerformanceObserver(list => {
  for (const task of list.getEntries()) window.longest = Math.max(window.longest, task.duration);
}).observe({type: "longtask", buffered: true}); }
"""


def fill(directory: Path) -> None:
    """SERIES waves with a sample a second, and MANY series with two samples each."""
    db = DB.open(directory, Options(lock_file=False), VirtualClock(start=NOW))
    try:
        appender = db.appender()
        first = (NOW - POINTS) * 1000
        waves = [Labels.of(__name__="wave", series=str(s), job="sea") for s in range(SERIES)]
        refs = np.array([appender.append(0, found, first, 0.0) for found in waves], np.int64)
        appender.commit()
        phase = np.arange(SERIES)
        for i in range(1, POINTS + 1):
            appender = db.appender()
            at = np.full(SERIES, first + i * 1000, np.int64)
            appender.append_batch(refs, at, phase + np.sin(i / 50 + phase))
            appender.commit()
        for at_ms in ((NOW - 120) * 1000, NOW * 1000):
            appender = db.appender()
            for s in range(MANY):
                appender.append(
                    0, Labels.of(__name__="many", pod=f"pod-{s}", job="crowd"), at_ms, float(s % 977)
                )
            appender.commit()
    finally:
        db.close()


@contextlib.contextmanager
def served(directory: Path, data: Path, more: Sequence[str] = ()) -> Iterator[str]:
    """A server's address; ``directory`` gets its configuration, ``data`` holds its samples."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    config = directory / "prometheus.yml"
    config.write_text("global: {scrape_interval: 1h}\n")
    command = [sys.executable, "-m", "wavetank", "prometheus", f"--config.file={config}"]
    command += [f"--storage.tsdb.path={data}", "--storage.tsdb.retention.time=100y"]
    command += [f"--web.listen-address=127.0.0.1:{port}", *more]
    server = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    assert server.stderr is not None
    said = []
    try:
        for line in server.stderr:
            said.append(line)
            if "ready to receive" in line:
                break
        else:
            raise SystemExit("".join(said))
        yield f"http://127.0.0.1:{port}"
    finally:
        server.terminate()
        server.wait(30)


def address(url: str, expr: str, seconds: int, step: int) -> str:
    end = "2025-10-09+08%3A53%3A20"
    return f"{url}/#/query?g0.expr={expr}&g0.range_input={seconds}s&g0.step_input={step}&g0.end_input={end}"


class Busy:
    """CPU seconds of a page's main thread, as Chromium counts them."""

    def __init__(self, page: Page) -> None:
        self._tools = page.context.new_cdp_session(page)
        self._tools.send("Performance.enable", {"timeDomain": "threadTicks"})

    def __call__(self) -> float:
        found = self._tools.send("Performance.getMetrics")["metrics"]
        return next(float(m["value"]) for m in found if m["name"] == "TaskDuration") * 1000


def graph(page: Page, url: str) -> tuple[dict[str, float], dict[str, float]]:
    """The first graph of a page whose scripts have run, and the next answer in it."""
    page.goto(f"{url}/#/query")
    page.wait_for_selector(".input.loaded")
    busy = Busy(page)
    before = busy()
    page.evaluate("where => { location.hash = where }", address("", "wave", POINTS - 1, 1)[1:])
    first = page.evaluate(PARTS, 0)
    first["busy"] = busy() - before
    drawn = page.evaluate("performance.getEntriesByName('graph-drawn').length")
    before = busy()
    page.click("button.primary")
    update = page.evaluate(PARTS, drawn)
    return first, {**update, "busy": busy() - before}


def crowd(page: Page, url: str) -> tuple[float, float, str]:
    """Until 50,000 series are drawn as far as they are, the longest task of the page, and what it says."""
    page.goto(f"{url}/#/query")
    page.wait_for_selector(".input.loaded")
    page.evaluate(LONGEST)
    page.evaluate("where => { location.hash = where }", address("", "many", 300, 1)[1:])
    parts = page.evaluate(PARTS, 0)
    return parts["whole"], float(page.evaluate("window.longest")), page.locator(".note.warn").inner_text()


def median(rows: list[dict[str, float]]) -> str:
    names = ("shown", "busy", "server", "network", "decode", "draw")
    return "  ".join(f"{name} {statistics.median(row[name] for row in rows):4.0f}" for name in names)


def bare(browser: Any, repeats: int) -> str:
    if not UPLOT.is_file():
        return "absent"
    times = []
    for _ in range(repeats):
        page = browser.new_page(viewport={"width": 1280, "height": 800})
        page.add_script_tag(path=str(UPLOT))
        times.append(page.evaluate(BARE, [SERIES, POINTS]))
        page.close()
    first, update = (statistics.median(column) for column in zip(*times, strict=True))
    return f"first {first:4.0f}  update {update:4.0f}"


def main() -> None:
    repeats = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    paints, firsts, updates = [], [], []
    with tempfile.TemporaryDirectory() as directory, sync_playwright() as driver:
        fill(Path(directory) / "data")
        browser = driver.chromium.launch(executable_path=shutil.which("chromium"), args=FLAGS)
        with served(Path(directory), Path(directory) / "data") as url:
            for _ in range(repeats):
                page = browser.new_page(viewport={"width": 1280, "height": 800})
                page.goto(f"{url}/#/targets")
                page.wait_for_selector("html[data-ready]")
                paint = "performance.getEntriesByName('first-contentful-paint')[0]?.startTime ?? NaN"
                paints.append(float(page.evaluate(paint)))
                page.close()
                page = browser.new_page(viewport={"width": 1280, "height": 800})
                first, update = graph(page, url)
                firsts.append(first)
                updates.append(update)
                page.close()
            page = browser.new_page(viewport={"width": 1280, "height": 800})
            whole, longest, said = crowd(page, url)
        alone = bare(browser, repeats)
        browser.close()
    sizes = {
        name: len(gzip.compress((STATIC / name).read_bytes(), 9))
        for name in ("console.js", "console.css", "editor.js")
    }
    print(
        f"load of the machine: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores; medians of {repeats}, ms"
    )
    print(f"first contentful paint    {statistics.median(paints):6.0f}")
    print(f"{SERIES} x {POINTS} first frame    {median(firsts)}")
    print(f"{SERIES} x {POINTS} next answer    {median(updates)}")
    print(f"{SERIES} x {POINTS} bare uPlot     {alone}")
    print(f"{MANY} series             whole {whole:5.0f}  longest task {longest:4.0f}  “{said}”")
    print(f"core, compressed          {(sizes['console.js'] + sizes['console.css']) / 1024:6.1f} KiB")
    print(f"editor, compressed        {sizes['editor.js'] / 1024:6.1f} KiB")


if __name__ == "__main__":
    main()
