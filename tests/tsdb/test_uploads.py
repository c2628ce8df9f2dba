"""Blocks that another program has yet to copy are not merged."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from wavetank.tsdb.meta import BlockMeta, Compaction
from wavetank.tsdb.uploads import without_pending


def block(ulid: str, level: int = 1) -> BlockMeta:
    return BlockMeta(ulid=ulid, min_time=0, max_time=1, compaction=Compaction(level=level))


BLOCKS = [block("3"), block("1", level=2), block("2"), block("4")]


@pytest.mark.parametrize(
    ("uploaded", "mergeable"),
    [
        ([], "1"),
        (["2"], "12"),
        (["2", "3", "4"], "1234"),
        (["2", "4"], "12"),  # merging 4 would leave a gap at 3
    ],
)
def test_merging_stops_before_the_first_that_waits(
    tmp_path: Path, uploaded: list[str], mergeable: str
) -> None:
    path = tmp_path / "thanos.shipper.json"
    path.write_text(json.dumps({"version": 1, "uploaded": uploaded}))
    assert "".join(meta.ulid for meta in without_pending(BLOCKS, path)) == mergeable


@pytest.mark.parametrize("text", [None, "{", '{"uploaded": 1}'])
def test_without_a_readable_file_all_are_merged(
    tmp_path: Path, text: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "thanos.shipper.json"
    if text is not None:
        path.write_text(text)
    assert len(without_pending(BLOCKS, path)) == 4
    assert "cannot read the file of uploaded blocks" in caplog.text
    assert len(without_pending(BLOCKS, None)) == 4
