"""promtool's commands that need a server, ours and Debian's promtool against ours."""

from __future__ import annotations

import asyncio
import json
import shutil
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from wavetank.cli.promtool import command
from wavetank.monitoring.server import ServerOptions

PEER = shutil.which("promtool")
METRICS = '# HELP m A metric.\n# TYPE m counter\nm{a="1"} 5\nm{a="2"} 6\n'


def run(*arguments: str, input: str = "") -> Any:
    return CliRunner().invoke(command, list(arguments), input=input)


def test_check_web_config(tmp_path: Path) -> None:
    good, bad = tmp_path / "good.yml", tmp_path / "bad.yml"
    good.write_text("basic_auth_users: {}\n")
    bad.write_text("tls_server_config: {cert_file: a}\n")
    result = run("check", "web-config", str(good))
    assert (result.exit_code, result.stderr) == (0, f"{good} SUCCESS\n")
    result = run("check", "web-config", str(good), str(bad))
    assert result.exit_code == 1
    assert f"{bad} FAILED:" in result.stderr


def test_check_service_discovery(tmp_path: Path) -> None:
    path = tmp_path / "prometheus.yml"
    path.write_text("""
scrape_configs:
- job_name: a
  static_configs: [{targets: ["x:1", "y:1", "z:1"], labels: {team: web}}]
  relabel_configs: [{source_labels: [__address__], regex: "y.*", action: drop},
                    {source_labels: [__address__], regex: "z.*", target_label: __address__, replacement: "z/1"}]
""")
    result = run("check", "service-discovery", str(path), "a", "--timeout=100ms")
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert [entry["labels"] for entry in found] == [{"instance": "x:1", "job": "a", "team": "web"}, {}, {}]
    assert found[2]["error"] == '"z/1" is not a valid hostname'
    result = run("check", "service-discovery", str(path), "b", "--timeout=100ms")
    assert (result.exit_code, "Job b not found. Select one of:\n\ta\n" in result.stderr) == (1, True)


async def tool(*arguments: str, peer: bool = False) -> tuple[int, str]:
    argv = [str(PEER)] if peer else [sys.executable, "-m", "wavetank", "promtool"]
    child = await asyncio.create_subprocess_exec(
        *argv, *arguments, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    out, _ = await child.communicate()
    return child.returncode or 0, out.decode()


@pytest.mark.slow
async def test_push_and_debug(start: Callable[..., Any], tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "m.txt").write_text(METRICS)
    async with start("{}", ServerOptions(enable_remote_write_receiver=True)) as server:
        for i, more in enumerate(((), ("--protobuf_message=io.prometheus.write.v2.Request",))):
            code, text = await tool("push", "metrics", server.url, "m.txt", f"--label=env={i}", *more)
            assert (code, text) == (
                0,
                "Parsing metrics file m.txt\n  SUCCESS: metrics file m.txt pushed to remote write.\n",
            )
            assert await server.query(f'sum by (job, env) (m{{env="{i}"}})') == [({"env": str(i)}, "11")]
        code, text = await tool("push", "metrics", server.url, "m.txt", "--remote-write.path=/nothing")
        assert (code, "server returned HTTP status 404" in text) == (1, True)
        code, text = await tool("debug", "all", server.url)
        assert code == 0, text
        with tarfile.open("debug.tar.gz") as archive:
            names = archive.getnames()
        assert names[0] == "metrics.txt"
        assert len(names) == 6
        assert "left out:" in text
        code, text = await tool("debug", "pprof", server.url)
        assert (code, "error completing debug command" in text) == (1, True)


SAME = [
    ("query", "instant", "URL", "sum(m)"),
    ("query", "instant", "-o", "json", "URL", "m"),
    ("query", "instant", "URL", "m{"),
    ("query", "labels", "URL", "a"),
    ("query", "series", "URL", "--match=m"),
]


@pytest.mark.peer
@pytest.mark.slow
@pytest.mark.skipif(PEER is None, reason="promtool is not installed")
async def test_debians_promtool_against_our_server(start: Callable[..., Any], tmp_path: Path) -> None:
    (tmp_path / "m.txt").write_text(METRICS)
    async with start("{}", ServerOptions(enable_remote_write_receiver=True)) as server:
        await tool("push", "metrics", server.url + "/api/v1/write", str(tmp_path / "m.txt"))
        for arguments in SAME:
            asked = [argument.replace("URL", server.url) for argument in arguments]
            theirs = await tool(*asked, peer=True)
            ours = await tool(*asked)
            assert (ours[0] != 0) == (theirs[0] != 0), (arguments, ours, theirs)
            if theirs[0] == 0 and "instant" not in arguments:
                assert ours[1].split() == theirs[1].split(), arguments
