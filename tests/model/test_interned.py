"""Label sets as numbers answer what label sets answer."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wavetank.model import interned as module
from wavetank.model.interned import InternedLabels, taken, without_metadata
from wavetank.model.labels import Labels
from wavetank.promql.aggregations import group_rows
from wavetank.tsdb.series_table import SeriesTable, key_of

NAMES = st.sampled_from(["__name__", "__type__", "a", "b", "c"])
SETS = st.lists(
    st.dictionaries(NAMES, st.sampled_from(["1", "2", "x"])).map(Labels.of), unique=True, max_size=12
)


def interned(labels: list[Labels]) -> InternedLabels:
    table = SeriesTable()
    keys = [key_of(each) for each in labels]
    offsets = np.cumsum([0, *map(len, keys)]).astype(np.int64)
    rows = table.add(np.frombuffer(bytearray(b"".join(keys) or b"\0"), np.uint8), offsets)
    return table.interned(np.where(rows <= -2, -2 - rows, rows))


@settings(max_examples=100)
@given(SETS, st.data())
def test_the_same_as_a_list(labels: list[Labels], data: st.DataObject) -> None:
    made = interned(labels)
    assert made == labels and labels == list(made)
    assert len(made) == len(labels)
    index = np.array(data.draw(st.lists(st.integers(0, max(0, len(labels) - 1)))), np.int64)
    if len(labels):
        assert list(taken(made, index)) == taken(labels, index)
        assert made[-1] == labels[-1] and made[:2] == labels[:2]


@settings(max_examples=100)
@given(SETS, st.lists(NAMES, unique=True), st.booleans())
def test_groups_are_those_of_label_sets(labels: list[Labels], names: list[str], without: bool) -> None:
    one, other = group_rows(labels, names, without), group_rows(interned(labels), names, without)
    assert one.groups.tolist() == other.groups.tolist()
    assert one.labels == other.labels


@settings(max_examples=100)
@given(SETS)
def test_without_metadata_some_may_be_equal(labels: list[Labels]) -> None:
    left = without_metadata(interned(labels))
    wanted = without_metadata(labels)
    assert list(left) == wanted
    assert isinstance(left, InternedLabels)
    assert left.are_distinct() == (len(set(wanted)) == len(wanted))


def test_sets_whose_hashes_meet_are_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    labels = [Labels.of(a=str(i % 3), b=str(i % 2)) for i in range(6)]
    monkeypatch.setattr(module, "_hashes", lambda pairs, begins: np.zeros(len(begins) - 1, np.uint64))
    assert interned(labels).classes()[0].tolist() == [0, 1, 2, 3, 4, 5]


@settings(max_examples=100)
@given(SETS, st.data())
def test_what_is_kept_answers_as_before(labels: list[Labels], data: st.DataObject) -> None:
    kept = interned(labels).kept()
    for _ in range(2):
        keep = np.array(data.draw(st.lists(st.booleans(), min_size=len(labels), max_size=len(labels))), bool)
        some = kept.subset(keep)
        wanted = [each for each, k in zip(labels, keep, strict=True) if k]
        assert some == wanted
        for made, plain in ((kept, labels), (some, wanted)):
            unnamed = without_metadata(made)
            assert list(unnamed) == without_metadata(plain)
            assert isinstance(unnamed, InternedLabels)
            assert unnamed.are_distinct() == (len(set(unnamed)) == len(plain))
            for names, without in ((("a",), False), (("a", "c"), True), ((), True)):
                for asked, given_ in ((made, plain), (unnamed, list(unnamed))):
                    one, other = group_rows(asked, names, without), group_rows(given_, names, without)
                    assert one.groups.tolist() == other.groups.tolist()
                    assert one.labels == other.labels


@settings(max_examples=100)
@given(
    st.lists(
        st.dictionaries(
            st.sampled_from(["__name__", "a", "ab", "é", "\U0001f600"]),
            st.sampled_from(["1", "12", "2", "é", "\uffee", "\U0001f600"]),
        ).map(Labels.of),
        unique=True,
        max_size=20,
    )
)
def test_rows_are_sorted_by_their_labels(labels: list[Labels]) -> None:
    table = SeriesTable()
    keys = [key_of(each) for each in labels]
    offsets = np.cumsum([0, *map(len, keys)]).astype(np.int64)
    table.add(np.frombuffer(bytearray(b"".join(keys) or b"\0"), np.uint8), offsets)
    ordered = table.in_order(np.arange(len(labels)))
    assert list(table.interned(ordered)) == sorted(labels)
