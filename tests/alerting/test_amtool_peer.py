"""Debian's amtool and Prometheus, and our own Prometheus, as clients."""

from __future__ import annotations

import asyncio
import contextlib
import json
import shutil
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from alerting_rig import Running, Sink, Start, until

CONFIG = """
route:
  receiver: hook
  group_by: [alertname]
  group_wait: 0s
  routes: [{{matchers: [team=~"a|b"], receiver: other, group_by: [...]}}]
receivers:
- {{name: hook, webhook_configs: [{{url: '{url}/hook'}}]}}
- {{name: other, webhook_configs: [{{url: '{url}/other'}}], slack_configs: [{{api_url: '{url}/slack'}}]}}
"""
RULES = """
groups:
- name: g
  interval: 1s
  rules: [{alert: Always, expr: vector(1), labels: {team: a}, annotations: {summary: 'is {{ $value }}'}}]
"""
needs_amtool = pytest.mark.skipif(shutil.which("amtool") is None, reason="amtool is not installed")


async def run(*command: str, code: int = 0) -> str:
    process = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    out, err = await process.communicate()
    assert process.returncode == code, (command, out, err)
    return out.decode() + err.decode()


async def amtool(am: Running, *arguments: str, code: int = 0) -> str:
    return await run("amtool", f"--alertmanager.url={am.url}", *arguments, code=code)


@pytest.mark.peer
@needs_amtool
async def test_amtool_adds_and_queries_alerts(start: Start, sink: Sink) -> None:
    am = await start(CONFIG.format(url=sink.url))
    await amtool(am, "alert", "add", "alertname=Foo", "team=a", "--annotation=summary=hello world")
    await until(lambda: sink.bodies("/other"))
    assert sink.bodies("/other")[0]["commonAnnotations"] == {"summary": "hello world"}
    assert "hello world" in await amtool(am, "alert", "query", "alertname=Foo")
    assert "Foo" not in await amtool(am, "alert", "query", "team=b")
    (shown,) = json.loads((await amtool(am, "alert", "query", "-o", "json")).partition("Warning")[0])
    assert shown["receivers"] == [{"name": "other"}]


@pytest.mark.peer
@needs_amtool
async def test_amtool_keeps_silences(start: Start, sink: Sink) -> None:
    am = await start(CONFIG.format(url=sink.url))
    made = await amtool(am, "silence", "add", "-c", "why", "-a", "me", "-d", "1h", "alertname=Foo", "x!~.+y")
    identity = made.split()[0]
    assert identity in await amtool(am, "silence", "query")
    assert 'x!~".+y"' in await amtool(am, "silence", "query", "-o", "extended")
    await amtool(am, "silence", "update", "-d", "2h", "-c", "longer", identity)
    assert "longer" in await amtool(am, "silence", "query", identity) or "longer" in await amtool(
        am, "silence", "query"
    )
    await amtool(am, "silence", "expire", identity)
    assert identity not in await amtool(am, "silence", "query")
    assert identity in await amtool(am, "silence", "query", "--expired")
    assert "bad matcher format" in await amtool(am, "silence", "add", "-c", "x", "Foo=a", "nothing!", code=1)


@pytest.mark.peer
@needs_amtool
async def test_amtool_reads_the_configuration_back(start: Start, sink: Sink, tmp_path: Path) -> None:
    am = await start(CONFIG.format(url=sink.url))
    shown = (await amtool(am, "config", "show")).partition("Warning")[0]
    path = tmp_path / "am.yml"
    path.write_text(shown)
    assert "SUCCESS" in await run("amtool", "check-config", str(path))
    assert (await amtool(am, "config", "routes", "test", "team=b")).startswith("other")
    assert (await amtool(am, "config", "routes", "test", "team=c")).startswith("hook")
    assert 'team=~"a|b"' in await amtool(am, "config", "routes", "show")
    assert "disabled" in await amtool(am, "cluster", "show")


@pytest.mark.peer
@needs_amtool
async def test_amtool_renders_our_templates_as_we_do() -> None:
    import wavetank.alerting

    folder = Path(wavetank.alerting.__file__).parent
    text = '{{ template "slack.default.title" . }}|{{ template "opsgenie.default.description" . }}'
    theirs = await run(
        "amtool", "template", "render", f"--template.glob={folder}/default.tmpl", f"--template.text={text}"
    )
    assert theirs.startswith("[ALERTSTATUS] grouplabelvalue1 grouplabelvalue2 (commonlabelvalue1")


@contextlib.asynccontextmanager
async def prometheus(am: Running, folder: Path, *command: str) -> AsyncIterator[None]:
    (folder / "rules.yml").write_text(RULES)
    (folder / "prometheus.yml").write_text(
        f"rule_files: [rules.yml]\nalerting:\n  alertmanagers: [{{static_configs: [{{targets: ['{am.url[7:]}']}}]}}]\n"
    )
    process = await asyncio.create_subprocess_exec(
        *command,
        f"--config.file={folder}/prometheus.yml",
        f"--storage.tsdb.path={folder}/data",
        "--web.listen-address=127.0.0.1:0",
        "--rules.alert.resend-delay=1s",
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        yield
    finally:
        process.send_signal(signal.SIGTERM)
        await process.wait()


@pytest.mark.peer
@pytest.mark.slow
@pytest.mark.skipif(shutil.which("prometheus") is None, reason="prometheus is not installed")
async def test_debians_prometheus_sends_alerts(start: Start, sink: Sink, tmp_path: Path) -> None:
    am = await start(CONFIG.format(url=sink.url))
    async with prometheus(am, tmp_path, "prometheus"):
        await until(lambda: sink.bodies("/other"))
    assert sink.bodies("/other")[0]["commonAnnotations"] == {"summary": "is 1"}


@pytest.mark.slow
async def test_our_prometheus_sends_alerts(start: Start, sink: Sink, tmp_path: Path) -> None:
    am = await start(CONFIG.format(url=sink.url))
    async with prometheus(am, tmp_path, sys.executable, "-m", "wavetank", "prometheus"):
        await until(lambda: sink.bodies("/other"))
    (body, *_) = sink.bodies("/other")
    assert body["commonAnnotations"] == {"summary": "is 1"}
    assert body["commonLabels"] == {"alertname": "Always", "team": "a"}
