"""The rules of one HTTPRoute as Istio ``http[]`` rules, one for each match."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from wavetank.kube.client import Object
from wavetank.mesh import hosts
from wavetank.mesh.durations import proto_duration
from wavetank.mesh.model import Service

__all__ = ["route_rules"]

_RETRY_ON = "connect-failure,refused-stream,unavailable,cancelled"
_ANY_ORIGIN = r"^[a-zA-Z][a-zA-Z0-9+.-]*://[^/\s?#]+$"


def route_rules(route: Object, services: Mapping[str, Service], port: int | None) -> list[dict[str, Any]]:
    """All rules, in the route's order; ``port`` limits them to one port of the parent Service."""
    namespace = str(route["metadata"].get("namespace") or "default")
    result = []
    for index, rule in enumerate(route["spec"].get("rules") or ()):
        base = _rule(rule, namespace, services)
        base["name"] = rule.get("name") or f"{namespace}.{route['metadata']['name']}.{index}"
        matches: Iterable[Mapping[str, Any]] = rule.get("matches") or ({},)
        for match in matches:
            condition = _match(match)
            if port is not None:
                condition["port"] = port
            result.append({**base, "match": [condition]} if condition else dict(base))
    return result


def _match(match: Mapping[str, Any]) -> dict[str, Any]:
    result: dict[str, Any] = {}
    path = match.get("path")
    if path is not None:
        value = path.get("value") or "/"
        kind = path.get("type") or "PathPrefix"
        if kind == "PathPrefix" and value != "/":
            value = value.rstrip("/")
        field = {"Exact": "exact", "RegularExpression": "regex"}.get(kind, "prefix")
        result["uri"] = {field: value}
    for source, target in (("headers", "headers"), ("queryParams", "queryParams")):
        conditions = {
            m["name"]: {"regex" if m.get("type") == "RegularExpression" else "exact": m["value"]}
            for m in reversed(match.get(source) or ())  # of equal names the first counts
        }
        if conditions:
            result[target] = conditions
    if match.get("method"):
        result["method"] = {"exact": match["method"]}
    return result


def _rule(rule: Mapping[str, Any], namespace: str, services: Mapping[str, Service]) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for entry in rule.get("filters") or ():
        _filter(result, entry, namespace)
    timeouts = rule.get("timeouts") or {}
    retry = rule.get("retry")
    if timeouts.get("request") is not None:
        result["timeout"] = proto_duration(timeouts["request"])
    if retry is not None:
        result["retries"] = _retries(retry)
    if timeouts.get("backendRequest") is not None:
        limit = proto_duration(timeouts["backendRequest"])
        if retry is not None:
            result["retries"]["perTryTimeout"] = limit
        else:
            result["timeout"] = limit
    if "redirect" not in result:
        _backends(result, rule.get("backendRefs") or (), namespace)
    return result


def _retries(retry: Mapping[str, Any]) -> dict[str, Any]:
    codes = [str(code) for code in retry.get("codes") or ()]
    result: dict[str, Any] = {
        "attempts": int(retry.get("attempts") or 2),
        "retryOn": ",".join([_RETRY_ON, *codes]),
    }
    if retry.get("backoff") is not None:
        result["backoff"] = proto_duration(retry["backoff"])
    return result


def _backends(result: dict[str, Any], references: Iterable[Mapping[str, Any]], namespace: str) -> None:
    """Weights default to 1 and may be 0; where nothing is left to take the request the answer is 500."""
    weighted = [(r, 1 if r.get("weight") is None else int(r["weight"])) for r in references]
    kept = [(reference, weight) for reference, weight in weighted if weight > 0]
    if not kept:
        result["directResponse"] = {"status": 500}
        return
    result["route"] = []
    for reference, weight in kept:
        entry: dict[str, Any] = {"destination": _destination(reference, namespace)}
        if len(kept) > 1:
            entry["weight"] = weight
        headers: dict[str, Any] = {}
        for item in reference.get("filters") or ():
            _header_filter(headers, item)
        if headers:
            entry["headers"] = headers
        result["route"].append(entry)


def _destination(reference: Mapping[str, Any], namespace: str) -> dict[str, Any]:
    """Backends that cannot be resolved name a cluster that does not exist, which answers 500."""
    name = str(reference["name"])
    if (reference.get("kind") or "Service") == "Service":
        name = hosts.service_host(name, str(reference.get("namespace") or namespace))
    elif reference.get("kind") != "Hostname":
        return {"host": "unsupported-backend.invalid", "port": {"number": reference.get("port") or 80}}
    destination: dict[str, Any] = {"host": name}
    if reference.get("port") is not None:
        destination["port"] = {"number": reference["port"]}
    return destination


def _filter(result: dict[str, Any], entry: Mapping[str, Any], namespace: str) -> None:
    match entry.get("type"):
        case "RequestHeaderModifier" | "ResponseHeaderModifier":
            _header_filter(result.setdefault("headers", {}), entry)
        case "RequestRedirect":
            result["redirect"] = _redirect(entry["requestRedirect"])
        case "URLRewrite":
            result["rewrite"] = _rewrite(entry["urlRewrite"])
        case "RequestMirror":
            mirror = entry["requestMirror"]
            kind = mirror["backendRef"].get("kind") or "Service"
            if kind == "Service":
                result.setdefault("mirrors", []).append(_mirror(mirror, namespace))
        case "CORS":
            result["corsPolicy"] = _cors(entry["cors"])


def _header_filter(headers: dict[str, Any], entry: Mapping[str, Any]) -> None:
    side = "request" if entry.get("type") == "RequestHeaderModifier" else "response"
    spec = entry.get(f"{side}HeaderModifier") or {}
    operations = headers.setdefault(side, {})
    for operation in ("set", "add"):
        for header in spec.get(operation) or ():
            operations.setdefault(operation, {})[header["name"]] = header["value"]
    if spec.get("remove"):
        operations.setdefault("remove", []).extend(spec["remove"])


def _redirect(redirect: Mapping[str, Any]) -> dict[str, Any]:
    result: dict[str, Any] = {"redirectCode": int(redirect.get("statusCode") or 302)}
    if redirect.get("scheme"):
        result["scheme"] = redirect["scheme"]
    if redirect.get("hostname"):
        result["authority"] = redirect["hostname"]
    if redirect.get("port"):
        result["port"] = redirect["port"]
    elif redirect.get("scheme"):
        result["derivePort"] = "FROM_PROTOCOL_DEFAULT"
    else:
        result["derivePort"] = "FROM_REQUEST_PORT"
    path = redirect.get("path") or {}
    if path.get("type") == "ReplaceFullPath":
        result["uri"] = path["replaceFullPath"]
    elif path.get("type") == "ReplacePrefixMatch":
        result["prefixRewrite"] = path["replacePrefixMatch"]
    return result


def _rewrite(rewrite: Mapping[str, Any]) -> dict[str, Any]:
    result: dict[str, Any] = {}
    if rewrite.get("hostname"):
        result["authority"] = rewrite["hostname"]
    path = rewrite.get("path") or {}
    if path.get("type") == "ReplacePrefixMatch":
        result["uri"] = str(path.get("replacePrefixMatch") or "").rstrip("/") or "/"
    elif path.get("type") == "ReplaceFullPath":
        result["uriRegexRewrite"] = {"match": "/.*", "rewrite": path["replaceFullPath"]}
    return result


def _mirror(mirror: Mapping[str, Any], namespace: str) -> dict[str, Any]:
    result: dict[str, Any] = {"destination": _destination(mirror["backendRef"], namespace)}
    if mirror.get("percent") is not None:
        result["percentage"] = {"value": mirror["percent"]}
    elif mirror.get("fraction"):
        part = mirror["fraction"]
        share = 100.0 * part["numerator"] / (part.get("denominator") or 100)
        result["percentage"] = {"value": share}
    return result


def _cors(cors: Mapping[str, Any]) -> dict[str, Any]:
    result: dict[str, Any] = {
        "allowOrigins": [_origin(str(origin)) for origin in cors.get("allowOrigins") or ()],
        "unmatchedPreflights": "IGNORE",
    }
    for field in ("allowMethods", "allowHeaders", "exposeHeaders"):
        if cors.get(field):
            result[field] = list(cors[field])
    if cors.get("allowCredentials") is not None:
        result["allowCredentials"] = cors["allowCredentials"]
    if cors.get("maxAge"):
        result["maxAge"] = f"{cors['maxAge']}s"
    return result


def _origin(origin: str) -> dict[str, str]:
    if origin == "*":
        return {"regex": _ANY_ORIGIN}
    if "*" in origin:
        return {"regex": "^" + ".*".join(re.escape(part) for part in origin.split("*")) + "$"}
    return {"exact": origin}
