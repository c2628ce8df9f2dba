"""Draws the pictures of the simulated examples: each is simulated as it stands, and beside it with one thing
or another changed, where the comparison is the point.

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


def as_it_is(obj: dict[str, Any]) -> None:
    """Nothing changed."""


def with_policy(block: str, settings: dict[str, Any], *hosts: str) -> Change:
    """The DestinationRules of these hosts with one more block in their policy."""

    def change(obj: dict[str, Any]) -> None:
        if obj["kind"] == "DestinationRule" and obj["spec"]["host"] in hosts:
            obj["spec"]["trafficPolicy"][block] = settings

    return change


def with_a_window(obj: dict[str, Any]) -> None:
    if obj["kind"] == "HorizontalPodAutoscaler":
        obj["spec"]["behavior"]["scaleDown"]["stabilizationWindowSeconds"] = 300


def with_more_at_rest(obj: dict[str, Any]) -> None:
    if obj["kind"] == "HorizontalPodAutoscaler":
        obj["spec"]["minReplicas"] = 7


#: The settings that examples/retry-storm/README.md has.
BUDGET = {"percent": 10, "minRetryConcurrency": 3}
BREAKER = {"http": {"http2MaxRequests": 100}}
EJECTION = {
    "consecutive5xxErrors": 5, "interval": "5s", "baseEjectionTime": "30s", "maxEjectionPercent": 100,
}  # fmt: skip

Variants = dict[str, Change]
EXAMPLE: dict[str, Variants] = {
    "flash-crowd": {"minReplicas 2": as_it_is, "minReplicas 7": with_more_at_rest},
    "scale-to-zero": {"scale-to-zero": as_it_is},
    "flapping": {"window 0 s": as_it_is, "window 300 s": with_a_window},
    "cold-pull": {"cold-pull": as_it_is},
    "retry-storm": {
        "retries": as_it_is,
        "retry budgets": with_policy("retryBudget", BUDGET, "shop", "cart"),
        "circuit breaker": with_policy("connectionPool", BREAKER, "cart"),
        "ejection": with_policy("outlierDetection", EJECTION, "cart"),
    },
}
#: The charts of a picture, where it is not all of them.
CHARTS = {"retry-storm": ("requests/s", "failed requests/s", "tries of cart/s", "cart CPU, cores")}


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
    for name in sys.argv[1:] or EXAMPLE:
        plan = make_plan(EXAMPLES / name, simulated=True)
        reports = [(label, simulated(changed(plan, change))) for label, change in EXAMPLE[name].items()]
        text = picture(reports, CHARTS.get(name, ()))
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
