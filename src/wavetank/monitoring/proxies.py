"""Which proxy a request goes through.

Mirrors golang.org/x/net/http/httpproxy, which ``proxy_url``, ``no_proxy`` and ``proxy_from_environment`` of
prometheus/common follow: no proxy for this machine, and entries that are ``*``, addresses, networks, names
(with everything below them) or ``.names`` (only what is below), each with a port if need be.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from urllib.parse import urlsplit

from wavetank.monitoring.config.http import ProxyConfig

__all__ = ["is_excluded", "proxy_for"]

_PORTS = {"http": 80, "https": 443}


def proxy_for(url: str, config: ProxyConfig, environment: Mapping[str, str]) -> str:
    """The proxy's URL, empty for none. A ``proxy_url`` alone is for this machine too, as upstream has it.

    Raises ValueError for a URL without a host.
    """
    if config.proxy_url:
        proxy, without = config.proxy_url, config.no_proxy
    elif config.proxy_from_environment:
        proxy = _of(environment, f"{url.partition(':')[0]}_proxy")
        without = _of(environment, "no_proxy")
    else:
        return ""
    if not proxy or ((without or not config.proxy_url) and is_excluded(url, without)):
        return ""
    return proxy if "://" in proxy else f"http://{proxy}"


def _of(environment: Mapping[str, str], name: str) -> str:
    return environment.get(name.upper()) or environment.get(name, "")


def is_excluded(url: str, no_proxy: str) -> bool:
    """Whether the URL's host is reached without a proxy."""
    parts = urlsplit(url)
    host = (parts.hostname or "").rstrip(".")
    if not host:
        raise ValueError(f"no host in {url!r}")
    port = parts.port or _PORTS.get(parts.scheme, 0)
    address = _address(host)
    if host == "localhost" or (address is not None and address.is_loopback):
        return True
    return any(_matches(entry.strip().lower(), host, address, port) for entry in no_proxy.split(","))


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(text.strip("[]"))
    except ValueError:
        return None


def _matches(
    entry: str, host: str, address: ipaddress.IPv4Address | ipaddress.IPv6Address | None, port: int
) -> bool:
    if entry in ("", "*"):
        return entry == "*"
    if "/" in entry:
        try:
            return address is not None and address in ipaddress.ip_network(entry, strict=False)
        except ValueError:
            return False
    if _address(entry) is None and (found := entry.rpartition(":"))[1] and found[2].isdigit():
        if int(found[2]) != port:
            return False
        entry = found[0]
    if (named := _address(entry)) is not None:
        return named == address
    if entry.startswith(("*.", ".")):
        return host.endswith(entry.removeprefix("*"))
    return host == entry or host.endswith("." + entry)
