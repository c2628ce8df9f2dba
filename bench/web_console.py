"""How soon the console paints, and how soon a graph of 50 series x 2,000 points stands.

Everything is measured inside Chromium: first contentful paint of a fresh page from its own timeline;
for the graph, from the arrival of the answer (made here and served by interception, so that no server's
speed is in it) to the frame after the canvas is drawn, and the same for a second answer. Medians. Sizes are
compressed bytes of a first visit. Needs chromium and playwright, and a server with the console:

    wavetank prometheus --config.file=prometheus.yml &
    python bench/web_console.py http://127.0.0.1:9090 [REPEATS]
"""

from __future__ import annotations

import gzip
import json
import math
import shutil
import statistics
import sys
from pathlib import Path

from playwright.sync_api import Page, Route, sync_playwright

STATIC = Path(__file__).parents[1] / "src" / "wavetank" / "web" / "static"
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"]
FLAGS += ["--disable-background-networking", "--disable-component-update"]
SERIES, POINTS = 50, 2000
DRAWN = """
() => new Promise(done => {
  const began = performance.now();
  const look = () => document.querySelector(".graph .uplot[data-drawn]") && !window.benchSeen?.isConnected
    ? requestAnimationFrame(() => done(performance.now() - (window.benchAnswered ?? began)))
    : requestAnimationFrame(look);
  look();
})
"""
#: Notes when the answer's body is in the page's hands, before it is parsed.
NOTE = """
const read = Response.prototype.text;
Response.prototype.text = async function () {
  const body = await read.call(this);
  if (this.url.includes("query_range")) window.benchAnswered = performance.now();
  return body;
};
"""


def answer(request: Route) -> None:
    form = dict(part.split("=", 1) for part in (request.request.post_data or "").split("&"))
    start, step = float(form["start"]), float(form["step"])
    result = [
        {
            "metric": {"__name__": "wave", "series": str(s)},
            "values": [[start + i * step, f"{s + math.sin(i / 50 + s):.6f}"] for i in range(POINTS)],
        }
        for s in range(SERIES)
    ]
    body = {"status": "success", "data": {"resultType": "matrix", "result": result}}
    request.fulfill(body=json.dumps(body), content_type="application/json")


def graph_ms(page: Page, url: str) -> tuple[float, float]:
    page.add_init_script(NOTE)
    page.route("**/api/v1/query_range", answer)
    page.goto(f"{url}/#/query?g0.expr=wave&g0.range_input={POINTS - 1}s&g0.step_input=1")
    first = page.evaluate(DRAWN)
    page.evaluate(
        "window.benchSeen = document.querySelector('.graph .uplot'), window.benchAnswered = undefined"
    )
    page.click("button.primary")
    return float(first), float(page.evaluate(DRAWN))


def main() -> None:
    url = sys.argv[1].rstrip("/")
    repeats = int(sys.argv[2]) if len(sys.argv) > 2 else 5
    paints, firsts, updates = [], [], []
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=shutil.which("chromium"), args=FLAGS)
        for _ in range(repeats):
            page = browser.new_page(viewport={"width": 1280, "height": 800})
            page.goto(f"{url}/#/targets")
            page.wait_for_selector("html[data-ready]")
            paint = "performance.getEntriesByName('first-contentful-paint')[0]?.startTime ?? NaN"
            paints.append(float(page.evaluate(paint)))
            page.close()
            page = browser.new_page(viewport={"width": 1280, "height": 800})
            first, update = graph_ms(page, url)
            firsts.append(first)
            updates.append(update)
            page.close()
        browser.close()
    sizes = {
        name: len(gzip.compress((STATIC / name).read_bytes(), 9))
        for name in ("console.js", "console.css", "editor.js")
    }
    print(f"first contentful paint        {statistics.median(paints):8.0f} ms")
    print(f"{SERIES} x {POINTS} first frame       {statistics.median(firsts):8.0f} ms")
    print(f"{SERIES} x {POINTS} next answer       {statistics.median(updates):8.0f} ms")
    print(f"core, compressed              {(sizes['console.js'] + sizes['console.css']) / 1024:8.1f} KiB")
    print(f"editor, compressed            {sizes['editor.js'] / 1024:8.1f} KiB")


if __name__ == "__main__":
    main()
