"""The syntax tree of PromQL.

Mirrors ``promql/parser/ast.go``. Nodes are immutable values; times and durations are whole milliseconds.
``start`` and ``end`` are character positions in the query. ``str(node)`` prints it back as upstream does.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

from wavetank.model.labels import Matcher
from wavetank.promql.signatures import Signature

__all__ = [
    "AggregateExpr",
    "BinaryExpr",
    "Call",
    "DurationExpr",
    "Expr",
    "MatrixSelector",
    "NumberLiteral",
    "ParenExpr",
    "StringLiteral",
    "SubqueryExpr",
    "UnaryExpr",
    "ValueType",
    "VectorMatching",
    "VectorSelector",
    "children",
    "documented_type",
    "selectors",
    "walk",
]

ValueType: TypeAlias = Literal["none", "scalar", "vector", "matrix", "string"]
StartOrEnd: TypeAlias = Literal["", "start", "end"]
Card: TypeAlias = Literal["one-to-one", "many-to-one", "one-to-many", "many-to-many"]

_DOCUMENTED: Final = {"vector": "instant vector", "matrix": "range vector"}


def documented_type(kind: ValueType) -> str:
    """The type as error messages and the documentation call it."""
    return _DOCUMENTED.get(kind, kind)


class Expr:
    """Base of all nodes."""

    __slots__ = ()

    @property
    def type(self) -> ValueType:
        raise NotImplementedError

    @property
    def start(self) -> int:
        raise NotImplementedError

    @property
    def end(self) -> int:
        raise NotImplementedError

    def __str__(self) -> str:
        from wavetank.promql.printer import print_expr

        return print_expr(self)


class _Placed(Expr):
    """A node that knows its own place in the query."""

    __slots__ = ()

    span: tuple[int, int]

    @property
    def start(self) -> int:
        return self.span[0]

    @property
    def end(self) -> int:
        return self.span[1]


@dataclass(frozen=True, slots=True)
class NumberLiteral(_Placed):
    value: float
    is_duration: bool
    span: tuple[int, int]

    @property
    def type(self) -> ValueType:
        return "scalar"


@dataclass(frozen=True, slots=True)
class StringLiteral(_Placed):
    value: str
    span: tuple[int, int]

    @property
    def type(self) -> ValueType:
        return "string"


@dataclass(frozen=True, slots=True)
class DurationExpr(Expr):
    """Arithmetic on durations: ``op`` is an operator or one of step, range, min_of, max_of."""

    op: str
    lhs: NumberLiteral | DurationExpr | None = None
    rhs: NumberLiteral | DurationExpr | None = None
    wrapped: bool = False
    span: tuple[int, int] = (0, 0)

    @property
    def type(self) -> ValueType:
        return "scalar"

    @property
    def start(self) -> int:
        return self.span[0] if self.lhs is None else self.lhs.start

    @property
    def end(self) -> int:
        return self.span[1] if self.rhs is None else self.rhs.end


@dataclass(frozen=True, slots=True)
class VectorSelector(_Placed):
    """``offset_ms`` and ``at_ms`` as written; ``matchers`` includes the one for ``name``, last.

    ``stats_only`` is set by the planner: nothing but counts and sums of histograms is wanted.
    """

    name: str
    matchers: tuple[Matcher, ...]
    span: tuple[int, int]
    offset_ms: int = 0
    offset_expr: DurationExpr | None = None
    at_ms: int | None = None
    at: StartOrEnd = ""
    anchored: bool = False
    smoothed: bool = False
    stats_only: bool = False

    @property
    def type(self) -> ValueType:
        return "vector"


@dataclass(frozen=True, slots=True)
class MatrixSelector(_Placed):
    selector: VectorSelector
    range_ms: int
    range_expr: DurationExpr | None
    span: tuple[int, int]

    @property
    def type(self) -> ValueType:
        return "matrix"


@dataclass(frozen=True, slots=True)
class SubqueryExpr(_Placed):
    """``step_ms`` 0 means the engine's default."""

    expr: Expr
    range_ms: int
    range_expr: DurationExpr | None
    step_ms: int
    step_expr: DurationExpr | None
    span: tuple[int, int]
    offset_ms: int = 0
    offset_expr: DurationExpr | None = None
    at_ms: int | None = None
    at: StartOrEnd = ""

    @property
    def type(self) -> ValueType:
        return "matrix"


@dataclass(frozen=True, slots=True)
class Call(_Placed):
    func: Signature
    args: tuple[Expr, ...]
    span: tuple[int, int]

    @property
    def type(self) -> ValueType:
        return self.func.returns


@dataclass(frozen=True, slots=True)
class AggregateExpr(_Placed):
    op: str
    expr: Expr
    param: Expr | None
    grouping: tuple[str, ...]
    without: bool
    span: tuple[int, int]

    @property
    def type(self) -> ValueType:
        return "vector"


@dataclass(frozen=True, slots=True)
class VectorMatching:
    """How the elements of two vectors pair up. ``fill_*`` stand in for a missing partner, None if unset."""

    card: Card = "one-to-one"
    labels: tuple[str, ...] = ()
    on: bool = False
    include: tuple[str, ...] = ()
    fill_left: float | None = None
    fill_right: float | None = None


@dataclass(frozen=True, slots=True)
class BinaryExpr(Expr):
    """``matching`` is None unless both sides are vectors."""

    op: str
    lhs: Expr
    rhs: Expr
    matching: VectorMatching | None = None
    return_bool: bool = False

    @property
    def type(self) -> ValueType:
        both_scalar = self.lhs.type == "scalar" and self.rhs.type == "scalar"
        return "scalar" if both_scalar else "vector"

    @property
    def start(self) -> int:
        return self.lhs.start

    @property
    def end(self) -> int:
        return self.rhs.end


@dataclass(frozen=True, slots=True)
class UnaryExpr(Expr):
    op: str
    expr: Expr
    start_at: int

    @property
    def type(self) -> ValueType:
        return self.expr.type

    @property
    def start(self) -> int:
        return self.start_at

    @property
    def end(self) -> int:
        return self.expr.end


@dataclass(frozen=True, slots=True)
class ParenExpr(_Placed):
    expr: Expr
    span: tuple[int, int]

    @property
    def type(self) -> ValueType:
        return self.expr.type


def children(node: Expr) -> tuple[Expr, ...]:
    """The direct children of a node, as upstream orders them."""
    match node:
        case AggregateExpr():
            return (node.expr,) if node.param is None else (node.expr, node.param)
        case BinaryExpr():
            return (node.lhs, node.rhs)
        case Call():
            return node.args
        case SubqueryExpr() | ParenExpr() | UnaryExpr():
            return (node.expr,)
        case MatrixSelector():
            return (node.selector,)
    return ()


def walk(node: Expr) -> Iterator[Expr]:
    """All nodes, parents first, without recursion."""
    pending = [node]
    while pending:
        current = pending.pop()
        yield current
        pending.extend(reversed(children(current)))


def selectors(node: Expr) -> list[VectorSelector]:
    """The vector selectors of an expression in the order of the text."""
    return [n for n in walk(node) if isinstance(n, VectorSelector)]
