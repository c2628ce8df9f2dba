"""A whole Alertmanager over HTTP: the API, and alerts from their arrival to a receiver."""

from __future__ import annotations

import asyncio
import datetime as dt
import io
import resource
import signal
import time
from pathlib import Path
from typing import Any

import httpx
import pytest
from alerting_rig import Sink, Start, until
from starlette.responses import PlainTextResponse

from wavetank.alerting.api.limited import Limited
from wavetank.limits import ALERT_BODY_BYTES_MAX
from wavetank.monitoring.web.front import Prefixed

CONFIG = """
route: {{receiver: hook, group_by: [alertname], group_wait: 0s, group_interval: 100ms, repeat_interval: 1h}}
inhibit_rules: [{{source_matchers: [severity=critical], target_matchers: [severity=warning], equal: [alertname]}}]
receivers:
- {{name: hook, labels: {{team: x}}, webhook_configs: [{{url: '{url}/hook'}}]}}
"""


def iso(offset: float) -> str:
    return dt.datetime.fromtimestamp(time.time() + offset, dt.UTC).isoformat()


def alert(name: str = "Down", *, ends: float | None = None, **labels: str) -> dict[str, Any]:
    end = {} if ends is None else {"endsAt": iso(ends), "startsAt": iso(ends - 60)}
    return {"labels": {"alertname": name, **labels}, "generatorURL": "http://p/", **end}


async def test_tells_of_firing_then_of_resolved_once_each(start: Start, sink: Sink) -> None:
    am = await start(CONFIG.format(url=sink.url))
    await am.alerts(alert(i="1"))
    await until(lambda: sink.bodies("/hook"))
    await am.alerts(alert(i="1"))  # again and again, as Prometheus sends
    await am.alerts(alert(i="1", ends=-1))
    await until(lambda: len(sink.bodies("/hook")) > 1)
    first, last = sink.bodies("/hook")
    assert (first["status"], last["status"]) == ("firing", "resolved")
    assert first["groupKey"] == '{}:{alertname="Down"}'
    assert last["notification_reason"] == "all alerts resolved"


async def test_new_alerts_join_a_group(start: Start, sink: Sink) -> None:
    am = await start(CONFIG.format(url=sink.url))
    await am.alerts(alert(i="1"))
    await until(lambda: sink.bodies("/hook"))
    await am.alerts(alert(i="2"))
    await until(lambda: len(sink.bodies("/hook")) > 1)
    assert len(sink.bodies("/hook")[1]["alerts"]) == 2
    assert sink.bodies("/hook")[1]["notification_reason"] == "new alerts added"


async def test_silenced_and_inhibited_alerts_are_not_told(start: Start, sink: Sink) -> None:
    am = await start(CONFIG.format(url=sink.url))
    status, made = await am.post(
        "/api/v2/silences",
        {
            "matchers": [{"name": "i", "value": "1|2", "isRegex": True}],
            "startsAt": iso(-1),
            "endsAt": iso(60),
            "createdBy": "me",
            "comment": "c",
        },
    )
    assert status == 200
    await am.alerts(alert(i="1"), alert("Up", severity="critical"), alert("Up", severity="warning", i="9"))
    await until(lambda: sink.bodies("/hook"))
    await until(lambda: am.am.metrics.suppressed.family().samples)
    assert [b["groupLabels"] for b in sink.bodies("/hook")] == [{"alertname": "Up"}]
    assert [a["labels"]["severity"] for a in sink.bodies("/hook")[0]["alerts"]] == ["critical"]
    shown = {a["labels"].get("i", "0"): a["status"] for a in await am.get("/api/v2/alerts")}
    assert shown["1"] == {
        "state": "suppressed",
        "silencedBy": [made["silenceID"]],
        "inhibitedBy": [],
        "mutedBy": [],
    }
    assert shown["9"]["inhibitedBy"]
    assert len(await am.get("/api/v2/alerts", silenced="false")) == 2
    assert len(await am.get("/api/v2/alerts", inhibited="false")) == 2
    assert len(await am.get("/api/v2/alerts", active="false")) == 2
    assert len(await am.get("/api/v2/alerts", filter='i=~"1|9"')) == 2
    assert await am.get("/api/v2/alerts", receiver="ho") == []
    groups = await am.get("/api/v2/alerts/groups", receiver="ho.*")
    assert [g["labels"]["alertname"] for g in groups] == ["Down", "Up"]
    async with am.http.delete(f"{am.url}/api/v2/silence/{made['silenceID']}") as response:
        assert response.status == 200
    await until(lambda: len(sink.bodies("/hook")) > 1)


async def test_muted_times_are_shown_and_kept(start: Start, sink: Sink) -> None:
    config = CONFIG.format(url=sink.url).replace(
        "repeat_interval: 1h", "repeat_interval: 1h, routes: [{active_time_intervals: [never]}]"
    )
    am = await start(config + "time_intervals: [{name: never, time_intervals: [{years: ['1999']}]}]\n")
    await am.alerts(alert())
    await until(lambda: am.am.metrics.suppressed.family().samples)
    (group,) = await am.get("/api/v2/alerts/groups")
    assert group["alerts"][0]["status"]["mutedBy"] == ["never"]
    assert await am.get("/api/v2/alerts/groups", muted="false") == []
    assert sink.requests == []


async def test_tries_again_until_it_is_taken(start: Start, sink: Sink) -> None:
    sink.answers = [503, 500]
    am = await start(CONFIG.format(url=sink.url))
    await am.alerts(alert())
    await until(lambda: len(sink.requests) == 3)
    counts = am.am.metrics
    await until(lambda: counts.requests_failed.family().samples[0].value == 2)
    assert counts.notifications.family().samples[0].value == 1
    assert sum(s.value for s in counts.notifications_failed.family().samples) == 0


async def test_a_receiver_that_hangs_holds_up_no_other(start: Start, sink: Sink) -> None:
    sink.hang = asyncio.Event()
    config = CONFIG.format(url=sink.url).replace(
        "webhook_configs: [",
        f"webhook_configs: [{{url: '{sink.url}/hang'}}, {{url: 'http://127.0.0.1:1/'}}, ",
    )
    am = await start(config)
    await am.alerts(alert("A"))
    await until(lambda: sink.bodies("/hook"))
    await am.alerts(alert("B"))
    await until(lambda: len(sink.bodies("/hook")) == 2)
    await until(lambda: len(sink.bodies("/hang")) == 2)


async def test_a_restart_tells_nothing_twice(start: Start, sink: Sink) -> None:
    config = CONFIG.format(url=sink.url)
    first = await start(config, "same")
    await first.alerts(alert("A"))
    await until(lambda: sink.bodies("/hook"))
    await until(lambda: len(first.am.log))
    second = await start(config, "same")  # the first has not closed anything: as after kill -9
    await second.alerts(alert("A"), alert("B"))
    await until(lambda: len(sink.bodies("/hook")) == 2)
    assert [b["groupLabels"]["alertname"] for b in sink.bodies("/hook")] == ["A", "B"]


async def test_a_bad_configuration_leaves_the_old_one(start: Start, sink: Sink, tmp_path: Path) -> None:
    path = tmp_path / "am.yml"
    path.write_text(CONFIG.format(url=sink.url))
    am = await start(path)
    path.write_text("route: {}")
    async with am.http.post(am.url + "/-/reload") as response:
        assert response.status == 500
        assert "root route must specify a default receiver" in await response.text()
    path.write_text(
        CONFIG.format(url=sink.url)
        .replace("name: hook", "name: other")
        .replace("receiver: hook", "receiver: other")
    )
    await am.alerts(alert())
    async with am.http.post(am.url + "/-/reload") as response:
        assert response.status == 200
    assert await am.get("/api/v2/receivers") == [{"name": "other", "labels": {"team": "x", "name": "other"}}]
    assert [a["receivers"] for a in await am.get("/api/v2/alerts")] == [[{"name": "other"}]]


async def test_status_pages_and_metrics(start: Start, sink: Sink) -> None:
    am = await start(CONFIG.format(url=sink.url))
    status = await am.get("/api/v2/status")
    assert status["cluster"]["status"] == "disabled"
    assert status["config"]["original"].startswith("route:")
    await am.alerts(alert())
    for path, text in (
        ("/-/healthy", "OK"),
        ("/-/ready", "OK"),
        ("/", 'src="ui/main.js"'),
        ("/ui/main.js", "./alerts.js"),
        ("/ui/page.css", "--paper"),
        ("/metrics", 'alertmanager_alerts{state="active"} 1'),
    ):
        async with am.http.get(am.url + path) as response:
            body = await response.text()
            assert text in body
    async with am.http.get(am.url + "/api/v1/alerts") as response:
        assert response.status == 410
    async with am.http.get(am.url + "/") as response:
        assert "script-src 'self'" in response.headers["Content-Security-Policy"]
    async with am.http.get(am.url + "/ui/..%2Fservice.py") as response:
        assert response.status == 404
    async with am.http.get(am.url + "/", headers={"Host": "evil.example"}) as response:
        assert response.status == 403


BAD_ALERTS: list[tuple[Any, int, str]] = [
    ({}, 422, "must be of type array"),
    ([1], 422, "must be of type object"),
    ([{}], 422, "labels in body is required"),
    ([{"labels": {}}], 400, "at least one label pair required"),
    ([{"labels": {"a": ""}}], 400, "at least one label pair required"),
    ([{"labels": {"a": 1}}], 422, "labels in body"),
    ([{"labels": {"a": "b"}}, {"labels": None}], 422, "1.labels in body is required"),
    ([{"labels": {"a": "b"}, "annotations": []}, 3], 422, "alerts.1 in body must be of type object"),
    ([{"labels": {"a": "b"}, "annotations": {"a": 1}}], 422, "0.annotations in body must be of type object"),
    ([{"labels": {"a": "b"}, "startsAt": 5}], 422, "0.startsAt in body must be of type date-time: '5'"),
    ([{"labels": {"a": "b"}, "generatorURL": 5}], 422, "0.generatorURL in body must be of type uri: '5'"),
    ([{"labels": {"": "x"}}], 400, 'invalid label set: invalid name ""'),
    ([{"labels": {"a": "b"}, "annotations": {"": "x"}}], 400, 'invalid annotation set: invalid name ""'),
    ([{"labels": {"a": "b"}, "startsAt": "2020-01-02T00:00:00Z", "endsAt": "2020-01-01T00:00:00Z"}], 400, "start time must be before end time"),
    ([{"labels": {"a": "b"}, "startsAt": "yesterday"}], 422, "must be of type date-time"),
    ([{"labels": {"a": "b"}, "generatorURL": "javascript:alert(1)"}], 422, "must be of type uri"),
]  # fmt: skip


async def test_bad_requests_are_refused_and_the_rest_of_a_batch_taken(start: Start, sink: Sink) -> None:
    am = await start(CONFIG.format(url=sink.url))
    for body, status, message in BAD_ALERTS:
        got, answer = await am.post("/api/v2/alerts", body)
        assert (got, message in str(answer)) == (status, True), (body, got, answer)
    assert (await am.post("/api/v2/alerts", [{"labels": {"": "x"}}, alert()]))[0] == 400
    assert len(await am.get("/api/v2/alerts")) == 1
    for raw, status in (
        (b"{", 400),
        (b"\xff", 400),
        (b"[" * 100_000, 400),
        (b" " * (ALERT_BODY_BYTES_MAX + 1), 413),
    ):
        sent = {"data": io.BytesIO(raw), "headers": {"Content-Type": "application/json"}}
        async with am.http.post(am.url + "/api/v2/alerts", **sent) as response:
            assert response.status == status
    for kind in ("text/plain", "application/x-www-form-urlencoded"):
        for path in ("alerts", "silences"):
            headers = {"Content-Type": kind}
            async with am.http.post(f"{am.url}/api/v2/{path}", data=b"[]", headers=headers) as response:
                assert response.status == 415
                assert (await response.json())["code"] == 415
    for path in ("/api/v2/alerts?filter=x", "/api/v2/alerts?receiver=(", "/api/v2/silences?filter=a%3D~("):
        async with am.http.get(am.url + path) as response:
            assert response.status == 400
    async with am.http.get(am.url + "/api/v2/alerts?active=perhaps") as response:
        assert response.status == 422


BAD_SILENCES = [
    ({"matchers": []}, 422, "at least 1 items"),
    (
        {"endsAt": iso(-5), "startsAt": iso(-10)},
        400,
        "Failed to create silence: end time can't be in the past",
    ),
    (
        {"startsAt": iso(20), "endsAt": iso(10)},
        400,
        "Failed to create silence: start time must be before end time",
    ),
    ({"matchers": [{"name": "a", "value": "(", "isRegex": True}]}, 400, "invalid regular expression"),
    ({"matchers": [{"name": "a", "value": "", "isRegex": False}]}, 400, "must not match the empty string"),
    ({"comment": None}, 422, "validation failure list"),
    ({"id": "9b0f8a38-0000-4000-8000-000000000000"}, 404, "silence not found"),
]


async def test_bad_silences(start: Start, sink: Sink) -> None:
    am = await start(CONFIG.format(url=sink.url))
    good = {
        "matchers": [{"name": "a", "value": "b", "isRegex": False}],
        "startsAt": iso(0),
        "endsAt": iso(600),
        "createdBy": "m",
        "comment": "c",
    }
    for change, status, message in BAD_SILENCES:
        got, answer = await am.post("/api/v2/silences", {**good, **change})
        assert (got, message in str(answer)) == (status, True), (change, got, answer)
    for method, path, status in (
        ("GET", "9b0f8a38-0000-4000-8000-000000000000", 404),
        ("DELETE", "9b0f8a38-0000-4000-8000-000000000000", 404),
        ("GET", "x", 422),
    ):
        async with am.http.request(method, f"{am.url}/api/v2/silence/{path}") as response:
            assert response.status == status
    assert await am.get("/api/v2/silences") == []


@pytest.mark.parametrize("name", ["a" * 20_000, "☃\u0000", "__name__", '"{}'])
async def test_odd_labels_go_through(start: Start, sink: Sink, name: str) -> None:
    am = await start(CONFIG.format(url=sink.url))
    await am.alerts({"labels": {name: "v\n☃", "alertname": "x"}})
    await until(lambda: sink.bodies("/hook"))
    assert sink.bodies("/hook")[0]["alerts"][0]["labels"][name] == "v\n☃"


async def test_a_full_disk_refuses_silences_and_notifies_on(start: Start, sink: Sink) -> None:
    am = await start(CONFIG.format(url=sink.url))
    body = {
        "matchers": [{"name": "a", "value": "b", "isRegex": False}],
        "startsAt": iso(0),
        "endsAt": iso(600),
        "createdBy": "m",
        "comment": "c",
    }
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, hard))
    try:
        status, answer = await am.post("/api/v2/silences", body)
        await am.alerts(alert())
        await until(lambda: sink.bodies("/hook"))
        await until(lambda: am.am.metrics.nflog_errors.family().samples[0].value)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, ignored)
    assert status == 500
    assert "cannot be stored" in answer
    assert (await am.post("/api/v2/silences", body))[0] == 200
    assert len(await am.get("/api/v2/silences")) == 1


async def test_route_labels_are_templates(start: Start, sink: Sink) -> None:
    labels = "labels: {runbook: 'http://wiki/{{ .GroupLabels.alertname }}', bad: '{{ .Nope.Nope }}'}, "
    am = await start(CONFIG.format(url=sink.url).replace("route: {", "route: {" + labels))
    await am.alerts(alert())
    await until(lambda: sink.bodies("/hook"))
    wanted = {"runbook": "http://wiki/Down", "bad": "{{ .Nope.Nope }}"}
    assert sink.bodies("/hook")[0]["routeLabels"] == wanted
    (group,) = await am.get("/api/v2/alerts/groups")
    assert group["routeLabels"] == wanted


async def test_get_requests_are_limited_in_number_and_all_in_time(start: Start) -> None:
    am = (await start("route: {receiver: r}\nreceivers: [{name: r}]")).am
    entered, leave = asyncio.Event(), asyncio.Event()

    async def slow(scope: Any, receive: Any, send: Any) -> None:
        entered.set()
        await leave.wait()
        await PlainTextResponse("done")(scope, receive, send)

    def client(**limits: Any) -> httpx.AsyncClient:
        app = Limited(slow, am.metrics, **limits)
        return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://am")

    async with client(concurrency=1, timeout_seconds=0) as http:
        first = asyncio.create_task(http.get("/"))
        await entered.wait()
        refused = await http.get("/")
        assert (refused.status_code, refused.text) == (
            503,
            "Limit of concurrent GET requests reached (1), try again later.\n",
        )
        assert 'requests_in_flight{method="get"} 1' in am.registry.text().decode()
        leave.set()
        assert (await first).text == "done"
    assert 'limit_exceeded_total{method="get"} 1' in am.registry.text().decode()
    leave.clear()
    async with client(concurrency=0, timeout_seconds=0.01) as http:
        late = await http.post("/")
        assert (late.status_code, late.text) == (503, "Exceeded configured timeout of 0.01s.\n")


async def test_below_a_prefix_the_page_finds_its_files() -> None:
    async def shown(scope: Any, receive: Any, send: Any) -> None:
        await PlainTextResponse(scope["path"])(scope, receive, send)

    transport = httpx.ASGITransport(Prefixed(shown, "/am"))
    async with httpx.AsyncClient(transport=transport, base_url="http://am") as http:
        for path in ("/", "/am"):
            assert (await http.get(path)).headers["location"] == "/am/"
        assert (await http.get("/am/")).text == "/"
        assert (await http.get("/am/ui/main.js")).text == "/ui/main.js"
        assert (await http.get("/amtool")).status_code == 404
