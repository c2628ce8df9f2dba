"""What nobody should send: bodies, patches and clients that break rules, each with upstream's reason."""

from __future__ import annotations

import asyncio
import io
import json
import socket
import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from kube_cluster import Cluster, cluster
from virtual_tank import Tank, workload

from wavetank.clock import VirtualClock
from wavetank.journal import MemoryJournal
from wavetank.kube.api import Caller
from wavetank.kube.apiserver.request import decode_body
from wavetank.kube.client import ApiError, Object
from wavetank.kube.patches.dispatch import apply_patch
from wavetank.kube.resources import CONFIGMAPS, DEPLOYMENTS, NODES, SERVICES
from wavetank.kube.schema.builtin import type_of
from wavetank.kube.schema.decoding import decode_object
from wavetank.limits import (
    KUBE_JSON_PATCH_OPERATIONS_MAX,
    KUBE_OBJECT_BYTES_MAX,
    KUBE_WATCH_HISTORY_EVENTS_MAX,
)

CMS = "/api/v1/namespaces/default/configmaps"
MERGE, STRATEGIC = "application/merge-patch+json", "application/strategic-merge-patch+json"
JSON_PATCH, APPLY = "application/json-patch+json", "application/apply-patch+yaml"


@pytest.fixture
async def tank(tmp_path: Path) -> AsyncIterator[Cluster]:
    async with cluster(tmp_path) as made:
        yield made


def session_of(tank: Cluster) -> aiohttp.ClientSession:
    access = tank.plane.access()
    connector = aiohttp.TCPConnector(ssl=access.ssl_context() or False)
    return aiohttp.ClientSession(
        access.server, connector=connector, headers={"Authorization": f"Bearer {access.token}"}
    )


async def test_every_refusal_is_a_status_with_a_reason(tank: Cluster) -> None:
    deployments = "/apis/apps/v1/namespaces/default/deployments"
    cases: list[tuple[str, str, bytes, str, int, str]] = [
        ("POST", CMS, b"{", "application/json", 400, "BadRequest"),
        ("POST", CMS, b"\xff\xfe", "application/json", 400, "BadRequest"),
        ("POST", CMS, b"a: &a [*a, *a]\nb: *none", "application/yaml", 400, "BadRequest"),
        ("POST", CMS, b"k8s\x00\x0a\x7f", "application/vnd.kubernetes.protobuf", 400, "BadRequest"),
        ("POST", CMS, b'{"metadata":{"name":"a"},"data":{"k":1}}', "application/json", 400, "BadRequest"),
        ("POST", CMS, b'{"metadata":{"name":"A_"}}', "application/json", 422, "Invalid"),
        ("POST", CMS, b'{"kind":"Pod","metadata":{"name":"a"}}', "application/json", 400, "BadRequest"),
        (
            "POST",
            deployments,
            b'{"metadata":{"name":"a"},"spec":{"replicas":"x"}}',
            "application/json",
            400,
            "BadRequest",
        ),
        ("POST", deployments, b'{"metadata":{"name":"a"},"spec":{}}', "application/json", 422, "Invalid"),
        ("POST", CMS, b"x" * (KUBE_OBJECT_BYTES_MAX + 1), "application/json", 413, "RequestEntityTooLarge"),
        ("POST", CMS, b"{}", "text/html", 415, "UnsupportedMediaType"),
        ("PATCH", f"{CMS}/a", b"[", JSON_PATCH, 400, "BadRequest"),
        (
            "PATCH",
            f"{CMS}/a",
            b'[{"op":"replace","path":"/data/none/x","value":1}]',
            JSON_PATCH,
            422,
            "Invalid",
        ),
        ("PATCH", f"{CMS}/a", b'[{"op":"test","path":"/data/k","value":"w"}]', JSON_PATCH, 422, "Invalid"),
        ("PATCH", f"{CMS}/a", b'{"metadata":{"resourceVersion":"1"}}', MERGE, 409, "Conflict"),
        ("PATCH", f"{CMS}/a", b'{"metadata":{"name":"b"}}', MERGE, 400, "BadRequest"),
        ("PATCH", f"{CMS}/a", b'{"data":{"$patch":"nonsense"}}', STRATEGIC, 400, "BadRequest"),
        ("GET", f"{CMS}?limit=x", b"", "", 400, "BadRequest"),
        ("GET", f"{CMS}?continue=x", b"", "", 400, "BadRequest"),
        ("GET", f"{CMS}?labelSelector=a%3D%3D%3Db", b"", "", 400, "BadRequest"),
        ("GET", f"{CMS}?watch=1&resourceVersion=x", b"", "", 400, "BadRequest"),
        ("GET", "/apis/none/v1/things", b"", "", 404, "NotFound"),
        ("DELETE", f"{CMS}/none", b"", "", 404, "NotFound"),
        ("DELETE", f"{CMS}/a", b'{"preconditions":{"uid":"x"}}', "application/json", 409, "Conflict"),
    ]
    wrong = []
    async with session_of(tank) as session:
        body = {"metadata": {"name": "a"}, "data": {"k": "v"}}
        await tank.plane.client("t").create(CONFIGMAPS, body, "default")
        for method, path, data, kind, code, reason in cases:
            headers = {"Content-Type": kind} if kind else {}
            async with session.request(
                method, path, data=io.BytesIO(data) if data else None, headers=headers
            ) as answer:
                status = await answer.json()
            if (answer.status, status.get("reason"), status.get("kind")) != (code, reason, "Status"):
                wrong.append((method, path, data[:60], answer.status, status))
    assert not wrong, "\n".join(map(str, wrong))


@pytest.mark.slow
async def test_a_watcher_that_never_reads_holds_up_nobody(tank: Cluster) -> None:
    """It is asked to wait by TCP, the others go on, and when it reads again it is told that it is too late."""
    access = tank.plane.access()
    host, port = access.server.partition("://")[2].split(":")
    context = ssl.create_default_context(cadata=access.ca.decode())
    loop = asyncio.get_running_loop()
    plain = socket.socket()
    plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    plain.setblocking(False)
    await loop.sock_connect(plain, (host, int(port)))
    reader, writer = await asyncio.open_connection(sock=plain, ssl=context, server_hostname=host, limit=4096)
    request = f"GET {CMS}?watch=1 HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {access.token}\r\n\r\n"
    writer.write(request.encode())
    await reader.readline()
    writer.transport.pause_reading()  # type: ignore[attr-defined]
    api, data = tank.plane.api, {"k": "x" * 1000}
    for i in range(KUBE_WATCH_HISTORY_EVENTS_MAX + 2000):
        api.create(CONFIGMAPS, "default", {"metadata": {"name": f"c-{i}"}, "data": data})
        api.delete(CONFIGMAPS, "default", f"c-{i}")
        if i % 200 == 0:
            await asyncio.sleep(0)
    async with session_of(tank) as session, session.get(f"{CMS}?limit=1") as answer:
        assert answer.status == 200
    writer.transport.resume_reading()  # type: ignore[attr-defined]
    last = b""
    async with asyncio.timeout(60):
        while piece := await reader.read(65536):
            last = (last + piece)[-4000:]
            if b"too old resource version" in last:
                break
    assert b'"type":"ERROR"' in last and b'"reason":"Expired"' in last
    writer.close()
    await asyncio.gather(writer.wait_closed(), return_exceptions=True)


def test_ten_thousand_objects_are_listed_and_found(clock: VirtualClock, journal: MemoryJournal) -> None:
    tank = Tank(clock, journal)
    for i in range(10_000):
        tank.create(CONFIGMAPS, {"metadata": {"name": f"c-{i:05d}", "labels": {"tenth": str(i % 10)}}})
    api = tank.api
    assert len(api.list(api.select(CONFIGMAPS, "default")).items) == 10_000
    assert len(api.list(api.select(CONFIGMAPS, "default", "tenth=3")).items) == 1_000
    assert len(api.list(api.select(CONFIGMAPS, "default", "", "metadata.name=c-09999")).items) == 1


def test_a_selector_that_matches_foreign_pods_takes_none_of_them(
    clock: VirtualClock, journal: MemoryJournal
) -> None:
    tank = Tank(clock, journal)
    tank.create(DEPLOYMENTS, workload(2))
    tank.run_pods()
    other = workload(2)
    other["metadata"] = {"name": "other"}
    tank.create(DEPLOYMENTS, other)
    tank.run_pods()
    from wavetank.kube.resources import PODS, REPLICASETS

    owners = [p["metadata"]["ownerReferences"][0]["name"].rpartition("-")[0] for p in tank.list(PODS)]
    assert sorted(owners) == ["other", "other", "web", "web"]
    assert {r["status"]["replicas"] for r in tank.list(REPLICASETS)} == {2}


def test_too_many_operations_are_too_large(clock: VirtualClock, journal: MemoryJournal) -> None:
    tank = Tank(clock, journal)
    tank.create(CONFIGMAPS, {"metadata": {"name": "a"}})
    operations = [{"op": "test", "path": "/kind", "value": "ConfigMap"}] * (
        KUBE_JSON_PATCH_OPERATIONS_MAX + 1
    )
    with pytest.raises(ApiError) as caught:
        apply_patch(
            tank.api, CONFIGMAPS, "default", "a", operations, JSON_PATCH, Caller("t", "t"), "", lambda o: o
        )
    assert (caught.value.code, caught.value.reason) == (413, "RequestEntityTooLarge")


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 10**12) | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["metadata", "spec", "status", "name", "namespace", "labels", "template", "containers", "ports", "replicas", "selector", "$patch", "kind"]) | st.text(max_size=4), inner, max_size=4),
    max_leaves=12,
)  # fmt: skip


@settings(max_examples=120, suppress_health_check=[HealthCheck.too_slow])
@given(
    body=_JSON,
    resource=st.sampled_from([DEPLOYMENTS, SERVICES, NODES, CONFIGMAPS]),
    validation=st.sampled_from(["Strict", "Warn"]),
)
def test_any_body_is_taken_or_refused(body: Any, resource: Any, validation: str) -> None:
    clock = VirtualClock(1_750_000_000.0, seed=7)
    tank = _TANKS.setdefault("one", Tank(clock, MemoryJournal(clock)))
    try:
        obj, _ = decode_object(resource, type_of(resource), body, validation)
        tank.api.create(resource, "default", obj, Caller("t", "t", dry_run=True))
    except ApiError as error:
        assert 400 <= error.code < 500 and error.reason and error.message


_TANKS: dict[str, Tank] = {}
_KINDS = ["application/json", "application/yaml", "application/vnd.kubernetes.protobuf", ""]


@settings(max_examples=120)
@given(
    data=st.binary(max_size=80) | st.binary(max_size=60).map(lambda b: b"k8s\x00" + b),
    kind=st.sampled_from(_KINDS),
)
def test_any_bytes_are_read_or_refused(data: bytes, kind: str) -> None:
    try:
        decode_body(data, kind)
    except ApiError as error:
        assert error.code == 400 and error.reason == "BadRequest"


@settings(max_examples=100)
@given(patch=_JSON, kind=st.sampled_from([MERGE, STRATEGIC, JSON_PATCH, APPLY]))
def test_any_patch_is_applied_or_refused(patch: Any, kind: str) -> None:
    clock = VirtualClock(1_750_000_000.0, seed=7)
    tank = _TANKS.setdefault("two", Tank(clock, MemoryJournal(clock)))
    if not tank.api.exists(DEPLOYMENTS, "default", "web"):
        tank.create(DEPLOYMENTS, workload(1))

    def decode(obj: Object) -> Object:
        return decode_object(DEPLOYMENTS, type_of(DEPLOYMENTS), obj, "Warn")[0]

    caller = Caller("t", "t", dry_run=True)
    try:
        done = apply_patch(tank.api, DEPLOYMENTS, "default", "web", patch, kind, caller, "", decode)
        json.dumps(done)
    except ApiError as error:
        assert 400 <= error.code < 500 and error.reason and error.message
