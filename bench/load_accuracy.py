"""How well arrivals keep their schedule, what a request costs, and who sees a stall of the server.

Three questions, each against the server below in a process of its own:

1. offered and delivered arrivals, lateness of starts, CPU per request, by client class and rate;
2. a stall: all answers held back for one second of nine; the true p95 follows from the schedule;
   beside ours stands plain Locust with ``constant_throughput`` at the same rate;
3. two runs with one seed have the same arrivals.

    python bench/load_accuracy.py [--repeats 3] [--quick]
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import statistics
import sys
import tempfile
from pathlib import Path

from wavetank.clock import RealClock
from wavetank.load.generator import LoadGenerator, LoadOptions
from wavetank.load.results import Snapshot
from wavetank.load.stages import RateStage, Stage, rate_stage
from wavetank.load.target import LoadTarget

SERVER = """
import asyncio, sys
delay, stall_at, stall = map(float, sys.argv[1:4])
first = None

async def serve(reader, writer):
    global first
    loop = asyncio.get_running_loop()
    try:
        while True:
            head = await reader.readuntil(b"\\r\\n\\r\\n")
            now = loop.time()
            if first is None:
                first = now
            wait = delay
            if stall and first + stall_at <= now < first + stall_at + stall:
                wait += first + stall_at + stall - now
            if wait:
                await asyncio.sleep(wait)
            writer.write(b"HTTP/1.1 200 OK\\r\\nContent-Length: 2\\r\\n\\r\\nok")
    except (asyncio.IncompleteReadError, ConnectionError):
        writer.close()

async def main():
    server = await asyncio.start_server(serve, "127.0.0.1", 0, backlog=4096)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()

try:
    import uvloop
    uvloop.run(main())
except KeyboardInterrupt:
    pass
"""

USERS = """
from locust import FastHttpUser, HttpUser, constant_throughput, task

class Visitor({base}):
    {wait}

    @task
    def look(self):
        self.client.get("/look")
"""


@contextlib.asynccontextmanager
async def server(delay: float = 0.0, stall_at: float = 0.0, stall: float = 0.0):
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", SERVER, str(delay), str(stall_at), str(stall), stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    port = int(await process.stdout.readline())
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        await process.wait()


async def measure(
    directory: Path, base: str, stages: list[Stage], url: str, seed: int = 1, processes: int = 1
) -> Snapshot:
    locustfile = directory / "locustfile.py"
    locustfile.write_text(USERS.format(base=base, wait="pass"))
    options = LoadOptions((locustfile,), directory, LoadTarget(url), processes=processes)
    load = LoadGenerator(RealClock(seed), None, options)
    try:
        await load.start()
        await load.run_stages(stages)
    finally:
        await load.stop()
    return load.snapshot()


def row(*cells: object) -> None:
    print("  ".join(f"{cell:>12}" if i else f"{cell:<24}" for i, cell in enumerate(cells)))


def ms(seconds: float) -> str:
    return f"{seconds * 1000:.2f}"


async def accuracy(directory: Path, repeats: int, seconds: float) -> None:
    print(f"\n1. arrivals over {seconds:g} s, median of {repeats}: lateness in ms, CPU in us per request")
    row(
        "client, arrivals",
        "offered/s",
        "delivered/s",
        "dropped",
        "late p50",
        "late p99",
        "CPU us",
        "runq share",
    )
    cases = [
        (base, rate, kind, processes)
        for base, rates in (("FastHttpUser", (50, 200, 500)), ("HttpUser", (50, 200)))
        for rate in rates
        for kind, processes in (("constant", 1), ("poisson", 1))
    ]
    cases.append(("FastHttpUser", 200, "poisson", 2))
    for base, rate, kind, processes in cases:
        found = []
        for repeat in range(repeats):
            stage = rate_stage(seconds, rate, arrivals="poisson" if kind == "poisson" else "constant")
            async with server(delay=0.002) as url:
                found.append(await measure(directory, base, [stage], url, repeat, processes))
        middle = statistics.median
        shown = f"{base} {kind}" + (f" x{processes}" if processes > 1 else "")
        row(
            shown,
            f"{middle(s.scheduled for s in found) / seconds:.1f}",
            f"{middle(s.requests for s in found) / seconds:.1f}",
            f"{middle(s.dropped for s in found):g}",
            ms(middle(s.lateness.percentile(50) for s in found)),
            ms(middle(s.lateness.percentile(99) for s in found)),
            f"{middle(s.cpu_seconds / max(1, s.requests) for s in found) * 1e6:.0f}",
            f"{middle(s.runq_seconds for s in found) / seconds:.1%}",
        )


async def stall(directory: Path, repeats: int) -> None:
    rate, seconds, delay = 400, 9.0, 0.010
    truth = 1.0 + delay - 0.05 * seconds
    print(
        f"\n2. a 1 s stall in {seconds:g} s at {rate}/s: p95 in ms; the schedule's own is {truth * 1000:.0f}"
    )
    row("how", "arrivals", "p95", "of truth")
    ours: list[Snapshot] = []
    peer: list[tuple[int, float]] = []
    for repeat in range(repeats):
        async with server(delay, 4.0, 1.0) as url:
            ours.append(await measure(directory, "FastHttpUser", [rate_stage(seconds, rate)], url, repeat))
        async with server(delay, 4.0, 1.0) as url:
            peer.append(await plain_locust(directory, url, rate, seconds))
    for name, histogram in (("from intended start", "response"), ("from sending", "service")):
        p95 = statistics.median(getattr(s, histogram).percentile(95) for s in ours)
        row(name, statistics.median(s.requests for s in ours), f"{p95 * 1000:.0f}", f"{p95 / truth:.2f}")
    p95 = statistics.median(value for _, value in peer)
    row(
        "plain Locust, 50 users",
        statistics.median(n for n, _ in peer),
        f"{p95 * 1000:.0f}",
        f"{p95 / truth:.2f}",
    )
    print(f"offered: {rate * seconds:.0f} arrivals; dropped by ours: {sum(s.dropped for s in ours)}")


async def plain_locust(directory: Path, url: str, rate: int, seconds: float) -> tuple[int, float]:
    """Requests and p95 as Locust reports them: 50 users paced to the same rate together."""
    users = 50
    locustfile = directory / "paced.py"
    wait = f"wait_time = constant_throughput({rate / users})"
    locustfile.write_text(USERS.format(base="FastHttpUser", wait=wait))
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "locust", "-f", str(locustfile), "-H", url, "--headless", "--json"),
        *("-u", str(users), "-r", "100", "-t", f"{seconds:.0f}s", "--loglevel", "ERROR"),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    out, _ = await process.communicate()
    [entry] = json.loads(out)
    counts = sorted((float(value), count) for value, count in entry["response_times"].items())
    rank, seen = 0.95 * sum(count for _, count in counts), 0
    for value, count in counts:
        seen += count
        if seen >= rank:
            return entry["num_requests"], value / 1000
    raise AssertionError("no requests")


async def repeatability(directory: Path) -> None:
    stage: RateStage = rate_stage(2, 100, arrivals="poisson")
    counts = []
    for _ in range(2):
        async with server() as url:
            counts.append((await measure(directory, "FastHttpUser", [stage], url, seed=7)).scheduled)
    print(f"\n3. arrivals of two runs with seed 7: {counts[0]} and {counts[1]}")


async def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--quick", action="store_true", help="one short repeat of each")
    options = parser.parse_args()
    repeats = 1 if options.quick else options.repeats
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        await accuracy(directory, repeats, 3.0 if options.quick else 10.0)
        await stall(directory, repeats)
        await repeatability(directory)


if __name__ == "__main__":
    asyncio.run(main())
