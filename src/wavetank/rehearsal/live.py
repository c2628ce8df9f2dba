"""What the terminal shows while a rehearsal runs.

On a terminal: a few lines that stay in place. Elsewhere: a line at every change of phase and every ten
seconds. Quiet: nothing until the end.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Protocol, Self

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

__all__ = ["LineView", "QuietView", "Snapshot", "TerminalView", "View", "choose_view"]

BLOCKS = "▁▂▃▄▅▆▇█"
LINE_SECONDS = 10.0


@dataclass(slots=True)
class SloState:
    """``ok`` is None until there is data; ``shown`` is the value with its unit."""

    name: str
    ok: bool | None
    shown: str


@dataclass(slots=True)
class Snapshot:
    """The run at one moment. Rates per second, latencies in milliseconds, times in seconds."""

    phase: str
    elapsed: float
    left: float | None = None
    stage: str = ""
    rps: float = 0.0
    target_rps: float | None = None
    p99_ms: float | None = None
    failures: int = 0
    users: int = 0
    replicas: list[tuple[str, int, int]] = field(default_factory=list)  # workload, desired, ready
    utilization: dict[str, float] = field(default_factory=dict)
    slos: list[SloState] = field(default_factory=list)
    event: str = ""
    rps_history: list[float] = field(default_factory=list)


class View(Protocol):
    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def show(self, snapshot: Snapshot) -> None: ...

    def say(self, text: str) -> None:
        """A line that stays: a phase that is done."""
        ...


class QuietView:
    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        return None

    def show(self, snapshot: Snapshot) -> None:
        return None

    def say(self, text: str) -> None:
        return None


class LineView:
    """For logs: plain lines, no control characters."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._last: tuple[str, float] = ("", -LINE_SECONDS)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        return None

    def show(self, snapshot: Snapshot) -> None:
        phase, shown_at = self._last
        label = f"{snapshot.phase} {snapshot.stage}".strip()
        if label == phase and snapshot.elapsed - shown_at < LINE_SECONDS:
            return
        self._last = (label, snapshot.elapsed)
        parts = [f"{snapshot.elapsed:6.1f} s", label]
        if snapshot.phase == "load":
            parts += [
                f"{snapshot.rps:.0f} rps",
                f"p99 {_ms(snapshot.p99_ms)}",
                f"{snapshot.failures} failures",
            ]
            parts += [f"{name} {ready}/{desired}" for name, desired, ready in snapshot.replicas]
        self._console.print("  ".join(parts), highlight=False)

    def say(self, text: str) -> None:
        self._console.print(text, highlight=False)


class TerminalView:
    """For people: redrawn in place four times a second."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._live = Live(console=console, refresh_per_second=4, transient=True)

    def __enter__(self) -> Self:
        self._live.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.__exit__(kind, error, trace)

    def show(self, snapshot: Snapshot) -> None:
        self._live.update(_draw(snapshot))

    def say(self, text: str) -> None:
        self._live.console.print(text, highlight=False)


def choose_view(console: Console, *, quiet: bool) -> View:
    if quiet:
        return QuietView()
    return TerminalView(console) if console.is_terminal else LineView(console)


def _draw(s: Snapshot) -> Group:
    head = Text.assemble((f"{s.phase} ", "bold"), s.stage)
    total = s.elapsed + (s.left or 0.0)
    left = "" if s.left is None else f", {s.left:.0f} s left"
    bar = Table.grid(padding=(0, 1))
    bar.add_row(ProgressBar(total=max(total, 0.1), completed=s.elapsed, width=40), f"{s.elapsed:.0f} s{left}")
    table = Table.grid(padding=(0, 2))
    table.add_column(style="dim", min_width=9)
    table.add_column()
    if s.phase == "load":
        target = "" if s.target_rps is None else f" of {s.target_rps:.0f} offered"
        table.add_row("load", f"{s.rps:.0f} rps{target}  {s.users} users  {_spark(s.rps_history)}")
        table.add_row("latency", f"p99 {_ms(s.p99_ms)}   failures {s.failures}")
    for name, desired, ready in s.replicas:
        used = s.utilization.get(name)
        cpu = "" if used is None else f"   CPU {used:.0%} of request"
        table.add_row(name, Text(f"{ready} ready of {desired} desired{cpu}"))
    if s.slos:
        table.add_row("SLOs", Text("  ").join(_slo(one) for one in s.slos))
    if s.event:
        table.add_row("last", Text(s.event, style="dim"))
    return Group(head, bar, table)


def _slo(state: SloState) -> Text:
    style = {True: "green", False: "red", None: "dim"}[state.ok]
    word = {True: "held", False: "broken", None: "no data yet"}[state.ok]
    return Text(f"{state.name} {word} {state.shown}".rstrip(), style=style)


def _ms(value: float | None) -> str:
    return "-" if value is None else f"{value:.0f} ms"


def _spark(values: Sequence[float], width: int = 30) -> str:
    recent = list(values)[-width:]
    top = max(recent, default=0.0)
    if top <= 0:
        return ""
    return "".join(BLOCKS[min(7, int(v / top * 7.999))] for v in recent)
