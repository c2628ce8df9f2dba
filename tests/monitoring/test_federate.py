"""Federation: formats, external labels, native histograms."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from wavetank.clock import RealClock
from wavetank.exposition.parser import parse
from wavetank.model.histogram import CUSTOM_BUCKETS_SCHEMA, CounterResetHint, FloatHistogram
from wavetank.model.labels import Labels
from wavetank.monitoring.api.federate_format import Format, escape_name, negotiate
from wavetank.monitoring.remote.codec import pack
from wavetank.monitoring.remote.payload import Item, request_v1
from wavetank.monitoring.server import ServerOptions

PROTOBUF = "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited"
NATIVE = FloatHistogram(1, 7.0, 4.5, 0.001, 1.0, ((-2, 2), (3, 1)), (1.0, 2.0, 1.0), ((0, 1),), (2.0,))
GAUGE = NATIVE.with_hint(CounterResetHint.GAUGE)
CUSTOM = FloatHistogram(
    CUSTOM_BUCKETS_SCHEMA,
    6.0,
    9.0,
    positive_spans=((0, 1), (1, 2)),
    positive_buckets=(1.0, 2.0, 3.0),
    custom_values=(0.5, 1.0, 2.5),
)


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        ("", Format()),
        ("*/*", Format()),
        ("text/html", Format()),
        (PROTOBUF, Format(protobuf=True)),
        (PROTOBUF + ";q=0.3,text/plain;version=0.0.4;q=0.5", Format()),
        ("text/plain;version=1.0.0;escaping=allow-utf-8", Format(version="1.0.0", escaping="allow-utf-8")),
        ("application/openmetrics-text;version=1.0.0,text/plain;q=0.1", Format()),
        (PROTOBUF + ";escaping=dots;q=x", Format(protobuf=True, escaping="dots")),
        (PROTOBUF + ";q=0", Format()),
    ],
)
def test_what_a_client_wants(accept: str, expected: Format) -> None:
    assert negotiate(accept) == expected


@pytest.mark.parametrize(
    ("scheme", "expected"),
    [
        ("allow-utf-8", ["a.b_c", "0x", "up_x"]),
        ("underscores", ["a_b_c", "_x", "up_x"]),
        ("dots", ["a_dot_b__c", "__x", "up__x"]),
        ("values", ["U__a_2e_b__c", "U___30_x", "up_x"]),
    ],
)
def test_names_for_clients_that_know_only_letters(scheme: str, expected: list[str]) -> None:
    assert [escape_name(name, scheme) for name in ("a.b_c", "0x", "up_x")] == expected


async def written(server: Any) -> int:
    now_ms = round(RealClock().now() * 1000) // 1000 * 1000
    histograms = {"native": NATIVE, "gauge": GAUGE, "custom": CUSTOM}
    items = [
        Item(Labels.of(__name__=n, instance="i"), [], [(now_ms - 1000, h)]) for n, h in histograms.items()
    ]
    items.append(Item(Labels.of({"__name__": "m.x", "job": "j"}), [(now_ms - 1000, 5.0)], []))
    headers = {"Content-Type": "application/x-protobuf", "Content-Encoding": "snappy"}
    await server.post("/api/v1/write", status=204, data=pack(request_v1(items)), headers=headers)
    return now_ms - 1000


CONFIG = "global: {external_labels: {region: eu, job: other}}\n"


async def test_text_and_protobuf(start: Callable[..., Any]) -> None:
    async with start(CONFIG, ServerOptions(enable_remote_write_receiver=True)) as server:
        at_ms = await written(server)
        url = server.url + "/federate"
        async with server.session.get(url, params={"match[]": "{}"}) as response:
            assert (
                response.headers["Content-Type"]
                == "text/plain; version=0.0.4; charset=utf-8; escaping=underscores"
            )
            lines = (await response.text()).splitlines()
        assert f'm_x{{job="j",instance="",region="eu"}} 5 {at_ms}' in lines
        buckets = [line.rpartition(" ")[0] for line in lines if line.startswith("custom_")]
        assert buckets == [
            f'custom_{name}{{instance="i",job="other",region="eu"{le}}} {count}'
            for name, le, count in (
                ("bucket", ',le="0.5"', 1),
                ("bucket", ',le="1"', 1),
                ("bucket", ',le="2.5"', 3),
                ("bucket", ',le="+Inf"', 6),
                ("sum", "", 9),
                ("count", "", 6),
            )
        ]
        assert not any(line.startswith(("native", "gauge")) for line in lines)
        async with server.session.get(
            url, params={"match[]": "{}"}, headers={"Accept": PROTOBUF}
        ) as response:
            kind = response.headers["Content-Type"]
            body = await response.read()
        assert kind == (
            "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; "
            "encoding=delimited; escaping=underscores"
        )
        scraped = parse(body, kind, default_timestamp_ms=0)
        found = {entry.labels.name: entry.histogram for entry in scraped.histograms}
        assert {entry.timestamp_ms for entry in scraped.histograms} == {at_ms}
        assert found["native"].equals(NATIVE)
        assert found["gauge"].equals(GAUGE)
        assert found["gauge"].counter_reset_hint is CounterResetHint.GAUGE
