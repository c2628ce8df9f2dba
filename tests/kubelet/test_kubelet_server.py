"""The kubelet's HTTPS endpoint, and the pipeline from a running process to the HPA's decision."""

from __future__ import annotations

import ssl
from pathlib import Path

import aiohttp
import pytest
import trustme
from kubelet_room import Tank, python

from wavetank.errors import InputError
from wavetank.kube.client import ApiError
from wavetank.kube.kubelet.server import KubeletServer, LocalKubelets
from wavetank.kube.metrics_server.scrapers import HttpScraper, LocalScraper
from wavetank.kube.metrics_server.server import ScrapeError
from wavetank.kube.resources import NODES


async def test_https_asks_for_the_token(tank: Tank, tmp_path: Path) -> None:
    authority = trustme.CA()
    issued = authority.issue_cert(tank.kubelet.node.ip)
    certificate, key = tmp_path / "node.crt", tmp_path / "node.key"
    issued.cert_chain_pems[0].write_to_path(certificate)
    issued.private_key_pem.write_to_path(key)
    server = KubeletServer(tank.kubelet, token="secret", certificate=certificate, key=key)
    await server.start()
    context = ssl.create_default_context()
    authority.configure_trust(context)
    node = await tank.client.get(NODES, "node-1")
    try:
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(force_close=True)) as session:
            body = await HttpScraper(session, "secret", context).scrape(node)
            assert b"resource_scrape_error 0" in body
            with pytest.raises(ScrapeError, match="401"):
                await HttpScraper(session, "wrong", context).scrape(node)
            url = f"https://{tank.kubelet.node.ip}:10250/healthz"
            async with session.get(url, ssl=context) as response:
                assert await response.text() == "ok"
    finally:
        await server.stop()


async def test_a_port_already_taken_is_the_user_s_to_free(tank: Tank) -> None:
    first = KubeletServer(tank.kubelet, token="secret")
    await first.start()
    try:
        with pytest.raises(InputError, match=f"cannot listen on {tank.kubelet.node.ip}:10250"):
            await KubeletServer(tank.kubelet, token="secret").start()
    finally:
        await first.stop()


async def test_an_unreachable_kubelet_is_a_scrape_error(tank: Tank) -> None:
    node = await tank.client.get(NODES, "node-1")
    async with aiohttp.ClientSession() as session:
        with pytest.raises(ScrapeError, match="unable to fetch metrics from node"):
            await HttpScraper(session, "secret", False).scrape(node)
    with pytest.raises(ScrapeError, match="no kubelet answers"):
        await LocalScraper(LocalKubelets()).scrape(node)


async def test_logs_of_a_node_without_a_kubelet(tank: Tank) -> None:
    await tank.create("web", python("pass"))
    with pytest.raises(ApiError, match="no kubelet answers"):
        await anext(LocalKubelets().logs(await tank.get("web"), "main"))
