"""Every dashboard of a directory against a server or data directory: do panels load, variables resolve,
expressions answer?

    python bench/dashboards_all.py DIRECTORY [--data DIR | --url URL]

Prints one line a dashboard and the shares over all of them.
"""

from __future__ import annotations

import argparse
from contextlib import ExitStack
from pathlib import Path

from wavetank.clock import Clock, RealClock
from wavetank.dashboards.check import BoardCheck, NoSource, check_dashboard
from wavetank.dashboards.data import open_data
from wavetank.dashboards.load import load_file
from wavetank.dashboards.source import HTTPSource, Source


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("directory", type=Path)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--url")
    args = parser.parse_args()
    clock = RealClock()
    with ExitStack() as stack:
        source: Source = HTTPSource(args.url) if args.url else NoSource()
        moment: Clock = clock
        if args.data:
            source, moment = stack.enter_context(open_data(args.data))
        results: list[BoardCheck] = []
        for path in sorted(args.directory.rglob("*.json")):
            started = clock.monotonic()
            result = check_dashboard(load_file(path), source, moment)
            results.append(result)
            _print(path, result, clock.monotonic() - started)
    _summary(results)


def _print(path: Path, result: BoardCheck, seconds: float) -> None:
    count = {s: sum(p.state == s for p in result.panels) for s in ("ok", "empty", "unsupported", "failed")}
    words = ", ".join(f"{n} {state}" for state, n in count.items() if n)
    print(f"{path.stem:<34} {len(result.panels):>4} panels: {words:<30} {seconds:6.2f} s")


def _summary(results: list[BoardCheck]) -> None:
    panels = [p for r in results for p in r.panels]
    variables = sum(len(r.variables) for r in results)
    unresolved = sum(len(r.problems) for r in results)
    failed = sum(p.state == "failed" for p in panels)
    queries = sum(p.queries for p in panels)
    print(f"dashboards {len(results)}, panels {len(panels)}, queries {queries}, variables {variables}")
    print(f"panels that load and are answered: {1 - failed / max(1, len(panels)):.1%}")
    print(f"variables that resolve: {1 - unresolved / max(1, variables):.1%}")


if __name__ == "__main__":
    main()
