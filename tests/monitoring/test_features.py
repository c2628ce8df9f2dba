"""``/api/v1/features`` names what upstream names, and says what this server does."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from wavetank.monitoring.server import ServerOptions
from wavetank.promql.options import EXPERIMENTAL

#: cmd/prometheus/testdata/features.json of Prometheus 3.14: the answer of a server without flags.
GOLDEN: dict[str, dict[str, bool]] = json.loads(
    (Path(__file__).parent / "data" / "features_golden.json").read_text()
)
#: Where ours differs, and docs/prometheus/differences.md says so.
OURS = {
    ("prometheus", "stringlabels"): False,
    ("tsdb", "exemplar_storage"): True,
    ("ui", "ui_v3"): False,
}


async def test_a_server_without_flags(start: Callable[..., Any]) -> None:
    async with start("{}") as server:
        found = (await server.get("/api/v1/features"))["data"]
    providers = found.pop("service_discovery_providers")
    expected = {category: dict(names) for category, names in GOLDEN.items()}
    assert set(providers) <= set(expected.pop("service_discovery_providers"))
    assert set(providers) >= {"static", "file", "http", "dns", "kubernetes"}
    for (category, name), value in OURS.items():
        expected[category][name] = value
    assert found == expected
    assert [list(names) for names in found.values()] == [sorted(names) for names in found.values()]


async def test_flags_show(start: Callable[..., Any]) -> None:
    options = ServerOptions(enable_admin_api=True, enable_lifecycle=True, enable_otlp_receiver=True)
    options = replace(options, engine=replace(options.engine, parser=EXPERIMENTAL))
    options = replace(options, storage=replace(options.storage, created_zeros=True))
    async with start("{}", options) as server:
        found = (await server.get("/api/v1/features"))["data"]
    for category, name in (
        ("api", "admin"),
        ("api", "lifecycle"),
        ("api", "otlp_write_receiver"),
        ("promql", "anchored"),
        ("promql", "fill_left"),
        ("promql_functions", "info"),
        ("promql_operators", "limitk"),
        ("scrape", "start_timestamp_zero_ingestion"),
    ):
        assert found[category][name], name
        assert not GOLDEN[category][name], name
