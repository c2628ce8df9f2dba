"""exec and port-forward over SPDY/3.1, as kubectl speaks it before 1.31."""

from __future__ import annotations

import asyncio
import json
import ssl
import zlib
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import urlencode

import pytest
from streaming_cluster import StreamingCluster, streaming_cluster

from wavetank.kube.apiserver.spdy import DataFrame, SpdyCodec, data_frame


@pytest.fixture
async def tank(tmp_path: Path) -> AsyncIterator[StreamingCluster]:
    async with streaming_cluster(tmp_path, 5) as made:
        await made.run_pod("p", "sleep", "600")
        yield made


class Upgraded:
    """A connection that asked to leave HTTP, and the head of the answer."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, head: str) -> None:
        self.reader, self.writer, self.head = reader, writer, head
        self.codec = SpdyCodec()

    def open(self, stream: int, kind: str) -> None:
        plain = (1).to_bytes(4, "big")
        plain += b"".join(len(t).to_bytes(4, "big") + t.encode() for t in ("streamtype", kind))
        block = self.codec._deflate.compress(plain) + self.codec._deflate.flush(zlib.Z_SYNC_FLUSH)
        body = stream.to_bytes(4, "big") + bytes(6) + block
        self.writer.write(b"\x80\x03\x00\x01\x00" + len(body).to_bytes(3, "big") + body)

    async def rest(self) -> bytes:
        return await asyncio.wait_for(self.reader.read(), 30)

    async def close(self) -> None:
        self.writer.close()
        await asyncio.gather(self.writer.wait_closed(), return_exceptions=True)


async def upgrade(tank: StreamingCluster, path: str, protocol: str, token: str = "") -> Upgraded:
    access = tank.plane.access()
    host, port = access.server.partition("://")[2].split(":")
    context = ssl.create_default_context(cadata=access.ca.decode())
    reader, writer = await asyncio.open_connection(host, int(port), ssl=context)
    lines = [
        f"POST /api/v1/namespaces/default/pods/p/{path} HTTP/1.1", f"Host: {host}", "Content-Length: 0",
        f"Authorization: Bearer {token or access.token}", "Connection: Upgrade", "Upgrade: SPDY/3.1",
        f"X-Stream-Protocol-Version: {protocol}", "", "",
    ]  # fmt: skip
    writer.write("\r\n".join(lines).encode())
    head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 30)
    return Upgraded(reader, writer, head.decode())


def exec_of(*argv: str, **more: str) -> str:
    query = [*(("command", a) for a in argv), ("stdout", "true"), ("stderr", "true"), *more.items()]
    return f"exec?{urlencode(query)}"


async def test_a_command_has_a_stream_for_each_purpose(tank: StreamingCluster) -> None:
    command = exec_of("sh", "-c", "cat; echo err >&2; exit 2", stdin="true")
    client = await upgrade(tank, command, "v4.channel.k8s.io")
    assert client.head.startswith("HTTP/1.1 101") and "v4.channel.k8s.io" in client.head
    for stream, kind in ((1, "error"), (3, "stdin"), (5, "stdout"), (7, "stderr")):
        client.open(stream, kind)
    client.writer.write(data_frame(3, b"in", fin=True))
    seen: dict[int, bytes] = {}
    for frame in client.codec.feed(await client.rest()):
        if isinstance(frame, DataFrame):
            seen[frame.stream] = seen.get(frame.stream, b"") + frame.data
    await client.close()
    assert (seen[5], seen[7]) == (b"in", b"err\n")
    assert json.loads(seen[1])["details"]["causes"][0]["message"] == "2"


async def test_what_is_asked_for_wrongly_is_refused_with_a_status(tank: StreamingCluster) -> None:
    cases = [
        ("exec?command=ls", "v4.channel.k8s.io", "at least 1 of stdin, stdout, stderr"),
        (exec_of("ls", container="x"), "v4.channel.k8s.io", "container x is not valid for pod p"),
        (exec_of("ls"), "v9.channel.k8s.io", "unsupported protocols: v9.channel.k8s.io"),
    ]
    for path, protocol, message in cases:
        client = await upgrade(tank, path, protocol)
        assert client.head.startswith("HTTP/1.1 400")
        assert message in json.loads(await client.rest())["message"]
        await client.close()
    credentials = tank.plane.credentials
    assert credentials is not None
    client = await upgrade(tank, exec_of("ls"), "v4.channel.k8s.io", credentials.tokens.reader)
    assert client.head.startswith("HTTP/1.1 403")
    assert 'cannot create resource "pods/exec"' in json.loads(await client.rest())["message"]
    await client.close()


@pytest.mark.parametrize("sent", [b"\x80\x02" + bytes(20), b"\x80\x03\x00\x01\x00\xff\xff\xff", b""])
async def test_what_is_no_spdy_ends_the_connection(tank: StreamingCluster, sent: bytes) -> None:
    for path, protocol in (("portforward", "portforward.k8s.io"), (exec_of("ls"), "v4.channel.k8s.io")):
        client = await upgrade(tank, path, protocol)
        assert client.head.startswith("HTTP/1.1 101")
        if sent:
            client.writer.write(sent)
            assert await client.rest() == b""
        await client.close()
