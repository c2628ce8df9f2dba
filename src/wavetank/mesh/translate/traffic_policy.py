"""DestinationRule: which rule holds for a service, and what its policy means to an Envoy cluster.

Mirrors istio/istio ``core/cluster_traffic_policy.go`` and ``model/destination_rule.go``. Merge rules:

1. Rules are looked up in the client's namespace, then the service's, then the root namespace.
2. In a namespace the most specific host wins.
3. Rules for one host are merged by adding new subsets; the oldest rule's ``trafficPolicy`` stands.
4. A port's settings replace the rule's, they do not inherit; a subset's override block by block.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from wavetank.mesh import hosts
from wavetank.mesh.durations import proto_duration
from wavetank.mesh.model import Config, Service, ServicePort
from wavetank.mesh.translate.names import typed

__all__ = ["ROOT_NAMESPACE", "apply", "effective_policy", "hash_policies", "rules_for", "subsets"]

ROOT_NAMESPACE = "istio-system"
_UNLIMITED = 4294967295  # Istio lifts Envoy's 1024/1024/1024/3: a mesh-wide default must not break circuits
_HTTP_OPTIONS = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
_BLOCKS = ("loadBalancer", "connectionPool", "outlierDetection", "tls")

_SIMPLE = {
    "UNSPECIFIED": "LEAST_REQUEST", "LEAST_CONN": "LEAST_REQUEST", "LEAST_REQUEST": "LEAST_REQUEST",
    "RANDOM": "RANDOM", "ROUND_ROBIN": "ROUND_ROBIN", "PASSTHROUGH": "CLUSTER_PROVIDED",
}  # fmt: skip


def rules_for(service: Service, rules: Iterable[Config], client_namespace: str) -> list[Config]:
    """The rules that hold for a service, the one whose policy stands first; empty where there is none."""
    by_namespace: dict[str, dict[str, list[Config]]] = {}
    for rule in rules:
        host = hosts.resolve(str(rule.spec.get("host") or ""), rule.namespace)
        if hosts.subset_of(service.hostname, host) and _visible(rule, client_namespace):
            by_namespace.setdefault(rule.namespace, {}).setdefault(host, []).append(rule)
    for namespace in (client_namespace, service.namespace, ROOT_NAMESPACE):
        if found := by_namespace.get(namespace):
            best = hosts.most_specific(service.hostname, found)
            return found[best] if best else []
    return []


def _visible(rule: Config, client_namespace: str) -> bool:
    if (rule.spec.get("workloadSelector") or {}).get("matchLabels"):
        return False  # for sidecars of those workloads only, never for a gateway
    export = rule.spec.get("exportTo") or ["*"]
    return (
        "*" in export or client_namespace in export or ("." in export and rule.namespace == client_namespace)
    )


def subsets(rules: Iterable[Config]) -> dict[str, Mapping[str, Any]]:
    """All subsets by name; the first rule to define a name keeps it."""
    found: dict[str, Mapping[str, Any]] = {}
    for rule in rules:
        for subset in rule.spec.get("subsets") or ():
            found.setdefault(subset["name"], subset)
    return found


def effective_policy(rules: list[Config], subset: Mapping[str, Any] | None, port: int) -> dict[str, Any]:
    """The policy of one cluster, merged by rule 4 above."""
    if not rules:
        return {}
    base = _at_port(rules[0].spec.get("trafficPolicy") or {}, port)
    over = _at_port((subset or {}).get("trafficPolicy") or {}, port)
    return {**base, **over}


def _at_port(policy: Mapping[str, Any], port: int) -> dict[str, Any]:
    for setting in policy.get("portLevelSettings") or ():
        if (setting.get("port") or {}).get("number") == port:
            return {block: setting[block] for block in _BLOCKS if setting.get(block) is not None}
    return {key: value for key, value in policy.items() if key != "portLevelSettings" and value is not None}


def apply(cluster: dict[str, Any], policy: Mapping[str, Any], port: ServicePort) -> None:
    """Write the policy into an Envoy cluster (JSON form)."""
    pool = policy.get("connectionPool") or {}
    _connection_pool(cluster, pool)
    _load_balancer(cluster, policy.get("loadBalancer") or {})
    _outlier_detection(cluster, policy.get("outlierDetection") or {})
    if port.is_http or port.protocol == "AUTO":
        cluster["typed_extension_protocol_options"] = {
            _HTTP_OPTIONS: _http_options(port, pool.get("http") or {}, policy)
        }
    _transport_socket(cluster, policy.get("tls") or {})
    _retry_budget(cluster, policy.get("retryBudget"))


def _connection_pool(cluster: dict[str, Any], pool: Mapping[str, Any]) -> None:
    tcp, http = pool.get("tcp") or {}, pool.get("http") or {}
    cluster["connect_timeout"] = proto_duration(tcp.get("connectTimeout") or "10s")
    threshold = {
        "max_connections": tcp.get("maxConnections") or _UNLIMITED,
        "max_pending_requests": http.get("http1MaxPendingRequests") or _UNLIMITED,
        "max_requests": http.get("http2MaxRequests") or _UNLIMITED,
        "max_retries": http.get("maxRetries") or _UNLIMITED,
        "track_remaining": True,
    }
    cluster["circuit_breakers"] = {"thresholds": [threshold]}
    keepalive = tcp.get("tcpKeepalive")
    if keepalive is not None:
        settings = {
            "keepalive_probes": keepalive.get("probes"),
            "keepalive_time": _whole_seconds(keepalive.get("time")),
            "keepalive_interval": _whole_seconds(keepalive.get("interval")),
        }
        cluster["upstream_connection_options"] = {
            "tcp_keepalive": {key: value for key, value in settings.items() if value}
        }


def _whole_seconds(duration: object) -> int | None:
    return int(float(proto_duration(duration)[:-1])) if duration else None


def _http_options(port: ServicePort, http: Mapping[str, Any], policy: Mapping[str, Any]) -> dict[str, Any]:
    tcp = (policy.get("connectionPool") or {}).get("tcp") or {}
    common: dict[str, Any] = {
        "idle_timeout": proto_duration(http.get("idleTimeout") or tcp.get("idleTimeout") or "1h")
    }
    if http.get("maxRequestsPerConnection"):
        common["max_requests_per_connection"] = http["maxRequestsPerConnection"]
    if tcp.get("maxConnectionDuration"):
        common["max_connection_duration"] = proto_duration(tcp["maxConnectionDuration"])
    http2: dict[str, Any] = {}
    if http.get("maxConcurrentStreams"):
        http2["max_concurrent_streams"] = http["maxConcurrentStreams"]
    options = typed(_HTTP_OPTIONS, common_http_protocol_options=common)
    upgraded = http.get("h2UpgradePolicy") == "UPGRADE"
    if http.get("useClientProtocol"):
        options["use_downstream_protocol_config"] = {
            "http_protocol_options": {}, "http2_protocol_options": http2
        }  # fmt: skip
    elif port.protocol in ("HTTP2", "GRPC") or upgraded:
        options["explicit_http_config"] = {"http2_protocol_options": http2}
    else:
        options["explicit_http_config"] = {"http_protocol_options": {}}
    codes = (policy.get("outlierDetection") or {}).get("outlierDetectionHttpErrorCodes")
    if codes:
        options["outlier_detection"] = {"error_matcher": _error_matcher(codes)}
    return options


def _error_matcher(codes: Iterable[int]) -> dict[str, Any]:
    pattern = "|".join(str(code) for code in codes)
    status = {"name": ":status", "string_match": {"safe_regex": {"regex": pattern}}}
    return {"http_response_headers_match": {"headers": [status]}}


def _load_balancer(cluster: dict[str, Any], balancer: Mapping[str, Any]) -> None:
    if cluster.get("type") == "ORIGINAL_DST":
        return  # the connection has its destination already
    consistent = balancer.get("consistentHash")
    if consistent is not None:
        _hash_balancer(cluster, consistent)
        return
    policy = _SIMPLE[str(balancer.get("simple") or "UNSPECIFIED")]
    cluster["lb_policy"] = policy
    if policy == "CLUSTER_PROVIDED":
        cluster["type"] = "ORIGINAL_DST"
        cluster.pop("eds_cluster_config", None)
    slow_start = _slow_start(balancer)
    if slow_start and policy == "LEAST_REQUEST":
        cluster["least_request_lb_config"] = {"slow_start_config": slow_start}
    elif slow_start and policy == "ROUND_ROBIN":
        cluster["round_robin_lb_config"] = {"slow_start_config": slow_start}


def _hash_balancer(cluster: dict[str, Any], consistent: Mapping[str, Any]) -> None:
    maglev = consistent.get("maglev")
    if maglev is not None:
        cluster["lb_policy"] = "MAGLEV"
        if maglev.get("tableSize"):
            cluster["maglev_lb_config"] = {"table_size": maglev["tableSize"]}
        return
    ring = (consistent.get("ringHash") or {}).get("minimumRingSize") or consistent.get("minimumRingSize")
    cluster["lb_policy"] = "RING_HASH"
    cluster["ring_hash_lb_config"] = {"minimum_ring_size": int(ring or 1024)}


def _slow_start(balancer: Mapping[str, Any]) -> dict[str, Any] | None:
    warmup = balancer.get("warmup") or {}
    duration = warmup.get("duration") or balancer.get("warmupDurationSecs")
    if not duration:
        return None
    aggression = float(warmup.get("aggression") or 1.0)
    return {
        "slow_start_window": proto_duration(duration),
        "aggression": {"default_value": aggression, "runtime_key": "wavetank.slow_start.aggression"},
        "min_weight_percent": {"value": float(warmup.get("minimumPercent") or 10)},
    }


def _outlier_detection(cluster: dict[str, Any], outlier: Mapping[str, Any]) -> None:
    if not outlier:
        return
    five_hundreds = outlier.get("consecutive5xxErrors")
    gateway = outlier.get("consecutiveGatewayErrors")
    result: dict[str, Any] = {
        # Success rate never ejects in Istio; only what the rule names does.
        "enforcing_success_rate": 0,
        "interval": proto_duration(outlier.get("interval") or "10s"),
        "base_ejection_time": proto_duration(outlier.get("baseEjectionTime") or "30s"),
    }
    if five_hundreds is not None:
        result["consecutive_5xx"] = five_hundreds
        result["enforcing_consecutive_5xx"] = 100 if five_hundreds else 0
    if gateway is not None:
        result["consecutive_gateway_failure"] = gateway
        result["enforcing_consecutive_gateway_failure"] = 100 if gateway else 0
    if outlier.get("maxEjectionPercent"):
        result["max_ejection_percent"] = outlier["maxEjectionPercent"]
    if outlier.get("splitExternalLocalOriginErrors"):
        result["split_external_local_origin_errors"] = True
        failures = outlier.get("consecutiveLocalOriginFailures")
        if failures:
            result["consecutive_local_origin_failure"] = failures
            result["enforcing_consecutive_local_origin_failure"] = 100
        result["enforcing_local_origin_success_rate"] = 0
    cluster["outlier_detection"] = result
    panic = float(outlier.get("minHealthPercent") or 0)
    cluster.setdefault("common_lb_config", {})["healthy_panic_threshold"] = {"value": panic}


def _transport_socket(cluster: dict[str, Any], tls: Mapping[str, Any]) -> None:
    """Only SIMPLE to the outside is spoken; mesh modes (ISTIO_MUTUAL, MUTUAL) stay plaintext here."""
    if tls.get("mode") != "SIMPLE":
        return
    context: dict[str, Any] = {}
    if tls.get("caCertificates") and not tls.get("insecureSkipVerify"):
        context["validation_context"] = {"trusted_ca": {"filename": tls["caCertificates"]}}
    name = "envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext"
    fields: dict[str, Any] = {"common_tls_context": context}
    if tls.get("sni"):
        fields["sni"] = tls["sni"]
    cluster["transport_socket"] = {
        "name": "envoy.transport_sockets.tls", "typed_config": typed(name, **fields)
    }  # fmt: skip


def _retry_budget(cluster: dict[str, Any], budget: Mapping[str, Any] | None) -> None:
    if budget is None:
        return
    threshold = cluster["circuit_breakers"]["thresholds"][0]
    threshold.pop("max_retries", None)  # Envoy: a budget replaces the count
    threshold["retry_budget"] = {
        "budget_percent": {"value": float(budget.get("percent") or 20)},
        "min_retry_concurrency": int(budget.get("minRetryConcurrency") or 3),
    }


def hash_policies(policy: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The route's side of consistent hashing: what the hash is taken of."""
    consistent = (policy.get("loadBalancer") or {}).get("consistentHash") or {}
    if consistent.get("httpHeaderName"):
        return [{"header": {"header_name": consistent["httpHeaderName"]}}]
    if consistent.get("httpCookie"):
        cookie = consistent["httpCookie"]
        fields: dict[str, Any] = {"name": cookie["name"]}
        if cookie.get("ttl") is not None:
            fields["ttl"] = proto_duration(cookie["ttl"])
        if cookie.get("path"):
            fields["path"] = cookie["path"]
        return [{"cookie": fields}]
    if consistent.get("useSourceIp"):
        return [{"connection_properties": {"source_ip": True}}]
    if consistent.get("httpQueryParameterName"):
        return [{"query_parameter": {"name": consistent["httpQueryParameterName"]}}]
    return []
