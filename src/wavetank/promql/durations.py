"""Duration expressions: arithmetic inside ``[...]`` and after ``offset``.

Mirrors the ``duration_expr`` rules of upstream's grammar and ``promql/durations.go``. After ``offset``, an
operator ends the offset unless it is in parentheses: ``foo offset -2^2`` is ``(foo offset -2)^2``.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Final, TypeAlias

from wavetank.errors import InputError
from wavetank.limits import PROMQL_DEPTH_MAX, PROMQL_NESTING_MAX
from wavetank.promql.ast import DurationExpr, NumberLiteral
from wavetank.promql.tokens import Token

if TYPE_CHECKING:
    from wavetank.promql.parser import _Parser

__all__ = ["DurationParser", "evaluate_duration"]

Duration: TypeAlias = NumberLiteral | DurationExpr

_PRECEDENCE: Final = {"+": 1, "-": 1, "*": 2, "/": 2, "%": 2, "^": 3}
_UNARY: Final = 2
_SECONDS_MAX: Final = 2**63 / 1e9
_NS_MS: Final = 1_000_000


class DurationParser:
    """The part of the parser that reads durations; shares its tokens."""

    def __init__(self, parser: _Parser) -> None:
        self._p = parser
        self._context = ("", "")
        self._depth = 0
        self._operators = 0

    def positive(self, context: str, expected: str) -> Duration:
        """A range or step; a literal must be above zero."""
        self._context = (context, expected)
        self._operators = 0
        found = self._expression(0)
        if isinstance(found, NumberLiteral) and not found.value > 0:
            self._p.complain("duration must be greater than 0", found.start, found.end)
            return replace(found, value=0.0)
        return found

    def offset(self) -> Duration:
        """What may follow ``offset``: one signed operand, or anything in parentheses."""
        self._context = ("offset", "number, duration, step(), or range()")
        self._operators = 0
        if self._p.token.kind == "(":
            return self._expression(0)
        if self._p.token.kind not in ("+", "-"):
            return self._operand()
        sign = self._p.advance()
        if self._p.token.kind in ("+", "-"):
            return self._signed(sign, self._expression(_UNARY))
        if self._p.token.kind == "(":
            return self._signed(sign, self._parenthesised())
        return self._signed(sign, self._operand())

    def split(self, found: Duration) -> tuple[int, DurationExpr | None]:
        """Milliseconds of a literal, or 0 and the expression to evaluate when the query runs."""
        if isinstance(found, DurationExpr):
            return 0, found
        return _milliseconds(found.value), None

    def _expression(self, floor: int) -> Duration:
        self._depth += 1
        if self._depth > PROMQL_NESTING_MAX:
            token = self._p.token
            self._p.fail(
                f"expression is nested deeper than the {PROMQL_NESTING_MAX} levels allowed",
                token.start,
                token.end,
            )
        if self._p.token.kind in ("+", "-"):
            sign = self._p.advance()
            left = self._signed(sign, self._expression(_UNARY))
        else:
            left = self._operand()
        while (precedence := _PRECEDENCE.get(self._p.token.kind, 0)) > floor:
            operator = self._p.advance()
            self._operators += 1
            if self._operators > PROMQL_DEPTH_MAX:
                self._p.too_deep()
            right = self._expression(precedence - 1 if operator.kind == "^" else precedence)
            left = self._binary(operator, left, right)
        self._depth -= 1
        return left

    def _binary(self, operator: Token, left: Duration, right: Duration) -> Duration:
        self._experimental(left)
        if operator.kind in "/%" and isinstance(right, NumberLiteral) and right.value == 0:
            what = "division" if operator.kind == "/" else "modulo"
            self._p.complain(f"{what} by zero", operator.start, operator.end)
            return NumberLiteral(0.0, False, (left.start, right.end))
        return DurationExpr(operator.kind, left, right, span=(left.start, right.end))

    def _operand(self) -> Duration:
        kind = self._p.token.kind
        if kind in ("NUMBER", "DURATION"):
            return self._bounded(self._p.number_literal())
        if kind == "(":
            return self._parenthesised()
        if kind in ("step", "range"):
            name = self._p.advance()
            self._need("(")
            self._p.advance()
            self._need(")")
            closed = self._p.advance()
            return self._experimental(DurationExpr(name.kind, span=(name.start, closed.end)))
        if kind in ("min_of", "max_of"):
            return self._extreme()
        self._p.unexpected(*self._context)

    def _extreme(self) -> Duration:
        name = self._p.advance()
        self._need("(")
        self._p.advance()
        left = self._expression(0)
        self._need(",")
        self._p.advance()
        right = self._expression(0)
        self._need(")")
        closed = self._p.advance()
        return self._experimental(DurationExpr(name.kind, left, right, span=(name.start, closed.end)))

    def _parenthesised(self) -> Duration:
        opened = self._p.advance()
        inner = self._expression(0)
        self._need(")")
        closed = self._p.advance()
        self._experimental(inner)
        if isinstance(inner, DurationExpr):
            return replace(inner, wrapped=True)
        return DurationExpr("+", None, inner, True, (opened.start, closed.end))

    def _need(self, kind: str) -> None:
        if self._p.token.kind != kind:
            self._p.unexpected(*self._context)

    def _signed(self, sign: Token, operand: Duration) -> Duration:
        if isinstance(operand, NumberLiteral):
            value = -operand.value if sign.kind == "-" else operand.value
            return self._bounded(replace(operand, value=value, span=(sign.start, operand.end)))
        if sign.kind == "+":
            return operand
        return DurationExpr("-", None, operand, span=(sign.start, operand.end))

    def _bounded(self, literal: NumberLiteral) -> NumberLiteral:
        if abs(literal.value) > _SECONDS_MAX:
            self._p.complain("duration out of range", literal.start, literal.end)
            return replace(literal, value=0.0)
        return literal

    def _experimental(self, found: Duration) -> Duration:
        if not self._p.options.durations:
            self._p.complain("experimental duration expression is not enabled", found.start, found.end)
        return found


def _milliseconds(seconds: float) -> int:
    nanoseconds = round(seconds * 1e9)
    return nanoseconds // _NS_MS if nanoseconds >= 0 else -(-nanoseconds // _NS_MS)


def evaluate_duration(expr: Duration, step_ms: int, range_ms: int, *, signed: bool) -> int:
    """Milliseconds of a duration expression for one query. Raises InputError with upstream's texts."""
    seconds = _seconds(expr, step_ms / 1000, range_ms / 1000)
    place = f"{expr.start}:{expr.end}"
    if math.isnan(seconds) or math.isinf(seconds):
        raise InputError(f"{place}: duration is NaN or infinite")
    if seconds <= 0 and not signed:
        raise InputError(f"{place}: duration must be greater than 0")
    if abs(seconds) > _SECONDS_MAX:
        raise InputError(f"{place}: duration is out of range")
    return int(seconds * 1000)


def _seconds(expr: Duration, step: float, width: float) -> float:
    if isinstance(expr, NumberLiteral):
        return expr.value
    if expr.op == "step":
        return step
    if expr.op == "range":
        return width
    assert expr.rhs is not None
    right = _seconds(expr.rhs, step, width)
    if expr.lhs is None:
        return -right if expr.op == "-" else right
    left = _seconds(expr.lhs, step, width)
    place = f"{expr.start}:{expr.end}"
    match expr.op:
        case "min_of":
            return min(left, right)
        case "max_of":
            return max(left, right)
        case "+":
            return left + right
        case "-":
            return left - right
        case "*":
            return left * right
        case "/" | "%":
            if right == 0:
                raise InputError(f"{place}: {'division' if expr.op == '/' else 'modulo'} by zero")
            return left / right if expr.op == "/" else math.fmod(left, right)
    try:
        power = left**right
        return power if isinstance(power, float) else math.nan
    except (OverflowError, ZeroDivisionError):
        return math.inf
