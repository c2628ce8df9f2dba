"""exec, attach and port-forward: commands and connections into pods, over websockets and SPDY."""

from __future__ import annotations

import asyncio
import gc
import json
import re
import shutil
import ssl
import stat
import sys
import zlib
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import urlencode

import aiohttp
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from streaming_cluster import StreamingCluster, streaming_cluster

from wavetank.errors import InputError
from wavetank.kube.apiserver.spdy import DataFrame, Ping, SpdyCodec, SynStream, data_frame, ping_frame

_ECHO = """
import socket
server = socket.create_server((__import__('os').environ['POD_IP'], 7000))
while True:
    peer, _ = server.accept()
    while data := peer.recv(65536):
        print(data.decode(), flush=True)
        peer.sendall(data.upper())
    peer.close()
"""
_POD_IP = {"name": "POD_IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}
_READY = {
    "exec": {
        "command": [
            sys.executable,
            "-c",
            "import socket,os; socket.create_connection((os.environ['POD_IP'], 7000)).close()",
        ]
    },
    "periodSeconds": 1,
}


@pytest.fixture
async def tank(tmp_path: Path) -> AsyncIterator[StreamingCluster]:
    async with streaming_cluster(tmp_path, 1) as made:
        await made.run_pod("echo", sys.executable, "-c", _ECHO, env=[_POD_IP], readinessProbe=_READY)
        yield made


class Channels:
    """What a client of the websocket sees."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self.socket = socket
        self.received: dict[int, bytes] = {}

    async def send(self, channel: int, data: bytes) -> None:
        await self.socket.send_bytes(bytes([channel]) + data)

    async def until(self, channel: int, text: bytes) -> None:
        while text not in self.received.get(channel, b""):
            message = await self.socket.receive(timeout=30)
            assert message.type is aiohttp.WSMsgType.BINARY, (message, self.received)
            self.received[message.data[0]] = self.received.get(message.data[0], b"") + message.data[1:]

    async def finish(self) -> dict[str, object]:
        """The rest, and the final Status."""
        async for message in self.socket:
            self.received[message.data[0]] = self.received.get(message.data[0], b"") + message.data[1:]
        return json.loads(self.received[3])


def connect(
    tank: StreamingCluster,
    session: aiohttp.ClientSession,
    what: str,
    query: list[tuple[str, str]],
    *,
    protocol: str = "v5.channel.k8s.io",
    token: str = "",
):  # type: ignore[no-untyped-def]
    access = tank.plane.access()
    context = ssl.create_default_context(cadata=access.ca.decode())
    url = f"{access.server}/api/v1/namespaces/default/pods/echo/{what}?{urlencode(query)}"
    headers = {"Authorization": f"Bearer {token or access.token}"}
    return session.ws_connect(url, ssl=context, headers=headers, protocols=[protocol])


def command(*argv: str, **more: str) -> list[tuple[str, str]]:
    return [*(("command", a) for a in argv), ("stdout", "true"), ("stderr", "true"), *more.items()]


async def test_a_command_runs_in_the_container_with_streams_of_its_own(tank: StreamingCluster) -> None:
    async with aiohttp.ClientSession() as session:
        script = "echo out $POD_IP; echo err >&2; exit 3"
        async with connect(tank, session, "exec", command("sh", "-c", script)) as socket:
            seen = Channels(socket)
            status = await seen.finish()
        assert seen.received[1].startswith(b"out 127.44.1.") and seen.received[2] == b"err\n"
        assert status["reason"] == "NonZeroExitCode"
        assert status["details"] == {"causes": [{"reason": "ExitCode", "message": "3"}]}
        async with connect(tank, session, "exec", command("cat", stdin="true")) as socket:
            seen = Channels(socket)
            await seen.send(0, b"one ")
            await seen.send(0, b"two")
            await socket.send_bytes(b"\xff\x00")  # the input ends
            assert (await seen.finish())["status"] == "Success"
        assert seen.received[1] == b"one two"
        async with connect(tank, session, "exec", command("no-such-program")) as socket:
            status = await Channels(socket).finish()
        assert "executable file not found in $PATH" in str(status["message"])


async def test_a_terminal_has_a_size_and_ends_with_its_client(tank: StreamingCluster) -> None:
    async with aiohttp.ClientSession() as session:
        query = command("sh", stdin="true", tty="true")
        async with connect(tank, session, "exec", query) as socket:
            seen = Channels(socket)
            await seen.send(4, b'{"Width":91,"Height":17}')
            await seen.send(4, b"nonsense")
            await seen.send(0, b"echo pid=$$=; stty size\n")
            await seen.until(1, b"17 91")
    found = re.search(rb"pid=(\d+)=", seen.received[1])
    assert found
    pid = int(found[1])
    async with asyncio.timeout(30):
        while Path(f"/proc/{pid}").exists():
            await asyncio.sleep(0.01)


async def test_attach_passes_on_what_the_container_says_from_now_on(tank: StreamingCluster) -> None:
    async with (
        aiohttp.ClientSession() as session,
        connect(tank, session, "attach", [("stdout", "true")]) as socket,
    ):
        seen = Channels(socket)
        pod = await tank.client.get_raw("/api/v1/namespaces/default/pods/echo")
        _, writer = await asyncio.open_connection(json.loads(pod)["status"]["podIP"], 7000)
        writer.write(b"hello")
        await seen.until(1, b"hello\n")
        writer.close()
        await writer.wait_closed()


async def test_ports_are_forwarded_over_channels(tank: StreamingCluster) -> None:
    async with aiohttp.ClientSession() as session:
        opened = connect(tank, session, "portforward", [("ports", "7000")], protocol="v4.channel.k8s.io")
        async with opened as socket:
            seen = Channels(socket)
            await seen.until(1, (7000).to_bytes(2, "little"))
            await seen.send(0, b"abc")
            await seen.until(0, b"ABC")
        opened = connect(tank, session, "portforward", [("ports", "7001")], protocol="v4.channel.k8s.io")
        async with opened as socket:
            await Channels(socket).until(1, b"error forwarding port 7001")


async def test_ports_are_forwarded_through_a_spdy_tunnel(tank: StreamingCluster) -> None:
    async with aiohttp.ClientSession() as session:
        # The library refuses a protocol's name with a slash, which is kubectl's; the header is the same.
        opened = connect(tank, session, "portforward", [], protocol="SPDY/3.1+portforward.k8s.io")
        async with opened as socket:
            codec = SpdyCodec()
            for stream, kind in ((1, "error"), (3, "data")):
                headers = {"streamtype": kind, "port": "7000", "requestid": "0"}
                await socket.send_bytes(syn_stream(codec, stream, headers))
            await socket.send_bytes(data_frame(3, b"xyz") + ping_frame(5))
            got, pings = b"", []
            while b"XYZ" not in got or not pings:
                data = (await socket.receive(timeout=30)).data
                for frame in codec.feed(data):
                    if isinstance(frame, DataFrame):
                        got += frame.data
                    elif isinstance(frame, Ping):
                        pings.append(frame.number)
            assert pings == [5]


_REFUSED = [
    ("exec", [("command", "ls")], 400, "you must specify at least 1 of stdin, stdout, stderr"),
    ("exec", [("stdout", "1")], 400, "you must specify at least one command"),
    ("exec", [*command("ls"), ("container", "x")], 400, "container x is not valid for pod echo"),
    ("portforward", [("ports", "99999")], 400, "query parameter ports"),
]


async def test_what_is_refused_has_a_status(tank: StreamingCluster) -> None:
    access = tank.plane.access()
    context = ssl.create_default_context(cadata=access.ca.decode())
    headers = {"Authorization": f"Bearer {access.token}"}
    async with aiohttp.ClientSession() as session:
        for what, query, code, message in _REFUSED:
            with pytest.raises(aiohttp.WSServerHandshakeError) as caught:
                await connect(tank, session, what, query)
            assert caught.value.status == code
            url = f"{tank.plane.url}/api/v1/namespaces/default/pods/echo/{what}?{urlencode(query)}"
            async with session.post(url, ssl=context, headers=headers) as answer:
                text = (await answer.json())["message"]
                assert message in text or "needs a websocket or SPDY/3.1" in text


async def test_a_reader_may_not_run_commands(tank: StreamingCluster) -> None:
    credentials = tank.plane.credentials
    assert credentials is not None
    async with aiohttp.ClientSession() as session:
        with pytest.raises(aiohttp.WSServerHandshakeError) as caught:
            await connect(tank, session, "exec", command("ls"), token=credentials.tokens.reader)
    assert caught.value.status == 403


# SPDY frames


def syn_stream(codec: SpdyCodec, stream: int, headers: dict[str, str]) -> bytes:
    """A client's frame, made with the codec's own compressor."""
    plain = len(headers).to_bytes(4, "big")
    for name, value in headers.items():
        plain += b"".join(len(t).to_bytes(4, "big") + t.encode() for t in (name, value))
    block = codec._deflate.compress(plain) + codec._deflate.flush(zlib.Z_SYNC_FLUSH)
    body = stream.to_bytes(4, "big") + bytes(6) + block
    return b"\x80\x03\x00\x01\x00" + len(body).to_bytes(3, "big") + body


def test_frames_are_read_whatever_their_pieces() -> None:
    sent = SpdyCodec()
    data = syn_stream(sent, 1, {"streamType": "data", "port": "80"}) + data_frame(1, b"hello", fin=True)
    received, frames = SpdyCodec(), []
    for byte in data:
        frames += list(received.feed(bytes([byte])))
    assert frames == [SynStream(1, {"streamtype": "data", "port": "80"}, False), DataFrame(1, b"hello", True)]


@settings(max_examples=60)
@given(st.lists(st.binary(max_size=64), max_size=4))
def test_bytes_that_are_no_spdy_are_refused_with_a_reason(pieces: list[bytes]) -> None:
    codec = SpdyCodec()
    try:
        for piece in pieces:
            list(codec.feed(b"\x80\x03\x00\x01\x00\x00\x00" + bytes([len(piece)]) + piece))
    except InputError as error:
        assert error.message


# Other people's clients


def _kubectl() -> dict[str, str]:
    base = shutil.which("kubectl")
    if base is None:
        return {}
    directory = Path(base).resolve().parent
    versions = ("1.27", "1.28", "1.29", "1.30", "1.31", "1.32", "1.33")
    found = {v: directory / f"kubectl.{v}" for v in versions}
    return {v: str(p) for v, p in found.items() if p.exists() and p.stat().st_mode & stat.S_IXUSR}


_KUBECTL = _kubectl()


async def run(
    program: str, tank: StreamingCluster, *arguments: str, stdin: bytes = b""
) -> tuple[int, bytes, bytes]:
    process = await asyncio.create_subprocess_exec(
        program, f"--kubeconfig={tank.kubeconfig}", f"--cache-dir={tank.directory / 'cache'}", *arguments,
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        env={"PATH": "/usr/bin:/bin", "HOME": str(tank.directory)},
    )  # fmt: skip
    try:
        out, err = await asyncio.wait_for(process.communicate(stdin), 60)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode is not None
    return process.returncode, out, err


@pytest.mark.peer
@pytest.mark.slow
@pytest.mark.skipif(not _KUBECTL, reason="kubectl is not installed")
async def test_every_kubectl_runs_commands_and_forwards_ports(tank: StreamingCluster) -> None:
    for version, program in _KUBECTL.items():
        code, out, err = await run(
            program, tank, "exec", "echo", "--", "sh", "-c", "echo out; echo err >&2; exit 7"
        )
        assert (code, out) == (7, b"out\n"), (version, err)
        assert err.splitlines()[0] == b"err"
        big = bytes(range(256)) * 2000
        assert await run(program, tank, "exec", "-i", "echo", "--", "cat", stdin=big) == (0, big, b""), (
            version
        )
        code, _, err = await run(program, tank, "exec", "echo", "--", "no-such-program")
        assert code == 1 and b"executable file not found in $PATH" in err
        assert await _forwarded(program, tank) == b"SHOUT"


async def _forwarded(program: str, tank: StreamingCluster) -> bytes:
    process = await asyncio.create_subprocess_exec(
        program, f"--kubeconfig={tank.kubeconfig}", "port-forward", "echo", ":7000",
        stdout=asyncio.subprocess.PIPE, env={"PATH": "/usr/bin:/bin", "HOME": str(tank.directory)},
    )  # fmt: skip
    try:
        assert process.stdout is not None
        line = await asyncio.wait_for(
            process.stdout.readline(), 30
        )  # Forwarding from 127.0.0.1:40001 -> 7000
        port = int(line.split(b":")[1].split()[0])
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"shout")
        answer = await asyncio.wait_for(reader.readexactly(5), 30)
        writer.close()
        await writer.wait_closed()
        return answer
    finally:
        process.terminate()
        await process.wait()


@pytest.mark.peer
@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning", "ignore::ResourceWarning")
async def test_the_python_client_streams(tank: StreamingCluster) -> None:
    pytest.importorskip("kubernetes", reason="the kubernetes package is not installed")
    assert await asyncio.to_thread(_python_streams, str(tank.kubeconfig)) == ["out\n", "LINE\n", 4, b"ABC"]


def _python_streams(kubeconfig: str) -> list[object]:
    from kubernetes import client, config
    from kubernetes.stream import portforward, stream

    seen: list[object] = []
    with config.new_client_from_config(kubeconfig) as api:
        core = client.CoreV1Api(api)
        opened = core.connect_get_namespaced_pod_exec
        seen.append(stream(opened, "echo", "default", command=["echo", "out"], stdout=True, stderr=True))
    with config.new_client_from_config(kubeconfig) as api:
        opened = client.CoreV1Api(api).connect_get_namespaced_pod_exec
        script = "read line; echo $line | tr a-z A-Z; exit 4"
        session = stream(
            opened,
            "echo",
            "default",
            command=["sh", "-c", script],
            stdin=True,
            stdout=True,
            stderr=True,
            _preload_content=False,
        )
        session.write_stdin("line\n")
        session.run_forever(timeout=30)
        seen.append(session.read_stdout(timeout=0))
        seen.append(session.returncode)
        session.close()
    with config.new_client_from_config(kubeconfig) as api:
        core = client.CoreV1Api(api)
        forward = portforward(core.connect_get_namespaced_pod_portforward, "echo", "default", ports="7000")
        socket = forward.socket(7000)
        socket.setblocking(True)
        socket.sendall(b"abc")
        seen.append(socket.recv(3))
        socket.close()
    del session, forward, socket
    gc.collect()
    return seen
