"""Logs with every kind of record that Prometheus 2.42 knows, theirs read here and ours read there."""

from __future__ import annotations

import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import cramjam
import pytest
from test_histogram_chunks import growing
from test_interop import prometheus
from tsdb_model import BASE_MS, EVER, matching

from wavetank.clock import VirtualClock
from wavetank.model.histogram import STALE_HISTOGRAM, FloatHistogram
from wavetank.model.labels import Labels
from wavetank.model.value import STALE_NAN, is_stale_nan
from wavetank.monitoring.remote.payload import Item, request_v1
from wavetank.tsdb.db import DB
from wavetank.tsdb.options import Options
from wavetank.tsdb.wal import records
from wavetank.tsdb.wal.log import Damage, read_segment, segments

pytestmark = [
    pytest.mark.peer,
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("prometheus") is None, reason="needs prometheus on the PATH"),
]

FLAGS = ("--enable-feature=native-histograms,exemplar-storage", "--web.enable-remote-write-receiver")
CONFIG = "storage: {tsdb: {out_of_order_time_window: 10000d}}"
STEP_MS = 15_000
END = BASE_MS + 400 * STEP_MS
FLOATS = [Labels.of(__name__="floats", i=str(i)) for i in range(4)]
WHOLE, PARTS = Labels.of(__name__="whole"), Labels.of(__name__="parts")
TRACE = Labels.of(trace_id="abc")


def parts(n: int) -> FloatHistogram:
    """A float histogram: sums of several, say."""
    whole = growing(n)
    return FloatHistogram(
        whole.schema,
        whole.count * 1.25,
        whole.sum,
        whole.zero_threshold,
        whole.zero_count * 1.25,
        whole.positive_spans,
        tuple(c * 1.25 for c in whole.positive_buckets),
        whole.negative_spans,
        tuple(c * 1.25 for c in whole.negative_buckets),
    )


def batches() -> list[list[Item]]:
    """What is written, in order: floats with markers, both kinds of histograms, exemplars, late samples."""
    out = []
    for first in range(0, 400, 100):
        steps = [(n, BASE_MS + n * STEP_MS) for n in range(first, first + 100)]
        items = [
            Item(labels, [(t, STALE_NAN if n == 150 else n * 0.5 + i) for n, t in steps])
            for i, labels in enumerate(FLOATS)
        ]
        items.append(
            Item(WHOLE, histograms=[(t, STALE_HISTOGRAM if n == 150 else growing(n)) for n, t in steps])
        )
        items.append(Item(PARTS, histograms=[(t, parts(n)) for n, t in steps]))
        items[0].exemplars.append((TRACE, 0.25 + first, steps[50][1]))
        out.append(items)
    out.append([Item(FLOATS[1], [(BASE_MS + n * STEP_MS + 7, -1.0) for n in range(0, 200, 3)])])
    return out


def in_answer(ask: Any, name: str) -> dict[Labels, dict[int, Any]]:
    """Every series of a metric as the server's API has it; histograms as count, sum and filled buckets."""
    found = {}
    for row in ask("/api/v1/query", query=f"{name}[7h]", time=str(END / 1000))["result"]:
        samples: dict[int, Any] = {round(float(t) * 1000): float(v) for t, v in row.get("values", [])}
        for t, h in row.get("histograms", []):
            buckets = [float(count) for *_, count in h.get("buckets", [])]
            samples[round(float(t) * 1000)] = (float(h["count"]), float(h["sum"]), buckets)
        found[Labels.of(row["metric"])] = samples
    return found


def in_database(db: DB, name: str) -> dict[Labels, dict[int, Any]]:
    """The same of ours; staleness markers are in no answer."""
    batch = db.select(matching("__name__", name), *EVER)
    found = {}
    for i, labels in enumerate(batch.labels):
        samples: dict[int, Any] = {}
        for k in range(batch.offsets[i], batch.offsets[i + 1]):
            t = int(batch.timestamps_ms[k])
            h = None if batch.histograms is None else batch.histograms[k]
            if h is None:
                if not is_stale_nan(float(batch.values[k])):
                    samples[t] = float(batch.values[k])
            elif not h.is_stale:
                samples[t] = (h.count, h.sum, [b.count for b in h.buckets() if b.count])
        found[labels] = samples
    return found


def kinds_of(log: Path) -> set[int]:
    kinds: Counter[int] = Counter()
    damage: list[Damage] = []
    for _, path in segments(log):
        for batch in read_segment(path, damage):
            kinds.update(batch.types().tolist())
    assert damage == []
    return set(kinds)


NAMES = ("floats", "whole", "parts")
GONE = (BASE_MS + 20 * STEP_MS, BASE_MS + 30 * STEP_MS)


def test_their_log_with_every_record(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with prometheus(data, *FLAGS, config=CONFIG) as ask:
        for items in batches():
            ask("/api/v1/write", "POST", body=bytes(cramjam.snappy.compress_raw(request_v1(items))))
        ask(
            "/api/v1/admin/tsdb/delete_series",
            "POST",
            **{"match[]": 'floats{i="2"}', "start": str(GONE[0] / 1000), "end": str(GONE[1] / 1000)},
        )
        there = {name: in_answer(ask, name) for name in NAMES}
        traces = ask(
            "/api/v1/query_exemplars", query="floats", start=str(BASE_MS / 1000), end=str(END / 1000)
        )
    assert kinds_of(data / "wal") >= {
        records.SERIES, records.SAMPLES, records.TOMBSTONES, records.EXEMPLARS,
        records.HISTOGRAMS, records.FLOAT_HISTOGRAMS,
    }  # fmt: skip
    assert kinds_of(data / "wbl") >= {records.SAMPLES, records.MMAP_MARKERS}
    assert [len(samples) for samples in there["floats"].values()] == [399, 399 + 67, 399 - 11, 399]
    for nth in range(2):
        db = DB.open(data, Options(), VirtualClock(1.7e9))
        assert {name: in_database(db, name) for name in NAMES} == there
        if nth == 0:  # exemplars are in no block: they go with the log
            ((_, exemplars),) = db.exemplars([matching("__name__", "floats")], *EVER)
            assert len(exemplars) == len(traces[0]["exemplars"]) == 4
        db.flush()
        db.compact()
        assert {name: in_database(db, name) for name in NAMES} == there
        db.close()


def test_our_log_with_every_record(tmp_path: Path) -> None:
    data = tmp_path / "data"
    db = DB.open(data, Options(), VirtualClock(1.7e9))
    for items in batches():
        appender = db.appender()
        for item in items:
            ref = db.series_ref(item.labels)
            for t, value in item.samples:
                appender.append(ref, None, t, value)
            for t, histogram in item.histograms:
                appender.append_histogram(ref, None, t, histogram)
            for labels, value, t in item.exemplars:
                appender.append_exemplar(ref, item.labels, labels, t, value)
            appender.update_metadata(ref, "gauge", "of the test", "")
        appender.commit()
    db.delete(matching("i", "2"), *GONE)
    here = {name: in_database(db, name) for name in NAMES}
    db.close()
    assert kinds_of(data / "wal") >= {
        records.SERIES, records.SAMPLES, records.TOMBSTONES, records.EXEMPLARS, records.METADATA,
        records.HISTOGRAMS, records.FLOAT_HISTOGRAMS,
    }  # fmt: skip
    with prometheus(data, *FLAGS, config=CONFIG) as ask:
        there = {name: in_answer(ask, name) for name in NAMES}
        traces = ask(
            "/api/v1/query_exemplars", query="floats", start=str(BASE_MS / 1000), end=str(END / 1000)
        )
    assert there == here
    assert len(traces[0]["exemplars"]) == 4
