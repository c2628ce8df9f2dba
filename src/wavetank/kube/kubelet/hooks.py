"""Lifecycle hooks: postStart and preStop, by exec, httpGet or sleep."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from wavetank.kube.kubelet.context import Context
from wavetank.kube.kubelet.probes import http_get
from wavetank.kube.kubelet.runtime import Running, StartError

__all__ = ["run_hook"]


async def run_hook(
    context: Context,
    hook: Mapping[str, Any],
    running: Running,
    pod_ip: str,
    container: Mapping[str, Any],
    limit: float,
) -> str:
    """Run a hook for at most ``limit`` seconds; "" or what went wrong. Ends early if the container does."""
    work = asyncio.ensure_future(_hook(context, hook, running, pod_ip, container, limit))
    over = asyncio.ensure_future(running.wait())
    timer = asyncio.ensure_future(context.clock.sleep(limit))
    try:
        done, _ = await asyncio.wait({work, over, timer}, return_when=asyncio.FIRST_COMPLETED)
        return work.result() if work in done else ""
    finally:
        for task in (work, over, timer):
            task.cancel()
        await asyncio.gather(work, return_exceptions=True)


async def _hook(
    context: Context,
    hook: Mapping[str, Any],
    running: Running,
    pod_ip: str,
    container: Mapping[str, Any],
    limit: float,
) -> str:
    if "sleep" in hook:
        await context.clock.sleep(float((hook["sleep"] or {}).get("seconds") or 0))
    elif "exec" in hook:
        command = (hook["exec"] or {}).get("command") or []
        try:
            code, output = await running.execute(command, limit)
        except TimeoutError:
            return f"Exec lifecycle hook ({command}) timed out"
        except (StartError, OSError) as error:
            return str(error)
        return "" if code == 0 else f"command '{' '.join(command)}' exited with {code}: {output.strip()}"
    elif "httpGet" in hook:
        url, status, problem = await http_get(hook["httpGet"], pod_ip, container.get("ports") or (), limit)
        if problem or status >= 400:
            return f'Get "{url}": {problem or status}'
    return ""
