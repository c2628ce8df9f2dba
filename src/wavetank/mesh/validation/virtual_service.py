"""What a VirtualService may say. Mirrors istio/istio ``pkg/config/validation/virtualservice.go``.

Errors are what Istio refuses; warnings what it takes and does something else with than one would think.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

import re2

from wavetank.mesh import hosts
from wavetank.mesh.durations import parse_duration
from wavetank.mesh.validation.messages import KeyPath, Problem, problem

__all__ = ["regex_problems", "virtual_service_problems"]

_RETRY_ON = frozenset(
    (
        "5xx", "gateway-error", "reset", "reset-before-request", "connect-failure", "envoy-ratelimited",
        "retriable-4xx", "refused-stream", "retriable-status-codes", "retriable-headers", "cancelled",
        "http3-post-connect-failure", "deadline-exceeded", "internal", "resource-exhausted", "unavailable",
    )
)  # fmt: skip
_COMMAND = re.compile(r"%%|%[A-Z_]+(?:\([^)]*\))?(?::\d+)?%")
_REDIRECT_CODES = (301, 302, 303, 307, 308)
_ACTIONS = ("route", "redirect", "directResponse", "delegate")

Spec = Mapping[str, Any]


def _wrong(path: KeyPath, detail: str, fix: str | None = None) -> Problem:
    return problem("SpecError", path, detail=detail, fix=fix)


def virtual_service_problems(spec: Spec) -> Iterator[Problem]:
    """All that is wrong with a spec whose form is right."""
    yield from _hosts(spec)
    if not any(spec.get(kind) for kind in ("http", "tcp", "tls")):
        yield _wrong(("spec",), "http, tcp or tls must be provided")
    for index, http in enumerate(spec.get("http") or ()):
        yield from _http(http, ("spec", "http", index), delegate=not spec.get("hosts"))
    for index, tls in enumerate(spec.get("tls") or ()):
        yield from _tls(tls, ("spec", "tls", index), [str(h) for h in spec.get("hosts") or ()])
    for index, tcp in enumerate(spec.get("tcp") or ()):
        yield from _weights(tcp.get("route"), ("spec", "tcp", index))


def _hosts(spec: Spec) -> Iterator[Problem]:
    named = [str(h) for h in spec.get("hosts") or ()]
    if not named and spec.get("gateways"):
        yield _wrong(("spec", "gateways"), "a VirtualService without hosts is a delegate and has no gateways")
    mesh = "mesh" in (spec.get("gateways") or ["mesh"])
    for index, host in enumerate(named):
        path: KeyPath = ("spec", "hosts", index)
        if host == "*" and mesh:
            yield _wrong(
                path, "host '*' is not allowed for the mesh gateway", "name the hosts, or the gateways"
            )
        elif not hosts.is_valid_pattern(host):
            yield _wrong(path, f"host {host!r}: a wildcard may only be the first character")
        if host in named[:index]:
            yield _wrong(path, f"host {host!r} is given twice", "remove one of the two")


def _http(http: Spec, path: KeyPath, *, delegate: bool) -> Iterator[Problem]:
    given = [action for action in _ACTIONS if http.get(action)]
    if not given:
        yield _wrong(path, "a rule needs one of route, redirect, directResponse or delegate")
    if len(given) > 1:
        yield _wrong((*path, given[1]), f"a rule cannot have both {given[0]} and {given[1]}")
    if delegate and http.get("delegate"):
        yield _wrong((*path, "delegate"), "a delegate cannot delegate again")
    answered = next((a for a in ("redirect", "directResponse") if http.get(a)), None)
    for field in ("fault", "rewrite"):
        if answered and http.get(field) and not (answered == "redirect" and field == "rewrite"):
            yield _wrong((*path, field), f"{field} cannot be combined with {answered}")
    for index, match in enumerate(http.get("match") or ()):
        yield from _match(match, (*path, "match", index))
    yield from _weights(http.get("route"), path)
    yield from _header_values(http.get("headers"), (*path, "headers"))
    for index, route in enumerate(http.get("route") or ()):
        yield from _header_values(route.get("headers"), (*path, "route", index, "headers"))
    yield from _redirect(http.get("redirect") or {}, (*path, "redirect"))
    yield from _fault(http.get("fault") or {}, (*path, "fault"))
    yield from _retries(http, path)
    yield from _rewrite(http, path)
    yield from _mirrors(http, path)
    for index, origin in enumerate((http.get("corsPolicy") or {}).get("allowOrigins") or ()):
        yield from regex_problems(origin, (*path, "corsPolicy", "allowOrigins", index))
    status = (http.get("directResponse") or {}).get("status")
    if status is not None and not 200 <= status < 600:
        yield _wrong((*path, "directResponse", "status"), f"status {status} is not between 200 and 599")


def _match(match: Spec, path: KeyPath) -> Iterator[Problem]:
    for field in ("uri", "scheme", "method", "authority"):
        if match.get(field) is not None:
            if not match[field]:
                yield _wrong((*path, field), f"{field} needs one of exact, prefix or regex")
            yield from regex_problems(match[field], (*path, field))
    for field in ("headers", "withoutHeaders", "queryParams"):
        for name, condition in (match.get(field) or {}).items():
            if not name:
                yield _wrong((*path, field), f"{field}: a name must not be empty")
            yield from regex_problems(condition or {}, (*path, field, name))
    prefix = (match.get("uri") or {}).get("prefix")
    if prefix and prefix != "/" and not prefix.endswith("/") and "." not in prefix.rpartition("/")[2]:
        yield problem("PrefixMatchesMore", (*path, "uri"), prefix=prefix, example=prefix + "bar")


def regex_problems(match: Spec, path: KeyPath) -> Iterator[Problem]:
    """A regular expression that RE2 does not take."""
    pattern = match.get("regex")
    if pattern is None or pattern == "*":
        return
    options = re2.Options()
    options.log_errors = False
    try:
        re2.compile(pattern, options)
    except re2.error as error:
        detail = error.args[0] if error.args else error
        text = detail.decode() if isinstance(detail, bytes) else str(detail)
        yield _wrong((*path, "regex"), f"{pattern!r} is not a valid RE2 expression: {text}")


def _weights(routes: Any, path: KeyPath) -> Iterator[Problem]:
    total = 0
    for index, route in enumerate(routes or ()):
        weight = route.get("weight") or 0
        total += weight
        here: KeyPath = (*path, "route", index)
        if weight < 0:
            yield _wrong((*here, "weight"), f"weight {weight} is negative")
        destination = route.get("destination") or {}
        if not destination.get("host"):
            yield _wrong((*here, "destination"), "destination.host is required")
        elif "*" in str(destination["host"]):
            yield _wrong((*here, "destination", "host"), "a destination cannot be a wildcard")
        number = (destination.get("port") or {}).get("number")
        if number is not None and not 1 <= number <= 65535:
            yield _wrong((*here, "destination", "port"), f"port {number} is not between 1 and 65535")
    if routes and len(routes) > 1 and total == 0:
        yield _wrong((*path, "route"), "total destination weight = 0", "give each destination a weight")


def _header_values(headers: Spec | None, path: KeyPath) -> Iterator[Problem]:
    """Envoy reads ``%COMMAND%`` in values and refuses any other single per cent sign."""
    for side in ("request", "response"):
        operations = (headers or {}).get(side) or {}
        for operation in ("set", "add"):
            for name, value in (operations.get(operation) or {}).items():
                if "%" in _COMMAND.sub("", str(value)):
                    here: KeyPath = (*path, side, operation, name)
                    yield _wrong(
                        here, f"header value {value!r} has a single %", "write %% for a per cent sign"
                    )


def _redirect(redirect: Spec, path: KeyPath) -> Iterator[Problem]:
    code = redirect.get("redirectCode")
    if code and code not in _REDIRECT_CODES:
        yield _wrong((*path, "redirectCode"), f"redirect code {code} is none of 301, 302, 303, 307, 308")


def _fault(fault: Spec, path: KeyPath) -> Iterator[Problem]:
    for kind in ("delay", "abort"):
        spec = fault.get(kind)
        if spec is None:
            continue
        share = spec.get("percentage")
        if share is None and not spec.get("percent"):
            yield problem("FaultWithoutShare", (*path, kind), kind=kind)
        elif share is not None and not 0 <= float(share.get("value") or 0) <= 100:
            yield _wrong((*path, kind, "percentage"), "a percentage is between 0 and 100")
    delay, abort = fault.get("delay") or {}, fault.get("abort") or {}
    if fault.get("delay") is not None and "fixedDelay" not in delay:
        yield _wrong((*path, "delay"), "a delay needs fixedDelay; exponentialDelay is not supported")
    if fault.get("abort") is not None:
        if "http2Error" in abort:
            yield _wrong((*path, "abort", "http2Error"), "http2Error is not supported", "use httpStatus")
        elif "httpStatus" not in abort and "grpcStatus" not in abort:
            yield _wrong((*path, "abort"), "an abort needs httpStatus or grpcStatus")
        status = abort.get("httpStatus")
        if status is not None and not 200 <= status <= 599:
            yield _wrong((*path, "abort", "httpStatus"), f"status {status} is not between 200 and 599")


def _retries(http: Spec, path: KeyPath) -> Iterator[Problem]:
    retries = http.get("retries")
    if retries is None:
        return
    path = (*path, "retries")
    attempts = retries.get("attempts")
    if attempts is not None and attempts < 0:
        yield _wrong((*path, "attempts"), f"attempts {attempts} is negative")
    if not attempts and any(retries.get(f) for f in ("perTryTimeout", "retryOn", "backoff")):
        if attempts == 0:
            yield _wrong(path, "perTryTimeout, retryOn and backoff cannot be set when attempts is 0")
        else:
            yield problem("RetriesOff", path)
    for token in str(retries.get("retryOn") or "").split(","):
        name = token.strip()
        if name and name not in _RETRY_ON and not (name.isdigit() and 100 <= int(name) <= 599):
            yield _wrong((*path, "retryOn"), f"retryOn {name!r} is no policy that Envoy knows")
    if http.get("timeout") and retries.get("perTryTimeout"):
        whole, each = str(http["timeout"]), str(retries["perTryTimeout"])
        if parse_duration(each) >= parse_duration(whole):
            yield problem("TryLongerThanRoute", (*path, "perTryTimeout"), per_try=each, timeout=whole)


def _rewrite(http: Spec, path: KeyPath) -> Iterator[Problem]:
    rewrite = http.get("rewrite")
    if rewrite is None:
        return
    if not any(rewrite.get(f) for f in ("uri", "authority", "uriRegexRewrite")):
        yield _wrong((*path, "rewrite"), "rewrite must specify uri, authority or uriRegexRewrite")
    if rewrite.get("uri") and rewrite.get("uriRegexRewrite"):
        yield _wrong((*path, "rewrite"), "rewrite cannot have both uri and uriRegexRewrite")
    target = str(rewrite.get("uri") or "")
    for index, match in enumerate(http.get("match") or ()):
        prefix = str((match.get("uri") or {}).get("prefix") or "")
        if target.endswith("/") and prefix and not prefix.endswith("/"):
            rest = "/rest"
            yield problem(
                "DoubleSlash", (*path, "match", index, "uri"), prefix=prefix, rewrite=target,
                example=prefix + rest, result=target + rest,
                remedy=f"match the prefix {prefix + '/'!r}, and {prefix!r} exactly in a rule of its own",
            )  # fmt: skip


def _mirrors(http: Spec, path: KeyPath) -> Iterator[Problem]:
    if http.get("mirror") and http.get("mirrors"):
        yield _wrong((*path, "mirrors"), "a rule cannot have both mirror and mirrors")
    share = (http.get("mirrorPercentage") or {}).get("value")
    if share is not None and not 0 <= share <= 100:
        yield _wrong((*path, "mirrorPercentage"), "a percentage is between 0 and 100")


def _tls(tls: Spec, path: KeyPath, named: list[str]) -> Iterator[Problem]:
    if not tls.get("match"):
        yield _wrong(path, "a TLS rule needs a match with sniHosts")
    for index, match in enumerate(tls.get("match") or ()):
        here: KeyPath = (*path, "match", index, "sniHosts")
        if not match.get("sniHosts"):
            yield _wrong(here, "TLS match must have at least one SNI host")
        for sni in match.get("sniHosts") or ():
            if not any(hosts.subset_of(str(sni), host) for host in named):
                yield _wrong(here, f"SNI host {sni!r} is not one of the VirtualService's hosts")
    yield from _weights(tls.get("route"), path)
