"""Range queries of BenchmarkRangeQuery (prometheus/prometheus, promql/bench_test.go), in CPU time.

The data and the expressions are upstream's: 1443 series, 18640 samples each at 10 s, queries over the last
1, 1000 or 10000 steps. The data is written as blocks by our database. Ours is measured in-process: parse,
select and decode chunks, evaluate, write JSON; only HTTP itself is left out. With ``--peer`` Debian's
``prometheus`` opens a copy of the same blocks and answers the same queries over HTTP; its figure is the CPU
time of its process. ``--vm`` pushes the same samples to Debian's ``victoria-metrics`` and asks it, too (its
answers differ on purpose: it is no judge of ours). ``--jitter`` moves timestamps and values about, so that
nothing compresses or repeats.

    python bench/promql_range.py [--peer] [--vm] [--jitter] [--only TEXT] [--every N] [--rounds N]
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from promql_peer import Peer
from promql_vm import VictoriaMetrics

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


@dataclass(frozen=True)
class Case:
    expr: str
    steps: int
    peer: str | None = ""  # another spelling for the peer; None where it has no such thing


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


def ours(storage: Queryable, case: Case, rounds: int) -> tuple[float, int]:
    """Median CPU milliseconds of one query, and the bytes of its answer."""
    engine = Engine(EngineOptions(parser=EXPERIMENTAL))
    end = INTERVALS * INTERVAL_MS
    start = end - case.steps * INTERVAL_MS
    times = []
    size = 0
    for i in range(rounds + 1):
        before = cpu_seconds()
        size = len(encode_result(engine.query_range(storage, case.expr, start, end, INTERVAL_MS)))
        if i:  # the first one compiles
            times.append((cpu_seconds() - before) * 1e3)
    return statistics.median(times), size


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--peer", action="store_true", help="measure Debian's prometheus as well")
    parser.add_argument("--vm", action="store_true", help="measure Debian's victoria-metrics as well")
    parser.add_argument("--jitter", action="store_true", help="irregular timestamps and values")
    parser.add_argument("--only", default="", help="only cases whose expression contains this")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--every", type=int, default=1, help="only every so many cases")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="promql-bench-") as directory:
        database = DB.open(Path(directory), Options(retention_ms=0), RealClock())
        fill(database, args.jitter)
        peer = Peer(Path(directory)) if args.peer else None
        second = VictoriaMetrics() if args.vm else None
        try:
            if second is not None:
                second.load(vm_lines(args.jitter))
            chosen = [case for case in cases() if args.only in case.expr][:: args.every]
            measure(database, peer, second, chosen, args.rounds)
        finally:
            database.close()
            for each in (peer, second):
                if each is not None:
                    each.close()


def measure(
    storage: Queryable, peer: Peer | None, second: VictoriaMetrics | None, chosen: list[Case], rounds: int
) -> None:
    end = INTERVALS * INTERVAL_MS
    ratios: list[tuple[Case, float]] = []
    against_second: list[float] = []
    print(f"{'Prometheus':>13} {'ratio':>7} {'ours':>13} {'answer':>11}")
    for case in chosen:
        mine, size = ours(storage, case, rounds)
        line = f"{mine:10.2f} ms {size:>9} B  {case.steps:>5} steps  {case.expr}"
        theirs = math.nan
        if peer is not None and case.peer is not None:
            start = end - case.steps * INTERVAL_MS
            theirs = peer.query_ms(case.peer or case.expr, start, end, INTERVAL_MS, rounds)
        if second is not None and case.peer is not None:
            start = end - case.steps * INTERVAL_MS
            other = second.query_ms(case.peer or case.expr, start, end, INTERVAL_MS, rounds)
            if not math.isnan(other):
                against_second.append(mine / other)
                line = f"{line}   (VictoriaMetrics {other:.2f} ms)"
        if math.isnan(theirs):
            line = f"{'':21} {line}"
        else:
            ratios.append((case, mine / theirs))
            line = f"{theirs:10.2f} ms {mine / theirs:7.3f} {line}"
        print(line, flush=True)
    print()
    groups = {
        "a hundred series and more, 100 steps and more": lambda c: "hundred" in c.expr and c.steps >= 100,
        "one series, 100 steps and more": lambda c: "hundred" not in c.expr and c.steps >= 100,
        "a single step": lambda c: c.steps == 1,
        "all": lambda c: True,
    }
    for name, belongs in groups.items():
        some = [r for c, r in ratios if belongs(c)]
        if some:
            mean = math.exp(statistics.fmean(map(math.log, some)))
            slower = sum(r > 1 for r in some)
            print(f"geometric mean {mean:.3f} of Prometheus' CPU, slower in {slower} of {len(some)}: {name}")
    if against_second:
        mean = math.exp(statistics.fmean(map(math.log, against_second)))
        print(f"geometric mean {mean:.3f} of VictoriaMetrics' CPU over {len(against_second)} cases")


if __name__ == "__main__":
    main()
