"""Workload files: shapes, traces and history; a bad trace is refused with its line or repaired as asked."""

from __future__ import annotations

from pathlib import Path

import pytest

from wavetank.analysis.query import Series
from wavetank.errors import InputError
from wavetank.simulation import workload as w

HEAD = "apiVersion: wavetank.dev/v1\nkind: Workload\n"


def trace(directory: Path, rows: str, gaps: str = "refuse") -> w.Workload:
    (directory / "traffic.csv").write_text(rows)
    path = directory / "workload.yaml"
    path.write_text(f"{HEAD}trace: {{csv: traffic.csv, gaps: {gaps}}}\n")
    return w.load_workload(path)


def test_a_day_has_its_peak_its_night_and_its_flash_crowd() -> None:
    crowd = w.FlashCrowd(at="20h", factor=5, rise="60s", hold="10m", fall="20m")
    rates = w.shape_rates(w.Shape(duration="24h", base=10, peak=100, peak_at=14, flash_crowds=[crowd]))
    assert len(rates) == 86_400
    assert rates[14 * 3600] == pytest.approx(100, rel=0.01)
    assert rates[2 * 3600] == pytest.approx(10, rel=0.01)
    assert rates[20 * 3600 + 300] / rates[20 * 3600 - 1] == pytest.approx(5, rel=0.05)


def test_the_weekend_is_quieter() -> None:
    rates = w.shape_rates(w.Shape(duration="7d", base=10, peak=10, weekend=0.5))
    assert rates[4 * 86_400] == 10
    assert rates[5 * 86_400] == 5


def test_a_trace_is_linear_between_its_rows(tmp_path: Path) -> None:
    found = trace(tmp_path, "time,rps\n0,10\n10,20\n20,20\n")
    assert found.rates[:2] == pytest.approx([10.5, 11.5])
    assert found.rates.sum() == pytest.approx(350)


def test_iso_times_with_offsets_are_instants(tmp_path: Path) -> None:
    rows = "2026-10-25T02:00:00+02:00,5\n2026-10-25T02:00:00+01:00,7\n"
    found = trace(tmp_path, rows)
    assert len(found.rates) == 3600
    assert found.start == 1792886400.0


REFUSED = (
    ("0,1\n10,2\n10,3\n", ":3", "two different rates"),
    ("2026-10-25T02:30:00,5\n2026-10-25T02:00:00,7\n", ":2", "local time"),
    ("90000,5\n10,7\n", ":2", "sort the rows"),
    ("0,1\nsoon,2\n", ":2", "not a time and a rate"),
    ("0,1\n10,-2\n", ":2", "outside"),
    ("0,1\n10,nan\n", ":2", "outside"),
    ("0,1\n", "traffic.csv", "at least two rows"),
    ("0,1\n60,1\n120,1\n180,1\n7200,1\n", "traffic.csv", "a gap of 7020 s"),
)


@pytest.mark.parametrize(("rows", "place", "message"), REFUSED)
def test_bad_traces_are_refused(tmp_path: Path, rows: str, place: str, message: str) -> None:
    with pytest.raises(InputError) as raised:
        trace(tmp_path, rows)
    text = str(raised.value)
    assert place in text
    assert message in text


def test_repairs_are_said(tmp_path: Path) -> None:
    rows = "0,1\n60,1\n60,1\n120,4\n180,4\n7200,1\n"
    held = trace(tmp_path, rows, "hold")
    assert held.rates[3000] == 4
    assert len(held.repairs) == 2
    assert trace(tmp_path, rows, "zero").rates[3000] == 0
    assert 1 < trace(tmp_path, rows, "interpolate").rates[3000] < 4


def test_too_many_rows_are_refused_where_they_begin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(w, "SIMULATION_TRACE_ROWS_MAX", 3)
    with pytest.raises(InputError, match="more than 3 rows"):
        trace(tmp_path, "".join(f"{i},1\n" for i in range(10)))


def test_a_workload_is_one_thing(tmp_path: Path) -> None:
    path = tmp_path / "workload.yaml"
    path.write_text(f"{HEAD}arrivals: poisson\n")
    with pytest.raises(InputError, match="one of shape, trace and history"):
        w.load_workload(path)
    path.write_text(f"{HEAD}shap: {{duration: 1h, base: 1}}\n")
    with pytest.raises(InputError, match="shape"):
        w.load_workload(path)


class History:
    """Answers with two series of one a second."""

    async def instant(self, expr: str, at: float) -> list[Series]:
        return []

    async def range(self, expr: str, start: float, end: float, step: float) -> list[Series]:
        times = [start + i * step for i in range(int((end - start) / step) + 1)]
        return [Series({"pod": pod}, times, [1.0] * len(times)) for pod in "ab"]


async def test_history_adds_up_its_series() -> None:
    history = w.History(
        prometheus="x", expr="rate(x[1m])", start="2026-01-01T00:00:00Z", end="2026-01-01T01:00:00Z", scale=3
    )
    rates, repairs = await w.rates_from_history(history, History())
    assert len(rates) == 3600
    assert rates[1800] == 6
    assert repairs == ()


BAD_FILES = (
    ("trace: {csv: traffic.csv, scale: -1}", "trace.scale"),
    ("trace: {csv: traffic.csv, scale: .nan}", "trace.scale"),
    ("trace: {csv: traffic.csv, scale: 900000}", "the load reaches 1.79"),
    ("shape: {duration: -5s, base: 1}", "'-5s' is not a duration"),
    ("shape: {duration: 1h, base: -1}", "shape.base"),
    ("shape: {duration: 1h, base: .nan}", "shape.base"),
    ("shape: {duration: 1h, base: 1, weekend: -1}", "shape.weekend"),
    (
        "shape: {duration: 1h, base: 1, flashCrowds: [{at: 2h, factor: 2}]}",
        "a flash crowd at 2h of a shape of 1h",
    ),
    (
        "shape: {duration: 1h, base: 1, flashCrowds: [{at: 1m, factor: 2, rise: -3s}]}",
        "'-3s' is not a duration",
    ),
    ("shape: {duration: 1h, base: 100, flashCrowds: [{at: 1m, factor: 1e5}]}", "requests a second"),
    ("history: {prometheus: x, expr: y, start: soon, end: 2026-01-01T00:00:00Z}", "'soon' is not a moment"),
    (
        "history: {prometheus: x, expr: y, start: 2026-01-02T00:00:00Z, end: 2026-01-01T00:00:00Z}",
        "before it starts",
    ),
)


@pytest.mark.parametrize(("body", "says"), BAD_FILES)
def test_impossible_workloads_name_the_line_and_the_value(tmp_path: Path, body: str, says: str) -> None:
    (tmp_path / "traffic.csv").write_text("0,1\n60,2\n")
    path = tmp_path / "workload.yaml"
    path.write_text(f"{HEAD}{body}\n")
    with pytest.raises(InputError) as raised:
        w.load_workload(path)
    assert f"{path}:3: " in str(raised.value)
    assert says in str(raised.value)


def test_an_hour_that_local_time_leaves_out_is_named_as_such(tmp_path: Path) -> None:
    hours = ("01:50", "01:55", "03:00", "03:05", "03:10")
    with pytest.raises(InputError, match=r"csv:3: a gap of 3900 s .*local time leaves out an hour in spring"):
        trace(tmp_path, "".join(f"2026-03-29T{hour}:00,5\n" for hour in hours))
