"""Host names as Istio compares them: short names, ``*.suffix`` wildcards, ``namespace/host`` selectors.

Mirrors istio/istio ``pkg/config/host`` and ``model.ResolveShortnameToFQDN``.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable

__all__ = [
    "DOMAIN",
    "intersect",
    "is_ip",
    "is_valid_pattern",
    "most_specific",
    "namespace_and_host",
    "resolve",
    "service_host",
    "subset_of",
]

DOMAIN = "cluster.local"


def service_host(name: str, namespace: str) -> str:
    return f"{name}.{namespace}.svc.{DOMAIN}"


def is_valid_pattern(host: str) -> bool:
    """A host name, or one with a wildcard as its first character: ``*``, ``*.example.com``, ``*-x.com``."""
    return bool(host) and "*" not in host[1:] and not host.startswith("*.*")


def is_ip(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def resolve(host: str, namespace: str) -> str:
    """The FQDN of a short name in that namespace. Names with a dot are taken as they are, as Istio does:
    ``reviews.prod`` is not completed. Host names compare in lower case."""
    host = host.lower()
    if not host or "." in host or "*" in host or is_ip(host):
        return host
    return service_host(host, namespace)


def subset_of(host: str, pattern: str) -> bool:
    """Whether every host that ``host`` stands for is one that ``pattern`` stands for."""
    if pattern == "*" or host == pattern:
        return True
    if not pattern.startswith("*"):
        return False
    return host.removeprefix("*").endswith(pattern[1:]) and host != pattern[1:]


def intersect(one: str, other: str) -> str | None:
    """The narrower of two patterns, or None where no host is in both."""
    if subset_of(one, other):
        return one
    return other if subset_of(other, one) else None


def most_specific(host: str, patterns: Iterable[str]) -> str | None:
    """The pattern that names ``host`` best: exact, then the longest wildcard."""
    return max(
        (p for p in patterns if subset_of(host, p)),
        key=lambda p: (not p.startswith("*"), len(p)),
        default=None,
    )


def namespace_and_host(text: str, own_namespace: str) -> tuple[str, str]:
    """``ns/host`` split; the namespace is ``*`` where none is given, and ``.`` means one's own."""
    namespace, slash, host = text.partition("/")
    if not slash:
        return "*", text.lower()
    return (own_namespace if namespace == "." else namespace), host.lower()
