"""What the API says to bad values, in upstream's words; and pages of rule groups."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from wavetank.monitoring.api.targets import global_url
from wavetank.monitoring.server import ServerOptions

RULES = "groups:\n" + "".join(
    f"- name: {name}\n  rules: [{{record: r{name}, expr: vector(1), labels: {{team: {name}}}}}]\n"
    for name in "cab"
)
ADMIN = ServerOptions(enable_admin_api=True)
NO_TIME = 'cannot parse "x" to a valid timestamp'
BAD: list[tuple[str, dict[str, str], str]] = [
    (
        "query",
        {"query": "1", "limit": "x"},
        'invalid parameter "limit": strconv.Atoi: parsing "x": invalid syntax',
    ),
    ("query", {"query": "1", "limit": "-1"}, 'invalid parameter "limit": limit must be non-negative'),
    (
        "query",
        {"query": "1", "time": "x"},
        f"invalid parameter \"time\": invalid time value for 'time': {NO_TIME}",
    ),
    (
        "query",
        {"query": "1", "timeout": "x"},
        'invalid parameter "timeout": cannot parse "x" to a valid duration',
    ),
    (
        "query",
        {"query": "1", "lookback_delta": "x"},
        'error parsing lookback delta duration: cannot parse "x" to a valid duration',
    ),
    (
        "query_range",
        {"query": "1", "start": "x", "end": "1", "step": "1"},
        f'invalid parameter "start": {NO_TIME}',
    ),
    (
        "query_range",
        {"query": "1", "start": "2", "end": "1", "step": "1"},
        'invalid parameter "end": end timestamp must not be before start time',
    ),
    (
        "query_range",
        {"query": "1", "start": "0", "end": "1", "step": "1e300"},
        'invalid parameter "step": cannot parse "1e300" to a valid duration. It overflows int64',
    ),
    ("query_exemplars", {"query": "up{"}, "1:4: parse error: unexpected end of input inside braces"),
    (
        "query_exemplars",
        {"query": "up", "start": "2", "end": "1"},
        "end timestamp must not be before start timestamp",
    ),
    ("labels", {"match[]": "up{"}, "1:4: parse error: unexpected end of input inside braces"),
    ("labels", {"match[]": "{}"}, "match[] must contain at least one non-empty matcher"),
    (
        "series",
        {"match[]": "{}"},
        'invalid parameter "match[]": match[] must contain at least one non-empty matcher',
    ),
    ("series", {}, "no match[] parameter provided"),
    ("scrape_pools/config", {}, "no scrapePool parameter provided"),
    ("scrape_pools/config", {"scrapePool": "x"}, 'error retrieving scrape config: scrape pool "x" not found'),
    ("targets/metadata", {"limit": "x"}, "limit must be a number"),
    (
        "targets/metadata",
        {"match_target": "up{"},
        'invalid parameter "match_target": 1:4: parse error: unexpected end of input inside braces',
    ),
    ("targets/relabel_steps", {}, "no scrapePool parameter provided"),
    ("targets/relabel_steps", {"scrapePool": "x"}, "no labels parameter provided"),
    (
        "targets/relabel_steps",
        {"scrapePool": "x", "labels": "{}"},
        'error retrieving scrape config: scrape pool "x" not found',
    ),
    ("metadata", {"limit": "x"}, "limit must be a number"),
    ("metadata", {"limit_per_metric": "1.5"}, "limit_per_metric must be a number"),
    ("rules", {"type": "x"}, 'invalid parameter "type": not supported value "x"'),
    (
        "rules",
        {"exclude_alerts": "X"},
        'invalid parameter "exclude_alerts": error converting exclude_alerts: strconv.ParseBool: parsing "x": invalid syntax',
    ),
    ("rules", {"match[]": "{}"}, "match[] must contain at least one non-empty matcher"),
    (
        "rules",
        {"group_next_token": "x"},
        'invalid parameter "group_next_token": group_limit needs to be present in order to paginate over the groups',
    ),
    (
        "rules",
        {"group_next_token": "x", "group_limit": "1"},
        "invalid parameter \"group_next_token\": invalid group_next_token 'x'. were rule groups changed?",
    ),
    (
        "rules",
        {"group_limit": "x"},
        'invalid parameter "group_limit": group_limit needs to be a valid number: strconv.ParseInt: parsing "x": invalid syntax',
    ),
    (
        "rules",
        {"group_limit": "0"},
        'invalid parameter "group_limit": group_limit needs to be greater than 0',
    ),
    ("status/tsdb", {"limit": "0"}, "limit must be a positive number"),
    ("status/tsdb", {"limit": "10001"}, "limit must not exceed 10000"),
]


async def test_bad_values(start: Callable[..., Any]) -> None:
    async with start("rule_files: [rules.yml]\n", ADMIN, rules=RULES) as server:
        wrong = {}
        for path, params, text in BAD:
            answer = await server.get("/api/v1/" + path, status=400, **params)
            if (answer["errorType"], answer["error"]) != ("bad_data", text):
                wrong[path, tuple(params)] = answer["error"]
        assert wrong == {}
        answer = await server.post("/api/v1/admin/tsdb/snapshot?skip_head=x", status=400)
        said = 'invalid parameter "skip_head": unable to parse boolean: strconv.ParseBool: parsing "x": invalid syntax'
        assert answer["error"] == said
        answer = await server.get("/api/v1/query", query="1", stats="x")
        assert answer["warnings"] == [
            'value "x" for parameter "stats" is deprecated and will be rejected in the next major release, '
            'use "true" or "all"'
        ]
        assert await server.get("/api/v1/query_exemplars", status=204, query="1") == ""
        async with server.session.options(server.url + "/api/v1/query") as response:
            assert response.status == 204
        await pages(server)


async def pages(server: Any) -> None:
    """Groups come sorted by name, two at a time; a filter does not lose the token's group."""

    async def page(**params: str) -> tuple[list[str], str]:
        data = (await server.get("/api/v1/rules", **params))["data"]
        return [group["name"] for group in data["groups"]], data.get("groupNextToken", "")

    found, token = await page(group_limit="2")
    assert (found, len(token)) == (["a", "b"], 64)
    assert await page(group_limit="2", group_next_token=token) == (["c"], "")
    assert await page(**{"group_limit": "2", "group_next_token": token, "rule_group[]": "a"}) == ([], "")
    assert await page(type="alert") == ([], "")
    assert await page(**{"match[]": '{team=~"a|c"}', "group_limit": "2"}) == (["a", "c"], "")


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://127.0.0.1:9090/metrics", "https://prom.example/metrics"),
        ("http://localhost:9100/m?a=b", "http://prom.example:9100/m?a=b"),
        ("http://[::1]/m", "http://prom.example/m"),
        ("http://other:9090/metrics", "http://other:9090/metrics"),
    ],
)
def test_how_others_reach_a_target(url: str, expected: str) -> None:
    assert global_url(url, "https://prom.example/prefix", "9090") == expected
