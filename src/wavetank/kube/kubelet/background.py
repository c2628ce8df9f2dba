"""Tasks that run for as long as their part does, and are not to fail unheard."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

__all__ = ["background"]


_T = TypeVar("_T")


def background(work: Coroutine[Any, Any, _T], name: str) -> asyncio.Task[_T]:
    """Start a task; should it fail, the event loop's exception handler hears of it at once."""
    task = asyncio.get_running_loop().create_task(work, name=name)
    task.add_done_callback(_report)
    return task


def _report(task: asyncio.Task[Any]) -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        context = {"message": f"{task.get_name()} failed", "exception": error, "task": task}
        asyncio.get_running_loop().call_exception_handler(context)
