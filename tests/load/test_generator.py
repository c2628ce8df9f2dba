"""Real Locust in its process against a real server: what runs, what is measured, what is said."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from load_target_server import Server

from wavetank.errors import InputError, InternalError
from wavetank.load.generator import LoadGenerator
from wavetank.load.stages import UserStage, rate_stage
from wavetank.load.target import LoadTarget

Write = Callable[..., Path]
Make = Callable[..., LoadGenerator]

FAST = """
    from locust import FastHttpUser, task

    class Shopper(FastHttpUser):
        @task
        def look(self):
            self.client.get("/look")
"""

STUCK = """
    from locust import User, task

    class Stuck(User):
        @task
        def spin(self):
            while True:
                pass
"""

BOTH = """
    from locust import FastHttpUser, HttpUser, task, between

    class Fast(FastHttpUser):
        wait_time = between(0.01, 0.02)

        @task
        def relative(self):
            self.client.get("/fast")

        @task
        def absolute(self):
            self.client.get("http://shop.example.com/fast-absolute")

        @task
        def redirected(self):
            self.client.get("/redirect-fast")

    class Slow(HttpUser):
        wait_time = between(0.01, 0.02)

        @task
        def relative(self):
            self.client.get("/slow")

        @task
        def absolute(self):
            self.client.get("http://SHOP.example.com/slow-absolute")

        @task
        def redirected(self):
            self.client.get("/redirect-slow")
"""


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().split(")")[1].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.slow
async def test_arrivals_come_at_the_rate_and_are_all_accounted_for(
    server: Server, locustfile: Write, generator: Make
) -> None:
    load = generator(locustfile(FAST), LoadTarget(server.url))
    rows: list[Any] = []
    load.listeners.append(rows.append)
    await load.start()
    await load.run_stages([rate_stage(1.5, 40), rate_stage(1, 20, 120, "poisson")])
    await load.stop()
    totals = load.snapshot()
    constant = 60
    assert totals.scheduled == totals.started + totals.dropped
    assert totals.started == totals.finished == totals.requests == len(server.seen)
    assert constant + 35 < totals.scheduled < constant + 110
    assert (totals.failures, totals.dropped) == (0, 0)
    assert sum(row.requests for row in load.seconds) == totals.requests
    assert [row.second for row in rows] == [row.second for row in load.seconds]
    assert totals.entries["GET", "/look", "200"].requests == totals.requests


@pytest.mark.slow
async def test_stages_begin_at_exact_instants_and_are_journalled(
    server: Server, locustfile: Write, generator: Make
) -> None:
    load = generator(locustfile(FAST), LoadTarget(server.url))
    await load.start()
    await load.run_stages([rate_stage(0.8, 50), rate_stage(0.6, 5), UserStage(0.5, 2)])
    await load.stop("over")
    records = load._journal.records  # type: ignore[union-attr]
    kinds = [r["kind"] for r in records if r["kind"].startswith("load.")]
    assert kinds == ["load.start", "load.stage", "load.stage", "load.stage", "load.stop"]
    stages = [r for r in records if r["kind"] == "load.stage"]
    assert [s["arrivals"] for s in stages] == ["constant", "constant", "closed"]
    assert stages[1]["at"] - stages[0]["at"] == pytest.approx(0.8, abs=0.1)
    assert stages[2]["at"] - stages[1]["at"] == pytest.approx(0.6, abs=0.1)
    assert records[-1]["reason"] == "over" or records[-2]["reason"] == "over"


@pytest.mark.slow
async def test_the_virtual_host_is_asked_for_at_the_gateways_address(
    server: Server, locustfile: Write, generator: Make
) -> None:
    load = generator(locustfile(BOTH), LoadTarget(server.url, host="shop.example.com"))
    await load.start()
    await load.run_stages([UserStage(1.5, 4)])
    await load.stop()
    paths = Counter(path for _, path, _ in server.seen)
    assert {host.lower() for _, _, host in server.seen} == {"shop.example.com"}
    for path in ("/fast", "/fast-absolute", "/slow", "/slow-absolute", "/landed"):
        assert paths[path] > 0, paths
    assert load.snapshot().failures == 0, load.snapshot().errors


@pytest.mark.slow
async def test_other_ports_of_the_virtual_host_are_refused_not_reached(
    server: Server, locustfile: Write, generator: Make
) -> None:
    load = generator(
        locustfile("""
            from locust import FastHttpUser, task

            class Shopper(FastHttpUser):
                @task
                def secure(self):
                    self.client.get("https://shop.example.com/")
                    self.environment.runner.quit()
        """),
        LoadTarget(server.url, host="shop.example.com"),
    )
    await load.start()
    await load.run_stages([UserStage(5, 1)])
    await load.stop()
    [(_, _, error)] = load.snapshot().errors
    assert "shop.example.com:443 is not rehearsed, only port" in error
    assert server.seen == []


@pytest.mark.slow
async def test_failures_statuses_and_exceptions_are_told_apart(
    server: Server, locustfile: Write, generator: Make
) -> None:
    load = generator(
        locustfile("""
            from locust import HttpUser, task, constant

            class Shopper(HttpUser):
                wait_time = constant(0.01)

                @task
                def broken(self):
                    self.client.get("/broken?id=1", name="/broken")

                @task
                def disliked(self):
                    with self.client.get("/fine", catch_response=True) as response:
                        response.failure("not to my taste")

                @task
                def raises(self):
                    raise ValueError("oops")
        """),
        LoadTarget(server.url),
    )
    await load.start()
    await load.run_stages([UserStage(1, 2)])
    await load.stop()
    totals = load.snapshot()
    assert (
        totals.entries["GET", "/broken", "500"].failures
        == totals.entries["GET", "/broken", "500"].requests
        > 0
    )
    assert totals.entries["GET", "/fine", "200"].failures > 0
    assert totals.task_exceptions > 0
    assert any("not to my taste" in error for _, _, error in totals.errors)


@pytest.mark.slow
async def test_a_stall_of_the_server_is_seen_by_every_arrival_it_delayed(
    server: Server, locustfile: Write, generator: Make
) -> None:
    """Freedom from coordinated omission: 1 s of stall in 3 s at 100/s delays a third of the arrivals."""
    server.delay = 0.005
    load = generator(locustfile(FAST), LoadTarget(server.url), users_max=300)
    await load.start()
    running = asyncio.ensure_future(load.run_stages([rate_stage(3, 100)]))
    await asyncio.sleep(1.5)
    server.gate.clear()
    await asyncio.sleep(1.0)
    server.gate.set()
    await running
    await load.stop()
    totals = load.snapshot()
    assert (totals.scheduled, totals.started, totals.dropped) == (300, 300, 0)
    # Those due in the first 0.9 s of the stall waited over 0.1 s; a busy machine only adds to them. A generator
    # that waits with the server would have counted its few connections, once each.
    assert totals.requests - totals.response.count_up_to(0.1) >= 85
    assert totals.response.percentile(85) >= 0.4


@pytest.mark.slow
async def test_a_few_users_do_not_hide_a_stall_they_are_late(
    server: Server, locustfile: Write, generator: Make
) -> None:
    """With one user the arrivals queue for it or are dropped; what is served counts from when it was due."""
    server.delay = 0.05
    load = generator(locustfile(FAST), LoadTarget(server.url), users_max=1)
    await load.start()
    await load.run_stages([rate_stage(1, 40)])
    await load.stop()
    totals = load.snapshot()
    assert totals.scheduled == 40
    assert totals.started + totals.dropped == 40
    assert totals.dropped >= 15
    assert any("dropped" in w for w in totals.warnings) or totals.dropped


@pytest.mark.slow
async def test_users_grow_until_the_rate_can_be_met(
    server: Server, locustfile: Write, generator: Make
) -> None:
    server.delay = 0.4
    load = generator(locustfile(FAST), LoadTarget(server.url))
    await load.start()
    await load.run_stages([rate_stage(2, 100)])
    users = load.snapshot().users
    await load.stop()
    assert 40 <= users <= 120  # Little: 100/s times 0.4 s
    assert load.snapshot().dropped == 0


@pytest.mark.slow
async def test_nested_and_interrupting_task_sets_keep_the_rate(
    server: Server, locustfile: Write, generator: Make
) -> None:
    load = generator(
        locustfile("""
            from locust import FastHttpUser, SequentialTaskSet, TaskSet, constant, task

            class Inner(SequentialTaskSet):
                wait_time = constant(30)

                @task
                def first(self):
                    self.client.get("/first")

                @task
                def second(self):
                    self.client.get("/second")

                @task
                def leave(self):
                    self.interrupt()

            class Shopper(FastHttpUser):
                wait_time = constant(60)
                tasks = [Inner]
        """),
        LoadTarget(server.url),
    )
    await load.start()
    await load.run_stages([rate_stage(1.5, 40)])
    await load.stop()
    totals = load.snapshot()
    assert totals.scheduled == totals.requests + totals.dropped == 60
    paths = Counter(path for _, path, _ in server.seen)
    assert abs(paths["/first"] - paths["/second"]) <= totals.users + 20


@pytest.mark.slow
async def test_waits_inside_a_task_are_the_tasks_own(
    server: Server, locustfile: Write, generator: Make
) -> None:
    load = generator(
        locustfile("""
            from locust import FastHttpUser, constant, task

            class Shopper(FastHttpUser):
                wait_time = constant(0.1)

                @task
                def look(self):
                    self.client.get("/before")
                    self.wait()
                    self.client.get("/after")
        """),
        LoadTarget(server.url),
    )
    await load.start()
    await load.run_stages([rate_stage(1, 20)])
    await load.stop()
    totals = load.snapshot()
    assert totals.scheduled == totals.started == 20
    assert 38 <= totals.requests <= 40  # as in Locust, a user inside self.wait() may be stopped there


@pytest.mark.slow
async def test_a_closed_stage_after_an_open_one_lets_the_users_go(
    server: Server, locustfile: Write, generator: Make
) -> None:
    server.delay = 0.02
    load = generator(locustfile(FAST), LoadTarget(server.url))
    await load.start()
    await load.run_stages([rate_stage(1, 50), UserStage(1.2, 3)])
    snapshot = load.snapshot()
    await load.stop()
    assert snapshot.users == 3
    assert load.snapshot().failures == 0


@pytest.mark.slow
async def test_no_request_is_lost_when_waiting_users_are_stopped(
    server: Server, locustfile: Write, generator: Make
) -> None:
    load = generator(
        locustfile("""
            from locust import FastHttpUser, between, task

            class Shopper(FastHttpUser):
                wait_time = between(0, 0.2)

                @task
                def look(self):
                    self.client.get("/look")
        """),
        LoadTarget(server.url),
    )
    await load.start()
    await load.run_stages([UserStage(1.5, 60)])
    await load.stop()
    totals = load.snapshot()
    assert totals.interrupted == 0
    assert totals.started == totals.requests == len(server.seen)


@pytest.mark.slow
async def test_users_ramp(server: Server, locustfile: Write, generator: Make) -> None:
    server.delay = 0.05
    load = generator(locustfile(FAST), LoadTarget(server.url))
    await load.start()
    await load.run_stages([UserStage(2, 1, 20)])
    await load.stop()
    early = min(seen[0] for seen in server.seen) + 0.5
    assert sum(at < early for at, _, _ in server.seen) < len(server.seen) / 6


@pytest.mark.slow
async def test_workers_share_one_schedule(server: Server, locustfile: Write, generator: Make) -> None:
    load = generator(locustfile(FAST), LoadTarget(server.url), processes=2)
    await load.start()
    await load.run_stages([rate_stage(2, 60)])
    await load.stop()
    totals = load.snapshot()
    assert totals.started + totals.dropped == totals.scheduled == 120
    assert totals.started == totals.requests == len(server.seen) > 0
    assert totals.workers == 2


@pytest.mark.slow
async def test_the_same_seed_makes_the_same_arrivals(
    server: Server, locustfile: Write, generator: Make
) -> None:
    counts = []
    for seed in (5, 5):
        load = generator(locustfile(FAST), LoadTarget(server.url), seed=seed)
        await load.start()
        await load.run_stages([rate_stage(0.7, 60, arrivals="poisson")])
        await load.stop()
        counts.append(load.snapshot().scheduled)
    assert counts[0] == counts[1]


@pytest.mark.slow
async def test_the_locustfiles_own_shape_runs(server: Server, locustfile: Write, generator: Make) -> None:
    load = generator(
        locustfile("""
            from locust import FastHttpUser, LoadTestShape, constant, task

            class Shopper(FastHttpUser):
                wait_time = constant(0.05)

                @task
                def look(self):
                    self.client.get("/look")

            class Step(LoadTestShape):
                def tick(self):
                    return (3, 10) if self.get_run_time() < 1 else None
        """),
        LoadTarget(server.url),
    )
    assert (await load.check()).shape == "Step"
    await load.start()
    await load.run_shape()
    await load.stop()
    assert load.snapshot().requests > 10


@pytest.mark.slow
async def test_functions_in_pytest_style_are_users(
    server: Server, locustfile: Write, generator: Make
) -> None:
    load = generator(
        locustfile("""
            def test_look(fastsession):
                fastsession.get("/look")
        """),
        LoadTarget(server.url),
    )
    assert [c.name for c in (await load.check()).classes] == ["test_look"]
    await load.start()
    await load.run_stages([rate_stage(1, 20)])
    await load.stop()
    assert load.snapshot().requests == 20


@pytest.mark.slow
async def test_locusts_web_ui_is_served_on_loopback_when_asked_for(
    server: Server, locustfile: Write, generator: Make
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    load = generator(locustfile(FAST), LoadTarget(server.url), web_port=port)
    await load.start()
    await load.run_stages([rate_stage(1, 20)])
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET /stats/requests HTTP/1.0\r\n\r\n")
    answer = await reader.read()
    writer.close()
    await writer.wait_closed()
    await load.stop()
    shown = json.loads(answer.partition(b"\r\n\r\n")[2])
    assert {entry["name"]: entry["num_requests"] for entry in shown["stats"]} == {
        "/look": 20,
        "Aggregated": 20,
    }


BAD = [
    (
        "import nowhere_to_be_found\n",
        "locustfile.py:1: importing the locustfile raised ModuleNotFoundError",
        "install",
    ),
    ("x = 1\n\ny = x / 0\n", "locustfile.py:3: importing the locustfile raised ZeroDivisionError", ""),
    ("def f(:\n", "locustfile.py:1: importing the locustfile raised SyntaxError", ""),
    ("import sys\nsys.exit(4)\n", "locustfile.py:2: importing the locustfile raised SystemExit: 4", ""),
    ("import locust\n", "locustfile.py: the locustfile defines no user class", "locust.HttpUser"),
    (
        "from locust import HttpUser\nclass A(HttpUser):\n    pass\n",
        "locustfile.py: user class A has no tasks",
        "@task",
    ),
    (
        "from locust import HttpUser, task\nclass A(HttpUser):\n    weight = 0\n    @task\n    def f(self): ...\n",
        "locustfile.py: There are no users with weight > 0",
        "",
    ),
]


@pytest.mark.parametrize(("text", "message", "fix"), BAD)
@pytest.mark.slow
async def test_bad_locustfiles_are_named_before_anything_starts(
    text: str, message: str, fix: str, locustfile: Write, generator: Make
) -> None:
    load = generator(locustfile(text), LoadTarget("http://127.0.0.1:1"))
    with pytest.raises(InputError) as caught:
        await load.check()
    assert message in str(caught.value) and fix in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not any(alive(pid) for pid in load.pids)


async def test_an_error_in_an_imported_module_of_the_user_names_that_module(
    locustfile: Write, generator: Make
) -> None:
    locustfile("\nraise RuntimeError('no data')\n", name="shop_data.py")
    load = generator(locustfile("import shop_data\n"))
    with pytest.raises(InputError, match=r"shop_data.py:2: .*RuntimeError: no data"):
        await load.check()


@pytest.mark.slow
async def test_unusable_targets_are_refused_with_the_reason(
    locustfile: Write, generator: Make, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match="no such locustfile"):
        await generator(tmp_path / "absent.py").check()
    with pytest.raises(InputError, match=r"load target http://127.0.0.1:1 is unreachable: .*refused"):
        await generator(locustfile(FAST), LoadTarget("http://127.0.0.1:1")).start()
    with pytest.raises(InputError, match="'shop' is not a URL"):
        await generator(locustfile(FAST), LoadTarget("shop")).start()
    with pytest.raises(InputError, match="user class Shopper has no host"):
        await generator(locustfile(FAST)).start()
    with pytest.raises(InputError, match="no user class is named 'Shoper'; did you mean 'Shopper'"):
        await generator(locustfile(FAST), user_classes=("Shoper",)).check()
    with pytest.raises(InputError, match="Locust does not accept --nonsense"):
        await generator(locustfile(FAST), locust_arguments=("--nonsense",)).check()


@pytest.mark.slow
async def test_a_killed_locust_is_reported_and_ends_the_stages(
    server: Server, locustfile: Write, generator: Make
) -> None:
    load = generator(locustfile(FAST), LoadTarget(server.url))
    await load.start()
    running = asyncio.ensure_future(load.run_stages([UserStage(30, 2)]))
    await asyncio.sleep(0.6)
    os.kill(load.pids[0], signal.SIGKILL)
    with pytest.raises(InternalError, match="ended with -9 in the middle of the load"):
        await running


@pytest.mark.slow
async def test_a_task_that_never_yields_is_killed_without_much_waiting(
    server: Server, locustfile: Write, generator: Make
) -> None:
    load = generator(locustfile(STUCK), LoadTarget(server.url))
    await load.start()
    await load.run_stages([UserStage(4, 1)])
    [pid] = load.pids
    began = asyncio.get_running_loop().time()
    await load.stop()
    assert not alive(pid)
    assert asyncio.get_running_loop().time() - began < 2


ORPHAN = """
    import asyncio, sys
    from pathlib import Path
    from wavetank.clock import RealClock
    from wavetank.load.generator import LoadGenerator, LoadOptions
    from wavetank.load.stages import UserStage
    from wavetank.load.target import LoadTarget

    async def main():
        options = LoadOptions((Path(sys.argv[1]),), Path(sys.argv[2]), LoadTarget(sys.argv[3]))
        load = LoadGenerator(RealClock(), None, options)
        await load.start()
        print(*load.pids, flush=True)
        await load.run_stages([UserStage(60, 1)])

    asyncio.run(main())
"""


@pytest.mark.slow
@pytest.mark.parametrize("text", ["fast", "stuck"])
async def test_locust_ends_soon_after_its_parent_was_killed(
    text: str, server: Server, locustfile: Write, tmp_path: Path
) -> None:
    users = locustfile(FAST if text == "fast" else STUCK)
    script = locustfile(ORPHAN, name="orphan.py")
    parent = await asyncio.create_subprocess_exec(
        sys.executable, str(script), str(users), str(tmp_path), server.url, stdout=asyncio.subprocess.PIPE
    )
    assert parent.stdout is not None
    pid = int(await parent.stdout.readline())
    await asyncio.sleep(1.5)
    assert alive(pid)
    parent.kill()
    await parent.wait()
    for _ in range(100):
        if not alive(pid):
            return
        await asyncio.sleep(0.1)
    pytest.fail(f"process {pid} still runs 10 s after its parent")


@pytest.mark.slow
async def test_the_command_runs_judges_and_prints_json(server: Server, locustfile: Write) -> None:
    code, out, err = await wavetank(
        "load", "-f", str(locustfile(FAST)), "-H", server.url, "--stages", "1s:30rps", "--output", "json",
        "--check", "failures<1%", "--check", "p(99)<0.001ms",
    )  # fmt: skip
    shown = json.loads(out)
    assert code == 1, err
    assert shown["arrivals"] == {"scheduled": 30, "started": 30, "dropped": 0, "finished": 30}
    assert [check["ok"] for check in shown["checks"]] == [True, False]
    assert shown["total"]["rps"] == pytest.approx(30, rel=0.2)


@pytest.mark.slow
async def test_the_command_takes_locusts_own_options(
    server: Server, locustfile: Write, tmp_path: Path
) -> None:
    users = locustfile("""
        from locust import HttpUser, constant, tag, task

        class Reader(HttpUser):
            wait_time = constant(0.1)

            @tag("good")
            @task
            def look(self):
                self.client.get("/look")

            @task
            def broken(self):
                self.client.get("/broken")

        class Writer(HttpUser):
            @task
            def write(self):
                self.client.get("/write")
    """)
    command = ["load", "-f", str(users), "-H", server.url, "-u", "3", "-r", "10", "-t", "1s", "Reader"]
    code, out, err = await wavetank(*command, "--tags", "good", "--csv", str(tmp_path / "figures"))
    assert code == 0, err
    assert {path for _, path, _ in server.seen} == {"/look"}
    assert "GET /look" in out
    assert "GET,/look," in (tmp_path / "figures_stats.csv").read_text()
    assert (await wavetank(*command, "--exit-code-on-error"))[0] == 1
    assert (await wavetank(*command))[0] == 0


@pytest.mark.slow
async def test_the_exit_code_is_the_one_the_locustfile_asks_for(server: Server, locustfile: Write) -> None:
    users = locustfile("""
        from locust import FastHttpUser, events, task

        @events.quitting.add_listener
        def decide(environment, **_):
            environment.process_exit_code = 7 if environment.stats.total.num_requests == 10 else 8

        class Shopper(FastHttpUser):
            @task
            def look(self):
                self.client.get("/look")
    """)
    code, _, err = await wavetank("load", "-f", str(users), "-H", server.url, "--stages", "1s:10rps")
    assert code == 7, err


@pytest.mark.slow
async def test_the_command_gives_the_summary_when_interrupted(server: Server, locustfile: Write) -> None:
    command = ["load", "-f", str(locustfile(FAST)), "-H", server.url, "--stages", "60s:20rps"]
    code, out, _ = await wavetank(*command, interrupt_when=lambda: len(server.seen) > 3)
    assert code == 0 and "GET /look" in out


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--stages", "1s:1u", "-u", "1"], "--stages and -u exclude each other"),
        (["-t", "5s"], "-r and -t need -u"),
        (["--json"], "Locust's --json has no meaning here; use --output json"),
        (["--stages", "1s:1u"], "load target http://127.0.0.1:1 is unreachable: connection refused"),
    ],
)
async def test_the_command_refuses_bad_input_in_one_line(
    arguments: list[str], message: str, locustfile: Write
) -> None:
    code, out, err = await wavetank(
        "load", "-f", str(locustfile(FAST)), "-H", "http://127.0.0.1:1", *arguments
    )
    assert (code, out) == (2, "")
    assert message in err and err.count("\n") == 1


async def wavetank(*arguments: str, interrupt_when: Callable[[], bool] | None = None) -> tuple[int, str, str]:
    """Run the command line; its exit code, stdout and stderr."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", "from wavetank.cli import main; main()", *arguments,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    if interrupt_when is not None:
        async with asyncio.timeout(30):
            while not interrupt_when():
                await asyncio.sleep(0.05)
        process.send_signal(signal.SIGINT)
    out, err = await process.communicate()
    return await process.wait(), out.decode(), err.decode()
