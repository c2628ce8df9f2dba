"""Entries that share most of their bytes with the one before: found again in any order, never confused."""

from __future__ import annotations

import random

import numpy as np
import pytest

from wavetank.exposition.scrape_cache import ScrapeCache
from wavetank.model.labels import Labels

TEXT = "text/plain; version=0.0.4"


def names(count: int) -> list[str]:
    """Series of which each shares its beginning and its end with the one before, and some are its prefix."""
    return [f'm{{a="{i % 7}",path="/v1/{"x" * (i % 40)}{i}",z="end"}}' for i in range(count)]


def scrape(cache: ScrapeCache, series: list[str], known: dict[str, int]) -> list[int]:
    """Parse a body with these series, bind what is new, and say what each is bound to."""
    body = "".join(f"{name} {i}\n" for i, name in enumerate(series)).encode()
    found = cache.parse(body, TEXT, default_timestamp_ms=1)
    for index, _ in found.new:
        cache.bind(found, index, known.setdefault(series[index], len(known) + 1))
    assert found.values.tolist() == list(range(len(series)))
    return found.refs.tolist()


@pytest.mark.parametrize("seed", range(4))
def test_every_order_of_lines_leads_to_the_same_series(seed: int) -> None:
    draw = random.Random(seed)
    cache, known = ScrapeCache(), {}
    series = names(700)
    for turn in range(70):
        if turn % 20 == 0:
            draw.shuffle(series)  # then the same for a while, so that entries are arranged anew
        if turn % 7 == 0:
            series = [*series[40:], *(f'new{{turn="{turn}",i="{i}"}}' for i in range(40))]
        assert scrape(cache, series, known) == [known[name] for name in series]
        assert set(cache.all_refs().tolist()) == {known[name] for name in series}


def test_lines_that_differ_in_one_byte_are_not_confused() -> None:
    cache, known = ScrapeCache(), {}
    series = [f'm{{a="{c}{"y" * 90}"}}' for c in "abcdefghijklmnopqrstuvwxz0"]
    series += [f'm{{a="{"y" * 90}{c}"}}' for c in "abcdefghijklmnopqrstuvwxz0"]
    for _ in range(3):
        assert scrape(cache, series, known) == list(range(1, 53))
    assert scrape(cache, series[::-1], known) == list(range(52, 0, -1))
    assert scrape(cache, [*series[:10], "m", *series[10:]], known)[9:12] == [10, 53, 11]


def test_a_line_longer_than_any_before_is_found_again() -> None:
    cache, known = ScrapeCache(), {}
    series = [f'm{{a="{"y" * size}"}}' for size in (3, 400, 70_000, 5, 140_000)]
    for order in (series, series[::-1], series[2:] + series[:2]):
        assert scrape(cache, order, known) == [known[name] for name in order]


def test_what_is_left_out_goes_stale_once_and_can_come_back() -> None:
    cache, known = ScrapeCache(), {}
    series = names(1_000)
    scrape(cache, series, known)
    few = series[100:350]
    scrape(cache, few, known)
    assert sorted(cache.vanished().tolist()) == [*range(1, 101), *range(351, 1_001)]
    for _ in range(3):
        assert scrape(cache, few, known) == list(range(101, 351))
        assert not len(cache.vanished())
    assert len(cache) == 250
    assert scrape(cache, series, known) == list(range(1, 1_001))


def test_series_of_protobuf_bodies_survive_a_tidying() -> None:
    cache = ScrapeCache()
    series = [Labels.of(__name__=f"m{i}") for i in range(600)]
    entries = [cache._by_labels.setdefault(labels, cache._table.add_unkeyed()) for labels in series]
    cache._table.refs[np.array(entries)] = np.arange(1, 601)
    cache._table.seen[np.array(entries[:200])] = 5
    cache._scrape = 5
    cache._samples = 200
    cache._evict()
    assert len(cache) == 200
    assert [cache._table.refs[cache._by_labels[labels]] for labels in series[:200]] == list(range(1, 201))
    assert cache.all_refs().tolist() == list(range(1, 201))
