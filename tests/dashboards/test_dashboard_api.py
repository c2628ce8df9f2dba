"""The HTTP routes: ours for the browser, and Grafana's with Grafana's own Python client."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from dashboard_samples import NOW_S, board, panel
from starlette.applications import Starlette
from starlette.testclient import TestClient

from wavetank.clock import VirtualClock
from wavetank.dashboards.api import routes
from wavetank.dashboards.provisioning import providers_of
from wavetank.dashboards.source import EngineSource
from wavetank.dashboards.store import Provider, Store
from wavetank.errors import InputError
from wavetank.monitoring.listen import bind


def application(store: Store, source: EngineSource) -> Starlette:
    return Starlette(routes=routes(store, source, VirtualClock(start=NOW_S)))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    variable = {
        "name": "job",
        "type": "query",
        "query": "label_values(up, job)",
        "multi": True,
        "includeAll": True,
    }
    row = {
        "id": 2,
        "type": "row",
        "title": "More",
        "collapsed": True,
        "gridPos": {"x": 0, "y": 8, "w": 24, "h": 1},
    }
    row["panels"] = [{**panel("stat", "up"), "id": 3}]
    found = board(
        [panel("timeseries", 'load{job=~"$job"}'), row], templating={"list": [variable]}, tags=["t"]
    )
    (tmp_path / "one.json").write_text(json.dumps(found))
    (tmp_path / "broken.json").write_text("{")
    return tmp_path


@pytest.fixture
def client(folder: Path, source: EngineSource) -> Iterator[TestClient]:
    store = Store([Provider(folder, "Mine")], shipped=False)
    with TestClient(application(store, source)) as found:
        yield found


def test_a_dashboard_is_resolved_with_the_variables_of_the_url(client: TestClient) -> None:
    found = client.get("/api/wavetank/dashboards/b?from=now-30m&to=now&var-job=api&var-job=db").json()
    assert found["variables"][0]["value"] == ["api", "db"]
    assert found["time"]["to_ms"] - found["time"]["from_ms"] == 1_800_000
    assert [(row["title"], row["collapsed"], len(row["panels"])) for row in found["rows"]] == [
        ("", False, 1),
        ("More", True, 1),
    ]
    assert found["folder"] == "Mine" and found["can_save"]


@pytest.mark.parametrize(("kind", "media"), [("html", "text/html"), ("csv", "text/csv")])
def test_a_dashboard_is_exported_as_a_file(client: TestClient, kind: str, media: str) -> None:
    answer = client.get(f"/api/wavetank/dashboards/b/export/{kind}?var-job=api")
    assert answer.headers["content-type"].startswith(media)
    assert answer.headers["content-disposition"] == f'attachment; filename="b.{kind}"'
    assert "job" in answer.text and len(answer.content) > 500


def test_what_cannot_be_exported_says_so(client: TestClient) -> None:
    answer = client.get("/api/wavetank/dashboards/b/export/exe")
    assert answer.status_code == 400 and ".html, .csv, .png, .pdf" in answer.json()["message"]
    assert client.get("/api/wavetank/dashboards/none/export/csv").status_code == 404


def test_a_refresh_is_one_batch_and_leaves_collapsed_rows_alone(client: TestClient) -> None:
    body = {"from": "now-1h", "to": "now", "variables": {"job": ["api"]}, "width": 1200}
    found = client.post("/api/wavetank/dashboards/b/frames", json=body).json()
    assert [p["id"] for p in found["panels"]] == ["1"] and found["queries"] == 1
    assert [s["label"] for s in found["panels"][0]["drawing"]["series"]] == ['load{job="api"}']
    both = client.post(
        "/api/wavetank/dashboards/b/frames", json={**body, "panels": [{"id": "3", "width": 300}, {"id": "?"}]}
    )
    assert [p["id"] for p in both.json()["panels"]] == ["3"]


def test_equal_queries_are_asked_once(source: EngineSource) -> None:
    store = Store(shipped=False)
    store.save(json.dumps(board([{**panel("stat", "up"), "id": i} for i in range(1, 6)])).encode())
    with TestClient(application(store, source)) as client:
        assert client.post("/api/wavetank/dashboards/b/frames", json={"width": 1200}).json()["queries"] == 1


@pytest.mark.parametrize(
    ("method", "url", "body", "status"),
    [
        ("GET", "/api/wavetank/dashboards/none", None, 404),
        ("GET", "/api/wavetank/dashboards/b?from=never", None, 400),
        ("POST", "/api/wavetank/dashboards/b/frames", b"[", 400),
        (
            "POST",
            "/api/wavetank/dashboards/b/frames",
            b'{"from": "never", "variables": [], "panels": {}}',
            400,
        ),
        ("PUT", "/api/wavetank/dashboards/b/json", b"{}", 400),
        ("POST", "/api/dashboards/db", b"{}", 400),
        ("GET", "/api/dashboards/uid/none", None, 404),
    ],
)
def test_bad_requests_are_answered_with_a_message(
    client: TestClient, method: str, url: str, body: bytes | None, status: int
) -> None:
    answer = client.request(method, url, content=body)
    assert (answer.status_code, bool(answer.json()["message"])) == (status, True)


def test_an_edit_is_saved_back_to_its_file(client: TestClient, folder: Path) -> None:
    text = json.loads(client.get("/api/wavetank/dashboards/b/json").text)
    text["title"] = "Changed"
    assert client.put("/api/wavetank/dashboards/b/json", json=text).json()["version"] == 2
    assert json.loads((folder / "one.json").read_text())["title"] == "Changed"
    assert client.get("/api/wavetank/dashboards/b").json()["title"] == "Changed"


def test_another_sites_page_cannot_write(client: TestClient) -> None:
    text = client.get("/api/wavetank/dashboards/b/json").text
    url = "/api/wavetank/dashboards/b/json"
    assert client.put(url, content=text, headers={"Origin": "http://evil.example"}).status_code == 403
    assert client.put(url, content=text, headers={"Origin": "http://testserver"}).status_code == 200


def test_what_a_provider_does_not_allow_is_not_saved(folder: Path, source: EngineSource) -> None:
    before = (folder / "one.json").read_text()
    with TestClient(application(Store([Provider(folder, writable=False)], shipped=False), source)) as client:
        assert client.put("/api/wavetank/dashboards/b/json", json=json.loads(before)).status_code == 400
    assert (folder / "one.json").read_text() == before


def test_a_file_that_cannot_be_read_is_listed_with_the_reason(client: TestClient) -> None:
    found = client.get("/api/wavetank/dashboards").json()
    assert [d["uid"] for d in found["dashboards"]] == ["b"]
    assert found["broken"][0]["file"] == "broken.json" and "not JSON" in found["broken"][0]["error"]


def test_provisioning_files(tmp_path: Path) -> None:
    (tmp_path / "boards").mkdir()
    (tmp_path / "boards/x.json").write_text(json.dumps(board(uid="x")))
    (tmp_path / "p.yaml").write_text(
        "apiVersion: 1\nproviders:\n- name: p\n  folder: F\n  type: file\n  allowUiUpdates: true\n  options: {path: boards}\n"
    )
    stored = Store(providers_of(tmp_path / "p.yaml"), shipped=False).get("x")
    assert stored is not None and stored.writable and stored.folder is not None and stored.folder.title == "F"
    (tmp_path / "p.yaml").write_text("apiVersion: 1\nproviders: [{name: p, type: s3}]\n")
    with pytest.raises(InputError, match="'s3' is not supported"):
        providers_of(tmp_path / "p.yaml")


@pytest.fixture
def server(source: EngineSource) -> Iterator[str]:
    """A real server, for real clients."""
    listener = bind("127.0.0.1:0")
    config = uvicorn.Config(application(Store(), source), log_config=None, lifespan="off")
    running = uvicorn.Server(config)
    thread = threading.Thread(target=running.run, kwargs={"sockets": [listener.socket]}, daemon=True)
    thread.start()
    yield listener.url
    running.should_exit = True
    thread.join(30)
    listener.close()


def test_grafanas_client_pushes_finds_reads_and_deletes(server: str) -> None:
    grafana_client = pytest.importorskip("grafana_client")
    host, port = server.removeprefix("http://").split(":")
    grafana: Any = grafana_client.GrafanaApi(
        auth=("admin", "admin"), host=host, port=int(port), protocol="http"
    )
    try:
        assert grafana.health.check()["database"] == "ok"
        folder = grafana.folder.create_folder("Team", "team")
        assert folder["uid"] == "team"
        made = grafana.dashboard.update_dashboard(
            {"dashboard": board([panel("stat", "up")], uid="pushed"), "folderUid": "team", "overwrite": True}
        )
        assert (made["status"], made["uid"], made["version"]) == ("success", "pushed", 1)
        assert grafana.dashboard.get_dashboard("pushed")["dashboard"]["title"] == "Board"
        assert [hit["uid"] for hit in grafana.search.search_dashboards(query="boa", type_="dash-db")] == [
            "pushed"
        ]
        assert grafana.datasource.list_datasources()[0]["type"] == "prometheus"
        assert grafana.datasource.get_datasource_by_name("Prometheus")["uid"] == "prometheus"
        assert [f["title"] for f in grafana.folder.get_all_folders()] == ["Team", "Wavetank"]
        stale = {"dashboard": board(uid="pushed", version=7), "overwrite": False}
        with pytest.raises(grafana_client.client.GrafanaClientError, match="412"):
            grafana.dashboard.update_dashboard(stale)
        assert "deleted" in grafana.dashboard.delete_dashboard("pushed")["message"]
        with pytest.raises(grafana_client.client.GrafanaClientError, match="404"):
            grafana.dashboard.get_dashboard("pushed")
    finally:
        close = getattr(grafana.client, "s", None)
        if close is not None:
            close.close()


def test_what_the_foundation_sdk_builds_is_drawn(source: EngineSource) -> None:
    dashboard = pytest.importorskip("grafana_foundation_sdk.builders.dashboard")
    from grafana_foundation_sdk.builders import prometheus, stat, timeseries
    from grafana_foundation_sdk.cog.encoder import JSONEncoder

    built = (
        dashboard.Dashboard("SDK")
        .uid("sdk")
        .time("now-1h", "now")
        .with_row(dashboard.Row("R"))
        .with_panel(
            timeseries.Panel()
            .title("T")
            .unit("s")
            .with_target(prometheus.Dataquery().expr("load").legend_format("{{job}}"))
        )
        .with_panel(stat.Panel().title("S").with_target(prometheus.Dataquery().expr("sum(up)")))
        .build()
    )
    store = Store(shipped=False)
    with TestClient(application(store, source)) as client:
        text = json.loads(JSONEncoder(sort_keys=True).encode(built))
        assert (
            client.post("/api/dashboards/db", json={"dashboard": text, "overwrite": True}).json()["uid"]
            == "sdk"
        )
        found = client.post("/api/wavetank/dashboards/sdk/frames", json={"width": 1000}).json()
    assert [p["state"] for p in found["panels"]] == ["ok", "ok"]
    assert found["panels"][0]["drawing"]["series"][0]["format"]["kind"] == "steps"


def test_resources_are_written_and_read(client: TestClient) -> None:
    at = "/apis/dashboard.grafana.app/v1/namespaces/default/dashboards"
    body = {"metadata": {"name": "res"}, "spec": board([panel("stat", "up")])}
    assert client.post(at, json=body).status_code == 201
    found = client.get(f"{at}/res").json()
    assert (found["kind"], found["metadata"]["name"], found["spec"]["title"]) == ("Dashboard", "res", "Board")
    assert client.get(f"{at}/none").json()["code"] == 404
    assert client.delete(f"{at}/res").status_code == 200


def test_ds_query_answers_data_frames(client: TestClient) -> None:
    query = {"refId": "A", "expr": "up", "instant": True}
    body = {
        "queries": [query, {"refId": "B", "expr": "sum(("}],
        "from": str((NOW_S - 60) * 1000),
        "to": str(NOW_S * 1000),
    }
    found = client.post("/api/ds/query", json=body).json()["results"]
    assert (
        len(found["A"]["frames"]) == 3
        and found["A"]["frames"][0]["schema"]["fields"][1]["labels"]["job"] == "api"
    )
    assert found["B"]["status"] == 400
