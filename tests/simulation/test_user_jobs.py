"""The user's prometheus.yml and rules in virtual time: discovery, relabelling, rules and alerts."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from wavetank.clock import VirtualClock
from wavetank.rehearsal.plan import make_plan
from wavetank.rehearsal.report.model import Report
from wavetank.rehearsal.simulated import Options, simulate_plan
from wavetank.simulation.query import EngineQuery
from wavetank.simulation.run import open_database

EXAMPLE = Path(__file__).parents[2] / "examples" / "cold-pull"

REHEARSAL = """
apiVersion: wavetank.dev/v1
kind: Rehearsal
metadata: {name: jobs}
spec:
  cluster: {nodes: [{name: node-1, cpu: "8", memory: 32Gi}]}
  manifests: [app.yaml]
  load:
    target: {gateway: web, host: ml.example.com}
    stages: [{duration: 30s, rps: 10}, {duration: 60s, rps: 100}, {duration: 60s, rps: 10}]
  monitoring: {prometheus: prometheus.yml, rules: [rules.yml]}
"""
PROMETHEUS = """
global: {evaluation_interval: 5s}
scrape_configs:
  - job_name: apps
    kubernetes_sd_configs: [{role: pod}]
    relabel_configs:
      - {source_labels: [__meta_kubernetes_pod_label_app], regex: ml, action: keep}
      - {source_labels: [__meta_kubernetes_pod_name], target_label: pod}
    metric_relabel_configs: [{source_labels: [__name__], regex: process_start_.*, action: drop}]
  - {job_name: by-service, static_configs: [{targets: ["ml.default.svc:80", "elsewhere.example.com:80"]}]}
"""
RULES = """
groups:
  - name: apps
    rules:
      - {record: "app:requests:rate20s", expr: "sum(rate(http_requests_total{handler='/x'}[20s]))"}
      - {alert: Busy, expr: "app:requests:rate20s > 50", for: 10s, labels: {severity: page}}
      - {alert: Never, expr: "app:requests:rate20s > 1e6"}
"""
MODEL = """
apiVersion: wavetank.dev/v1
kind: Model
services:
  ml:
    serviceTime: {distribution: constant, mean: 5ms}
    metrics: [{name: http_requests_total, of: requests, labels: {handler: /x}}]
"""


@pytest.mark.slow
def test_rules_and_alerts_fire_on_the_metrics_of_modelled_pods(tmp_path: Path) -> None:
    files = {
        "rehearsal.yaml": REHEARSAL,
        "prometheus.yml": PROMETHEUS,
        "rules.yml": RULES,
        "model.yaml": MODEL,
        "app.yaml": (EXAMPLE / "app.yaml").read_text(),
    }
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    run = tmp_path / "run"
    run.mkdir()
    report = simulate_plan(make_plan(tmp_path, simulated=True), Options(tmp_path, run), run)
    alerts = [e for e in report.events if e.kind == "alert"]
    assert [(e.subject, e.message) for e in alerts] == [
        ("Busy", "firing (severity=page)"),
        ("Busy", "resolved (severity=page)"),
    ]
    load = report.stages[1]
    # Ten seconds of it must be seen, over a window of twenty, for ten seconds.
    assert load.start_seconds + 10 < alerts[0].at_seconds < load.start_seconds + 40
    db = open_database(run, VirtualClock(report.ended_at))
    try:
        asyncio.run(check_series(EngineQuery(db), report))
    finally:
        db.close()


async def check_series(query: EngineQuery, report: Report) -> None:
    at = report.ended_at
    up = {(s.labels["job"], s.labels["instance"]): s.values for s in await query.instant("up", at)}
    pods = [values for (job, _), values in up.items() if job == "apps"]
    assert pods
    assert all(values == [1.0] for values in pods)
    assert up["by-service", "ml.default.svc:80"] == [1.0]
    assert not any("elsewhere" in instance for _, instance in up)
    (total,) = await query.instant('sum(http_requests_total{job="apps", handler="/x"})', at)
    assert report.load is not None
    assert total.values == [report.load.requests]
    started = await query.instant("process_start_time_seconds", at)
    assert {s.labels["job"] for s in started} == {"by-service"}  # the other job drops it
