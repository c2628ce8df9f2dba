"""The journal: whole lines, merged in order of time, torn ends left out."""

from __future__ import annotations

from pathlib import Path

from wavetank.clock import VirtualClock
from wavetank.journal import FileJournal, read_journals
from wavetank.limits import JOURNAL_LINE_BYTES_MAX


def test_journals_of_several_processes_merge_by_time(tmp_path: Path) -> None:
    clock = VirtualClock(10.0)
    a, b = FileJournal(tmp_path / "a.jsonl", clock), FileJournal(tmp_path / "b.jsonl", clock)
    a.record("x", n=1)
    clock.run_until(11.0)
    b.record("y", n=2)
    a.record("z", n=3, at=10.5)
    a.record("big", text="x" * JOURNAL_LINE_BYTES_MAX)
    a.close()
    b.close()
    with (tmp_path / "a.jsonl").open("ab") as file:
        file.write(b'{"at": 12.0, "kind": "torn", "te')
    records = read_journals([tmp_path / "a.jsonl", tmp_path / "b.jsonl", tmp_path / "absent.jsonl"])
    assert [(r["at"], r["kind"]) for r in records[:2]] == [(10.0, "x"), (10.5, "z")]
    assert {r["kind"] for r in records} == {"x", "y", "z", "journal.refused"}
