"""``http[]`` rules to Envoy routes: one route for each match entry, in order.

Mirrors istio/istio ``core/route/route.go`` TranslateRoute. Istio disables the route timeout unless one is
given (Envoy's own default would be 15 s). Every route carries where it came from in its metadata.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from wavetank.mesh import hosts
from wavetank.mesh.durations import proto_duration
from wavetank.mesh.model import Config, Service, World
from wavetank.mesh.translate import matches, retries, traffic_policy
from wavetank.mesh.translate.filters import fraction, per_route_filters
from wavetank.mesh.translate.names import cluster_name

__all__ = ["RouteContext", "default_route", "rule_routes"]

_REDIRECT_CODES = {
    301: "MOVED_PERMANENTLY", 302: "FOUND", 303: "SEE_OTHER", 307: "TEMPORARY_REDIRECT",
    308: "PERMANENT_REDIRECT",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class RouteContext:
    """For whom routes are made: a listener's port and the gateways (``ns/name`` or ``mesh``) behind it."""

    world: World
    port: int
    gateways: frozenset[str]
    client_namespace: str

    def policy(self, service: Service, subset: str, port: int) -> dict[str, Any]:
        rules = traffic_policy.rules_for(service, self.world.destination_rules, self.client_namespace)
        spec = traffic_policy.subsets(rules).get(subset) if subset else None
        return traffic_policy.effective_policy(rules, spec, port)


def rule_routes(
    context: RouteContext, source: Config, index: int, http: Mapping[str, Any]
) -> list[dict[str, Any]]:
    """The routes of ``http[index]``; entries meant for other gateways or ports are left out."""
    routes = []
    for number, match in enumerate(http.get("match") or (None,)):
        if match is None or _applies(context, source, match):
            routes.append(_route(context, source, index, http, number, match))
    return routes


def _applies(context: RouteContext, source: Config, match: Mapping[str, Any]) -> bool:
    if match.get("port") and int(match["port"]) != context.port:
        return False
    if match.get("sourceLabels") or match.get("sourceNamespace"):
        # These choose client sidecars; a gateway's pods have neither the labels nor the namespace.
        return False
    named = match.get("gateways")
    return not named or any(_gateway_key(name, source.namespace) in context.gateways for name in named)


def _gateway_key(name: str, namespace: str) -> str:
    return name if name == "mesh" or "/" in name else f"{namespace}/{name}"


def _route(
    context: RouteContext,
    source: Config,
    index: int,
    http: Mapping[str, Any],
    number: int,
    match: Mapping[str, Any] | None,
) -> dict[str, Any]:
    name = ".".join(part for part in (http.get("name"), (match or {}).get("name")) if part)
    route: dict[str, Any] = {
        "name": name or "default",
        "match": matches.route_match(match, gateway_semantics=source.gateway_semantics),
        "metadata": {
            "filter_metadata": {
                "istio": {"config": source.api_path},
                "wavetank": {"source": source.key, "rule": index, "match": number},
            }
        },
    }
    if match and match.get("statPrefix"):
        route["stat_prefix"] = match["statPrefix"]
    _headers(route, http.get("headers"))
    if http.get("redirect"):
        route["redirect"] = _redirect(http["redirect"], context.port)
    elif http.get("directResponse"):
        route["direct_response"] = _direct_response(http["directResponse"])
    else:
        route["route"] = _action(context, source, http, match)
    filters = per_route_filters(http)
    if filters:
        route["typed_per_filter_config"] = filters
    return route


def default_route(context: RouteContext, service: Service, port: int) -> dict[str, Any]:
    """What a service gets that no VirtualService speaks of."""
    destination = {"host": service.hostname, "port": {"number": port}}
    source = Config("Service", service.namespace, service.name, {})
    action = _action(context, source, {"route": [{"destination": destination}]}, None)
    return {"name": "default", "match": {"prefix": "/"}, "route": action}


def _action(
    context: RouteContext, source: Config, http: Mapping[str, Any], match: Mapping[str, Any] | None
) -> dict[str, Any]:
    # Only `timeout`: beside `max_stream_duration` Envoy would not look at it.
    action: dict[str, Any] = {"timeout": proto_duration(http.get("timeout") or "0s")}
    hashing = _destinations(context, source, http.get("route") or (), action)
    if hashing:
        action["hash_policy"] = hashing
    policy = retries.retry_policy(http.get("retries"), consistent_hash=bool(hashing))
    if policy:
        action["retry_policy"] = policy
    _rewrite(action, http, match, source)
    _host_header(action, http.get("headers"))
    mirrors = _mirrors(context, source, http)
    if mirrors:
        action["request_mirror_policies"] = mirrors
    if source.gateway_semantics:
        action["cluster_not_found_response_code"] = "INTERNAL_SERVER_ERROR"
    return action


def _destinations(
    context: RouteContext, source: Config, routes: Sequence[Mapping[str, Any]], action: dict[str, Any]
) -> list[dict[str, Any]]:
    """Fill in cluster or weighted clusters; returns the hash policies of the destinations."""
    chosen = [r for r in routes if r.get("weight")] if len(routes) > 1 else list(routes)
    hashing: list[dict[str, Any]] = []
    clusters: list[dict[str, Any]] = []
    for route in chosen:
        name, policies = _destination(context, source, route["destination"])
        hashing += [p for p in policies if p not in hashing]
        entry: dict[str, Any] = {"name": name, "weight": int(route.get("weight") or 1)}
        _headers(entry, route.get("headers"))
        clusters.append(entry)
    if len(clusters) == 1 and len(clusters[0]) == 2:
        action["cluster"] = clusters[0]["name"]
    else:
        action["weighted_clusters"] = {"clusters": clusters}
    return hashing


def _destination(
    context: RouteContext, source: Config, destination: Mapping[str, Any]
) -> tuple[str, list[dict[str, Any]]]:
    host, subset = str(destination["host"]), str(destination.get("subset") or "")
    service = context.world.service(host, source.namespace)
    number = (destination.get("port") or {}).get("number")
    if number is None:
        single = service is not None and len(service.ports) == 1
        number = service.ports[0].number if service and single else context.port
    fqdn = service.hostname if service else hosts.resolve(host, source.namespace)
    policies = traffic_policy.hash_policies(context.policy(service, subset, number)) if service else []
    return cluster_name(int(number), subset, fqdn), policies


def _mirrors(context: RouteContext, source: Config, http: Mapping[str, Any]) -> list[dict[str, Any]]:
    entries = list(http.get("mirrors") or ())
    if http.get("mirror"):
        share = http.get("mirrorPercentage")
        if share is None and http.get("mirrorPercent") is not None:
            share = {"value": http["mirrorPercent"]}
        entries = [{"destination": http["mirror"], "percentage": share}]
    result = []
    for entry in entries:
        share = fraction(entry.get("percentage"), absent=100.0)
        if share["numerator"]:
            name, _ = _destination(context, source, entry["destination"])
            result.append({"cluster": name, "runtime_fraction": {"default_value": share}})
    return result


def _rewrite(
    action: dict[str, Any], http: Mapping[str, Any], match: Mapping[str, Any] | None, source: Config
) -> None:
    rewrite = http.get("rewrite") or {}
    if rewrite.get("uriRegexRewrite"):
        regex = rewrite["uriRegexRewrite"]
        action["regex_rewrite"] = _regex_rewrite(regex["match"], regex["rewrite"])
    elif rewrite.get("uri"):
        uri = (match or {}).get("uri") or {}
        if "regex" in uri:
            action["regex_rewrite"] = _regex_rewrite(uri["regex"], rewrite["uri"])
        elif source.gateway_semantics and rewrite["uri"] == "/" and uri.get("prefix", "/") != "/":
            # Plain prefix rewriting would leave `//rest`; the Gateway API wants `/rest`.
            prefix = "".join("\\" + c if c in r".+*?()|[]{}^$\\" else c for c in uri["prefix"].rstrip("/"))
            action["regex_rewrite"] = _regex_rewrite(f"^{prefix}/?(.*)", r"/\1")
        else:
            action["prefix_rewrite"] = rewrite["uri"]
    if rewrite.get("authority"):
        action["host_rewrite_literal"] = rewrite["authority"]


def _regex_rewrite(pattern: str, substitution: str) -> dict[str, Any]:
    return {"pattern": {"regex": pattern}, "substitution": substitution}


_HOST_NAMES = (":authority", "host")


def _host_header(action: dict[str, Any], headers: Mapping[str, Any] | None) -> None:
    request = (headers or {}).get("request") or {}
    for operation in ("set", "add"):
        for name, value in (request.get(operation) or {}).items():
            if name.lower() in _HOST_NAMES:
                action["host_rewrite_literal"] = value


def _headers(target: dict[str, Any], headers: Mapping[str, Any] | None) -> None:
    """Header operations into a route or a weighted cluster; pseudo-headers cannot be set this way."""
    for side in ("request", "response"):
        operations = (headers or {}).get(side) or {}
        added = [_header_value(n, v, "OVERWRITE_IF_EXISTS_OR_ADD") for n, v in _plain(operations.get("set"))]
        added += [_header_value(n, v, "APPEND_IF_EXISTS_OR_ADD") for n, v in _plain(operations.get("add"))]
        if added:
            target[f"{side}_headers_to_add"] = added
        if operations.get("remove"):
            target[f"{side}_headers_to_remove"] = [n for n in operations["remove"] if not n.startswith(":")]


def _plain(values: Mapping[str, str] | None) -> list[tuple[str, str]]:
    return sorted((n, v) for n, v in (values or {}).items() if n.lower() not in _HOST_NAMES and n[:1] != ":")


def _header_value(name: str, value: str, action: str) -> dict[str, Any]:
    return {"header": {"key": name, "value": value}, "append_action": action}


def _redirect(redirect: Mapping[str, Any], port: int) -> dict[str, Any]:
    code = int(redirect.get("redirectCode") or 301)
    result: dict[str, Any] = {"response_code": _REDIRECT_CODES.get(code, "MOVED_PERMANENTLY")}
    for field, name in (
        ("authority", "host_redirect"),
        ("scheme", "scheme_redirect"),
        ("port", "port_redirect"),
    ):
        if redirect.get(field):
            result[name] = redirect[field]
    uri = str(redirect.get("uri") or "")
    if redirect.get("prefixRewrite"):
        result["prefix_rewrite"] = redirect["prefixRewrite"]
    elif uri:
        result["path_redirect"] = uri
    if redirect.get("derivePort") == "FROM_PROTOCOL_DEFAULT":
        secure = redirect.get("scheme") == "https" or (not redirect.get("scheme") and port == 443)
        result["port_redirect"] = 443 if secure else 80
    return result


def _direct_response(response: Mapping[str, Any]) -> dict[str, Any]:
    result: dict[str, Any] = {"status": response["status"]}
    body = response.get("body") or {}
    if "string" in body:
        result["body"] = {"inline_string": body["string"]}
    elif "bytes" in body:
        result["body"] = {"inline_bytes": body["bytes"]}
    return result
