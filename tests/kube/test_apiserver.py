"""The API over HTTPS: who may come in, what is answered, and how watches behave."""

from __future__ import annotations

import asyncio
import io
import json
import re
import ssl
import stat
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from kube_cluster import Cluster, cluster

from wavetank.clock import RealClock
from wavetank.errors import InputError
from wavetank.journal import MemoryJournal
from wavetank.kube.client import ApiError
from wavetank.kube.control_plane import ControlPlane, ControlPlaneOptions
from wavetank.kube.http_client import HttpClient
from wavetank.kube.informer import Informer
from wavetank.kube.kubeconfig import read_kubeconfig
from wavetank.kube.pki import make_credentials
from wavetank.kube.resources import CONFIGMAPS, DEPLOYMENTS, NAMESPACES, PODS

DATA = Path(__file__).parent / "data"


class Http:
    """Raw requests to one cluster, with a token unless told otherwise."""

    def __init__(self, session: aiohttp.ClientSession, tank: Cluster) -> None:
        self.session, self.tank = session, tank

    async def __call__(
        self, method: str, path: str, body: Any = None, *, raw: bytes | None = None, **headers: str
    ) -> tuple[int, Any, dict[str, str]]:
        data: Any = raw if raw is not None else json.dumps(body).encode() if body is not None else None
        if data is not None and len(data) > 1_000_000:
            data = io.BytesIO(data)
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        async with self.session.request(method, path, data=data, headers=sent) as response:
            text = await response.text()
            try:
                return response.status, json.loads(text), dict(response.headers)
            except json.JSONDecodeError:
                return response.status, text, dict(response.headers)


@pytest.fixture
async def http(tmp_path: Path) -> AsyncIterator[Http]:
    async with cluster(tmp_path) as tank:
        access = tank.plane.access()
        connector = aiohttp.TCPConnector(ssl=access.ssl_context() or False)
        token = {"Authorization": f"Bearer {access.token}"}
        # No Content-Type is sent unless a test sends one: some clients do not.
        skip = ["Content-Type"]
        async with aiohttp.ClientSession(
            access.server, connector=connector, headers=token, skip_auto_headers=skip
        ) as session:
            yield Http(session, tank)


CM = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "data": {"k": "v"}}
CMS = "/api/v1/namespaces/default/configmaps"
TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"


# Who may come in


async def test_a_token_is_needed_for_all_but_health_and_version(http: Http) -> None:
    none = {"Authorization": "Bearer wrong"}
    assert (await http("GET", "/api/v1/pods", **none))[1]["reason"] == "Unauthorized"
    for path in ("/healthz", "/livez", "/readyz", "/version"):
        assert (await http("GET", path, **none))[0] == 200


async def test_the_reading_token_may_not_write(http: Http) -> None:
    tokens = http.tank.plane.credentials
    assert tokens is not None
    reader = {"Authorization": f"Bearer {tokens.tokens.reader}"}
    assert (await http("GET", CMS, **reader))[0] == 200
    assert (await http("POST", CMS, CM, **reader))[0] == 403
    review = {"spec": {"resourceAttributes": {"verb": "create", "resource": "pods"}}}
    path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
    assert (await http("POST", path, review, **reader))[1]["status"]["allowed"] is False
    assert (await http("POST", path, review))[1]["status"]["allowed"] is True


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ({"Host": "evil.example:443"}, 403),
        ({"Origin": "https://evil.example"}, 403),
        ({"Origin": "http://localhost:8080"}, 200),
        ({"Host": "localhost"}, 200),
    ],
)
async def test_names_of_others_are_turned_away(http: Http, headers: dict[str, str], code: int) -> None:
    assert (await http("GET", "/api", **headers))[0] == code


async def test_credentials_and_kubeconfig_are_private(http: Http) -> None:
    tank = http.tank
    files = [tank.kubeconfig, *(tank.directory / "state" / "pki").iterdir()]
    assert {stat.S_IMODE(f.stat().st_mode) for f in files} == {0o600}


async def test_strangers_certificates_are_refused(http: Http) -> None:
    async with aiohttp.ClientSession() as session:
        with pytest.raises(aiohttp.ClientConnectorCertificateError):
            await session.get(f"{http.tank.plane.url}/version", ssl=ssl.create_default_context())


# Documents


async def test_discovery_speaks_the_version_that_is_asked_for(http: Http) -> None:
    v2 = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
    both = f"{v2},{v2.replace('v2;', 'v2beta1;')},application/json"
    for accept, version in ((both, "v2"), (both.partition(",")[2], "v2beta1")):
        _, found, headers = await http("GET", "/apis", Accept=accept)
        assert found["apiVersion"] == f"apidiscovery.k8s.io/{version}"
        assert f"v={version}" in headers["Content-Type"]
        apps = next(i for i in found["items"] if i["metadata"]["name"] == "apps")
        deployments = next(r for r in apps["versions"][0]["resources"] if r["resource"] == "deployments")
        assert {s["subresource"] for s in deployments["subresources"]} == {"status", "scale"}
        assert deployments["categories"] == ["all"]
    assert (await http("GET", "/apis"))[1]["kind"] == "APIGroupList"
    assert (await http("GET", "/api"))[1]["versions"] == ["v1"]
    names = {r["name"] for r in (await http("GET", "/api/v1"))[1]["resources"]}
    assert {"pods", "pods/log", "pods/eviction", "nodes/proxy"} <= names


async def test_openapi_lets_clients_leave_validation_to_the_server(http: Http) -> None:
    _, index, _ = await http("GET", "/openapi/v3")
    for group in ("api/v1", "apis/apps/v1", "apis/networking.istio.io/v1", "apis/autoscaling.k8s.io/v1"):
        _, document, _ = await http("GET", index["paths"][group]["serverRelativeURL"])
        patches = [p["patch"] for p in document["paths"].values() if "patch" in p]
        assert patches
        for patch in patches:
            assert patch["x-kubernetes-group-version-kind"]["kind"]
            assert "fieldValidation" in {p["name"] for p in patch["parameters"]}
        references = set(re.findall(r'"#/components/schemas/([^"]+)"', json.dumps(document)))
        assert references <= set(document["components"]["schemas"])


async def test_all_recorded_kubectl_requests_are_answered(http: Http) -> None:
    """What kubectl 1.33 and 1.30 sent for 57 commands: known paths, no 404 but for objects, no 415."""
    recording = json.loads((DATA / "kubectl_requests.json").read_text())
    seen = set()
    for run in recording["runs"].values():
        for command in run:
            for request in command["requests"]:
                if request["method"] == "GET":
                    seen.add((request["path"], request.get("accept", "")))
    aliases = recording["acceptAliases"]
    for path, accept in sorted(seen):
        if "watch=true" in path or re.search(r"/(exec|portforward|log)\b", path):
            continue
        path = re.sub(r"resourceVersion=\d+", "resourceVersion=0", path).replace("hash=H", "hash=x")
        code, body, _ = await http("GET", path, Accept=aliases.get(accept, accept or "*/*"))
        missing = isinstance(body, dict) and body.get("reason") == "NotFound" and body.get("details")
        assert code == 200 or missing, (path, code, body)


# Objects


async def test_objects_are_created_listed_and_removed(http: Http) -> None:
    code, made, _ = await http("POST", CMS, CM)
    assert (code, made["data"]) == (201, {"k": "v"})
    _, listed, _ = await http("GET", CMS)
    assert listed["kind"] == "ConfigMapList" and "kind" not in listed["items"][0]
    code, gone, _ = await http("DELETE", f"{CMS}/a", {"propagationPolicy": "Background"})
    assert (code, gone["status"], gone["details"]["kind"]) == (200, "Success", "configmaps")
    code, missing, _ = await http("GET", f"{CMS}/a")
    assert (code, missing["reason"], missing["details"]) == (
        404, "NotFound", {"name": "a", "kind": "configmaps"},
    )  # fmt: skip


async def test_a_long_list_comes_in_pages(http: Http) -> None:
    for i in range(7):
        await http("POST", CMS, {**CM, "metadata": {"name": f"c{i}"}})
    names: list[str] = []
    query = "?limit=3"
    for _ in range(3):
        _, page, _ = await http("GET", CMS + query)
        names += [o["metadata"]["name"] for o in page["items"]]
        query = f"?limit=3&continue={page['metadata'].get('continue', '')}"
    assert names == [f"c{i}" for i in range(7)]
    assert "continue" not in page["metadata"]
    assert (await http("GET", f"{CMS}?continue=nonsense"))[0] == 400


@pytest.mark.parametrize(
    ("validation", "code", "warned", "text"),
    [
        ("Strict", 400, False, 'strict decoding error: unknown field "dta"'),
        ("Warn", 201, True, ""),
        ("", 201, True, ""),
        ("Ignore", 201, False, ""),
        ("Loose", 400, False, "fieldValidation"),
    ],
)
async def test_unknown_fields(http: Http, validation: str, code: int, warned: bool, text: str) -> None:
    got, body, headers = await http("POST", f"{CMS}?fieldValidation={validation}", {**CM, "dta": {}})
    assert got == code
    assert ("Warning" in headers) is warned
    assert text in body.get("message", "") and "dta" not in body


@pytest.mark.parametrize(
    ("method", "path", "raw", "content_type", "code"),
    [
        ("POST", CMS, b"{", "application/json", 400),
        ("POST", CMS, b"[" * 5000, "application/json", 400),
        ("POST", CMS, b"a: [", "application/yaml", 400),
        ("POST", CMS, b"k8s\x00\xff\xff", "application/vnd.kubernetes.protobuf", 400),
        ("POST", CMS, b"\xd9\xd9\xf7", "application/cbor", 415),
        ("POST", CMS, b'"text"', "application/json", 400),
        ("POST", CMS, b'{"metadata": 3}', "application/json", 400),
        (
            "POST",
            CMS,
            b'{"kind":"Secret","apiVersion":"v1","metadata":{"name":"x"}}',
            "application/json",
            400,
        ),
        ("POST", CMS, b'{"metadata":{"name":"x","namespace":"other"}}', "application/json", 400),
        ("POST", CMS, b"{}" + b" " * 4_000_000, "application/json", 413),
        ("PATCH", f"{CMS}/a", b"{}", "text/plain", 415),
        ("PATCH", f"{CMS}/none", b"{}", "application/merge-patch+json", 404),
        ("PUT", CMS, b"{}", "application/json", 405),
        ("GET", "/api/v1/gadgets", None, "", 404),
        ("GET", f"{CMS}?labelSelector=a%20in", None, "", 400),
        ("GET", f"{CMS}?watch=true&resourceVersion=x", None, "", 400),
        ("POST", f"{CMS}?dryRun=Some", b"{}", "application/json", 400),
    ],
)
async def test_bad_requests_have_their_status(
    http: Http, method: str, path: str, raw: bytes | None, content_type: str, code: int
) -> None:
    headers = {"Content_Type": content_type} if content_type else {}
    got, body, _ = await http(method, path, raw=raw, **headers)
    assert (got, body["kind"], body["status"]) == (code, "Status", "Failure")


async def test_a_missing_content_type_is_json_and_yaml_is_read(http: Http) -> None:
    assert (await http("POST", CMS, CM))[0] == 201
    yaml = b"apiVersion: v1\nkind: ConfigMap\nmetadata: {name: y}\ndata: {on: 'yes'}\n"
    code, made, _ = await http("POST", CMS, raw=yaml, Content_Type="application/yaml")
    assert (code, made["data"]) == (201, {"on": "yes"})


async def test_dry_run_answers_and_stores_nothing(http: Http) -> None:
    code, made, _ = await http("POST", f"{CMS}?dryRun=All", CM)
    assert code == 201 and made["metadata"]["uid"]
    assert (await http("GET", f"{CMS}/a"))[0] == 404


async def test_an_hpa_is_one_object_in_two_versions(http: Http) -> None:
    v1 = {
        "apiVersion": "autoscaling/v1",
        "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": "h"},
        "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"},
            "maxReplicas": 5,
            "targetCPUUtilizationPercentage": 60,
        },
    }
    path = "/apis/autoscaling/{}/namespaces/default/horizontalpodautoscalers"
    assert (await http("POST", path.format("v1"), v1))[0] == 201
    _, found, _ = await http("GET", path.format("v2") + "/h")
    target = {"type": "Utilization", "averageUtilization": 60}
    assert found["spec"]["metrics"] == [{"type": "Resource", "resource": {"name": "cpu", "target": target}}]
    assert found["spec"]["minReplicas"] == 1
    found["spec"]["behavior"] = {
        "scaleDown": {"policies": [{"type": "Pods", "value": 1, "periodSeconds": 60}]}
    }
    _, found, _ = await http("PUT", path.format("v2") + "/h", found)
    assert found["spec"]["behavior"]["scaleUp"]["policies"] == [
        {"type": "Pods", "value": 4, "periodSeconds": 15},
        {"type": "Percent", "value": 100, "periodSeconds": 15},
    ]
    _, old, _ = await http("GET", path.format("v1") + "/h")
    assert old["spec"]["targetCPUUtilizationPercentage"] == 60
    assert "autoscaling.alpha.kubernetes.io/behavior" in old["metadata"]["annotations"]
    found["spec"].update(minReplicas=9)
    code, refused, _ = await http("PUT", path.format("v2") + "/h", found)
    assert code == 422
    assert refused["message"] == (
        'HorizontalPodAutoscaler.autoscaling "h" is invalid: spec.maxReplicas: Invalid value: 5: '
        "must be greater than or equal to `minReplicas`"
    )


async def test_tables_carry_the_columns_kubectl_prints(http: Http) -> None:
    await http("POST", CMS, CM)
    _, table, _ = await http("GET", f"{CMS}?includeObject=Object", Accept=TABLE)
    assert [c["name"] for c in table["columnDefinitions"]] == ["Name", "Data", "Age"]
    (row,) = table["rows"]
    assert row["cells"][:2] == ["a", 1] and row["object"]["data"] == {"k": "v"}


async def test_events_are_served_in_both_groups(http: Http) -> None:
    event = {
        "metadata": {"name": "e"},
        "involvedObject": {"kind": "Pod", "name": "p", "namespace": "default"},
        "reason": "R",
        "message": "M",
    }
    assert (await http("POST", "/api/v1/namespaces/default/events", event))[0] == 201
    _, found, _ = await http("GET", "/apis/events.k8s.io/v1/namespaces/default/events/e")
    assert (found["note"], found["regarding"]["name"]) == ("M", "p")
    _, listed, _ = await http(
        "GET", "/api/v1/events?fieldSelector=involvedObject.name=p,involvedObject.kind=Pod"
    )
    assert len(listed["items"]) == 1


async def test_metrics_count_what_was_asked(http: Http) -> None:
    await http("GET", CMS)
    _, text, _ = await http("GET", "/metrics")
    assert 'resource="configmaps",subresource="",code="200"} 1' in text


# Watches


async def lines(http: Http, path: str, count: int, **headers: str) -> list[Any]:
    found: list[Any] = []
    async with http.session.get(path, headers=headers) as response:
        async for line in response.content:
            found.append(json.loads(line))
            if len(found) == count:
                break
    return found


async def test_a_watch_begins_with_what_exists_or_where_it_is_told(http: Http) -> None:
    _, made, _ = await http("POST", CMS, CM)
    (first,) = await lines(http, f"{CMS}?watch=true", 1)
    assert (first["type"], first["object"]["metadata"]["name"]) == ("ADDED", "a")
    version = made["metadata"]["resourceVersion"]
    waiting = asyncio.ensure_future(lines(http, f"{CMS}?watch=true&resourceVersion={version}", 2))
    await asyncio.sleep(0)
    await http("PATCH", f"{CMS}/a", {"data": {"k": "w"}}, Content_Type="application/merge-patch+json")
    await http("DELETE", f"{CMS}/a")
    events = await asyncio.wait_for(waiting, 10)
    assert [e["type"] for e in events] == ["MODIFIED", "DELETED"]
    assert int(events[1]["object"]["metadata"]["resourceVersion"]) > int(version)


async def test_a_streamed_list_ends_with_a_marked_bookmark(http: Http) -> None:
    await http("POST", CMS, CM)
    path = (
        f"{CMS}?watch=true&sendInitialEvents=true&allowWatchBookmarks=true&resourceVersionMatch=NotOlderThan"
    )
    added, mark = await lines(http, path, 2)
    assert (added["type"], mark["type"]) == ("ADDED", "BOOKMARK")
    assert mark["object"]["metadata"]["annotations"] == {"k8s.io/initial-events-end": "true"}


async def test_a_watch_from_the_forgotten_past_is_told_so(http: Http) -> None:
    (event,) = await lines(http, f"{CMS}?watch=true&resourceVersion=0000", 1)
    assert event["type"] in ("ERROR", "ADDED")
    http.tank.plane.api.bucket(CONFIGMAPS).oldest = 50_000
    (event,) = await lines(http, f"{CMS}?watch=true&resourceVersion=2", 1)
    assert (event["type"], event["object"]["code"], event["object"]["reason"]) == ("ERROR", 410, "Expired")


async def test_a_watch_ends_when_its_time_is_over(http: Http) -> None:
    assert await lines(http, f"{CMS}?watch=true&timeoutSeconds=0.2", 1) == []


async def test_a_watch_may_be_a_table(http: Http) -> None:
    await http("POST", CMS, CM)
    (event,) = await lines(http, f"{CMS}?watch=true", 1, Accept=TABLE)
    assert event["object"]["kind"] == "Table" and event["object"]["rows"][0]["cells"][0] == "a"


# The client of ours, over the wire


async def test_http_client_and_informer(http: Http) -> None:
    client = HttpClient.from_kubeconfig(http.tank.kubeconfig)
    informer = Informer(client, CONFIGMAPS, "default")
    try:
        await informer.start()
        made = await client.create(CONFIGMAPS, {"metadata": {"name": "x", "namespace": "default"}})
        await client.patch(CONFIGMAPS, "x", {"data": {"a": "1"}}, "default")
        with pytest.raises(ApiError) as caught:
            await client.update(CONFIGMAPS, made | {"data": {"a": "2"}})
        assert (caught.value.code, caught.value.reason) == (409, "Conflict")
        async with asyncio.timeout(10):
            while (informer.get("x", "default") or {}).get("data") != {"a": "1"}:
                informer.changed.clear()
                await informer.changed.wait()
            await client.delete(CONFIGMAPS, "x", "default")
            while ("default", "x") in informer.cache:
                informer.changed.clear()
                await informer.changed.wait()
        assert b"ok" in await client.get_raw("/healthz")
    finally:
        await informer.stop()
        await client.close()


async def test_a_deployment_runs_and_is_scaled_over_the_wire(http: Http) -> None:
    client = HttpClient.from_kubeconfig(http.tank.kubeconfig)
    template = {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i:1"}]}}
    spec = {"replicas": 1, "selector": {"matchLabels": {"a": "b"}}, "template": template}
    try:
        await client.create(DEPLOYMENTS, {"metadata": {"name": "web", "namespace": "default"}, "spec": spec})
        scale = await client.get_subresource(DEPLOYMENTS, "web", "scale", "default")
        del scale["metadata"]["resourceVersion"]  # the controller writes its status meanwhile
        await client.update(DEPLOYMENTS, scale | {"spec": {"replicas": 3}}, subresource="scale")
        async with asyncio.timeout(10):
            async for event in client.watch(DEPLOYMENTS, "default"):
                if event.object.get("status", {}).get("readyReplicas") == 3:
                    break
        assert len((await client.list(PODS, "default", label_selector="a=b")).items) == 3
    finally:
        await client.close()


# Files and restarts


async def test_state_survives_a_restart(tmp_path: Path) -> None:
    async with cluster(tmp_path) as tank:
        await tank.plane.client("t").create(NAMESPACES, {"metadata": {"name": "kept"}})
        token = tank.plane.access().token
    clock = RealClock()
    again = ControlPlane(clock, MemoryJournal(clock), ControlPlaneOptions(state=tmp_path / "state"))
    try:
        assert again.api.exists(NAMESPACES, None, "kept")
        assert again.access().token == token
    finally:
        await again.stop()


def test_a_database_that_is_none_is_an_input_error(tmp_path: Path) -> None:
    (tmp_path / "state.db").write_bytes(b"not a database, and long enough to be read as one" * 20)
    clock = RealClock()
    with pytest.raises(InputError, match="cannot open the cluster's state"):
        ControlPlane(clock, MemoryJournal(clock), ControlPlaneOptions(state=tmp_path))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[]", "not a kubeconfig"),
        ("{}", "no context named ''"),
        ("current-context: a\ncontexts: [{name: b, context: {}}]", "no context named 'a'; the file has: b"),
        (
            "current-context: a\ncontexts: [{name: a, context: {cluster: c, user: u}}]\n"
            "clusters: [{name: c, cluster: {server: 'https://x'}}]\nusers: [{name: u, user: {exec: {}}}]",
            "exec plugin is not supported",
        ),
    ],
)
def test_kubeconfigs_that_cannot_be_used(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "config"
    path.write_text(text)
    with pytest.raises(InputError, match=re.escape(message)):
        read_kubeconfig(path)


def test_credentials_are_made_once(tmp_path: Path) -> None:
    clock = RealClock()
    assert make_credentials(tmp_path, clock) == make_credentials(tmp_path, clock)
