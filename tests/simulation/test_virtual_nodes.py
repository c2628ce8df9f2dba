"""Nodes that come and go in virtual time, by the control loop of a rehearsal."""

from __future__ import annotations

from pathlib import Path

import pytest

from wavetank.rehearsal.outcome.nodes import node_seconds
from wavetank.rehearsal.plan import make_plan
from wavetank.rehearsal.report.model import Node
from wavetank.rehearsal.simulated import Options, simulate_plan

EXAMPLE = Path(__file__).parents[2] / "examples" / "cold-pull"

REHEARSAL = """
apiVersion: wavetank.dev/v1
kind: Rehearsal
metadata: {name: nodes}
spec:
  cluster:
    nodes: [{name: node-1, cpu: "1", memory: 8Gi}]
    autoscaler:
      {max: 2, bootDelay: 30s, unneededTime: 20s, delayAfterAdd: 20s, template: {cpu: "1", memory: 8Gi}}
  manifests: [app.yaml]
  load:
    target: {gateway: web, host: ml.example.com}
    stages: [{duration: 100s, rps: 100}, {duration: 160s, rps: 2}]
"""


@pytest.mark.slow
def test_a_pod_without_a_place_brings_a_node_which_goes_when_nobody_needs_it(tmp_path: Path) -> None:
    (tmp_path / "rehearsal.yaml").write_text(REHEARSAL)
    behavior = "  maxReplicas: 4\n  behavior: {scaleDown: {stabilizationWindowSeconds: 0}}\n"
    app = (EXAMPLE / "app.yaml").read_text().replace("  maxReplicas: 8\n", behavior)
    (tmp_path / "app.yaml").write_text(app)
    (tmp_path / "model.yaml").write_text((EXAMPLE / "model.yaml").read_text())
    run = tmp_path / "run"
    run.mkdir()
    report = simulate_plan(make_plan(tmp_path, simulated=True), Options(tmp_path, run), run)
    standing, added = report.nodes[0], report.nodes[1:]
    assert (standing.name, standing.autoscaled) == ("node-1", False)
    assert added
    assert all(node.autoscaled for node in added)
    first = added[0]
    assert first.ordered_at_seconds is not None
    assert first.started_at_seconds == pytest.approx(first.ordered_at_seconds + 30.0)
    assert any(pod.node == first.name and pod.ready_at_seconds is not None for pod in report.pods)
    assert all(node.ended_at_seconds is not None for node in added)
    assert max(v for v in report.timeline.nodes if v is not None) == 1.0 + len(added)
    assert report.figures.node_seconds is not None
    assert report.figures.node_seconds > 260.0
    assert any(s.name == "scheduled" and s.seconds >= 30 for up in report.scalings for s in up.stages)


def test_node_seconds_count_from_the_order_to_the_end_within_the_load() -> None:
    found = (
        Node(name="standing"),
        Node(
            name="a", autoscaled=True, ordered_at_seconds=50.0, started_at_seconds=80.0, ended_at_seconds=90.0
        ),
        Node(name="b", autoscaled=True, ordered_at_seconds=5.0),
        Node(name="late", autoscaled=True, ordered_at_seconds=200.0),
    )
    assert node_seconds(found, 10.0, 110.0) == 100.0 + 40.0 + 100.0
