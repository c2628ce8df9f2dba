"""Consul discovery against a server that holds questions as Consul's API describes blocking queries."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from hypothesis import given, settings
from hypothesis import strategies as st

from wavetank.clock import RealClock
from wavetank.errors import InputError
from wavetank.monitoring.config import load_config
from wavetank.monitoring.config.discovery import ConsulSD, SDConfigs
from wavetank.monitoring.config.http import BasicAuth
from wavetank.monitoring.config.values import Duration, Secret
from wavetank.monitoring.discovery import DiscoveryPool
from wavetank.monitoring.discovery.consul import next_index, with_environment
from wavetank.monitoring.discovery.consul_targets import Check, group_of_service, health, parse_entries
from wavetank.monitoring.discovery.metrics import DiscoveryMetrics
from wavetank.monitoring.promtool.discover import check_discovery, job_of


def instance(port: int, *, tags: list[str] | None = None, status: str = "passing") -> dict[str, Any]:
    """What ``/v1/health/service`` lists, with fields that the discovery passes over."""
    return {
        "Node": {
            "ID": "40e4a748",
            "Node": "n1",
            "Address": "10.1.10.12",
            "Datacenter": "dc1",
            "TaggedAddresses": {"lan": "10.1.10.12", "wan-v4": "1.2.3.4"},
            "Meta": {"rack": "r-1", "instance.type": "m2"},
        },
        "Service": {
            "ID": f"web:{port}",
            "Service": "web",
            "Tags": tags,
            "Address": "",
            "Meta": {"version": "2"},
            "Port": port,
            "Weights": {"Passing": 1, "Warning": 1},
        },
        "Checks": [
            {"Node": "n1", "CheckID": "serfHealth", "Status": "passing"},
            {"Node": "n1", "CheckID": "service:web", "Status": status},
        ],
    }


class Consul:
    """The three questions that discovery asks, with one index for the whole catalog."""

    def __init__(self) -> None:
        self.services: dict[str, list[dict[str, Any]]] = {}
        self.index = 10
        self.broken = False
        self.asked: list[web.Request] = []
        self.server = ""
        self._changed = asyncio.Condition()

    async def change(self, index: int | None = None, **services: list[dict[str, Any]] | None) -> None:
        """Put services in place, or with None away, and wake whoever waits."""
        for name, instances in services.items():
            if instances is None:
                self.services.pop(name, None)
            else:
                self.services[name] = instances
        async with self._changed:
            self.index = self.index + 1 if index is None else index
            self._changed.notify_all()

    async def answer(self, request: web.Request) -> web.Response:
        self.asked.append(request)
        if self.broken:
            return web.Response(status=500, text="No cluster leader")
        path = request.path.removeprefix("/consul")
        if path == "/v1/agent/self":
            return web.json_response({"Config": {"Datacenter": "dc1", "NodeName": "n1"}})
        # a question is held only while its index is the present one or a later one
        if waits_for := int(request.query.get("index", 0)):
            async with self._changed:
                await self._changed.wait_for(lambda: self.index != waits_for)
        headers = {"X-Consul-Index": str(self.index)}
        if path == "/v1/catalog/services":
            return web.json_response({n: self._tags(n) for n in self.services}, headers=headers)
        wanted = set(request.query.getall("tag", []))
        found = self.services.get(path.removeprefix("/v1/health/service/"), [])
        return web.json_response(
            [entry for entry in found if wanted <= set(entry["Service"]["Tags"] or ())], headers=headers
        )

    def _tags(self, name: str) -> list[str]:
        return sorted({tag for entry in self.services[name] for tag in entry["Service"]["Tags"] or ()})

    def to(self, path: str) -> list[web.Request]:
        return [request for request in self.asked if request.path == path]


@pytest.fixture
async def consul() -> AsyncIterator[Consul]:
    server = Consul()
    app = web.Application()
    app.router.add_get("/{path:.*}", server.answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    server.server = f"127.0.0.1:{runner.addresses[0][1]}"
    yield server
    await runner.cleanup()


class HastyClock(RealClock):
    """Long sleeps are noted and not slept."""

    def __init__(self) -> None:
        super().__init__()
        self.long: list[float] = []

    async def sleep(self, seconds: float) -> None:
        if seconds >= 1:
            self.long.append(seconds)
            seconds = 0.01
        await super().sleep(seconds)


class Watched:
    """The latest targets of one section, and how often a question failed."""

    def __init__(self, section: ConsulSD, environment: dict[str, str] | None = None) -> None:
        self.clock = HastyClock()
        self.metrics = DiscoveryMetrics()
        self.targets: dict[str, dict[str, str]] = {}
        self._pool = DiscoveryPool(self.clock, environment or {}, self._take, self.metrics)
        self._pool.apply({"job": SDConfigs(consul_sd_configs=[section])})

    @property
    def failures(self) -> float:
        (sample,) = self.metrics._own_failures["consul"].family().samples
        return sample.value

    def _take(self, job: str, groups: Any) -> None:
        self.targets = {t["__address__"]: {**g.labels, **t} for g in groups for t in g.targets}

    async def until(self, *addresses: str) -> dict[str, dict[str, str]]:
        await until(lambda: set(self.targets) == set(addresses))
        return self.targets

    async def close(self) -> None:
        await self._pool.close()


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not holds():
            await asyncio.sleep(0.01)


def section(consul: Consul, **fields: Any) -> ConsulSD:
    return ConsulSD(server=consul.server, refresh_interval=Duration(1), **fields)


async def test_every_service_with_every_label(consul: Consul) -> None:
    remote = instance(81, status="warning")
    remote["Service"] |= {"Address": "fd00::7", "Namespace": "ns1", "Partition": "p1"}
    await consul.change(web=[instance(80, tags=["a", "b"]), remote])
    watched = Watched(section(consul))
    targets = await watched.until("10.1.10.12:80", "[fd00::7]:81")
    await watched.close()
    common = {
        "__meta_consul_service": "web",
        "__meta_consul_dc": "dc1",
        "__meta_consul_address": "10.1.10.12",
        "__meta_consul_node": "n1",
        "__meta_consul_metadata_rack": "r-1",
        "__meta_consul_metadata_instance_type": "m2",
        "__meta_consul_service_metadata_version": "2",
        "__meta_consul_tagged_address_lan": "10.1.10.12",
        "__meta_consul_tagged_address_wan_v4": "1.2.3.4",
    }
    assert targets["10.1.10.12:80"] == common | {
        "__address__": "10.1.10.12:80",
        "__meta_consul_tags": ",a,b,",
        "__meta_consul_service_port": "80",
        "__meta_consul_service_id": "web:80",
        "__meta_consul_health": "passing",
    }
    assert targets["[fd00::7]:81"] == common | {
        "__address__": "[fd00::7]:81",
        "__meta_consul_tags": ",,",
        "__meta_consul_service_port": "81",
        "__meta_consul_service_id": "web:81",
        "__meta_consul_service_address": "fd00::7",
        "__meta_consul_namespace": "ns1",
        "__meta_consul_partition": "p1",
        "__meta_consul_health": "warning",
    }


async def test_services_come_change_and_go_by_blocking_queries(consul: Consul) -> None:
    watched = Watched(section(consul))
    await until(lambda: len(consul.to("/v1/catalog/services")) == 2)
    await consul.change(web=[instance(80)])
    await watched.until("10.1.10.12:80")
    await consul.change(web=[instance(80), instance(81)], db=[instance(5432)])
    await watched.until("10.1.10.12:80", "10.1.10.12:81", "10.1.10.12:5432")
    await consul.change(web=None)
    await watched.until("10.1.10.12:5432")
    await watched.close()
    first, second = consul.to("/v1/catalog/services")[:2]
    assert dict(first.query) == {"stale": "", "wait": "120000ms"}
    assert dict(second.query) == {"stale": "", "index": "10", "wait": "120000ms"}
    assert watched.failures == 0


async def test_an_index_that_goes_backwards_starts_anew(consul: Consul) -> None:
    await consul.change(index=900, web=[instance(80)])
    watched = Watched(section(consul, services=["web"]))
    await watched.until("10.1.10.12:80")
    await until(lambda: len(consul.to("/v1/health/service/web")) == 2)
    await consul.change(index=3, web=[instance(81)])  # as after a snapshot was restored
    await watched.until("10.1.10.12:81")
    await until(lambda: len(consul.to("/v1/health/service/web")) == 4)
    await consul.change(web=[instance(82)])
    await watched.until("10.1.10.12:82")
    await watched.close()
    asked = [request.query.get("index") for request in consul.to("/v1/health/service/web")]
    assert asked[:4] == [None, "900", None, "3"]
    assert not consul.to("/v1/catalog/services")  # named services need no catalog


@pytest.mark.parametrize(
    ("last", "got", "then"),
    [(0, 7, 7), (7, 8, 8), (8, 7, 0), (0, 0, 1), (1, 0, 1), (5, 0, 0), (0, -3, 1)],
)
def test_index_rules(last: int, got: int, then: int) -> None:
    assert next_index(last, got) == then


async def test_failures_keep_the_targets_and_are_asked_again_after_15_seconds(consul: Consul) -> None:
    consul.broken = True
    watched = Watched(section(consul))
    await until(lambda: watched.failures >= 2)
    consul.broken = False
    await consul.change(web=[instance(80)])
    await watched.until("10.1.10.12:80")
    consul.broken = True
    failed = watched.failures
    await consul.change()
    await until(lambda: watched.failures > failed + 2)
    assert set(watched.targets) == {"10.1.10.12:80"}
    consul.broken = False
    await consul.change(web=[instance(81)])
    await watched.until("10.1.10.12:81")
    await watched.close()
    assert set(watched.clock.long) == {15.0}


async def test_names_and_tags_choose_services(consul: Consul) -> None:
    await consul.change(
        web=[instance(80, tags=["a", "b"]), instance(81, tags=["a"])],
        other=[instance(90, tags=["a", "b"])],
        bare=[instance(91)],
    )
    watched = Watched(section(consul, services=["web", "bare"], tags=["a", "b"]))
    await watched.until("10.1.10.12:80")
    await watched.close()
    assert {request.path for request in consul.asked} == {
        "/v1/agent/self",
        "/v1/catalog/services",
        "/v1/health/service/web",
    }
    assert consul.to("/v1/health/service/web")[0].query.getall("tag") == ["a", "b"]


async def test_every_field_reaches_the_server(consul: Consul) -> None:
    await consul.change(**{"a/b c": [instance(80)]})
    watched = Watched(
        section(
            consul,
            path_prefix="/consul",
            token=Secret("t0"),
            datacenter="dc9",
            namespace="ns1",
            partition="p1",
            username="u",
            password=Secret("p"),
            node_meta={"rack": "1", "zone": "z"},
            filter='"a" in ServiceTags',
            health_filter="Service.Port == 80",
            allow_stale=False,
            tag_separator="|",
        )
    )
    targets = await watched.until("10.1.10.12:80")
    await watched.close()
    assert targets["10.1.10.12:80"]["__meta_consul_tags"] == "||"
    assert targets["10.1.10.12:80"]["__meta_consul_dc"] == "dc9"
    catalog, service = consul.asked[0], consul.to("/consul/v1/health/service/a/b c")[0]
    assert catalog.path == "/consul/v1/catalog/services"
    assert service.raw_path.startswith("/consul/v1/health/service/a%2Fb%20c?")
    for request, filter in ((catalog, '"a" in ServiceTags'), (service, "Service.Port == 80")):
        assert request.headers["X-Consul-Token"] == "t0"
        assert request.headers["Authorization"] == "Basic dTpw"
        asked = [(key, request.query.getall(key)) for key in ("dc", "ns", "partition", "node-meta", "filter")]
        assert asked == [
            ("dc", ["dc9"]),
            ("ns", ["ns1"]),
            ("partition", ["p1"]),
            ("node-meta", ["rack:1", "zone:z"]),
            ("filter", [filter]),
        ]
        assert "stale" not in request.query


@pytest.mark.parametrize(
    ("checks", "status"),
    [
        ([], "passing"),
        ([("c", "passing"), ("d", "warning")], "warning"),
        ([("c", "warning"), ("d", "critical")], "critical"),
        ([("c", "critical"), ("_node_maintenance", "critical")], "maintenance"),
        ([("_service_maintenance:web", "critical"), ("d", "passing")], "maintenance"),
        ([("c", "passing"), ("d", "new")], ""),
    ],
)
def test_health_is_the_worst_check(checks: list[tuple[str, str]], status: str) -> None:
    assert health([Check(check_id=id, status=text) for id, text in checks]) == status


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=60) | st.sampled_from([b"null", b"[{}]", b'[{"Service": {"Tags": null}}]']))
def test_any_body_is_read_or_refused(body: bytes) -> None:
    try:
        group_of_service("web", "dc1", ",", parse_entries(body))
    except ValueError:
        pass


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ("server: ''", "requires a server address"),
        ("{username: u, basic_auth: {username: v}}", "at most one of consul SD configuration username"),
        ("{token: t, authorization: {credentials: c}}", "at most one of consul SD token, authorization"),
        ("{username: u, authorization: {credentials: c}}", "at most one of basic_auth, oauth2"),
        ("{scheme: ftp}", 'scheme must be "http" or "https"'),
        ("{sever: x}", "unknown field 'sever'"),
    ],
)
def test_what_cannot_work_is_refused(tmp_path: Path, lines: str, message: str) -> None:
    path = tmp_path / "prometheus.yml"
    path.write_text(f"scrape_configs: [{{job_name: j, consul_sd_configs: [{braced(lines)}]}}]\n")
    with pytest.raises(InputError) as caught:
        load_config(path)
    assert message in str(caught.value)


def braced(lines: str) -> str:
    return lines if lines.startswith("{") else f"{{{lines}}}"


def test_user_and_password_are_basic_credentials() -> None:
    given = ConsulSD(username="u", password=Secret("p"))
    assert given.client().basic_auth == BasicAuth(username="u", password=Secret("p"))
    assert ConsulSD().client().basic_auth is None


class UntilHandedOut(RealClock):
    """A sleep of seconds ends once the first groups were handed out."""

    def __init__(self) -> None:
        super().__init__()
        self.handed_out = False

    async def sleep(self, seconds: float) -> None:
        if seconds == 5:
            await until(lambda: self.handed_out)
        else:
            await super().sleep(seconds)
            self.handed_out = True


async def test_promtool_shows_what_consul_lists(consul: Consul, tmp_path: Path) -> None:
    await consul.change(web=[instance(80, tags=["prod"])])
    path = tmp_path / "prometheus.yml"
    path.write_text(
        "scrape_configs:\n- job_name: j\n"
        f"  consul_sd_configs: [{{server: '{consul.server}'}}]\n"
        "  relabel_configs: [{source_labels: [__meta_consul_service], target_label: service}]\n"
    )
    (shown,) = await check_discovery(job_of(path, "j"), UntilHandedOut(), 5)
    assert shown["discoveredLabels"]["__meta_consul_tags"] == ",prod,"
    assert shown["labels"]["service"] == "web"


async def test_an_agent_behind_a_unix_socket(consul: Consul, tmp_path: Path) -> None:
    await consul.change(web=[instance(80)])
    app = web.Application()
    app.router.add_get("/{path:.*}", consul.answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(tmp_path / "consul.sock"))
    await web.SockSite(runner, listener).start()
    watched = Watched(ConsulSD(server=f"unix://{tmp_path}/consul.sock"))
    await watched.until("10.1.10.12:80")
    await watched.close()
    await runner.cleanup()


def test_the_token_of_the_environment_is_for_sections_without_one(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("from-file\n")
    in_file = {"CONSUL_HTTP_TOKEN_FILE": str(tmp_path / "token"), "CONSUL_HTTP_TOKEN": "from-text"}
    for own, environment, expected in (
        ("", {}, ""),
        ("", {"CONSUL_HTTP_TOKEN": "from-text"}, "from-text"),
        ("", in_file, "from-file"),
        ("mine", in_file, "mine"),
        ("", {"CONSUL_HTTP_TOKEN_FILE": "/nowhere"}, ""),
    ):
        found = with_environment(ConsulSD(token=Secret(own)), environment)
        assert found.token.reveal() == expected


async def test_questions_are_counted_and_timed(consul: Consul) -> None:
    await consul.change(web=[instance(80)])
    watched = Watched(section(consul))
    await watched.until("10.1.10.12:80")
    await watched.close()
    counted = {
        (s.labels["endpoint"], s.labels["call"])
        for s in watched.metrics.consul_seconds.family().samples
        if s.name.endswith("_count")
    }
    assert counted == {("agent", "self"), ("catalog", "services"), ("catalog", "service")}
