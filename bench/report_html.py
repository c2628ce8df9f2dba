"""How large the HTML report is and how fast it opens, by length of run.

Opening is measured inside Chromium, from navigation to the frame after all charts are drawn
(``performance.now()`` at that frame); median of the given number of fresh pages. The peer is the page that
Locust writes (``--html``), without its data: its size alone. Needs chromium and playwright.

    python bench/report_html.py [REPEATS]
"""

from __future__ import annotations

import shutil
import statistics
import sys
import tempfile
from pathlib import Path

import locust
import msgspec
from playwright.sync_api import Browser, sync_playwright

from wavetank.clock import cpu_seconds
from wavetank.rehearsal.report import Report, decode, render_html

EXAMPLE = Path(__file__).parents[1] / "tests" / "report" / "data" / "example.json"
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"]
FLAGS += ["--disable-background-networking", "--disable-component-update"]


def stretched(value: object, steps: int) -> object:
    """The same with every timeline array repeated until it has ``steps`` values."""
    if isinstance(value, msgspec.Struct):
        fields = {name: stretched(getattr(value, name), steps) for name in value.__struct_fields__}
        return msgspec.structs.replace(value, **fields)
    if isinstance(value, tuple) and len(value) > 100 and not isinstance(value[0], msgspec.Struct):
        return tuple((value * (steps // len(value) + 1))[:steps])
    return value


def run_of(report: Report, steps: int, step_seconds: float) -> Report:
    report = stretched(report, steps)  # type: ignore[assignment]
    workloads = tuple(stretched(w, steps) for w in report.workloads)
    slos = tuple(stretched(s, steps) for s in report.slos)
    at = tuple(round((i + 1) * step_seconds, 3) for i in range(steps))
    timeline = msgspec.structs.replace(report.timeline, at_seconds=at, step_seconds=step_seconds)
    changes = {"workloads": workloads, "slos": slos, "timeline": timeline, "duration_seconds": at[-1]}
    return msgspec.structs.replace(report, **changes)


def opening_ms(browser: Browser, path: Path) -> float:
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    page.goto(path.as_uri())
    page.wait_for_selector("html[data-ready]")
    ready = page.locator("html").get_attribute("data-ready")
    page.close()
    return float(ready or "nan")


def main() -> None:
    repeats = int(sys.argv[1]) if len(sys.argv) > 1 else 7
    example = decode(EXAMPLE.read_bytes())
    peer = Path(locust.__file__).parent / "webui" / "dist" / "report.html"
    peer_bytes = peer.stat().st_size if peer.exists() else None
    with sync_playwright() as driver, tempfile.TemporaryDirectory() as directory:
        browser = driver.chromium.launch(executable_path=shutil.which("chromium"), args=FLAGS)
        for name, steps, step in (("3 min", 187, 1.0), ("1 h", 3600, 1.0), ("24 h", 5760, 15.0)):
            report = run_of(example, steps, step)
            started = cpu_seconds()
            text = render_html(report).encode()
            rendering_ms = (cpu_seconds() - started) * 1000
            path = Path(directory) / "report.html"
            path.write_bytes(text)
            times = [opening_ms(browser, path) for _ in range(repeats)]
            ratio = f", {len(text) / peer_bytes:.2f} of Locust's empty report" if peer_bytes else ""
            print(
                f"{name:>6} ({steps} steps): {len(text) / 1000:.0f} KB{ratio};"
                f" rendered in {rendering_ms:.0f} ms;"
                f" opens in {statistics.median(times):.0f} ms (worst {max(times):.0f} ms)"
            )
        browser.close()


if __name__ == "__main__":
    main()
