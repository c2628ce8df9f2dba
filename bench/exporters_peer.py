"""CPU, memory and time of a scrape of the node exporter, beside Debian's.

Usage: python bench/exporters_peer.py [scrapes]

Both describe this machine with what is on by default in both. Prints medians over three rounds of CPU
milliseconds a scrape (of the exporter's process), milliseconds a scrape takes, resident memory, the number of
samples, and the ratios (ours / theirs). Without the peer, prints ours alone.
"""

from __future__ import annotations

import shutil
import socket
import statistics
import subprocess
import sys
import time
import urllib.request

import psutil

ROUNDS = 3


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def scrape(url: str) -> bytes:
    with urllib.request.urlopen(url, timeout=60) as response:
        return bytes(response.read())


def measure(command: list[str], scrapes: int) -> dict[str, float]:
    port = free_port()
    url = f"http://127.0.0.1:{port}/metrics"
    process = subprocess.Popen(
        [*command, f"--web.listen-address=127.0.0.1:{port}"], stderr=subprocess.DEVNULL
    )
    watched = psutil.Process(process.pid)
    try:
        while True:
            try:
                scrape(url)
                break
            except OSError:
                time.sleep(0.1)
        for _ in range(5):
            body = scrape(url)
        spent, took = [], []
        for _ in range(ROUNDS):
            before, start = sum(watched.cpu_times()[:2]), time.perf_counter()
            for _ in range(scrapes):
                scrape(url)
            spent.append((sum(watched.cpu_times()[:2]) - before) / scrapes * 1000)
            took.append((time.perf_counter() - start) / scrapes * 1000)
        return {
            "cpu_ms_a_scrape": statistics.median(spent),
            "ms_a_scrape": statistics.median(took),
            "rss_mib": watched.memory_info().rss / 2**20,
            "samples": float(sum(not line.startswith(b"#") for line in body.splitlines())),
        }
    finally:
        process.terminate()
        process.wait()


def main() -> None:
    scrapes = int(sys.argv[1]) if len(sys.argv) > 1 else 50
    found = {"ours": measure([sys.executable, "-m", "wavetank", "node-exporter"], scrapes)}
    if shutil.which("prometheus-node-exporter"):
        found["theirs"] = measure(["prometheus-node-exporter"], scrapes)
    for key, value in found["ours"].items():
        line = f"{key:16} ours {value:8.2f}"
        if "theirs" in found:
            theirs = found["theirs"][key]
            line += f"  theirs {theirs:8.2f}  ratio {value / max(theirs, 0.01):5.2f}"
        print(line)


if __name__ == "__main__":
    main()
