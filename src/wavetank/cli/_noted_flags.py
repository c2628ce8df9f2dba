"""Prometheus' flags that change nothing here: taken, so that a unit file needs no edit, and named in the log.

They steer the Go runtime, or how the inside of Prometheus' own storage is arranged. A flag that promises
something to the outside is never among them: it is at work, or refused.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, TypeVar

import click

__all__ = ["NOTED", "noted_flags", "say_noted"]

F = TypeVar("F", bound=Callable[..., Any])
_KEY: Final = "wavetank.flags without effect"
_NO_GO: Final = "there is no Go runtime"

# How the flag's value is read, and why it changes nothing. Switches have no value.
NOTED: Final[dict[str, tuple[Any, str]]] = {
    "--alertmanager.timeout": (str, "each of the alertmanagers in the configuration has its own timeout"),
    "--auto-gomaxprocs": (None, _NO_GO),
    "--auto-gomemlimit": (None, _NO_GO),
    "--auto-gomemlimit.ratio": (click.FloatRange(0, 1, min_open=True), _NO_GO),
    "--auto-gomemlimit.refresh-interval": (str, _NO_GO),
    "--storage.tsdb.allow-overlapping-blocks": (None, "overlapping blocks are always served and merged"),
    "--storage.tsdb.allow-overlapping-compaction": (None, "overlapping blocks are always merged"),
    "--storage.tsdb.block-reload-interval": (str, "new blocks in the directory are taken in every minute"),
    "--storage.tsdb.delayed-compaction.max-percent": (int, "compaction is not delayed"),
    "--storage.tsdb.head-chunks-write-queue-size": (int, "full chunks of the head need no queue"),
    "--storage.tsdb.max-block-chunk-segment-size": (str, "chunk files of blocks have up to 512 MiB"),
    "--storage.tsdb.samples-per-chunk": (int, "chunks have 120 samples"),
    "--storage.tsdb.use-lockfile": (None, "the directory is locked without --storage.tsdb.no-lockfile"),
    "--storage.agent.use-lockfile": (None, "the directory is locked without --storage.agent.no-lockfile"),
    "--web.local-assets": (str, "the console brings its own pages"),
    "--storage.agent.checkpoint-batch-size": (click.IntRange(1), "an agent's log has its own checkpoints"),
    "--storage.agent.checkpoint-from-in-memory-series": (None, "an agent's log has its own checkpoints"),
}


def noted_flags(function: F) -> F:
    """Declares them all, hidden."""
    for i, (name, (kind, _)) in enumerate(NOTED.items()):
        given = f"{name}/--no-{name.removeprefix('--')}" if kind is None else name
        function = click.option(
            given, f"noted_{i}", type=kind, default=None, hidden=True, expose_value=False, callback=_note
        )(function)
    return function


def _note(context: click.Context, parameter: click.Parameter, value: Any) -> None:
    if value is not None:
        text = str(value).lower() if isinstance(value, bool) else value
        context.meta.setdefault(_KEY, []).append((parameter.opts[0], text))


def say_noted(context: click.Context) -> None:
    """One line of the log for each that was given."""
    import logging

    log = logging.getLogger("wavetank.monitoring")
    for name, value in context.meta.get(_KEY, []):
        log.warning("%s=%s has no effect here: %s", name, value, NOTED[name][1])
