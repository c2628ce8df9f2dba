"""What ServiceEntry and HTTPRoute may say beyond their schemas."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Mapping
from typing import Any

from wavetank.mesh import hosts
from wavetank.mesh.validation.messages import KeyPath, Problem, problem
from wavetank.mesh.validation.virtual_service import regex_problems

__all__ = ["http_route_problems", "service_entry_problems"]

Spec = Mapping[str, Any]


def _wrong(path: KeyPath, detail: str, fix: str | None = None) -> Problem:
    return problem("SpecError", path, detail=detail, fix=fix)


def service_entry_problems(spec: Spec) -> Iterator[Problem]:
    """Mirrors istio/istio ``pkg/config/validation`` (ServiceEntry)."""
    for index, host in enumerate(spec.get("hosts") or ()):
        text = str(host)
        if not hosts.is_valid_pattern(text):
            yield _wrong(
                ("spec", "hosts", index), f"host {text!r}: a wildcard may only be the first character"
            )
    for index, address in enumerate(spec.get("addresses") or ()):
        try:
            ipaddress.ip_network(str(address), strict=False)
        except ValueError:
            # Istio takes some spellings that Python does not; only what no parser takes is refused.
            if not all(c in "0123456789abcdefABCDEF:./" for c in str(address)):
                yield _wrong(("spec", "addresses", index), f"{address!r} is neither an IP address nor a CIDR")
    if spec.get("resolution") == "STATIC" and not (spec.get("endpoints") or spec.get("workloadSelector")):
        yield _wrong(("spec", "resolution"), "STATIC resolution needs endpoints or a workloadSelector")
    if spec.get("resolution") == "DYNAMIC_DNS":
        yield problem(
            "NotSupported", ("spec", "resolution"), field="resolution DYNAMIC_DNS (requests get 503)"
        )
    ports = {str(port.get("name")) for port in spec.get("ports") or ()}
    for index, endpoint in enumerate(spec.get("endpoints") or ()):
        for name in endpoint.get("ports") or {}:
            if name not in ports:
                path: KeyPath = ("spec", "endpoints", index, "ports", name)
                yield _wrong(path, f"endpoint port {name!r} is not among the entry's ports")


_PATH_FIELDS = {"ReplaceFullPath": "replaceFullPath", "ReplacePrefixMatch": "replacePrefixMatch"}


def http_route_problems(spec: Spec) -> Iterator[Problem]:
    """Mirrors the Gateway API's own CEL rules on HTTPRoute as far as routing depends on them."""
    for index, rule in enumerate(spec.get("rules") or ()):
        path: KeyPath = ("spec", "rules", index)
        for number, match in enumerate(rule.get("matches") or ()):
            yield from _match(match, (*path, "matches", number))
        kinds = [f.get("type") for f in rule.get("filters") or ()]
        if "RequestRedirect" in kinds and rule.get("backendRefs"):
            yield _wrong((*path, "backendRefs"), "a rule with RequestRedirect must not have backendRefs")
        if "RequestRedirect" in kinds and "URLRewrite" in kinds:
            yield _wrong((*path, "filters"), "RequestRedirect and URLRewrite cannot be combined")
        for number, entry in enumerate(rule.get("filters") or ()):
            yield from _filter(entry, (*path, "filters", number))


def _match(match: Spec, path: KeyPath) -> Iterator[Problem]:
    condition = match.get("path") or {}
    value = str(condition.get("value") or "/")
    if condition.get("type") == "RegularExpression":
        yield from regex_problems({"regex": value}, (*path, "path"))
    elif not value.startswith("/"):
        yield _wrong((*path, "path", "value"), f"path {value!r} must begin with /")
    for field in ("headers", "queryParams"):
        for number, entry in enumerate(match.get(field) or ()):
            if entry.get("type") == "RegularExpression":
                yield from regex_problems({"regex": entry["value"]}, (*path, field, number))


def _filter(entry: Spec, path: KeyPath) -> Iterator[Problem]:
    kind = str(entry.get("type"))
    field = kind[:1].lower() + kind[1:]
    field = {"uRLRewrite": "urlRewrite", "cORS": "cors"}.get(field, field)
    if kind in ("ExtensionRef", "ExternalAuth"):
        yield problem("NotSupported", path, field=f"filter {kind}")
    elif entry.get(field) is None:
        yield _wrong(path, f"filter {kind} needs {field}")
    for name in ("requestRedirect", "urlRewrite"):
        replace = (entry.get(name) or {}).get("path") or {}
        wanted = _PATH_FIELDS.get(str(replace.get("type")))
        if wanted and replace.get(wanted) is None:
            yield _wrong((*path, name, "path"), f"{replace['type']} needs {wanted}")
