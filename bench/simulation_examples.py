"""Draws the pictures of the simulated examples: each is simulated as it stands, and beside it with one thing
changed, where the comparison is the point.

Run: ``python bench/simulation_examples.py [NAME...]``; writes ``examples/NAME/picture.svg``.
"""

from __future__ import annotations

import copy
import sys
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from wavetank.rehearsal.comparison import picture
from wavetank.rehearsal.plan import Plan, make_plan
from wavetank.rehearsal.report import Report
from wavetank.rehearsal.simulated import Options, simulate_plan

EXAMPLES = Path(__file__).parents[1] / "examples"
Change = Callable[[dict[str, Any]], None]


def without_retries(obj: dict[str, Any]) -> None:
    if obj["kind"] == "VirtualService":
        rule = obj["spec"]["http"][0]
        rule["timeout"] = rule.pop("retries")["perTryTimeout"]


def with_a_window(obj: dict[str, Any]) -> None:
    if obj["kind"] == "HorizontalPodAutoscaler":
        obj["spec"]["behavior"]["scaleDown"]["stabilizationWindowSeconds"] = 300


def with_more_at_rest(obj: dict[str, Any]) -> None:
    if obj["kind"] == "HorizontalPodAutoscaler":
        obj["spec"]["minReplicas"] = 7


PAIRS: dict[str, tuple[str, str, Change] | None] = {
    "flash-crowd": ("minReplicas 2", "minReplicas 7", with_more_at_rest),
    "scale-to-zero": None,
    "flapping": ("window 0 s", "window 300 s", with_a_window),
    "cold-pull": None,
    "retry-storm": ("3 retries", "no retries", without_retries),
}


def changed(plan: Plan, change: Change) -> Plan:
    manifests = []
    for manifest in plan.manifests:
        obj = copy.deepcopy(manifest.object)
        change(obj)
        manifests.append(replace(manifest, object=obj))
    return replace(plan, manifests=tuple(manifests))


def simulated(plan: Plan) -> Report:
    with tempfile.TemporaryDirectory() as directory:
        return simulate_plan(plan, Options(plan.directory, Path(directory)), Path(directory))


def main() -> None:
    for name in sys.argv[1:] or PAIRS:
        plan = make_plan(EXAMPLES / name, simulated=True)
        pair = PAIRS[name]
        if pair is None:
            reports = [(name, simulated(plan))]
        else:
            as_is, other, change = pair
            reports = [(as_is, simulated(plan)), (other, simulated(changed(plan, change)))]
        text = picture(reports)
        (EXAMPLES / name / "picture.svg").write_text(text)
        told = "; ".join(
            f"{label}: "
            + ", ".join(f"{s.name} {s.value:.4g}" for s in report.slos if s.value is not None)
            + f", {len(report.scalings)} scalings"
            for label, report in reports
        )
        print(f"{name}: {told}; {len(text) / 1024:.0f} KB")


if __name__ == "__main__":
    main()
