"""The script language of ``.test`` files: ``load``, ``clear`` and ``eval`` commands.

Mirrors the parsing half of ``promql/promqltest/test.go``.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from wavetank.errors import InputError, Location
from wavetank.model.duration import parse_duration
from wavetank.model.labels import Labels
from wavetank.promql.literals import parse_number, unquote
from wavetank.promql.parser import ParseError
from wavetank.promql.series_description import SequenceValue, parse_series_description

__all__ = ["Clear", "Command", "Eval", "Expectation", "Load", "parse_script"]

_LOAD = re.compile(r"^load(?:_(with_nhcb))?\s+(.+?)$")
_INSTANT = re.compile(r"^eval(?:_(fail|warn|ordered|info))?\s+instant\s+(?:at\s+(.+?))?\s+(.+)$")
_RANGE = re.compile(r"^eval(?:_(fail|warn|info))?\s+range\s+from\s+(.+)\s+to\s+(.+)\s+step\s+(.+?)\s+(.+)$")
_EXPECT = re.compile(r"^expect\s+(ordered|fail|warn|no_warn|info|no_info)(?:\s+(regex|msg):(.+))?$")
_EXPECT_RANGE = re.compile(r"^expect range vector\s+from\s+(.+)\s+to\s+(.+)\s+step\s+(.+)$")
_START_TIMES = re.compile(r"^(\S+)@st[ \t]+(.+)$")
_START_ITEM = re.compile(
    r"^(?:_(?:x(?P<blanks>[0-9]+))?"
    r"|(?P<base>[+-]?[0-9]+[a-wyz]*)(?:(?P<op>[+-])(?P<delta>[+-]?[0-9]+[a-wyz]*))?(?:x(?P<times>[0-9]+))?)$"
)


@dataclass(frozen=True, slots=True)
class Clear:
    line: int


@dataclass(frozen=True, slots=True)
class LoadedSeries:
    """``starts``: milliseconds relative to each sample's time, None where not given; empty if none are."""

    labels: Labels
    values: Sequence[SequenceValue]
    starts: Sequence[int | None] = ()


@dataclass(frozen=True, slots=True)
class Load:
    """Samples every ``step_ms`` from time 0; ``with_nhcb`` also turns classic histograms into native ones."""

    line: int
    step_ms: int
    with_nhcb: bool
    series: Sequence[LoadedSeries]


@dataclass(frozen=True, slots=True)
class Expectation:
    """An error or annotation that a query must give: an exact text, or a pattern found in it."""

    message: str | None = None
    pattern: re.Pattern[str] | None = None

    def matches(self, text: str) -> bool:
        if self.pattern is not None:
            return self.pattern.search(text) is not None
        return text == self.message

    def __str__(self) -> str:
        return repr(self.message) if self.pattern is None else f"pattern {self.pattern.pattern!r}"


@dataclass(slots=True)
class Eval:
    """One query and what it must give. ``step_ms`` 0 is an instant query at ``end_ms``."""

    line: int
    expr: str
    start_ms: int
    end_ms: int
    step_ms: int
    is_range: bool
    expects: dict[str, list[Expectation]] = field(default_factory=dict)
    scalar: float | None = None
    series: dict[Labels, tuple[int, Sequence[SequenceValue]]] = field(default_factory=dict)
    text: str = ""
    instant_only: bool = False

    @property
    def must_fail(self) -> bool:
        return "fail" in self.expects

    @property
    def ordered(self) -> bool:
        return "ordered" in self.expects


Command: TypeAlias = Clear | Load | Eval


def parse_script(text: str, path: str) -> list[Command]:
    """The commands of a script. Raises InputError with file and line."""
    lines = [line.strip() for line in text.split("\n")]
    lines = ["" if line.startswith("#") else line for line in lines]
    commands: list[Command] = []
    at = 0
    while at < len(lines):
        if not lines[at]:
            at += 1
            continue
        block = [lines[at]]
        while at + len(block) < len(lines) and lines[at + len(block)]:
            block.append(lines[at + len(block)])
        try:
            commands.append(_command(block, at + 1))
            at += len(block) if not isinstance(commands[-1], Clear) else 1
        except (ValueError, ParseError) as error:
            raise InputError(str(error), at=Location(path, at + 1)) from None
    return commands


def _command(block: list[str], line: int) -> Command:
    word = block[0].split(maxsplit=1)[0].lower()
    if word == "clear":
        return Clear(line)
    if word.startswith("load"):
        return _load(block, line)
    if word.startswith("eval"):
        return _eval(block, line)
    raise ValueError(f"invalid command {block[0]!r}")


def _load(block: list[str], line: int) -> Load:
    head = _LOAD.match(block[0])
    if head is None:
        raise ValueError("invalid load command. (load[_with_nhcb] <step:duration>)")
    series: list[LoadedSeries] = []
    pending: tuple[Labels, list[int | None]] | None = None
    for text in block[1:]:
        start_line = _START_TIMES.match(text)
        if start_line is not None:
            if pending is not None:
                raise ValueError("@st line has no following sample line")
            labels, _ = parse_series_description(start_line[1] + " _")
            pending = labels, _start_times(start_line[2])
            continue
        labels, values = parse_series_description(text)
        starts: list[int | None] = []
        if pending is not None:
            if pending[0] != labels:
                raise ValueError("@st metric does not match the following sample line metric")
            starts = pending[1]
            if len(starts) != len(values):
                raise ValueError(f"@st line has {len(starts)} values but sample line has {len(values)}")
            pending = None
        series.append(LoadedSeries(labels, values, starts))
    if pending is not None:
        raise ValueError("@st line has no following sample line")
    return Load(line, parse_duration(head[2]), head[1] is not None, series)


def _signed_duration(text: str) -> int:
    sign = -1 if text.startswith("-") else 1
    return sign * parse_duration(text.lstrip("+-"))


def _start_times(text: str) -> list[int | None]:
    out: list[int | None] = []
    for item in text.split():
        found = _START_ITEM.match(item)
        if found is None:
            raise ValueError(f"invalid @st sequence: invalid ST item {item!r}")
        if found["base"] is None:
            out += [None] * int(found["blanks"] or 1)
            continue
        value = _signed_duration(found["base"])
        delta = _signed_duration(found["delta"]) if found["delta"] is not None else 0
        delta = -delta if found["op"] == "-" else delta
        for _ in range(int(found["times"] or 0) + 1):
            out.append(value)
            value += delta
    return out


def _eval(block: list[str], line: int) -> Eval:
    instant, ranged = _INSTANT.match(block[0]), _RANGE.match(block[0])
    if instant is not None:
        at = parse_duration(instant[2])
        command = Eval(line, instant[3], at, at, 0, False)
        mode = instant[1]
    elif ranged is not None:
        start, end, step = (parse_duration(ranged[i]) for i in (2, 3, 4))
        if end < start:
            raise ValueError(f"invalid test definition, end timestamp ({end}) is before start ({start})")
        command = Eval(line, ranged[5], start, end, step, True)
        mode = ranged[1]
    else:
        raise ValueError(
            "invalid evaluation command. Must be either 'eval[_fail|_warn|_ordered] instant [at <time>] "
            "<query>' or 'eval[_fail|_warn] range from <from> to <to> step <step> <query>'"
        )
    if mode is not None:
        command.expects[mode] = [Expectation(pattern=re.compile(""))]
    position = 0
    for text in block[1:]:
        position += _expectation(command, text, position)
        if command.scalar is not None or (command.must_fail and text.startswith("expected_fail")):
            break
    return command


def _expectation(command: Eval, text: str, position: int) -> int:
    """Takes one line of what is expected; 1 if it is a series, which has a place in the order."""
    if command.must_fail and text.startswith("expected_fail_message"):
        command.expects["fail"] = [Expectation(text.removeprefix("expected_fail_message").strip())]
        return 0
    if command.must_fail and text.startswith("expected_fail_regexp"):
        pattern = re.compile(text.removeprefix("expected_fail_regexp").strip())
        command.expects["fail"] = [Expectation(pattern=pattern)]
        return 0
    if text.startswith("expect range vector"):
        found = _EXPECT_RANGE.match(text)
        if found is None:
            raise ValueError(f"invalid range vector definition {text!r}")
        command.start_ms, command.end_ms, command.step_ms = (parse_duration(found[i]) for i in (1, 2, 3))
        command.instant_only = True
        return 0
    if text.startswith("expect string"):
        command.text = unquote(text.removeprefix("expect string").strip())
        command.instant_only = True
        return 0
    if text.split()[0] == "expect":
        kind, expectation = _annotation(text)
        command.expects.setdefault(kind, []).append(expectation)
        return 0
    number = _number(text)
    if number is not None:
        command.scalar = number
        return 0
    labels, values = parse_series_description(text)
    if len(values) > 1 and not command.is_range and not command.instant_only:
        raise ValueError("expecting multiple values in instant evaluation not allowed")
    command.series[labels] = (position, values)
    return 1


def _annotation(text: str) -> tuple[str, Expectation]:
    found = _EXPECT.match(text)
    if found is None:
        raise ValueError("invalid expect statement, must match `expect <type> <match_type>: <string>` format")
    if found[2] == "msg":
        return found[1], Expectation(found[3].strip())
    pattern = found[3].strip() if found[2] == "regex" else ""
    return found[1], Expectation(pattern=re.compile(pattern))


def _number(text: str) -> float | None:
    sign = -1.0 if text.startswith("-") else 1.0
    try:
        return sign * parse_number(text.lstrip("+-"))
    except ValueError:
        return None
