"""Range queries of BenchmarkRangeQuery (prometheus/prometheus, promql/bench_test.go), in CPU time over HTTP.

The data and the expressions are upstream's: 1443 series, 18640 samples each at 10 s, queries over the last
1, 1000 or 10000 steps. Our database writes the data as blocks; `wavetank prometheus` and Debian's
``prometheus`` open a copy each, and Debian's ``victoria-metrics`` gets the same samples pushed (its answers
differ on purpose: it is no judge of ours). Figures are CPU time of the server's process, user and system,
per query; ``inside`` is our engine in this process, from text to JSON. ``--jitter`` moves timestamps about
and lets values walk at random, so that nothing compresses or repeats.

    python bench/promql_range.py [--peers NAME,NAME] [--jitter] [--only TEXT] [--steps N] [--every N]
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from promql_servers import Server, prometheus, victoria_metrics, wavetank

from wavetank.clock import RealClock, cpu_seconds
from wavetank.model.labels import Labels
from wavetank.promql.context import EngineOptions
from wavetank.promql.engine import Engine
from wavetank.promql.options import EXPERIMENTAL
from wavetank.promql.result_json import encode_result
from wavetank.promql.storage import Queryable
from wavetank.tsdb.db import DB
from wavetank.tsdb.options import Options

INTERVAL_MS = 10_000
INTERVALS = 8_640 + 10_000
SERIES = 1_443
END_MS = INTERVALS * INTERVAL_MS


@dataclass(frozen=True)
class Case:
    expr: str
    steps: int
    peer: str | None = ""  # another spelling for the peers; None where they have no such thing

    @property
    def start_ms(self) -> int:
        return END_MS - self.steps * INTERVAL_MS


def cases() -> list[Case]:
    """Upstream's list, for one and for a hundred series."""
    plain = [
        "a_X", "rate(a_X[1m])", "changes(a_X[1d])", "rate(a_X[1d])", "absent_over_time(a_X[1d])", "-a_X",
        "a_X - b_X", "a_X and b_X{l=~'.*[0-4]$'}", "a_X or b_X{l=~'.*[0-4]$'}",
        "a_X unless b_X{l=~'.*[0-4]$'}", "a_X and b_X{l='notfound'}", "abs(a_X)",
        "label_replace(a_X, 'l2', '$1', 'l', '(.*)')", "label_join(a_X, 'l2', '-', 'l', 'l')", "sum(a_X)",
        "avg(a_X)", "sum without (l)(h_X)", "sum without (le)(h_X)", "sum by (l)(h_X)", "sum by (le)(h_X)",
        "topk(1, a_X)", "topk(5, a_X)", "rate(a_X[1m]) + rate(b_X[1m])", "sum without (l)(rate(a_X[1m]))",
        "sum without (l)(rate(a_X[1m])) / sum without (l)(rate(b_X[1m]))",
        "histogram_quantile(0.9, rate(h_X[5m]))", "a_X + on(l) group_right a_one", "timestamp(a_X)",
    ]  # fmt: skip
    ours_only = [
        "rate(a_X[1m] smoothed)", "limitk(1, a_X)", "limitk(5, a_X)", "limit_ratio(0.1, a_X)",
        "limit_ratio(0.5, a_X)", "limit_ratio(-0.5, a_X)",
    ]  # fmt: skip
    out = []
    for x in ("one", "hundred"):
        for steps in (1, 1000):
            out += [Case(e.replace("X", x), steps) for e in plain]
            out += [Case(e.replace("X", x), steps, None) for e in ours_only]
            smooth = f"double_exponential_smoothing(a_{x}[1d], 0.3, 0.3)"
            out.append(Case(smooth, steps, f"holt_winters(a_{x}[1d], 0.3, 0.3)"))
        out += [Case(f"rate(a_{x}[1m])", 10_000), Case(f"a_{x} - b_{x}", 10_000)]
        out.append(Case(f"rate(a_{x}[1m] smoothed)", 10_000, None))
        out.append(Case(f"count_values('value', h_{x})", 100))
    out += [Case("rate(sparse[1m])", 10_000), Case("rate(sparse[1m] smoothed)", 10_000, None)]
    out += [Case('count({__name__!=""})', 1), Case('count({__name__!="", l=""})', 1)]
    return out


def all_labels() -> list[Labels]:
    out = []
    for name, count in (("one", 1), ("ten", 10), ("hundred", 100)):
        for i in range(count):
            label = {} if count == 1 else {"l": str(i)}
            out += [Labels.of(label, __name__=f"{letter}_{name}") for letter in "ab"]
            out += [
                Labels.of(label, __name__=f"h_{name}", le="+Inf" if b == 10 else str(b)) for b in range(11)
            ]
    return sorted(out)


def columns(jitter: bool) -> tuple[np.ndarray, np.ndarray]:
    """Times and values of all series, int64 and float64[SERIES, INTERVALS]."""
    s = np.arange(INTERVALS, dtype=np.int64)
    times = np.repeat(s[np.newaxis, :] * INTERVAL_MS, SERIES, axis=0)
    values = s + np.arange(SERIES)[:, np.newaxis] / SERIES
    if jitter:
        random = np.random.default_rng(7)
        times += random.integers(0, 3000, times.shape)
        values = np.cumsum(random.exponential(1.0, values.shape), axis=1)
        walks = [row for row, labels in enumerate(all_labels()) if labels.name.startswith("b_")]
        values[walks] = np.cumsum(random.normal(0.0, 1.0, values[walks].shape), axis=1)
    return times, values


def fill(database: DB, jitter: bool) -> None:
    """Append everything, two hours at a time, and write it out as blocks."""
    times, values = columns(jitter)
    refs = np.array([database.series_ref(lb) for lb in all_labels()], np.int64)
    width = 720
    for first in range(0, INTERVALS, width):
        part = slice(first, min(first + width, INTERVALS))
        count = part.stop - part.start
        appender = database.appender()
        appender.append_batch(np.repeat(refs, count), times[:, part].ravel(), values[:, part].ravel())
        for i in range(first * 50 // INTERVALS, part.stop * 50 // INTERVALS + 1):
            ref = database.series_ref(Labels.of(__name__="sparse", l=str(i)))
            begin, end = max(first, i * INTERVALS // 50), min(part.stop, (i + 1) * INTERVALS // 50)
            s = np.arange(begin, max(begin, end), dtype=np.int64)
            appender.append_batch(np.full(len(s), ref), s * INTERVAL_MS, s / SERIES)
        appender.commit()
    database.flush()
    database.compact()


def vm_lines(jitter: bool) -> Iterator[bytes]:
    """The same samples as lines of VictoriaMetrics' JSON import, a hundred series at a time."""
    times, values = columns(jitter)
    lines = []
    for labels, own_times, own_values in zip(all_labels(), times, values, strict=True):
        entry = {"metric": dict(labels), "timestamps": own_times.tolist(), "values": own_values.tolist()}
        lines.append(json.dumps(entry))
        if len(lines) == 100:
            yield "\n".join(lines).encode()
            lines = []
    for i in range(50):
        s = np.arange(i * INTERVALS // 50, (i + 1) * INTERVALS // 50)
        metric = {"__name__": "sparse", "l": str(i)}
        stamps = (s * INTERVAL_MS).tolist()
        lines.append(json.dumps({"metric": metric, "timestamps": stamps, "values": (s / SERIES).tolist()}))
    yield "\n".join(lines).encode()


def ours_ms(storage: Queryable, case: Case, rounds: int) -> float:
    """Median CPU milliseconds of one query in this process: parse, select, evaluate, write JSON."""
    engine = Engine(EngineOptions(parser=EXPERIMENTAL))
    times: list[float] = []
    count = 1
    while len(times) <= rounds:
        before = cpu_seconds()
        for _ in range(count):
            encode_result(engine.query_range(storage, case.expr, case.start_ms, END_MS, INTERVAL_MS))
        times.append((cpu_seconds() - before) * 1e3 / count)
        count = max(1, min(20, int(25 / times[-1])))
    return statistics.median(times[1:])  # the first one compiles


@dataclass(slots=True)
class Row:
    """CPU milliseconds of a case; NaN where it was not measured or is refused."""

    case: Case
    ours: float
    inside: float
    prometheus: float = math.nan
    victoria_metrics: float = math.nan

    def line(self) -> str:
        parts = [f"{self.ours:9.2f} {self.inside:9.2f}"]
        for theirs in (self.prometheus, self.victoria_metrics):
            shown = "" if math.isnan(theirs) else f"{theirs:9.2f} {self.ours / theirs:7.3f}"
            parts.append(f"{shown:17}")
        return " ".join([*parts, f"{self.case.steps:>6}", self.case.expr])


def measure(servers: Mapping[str, Server], storage: Queryable, chosen: list[Case], rounds: int) -> list[Row]:
    """Each case on all servers in turn; a line is printed as soon as it is known."""
    print(f"{'ours':>9} {'inside':>9} {'Prometheus':>10} {'ratio':>6} {'VM':>9} {'ratio':>7} {'steps':>6}")
    rows = []
    for case in chosen:
        found = {"prometheus": math.nan, "victoria-metrics": math.nan}
        for name, server in servers.items():
            expr = case.expr if name == "wavetank" else case.peer
            if expr is not None:
                expr = expr or case.expr
                found[name] = server.query_ms(expr, case.start_ms, END_MS, INTERVAL_MS, rounds)
        row = Row(
            case,
            found["wavetank"],
            ours_ms(storage, case, rounds),
            found["prometheus"],
            found["victoria-metrics"],
        )
        rows.append(row)
        print(row.line(), flush=True)
    return rows


GROUPS: dict[str, Callable[[Case], bool]] = {
    "a hundred series and more, 100 steps and more": lambda c: "hundred" in c.expr and c.steps >= 100,
    "one series, 100 steps and more": lambda c: "hundred" not in c.expr and c.steps >= 100,
    "a single step": lambda c: c.steps == 1,
    "all": lambda c: True,
}


def summarise(rows: list[Row]) -> None:
    for peer in ("prometheus", "victoria_metrics"):
        for name, belongs in GROUPS.items():
            ratios = [r.ours / getattr(r, peer) for r in rows if belongs(r.case)]
            ratios = [ratio for ratio in ratios if not math.isnan(ratio)]
            if ratios:
                mean = math.exp(statistics.fmean(map(math.log, ratios)))
                slower = sum(ratio > 1 for ratio in ratios)
                print(f"{mean:.3f} of {peer} (geometric mean), {slower} of {len(ratios)} slower: {name}")
    inside = statistics.fmean(math.log(r.inside / r.ours) for r in rows)
    print(f"{math.exp(inside):.3f} of our CPU is spent inside the engine (geometric mean)")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--peers", default="prometheus,victoria-metrics", help="by commas, or nothing")
    parser.add_argument("--jitter", action="store_true", help="irregular timestamps and values")
    parser.add_argument("--only", default="", help="only cases whose expression contains this")
    parser.add_argument("--steps", type=int, help="only cases of so many steps")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--every", type=int, default=1, help="only every so many cases")
    args = parser.parse_args()
    chosen = [c for c in cases() if args.only in c.expr and args.steps in (None, c.steps)][:: args.every]
    with tempfile.TemporaryDirectory(prefix="promql-bench-") as directory, ExitStack() as stack:
        data = Path(directory)
        database = DB.open(data, Options(retention_ms=0), RealClock())
        stack.callback(database.close)
        fill(database, args.jitter)
        servers = {}
        for name in ("wavetank", *filter(None, args.peers.split(","))):
            servers[name] = victoria_metrics() if name == "victoria-metrics" else ON_BLOCKS[name](data)
            stack.callback(servers[name].close)
            if name == "victoria-metrics":
                servers[name].load(vm_lines(args.jitter))
        summarise(measure(servers, database, chosen, args.rounds))


ON_BLOCKS = {"wavetank": wavetank, "prometheus": prometheus}

if __name__ == "__main__":
    main()
