"""The journal: whole lines, merged in order of time, torn ends left out."""

from __future__ import annotations

import subprocess
import sys
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


FULL = """
import resource, sys
from pathlib import Path
from wavetank.journal import LineFile
file = LineFile(Path(sys.argv[1]))
hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
file.write(b'{"at": 1, "kind": "before"}')
resource.setrlimit(resource.RLIMIT_FSIZE, (40, hard))
for n in range(3):
    file.write(b'{"at": %d, "kind": "full"}' % n)
resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
file.write(b'{"at": 9, "kind": "after"}')
print(file.lost)
"""


def test_a_full_disk_only_delays_what_is_written(tmp_path: Path) -> None:
    path = tmp_path / "j.jsonl"
    done = subprocess.run([sys.executable, "-c", FULL, str(path)], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "0"
    kinds = [record["kind"] for record in read_journals([path])]
    assert kinds == ["full", "before", "full", "full", "after"]  # in order of time
