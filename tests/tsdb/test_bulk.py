"""Backfilling text and columns: what goes in comes out, in blocks of their slots, in any order of time."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from tsdb_model import BASE_MS, EVER, matching

from wavetank.cli.promtool import command
from wavetank.clock import RealClock, VirtualClock
from wavetank.errors import InputError
from wavetank.model.labels import Labels
from wavetank.monitoring.promtool import backfill
from wavetank.tsdb import bulk
from wavetank.tsdb.bulk import BulkWriter
from wavetank.tsdb.db import DB
from wavetank.tsdb.options import HOUR_MS, Options

needs_promtool = pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed")


def read(directory: Path) -> dict[Labels, list[tuple[int, float]]]:
    db = DB.open(directory, Options(retention_ms=0), VirtualClock(1.7e9))
    try:
        batch = db.select(matching("job", "test"), *EVER)
        bounds = batch.offsets.tolist()
        samples = list(zip(batch.timestamps_ms.tolist(), batch.values.tolist(), strict=True))
        return {labels: samples[bounds[i] : bounds[i + 1]] for i, labels in enumerate(batch.labels)}
    finally:
        db.close()


@pytest.mark.parametrize("order", ["by time", "by series", "at random", "backwards"])
def test_samples_in_any_order(tmp_path: Path, order: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bulk, "BULK_SAMPLES_MAX", 400)  # several blocks for one slot, which are merged
    labels = [Labels.of(__name__="m", job="test", i=str(i)) for i in range(5)]
    writer = BulkWriter(tmp_path, VirtualClock(1.7e9))
    rows = writer.rows(labels)
    assert writer.rows(labels[::-1]).tolist() == rows.tolist()[::-1]
    series = np.tile(rows, 300)
    times = np.repeat(BASE_MS + np.arange(300) * 60_000, 5)
    values = np.arange(1500.0)
    place = {
        "by time": np.arange(1500),
        "by series": np.argsort(series, kind="stable"),
        "at random": np.random.default_rng(1).permutation(1500),
        "backwards": np.arange(1500)[::-1],
    }[order]
    for part in np.array_split(place, 7):
        writer.add(series[part], times[part], values[part])
    made = writer.finish()
    assert len(made) == len({t // (2 * HOUR_MS) for t in times.tolist()})
    found = read(tmp_path)
    for row, each in zip(rows.tolist(), labels, strict=True):
        own = series == row
        assert found[each] == list(zip(times[own].tolist(), values[own].tolist(), strict=True))


TEXT = """# HELP requests Of the test.
# TYPE requests counter
requests_total{job="test",code="200"} 1 1700000000
requests_total{job="test",code="500"} 2.5 1700000000.5
requests_total{job="test",code="200"} NaN 1700009000
# EOF
"""


def create(*arguments: str) -> str:
    done = CliRunner().invoke(command, ["tsdb", "create-blocks-from", *arguments], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.output


def test_openmetrics_text_becomes_blocks_and_text_again(tmp_path: Path) -> None:
    source = tmp_path / "in.om"
    source.write_text(TEXT)
    printed = create("openmetrics", "--label", "site=a", str(source), str(tmp_path / "out"))
    assert printed.count("\n") == 3  # a heading and two blocks
    assert {len(path.name) for path in (tmp_path / "out").iterdir()} == {26}  # nothing but blocks
    dumped = CliRunner().invoke(command, ["tsdb", "dump-openmetrics", str(tmp_path / "out")]).output
    assert dumped.splitlines() == [
        'requests_total{code="200",job="test",site="a"} 1 1700000000.000',
        'requests_total{code="200",job="test",site="a"} NaN 1700009000.000',
        'requests_total{code="500",job="test",site="a"} 2.5 1700000000.500',
        "# EOF",
    ]
    again = tmp_path / "again.om"
    again.write_text(dumped)
    assert create("-q", "openmetrics", str(again), str(tmp_path / "second")) == ""
    second = CliRunner().invoke(command, ["tsdb", "dump-openmetrics", str(tmp_path / "second")]).output
    assert second == dumped


def test_files_are_read_in_pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backfill, "_FIRST_BYTES", 100)
    monkeypatch.setattr(backfill, "_PIECE_BYTES", 333)
    lines = ["# TYPE a gauge"]
    lines += [f'a{{job="test",i="{i % 7}"}} {i}.25 {1_700_000_000 + i}' for i in range(700)]
    source = tmp_path / "in.om"
    source.write_text("\n".join([*lines, "# EOF", ""]))
    backfill.blocks_from_openmetrics(source, tmp_path / "out", RealClock(), width_ms=2 * HOUR_MS, labels={})
    found = read(tmp_path / "out")
    assert len(found) == 7
    assert found[Labels.of(__name__="a", job="test", i="3")] == [
        (1_700_000_000_000 + i * 1000, i + 0.25) for i in range(3, 700, 7)
    ]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a 1 1700000000\n", "does not end with # EOF"),
        ("a 1\n# EOF\n", "sample without a timestamp"),
        ("# TYPE b gauge\nb 1 1\nb 2 2\na{ 1 1700000000\n# EOF\n", r"in\.om: line 4: expected label name"),
        ("", "does not end with # EOF"),
    ],
)
def test_what_cannot_be_imported_is_named(
    tmp_path: Path, text: str, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = tmp_path / "in.om"
    source.write_text(text)
    monkeypatch.setattr(backfill, "_FIRST_BYTES", 20)
    with pytest.raises(InputError, match=said):
        backfill.blocks_from_openmetrics(
            source, tmp_path / "out", RealClock(), width_ms=2 * HOUR_MS, labels={}
        )


@pytest.mark.peer
@needs_promtool
def test_the_real_one_reads_our_blocks_the_same(tmp_path: Path) -> None:
    source = tmp_path / "in.om"
    source.write_text(TEXT)
    create("openmetrics", str(source), str(tmp_path / "ours"))
    subprocess.run(
        ["promtool", "tsdb", "create-blocks-from", "openmetrics", str(source), str(tmp_path / "theirs")],
        check=True,
        capture_output=True,
    )
    for name in ("ours", "theirs"):
        (tmp_path / name / "wal").mkdir(exist_ok=True)  # or promtool does not take it for a data directory
    dumps = [
        subprocess.run(
            ["promtool", "tsdb", "dump", str(tmp_path / name)], check=True, capture_output=True
        ).stdout
        for name in ("ours", "theirs")
    ]
    assert sorted(dumps[0].splitlines()) == sorted(dumps[1].splitlines())
