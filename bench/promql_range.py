"""Range queries of BenchmarkRangeQuery (prometheus/prometheus, promql/bench_test.go), in CPU time.

The data and the expressions are upstream's: 1443 series, 18640 samples each at 10 s, queries over the last
1, 1000 or 10000 steps. Ours is measured in-process: select from columns in memory, evaluate, write JSON; so
it leaves out HTTP and the decoding of chunks, which the peer's figure has. With ``--peer`` the same data goes
into Debian's ``prometheus`` and the same queries over its HTTP API; the peer's figure is the CPU time of its
process. ``--jitter`` moves timestamps and values about, so that nothing compresses or repeats.

    python bench/promql_range.py [--peer] [--jitter] [--only TEXT] [--rounds N]
"""

from __future__ import annotations

import argparse
import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from wavetank.clock import cpu_seconds
from wavetank.model.labels import METRIC_NAME, Labels, Matcher, MatchType
from wavetank.promql.context import EngineOptions
from wavetank.promql.engine import Engine
from wavetank.promql.options import EXPERIMENTAL
from wavetank.promql.result_json import encode_result
from wavetank.promql.storage import SelectHints, SeriesBatch

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


class ColumnStorage:
    """The benchmark's series as rows of two matrices, and the sparse ones beside."""

    def __init__(self, jitter: bool) -> None:
        self.labels = all_labels()
        count = len(self.labels)
        s = np.arange(INTERVALS, dtype=np.int64)
        self.times = np.broadcast_to(s * INTERVAL_MS, (count, INTERVALS))
        self.values = s + np.arange(count)[:, np.newaxis] / count
        if jitter:
            random = np.random.default_rng(7)
            self.times = self.times + random.integers(0, 3000, self.times.shape)
            self.values = np.cumsum(random.exponential(1.0, self.values.shape), axis=1)
        self.rows: dict[str, list[int]] = {}
        for i, label in enumerate(self.labels):
            self.rows.setdefault(label.name, []).append(i)
        self.sparse = [Labels.of(__name__="sparse", l=str(i)) for i in range(51)]

    def select(
        self,
        matchers: Sequence[Matcher],
        mint_ms: int,
        maxt_ms: int,
        hints: SelectHints | None = None,
    ) -> SeriesBatch:
        named = [m.value for m in matchers if m.name == METRIC_NAME and m.type is MatchType.EQUAL]
        rest = [m for m in matchers if m.name != METRIC_NAME or m.type is not MatchType.EQUAL]
        rows = list(self.rows.get(named[0], [])) if named else list(range(len(self.labels)))
        if rest:
            rows = [i for i in rows if all(m.matches(self.labels[i].get(m.name)) for m in rest)]
        first = max(0, mint_ms // INTERVAL_MS)
        last = min(INTERVALS, maxt_ms // INTERVAL_MS + 1)
        times, values = self.times[rows, first:last], self.values[rows, first:last]
        labels = [self.labels[i] for i in rows]
        offsets = np.arange(len(rows) + 1, dtype=np.int64) * max(0, last - first)
        batch = SeriesBatch(labels, offsets, times.reshape(-1), values.reshape(-1))
        return batch if rows else self._sparse(matchers, first, last)

    def _sparse(self, matchers: Sequence[Matcher], first: int, last: int) -> SeriesBatch:
        """One sample a step, each series for a fiftieth of the time."""
        width = INTERVALS // 50
        labels, times, values, offsets = [], [], [], [0]
        for i, label in enumerate(self.sparse):
            a, b = max(first, i * width), min(last, (i + 1) * width, INTERVALS)
            if a < b and all(m.matches(label.get(m.name)) for m in matchers):
                s = np.arange(a, b, dtype=np.int64)
                labels.append(label)
                times.append(s * INTERVAL_MS)
                values.append(s / SERIES)
                offsets.append(offsets[-1] + b - a)
        if not labels:
            return SeriesBatch([], np.zeros(1, np.int64), np.zeros(0, np.int64), np.zeros(0))
        return SeriesBatch(
            labels, np.array(offsets), np.concatenate(times), np.concatenate(values).astype(np.float64)
        )

    def series(self, matchers: Sequence[Matcher], mint_ms: int, maxt_ms: int) -> Sequence[Labels]:
        return self.select(matchers, mint_ms, maxt_ms).labels

    def label_names(self, matchers: Sequence[Matcher], mint_ms: int, maxt_ms: int) -> Sequence[str]:
        return sorted({n for lb in self.series(matchers, mint_ms, maxt_ms) for n, _ in lb})

    def label_values(
        self, name: str, matchers: Sequence[Matcher], mint_ms: int, maxt_ms: int
    ) -> Sequence[str]:
        return sorted({lb.get(name) for lb in self.series(matchers, mint_ms, maxt_ms)})


def ours(storage: ColumnStorage, case: Case, rounds: int) -> tuple[float, int]:
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
    parser.add_argument("--jitter", action="store_true", help="irregular timestamps and values")
    parser.add_argument("--only", default="", help="only cases whose expression contains this")
    parser.add_argument("--rounds", type=int, default=7)
    args = parser.parse_args()
    storage = ColumnStorage(args.jitter)
    peer = None
    if args.peer:
        from promql_peer import Peer

        peer = Peer(storage, INTERVAL_MS, INTERVALS)
    ratios = []
    try:
        for case in [c for c in cases() if args.only in c.expr]:
            mine, size = ours(storage, case, args.rounds)
            line = f"{mine:10.2f} ms {size:>9} B  {case.steps:>5} steps  {case.expr}"
            if peer is not None and case.peer is not None:
                theirs = peer.cpu_ms(case.peer or case.expr, case.steps, args.rounds)
                if theirs > 0:
                    ratios.append(mine / theirs)
                    line = f"{theirs:10.2f} ms {mine / theirs:7.3f} {line}"
            elif peer is not None:
                line = f"{'':21}{line}"
            print(line, flush=True)
    finally:
        if peer is not None:
            peer.close()
    if ratios:
        mean = math.exp(statistics.fmean(map(math.log, ratios)))
        slower = sum(r > 1 for r in ratios)
        print(f"\ngeometric mean of {len(ratios)} cases: {mean:.3f} of Prometheus' CPU; slower in {slower}")


if __name__ == "__main__":
    main()
