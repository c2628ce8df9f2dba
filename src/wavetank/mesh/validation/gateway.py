"""What an Istio Gateway may say. Mirrors istio/istio ``pkg/config/validation/gateway.go``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from wavetank.errors import did_you_mean
from wavetank.mesh import hosts
from wavetank.mesh.validation.messages import KeyPath, Problem, problem

__all__ = ["gateway_problems"]

_PROTOCOLS = ("HTTP", "HTTPS", "GRPC", "GRPC-WEB", "HTTP2", "MONGO", "TCP", "TLS")
_NEEDS_TLS = ("HTTPS", "TLS")
_OWN_CERTIFICATE = ("SIMPLE", "MUTUAL", "OPTIONAL_MUTUAL")

Spec = Mapping[str, Any]


def _wrong(path: KeyPath, detail: str, fix: str | None = None) -> Problem:
    return problem("SpecError", path, detail=detail, fix=fix)


def gateway_problems(spec: Spec) -> Iterator[Problem]:
    """All that is wrong with a spec whose form is right."""
    if not spec.get("servers"):
        yield _wrong(("spec",), "gateway must have at least one server")
    names: set[str] = set()
    for index, server in enumerate(spec.get("servers") or ()):
        path: KeyPath = ("spec", "servers", index)
        yield from _port(server.get("port"), (*path, "port"))
        name = str(server.get("name") or "")
        if name and name in names:
            yield _wrong((*path, "name"), f"server names must be unique: {name!r} is given twice")
        names.add(name)
        yield from _hosts(server, path)
        yield from _tls(server, path)


def _port(port: Spec | None, path: KeyPath) -> Iterator[Problem]:
    if port is None:
        yield _wrong(path[:-1], "port is required")
        return
    number = port.get("number")
    if not isinstance(number, int) or not 1 <= number <= 65535:
        yield _wrong((*path, "number"), f"port number {number} is not between 1 and 65535")
    if port.get("targetPort"):
        yield _wrong((*path, "targetPort"), "targetPort has no effect on a Gateway", "remove it")
    protocol = str(port.get("protocol") or "")
    if protocol.upper() not in _PROTOCOLS:
        fix = did_you_mean(protocol.upper(), _PROTOCOLS)
        yield _wrong((*path, "protocol"), f"protocol {protocol!r} is not supported", fix)


def _hosts(server: Spec, path: KeyPath) -> Iterator[Problem]:
    if not server.get("hosts"):
        yield _wrong(path, "a server needs hosts", 'hosts: ["*"] takes every host')
    for index, text in enumerate(server.get("hosts") or ()):
        namespace, slash, host = str(text).partition("/")
        host = host if slash else namespace
        if not host or (slash and not namespace):
            yield _wrong((*path, "hosts", index), f"host {text!r} is not of the form host or namespace/host")
        elif not hosts.is_valid_pattern(host):
            detail = f"host {text!r}: a wildcard may only be the first character"
            yield _wrong((*path, "hosts", index), detail)


def _tls(server: Spec, path: KeyPath) -> Iterator[Problem]:
    protocol = str((server.get("port") or {}).get("protocol") or "").upper()
    tls = server.get("tls")
    if protocol in _NEEDS_TLS and not tls:
        yield _wrong(path, f"a server of protocol {protocol} must have TLS settings")
        return
    if not tls:
        return
    here: KeyPath = (*path, "tls")
    if protocol not in _NEEDS_TLS and any(f != "httpsRedirect" for f in tls):
        yield _wrong(here, f"a server of protocol {protocol} can only have tls.httpsRedirect")
    if protocol in _NEEDS_TLS and tls.get("httpsRedirect"):
        yield _wrong((*here, "httpsRedirect"), "tls.httpsRedirect is for HTTP servers only")
    if protocol not in _NEEDS_TLS:
        return
    mode = str(tls.get("mode") or "PASSTHROUGH")
    if mode in _OWN_CERTIFICATE:
        named = any(tls.get(f) for f in ("credentialName", "credentialNames", "tlsCertificates"))
        if not named and not (tls.get("serverCertificate") and tls.get("privateKey")):
            detail = f"tls mode {mode} needs a credentialName, or serverCertificate and privateKey"
            yield _wrong(here, detail)
        if not tls.get("credentialName"):
            yield problem(
                "NotSupported", here, field="a certificate that is not in a Secret (credentialName)"
            )
    if mode in ("MUTUAL", "OPTIONAL_MUTUAL", "ISTIO_MUTUAL", "AUTO_PASSTHROUGH"):
        yield problem("NotSupported", (*here, "mode"), field=f"tls mode {mode}")
