"""``wavetank rehearse`` as its users run it: real processes, real Envoy, real Locust, and clean ends."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from wavetank.clock import RealClock, pause

TINY = Path(__file__).parent / "data" / "tiny"
pytestmark = pytest.mark.slow


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    copy = tmp_path / "tiny"
    shutil.copytree(TINY, copy)
    return copy


class Run:
    """A ``wavetank rehearse`` process with a temporary directory of its own, to see what it leaves there."""

    def __init__(self, directory: Path, tmp_path: Path) -> None:
        self.directory = directory
        # Not below tmp_path: the names of unix sockets in it must fit into 107 bytes.
        self.runtime = Path(tempfile.mkdtemp(prefix="wt-"))
        weakref.finalize(self, shutil.rmtree, self.runtime, ignore_errors=True)
        environment = {**os.environ, "TMPDIR": str(self.runtime), "XDG_STATE_HOME": str(tmp_path / "state")}
        environment.pop("XDG_RUNTIME_DIR", None)
        self._output = tmp_path / "output"
        argv = [sys.executable, "-m", "wavetank", "rehearse", str(directory)]
        with self._output.open("w") as output:
            self.process = subprocess.Popen(argv, env=environment, stdout=output, stderr=output)

    @property
    def output(self) -> str:
        return self._output.read_text()

    @property
    def tank(self) -> str | None:
        for path in self.runtime.glob("wavetank-*/run.json"):
            return str(json.loads(path.read_bytes())["tank"])
        return None

    def report(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.directory / "report" / "report.json").read_bytes())
        return found

    def until(self, condition: Callable[[], object], seconds: float = 90.0) -> None:
        clock = RealClock()
        end = clock.monotonic() + seconds
        while not condition():
            assert clock.monotonic() < end, f"not reached in {seconds} s; output:\n{self.output}"
            pause(0.05)

    def under_load(self) -> bool:
        assert self.process.poll() is None, f"ended with {self.process.returncode}; output:\n{self.output}"
        return any(p.stat().st_size > 400 for p in self.runtime.glob("wavetank-*/load.jsonl"))

    def end(self, seconds: float = 120.0) -> int:
        try:
            return self.process.wait(seconds)
        finally:
            self._nothing_left()

    def _nothing_left(self) -> None:
        marker = str(self.runtime)
        self.until(lambda: not list(self.runtime.iterdir()), 60.0)
        self.until(lambda: not _processes_of(marker), 20.0)


def _processes_of(marker: str) -> list[int]:
    """Processes whose environment names this run's temporary directory, zombies aside."""
    found = []
    for path in Path("/proc").glob("[0-9]*/environ"):
        try:
            variables = path.read_bytes().split(b"\0")
            if any(v.startswith(f"TMPDIR={marker}".encode()) for v in variables):
                found.append(int(path.parent.name))
        except OSError:
            continue
    return found


def change(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def test_a_rehearsal_that_holds(directory: Path, tmp_path: Path) -> None:
    run = Run(directory, tmp_path)
    assert run.end() == 0, run.output
    report = run.report()
    assert report["outcome"] == "held"
    assert report["load"]["requests"] == pytest.approx(120, abs=3)
    assert report["load"]["failures"] == 0
    (slo,) = report["slos"]
    assert (slo["ok"], slo["value"]) == (True, 1.0)
    assert report["environment"]["enforcer"]
    assert {"html", "json", "junit", "markdown"} <= set(report["files"])


def test_an_slo_that_is_not_kept_is_exit_code_one(directory: Path, tmp_path: Path) -> None:
    change(directory / "manifests.yaml", "web.example.com]\n  gateways", "web.example.com]\n  gateways")
    change(directory / "locustfile.py", 'get("/")', 'get("/absent")')
    change(directory / "rehearsal.yaml", "5..", "404")
    run = Run(directory, tmp_path)
    assert run.end() == 1, run.output
    assert run.report()["slos"][0]["value"] == pytest.approx(0.0, abs=0.02)


def test_kill_minus_nine_leaves_nothing_but_the_report(directory: Path, tmp_path: Path) -> None:
    change(directory / "rehearsal.yaml", "duration: 6s", "duration: 120s")
    run = Run(directory, tmp_path)
    run.until(run.under_load)
    run.process.kill()
    assert run.end() == -signal.SIGKILL
    report = run.report()
    assert (report["outcome"], report["reason"]) == ("incomplete", "the rehearsal was killed")
    assert any(report["timeline"]["completed_rps"])


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_run_and_reports_it(
    directory: Path, tmp_path: Path, number: signal.Signals
) -> None:
    change(directory / "rehearsal.yaml", "duration: 6s", "duration: 120s")
    run = Run(directory, tmp_path)
    run.until(run.under_load)
    run.process.send_signal(number)
    assert run.end() == 128 + number, run.output
    assert run.report()["reason"] == f"stopped by {number.name}"


@pytest.mark.parametrize("module", ["wavetank.load._locust_child", "wavetank.rehearsal.control_plane"])
def test_a_crashed_child_ends_the_run_as_a_fault_of_ours(
    directory: Path, tmp_path: Path, module: str
) -> None:
    change(directory / "rehearsal.yaml", "duration: 6s", "duration: 120s")
    run = Run(directory, tmp_path)
    run.until(run.under_load)
    doomed = [
        pid
        for pid in _processes_of(str(run.runtime))
        if module.encode() in Path(f"/proc/{pid}/cmdline").read_bytes()
    ]
    assert doomed
    for pid in doomed:
        os.kill(pid, signal.SIGKILL)
    assert run.end() == 3, run.output
    assert run.report()["outcome"] == "incomplete"


@pytest.mark.parametrize(
    ("file", "old", "new", "words"),
    [
        ("locustfile.py", "from locust import", "import absent_module\nfrom locust import", ["locustfile.py:1", "absent_module"]),
        ("locustfile.py", "class Visitor(FastHttpUser)", "class Visitor", ["locustfile.py", "user class"]),
        ("manifests.yaml", "-m, http.server, --bind", "-c, raise SystemExit(7), --bind", ["container web", "exit code 7"]),
        ("manifests.yaml", "resources: {requests:", "resources: {requets:", ["manifests.yaml:", "requets"]),
        ("manifests.yaml", "destination: {host: web}", "destination: {host: wbe}", ["manifests.yaml", "wbe"]),
        ("rehearsal.yaml", "sum(increase(istio_requests_total[", "sum(increase(istio_requests_total{[", ["rehearsal.yaml:", "does not parse"]),
    ],
)  # fmt: skip
def test_bad_input_is_one_line_and_exit_code_two(
    directory: Path, tmp_path: Path, file: str, old: str, new: str, words: list[str]
) -> None:
    change(directory / file, old, new)
    run = Run(directory, tmp_path)
    assert run.end() == 2, run.output
    last = run.output.strip().splitlines()[-1]
    assert last.startswith("wavetank: ")
    for word in words:
        assert word in last
    assert not (directory / "report").exists()


def test_two_replicas_that_fight_for_a_port_are_told_of_pod_ip(directory: Path, tmp_path: Path) -> None:
    change(directory / "manifests.yaml", "--bind, $(POD_IP)", '--bind, "127.0.0.1"')
    change(directory / "manifests.yaml", "replicas: 1", "replicas: 2")
    change(
        directory / "manifests.yaml",
        "{httpGet: {path: /, port: http}, periodSeconds: 1}",
        '{exec: {command: ["true"]}, initialDelaySeconds: 3}',
    )
    run = Run(directory, tmp_path)
    assert run.end() == 2, run.output
    assert "POD_IP" in run.output


def test_pods_no_node_has_room_for_are_reported_and_the_rest_runs(directory: Path, tmp_path: Path) -> None:
    change(directory / "manifests.yaml", "replicas: 1", "replicas: 2")
    change(directory / "manifests.yaml", "minReplicas: 1", "minReplicas: 2")
    change(directory / "manifests.yaml", "cpu: 100m", "cpu: 800m")
    run = Run(directory, tmp_path)
    assert run.end() == 0, run.output
    assert any("Insufficient cpu" in note for note in run.report()["notes"])
