"""Envoy's choice of virtual host and route, restated so that it can say why a route was passed over.

Follows Envoy's documentation of VirtualHost.domains and RouteMatch. Envoy itself is the judge of which route
is taken (``wavetank.mesh.explain``); this module gives the reasons. The two are tested against
each other.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import re2

from wavetank.errors import InputError

__all__ = ["Request", "choose_host", "mismatch"]

Json = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Request:
    """A request as a client would send it. ``path`` has the query string; header names are lower case."""

    method: str
    host: str
    path: str
    port: int
    scheme: str = "http"
    headers: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, url: str, method: str = "GET", headers: Mapping[str, str] | None = None) -> Request:
        """From a URL such as ``http://shop.example.com/cart?x=1``. Raises InputError for anything else."""
        parts = urlsplit(url if "//" in url else f"http://{url}")
        given = {name.lower(): value for name, value in (headers or {}).items()}
        try:
            port = parts.port
        except ValueError:
            port = -1
        if parts.scheme not in ("http", "https") or not parts.hostname or port == -1:
            raise InputError(f"{url!r} is not an http URL", fix="give e.g. http://shop.example.com/cart")
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        host = given.pop("host", parts.hostname).lower()
        default = 443 if parts.scheme == "https" else 80
        return cls(method.upper(), host, path, port or default, parts.scheme, given)

    @property
    def plain_path(self) -> str:
        return self.path.partition("?")[0]

    def header(self, name: str) -> str | None:
        pseudo = {":method": self.method, ":authority": self.host, ":scheme": self.scheme, ":path": self.path}
        return pseudo.get(name.lower(), self.headers.get(name.lower()))

    def query(self, name: str) -> str | None:
        pairs = parse_qsl(self.path.partition("?")[2], keep_blank_values=True)
        return next((value for key, value in pairs if key == name), None)


def choose_host(hosts: Sequence[Json], host: str) -> Json | None:
    """The virtual host of a request: exact, then the longest ``*suffix``, then ``*``. Ports do not count."""
    name = host.lower().rsplit(":", 1)[0] if ":" in host and not host.endswith("]") else host.lower()
    best: tuple[int, Json] | None = None
    for vhost in hosts:
        for domain in vhost["domains"]:
            rank = _rank(domain, name)
            if rank and (best is None or rank > best[0]):
                best = (rank, vhost)
    return best[1] if best else None


def _rank(domain: str, host: str) -> int:
    if domain == host:
        return 1_000_000
    if domain == "*":
        return 1
    if domain.startswith("*") and host.endswith(domain[1:]) and len(host) >= len(domain):
        return 1 + len(domain)
    return 0


def mismatch(match: Json, request: Request) -> str | None:
    """Why a RouteMatch does not take a request; None where it does."""
    reason = _path_mismatch(match, request.plain_path)
    for header in match.get("headers") or ():
        reason = reason or _header_mismatch(header, request)
    for parameter in match.get("query_parameters") or ():
        reason = reason or _query_mismatch(parameter, request)
    return reason


def _path_mismatch(match: Json, path: str) -> str | None:
    fold = match.get("case_sensitive") is False
    given = path.lower() if fold else path
    if "path" in match:
        wanted = match["path"]
        return None if given == (wanted.lower() if fold else wanted) else f"path {path!r} is not {wanted!r}"
    if "path_separated_prefix" in match:
        wanted = match["path_separated_prefix"]
        prefix = wanted.lower() if fold else wanted
        if given == prefix or given.startswith(prefix + "/"):
            return None
        return f"path {path!r} is not {wanted!r} or below it"
    if "safe_regex" in match:
        pattern = match["safe_regex"]["regex"]
        return None if re2.fullmatch(pattern, path) else f"path {path!r} does not match regex {pattern!r}"
    wanted = match.get("prefix", "/")
    if given.startswith(wanted.lower() if fold else wanted):
        return None
    return f"path {path!r} does not begin with {wanted!r}"


def _string_mismatch(condition: Json, value: str) -> str | None:
    if "exact" in condition:
        return None if value == condition["exact"] else f"is {value!r}, not {condition['exact']!r}"
    if "prefix" in condition:
        wanted = condition["prefix"]
        return None if value.startswith(wanted) else f"is {value!r}, which does not begin with {wanted!r}"
    pattern = condition["safe_regex"]["regex"]
    return None if re2.fullmatch(pattern, value) else f"is {value!r}, which does not match regex {pattern!r}"


def _header_mismatch(header: Json, request: Request) -> str | None:
    name = header["name"]
    value = request.header(name)
    if value is None and header.get("treat_missing_header_as_empty"):
        value = ""
    shown = name.removeprefix(":") if name.startswith(":") else f"header {name}"
    if value is None:
        found: str | None = f"{shown} is not sent"
        if header.get("invert_match") and not header.get("present_match"):
            return found  # without a value there is nothing to differ from
    else:
        found = _string_mismatch(header["string_match"], value) if "string_match" in header else None
        found = f"{shown} {found}" if found else None
    if not header.get("invert_match"):
        return found
    return None if found else f"{shown} is {value!r}, which is excluded"


def _query_mismatch(parameter: Json, request: Request) -> str | None:
    name = parameter["name"]
    value = request.query(name)
    if value is None:
        return f"query parameter {name} is not sent"
    if "string_match" not in parameter:
        return None
    reason = _string_mismatch(parameter["string_match"], value)
    return f"query parameter {name} {reason}" if reason else None
