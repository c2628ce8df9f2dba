"""The fast path reads what the whole parser reads, and knows which series vanished."""

from __future__ import annotations

import math
import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wavetank.exposition import parse
from wavetank.exposition.errors import ExpositionError
from wavetank.exposition.scrape_cache import Scrape, ScrapeCache
from wavetank.model.labels import Labels

DATA = Path(__file__).parent / "data"
TEXT = "text/plain; version=0.0.4"
OPENMETRICS = "application/openmetrics-text; version=1.0.0"


def bind_all(cache: ScrapeCache, scrape: Scrape, refs: dict[Labels, int]) -> None:
    for index, labels in scrape.new:
        cache.bind(scrape, index, refs.setdefault(labels, len(refs) + 1))


@pytest.mark.parametrize(
    ("name", "content_type"),
    [
        ("alltypes.237mfs.prom.txt", TEXT),
        ("alltypes.237mfs.nometa.prom.txt", TEXT),
        ("alltypes.5mfs.om.txt", OPENMETRICS),
        ("1histogram.om.txt", OPENMETRICS),
    ],
)
def test_reads_what_the_whole_parser_reads(name: str, content_type: str) -> None:
    body = (DATA / name).read_bytes().rstrip(b"\n") + b"\n"
    if content_type == OPENMETRICS and not body.endswith(b"# EOF\n"):
        body += b"# EOF\n"
    whole = parse(body, content_type, default_timestamp_ms=5)
    cache = ScrapeCache(read_starts=True)
    first = cache.parse(body, content_type, default_timestamp_ms=5)
    assert [labels for _, labels in first.new] == whole.labels
    assert np.array_equal(first.values.view(np.uint64), whole.values.view(np.uint64))
    assert first.metadata == whole.metadata
    assert len(first.exemplars) == len(whole.exemplars)
    bind_all(cache, first, {})
    again = cache.parse(body, content_type, default_timestamp_ms=6)
    assert again.new == []
    assert again.metadata is None
    assert again.refs.tolist() == list(range(1, len(whole) + 1))
    assert cache.vanished().tolist() == []


def test_vanished_series_are_reported_once() -> None:
    cache, refs = ScrapeCache(), {}
    bind_all(cache, cache.parse(b"a 1\nb 2\nc 3\n", TEXT, default_timestamp_ms=0), refs)
    assert cache.vanished().tolist() == []
    cache.parse(b"c 3\na 1\n", TEXT, default_timestamp_ms=1)
    assert cache.vanished().tolist() == [2]
    cache.parse(b"c 3\na 1\n", TEXT, default_timestamp_ms=2)
    assert cache.vanished().tolist() == []
    assert cache.missed().tolist() == [1, 3]


def test_series_with_their_own_timestamps_do_not_go_stale() -> None:
    cache = ScrapeCache()
    bind_all(cache, cache.parse(b"a 1 99\nb 2\n", TEXT, default_timestamp_ms=0), {})
    cache.parse(b"", TEXT, default_timestamp_ms=1)
    assert cache.vanished().tolist() == [2]


def test_dropped_series_stay_dropped() -> None:
    cache = ScrapeCache()
    first = cache.parse(b"a 1\nb 2\n", TEXT, default_timestamp_ms=0)
    cache.bind(first, 0, 0)
    cache.bind(first, 1, 7)
    assert first.refs.tolist() == [0, 7]
    again = cache.parse(b"a 1\nb 2\n", TEXT, default_timestamp_ms=1)
    assert again.new == []
    assert again.refs.tolist() == [0, 7]
    assert cache.all_refs().tolist() == [7]


def test_one_series_in_two_spellings() -> None:
    cache = ScrapeCache()
    first = cache.parse(b'a{x="1",y="2"} 1\n', TEXT, default_timestamp_ms=0)
    bind_all(cache, first, refs := {})
    second = cache.parse(b'a{y="2",x="1"} 1\n', TEXT, default_timestamp_ms=1)
    assert second.new[0][1] == first.new[0][1]
    bind_all(cache, second, refs)
    assert cache.vanished().tolist() == []


def test_an_error_leaves_the_cache_as_it_was() -> None:
    cache = ScrapeCache()
    bind_all(cache, cache.parse(b"a 1\n", TEXT, default_timestamp_ms=0), {})
    with pytest.raises(ExpositionError):
        cache.parse(b'fresh{x="y"} 1\na 1\nbroken\n', TEXT, default_timestamp_ms=1)
    assert len(cache) == 1
    again = cache.parse(b'a 2\nfresh{x="y"} 1\n', TEXT, default_timestamp_ms=2)
    assert again.refs.tolist() == [1, -1]


def test_forgets_series_long_gone() -> None:
    cache = ScrapeCache()
    for generation in range(8):
        body = "".join(f'm{{pod="{generation}-{i}"}} 1\n' for i in range(300)).encode()
        scrape = cache.parse(body, TEXT, default_timestamp_ms=generation)
        assert len(scrape.new) == 300
        for index, _ in scrape.new:
            cache.bind(scrape, index, generation * 300 + index + 1)
    assert len(cache) <= 1200
    again = cache.parse(body, TEXT, default_timestamp_ms=9)
    assert again.new == []
    assert again.refs.tolist() == list(range(7 * 300 + 1, 8 * 300 + 1))


@settings(max_examples=400, deadline=None)
@given(
    st.one_of(
        st.floats(),
        st.integers(-(2**70), 2**70).map(float),
        st.decimals(places=20, allow_nan=False, allow_infinity=False),
    )
)
def test_numbers_are_rounded_correctly(number: object) -> None:
    text = str(number)
    scrape = ScrapeCache().parse(f"a {text}\n".encode(), TEXT, default_timestamp_ms=0)
    expected = float(text)
    if math.isnan(expected):
        assert math.isnan(scrape.values[0])
    else:
        assert struct.pack("<d", scrape.values[0]) == struct.pack("<d", expected)


_LINES = st.lists(
    st.sampled_from(
        [b"a 1\n", b'a{b="c"} 2\n', b'a{b="\\"x"} 2 7\n', b"# TYPE a counter\n", b"# x\n", b"\n", b'{"q"} 1\n', b"a 1 1 1\n",
         b'a{b="} 1\n', b"1a 2\n", b"a nope\n", b'a{b="c",} 3\n', b"a  4\n", b'a{b="c", d = "e" } 5\n', b"# EOF\n", b"a_total 1 # {x=\"y\"} 2\n", b"a 1"]
    ),
    max_size=8,
)  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(st.lists(_LINES, min_size=1, max_size=3), st.sampled_from([TEXT, OPENMETRICS]))
def test_any_lines_as_the_whole_parser_would(scrapes: list[list[bytes]], content_type: str) -> None:
    cache, refs = ScrapeCache(), {}
    for lines in scrapes:
        body = b"".join(lines)
        try:
            whole = parse(body, content_type, default_timestamp_ms=3)
        except ExpositionError as error:
            with pytest.raises(ExpositionError) as caught:
                cache.parse(body, content_type, default_timestamp_ms=3)
            assert caught.value.message == error.message
            continue
        scrape = cache.parse(body, content_type, default_timestamp_ms=3)
        bind_all(cache, scrape, refs)
        assert scrape.refs.tolist() == [refs[labels] for labels in whole.labels]
        assert scrape.values.tolist() == whole.values.tolist()
        assert scrape.timestamps_ms.tolist() == whole.timestamps_ms.tolist()


def test_a_large_first_scrape_takes_memory_in_proportion() -> None:
    body = "".join(f'm{{pod="{i}"}} {i}\n' for i in range(20_000)).encode()
    cache = ScrapeCache()
    assert len(cache.parse(body, TEXT, default_timestamp_ms=0).new) == 20_000
    assert cache.bytes_reserved < 20 * len(body)


def test_blanks_between_labels_do_not_leave_the_fast_path() -> None:
    cache = ScrapeCache()
    first = cache.parse(b'a{b="1", c="2"} 1\n', TEXT, default_timestamp_ms=0)
    assert [labels for _, labels in first.new] == [Labels.of(__name__="a", b="1", c="2")]
    cache.bind(first, 0, 5)
    again = cache.parse(b'a{b="1", c="2"} 2\n', TEXT, default_timestamp_ms=1)
    assert (again.new, again.refs.tolist()) == ([], [5])
