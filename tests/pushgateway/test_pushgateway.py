"""A Pushgateway over HTTP, with PyPI's prometheus-client and with requests no client would make."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import math
from pathlib import Path

import cramjam
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    Summary,
    delete_from_gateway,
    push_to_gateway,
    pushadd_to_gateway,
)
from pushgateway_rig import Start

from wavetank.errors import InputError
from wavetank.limits import PUSH_BODY_BYTES_MAX
from wavetank.monitoring.pushgateway.push import PushError, families_of, grouping_key
from wavetank.monitoring.pushgateway.store import Groups


async def test_prometheus_client_pushes_adds_and_deletes(start: Start) -> None:
    gateway = await start()
    registry = CollectorRegistry()
    Gauge("last_success", "When it worked.", registry=registry).set(3)
    Counter("runs", "Runs.", ["kind"], registry=registry).labels("full").inc(2)
    Histogram("seconds", "Time.", registry=registry, buckets=(1, 2)).observe(1.5)
    Summary("size", "Bytes.", registry=registry).observe(7)
    key = {"instance": "a", "path": "/var/tmp", "none": ""}
    await asyncio.to_thread(push_to_gateway, gateway.url, job="batch", registry=registry, grouping_key=key)
    labels = (("instance", "a"), ("job", "batch"), ("none", ""), ("path", "/var/tmp"))
    found = await gateway.samples()
    assert found["last_success"] == {labels: 3}
    assert found["runs_total"] == {tuple(sorted((*labels, ("kind", "full")))): 2}
    assert set(found["seconds_bucket"].values()) == {0.0, 1.0}
    assert found["size_sum"] == {labels: 7}
    assert found["push_time_seconds"][labels] > 1e9
    assert found["push_failure_time_seconds"] == {labels: 0}

    other = CollectorRegistry()
    Gauge("extra", "More.", registry=other).set(1)
    await asyncio.to_thread(pushadd_to_gateway, gateway.url, job="batch", registry=other, grouping_key=key)
    assert {"extra", "last_success"} <= set(await gateway.samples())
    await asyncio.to_thread(push_to_gateway, gateway.url, job="batch", registry=other, grouping_key=key)
    assert "last_success" not in await gateway.samples()
    await asyncio.to_thread(delete_from_gateway, gateway.url, job="batch", grouping_key=key)
    assert "push_time_seconds" not in await gateway.samples()


async def test_the_grouping_key_wins_over_labels_of_the_body(start: Start) -> None:
    gateway = await start()
    assert (await gateway.send("PUT", "/metrics/job/j/x/1", 'm{x="2",job="z",y="3"} 1\n'))[0] == 200
    assert (await gateway.samples())["m"] == {(("instance", ""), ("job", "j"), ("x", "1"), ("y", "3")): 1}


async def test_a_push_that_contradicts_is_refused_and_noted(start: Start) -> None:
    gateway = await start()
    assert (await gateway.send("POST", "/metrics/job/a", "# TYPE m counter\n# HELP m one\nm 1\n"))[0] == 200
    for body, message in (
        ("# TYPE m gauge\nm 1\n", "inconsistent types"),
        ("n 1\nn 2\n", "was collected before with the same name and label values"),
        ('n{job="a"} 1\nn 2\n', "was collected before with the same name and label values"),
        ("n 1 1234\n", "must not have timestamps"),
        ("pushgateway_build_info 1\n", "one of the Pushgateway's own"),
    ):
        status, text = await gateway.send("PUT", "/metrics/job/b", body)
        assert (status, message in text) == (400, True), (body, text)
        assert "pushed metrics are invalid or inconsistent with existing metrics" in text
    found = await gateway.samples()
    assert found["push_failure_time_seconds"][(("instance", ""), ("job", "b"))] > 1e9
    assert found["push_time_seconds"][(("instance", ""), ("job", "b"))] == 0
    assert (await gateway.send("PUT", "/metrics/job/b", "# HELP m two\n# TYPE m counter\nm 1\n"))[0] == 200
    _, text = await gateway.send("GET", "/metrics")
    assert text.count("# HELP m one") == 1
    assert "# HELP m two" not in text


async def test_unchecked(start: Start) -> None:
    gateway = await start(unchecked=True)
    assert (await gateway.send("POST", "/metrics/job/a", "m 1\nm 2\n"))[0] == 202


async def test_compressed_and_protobuf_bodies(start: Start) -> None:
    gateway = await start()
    body = b"m 1\n"
    packed = {"gzip": gzip.compress(body), "snappy": bytes(cramjam.snappy.compress(body))}
    for name, data in packed.items():
        assert (await gateway.send("PUT", f"/metrics/job/{name}", data, **{"Content-Encoding": name}))[
            0
        ] == 200
        assert (await gateway.send("PUT", "/metrics/job/x", b"zz" + data[2:], **{"Content-Encoding": name}))[
            0
        ] == 400
    family = b"\x0a\x01p\x18\x01\x22\x0b\x12\x09\x09" + b"\x00\x00\x00\x00\x00\x00\xf0?"  # a gauge, 1
    kind = "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited"
    status, text = await gateway.send(
        "PUT", "/metrics/job/pb", bytes([len(family)]) + family, **{"Content-Type": kind}
    )
    assert status == 200, text
    assert (await gateway.samples())["p"] == {(("instance", ""), ("job", "pb")): 1}
    bomb = gzip.compress(b"m 1\n" * (PUSH_BODY_BYTES_MAX // 4 + 1))
    assert (await gateway.send("PUT", "/metrics/job/x", bomb, **{"Content-Encoding": "gzip"}))[0] == 413


async def test_the_api_shows_groups(start: Start) -> None:
    gateway = await start(flags={"persistence.file": ""}, admin_api=True)
    body = '# TYPE h histogram\nh_bucket{le="1"} 1\nh_bucket{le="+Inf"} 2\nh_sum 3\nh_count 2\nm 0.5\n'
    await gateway.send("POST", "/metrics/job/a/x/1", body)
    async with gateway.http.get(gateway.url + "/api/v1/metrics") as response:
        answer = await response.json()
    (group,) = answer["data"]
    assert answer["status"] == "success"
    assert group["labels"] == {"job": "a", "x": "1"}
    assert group["last_push_successful"] is True
    assert group["m"]["type"] == "UNTYPED"
    assert group["m"]["metrics"] == [{"labels": {"instance": "", "job": "a", "x": "1"}, "value": "0.5"}]
    (histogram,) = group["h"]["metrics"]
    assert (histogram["count"], histogram["sum"], set(histogram["buckets"].values())) == (
        "2",
        "3",
        {"1", "2"},
    )
    async with gateway.http.get(gateway.url + "/api/v1/status") as response:
        assert (await response.json())["data"]["flags"] == {"persistence.file": ""}
    for path in ("/-/healthy", "/-/ready", "/", "/status", "/ui/page.js", "/ui/page.css"):
        assert (await gateway.send("GET", path))[0] == 200
    assert (await gateway.send("GET", "/ui/app.py"))[0] == 404
    assert (await gateway.send("PUT", "/api/v1/admin/wipe"))[0] == 202
    assert len(gateway.gateway._groups) == 0


async def test_admin_and_lifecycle_are_off_unless_switched_on(start: Start) -> None:
    gateway = await start()
    assert (await gateway.send("PUT", "/api/v1/admin/wipe"))[0] == 404
    assert (await gateway.send("PUT", "/-/quit"))[0] == 403


async def test_groups_are_on_disk_after_the_end(start: Start, tmp_path: Path) -> None:
    path = tmp_path / "groups"
    gateway = await start(path)
    await gateway.send("PUT", "/metrics/job/a", '# HELP m h\n# TYPE m gauge\nm{z="é"} NaN\nn +Inf\n')
    gateway.gateway.save()
    again = Groups(path)
    families = {family.name: family for family in again.families()}
    assert math.isnan(families["m"].samples[0].value)
    assert families["n"].samples[0].value == math.inf
    assert families["m"].help == "h"


async def test_a_persistence_file_of_another_kind_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "groups"
    path.write_bytes(b"\x12\xff\x81gob")
    with pytest.raises(InputError, match="not a persistence file"):
        Groups(path)


KEYS = [
    ("j", False, "", {"job": "j"}),
    ("j", False, "a/b/c/d", {"a": "b", "c": "d", "job": "j"}),
    ("L3Zhci90bXA", True, "", {"job": "/var/tmp"}),
    ("j", False, "p@base64/L3Zhci90bXA=", {"p": "/var/tmp", "job": "j"}),
    ("j", False, "p@base64/=", {"p": "", "job": "j"}),
    ("j", False, "a", 'odd number of components in label string "/a"'),
    ("j", False, "a-b/c", 'improper label name "a-b"'),
    ("j", False, "__a/c", 'improper label name "__a"'),
    ("j", False, "a@base64/!", "invalid base64 encoding for label a"),
    ("!", True, "", 'invalid base64 encoding in job name "!"'),
    ("=", True, "", "job name is required"),
]


@pytest.mark.parametrize(("job", "encoded", "rest", "wanted"), KEYS)
def test_grouping_keys(job: str, encoded: bool, rest: str, wanted: dict[str, str] | str) -> None:
    if isinstance(wanted, dict):
        assert grouping_key(job, encoded, rest, utf8=False) == wanted
    else:
        with pytest.raises(PushError) as caught:
            grouping_key(job, encoded, rest, utf8=False)
        assert wanted in str(caught.value)


@pytest.mark.parametrize(
    ("escaped", "name"),
    [
        ("U__foo_2e_bar", "foo.bar"),
        ("U___55_____foo__2e__bar", "U__foo_2e_bar"),
        ("U___1F60A_", "\U0001f60a"),
        ("U__in_xxx_valid", "U__in_xxx_valid"),
        ("U__a_d800_", "U__a_d800_"),
        ("U__a_", "U__a_"),
        ("foo_2e_bar", "foo_2e_bar"),
    ],
)
def test_names_in_paths_may_be_escaped_where_utf8_is_on(escaped: str, name: str) -> None:
    assert grouping_key("j", False, f"{escaped}@base64/YmF6", utf8=True) == {name: "baz", "job": "j"}
    assert grouping_key("j", False, f"{escaped}/baz", utf8=False) == {escaped: "baz", "job": "j"}


def test_utf8_names_need_the_flag() -> None:
    body = b'{"a.b","c d"="e"} 1\n'
    with pytest.raises(PushError, match=r'invalid metric name "a\.b"'):
        families_of(body, "", {"job": "j"}, 0.0, utf8=False)
    (family,) = families_of(body, "", {"job": "j"}, 0.0, utf8=True).values()
    assert family.samples[0].labels == {"c d": "e", "instance": "", "job": "j"}


@given(
    st.binary(max_size=200),
    st.sampled_from(
        ["", "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited"]
    ),
)
@settings(max_examples=100)
def test_any_body_is_read_or_refused(body: bytes, kind: str) -> None:
    with contextlib.suppress(PushError):
        families_of(body, kind, {"job": "j"}, 0.0, utf8=False)
