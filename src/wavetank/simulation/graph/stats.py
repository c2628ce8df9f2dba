"""Envoy's own statistics of the clusters of a graph, under the names that Envoy exposes them by."""

from __future__ import annotations

from wavetank.exposition.render import MetricFamily, Sample
from wavetank.simulation.graph import state as c
from wavetank.simulation.graph.traffic import GraphTraffic

__all__ = ["cluster_stats"]

_COUNTERS = {
    "upstream_rq_total": c.TRIES,
    "upstream_rq_retry": c.RETRIED,
    "upstream_rq_retry_overflow": c.RETRY_OVERFLOW,
    "upstream_rq_retry_limit_exceeded": c.RETRY_LIMIT,
    "upstream_rq_retry_success": c.RETRY_SUCCESS,
    "upstream_rq_pending_overflow": c.OVERFLOWS,
    "upstream_rq_timeout": c.TIMEOUTS,
    "upstream_rq_per_try_timeout": c.TRY_TIMEOUTS,
    "outlier_detection_ejections_enforced_total": c.EJECTIONS,
    "outlier_detection_ejections_overflow": c.EJECTIONS_REFUSED,
}
_GAUGES = {
    "membership_total": c.MEMBERS,
    "upstream_rq_active": c.REQUESTS,
    "upstream_rq_pending_active": c.PENDING,
    "upstream_cx_active": c.CONNECTIONS,
    "outlier_detection_ejections_active": c.EJECTED,
}


def cluster_stats(traffic: GraphTraffic) -> list[MetricFamily]:
    clusters = traffic.state.clusters
    names = [{"envoy_cluster_name": cluster.name} for cluster in traffic.graph.clusters]
    found = []
    for kind, columns in (("counter", _COUNTERS), ("gauge", _GAUGES)):
        for stat, column in columns.items():
            name = f"envoy_cluster_{stat}"
            values = clusters[:, column].tolist()
            samples = [Sample(name, labels, value) for labels, value in zip(names, values, strict=True)]
            found.append(MetricFamily(name, kind, samples=samples))
    healthy = (clusters[:, c.MEMBERS] - clusters[:, c.EJECTED]).tolist()
    name = "envoy_cluster_membership_healthy"
    samples = [Sample(name, labels, value) for labels, value in zip(names, healthy, strict=True)]
    return [*found, MetricFamily(name, "gauge", samples=samples)]
