"""Istio's standard metrics from stock Envoy: the stats access logger, with labels out of metadata.

Mirrors the names and labels of istio/proxy's ``istio.stats`` filter, which stock Envoy does not have.
``destination_pod`` is ours: the HPA's and the report's view of single pods. Values that are unknown come
out empty and are made ``unknown`` where the metrics are served (``wavetank.mesh.stats``).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from wavetank.mesh.descriptors import TYPE_PREFIX
from wavetank.mesh.translate.names import typed

__all__ = ["Reporter", "http_access_log", "tcp_access_log"]

_LOGGER = "envoy.extensions.access_loggers.stats.v3.Config"

_DESTINATION = {
    "destination_workload": "%METADATA(UPSTREAM_HOST:wavetank:workload)%",
    "destination_workload_namespace": "%METADATA(UPSTREAM_HOST:wavetank:namespace)%",
    "destination_app": "%METADATA(UPSTREAM_HOST:wavetank:app)%",
    "destination_version": "%METADATA(UPSTREAM_HOST:wavetank:version)%",
    "destination_service": "%METADATA(CLUSTER:wavetank:service)%",
    "destination_service_name": "%METADATA(CLUSTER:wavetank:service_name)%",
    "destination_service_namespace": "%METADATA(CLUSTER:wavetank:service_namespace)%",
    "destination_canonical_service": "%METADATA(UPSTREAM_HOST:wavetank:canonical_service)%",
    "destination_canonical_revision": "%METADATA(UPSTREAM_HOST:wavetank:canonical_revision)%",
}
# On counters only: a pod of its own in 60 histogram lines would make scrapes many times larger.
_POD = {"destination_pod": "%METADATA(UPSTREAM_HOST:wavetank:pod)%"}
_CONSTANT = {
    "source_principal": "unknown",
    "source_version": "unknown",
    "source_cluster": "Kubernetes",
    "source_canonical_revision": "latest",
    "destination_principal": "unknown",
    "destination_cluster": "Kubernetes",
    "connection_security_policy": "none",
}


@dataclass(frozen=True, slots=True)
class Reporter:
    """Who reports: the workload that this Envoy stands in for."""

    workload: str = "istio-ingressgateway"
    namespace: str = "istio-system"

    def tags(self) -> dict[str, str]:
        return {
            "reporter": "source",
            "source_workload": self.workload,
            "source_workload_namespace": self.namespace,
            "source_app": self.workload,
            "source_canonical_service": self.workload,
            **_CONSTANT,
        }


def http_access_log(reporter: Reporter) -> list[dict[str, Any]]:
    """``istio_requests_total`` and its three histograms."""
    tags = {
        **reporter.tags(),
        **_DESTINATION,
        "request_protocol": "http",
        "response_code": "%RESPONSE_CODE%",
        "grpc_response_status": "%GRPC_STATUS_NUMBER%",
        "response_flags": "%RESPONSE_FLAGS%",
    }
    histograms = (
        ("request_duration_milliseconds", "%DURATION%", "Milliseconds"),
        ("request_bytes", "%BYTES_RECEIVED%", "Bytes"),
        ("response_bytes", "%BYTES_SENT%", "Bytes"),
    )
    return [
        _logger(
            counters=[{"stat": _stat("requests_total", {**tags, **_POD}), "value_fixed": 1}],
            histograms=[
                {"stat": _stat(name, tags), "unit": unit, "value_format": value}
                for name, value, unit in histograms
            ],
        )
    ]


def tcp_access_log(reporter: Reporter) -> list[dict[str, Any]]:
    """Istio's four TCP counters. Bytes are counted when a connection ends, so opened and closed are equal."""
    tags = {
        **reporter.tags(),
        **_DESTINATION,
        **_POD,
        "request_protocol": "tcp",
        "response_flags": "%RESPONSE_FLAGS%",
    }
    counters: list[dict[str, Any]] = [
        {"stat": _stat(name, tags), "value_fixed": 1}
        for name in ("tcp_connections_opened_total", "tcp_connections_closed_total")
    ]
    counters += [
        {"stat": _stat("tcp_sent_bytes_total", tags), "value_format": "%BYTES_SENT%"},
        {"stat": _stat("tcp_received_bytes_total", tags), "value_format": "%BYTES_RECEIVED%"},
    ]
    return [_logger(counters=counters)]


def _logger(**fields: Any) -> dict[str, Any]:
    # `stats_scope` is newer than our descriptors and replaces `stat_prefix`, of which Envoy 1.40 warns.
    value = {"stats_scope": {"prefix": "istio"}, **fields}
    config = typed("xds.type.v3.TypedStruct", type_url=TYPE_PREFIX + _LOGGER, value=value)
    return {"name": "envoy.access_loggers.stats", "typed_config": config}


def _stat(name: str, tags: dict[str, str]) -> dict[str, Any]:
    return {"name": name, "tags": [{"name": n, "value_format": v} for n, v in tags.items()]}
