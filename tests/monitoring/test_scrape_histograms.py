"""What is stored of a histogram: its classic series, its native buckets, or classic ones made native.

The three cases are those of prometheus/prometheus issue 13532, which upstream's documentation has as tables.
"""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import pytest

from wavetank.clock import VirtualClock
from wavetank.model.histogram import FloatHistogram
from wavetank.model.labels import METRIC_NAME, Labels, Matcher, MatchType
from wavetank.monitoring.config import parse_config
from wavetank.monitoring.discovery.group import TargetGroup
from wavetank.monitoring.scrape.classic import Switches
from wavetank.monitoring.scrape.fetch import ScrapeFailed
from wavetank.monitoring.scrape.resolution import limited, schema_of_factor
from wavetank.monitoring.scrape.series import mutator
from wavetank.monitoring.scrape.store import Appended, TargetStore
from wavetank.monitoring.scrape.target import make_targets
from wavetank.tsdb.db import DB
from wavetank.tsdb.options import Options

TEXT = "text/plain; version=0.0.4"
PROTO = "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited"
CLASSIC = """# TYPE h histogram
h_bucket{le="1"} 2
h_bucket{le="5"} 3
h_bucket{le="+Inf"} 7
h_sum 20
h_count 7
other_count 1
"""
Kinds = dict[str, bool]


def field(number: int, kind: int, value: bytes) -> bytes:
    size = bytes([len(value)]) if kind == 2 else b""
    return bytes([number << 3 | kind]) + size + value


def proto(*, native: bool, classic: bool) -> bytes:
    """The histogram h in the protobuf format: schema 0 with three observations in bucket 1."""
    body = field(1, 0, b"\x03") + field(2, 1, struct.pack("<d", 5.0))
    if classic:
        for bound, count in ((1.0, 0), (2.0, 3)):
            body += field(3, 2, field(1, 0, bytes([count])) + field(2, 1, struct.pack("<d", bound)))
    if native:
        span = field(12, 2, field(1, 0, b"\x02") + field(2, 0, b"\x01"))
        body += field(5, 0, b"\x00") + span + field(13, 0, b"\x06")
    family = field(1, 2, b"h") + field(3, 0, b"\x04") + field(4, 2, field(7, 2, body))
    return bytes([len(family)]) + family


class Scraped:
    def __init__(self, path: Path, settings: Kinds, extra: str = "", options: Options | None = None) -> None:
        lines = "".join(f"  {name}: {str(on).lower()}\n" for name, on in settings.items())
        (self.config,) = parse_config(f"scrape_configs:\n- job_name: j\n{lines}{extra}").scrape_configs
        (target,) = make_targets(self.config, [TargetGroup("s", [{"__address__": "x:1"}])]).active
        self.db = DB.open(path, options or Options(), VirtualClock(1000.0))
        mutate = mutator(self.config, target.labels)
        self.store = TargetStore(self.db, self.config, target.labels, mutate, Switches(*target.switches))

    def scrape(self, body: str | bytes, at_ms: int, kind: str = TEXT) -> Appended:
        data = body.encode() if isinstance(body, str) else body
        appended = self.store.append(data, kind, at_ms)
        self.store.report(at_ms, up=True, seconds=0, appended=appended, timeout_seconds=1, body_bytes=1)
        return appended

    def stored(self) -> dict[str, list[Any]]:
        """Values by name and ``le``; of histograms their schema and count, and "stale"."""
        batch = self.db.select([Matcher(MatchType.REGEXP, METRIC_NAME, "h.*|other.*")], 0, 1 << 50)
        out: dict[str, list[Any]] = {}
        for i, labels in enumerate(batch.labels):
            values: list[Any] = []
            for k in range(int(batch.offsets[i]), int(batch.offsets[i + 1])):
                h = batch.histograms[k] if batch.histograms is not None else None
                value = float(batch.values[k])
                if h is not None:
                    values.append("stale" if h.is_stale else (h.schema, h.count))
                else:
                    values.append("stale" if value != value else value)
            out[labels.name + labels.get("le")] = values
        return out

    def close(self) -> None:
        self.db.close()


NATIVE, CONVERT, ALWAYS = (
    "scrape_native_histograms",
    "convert_classic_histograms_to_nhcb",
    "always_scrape_classic_histograms",
)
CLASSIC_ONLY = {"native": False, "classic": True}
BOTH = {"native": True, "classic": True}
NATIVE_ONLY = {"native": True, "classic": False}
CASES = [
    (CLASSIC_ONLY, {NATIVE: True}, (True, None)),
    (CLASSIC_ONLY, {NATIVE: True, ALWAYS: True}, (True, None)),
    (CLASSIC_ONLY, {NATIVE: True, CONVERT: True}, (False, -53)),
    (CLASSIC_ONLY, {NATIVE: True, CONVERT: True, ALWAYS: True}, (True, -53)),
    (BOTH, {NATIVE: True}, (False, 0)),
    (BOTH, {NATIVE: True, ALWAYS: True}, (True, 0)),
    (BOTH, {NATIVE: True, CONVERT: True}, (False, 0)),
    (BOTH, {NATIVE: True, CONVERT: True, ALWAYS: True}, (True, 0)),
    (BOTH, {}, (True, None)),
    (BOTH, {CONVERT: True}, (False, -53)),
    (NATIVE_ONLY, {NATIVE: True}, (False, 0)),
    (NATIVE_ONLY, {NATIVE: True, CONVERT: True, ALWAYS: True}, (False, 0)),
]


@pytest.mark.parametrize(("exposed", "settings", "expected"), CASES)
def test_the_three_cases(
    tmp_path: Path, exposed: Kinds, settings: Kinds, expected: tuple[bool, int | None]
) -> None:
    scraped = Scraped(tmp_path, settings)
    scraped.scrape(proto(**exposed), 1_000_000, PROTO)
    found = scraped.stored()
    classic = {"h_count", "h_sum", "h_bucket1.0", "h_bucket2.0", "h_bucket+Inf"} <= set(found)
    assert (classic, found["h"][0][0] if "h" in found else None) == expected
    scraped.close()


def test_classic_histograms_become_native_and_go_stale(tmp_path: Path) -> None:
    scraped = Scraped(tmp_path, {CONVERT: True})
    assert scraped.scrape(CLASSIC, 1_000_000) == Appended(2, 2, 2)
    batch = scraped.db.select([Matcher(MatchType.EQUAL, METRIC_NAME, "h")], 0, 1 << 50)
    assert batch.histograms is not None
    found: FloatHistogram = batch.histograms[0]
    assert (found.custom_values, found.positive_buckets, found.sum) == ((1.0, 5.0), (2.0, 1.0, 4.0), 20.0)
    scraped.scrape("other_count 2\n", 1_015_000)
    assert scraped.stored() == {"h": [(-53, 7.0), "stale"], "other_count": [1.0, 2.0]}
    scraped.close()


def test_kept_classic_series_go_stale_too(tmp_path: Path) -> None:
    scraped = Scraped(tmp_path, {CONVERT: True, ALWAYS: True})
    assert scraped.scrape(CLASSIC, 1_000_000).kept == 7
    scraped.scrape(CLASSIC.replace('h_bucket{le="5"} 3\n', ""), 1_015_000)
    scraped.store.mark_stale(1_030_000)
    scraped.scrape("", 1_045_000)
    found = scraped.stored()
    assert found["h_bucket5.0"] == [3.0, "stale"]
    assert found["h_count"] == [7.0, 7.0, "stale"]
    assert found["h"] == [(-53, 7.0), (-53, 7.0), "stale"]
    scraped.close()


def test_counts_that_contradict_each_other_are_left_out(tmp_path: Path) -> None:
    scraped = Scraped(tmp_path, {CONVERT: True})
    scraped.scrape(CLASSIC.replace('le="5"} 3', 'le="5"} 1'), 1_000_000)
    assert list(scraped.stored()) == ["other_count"]
    scraped.close()


def test_a_summary_and_what_has_no_type_stay_as_they_are(tmp_path: Path) -> None:
    scraped = Scraped(tmp_path, {CONVERT: True})
    scraped.scrape("# TYPE h summary\nh_count 7\nh_sum 2\n" + 'other_bucket{le="1"} 2\n', 1_000_000)
    assert scraped.stored() == {"h_count": [7.0], "h_sum": [2.0], "other_bucket1": [2.0]}
    scraped.close()


def test_a_histogram_that_becomes_native_ends_its_classic_series(tmp_path: Path) -> None:
    scraped = Scraped(tmp_path, {NATIVE: True})
    scraped.scrape(proto(**CLASSIC_ONLY), 1_000_000, PROTO)
    scraped.scrape(proto(**BOTH), 1_015_000, PROTO)
    scraped.scrape(proto(**CLASSIC_ONLY), 1_030_000, PROTO)
    found = scraped.stored()
    assert found["h_count"] == [3.0, "stale", 3.0]
    assert found["h"] == [(0, 3.0), "stale"]
    scraped.close()


def test_relabelling_decides_target_by_target(tmp_path: Path) -> None:
    rule = f"  relabel_configs: [{{target_label: __{CONVERT}__, replacement: 'true'}}]\n"
    scraped = Scraped(tmp_path, {}, rule)
    scraped.scrape(CLASSIC, 1_000_000)
    assert list(scraped.stored()) == ["h", "other_count"]
    scraped.close()


def test_exemplars_of_buckets_are_the_histograms(tmp_path: Path) -> None:
    scraped = Scraped(tmp_path, {CONVERT: True})
    text = CLASSIC.replace("other_count 1\n", "").replace('le="1"} 2', 'le="1"} 2 # {trace="x"} 0.5 1000')
    scraped.scrape(text + "# EOF\n", 1_000_000, "application/openmetrics-text; version=1.0.0")
    ((labels, (exemplar,)),) = scraped.db.exemplars(
        [[Matcher(MatchType.EQUAL, METRIC_NAME, "h")]], 0, 1 << 50
    )
    assert (labels.name, exemplar.labels) == ("h", Labels.of(trace="x"))
    scraped.close()


def test_the_sample_limit_counts_histograms(tmp_path: Path) -> None:
    scraped = Scraped(tmp_path, {CONVERT: True}, "  sample_limit: 1\n")
    with pytest.raises(ScrapeFailed, match="sample limit"):
        scraped.scrape(CLASSIC, 1_000_000)
    scraped.close()


@pytest.mark.parametrize(
    ("factor", "schema"), [(0.0, 8), (1.0, 8), (1.1, 2), (2.0, 0), (4.0, -1), (65536.0, -4), (1e300, -4)]
)
def test_a_factor_picks_the_schema(factor: float, schema: int) -> None:
    assert schema_of_factor(factor) == schema


def test_too_many_buckets_are_merged_and_in_the_end_refused() -> None:
    counts = (1.0,) * 40
    fine = FloatHistogram(3, 40.0, 1.0, positive_spans=((0, 40),), positive_buckets=counts)
    coarse = limited(fine, 10, 0.0)
    assert (coarse.schema, coarse.count, len(coarse.positive_buckets)) == (0, 40.0, 6)
    assert limited(fine, 0, 2.0).schema == 0
    apart = FloatHistogram(-4, 2.0, 1.0, positive_spans=((0, 1), (3, 1)), positive_buckets=(1.0, 1.0))
    with pytest.raises(ScrapeFailed, match="bucket limit exceeded"):
        limited(apart, 1, 0.0)


def test_a_scraped_histogram_has_the_resolution_of_its_job(tmp_path: Path) -> None:
    scraped = Scraped(tmp_path, {NATIVE: True}, "  native_histogram_min_bucket_factor: 16\n")
    scraped.scrape(proto(**NATIVE_ONLY), 1_000_000, PROTO)
    assert scraped.stored()["h"] == [(-2, 3.0)]
    scraped.close()


CREATED = """# TYPE hits counter
hits_total 5
hits_created 990
# TYPE h histogram
h_bucket{le="+Inf"} 7
h_count 7
h_sum 1
h_created 991.5
# EOF
"""
OPENMETRICS = "application/openmetrics-text; version=1.0.0"


def test_created_lines_are_series_like_others_by_default(tmp_path: Path) -> None:
    scraped = Scraped(tmp_path, {})
    scraped.scrape(CREATED, 1_000_000, OPENMETRICS)
    found = scraped.stored()
    assert (found["hits_total"], found["hits_created"], found["h_created"]) == ([5.0], [990.0], [991.5])
    scraped.close()


@pytest.mark.parametrize("convert", [False, True])
def test_with_the_feature_they_are_where_a_zero_is_put(tmp_path: Path, convert: bool) -> None:
    scraped = Scraped(tmp_path, {CONVERT: convert}, options=Options(created_zeros=True))
    scraped.scrape(CREATED, 1_000_000, OPENMETRICS)
    scraped.scrape(CREATED.replace("hits_total 5", "hits_total 6"), 1_015_000, OPENMETRICS)
    found = scraped.stored()
    assert found["hits_total"] == [0.0, 5.0, 6.0]
    assert "hits_created" not in found
    if convert:
        assert [count for _, count in found["h"]] == [0.0, 7.0, 7.0]
    else:
        assert found["h_count"] == [0.0, 7.0, 7.0]
    batch = scraped.db.select([Matcher(MatchType.EQUAL, METRIC_NAME, "hits_total")], 0, 1 << 50)
    assert batch.timestamps_ms.tolist() == [990_000, 1_000_000, 1_015_000]
    scraped.close()


def test_with_start_storage_they_stand_beside_the_samples(tmp_path: Path) -> None:
    scraped = Scraped(tmp_path, {}, options=Options(start_storage=True))
    scraped.scrape(CREATED, 1_000_000, OPENMETRICS)
    batch = scraped.db.select([Matcher(MatchType.EQUAL, METRIC_NAME, "hits_total")], 0, 1 << 50)
    assert batch.start_timestamps_ms is not None
    assert batch.start_timestamps_ms.tolist() == [990_000]
    scraped.close()
