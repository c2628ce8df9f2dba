"""Two-way interop with the real thing: a data directory of ours opens there, and one of theirs opens here."""

from __future__ import annotations

import json
import re
import shutil
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from tsdb_model import BASE_MS, EVER, Model, matching

from wavetank.clock import VirtualClock
from wavetank.model.labels import Labels
from wavetank.tsdb.db import DB
from wavetank.tsdb.options import Options

pytestmark = [
    pytest.mark.peer,
    pytest.mark.slow,
    pytest.mark.skipif(
        shutil.which("promtool") is None or shutil.which("prometheus") is None,
        reason="needs prometheus and promtool on the PATH",
    ),
]
HOUR_MS = 3_600_000
SPILLING = Options(head_chunks_in_memory=8)


def promtool(*arguments: object) -> str:
    done = subprocess.run(["promtool", *map(str, arguments)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def dumped(directory: Path) -> dict[str, list[tuple[int, float]]]:
    """What ``promtool tsdb dump`` prints, by series."""
    found: dict[str, list[tuple[int, float]]] = {}
    for line in promtool("tsdb", "dump", directory).splitlines():
        match = re.fullmatch(r"\{(.*)\} (\S+) (-?\d+)", line)
        assert match, line
        found.setdefault(match[1], []).append((int(match[3]), float(match[2])))
    return found


def ours(db: DB) -> dict[str, list[tuple[int, float]]]:
    batch = db.select([], *EVER)
    out = {}
    for i, labels in enumerate(batch.labels):
        part = slice(batch.offsets[i], batch.offsets[i + 1])
        name = ", ".join(f'{n}="{v}"' for n, v in labels)
        out[name] = list(zip(batch.timestamps_ms[part].tolist(), batch.values[part].tolist(), strict=True))
    return out


@contextmanager
def prometheus(directory: Path, *flags: str, config: str = "") -> Iterator[Callable[..., Any]]:
    """A server over a data directory; yields a function that asks its API."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    config_file = directory.parent / "prometheus.yml"
    config_file.write_text(config)
    child = subprocess.Popen(
        [
            "prometheus",
            f"--config.file={config_file}",
            f"--storage.tsdb.path={directory}",
            f"--web.listen-address=127.0.0.1:{port}",
            "--storage.tsdb.retention.time=100y",
            "--web.enable-admin-api",
            *flags,
        ],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )

    def ask(path: str, method: str = "GET", *, body: bytes | None = None, **parameters: str) -> Any:
        query = urllib.parse.urlencode(parameters)
        request = urllib.request.Request(f"http://127.0.0.1:{port}{path}?{query}", method=method, data=body)
        if body is not None:
            request.add_header("Content-Encoding", "snappy")
            request.add_header("Content-Type", "application/x-protobuf")
        with urllib.request.urlopen(request, timeout=20) as reply:
            body = reply.read()
        return json.loads(body)["data"] if body.startswith(b"{") else body

    try:
        for _ in range(200):
            try:
                ask("/-/ready")
                break
            except (urllib.error.URLError, ConnectionError):
                assert child.poll() is None, child.stderr and child.stderr.read().decode()
                time.sleep(0.05)
        yield ask
    finally:
        child.send_signal(signal.SIGTERM)
        child.communicate(timeout=30)


def test_our_blocks_list_analyze_and_dump(model: Model) -> None:
    model.write(0, 1500)
    model.write_late(200, BASE_MS - 100 * HOUR_MS, BASE_MS + 5 * HOUR_MS)
    model.db.flush()
    model.db.compact()
    model.delete(3, BASE_MS, BASE_MS + HOUR_MS)
    wanted = ours(model.db)
    blocks = model.db.blocks
    model.db.close()
    listed = promtool("tsdb", "list", model.db.path).splitlines()[1:]
    assert [line.split()[0] for line in listed] == [b.meta.ulid for b in blocks]
    assert [int(line.split()[-2]) for line in listed] == [b.meta.stats.num_series for b in blocks]
    assert "Series: 20" in promtool("tsdb", "analyze", model.db.path)
    assert dumped(model.db.path) == wanted


@pytest.mark.parametrize("compression", ["none", "snappy"])
def test_our_log_opens_there(tmp_path: Path, compression: str) -> None:
    options = Options(wal_compression=compression, wal_segment_bytes=256 * 1024, head_chunks_in_memory=8)  # type: ignore[arg-type]
    model = Model(DB.open(tmp_path / "data", options, VirtualClock(1.7e9)))
    for first in range(0, 2400, 400):
        model.write(first, first + 400)
        model.db.compact()
    model.delete(5, BASE_MS + 9 * HOUR_MS, BASE_MS + 10 * HOUR_MS)
    wanted = ours(model.db)
    model.db.close()
    assert dumped(tmp_path / "data") == wanted


def test_equal_answers_over_our_directory(tmp_path: Path) -> None:
    model = Model(DB.open(tmp_path / "data", SPILLING, VirtualClock(1.7e9)))
    model.write(0, 1500)
    model.db.compact()
    model.write_late(50, BASE_MS + HOUR_MS, BASE_MS + 6 * HOUR_MS)
    end = BASE_MS + 1500 * 15_000
    wanted = {}
    for labels in model.db.series([], *EVER):
        batch = model.db.select(matching("series", labels.get("series")), *EVER)
        wanted[labels] = list(zip(batch.timestamps_ms.tolist(), batch.values.tolist(), strict=True))
    model.db.close()
    with prometheus(tmp_path / "data", config="storage: {tsdb: {out_of_order_time_window: 10000d}}") as ask:
        reply = ask("/api/v1/query", query='{job="test"}[7h]', time=str(end / 1000))
        assert sorted(ask("/api/v1/label/series/values")) == sorted(str(i) for i in range(20))
    found = {
        Labels.of(row["metric"]): [(round(float(t) * 1000), float(v)) for t, v in row["values"]]
        for row in reply["result"]
    }
    assert found == wanted
    # and back again: their shutdown wrote into the directory
    again = Model(DB.open(tmp_path / "data", SPILLING, VirtualClock(1.7e9)))
    again.truth = model.truth
    again.check()
    again.db.close()


def test_their_blocks_and_log_open_here(tmp_path: Path) -> None:
    text = tmp_path / "metrics.om"
    lines = ["# TYPE m gauge"]
    for i in range(5):
        lines += [f'm{{i="{i}",job="test"}} {k * 0.5 + i} {BASE_MS // 1000 + k * 15}' for k in range(1500)]
    text.write_text("\n".join(lines) + "\n# EOF\n")
    data = tmp_path / "data"
    promtool("tsdb", "create-blocks-from", "openmetrics", text, data)
    with prometheus(
        data,
        "--storage.tsdb.wal-compression",
        config="scrape_configs: [{job_name: self, scrape_interval: 250ms, scrape_timeout: 250ms,"
        " static_configs: [{targets: ['127.0.0.1:1']}]}]",
    ) as ask:
        for _ in range(60):  # the peer discovers its targets some seconds after it starts
            time.sleep(0.25)
            result = ask("/api/v1/query", query="up[1h]")["result"]
            if result and len(result[0]["values"]) > 3:
                break
        there = result[0]["values"]
    db = DB.open(data, Options(), VirtualClock(1.7e9))
    batch = db.select(matching("__name__", "m"), *EVER)
    assert len(batch.labels) == 5
    assert batch.values[:3].tolist() == [0.0, 0.5, 1.0]
    assert len(batch.values) == 7500
    up = db.select(matching("__name__", "up"), *EVER)
    mine = [(t, v) for t, v in zip(up.timestamps_ms.tolist(), up.values.tolist(), strict=True)]
    theirs = [(round(t * 1000), float(v)) for t, v in there]
    assert [pair for pair in mine if pair[0] <= theirs[-1][0]][: len(theirs)] == theirs
    db.close()
    db = DB.open(data, Options(), VirtualClock(1.7e9))
    wanted = set(ours(db))
    db.close()
    assert set(dumped(data)) == wanted


def test_their_snapshot_of_our_directory_is_a_database(tmp_path: Path) -> None:
    model = Model(DB.open(tmp_path / "data", SPILLING, VirtualClock(1.7e9)))
    model.write(0, 700)
    model.db.close()
    with prometheus(tmp_path / "data") as ask:
        name = ask("/api/v1/admin/tsdb/snapshot", method="POST")["name"]
    copy = Model(DB.open(tmp_path / "data" / "snapshots" / name, Options(), VirtualClock(1.7e9)))
    copy.truth = model.truth
    copy.check()
    copy.db.close()
