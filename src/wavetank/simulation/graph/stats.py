"""Envoy's own statistics of the clusters of a graph, under the names that Envoy exposes them by.

Envoy takes a cluster's name to end at its first dot: of ``outbound|80||cart.shop.svc.cluster.local`` the
label ``envoy_cluster_name`` is ``outbound|80||cart``, and the rest stands in the metric's name.
"""

from __future__ import annotations

import re

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
    found = []
    for cluster, row in zip(traffic.graph.clusters, traffic.state.clusters.tolist(), strict=True):
        label, _, rest = cluster.name.partition(".")
        infix = re.sub(r"[^a-zA-Z0-9_:]", "_", f"{rest}." if rest else "")
        values = [("counter", stat, row[column]) for stat, column in _COUNTERS.items()]
        values += [("gauge", stat, row[column]) for stat, column in _GAUGES.items()]
        values.append(("gauge", "membership_healthy", row[c.MEMBERS] - row[c.EJECTED]))
        for kind, stat, value in values:
            name = f"envoy_cluster_{infix}{stat}"
            sample = Sample(name, {"envoy_cluster_name": label}, value)
            found.append(MetricFamily(name, kind, samples=[sample]))
    return found
