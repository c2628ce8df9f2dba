"""Queries over an hour of a demo service's metrics: Debian's Prometheus and our server give the same answers.

The metrics have the names and shapes that the compliance tests of Prometheus are written for; the queries are
of the same kinds, with their variants laid out from tables. Samples lie between the steps, so that it makes
no difference whether a range is open on the left (3.x) or closed (2.x).
"""

from __future__ import annotations

import asyncio
import itertools
import math
import random
import shutil
import socket
import sys
from collections.abc import Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

pytestmark = [
    pytest.mark.peer,
    pytest.mark.slow,
    pytest.mark.skipif(
        shutil.which("prometheus") is None or shutil.which("promtool") is None,
        reason="prometheus is not installed",
    ),
]

BEGIN = 1_700_006_400  # a whole hour
STEP, HOUR = 15, 3600
QUERY_BEGIN, QUERY_END, QUERY_STEP = BEGIN + 2400, BEGIN + 3000, 10
INSTANCES = [f"demo.example.com:{port}" for port in (10000, 10001, 10002)]
BOUNDS = (0.001, 0.01, 0.1, 1.0, math.inf)


def demo() -> Iterator[str]:
    """An hour of the demo service as OpenMetrics text, a family at a time."""
    rng = random.Random(7)
    times = [BEGIN + k * STEP + 1.234 for k in range(HOUR // STEP)]

    def rows(name: str, labels: str, values: Iterator[float]) -> Iterator[str]:
        for at, value in zip(times, values, strict=False):
            if not math.isnan(value):
                yield f"{name}{{{labels}}} {value!r} {at:.3f}"

    def counter(rate: float, reset: int = 0) -> Iterator[float]:
        total = 0.0
        for k in itertools.count():
            total = 0.0 if reset and k % reset == reset - 1 else total + rng.random() * rate
            yield total

    yield "# TYPE demo_memory_usage_bytes gauge"
    for instance, kind in itertools.product(INSTANCES, ("buffers", "cached", "free", "used")):
        labels = f'instance="{instance}",job="demo",type="{kind}"'
        yield from rows("demo_memory_usage_bytes", labels, (rng.randrange(1 << 30) * 1.0 for _ in times))
    yield "# TYPE demo_num_cpus gauge"
    for instance in INSTANCES:
        yield from rows("demo_num_cpus", f'instance="{instance}",job="demo"', itertools.repeat(4.0))
    yield "# TYPE demo_disk_usage_bytes gauge"
    for instance in INSTANCES:
        grown = itertools.accumulate(rng.random() * 1e6 for _ in times)
        yield from rows("demo_disk_usage_bytes", f'instance="{instance}",job="demo"', grown)
    yield "# TYPE demo_intermittent_metric gauge"
    for instance in INSTANCES:
        gaps = (math.nan if k % 40 > 9 else float(k) for k in range(len(times)))
        yield from rows("demo_intermittent_metric", f'instance="{instance}",job="demo"', gaps)
    yield "# TYPE demo_cpu_usage_seconds counter"
    for instance, mode in itertools.product(INSTANCES, ("idle", "system", "user")):
        labels = f'instance="{instance}",job="demo",mode="{mode}"'
        yield from rows("demo_cpu_usage_seconds_total", labels, counter(30.0, 97))
    yield "# TYPE demo_api_request_duration_seconds histogram"
    for instance, status in itertools.product(INSTANCES, ("200", "500")):
        labels = f'instance="{instance}",job="demo",method="GET",path="/api/foo",status="{status}"'
        yield from histogram("demo_api_request_duration_seconds", labels, times, rng)
    yield "# EOF\n"


def histogram(name: str, labels: str, times: list[float], rng: random.Random) -> Iterator[str]:
    counts, total = [0] * len(BOUNDS), 0.0
    for at in times:
        for k in range(len(BOUNDS)):
            counts[k] += rng.randrange(9)
        total += rng.random()
        for bound, count in zip(BOUNDS, itertools.accumulate(counts), strict=True):
            le = "+Inf" if bound == math.inf else repr(bound)
            yield f'{name}_bucket{{{labels},le="{le}"}} {count} {at:.3f}'
        yield f"{name}_sum{{{labels}}} {total!r} {at:.3f}"
        yield f"{name}_count{{{labels}}} {sum(counts)} {at:.3f}"


MEMORY, CPU = "demo_memory_usage_bytes", "demo_cpu_usage_seconds_total"
GAPS, CPUS = "demo_intermittent_metric", "demo_num_cpus"
BUCKETS = "demo_api_request_duration_seconds_bucket"
AGGREGATES = ("sum", "avg", "max", "min", "count", "stddev", "stdvar", "group")
OVER_TIME = ("sum", "avg", "max", "min", "count", "stddev", "stdvar", "absent", "last", "present")
RANGES = ("1s", "15s", "1m", "5m", "15m", "1h")
MATH = ("abs", "ceil", "floor", "exp", "sqrt", "ln", "log2", "log10", "round", "sgn", "deg", "rad")
TRIGONOMETRY = (
    "sin",
    "cos",
    "tan",
    "asin",
    "acos",
    "atan",
    "sinh",
    "cosh",
    "tanh",
    "asinh",
    "acosh",
    "atanh",
)
TIMES = ("minute", "hour", "day_of_week", "day_of_month", "day_of_year", "days_in_month", "month", "year")


def queries() -> Iterator[str]:
    """Every variant of every kind."""
    yield from ("42", "1.234", "NaN", "Inf", "-1", "time()", "nonexistent_metric", "pi()", "1 + 2 * 3 ^ 2")
    yield from (
        MEMORY,
        f'{MEMORY}{{type="free"}}',
        f'{{__name__="{MEMORY}"}}',
        f'{{__name__=~"{CPU[:9]}.*"}}',
    )
    for sign, value in (("!=", "free"), ("=~", "f.*|used"), ("!~", ".*e"), ("!~", "")):
        yield f'{MEMORY}{{type{sign}"{value}",instance!="nothing"}}'
    yield from (f"{MEMORY} offset {offset}" for offset in ("1m", "5m", "10m", "-5m"))
    yield from (f"{MEMORY} @ {at}" for at in (QUERY_BEGIN + 3, "start()", "end()"))
    yield from (GAPS, f"{GAPS} offset 5m", f"absent({GAPS})", "absent(nonexistent_metric)", f"-{MEMORY}")
    for op in AGGREGATES:
        yield from (f"{op}({MEMORY})", f"{op}(nonexistent_metric)", f"{op} by() ({MEMORY})")
        yield from (
            f"{op} {how}({MEMORY})" for how in ("by(instance)", "by(instance, type)", "without(type)")
        )
    for op, k in itertools.product(("topk", "bottomk"), (1, 2, 5)):
        yield from (f"{op}({k}, {MEMORY})", f"{op} by(instance) ({k}, {MEMORY})")
    yield from (f"quantile({q}, {MEMORY})" for q in (-0.5, 0, 0.1, 0.5, 0.75, 1, 1.5))
    yield from (f"count_values('v', {CPUS})", f"count_values without(instance) ('v', {CPUS})")
    yield from (f"{n}_over_time({GAPS}[{r}])" for n, r in itertools.product(OVER_TIME, RANGES))
    yield from (
        f"quantile_over_time({q}, {MEMORY}[{r}])" for q, r in itertools.product((0.1, 0.5, 0.99), RANGES)
    )
    for name, r in itertools.product(("irate", "resets", "changes"), RANGES):
        yield f"{name}({CPU}[{r}])"
    # 3.x extrapolates ranges that begin before the series in another way
    for name, r in itertools.product(("rate", "increase"), RANGES[:-1]):
        yield f"{name}({CPU}[{r}])"
    for name, r in itertools.product(("delta", "idelta", "deriv"), RANGES):
        yield f"{name}(demo_disk_usage_bytes[{r}])"
    yield from (f"predict_linear(demo_disk_usage_bytes[{r}], 600)" for r in RANGES)
    yield from (
        f"{name}({expr})" for name in (*MATH, *TRIGONOMETRY) for expr in (f"{MEMORY} / 1e9", f"-{GAPS}", CPUS)
    )
    yield from (f"{name}()" for name in TIMES)
    yield from (f"{name}(timestamp({GAPS}))" for name in TIMES)
    yield from (f"clamp({MEMORY}, 1e6, 5e8)", f"clamp_min({MEMORY}, 1e8)", f"clamp_max({MEMORY}, 1e8)")
    yield from (f"round({MEMORY}, 1000)", f"timestamp({GAPS})", f"scalar(sum({CPUS}))", "vector(7)")
    yield from (f"sort({MEMORY})", f"sort_desc({MEMORY})", "vector(scalar(nonexistent_metric))")
    yield from (
        f"{MEMORY} {op} 1e8" for op in ("+", "-", "*", "/", "%", "^", "==", "!=", "<", ">", "<=", ">=")
    )
    yield from (f"1e8 {op} bool {MEMORY}" for op in ("==", "!=", "<", ">", "<=", ">="))
    yield from (f"1 {op} bool 2" for op in ("==", "!=", "<", ">", "<=", ">="))
    for op in ("+", "-", "*", "/", "%", "^", "==", "!=", "<", ">=", "and", "or", "unless"):
        yield f"{MEMORY} {op} {MEMORY} offset 1m"
        yield f"{GAPS} {op} on(instance, job) {CPUS}"
    for op in ("+", "/", ">", "== bool"):
        yield f"{MEMORY} {op} ignoring(type) group_left {CPUS}"
        yield f"{CPUS} {op} on(instance) group_right(job) {MEMORY}"
    yield f"sum by(instance) ({MEMORY}) / on(instance) group_left(type) {MEMORY}"
    for q in (-0.1, 0, 0.5, 0.9, 1, 1.1):
        yield f"histogram_quantile({q}, rate({BUCKETS}[1m]))"
        yield f"histogram_quantile({q}, sum by(le, status) (rate({BUCKETS}[5m])))"
    yield from (f"histogram_quantile(0.9, {MEMORY})", "histogram_quantile(0.9, nonexistent_metric)")
    yield f'label_replace({CPUS}, "port", "$1", "instance", ".*:(.*)")'
    yield f'label_replace({CPUS}, "job", "x-$1-$1", "job", "(d).*")'
    yield f'label_replace({CPUS}, "job", "", "job", ".*")'
    yield f'label_replace({CPUS}, "new", "v", "nothing", "")'
    yield f'label_join({MEMORY}, "joined", "-", "instance", "type")'
    yield f'label_join({MEMORY}, "type", "", "nothing")'
    # One millisecond less than full steps, for the open and the closed range to be the same
    yield from (
        f"max_over_time(rate({CPU}[1m])[{r}:{s}])" for r, s in (("4m59s999ms", "7s"), ("9m59s999ms", "1m"))
    )
    yield f"avg_over_time((sum by(mode) ({CPU}) > 100)[9m59s999ms:13s] offset 1m)"
    yield f"sum(rate({CPU}[5m])) by (mode) / ignoring(mode) group_left sum(rate({CPU}[5m]))"


@asynccontextmanager
async def server(*command: str) -> Any:
    with socket.socket() as made:
        made.bind(("127.0.0.1", 0))
        port = made.getsockname()[1]
    process = await asyncio.create_subprocess_exec(
        *command, f"--web.listen-address=127.0.0.1:{port}", stderr=asyncio.subprocess.DEVNULL
    )
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        await process.wait()


async def ready(session: aiohttp.ClientSession, url: str) -> bool:
    try:
        async with session.get(f"{url}/-/ready") as response:
            return response.status == 200
    except aiohttp.ClientError:
        return False


Series = dict[tuple[tuple[str, str], ...], list[tuple[float, float]]]


async def answer(session: aiohttp.ClientSession, url: str, query: str) -> Series | str:
    """Points by labels, or the kind of error."""
    params = {"query": query, "start": f"{QUERY_BEGIN}", "end": f"{QUERY_END}", "step": f"{QUERY_STEP}"}
    async with session.post(f"{url}/api/v1/query_range", data=params) as response:
        found = await response.json()
    if found["status"] != "success":
        return str(found["errorType"])
    return {
        tuple(sorted(each["metric"].items())): [(t, float(v)) for t, v in each["values"]]
        for each in found["data"]["result"]
    }


def same(a: Series | str, b: Series | str) -> bool:
    if isinstance(a, str) or isinstance(b, str):
        return a == b
    return a.keys() == b.keys() and all(
        len(a[labels]) == len(b[labels])
        and all(
            s == t and (math.isclose(x, y, rel_tol=1e-5, abs_tol=1e-9) or (math.isnan(x) and math.isnan(y)))
            for (s, x), (t, y) in zip(a[labels], b[labels], strict=True)
        )
        for labels in a
    )


async def test_the_demo_services_queries(tmp_path: Path) -> None:
    (tmp_path / "demo.om").write_text("\n".join(demo()))
    (tmp_path / "p.yml").write_text("")
    child = await asyncio.create_subprocess_exec(
        "promtool",
        "tsdb",
        "create-blocks-from",
        "openmetrics",
        f"{tmp_path}/demo.om",
        f"{tmp_path}/a",
        stdout=asyncio.subprocess.DEVNULL,
    )
    assert await child.wait() == 0
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    flags = (f"--config.file={tmp_path}/p.yml", "--storage.tsdb.retention.time=100y")
    ours = (sys.executable, "-m", "wavetank", "prometheus")
    async with (
        server("prometheus", *flags, f"--storage.tsdb.path={tmp_path}/a") as peer,
        server(*ours, *flags, f"--storage.tsdb.path={tmp_path}/b") as own,
        aiohttp.ClientSession() as session,
    ):
        async with asyncio.timeout(60):
            while not (await ready(session, peer) and await ready(session, own)):
                await asyncio.sleep(0.05)
        different, empty, asked = [], 0, list(queries())
        for query in asked:
            expected, found = await asyncio.gather(answer(session, peer, query), answer(session, own, query))
            empty += not expected
            if not same(expected, found):
                different.append(query)
        assert different == []
        assert len(asked) > 400
        assert empty < len(asked) // 4  # most of them say something
