"""``advice=1``: infos on the exactness of rate(), and only where they are asked for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from wavetank.model.labels import Labels
from wavetank.monitoring.remote.codec import pack
from wavetank.monitoring.remote.payload import Item, request_v1
from wavetank.monitoring.server import ServerOptions

HEADERS = {"Content-Type": "application/x-protobuf", "Content-Encoding": "snappy"}
AT = 1_700_000_000
QUERY = "rate(c_total[1m])"
ADVICE = (
    'PromQL info: rate() over 1m for metric name "c_total": samples of 1 of 1 series are 30s apart, so that one '
    "missed scrape leaves a gap or a wrong slope; use a range of at least 2m (1:6)"
)


async def test_advice_is_given_where_it_is_asked_for(start: Callable[..., Any]) -> None:
    samples = [((AT + i * 30) * 1000, float(i)) for i in range(20)]
    item = Item(Labels.of(__name__="c_total"), samples)
    async with start("{}", ServerOptions(enable_remote_write_receiver=True)) as server:
        await server.post("/api/v1/write", status=204, data=pack(request_v1([item])), headers=HEADERS)
        instant = {"query": QUERY, "time": AT + 300.5}
        ranged = {"query": QUERY, "start": AT + 300.5, "end": AT + 400, "step": "30s"}
        for path, params in (("query", instant), ("query_range", ranged)):
            plain = await server.get(f"/api/v1/{path}", **params)
            assert "infos" not in plain
            # Asked again, by a server that may know the query by now
            for text, infos in (("1", [ADVICE]), ("0", None), ("true", [ADVICE])):
                found = await server.get(f"/api/v1/{path}", advice=text, **params)
                assert found["data"] == plain["data"]
                assert found.get("infos") == infos
        failed = await server.get("/api/v1/query", status=400, advice="maybe", **instant)
        assert "not a boolean" in failed["error"]
