"""Probes: when they run, when their results count, and how each kind asks.

Mirrors ``pkg/kubelet/prober``. ``Verdict`` is the pure part: thresholds over a row of equal results. The
texts of failures are upstream's, as they end up in events.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol, runtime_checkable

from wavetank.kube.kubelet.runtime import Running, StartError
from wavetank.limits import KUBELET_PROBE_BODY_BYTES_MAX

__all__ = ["ProbeSpec", "Probed", "Verdict", "http_get", "parse_probe", "run_probe"]


@dataclass(frozen=True, slots=True)
class ProbeSpec:
    """A probe with upstream's defaults; seconds. ``action`` is httpGet, tcpSocket, exec or grpc."""

    action: str
    detail: Mapping[str, Any]
    initial_delay: float = 0.0
    period: float = 10.0
    timeout: float = 1.0
    success_threshold: int = 1
    failure_threshold: int = 3
    grace: float | None = None


@runtime_checkable
class Probed(Protocol):
    """A container that answers its own probes: a model, which listens on no port.

    ``steady`` says that the answer will be the same for as long as the container runs.
    """

    steady: bool

    def probe(self, spec: ProbeSpec) -> tuple[bool, str]: ...


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a probe's results amount to. ``healthy`` changes only when a threshold is reached."""

    healthy: bool
    last: bool | None = None
    run: int = 0

    def step(self, success: bool, spec: ProbeSpec) -> tuple[Verdict, bool]:
        """(the new verdict, whether a threshold was reached with this result)."""
        run = self.run + 1 if success == self.last else 1
        needed = spec.success_threshold if success else spec.failure_threshold
        if run < needed:
            return replace(self, last=success, run=run), False
        return Verdict(success, success, run), True


def parse_probe(probe: Mapping[str, Any] | None) -> ProbeSpec | None:
    """None where there is no probe, or none with an action."""
    if not probe:
        return None
    action = next((a for a in ("httpGet", "tcpSocket", "exec", "grpc") if a in probe), None)
    if action is None:
        return None
    grace = probe.get("terminationGracePeriodSeconds")
    return ProbeSpec(
        action,
        probe[action] or {},
        float(probe.get("initialDelaySeconds") or 0),
        float(probe.get("periodSeconds") or 10),
        float(probe.get("timeoutSeconds") or 1),
        int(probe.get("successThreshold") or 1),
        int(probe.get("failureThreshold") or 3),
        None if grace is None else float(grace),
    )


async def run_probe(
    spec: ProbeSpec, running: Running, pod_ip: str, ports: Sequence[Mapping[str, Any]]
) -> tuple[bool, str]:
    """Ask once: (success, message of the failure)."""
    if isinstance(running, Probed):
        return running.probe(spec)
    try:
        match spec.action:
            case "httpGet":
                return await _http(spec, pod_ip, ports)
            case "tcpSocket":
                return await _tcp(spec, pod_ip, ports)
            case "grpc":
                return await _grpc(spec, pod_ip)
            case _:
                return await _exec(spec, running)
    except LookupError as error:
        return False, str(error.args[0])


def resolve_port(port: Any, ports: Sequence[Mapping[str, Any]]) -> int:
    """A number, or the number behind a container port's name. Raises LookupError."""
    if isinstance(port, int):
        return port
    for entry in ports:
        if entry.get("name") == port:
            return int(entry["containerPort"])
    if str(port).isdigit():
        return int(port)
    raise LookupError(f"couldn't find port: {port}")


async def _http(spec: ProbeSpec, pod_ip: str, ports: Sequence[Mapping[str, Any]]) -> tuple[bool, str]:
    url, status, problem = await http_get(spec.detail, pod_ip, ports, spec.timeout)
    if problem:
        return False, f'Get "{url}": {problem}'
    if 200 <= status < 400:
        return True, ""
    return False, f"HTTP probe failed with statuscode: {status}"


async def http_get(
    detail: Mapping[str, Any], pod_ip: str, ports: Sequence[Mapping[str, Any]], timeout: float
) -> tuple[str, int, str]:
    """One GET as the kubelet sends it, on a connection of its own: (url, status, problem)."""
    scheme = str(detail.get("scheme") or "HTTP").lower()
    host = detail.get("host") or pod_ip
    port = resolve_port(detail.get("port"), ports)
    path = str(detail.get("path") or "/")
    path = path if path.startswith("/") else f"/{path}"
    url = f"{scheme}://{host}:{port}{path}"
    headers = {"Host": f"{host}:{port}", "User-Agent": "kube-probe/1.33", "Accept": "*/*"}
    for header in detail.get("httpHeaders") or ():
        given = next((k for k in headers if k.lower() == header["name"].lower()), header["name"])
        headers[given] = str(header.get("value", ""))
    try:
        async with asyncio.timeout(timeout):
            return url, await _get(str(host), port, path, headers, tls=scheme == "https"), ""
    except TimeoutError:
        return url, 0, "context deadline exceeded (Client.Timeout exceeded while awaiting headers)"
    except OSError as error:
        return url, 0, _dial(str(host), port, error)
    except (ValueError, IndexError):
        return url, 0, "malformed HTTP response"


async def _get(host: str, port: int, path: str, headers: Mapping[str, str], *, tls: bool) -> int:
    """The status code of one HTTP/1.1 request."""
    context: ssl.SSLContext | None = None
    if tls:
        context = ssl.create_default_context()
        context.check_hostname = False  # upstream's probes do not verify either
        context.verify_mode = ssl.CERT_NONE
    reader, writer = await asyncio.open_connection(host, port, ssl=context)
    try:
        lines = [f"GET {path} HTTP/1.1", *(f"{k}: {v}" for k, v in headers.items()), "Connection: close"]
        writer.write("\r\n".join([*lines, "", ""]).encode("latin-1", "replace"))
        await writer.drain()
        status = await reader.readline()
        if not status.startswith(b"HTTP/"):
            raise ValueError("malformed")
        await reader.read(KUBELET_PROBE_BODY_BYTES_MAX)
        return int(status.split()[1])
    finally:
        writer.close()


async def _tcp(spec: ProbeSpec, pod_ip: str, ports: Sequence[Mapping[str, Any]]) -> tuple[bool, str]:
    host = str(spec.detail.get("host") or pod_ip)
    port = resolve_port(spec.detail.get("port"), ports)
    try:
        async with asyncio.timeout(spec.timeout):
            _, writer = await asyncio.open_connection(host, port)
            writer.close()
    except TimeoutError:
        return False, f"dial tcp {host}:{port}: i/o timeout"
    except OSError as error:
        return False, _dial(host, port, error)
    return True, ""


def _dial(host: str, port: int, error: OSError) -> str:
    if isinstance(error, ConnectionRefusedError):
        return f"dial tcp {host}:{port}: connect: connection refused"
    if isinstance(error, ConnectionResetError):
        return f"read tcp {host}:{port}: read: connection reset by peer"
    return f"dial tcp {host}:{port}: {(error.strerror or str(error)).lower()}"


async def _exec(spec: ProbeSpec, running: Running) -> tuple[bool, str]:
    command = spec.detail.get("command") or []
    try:
        code, output = await running.execute(command, spec.timeout)
    except TimeoutError:
        return False, f'command timed out: "{" ".join(command)}" timed out after {spec.timeout:g}s'
    except (StartError, OSError) as error:
        return False, str(error)
    return code == 0, output.strip()


async def _grpc(spec: ProbeSpec, pod_ip: str) -> tuple[bool, str]:
    """grpc.health.v1.Health/Check. The two messages are small enough to be written out."""
    import grpc.aio

    service = str(spec.detail.get("service") or "").encode()
    request = b"\x0a" + bytes([len(service)]) + service if service else b""
    async with grpc.aio.insecure_channel(f"{pod_ip}:{int(spec.detail.get('port') or 0)}") as channel:
        call = channel.unary_unary("/grpc.health.v1.Health/Check")
        try:
            answer = await asyncio.wait_for(call(request), spec.timeout)
        except TimeoutError:
            return False, f'timeout: failed to connect service "{pod_ip}:{spec.detail.get("port")}" within 1s'
        except grpc.aio.AioRpcError as error:
            return False, f"error: {error.details()}"
    status = answer[1] if len(answer) >= 2 and answer[0] == 0x08 else 0
    if status == 1:
        return True, ""
    names = {0: "UNKNOWN", 2: "NOT_SERVING", 3: "SERVICE_UNKNOWN"}
    return False, f'service unhealthy (responded with "{names.get(status, status)}")'
