"""Taking in and showing alerts, beside Debian's Alertmanager.

Usage: python bench/alerting_peer.py [alerts] [repeats]

Both get the same alerts in batches of 256, as Prometheus sends them, `repeats` times over (they fire on), and
are asked for all alerts and all groups. Prints CPU seconds of the server for each (the first round, of alerts
that are new, by itself), resident memory at the end, and the ratios (ours / theirs). Without the peer, prints
ours alone. Receivers are not reached: the groups wait for an hour.
"""

from __future__ import annotations

import json
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

import psutil

BATCH = 256
CONFIG = """
route:
  receiver: none
  group_by: [alertname]
  group_wait: 1h
  routes: [{matchers: ['severity=~"page|warn"']}]
inhibit_rules: [{source_matchers: [severity=page], target_matchers: [severity=warn], equal: [alertname]}]
receivers: [{name: none}]
"""


def alerts(number: int) -> list[bytes]:
    made = [
        {
            "labels": {
                "alertname": f"A{i % 200}",
                "instance": f"host-{i}:9100",
                "job": "node",
                "severity": "info",
            },
            "annotations": {"summary": f"something about host-{i}"},
            "generatorURL": "http://prometheus.example/graph?g0.expr=up",
        }
        for i in range(number)
    ]
    return [json.dumps(made[at : at + BATCH]).encode() for at in range(0, number, BATCH)]


def ask(url: str, body: bytes | None = None) -> bytes:
    request = urllib.request.Request(url, body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=120) as response:
        return bytes(response.read())


def measure(command: list[str], port: int, batches: list[bytes], repeats: int) -> dict[str, float]:
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    watched = psutil.Process(process.pid)
    url = f"http://127.0.0.1:{port}/api/v2/alerts"
    try:
        while True:
            try:
                ask(url)
                break
            except OSError:
                time.sleep(0.1)

        def cpu(work: list[tuple[str, bytes | None]]) -> float:
            before = sum(watched.cpu_times()[:2])
            for where, body in work:
                ask(where, body)
            return sum(watched.cpu_times()[:2]) - before

        post = [cpu([(url, batch) for batch in batches]) for _ in range(repeats)]
        shown = [cpu([(url, None)]) for _ in range(3)]
        groups = [cpu([(url + "/groups", None)]) for _ in range(3)]
        return {
            "first_post_cpu_seconds": post[0],
            "post_cpu_seconds": statistics.median(post[1:] or post),
            "alerts_cpu_seconds": statistics.median(shown),
            "groups_cpu_seconds": statistics.median(groups),
            "rss_mib": watched.memory_info().rss / 2**20,
        }
    finally:
        process.terminate()
        process.wait()


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def main() -> None:
    number = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000
    repeats = int(sys.argv[2]) if len(sys.argv) > 2 else 3
    batches = alerts(number)
    print(f"{number} alerts in batches of {BATCH}, medians of {repeats} rounds")
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder) / "am.yml"
        config.write_text(CONFIG)
        commands = {"ours": [sys.executable, "-m", "wavetank", "alertmanager"]}
        if shutil.which("prometheus-alertmanager"):
            commands["theirs"] = ["prometheus-alertmanager", "--cluster.listen-address="]
        for name, command in commands.items():
            port = free_port()
            flags = [f"--config.file={config}", f"--storage.path={folder}/{name}"]
            found[name] = measure(
                [*command, *flags, f"--web.listen-address=127.0.0.1:{port}"], port, batches, repeats
            )
    for key, value in found["ours"].items():
        line = f"{key:22} ours {value:8.3f}"
        if "theirs" in found:
            theirs = found["theirs"][key]
            line += f"  theirs {theirs:8.3f}  ratio {value / max(theirs, 0.01):5.2f}"
        print(line)


if __name__ == "__main__":
    main()
