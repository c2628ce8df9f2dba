"""``wavetank prometheus import``: what was there is here, once, whatever it came from."""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from wavetank.cli import prometheus
from wavetank.clock import RealClock
from wavetank.errors import InputError
from wavetank.model.histogram import FloatHistogram
from wavetank.model.labels import METRIC_NAME, Labels, Matcher, MatchType
from wavetank.monitoring.history import copy as copying
from wavetank.monitoring.history import slot
from wavetank.monitoring.history.copy import Wanted, import_history, own_directory
from wavetank.monitoring.history.directory import Directory
from wavetank.monitoring.history.source import TooMuch
from wavetank.monitoring.server import ServerOptions
from wavetank.tsdb.bulk import BulkWriter
from wavetank.tsdb.db import DB
from wavetank.tsdb.meta import read_meta, write_meta
from wavetank.tsdb.options import HOUR_MS, Options
from wavetank.tsdb.querier import Found

ALL = [Matcher(MatchType.REGEXP, METRIC_NAME, ".+")]
BASE = 1_700_006_400_000
CLOCK = RealClock()
Samples = dict[str, list[tuple[int, float]]]


def read(path: Path) -> Samples:
    db = DB.open(path, Options(retention_ms=0), CLOCK)
    try:
        batch = db.select(ALL, -(1 << 62), 1 << 62)
        bounds = batch.offsets.tolist()
        pairs = list(zip(batch.timestamps_ms.tolist(), batch.values.tolist(), strict=True))
        return {str(labels): pairs[bounds[i] : bounds[i + 1]] for i, labels in enumerate(batch.labels)}
    finally:
        db.close()


def blocks_of(path: Path, hours: int = 30, step_ms: int = 60_000) -> Path:
    """Two series over some hours, in blocks of two hours."""
    path.mkdir()
    writer = BulkWriter(path, CLOCK)
    rows = writer.rows([Labels.of(__name__="m", i=str(i)) for i in range(2)])
    times = BASE + np.arange(0, hours * HOUR_MS, step_ms)
    for row in rows:
        writer.add(np.full(len(times), row), times, np.arange(len(times), dtype=np.float64) + row)
    writer.finish()
    return path


def run(*arguments: str) -> Any:
    return CliRunner().invoke(
        prometheus.command, ["import", "--output=json", *arguments], standalone_mode=False
    )


def done(*arguments: str) -> tuple[int, int]:
    result = run(*arguments)
    assert result.return_value == 0, (result.output, result.exception)
    answer = json.loads(result.stdout)
    return answer["read"], answer["added"]


def test_the_server_takes_its_flags_as_before(tmp_path: Path) -> None:
    result = CliRunner().invoke(prometheus.command, [f"--config.file={tmp_path}/none.yml"])
    assert isinstance(result.exception, InputError)
    assert "none.yml" in str(result.exception)
    assert "No such command" in CliRunner().invoke(prometheus.command, ["imp"]).output


def test_a_data_directory_once_and_again(tmp_path: Path) -> None:
    source = blocks_of(tmp_path / "source")
    db = DB.open(source, Options(retention_ms=0), CLOCK)
    appender = db.appender()
    appender.append(0, Labels.of(__name__="m", i="0"), BASE + 31 * HOUR_MS, 7.0)
    appender.commit()
    db.close()
    before = sorted(p.name for p in source.rglob("*"))
    arguments = (f"--from={source}", f"--storage.tsdb.path={tmp_path}/data")
    assert done(*arguments) == (3601, 3601)
    assert sorted(p.name for p in source.rglob("*")) == before
    assert read(tmp_path / "data") == read(source)
    assert done(*arguments) == (3601, 0)
    assert not list((tmp_path / "data").glob("import-*"))


def test_a_range_a_selector_and_a_label(tmp_path: Path) -> None:
    source = blocks_of(tmp_path / "source")
    start, end = BASE // 1000 + 3600, BASE // 1000 + 7200
    arguments = [f"--from={source}", f"--storage.tsdb.path={tmp_path}/data", "--label=env=x"]
    found = done(*arguments, f"--start={start}", f"--end={end}", '--match={i="1"}', '--match=m{i=~"1|7"}')
    assert found == (61, 61)
    assert [(name, len(samples)) for name, samples in read(tmp_path / "data").items()] == [
        ('m{env="x", i="1"}', 61)
    ]


def test_a_bucket_keeps_external_labels_and_only_raw_blocks(tmp_path: Path) -> None:
    bucket = blocks_of(tmp_path / "bucket", hours=6)
    first, second, third = sorted(bucket.iterdir(), key=lambda p: read_meta(p).min_time)
    for path, resolution in ((first, 0), (second, 300_000), (third, 0)):
        meta = read_meta(path)
        meta.extra = {"thanos": {"labels": {"replica": "a"}, "downsample": {"resolution": resolution}}}
        write_meta(path, meta)
    (third / "deletion-mark.json").write_text("{}")
    result = run(f"--from={bucket}", f"--storage.tsdb.path={tmp_path}/data")
    assert result.return_value == 0
    assert (result.stderr.count("passed over"), json.loads(result.stdout)["added"]) == (2, 240)
    assert list(read(tmp_path / "data")) == ['m{i="0", replica="a"}', 'm{i="1", replica="a"}']


class _Broken:
    """A directory that stops answering in the middle."""

    def __init__(self, inner: Directory, after_ms: int) -> None:
        self.notes: list[str] = []
        self._inner = inner
        self._after_ms = after_ms
        self.extent, self.estimate, self.close = inner.extent, inner.estimate, inner.close
        self.extras = inner.extras

    def read(self, mint_ms: int, maxt_ms: int) -> Iterator[Found]:
        if mint_ms > self._after_ms:
            raise InputError("the source has gone")
        if maxt_ms - mint_ms > HOUR_MS:
            raise TooMuch("more than an hour")
        return self._inner.read(mint_ms, maxt_ms)


def test_an_interrupted_run_goes_on_where_it_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(copying, "IMPORT_SAMPLES_AT_ONCE", 100)  # narrow slots, one series at a time
    monkeypatch.setattr(slot, "IMPORT_CHUNK_BYTES_MAX", 50)  # several blocks a slot
    source, target = blocks_of(tmp_path / "source", hours=12), tmp_path / "data"
    with pytest.raises(InputError, match="gone"):
        import_history(
            _Broken(Directory(source, [ALL], CLOCK), BASE + 5 * HOUR_MS),
            Wanted("x"),
            partial(own_directory, target, CLOCK),
        )
    part = sum(map(len, read(target).values()))
    assert 0 < part < 1440
    done = import_history(Directory(source, [ALL], CLOCK), Wanted("x"), partial(own_directory, target, CLOCK))
    assert done.resumed_at_ms is not None
    assert (done.read, done.added) == (1440 - part, 1440 - part)
    assert read(target) == read(source)


def test_a_head_is_not_hidden_by_blocks(tmp_path: Path) -> None:
    """The target's log holds newer samples: they survive, and what is as new as they goes beside them."""
    source, target = blocks_of(tmp_path / "source", hours=6), tmp_path / "data"
    db = DB.open(target, Options(retention_ms=0), CLOCK)
    appender = db.appender()
    for minute in range(4 * 60, 5 * 60):
        appender.append(0, Labels.of(__name__="own"), BASE + minute * 60_000, 1.0)
    appender.append(0, Labels.of(__name__="m", i="0"), BASE + 250 * 60_000, -1.0)
    appender.commit()
    db.close()
    arguments = (f"--from={source}", f"--storage.tsdb.path={target}")
    assert done(*arguments) == (720, 719)
    expected = read(source)
    expected['m{i="0"}'][250] = (BASE + 250 * 60_000, -1.0)
    found = read(target)
    assert len(found.pop("own")) == 60
    assert found == expected
    assert done(*arguments) == (720, 0)


def test_native_histograms_come_along(tmp_path: Path) -> None:
    source, target = tmp_path / "source", tmp_path / "data"
    db = DB.open(source, Options(retention_ms=0), CLOCK)
    appender = db.appender()
    for k in range(300):
        h = FloatHistogram(
            schema=0, count=3.0 + k, sum=4.5 * k, positive_spans=((0, 1),), positive_buckets=(3.0 + k,)
        )
        appender.append_histogram(0, Labels.of(__name__="h"), BASE + k * 15_000, h)
    appender.commit()
    db.flush()
    db.close()
    arguments = (f"--from={source}", f"--storage.tsdb.path={target}")
    assert done(*arguments) == (300, 300)
    assert done(*arguments) == (300, 0)
    db = DB.open(target, Options(retention_ms=0), CLOCK)
    batch = db.select(ALL, 0, 1 << 62)
    db.close()
    assert batch.histograms is not None
    assert [h.count for h in batch.histograms] == [3.0 + k for k in range(300)]


def test_a_small_disk_is_refused_with_the_estimate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = blocks_of(tmp_path / "source", hours=2)
    monkeypatch.setattr(copying, "IMPORT_DISK_RESERVE_BYTES", 1 << 60)
    result = run(f"--from={source}", f"--storage.tsdb.path={tmp_path}/data")
    assert isinstance(result.exception, InputError)
    assert "too small: about 240 samples need" in str(result.exception)
    assert json.loads(run(f"--from={source}", "--dry-run").stdout)["expected"]["samples"] == 240


def test_a_directory_in_use_and_one_without_blocks_are_refused(tmp_path: Path) -> None:
    source = blocks_of(tmp_path / "source", hours=2)
    db = DB.open(tmp_path / "data", Options(), CLOCK)
    result = run(f"--from={source}", f"--storage.tsdb.path={tmp_path}/data")
    db.close()
    assert "give --to with the URL of the server that uses it" in str(result.exception)
    (tmp_path / "empty").mkdir()
    assert "no blocks in" in str(run(f"--from={tmp_path}/empty").exception)
    assert "same directory" in str(run(f"--from={source}", f"--storage.tsdb.path={source}").exception)


def test_a_damaged_block_is_passed_over_and_named(tmp_path: Path) -> None:
    source = blocks_of(tmp_path / "source", hours=4)
    first = min(source.iterdir(), key=lambda p: read_meta(p).min_time)
    (first / "index").write_bytes(b"nonsense")
    result = run(f"--from={source}", f"--storage.tsdb.path={tmp_path}/data")
    assert result.return_value == 1
    assert f"block {first.name} cannot be read" in result.stderr
    assert json.loads(result.stdout)["added"] == 240


@pytest.mark.parametrize(
    ("text", "arguments", "expected"),
    [
        (
            'sep=;\n"Time";"up{job=""a""}";"cpu"\n1700006400000;1;2.5\n1700006415000;;3\n',
            [],
            {'up{job="a"}': [(BASE, 1.0)], "cpu": [(BASE, 2.5), (BASE + 15_000, 3.0)]},
        ),
        (
            "Time,Value\n2023-11-15 01:00:00,4\n",
            ["--metric=x", "--timezone=Europe/Berlin"],
            {"x": [(BASE, 4.0)]},
        ),
        (
            "Series;Time;Value\nA legend;2023-11-15T00:00:00Z;5\nA legend;1700006460;null\n",
            ["--metric=x"],
            {'x{series="A legend"}': [(BASE, 5.0)]},
        ),
    ],
)
def test_a_grafana_csv(tmp_path: Path, text: str, arguments: list[str], expected: Samples) -> None:
    file = tmp_path / "export.csv"
    file.write_text(text)
    count = sum(map(len, expected.values()))
    own = (f"--from={file}", f"--storage.tsdb.path={tmp_path}/data", *arguments)
    assert done(*own) == (count, count)
    assert read(tmp_path / "data") == expected
    assert done(*own) == (count, 0)


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("a,b\n1,2\n", "not Time"),
        ("Time,b c\n1,2\n", "give --metric NAME"),
        ("Time,b\n1,2 MiB\n", ":2: '2 MiB' is not a number; switch off 'Formatted data'"),
        ("Time,b\nyesterday,2\n", ":2: 'yesterday' is not a time"),
        ("Time,b\n1,2,3\n", ":2: has 3 cells"),
        ("", "not Time"),
    ],
)
def test_a_csv_that_is_none_is_refused_by_line(tmp_path: Path, text: str, error: str) -> None:
    (tmp_path / "x.csv").write_text(text)
    result = run(f"--from={tmp_path}/x.csv", f"--storage.tsdb.path={tmp_path}/data")
    assert error in str(result.exception)


@pytest.mark.slow
@pytest.mark.parametrize("via", ["read", "query", "range"])
async def test_a_running_server(start: Callable[..., Any], tmp_path: Path, via: str) -> None:
    config = "global: {scrape_interval: 1s, external_labels: {site: x}}\n"
    async with start(config, ServerOptions(enable_remote_write_receiver=True)) as server:
        db = server.server._parts._db
        now_ms = int(CLOCK.now() * 1000) // 60_000 * 60_000
        appender = db.appender()
        for k in range(600):
            appender.append(0, Labels.of(__name__="m"), now_ms - 600 * 60_000 + k * 60_000, float(k))
        appender.commit()
        arguments = (f"--from={server.url}", f"--storage.tsdb.path={tmp_path}/data", "--match=m")
        arguments += (f"--start={now_ms / 1000 - 36000}", f"--end={now_ms / 1000}", f"--via={via}")
        found = await asyncio.to_thread(done, *arguments)
        if via == "range":  # the last value is looked back to
            assert found[0] >= 600
            return
        assert found == (600, 600)
        assert await asyncio.to_thread(done, *arguments) == (600, 0)
        assert [(name, len(samples)) for name, samples in read(tmp_path / "data").items()] == [("m", 600)]


@pytest.mark.peer
@pytest.mark.slow
@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed")
async def test_promtool_reads_what_was_imported(tmp_path: Path) -> None:
    source = blocks_of(tmp_path / "source", hours=3)
    done(f"--from={source}", f"--storage.tsdb.path={tmp_path}/data")
    (tmp_path / "data" / "wal").mkdir(exist_ok=True)
    child = await asyncio.create_subprocess_exec(
        "promtool", "tsdb", "dump", str(tmp_path / "data"), stdout=asyncio.subprocess.PIPE
    )
    out, _ = await child.communicate()
    assert len(out.splitlines()) == 360
