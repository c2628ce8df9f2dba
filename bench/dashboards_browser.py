"""A dashboard over 24 hours in a browser: first screen, refresh, all of its panels; and one of 2,000 panels.

    python bench/dashboards_browser.py NODE_EXPORTER_FULL.json [REPEATS]

A server of its own holds made data for every selector of the dashboard. Times are the browser's: from the
navigation, from the click on ``Refresh``, or from the opening of all rows, until the last panel concerned is
painted, and of the last request the server's part and the network's. ``page cpu`` and ``server cpu`` are what
the page's main thread and the server computed for it, which other programs on the machine do not lengthen:
their sum is about the time on an idle machine. Medians. "All" opens every row, in a window so high that
all panels are in sight, which asks for all of them in one request.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import tempfile
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dashboards_node_full import NOW, fill, series_of
from playwright.sync_api import Browser, Page, sync_playwright
from web_console import FLAGS, Busy, served

from wavetank.clock import VirtualClock
from wavetank.dashboards.load import load_file
from wavetank.tsdb.db import DB
from wavetank.tsdb.options import Options

HOURS = 24
#: Waits until every panel in sight of the newest answer is painted; gives what the last request took.
SETTLED = """
since => new Promise(done => {
  const requests = () => performance.getEntriesByType("resource").filter(e => e.name.endsWith("/frames"));
  const inSight = panel => {
    const box = panel.getBoundingClientRect();
    return box.bottom > 0 && box.top < innerHeight;
  };
  const waiting = () => [...document.querySelectorAll(".wt-panel")]
    .some(panel => inSight(panel) && panel.dataset.state === "waiting");
  const look = () => {
    const answers = requests().filter(e => e.responseEnd > since);
    if (!answers.length || waiting() || document.querySelector(".wt-body.loading"))
      return setTimeout(look, 20);
    requestAnimationFrame(() => setTimeout(() => {
      const last = answers.at(-1);
      done({whole: performance.now() - since, server: last.responseStart - last.requestStart,
            network: last.responseEnd - last.responseStart, kB: last.encodedBodySize / 1000});
    }));
  };
  look();
})
"""
OPEN_ALL = """
() => new Promise(done => {
  document.querySelectorAll(".wt-row h2 button[aria-expanded=false]").forEach(row => row.click());
  requestAnimationFrame(() => requestAnimationFrame(done));
})
"""


class Cpu:
    """Milliseconds of CPU since the last call, of the page's main thread and of the server."""

    def __init__(self, page: Page, url: str) -> None:
        self._busy, self._url = Busy(page), url
        self._before = (0.0, self._server())

    def _server(self) -> float:
        with urllib.request.urlopen(f"{self._url}/metrics") as answer:
            lines = answer.read().decode().splitlines()
        return next(float(x.split()[1]) for x in lines if x.startswith("process_cpu_seconds_total")) * 1000

    def __call__(self) -> dict[str, float]:
        before, self._before = self._before, (self._busy(), self._server())
        return {"page cpu": self._before[0] - before[0], "server cpu": self._before[1] - before[1]}


def address(url: str, uid: str) -> str:
    return f"{url}/#/dashboards/{uid}?from={(NOW - HOURS * 3600) * 1000}&to={NOW * 1000}&refresh=off"


Times = dict[str, float]


def first_screen(page: Page, url: str, uid: str, cpu: Cpu) -> tuple[Times, Times]:
    page.goto(address(url, uid))
    first = {**page.evaluate(SETTLED, 0), **cpu()}
    since = page.evaluate("performance.now()")
    page.click("button[title='Refresh now']")
    return first, {**page.evaluate(SETTLED, since), **cpu()}


def all_panels(page: Page, cpu: Cpu) -> Times:
    """Until all panels of all rows are painted, in a window that is high enough for them."""
    page.set_viewport_size({"width": 1280, "height": 30_000})
    page.evaluate(SETTLED, 0)
    cpu()
    since = page.evaluate("performance.now()")
    page.evaluate(OPEN_ALL)
    return {**page.evaluate(SETTLED, since), **cpu()}


def many_panels(directory: Path) -> str:
    """A dashboard of 2,000 panels."""
    panels = [
        {"id": i + 1, "type": "timeseries", "title": f"Panel {i}", "targets": [{"refId": "A", "expr": "up"}],
         "gridPos": {"x": i % 4 * 6, "y": i // 4 * 8, "w": 6, "h": 8}}
        for i in range(2000)
    ]  # fmt: skip
    body = {"uid": "many", "title": "Many", "schemaVersion": 42, "panels": panels}
    (directory / "many.json").write_text(json.dumps(body))
    return "many"


def line(rows: Sequence[Times]) -> str:
    found = {name: statistics.median(row[name] for row in rows) for name in rows[0]}
    return "  ".join(f"{name} {value:5.0f}" for name, value in found.items())


def measured(browser: Browser, url: str, uid: str, repeats: int) -> None:
    firsts, updates, wholes = [], [], []
    panels = 0
    for _ in range(repeats):
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        cpu = Cpu(page, url)
        first, update = first_screen(page, url, uid, cpu)
        firsts.append(first)
        updates.append(update)
        wholes.append(all_panels(page, cpu))
        panels = page.locator(".wt-panel").count()
        page.close()
    print(f"first screen     {line(firsts)}")
    print(f"refresh          {line(updates)}")
    print(f"all {panels:>5} panels {line(wholes)}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("dashboard", type=Path)
    parser.add_argument("repeats", type=int, nargs="?", default=3)
    parser.add_argument("--data", type=Path, help="kept data of an earlier run, or where to keep them")
    args = parser.parse_args()
    dashboard = load_file(args.dashboard)
    with tempfile.TemporaryDirectory() as name, sync_playwright() as driver:
        directory = Path(name)
        boards = directory / "boards"
        boards.mkdir()
        shutil.copy(args.dashboard, boards)
        many = many_panels(boards)
        data = args.data or directory / "data"
        if not data.exists():
            db = DB.open(data, Options(lock_file=False), VirtualClock(start=NOW))
            fill(db, series_of(dashboard), HOURS * 3600, 15)
            db.close()
        browser: Any = driver.chromium.launch(executable_path=shutil.which("chromium"), args=FLAGS)
        with served(directory, data, [f"--web.dashboards={boards}"]) as url:
            page = browser.new_page()  # the first query of a server compiles its kernels
            page.goto(address(url, dashboard.uid))
            page.evaluate(SETTLED, 0)
            page.close()
            measured(browser, url, dashboard.uid, args.repeats)
            page = browser.new_page(viewport={"width": 1280, "height": 900})
            page.goto(address(url, many))
            print(f"2,000 panels     {line([page.evaluate(SETTLED, 0)])}")
        browser.close()
    load = f"load of the machine: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores"
    print(f"{load}; medians of {args.repeats}, ms")


if __name__ == "__main__":
    main()
