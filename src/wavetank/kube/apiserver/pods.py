"""What is asked of a pod's kubelet: logs, exec, attach, port-forward.

Mirrors the streaming subresources of ``pods``. Commands and ports go over websockets, as kubectl speaks them
from 1.31 on, and over SPDY/3.1, as it spoke before.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import suppress
from typing import Any, Final

from starlette.datastructures import QueryParams
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.websockets import WebSocket, WebSocketDisconnect

from wavetank.errors import InputError
from wavetank.kube.api import Api
from wavetank.kube.apiserver.channels import (
    PROTOCOLS,
    end_session,
    forward_ports,
    next_message,
    serve_session,
)
from wavetank.kube.apiserver.port_forward import Connect, PortForward
from wavetank.kube.apiserver.request import Target, flag
from wavetank.kube.apiserver.spdy_session import SpdyStreams
from wavetank.kube.apiserver.spdy_upgrade import PROTOCOL_HEADER, SpdyConnection
from wavetank.kube.client import ApiError, Object
from wavetank.kube.providers import KubeletProvider
from wavetank.kube.resources import PODS
from wavetank.kube.status import bad_request, status_of

__all__ = ["STREAMS", "log", "refuse_request", "spdy_stream", "stream"]

STREAMS: Final = frozenset({"exec", "attach", "portforward"})
_TUNNEL: Final = "SPDY/3.1+portforward.k8s.io"


async def log(api: Api, kubelet: KubeletProvider, query: Mapping[str, str], target: Target) -> Response:
    """``pods/log``."""
    pod = api.stored(PODS, target.namespace, target.name)
    lines = kubelet.logs(
        pod,
        container_of(pod, query.get("container", "")),
        follow=flag(query, "follow"),
        tail_lines=_integer(query, "tailLines"),
        timestamps=flag(query, "timestamps"),
        since_seconds=_integer(query, "sinceSeconds"),
        previous=flag(query, "previous"),
    )
    # The first piece tells whether there is a log at all: an error must still have its own status.
    first = await anext(lines, None)

    async def pieces() -> AsyncIterator[bytes]:
        if first is not None:
            yield first
        async for piece in lines:
            yield piece

    return StreamingResponse(pieces(), media_type="text/plain")


async def stream(api: Api, kubelet: KubeletProvider, socket: WebSocket, target: Target) -> None:
    """``pods/exec``, ``pods/attach`` and ``pods/portforward``. Raises ApiError before it accepts."""
    pod = api.stored(PODS, target.namespace, target.name)
    offered: Sequence[str] = socket.scope.get("subprotocols") or ()
    if target.subresource == "portforward":
        await _port_forward(kubelet, socket, pod, offered)
        return
    protocol = _choose(offered, PROTOCOLS)
    container, wanted, command = _asked(socket.query_params, pod, target.subresource)
    await socket.accept(protocol)
    query = socket.query_params
    try:
        if command:
            session = await kubelet.execute(
                pod, container, command, stdin=flag(query, "stdin"), tty=flag(query, "tty")
            )
        else:
            session = await kubelet.attach(pod, container)
    except ApiError as error:  # as a kubelet does, which upgrades first and asks the runtime then
        await end_session(socket, status_of(error))
        return
    await serve_session(socket, session, wanted)


def _asked(query: QueryParams, pod: Object, subresource: str) -> tuple[str, list[str], list[str]]:
    """(container, outputs that are wanted, command; none to attach)."""
    container = container_of(pod, query.get("container", ""))
    wanted = [name for name in ("stdout", "stderr") if flag(query, name)]
    if not wanted and not flag(query, "stdin"):
        raise bad_request("you must specify at least 1 of stdin, stdout, stderr")
    command = query.getlist("command") if subresource == "exec" else []
    if subresource == "exec" and not (command and command[0]):
        raise bad_request("you must specify at least one command for the container")
    if not pod["spec"].get("nodeName"):
        raise bad_request(f"pod {pod['metadata']['name']} does not have a host assigned")
    return container, wanted, command


async def _port_forward(
    kubelet: KubeletProvider, socket: WebSocket, pod: Object, offered: Sequence[str]
) -> None:
    protocol = _choose(offered, (_TUNNEL, "portforward.k8s.io", *PROTOCOLS))
    metadata = pod["metadata"]
    name = f"{metadata['name']}, uid {metadata['uid']}"

    async def connect(port: int) -> Any:
        return await kubelet.connect(pod, port)

    if protocol == _TUNNEL:
        await socket.accept(protocol)
        await _tunnel(socket, connect, name)
        return
    ports = [int(p) for text in socket.query_params.getlist("ports") for p in text.split(",") if p.isdigit()]
    if not ports or not all(0 < port < 65536 for port in ports) or len(ports) > 100:
        raise bad_request("query parameter ports must name 1 to 100 ports")
    await socket.accept(protocol)
    await forward_ports(socket, ports, connect, name)


async def _tunnel(socket: WebSocket, connect: Connect, name: str) -> None:
    async def send(data: bytes) -> None:
        try:
            await socket.send_bytes(data)
        except (WebSocketDisconnect, RuntimeError) as error:
            raise ConnectionResetError(str(error)) from None

    forward = PortForward(send, connect, name)
    try:
        while (message := await next_message(socket)) is not None:
            await forward.feed(message)
    except InputError as error:
        with suppress(WebSocketDisconnect):
            await socket.close(1002, error.message[:120])
    except ConnectionResetError:
        pass  # the client is gone
    finally:
        await forward.close()


def _choose(offered: Sequence[str], spoken: Sequence[str]) -> str:
    for protocol in spoken:
        if protocol in offered:
            return protocol
    shown = ", ".join(offered) or "none"
    raise bad_request(f"unable to upgrade: unsupported protocols: {shown}; use one of {', '.join(spoken)}")


async def spdy_stream(api: Api, kubelet: KubeletProvider, request: Request, target: Target) -> None:
    """The same over SPDY/3.1. Raises ApiError before it accepts."""
    pod = api.stored(PODS, target.namespace, target.name)
    connection: SpdyConnection = request.scope["connection"]
    offered = [
        text.strip()
        for h in request.headers.getlist(PROTOCOL_HEADER)
        for text in h.split(",")
        if text.strip()
    ]
    if target.subresource == "portforward":
        connection.accept(_choose(offered, ("portforward.k8s.io",)))
        await _spdy_forward(kubelet, connection, pod)
        return
    query = request.query_params
    container, wanted, command = _asked(query, pod, target.subresource)
    connection.accept(_choose(offered, ("v4.channel.k8s.io",)))
    kinds = {"error", *wanted, *(["stdin"] if flag(query, "stdin") else [])}
    if flag(query, "tty"):
        kinds = (kinds | {"resize"}) - {"stderr"}
    streams = SpdyStreams(connection, frozenset(kinds))
    try:
        if not await streams.open():
            return
        if command:
            session = await kubelet.execute(
                pod, container, command, stdin=flag(query, "stdin"), tty=flag(query, "tty")
            )
        else:
            session = await kubelet.attach(pod, container)
    except ApiError as error:
        await streams.finish(status_of(error))
    except (InputError, ConnectionError):
        return  # not what was agreed upon, or gone
    else:
        await streams.serve(session)


async def _spdy_forward(kubelet: KubeletProvider, connection: SpdyConnection, pod: Object) -> None:
    metadata = pod["metadata"]

    async def connect(port: int) -> Any:
        return await kubelet.connect(pod, port)

    forward = PortForward(connection.send, connect, f"{metadata['name']}, uid {metadata['uid']}")
    try:
        while data := await connection.receive():
            await forward.feed(data)
    except (InputError, ConnectionError):
        pass  # not what was agreed upon, or gone
    finally:
        await forward.close()


def refuse_request(api: Api, request: Request, target: Target) -> Response:
    """A stream asked for without an upgrade. Clients come here too when their websocket was refused: what is
    wrong with the request comes first."""
    pod = api.stored(PODS, target.namespace, target.name)
    if target.subresource != "portforward":
        _asked(request.query_params, pod, target.subresource)
    raise bad_request(f"Upgrade request required: {target.subresource} needs a websocket or SPDY/3.1")


def container_of(pod: Mapping[str, Any], given: str) -> str:
    """The container that is meant. Raises ApiError 400 where none is, or none is named among several."""
    spec = pod.get("spec") or {}
    names = [c["name"] for c in spec.get("containers") or ()]
    inits = [c["name"] for c in spec.get("initContainers") or ()]
    name = pod["metadata"]["name"]
    if given:
        if given not in names and given not in inits:
            raise bad_request(f"container {given} is not valid for pod {name}")
        return given
    if len(names) != 1:
        choices = f"choose one of: [{' '.join(names)}]"
        if inits:
            choices += f" or one of the init containers: [{' '.join(inits)}]"
        raise bad_request(f"a container name must be specified for pod {name}, {choices}")
    return str(names[0])


def _integer(query: Mapping[str, str], name: str) -> int | None:
    text = query.get(name)
    if not text:
        return None
    try:
        return int(text)
    except ValueError:
        raise bad_request(f"{name} must be an integer") from None
