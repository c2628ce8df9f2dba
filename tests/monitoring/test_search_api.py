"""The search API: scores, orderings, parameters and the stream."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wavetank.monitoring.api.scoring import Filter, search
from wavetank.monitoring.api.scoring_kernels import score_jaro_winkler, score_subsequence, score_substring
from wavetank.monitoring.server import ServerOptions

ON = ServerOptions(enable_search=True)
CONFIG = """
scrape_configs:
- job_name: self
  scrape_interval: 100ms
  static_configs: [{targets: ["127.0.0.1:PORT"]}]
"""


def score(
    term: str, value: str, algorithm: str = "subsequence", threshold: float = 0.0, **more: Any
) -> float:
    return float(Filter([term], algorithm, threshold, **more).scores([value])[0])


@pytest.mark.parametrize(
    ("term", "value", "expected"),
    [
        ("my awesome text", "my awesome text", 1.0),
        ("my", "my awesome text", 1.0),  # a prefix
        ("abc", "", -1.0),
        ("abc", "ab", -1.0),
        ("ba", "ab", -1.0),
        ("ac", "abc", (1 - 1 / 3 + 1) / 4 * 0.999),
        ("bc", "abcd", (4 - 1 / 4 - 1 / 8) / 4 * 0.999),
        ("ab", "a_ab", (4 - 2 / 4) / 4 * 0.999),  # the second start is the better one
        ("éa", "xéa", (4 - 1 / 3) / 4 * 0.999),  # letters, not bytes
        ("é", "plain", -1.0),
    ],
)
def test_subsequence(term: str, value: str, expected: float) -> None:
    assert score(term, value) == pytest.approx(expected, rel=1e-15)


@pytest.mark.parametrize(
    ("a", "b", "low", "high"),
    [
        ("mimir", "mimer", 0.90, 0.92),
        ("martha", "marhta", 0.96, 0.97),
        ("dwayne", "duane", 0.83, 0.85),
        ("dixon", "dicksonx", 0.81, 0.83),
        ("prefix_abc", "prefix_xyz", 0.80, 0.90),
        ("café", "cafe", 0.88, 0.89),
        ("résumé", "resume", 0.79, 0.81),
        ("naïve_long", "naïve", 0.89, 1.0),
    ],
)
def test_jaro_winkler(a: str, b: str, low: float, high: float) -> None:
    for term, value in ((a, b), (b, a)):
        assert low <= score(term, value, "jarowinkler", 0.01) <= high


@pytest.mark.parametrize(
    ("term", "value", "expected"),
    [("ab", "abc", 1.0), ("bc", "abc", 0.1), ("b", "abc", 0.55), ("é", "aéb", 0.55), ("x", "abc", -1.0)],
)
def test_substring_comes_before_jaro_winkler(term: str, value: str, expected: float) -> None:
    assert score(term, value, "jarowinkler") == pytest.approx(expected)


def test_letters_of_any_case() -> None:
    assert score("GO_GC", "go_gc_seconds", case_sensitive=False) == 1.0
    assert score("GO_GC", "go_gc_seconds") == -1.0
    assert score("ςΣİ", "ΣΣI", case_sensitive=False) == -1.0  # a final sigma stays one
    assert score("σi", "ΣİX", case_sensitive=False) == 1.0


VALUES = ["alpha", "beta", "go_gc", "go_threads", "node_go", "up"]


def names(accept: Filter, ordering: Any, limit: int = 10) -> list[str]:
    return [value for value, _ in search(VALUES, accept, ordering, limit)]


def test_orderings_and_limits() -> None:
    every = Filter([])
    assert names(every, "ascending") == VALUES
    assert names(every, "descending", 2) == ["up", "node_go"]
    assert names(Filter(["go"]), "ascending") == ["go_gc", "go_threads", "node_go"]
    assert names(Filter(["go"]), "score", 1) == ["go_gc"]
    assert names(Filter(["e_go", "up"]), "score") == ["up", "node_go"]
    assert names(Filter(["gt"], threshold=0.3), "ascending") == ["go_threads"]


def test_a_search_can_be_ended() -> None:
    def stop() -> None:
        raise TimeoutError

    with pytest.raises(TimeoutError):
        search(VALUES, Filter([]), "ascending", 1, stop)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.text(alphabet="ab_é", max_size=12), max_size=6), st.text("ab_é", min_size=1, max_size=6))
def test_kernels_do_as_the_functions_they_are_made_of(values: list[str], term: str) -> None:
    def points(text: str) -> Any:
        return np.array([ord(c) for c in text], np.uint32)

    text, offsets = points("".join(values)), np.cumsum([0, *map(len, values)]).astype(np.int64)
    for kernel in (score_subsequence, score_substring, score_jaro_winkler):
        compiled, plain = np.empty(len(values)), np.empty(len(values))
        kernel(text, offsets, points(term), compiled)
        kernel.py_func(text, offsets, points(term), plain)  # type: ignore[attr-defined]
        assert compiled.tolist() == plain.tolist()
    for value in search(values, Filter([term]), "ascending", 10):
        letters = iter(value[0])
        assert all(letter in letters for letter in term)


async def lines(server: Any, path: str, **params: Any) -> list[dict[str, Any]]:
    async with server.session.get(f"{server.url}/api/v1/search/{path}", params=params) as response:
        assert response.status == 200, await response.text()
        assert response.headers["Content-Type"] == "application/x-ndjson; charset=utf-8"
        return [json.loads(line) for line in (await response.text()).splitlines()]


async def test_the_stream(start: Callable[..., Any]) -> None:
    async with start("{}", ON) as server:
        server.server._source.write_text(CONFIG.replace("PORT", server.url.rpartition(":")[2]))
        await server.server.reload()

        async def scraped() -> bool:
            return bool(await server.query('prometheus_build_info{job="self"}'))

        await server.until(scraped)
        assert await lines(server, "metric_names", **{"search[]": "nothing_like_it"}) == [
            {"results": []},
            {"status": "success", "has_more": False},
        ]
        found = await lines(
            server, "metric_names", **{"search[]": "prometheus_build_info", "include_metadata": "true"}
        )
        assert found[0]["results"][0]["name"] == "prometheus_build_info"
        assert found[0]["results"][0]["type"] == "gauge"
        found = await lines(server, "metric_names", limit=3, batch_size=2, include_score="true")
        assert [len(line["results"]) for line in found[:-1]] == [2, 1]
        assert found[-1] == {"status": "success", "has_more": True}
        assert found[0]["results"][0]["score"] == 1
        found = await lines(server, "label_names", **{"match[]": "up"})
        assert [entry["name"] for entry in found[0]["results"]] == ["__name__", "instance", "job"]
        sent = [
            ("label", "__name__"),
            ("match[]", "up"),
            ("match[]", "scrape_duration_seconds"),
            ("search[]", "S"),
        ]
        async with server.session.post(
            server.url + "/api/v1/search/label_values",
            data=[*sent, ("case_sensitive", "f"), ("sort_by", "score")],
        ) as response:
            first = json.loads((await response.text()).splitlines()[0])
        assert first == {"results": [{"value": "scrape_duration_seconds"}]}
        assert (await lines(server, "metric_names", start=1, end=1))[0]["results"] is not None


BAD = [
    ({"start": "x"}, "invalid time value for 'start': cannot parse \"x\" to a valid timestamp"),
    ({"start": 2, "end": 1}, "end timestamp must not be before start timestamp"),
    ({"match[]": "{}"}, "match[] must contain at least one non-empty matcher"),
    ({"fuzz_threshold": "101"}, 'invalid fuzz_threshold "101": must be 0-100'),
    ({"fuzz_threshold": "x"}, 'invalid fuzz_threshold "x": must be 0-100'),
    ({"fuzz_alg": "x"}, 'unsupported fuzz_alg "x": must be one of [subsequence jarowinkler]'),
    ({"case_sensitive": "maybe"}, 'invalid case_sensitive "maybe": must be boolean'),
    ({"include_score": "maybe"}, 'invalid include_score "maybe": must be boolean'),
    ({"include_metadata": "maybe"}, 'invalid include_metadata "maybe": must be boolean'),
    ({"sort_dir": "asc"}, "sort_dir is only valid when sort_by is set"),
    ({"sort_by": "score", "sort_dir": "asc"}, "sort_dir is not supported for sort_by=score"),
    ({"sort_by": "alpha", "sort_dir": "x"}, 'invalid sort_dir "x": must be "asc" or "dsc"'),
    ({"sort_by": "score"}, "sort_by=score requires search[] to be set"),
    ({"sort_by": "x"}, 'invalid sort_by "x" for metric_names: must be "alpha" or "score"'),
    ({"limit": "0"}, 'invalid limit "0": must be a positive integer'),
    ({"limit": "51"}, "limit 51 exceeds the configured maximum (50, see --web.search.max-limit)"),
    ({"batch_size": "-1"}, 'invalid batch_size "-1": must be a positive integer'),
    ({"search[]": "x" * 5000}, "a search[] term has 5000 characters, maximum is 4096"),
]


async def test_bad_parameters(start: Callable[..., Any]) -> None:
    async with start("{}", ServerOptions(enable_search=True, search_limit_max=50)) as server:
        for params, text in BAD:
            answer = await server.get("/api/v1/search/metric_names", status=400, **params)
            assert (answer["errorType"], answer["error"]) == ("bad_data", text)
        many = await server.post("/api/v1/search/metric_names", status=400, data=[("search[]", "a")] * 33)
        assert many["error"] == "too many search[] terms: got 33, maximum is 32"
        answer = await server.get("/api/v1/search/label_values", status=400)
        assert answer["error"] == 'missing required parameter "label"'
        features = (await server.get("/api/v1/features"))["data"]["api"]
        assert features["search"]


async def test_it_is_off_by_default(start: Callable[..., Any]) -> None:
    async with start("{}") as server:
        answer = await server.get("/api/v1/search/metric_names", status=500)
        assert (answer["errorType"], answer["error"]) == ("unavailable", "search API disabled")
