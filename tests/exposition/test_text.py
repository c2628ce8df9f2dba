"""What is read from the text formats, and what is said about what cannot be read."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wavetank.exposition import parse
from wavetank.exposition.errors import ExpositionError, UnsupportedContentType
from wavetank.model.labels import Labels

DATA = Path(__file__).parent / "data"
TEXT = "text/plain; version=0.0.4"
OPENMETRICS = "application/openmetrics-text; version=1.0.0"


def error_cases() -> list[tuple[str, bytes, str]]:
    cases = []
    for name, content_type in (("promparse_errors", TEXT), ("openmetricsparse_errors", OPENMETRICS)):
        for case in json.loads((DATA / f"{name}.json").read_text()):
            text = case["input"]
            raw = bytes.fromhex(text[7:-1]) if text.startswith("<bytes:") else text.encode()
            cases.append((content_type, raw, "" if case["err"] == "EOF" else case["err"]))
    return cases


@pytest.mark.parametrize(("content_type", "body", "expected"), error_cases())
def test_errors_are_upstreams(content_type: str, body: bytes, expected: str) -> None:
    if not expected:
        parse(body, content_type, default_timestamp_ms=0)
        return
    with pytest.raises(ExpositionError) as caught:
        parse(body, content_type, default_timestamp_ms=0)
    assert caught.value.message == expected


def test_an_error_names_its_line() -> None:
    with pytest.raises(ExpositionError) as caught:
        parse(b"# HELP a b\na 1\nb two\n", TEXT, default_timestamp_ms=0)
    assert caught.value.line == 3
    assert caught.value.text == "b two"


def test_corpus_of_237_families() -> None:
    found = parse((DATA / "alltypes.237mfs.prom.txt").read_bytes(), TEXT, default_timestamp_ms=7)
    assert len(found) == 1857
    assert len(found.metadata) == 237
    assert found.metadata["go_gc_duration_seconds"].type == "summary"
    assert set(found.timestamps_ms.tolist()) == {7}


SAMPLES = [
    # type line, sample line, labels, value, timestamp
    ("", "a 1", {"__name__": "a"}, 1.0, 5),
    ("", "a{} 1", {"__name__": "a"}, 1.0, 5),
    ("", 'a{b="c",} 1', {"__name__": "a", "b": "c"}, 1.0, 5),
    ("", 'a { b = "c" , d="e" }  1   99', {"__name__": "a", "b": "c", "d": "e"}, 1.0, 99),
    ("", 'a{b="x\\"\\\\\\n"} +Inf', {"__name__": "a", "b": 'x"\\\n'}, float("inf"), 5),
    ("", '{"métrique.x",l="v"} 2', {"__name__": "métrique.x", "l": "v"}, 2.0, 5),
    ("", '{"a b","l.m"="v"} 2', {"__name__": "a b", "l.m": "v"}, 2.0, 5),
    ("", 'a{b=""} 1', {"__name__": "a"}, 1.0, 5),
    ("# TYPE h histogram", 'h_bucket{le="1"} 1', {"__name__": "h_bucket", "le": "1.0"}, 1.0, 5),
    ("# TYPE h histogram", 'h_bucket{le="1e6"} 1', {"__name__": "h_bucket", "le": "1e+06"}, 1.0, 5),
    ("# TYPE s summary", 's{quantile="0.50"} 1', {"__name__": "s", "quantile": "0.5"}, 1.0, 5),
    ("# TYPE g gauge", 'g{le="1"} 1', {"__name__": "g", "le": "1"}, 1.0, 5),
]


@pytest.mark.parametrize(("type_line", "line", "labels", "value", "timestamp"), SAMPLES)
def test_sample_lines(
    type_line: str, line: str, labels: dict[str, str], value: float, timestamp: int
) -> None:
    found = parse(f"{type_line}\n{line}\n".encode(), TEXT, default_timestamp_ms=5)
    assert found.labels == [Labels.of(labels)]
    assert found.values.tolist() == [value]
    assert found.timestamps_ms.tolist() == [timestamp]
    assert found.explicit.tolist() == [timestamp != 5]


def test_openmetrics_exemplars_created_and_metadata() -> None:
    body = b"""# TYPE foo_seconds counter
# UNIT foo_seconds seconds
# HELP foo_seconds Say "hi" \\n twice.
foo_seconds_total{a="1"} 17.0 1520879607.789 # {trace_id="x"} 0.5 1520879607.123
foo_seconds_created{a="1"} 1520872607.123
# TYPE h histogram
h_bucket{le="1.0"} 4 # {id="b"} 0.7
h_bucket{le="+Inf"} 5
h_count 5
h_sum 9
h_created 1520872608.124
# EOF
"""
    found = parse(body, OPENMETRICS, default_timestamp_ms=1)
    assert [str(labels) for labels in found.labels] == [
        'foo_seconds_total{a="1"}',
        'h_bucket{le="1.0"}',
        'h_bucket{le="+Inf"}',
        "h_count",
        "h_sum",
    ]
    assert found.timestamps_ms.tolist() == [1520879607789, 1, 1, 1, 1]
    assert found.start_timestamps_ms.tolist() == [1520872607123] + [1520872608124] * 4
    meta = found.metadata["foo_seconds"]
    assert (meta.type, meta.unit, meta.help) == ("counter", "seconds", 'Say "hi" \n twice.')
    first, second = found.exemplars
    assert (first.index, first.labels, first.value, first.timestamp_ms) == (
        0,
        Labels.of(trace_id="x"),
        0.5,
        1520879607123,
    )
    assert (second.index, second.timestamp_ms) == (1, None)


@pytest.mark.parametrize("content_type", ["", "application/json", "text/html"])
def test_unknown_content_types_fail_without_a_fallback(content_type: str) -> None:
    with pytest.raises(UnsupportedContentType, match="fallback_scrape_protocol"):
        parse(b"a 1\n", content_type, default_timestamp_ms=0)
    found = parse(b"a 1\n", content_type, default_timestamp_ms=0, fallback="PrometheusText0.0.4")
    assert np.array_equal(found.values, [1.0])


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=200), st.sampled_from([TEXT, OPENMETRICS]))
def test_any_bytes_are_read_or_refused(body: bytes, content_type: str) -> None:
    try:
        parse(body, content_type, default_timestamp_ms=0)
    except ExpositionError as error:
        assert error.line >= 1


_PIECES = st.sampled_from(
    [b"a", b'{b="c"}', b" ", b"1", b"\n", b"# TYPE ", b"# HELP ", b"# EOF", b"counter", b'"', b"{", b"}", b"=", b",",
     b"\\", b"\x00", b"\xff", b"NaN", b" # {", b"1e400", b"#", b"\t"]
)  # fmt: skip


@settings(max_examples=500, deadline=None)
@given(st.lists(_PIECES, max_size=14), st.sampled_from([TEXT, OPENMETRICS]))
def test_pieces_of_the_grammar_in_any_order(pieces: list[bytes], content_type: str) -> None:
    try:
        parse(b"".join(pieces), content_type, default_timestamp_ms=0)
    except ExpositionError as error:
        assert error.message
