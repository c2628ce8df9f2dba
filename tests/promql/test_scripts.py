"""Prometheus' own ``.test`` files, all of them, with upstream's re-runs."""

from pathlib import Path

import pytest

from wavetank.promql.promqltest.runner import Script, run_files

DATA = Path(__file__).parent / "data"
FILES = sorted(DATA.glob("*.test"))
# The rest of the files runs in a few seconds; these are run on their own.
LONG = {"aggregators", "at_modifier", "functions", "histograms", "native_histograms"}


def _failures(path: Path) -> tuple[int, list[str]]:
    results = list(Script(path.read_text(encoding="utf-8"), path.name).run())
    return len(results), [f"line {c.line}: {c.expr}: {problem}" for c, problem in results if problem]


@pytest.mark.parametrize("path", [p for p in FILES if p.stem not in LONG], ids=lambda p: p.stem)
def test_file_passes(path: Path) -> None:
    count, failures = _failures(path)
    assert count > 0
    assert failures == []


@pytest.mark.slow
@pytest.mark.parametrize("path", [p for p in FILES if p.stem in LONG], ids=lambda p: p.stem)
def test_long_file_passes(path: Path) -> None:
    count, failures = _failures(path)
    assert count > 0
    assert failures == []


def test_all_files_are_here() -> None:
    assert len(FILES) == 21


def test_summary_counts_evaluations() -> None:
    lines: list[str] = []
    passed, failed = run_files([DATA / "literals.test"], lines.append)
    assert (passed, failed) == (25, 0)
    assert lines == ["25 evals: 25 passed, 0 failed"]


def test_failure_says_expected_and_got(tmp_path: Path) -> None:
    script = tmp_path / "wrong.test"
    script.write_text('load 1m\n  up{job="a"} 1x5\n\neval instant at 2m up\n  up{job="a"} 2\n')
    lines: list[str] = []
    assert run_files([script], lines.append) == (0, 1)
    assert lines[0] == f'{script}:4: up: expected 2 for up{{job="a"}} but got 1'
    assert lines[1] == "1 evals: 0 passed, 1 failed"


@pytest.mark.parametrize(
    ("result", "problem"),
    [
        ('up{job="b"} 1', 'unexpected metric up{job="a"}'),
        ("{} 1", 'unexpected metric up{job="a"}'),
        ("1", "expected scalar result, but got a vector"),
        ('up{job="a"} 1\n  up{job="c"} 1', 'expected metric up{job="c"} with 1 not found'),
        ('expect warn\n  up{job="a"} 1', "expected warn annotations but none were found"),
        ("expect fail", "expected an error but got none"),
    ],
)
def test_every_kind_of_difference_fails(result: str, problem: str) -> None:
    script = f'load 1m\n  up{{job="a"}} 1x5\n\neval instant at 2m up\n  {result}\n'
    [(_, got)] = Script(script, "x.test").run()
    assert got is not None
    assert problem in got
