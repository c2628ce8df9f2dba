"""Runs ``.test`` files and reports each failure with expected and got.

Mirrors the executing half of ``promql/promqltest/test.go``: every instant query is run again as a range query
around its time, and with ``@`` set to its time on every selector and evaluated at other times, which must all
give the same.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Final

from wavetank.errors import InputError
from wavetank.promql import ast
from wavetank.promql.ast import Expr
from wavetank.promql.context import EngineOptions
from wavetank.promql.engine import Engine
from wavetank.promql.failures import QueryError
from wavetank.promql.options import EXPERIMENTAL
from wavetank.promql.parser import parse_expr
from wavetank.promql.planner import AT_MODIFIER_UNSAFE
from wavetank.promql.promqltest.compare import (
    Mismatch,
    check_annotations,
    check_result,
    check_scalar,
    check_vector,
)
from wavetank.promql.promqltest.memory import MemoryStorage
from wavetank.promql.promqltest.nhcb import native_from_classic
from wavetank.promql.promqltest.script import Clear, Eval, Load, parse_script
from wavetank.promql.result import Result

__all__ = ["TEST_OPTIONS", "Script", "run_files"]

TEST_OPTIONS: Final = EngineOptions(
    samples_max=10_000,
    timeout_seconds=100,
    subquery_step_ms=60_000,
    parser=EXPERIMENTAL,
    delayed_name_removal=True,
    use_start_timestamps=True,
)
_CONTEXT_FUNCTIONS = re.compile(r"(start|end|range|step)\(\)")
_MINUTE: Final = 60_000


def run_files(paths: Iterable[str | Path], out: Callable[[str], None]) -> tuple[int, int]:
    """Runs the scripts; ``out`` gets a line per failure and the total. Returns (passed, failed).

    Raises InputError for a file that cannot be read or is no script.
    """
    passed = failed = 0
    for path in paths:
        try:
            text = Path(path).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(f"cannot read test file: {error}", at=str(path)) from None
        for command, problem in Script(text, str(path)).run():
            if problem is None:
                passed += 1
            else:
                failed += 1
                out(f"{path}:{command.line}: {command.expr}: {problem}")
    out(f"{passed + failed} evals: {passed} passed, {failed} failed")
    return passed, failed


class Script:
    """One script with the storage it fills."""

    def __init__(self, text: str, path: str, options: EngineOptions = TEST_OPTIONS) -> None:
        """Raises InputError if it is no script."""
        self._commands = parse_script(text, path)
        self._engine = Engine(options)
        self._storage = MemoryStorage()

    def run(self) -> Iterator[tuple[Eval, str | None]]:
        """Each evaluation with what is wrong with it, or None."""
        for command in self._commands:
            if isinstance(command, Clear):
                self._storage = MemoryStorage()
            elif isinstance(command, Load):
                _fill(self._storage, command)
            else:
                try:
                    self._check(command)
                except Mismatch as mismatch:
                    yield command, str(mismatch)
                else:
                    yield command, None

    def _check(self, command: Eval) -> None:
        if command.is_range:
            result = self._query(command, command.expr, None)
            if result is not None:
                check_result(command, result)
            return
        at = command.end_ms
        self._check_instant(command, command.expr, at)
        try:
            pinned = pin(parse_expr(command.expr, EXPERIMENTAL), at)
        except InputError as error:
            if command.must_fail:
                return
            raise Mismatch(str(error)) from None
        if pinned is None:
            return
        times = (-10 * at, 0, at // 5, at, 10 * at) if at else (-1000, 0, 1000)
        for time in times:
            try:
                self._check_instant(command, str(pinned), time)
            except Mismatch as mismatch:
                raise Mismatch(f"as {pinned} at {time} ms: {mismatch}") from None

    def _check_instant(self, command: Eval, expr: str, at: int) -> None:
        result = self._query(command, expr, at)
        if result is None:
            return
        check_result(command, result)
        if command.instant_only or _CONTEXT_FUNCTIONS.search(expr):
            return
        try:
            ranged = self._engine.query_range(self._storage, expr, at - _MINUTE, at + _MINUTE, _MINUTE)
        except (QueryError, InputError) as error:
            raise Mismatch(f"error in range mode: {error}") from None
        if command.ordered:
            return
        rows = [row for row in ranged.vector() if row[1] == at]
        try:
            if result.type == "scalar":
                value = rows[0][2]
                assert isinstance(value, float)
                check_scalar(command, value)
            else:
                check_vector(command, rows)
        except Mismatch as mismatch:
            raise Mismatch(f"in range mode: {mismatch}") from None

    def _query(self, command: Eval, expr: str, at: int | None) -> Result | None:
        """The result; None if the query was to fail and did."""
        try:
            if at is None:
                result = self._engine.query_range(
                    self._storage, expr, command.start_ms, command.end_ms, command.step_ms
                )
            else:
                result = self._engine.query_instant(self._storage, expr, at)
        except (QueryError, InputError) as error:
            if not command.must_fail:
                raise Mismatch(f"error evaluating query: {error}") from None
            expected = command.expects["fail"][0]
            if not expected.matches(error.message):
                raise Mismatch(f"expected error matching {expected}, but got: {error.message}") from None
            return None
        if command.must_fail:
            raise Mismatch("expected an error but got none")
        check_annotations(command, result.warnings, result.infos)
        return result


def _fill(storage: MemoryStorage, command: Load) -> None:
    loaded = []
    for series in command.series:
        floats = []
        for i, value in enumerate(series.values):
            ts = i * command.step_ms
            if value.omitted:
                continue
            start = series.starts[i] if series.starts else None
            created = 0 if start is None else ts + start
            storage.add(series.labels, ts, value.value, value.histogram, created)
            if value.histogram is None:
                floats.append((ts, value.value))
        loaded.append((series.labels, floats))
    if command.with_nhcb:
        for labels, ts, histogram in native_from_classic(loaded):
            storage.add(labels, ts, histogram=histogram)


def pin(node: Expr, at_ms: int) -> Expr | None:
    """The expression with ``@`` on every selector that has none; None if it depends on the time itself."""
    unsafe = any(isinstance(n, ast.Call) and n.func.name in AT_MODIFIER_UNSAFE for n in _outside(node))
    return None if unsafe else _pinned(node, at_ms)


def _outside(node: Expr) -> Iterator[Expr]:
    """All nodes but those inside a subquery that already has an ``@``."""
    yield node
    if isinstance(node, ast.SubqueryExpr) and node.at_ms is not None:
        return
    for child in ast.children(node):
        yield from _outside(child)


def _pinned(node: Expr, at_ms: int) -> Expr:
    match node:
        case ast.VectorSelector():
            return node if node.at_ms is not None else replace(node, at_ms=at_ms)
        case ast.MatrixSelector():
            inner = node.selector
            return node if inner.at_ms is not None else replace(node, selector=replace(inner, at_ms=at_ms))
        case ast.SubqueryExpr():
            # What is inside is pinned by the subquery itself.
            return node if node.at_ms is not None else replace(node, at_ms=at_ms)
        case ast.Call():
            return replace(node, args=tuple(_pinned(a, at_ms) for a in node.args))
        case ast.AggregateExpr():
            param = None if node.param is None else _pinned(node.param, at_ms)
            return replace(node, expr=_pinned(node.expr, at_ms), param=param)
        case ast.BinaryExpr():
            return replace(node, lhs=_pinned(node.lhs, at_ms), rhs=_pinned(node.rhs, at_ms))
        case ast.ParenExpr() | ast.UnaryExpr():
            return replace(node, expr=_pinned(node.expr, at_ms))
    return node
