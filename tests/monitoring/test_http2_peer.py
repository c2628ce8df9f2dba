"""HTTP/2 with the implementation that Prometheus' own users have: Go's, in Debian's prometheus."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
import trustme

from wavetank.clock import RealClock
from wavetank.monitoring.config.http import HTTPClientConfig, TLSConfig
from wavetank.monitoring.http_client import HTTPClient

PEER = shutil.which("prometheus")
pytestmark = [
    pytest.mark.peer,
    pytest.mark.skipif(PEER is None, reason="needs Debian's prometheus"),
]


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


@contextlib.asynccontextmanager
async def prometheus(directory: Path, http2: bool) -> AsyncIterator[str]:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(directory / "ca.pem")
    pair = authority.issue_cert("127.0.0.1")
    pair.private_key_pem.write_to_path(directory / "s.key")
    pair.cert_chain_pems[0].write_to_path(directory / "s.crt")
    (directory / "p.yml").write_text("{}")
    (directory / "w.yml").write_text(
        "tls_server_config: {cert_file: s.crt, key_file: s.key}\n"
        f"http_server_config: {{http2: {str(http2).lower()}}}\n"
    )
    port = free_port()
    assert PEER is not None
    peer = await asyncio.create_subprocess_exec(
        PEER,
        f"--config.file={directory / 'p.yml'}",
        f"--storage.tsdb.path={directory / 'data'}",
        f"--web.config.file={directory / 'w.yml'}",
        f"--web.listen-address=127.0.0.1:{port}",
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        yield f"https://127.0.0.1:{port}"
    finally:
        peer.kill()
        await peer.wait()


@pytest.mark.parametrize("http2", [True, False])
async def test_metrics_of_a_go_server(tmp_path: Path, http2: bool) -> None:
    client = HTTPClient(HTTPClientConfig(tls_config=TLSConfig(ca_file=str(tmp_path / "ca.pem"))), RealClock())
    try:
        async with prometheus(tmp_path, http2) as url, asyncio.timeout(60):
            while True:
                try:
                    async with client.request("GET", f"{url}/metrics", timeout_seconds=30) as response:
                        text = await response.content.read(-1)
                        assert response.status == 200
                        break
                except (OSError, aiohttp.ClientError):  # it is still starting
                    await asyncio.sleep(0.1)
            assert b"\nprometheus_build_info{" in text
            # aiohttp's answers know their connection, ours over HTTP/2 do not
            assert hasattr(response, "connection") is not http2
            many = [_length(client, f"{url}/metrics") for _ in range(20)]
            assert min(await asyncio.gather(*many)) > 10_000
    finally:
        await client.close()


async def _length(client: HTTPClient, url: str) -> int:
    async with client.request("GET", url, timeout_seconds=30) as response:
        return len(await response.content.read(-1))
