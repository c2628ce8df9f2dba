"""The PromQL parser: text to syntax tree.

Mirrors ``promql/parser`` of Prometheus 3.14: the same language, the same precedence, the same error texts at
the same places. Binary operators are parsed with an explicit stack and nesting is bounded, so that no input
exhausts Python's stack. Upstream recovers after a syntax error to report more of them; here parsing stops at
the first, which is the only one upstream prints.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final, NoReturn, TypeVar, cast

from wavetank.limits import (
    PROMQL_DEPTH_MAX,
    PROMQL_ISSUES_MAX,
    PROMQL_NESTING_MAX,
    PROMQL_QUERY_BYTES_MAX,
    PROMQL_REGEX_SIZE_MAX,
    PROMQL_TOKENS_MAX,
)
from wavetank.model.duration import parse_duration
from wavetank.model.labels import METRIC_NAME, Matcher, MatchType, is_valid_label_name
from wavetank.model.quoting import quote
from wavetank.promql import ast
from wavetank.promql.ast import Expr, VectorMatching
from wavetank.promql.check import check_types, settle
from wavetank.promql.durations import DurationParser
from wavetank.promql.lexer import Lexer, LexError
from wavetank.promql.literals import go_regex_error, parse_number, unquote
from wavetank.promql.options import ParserOptions
from wavetank.promql.parse_error import ParseError, ParseIssue, position
from wavetank.promql.signatures import SIGNATURES
from wavetank.promql.tokens import AGGREGATORS, LABEL_KEYWORDS, METRIC_KEYWORDS, PARAMETRIC, Token, describe

__all__ = ["ParseError", "ParseIssue", "parse_expr", "parse_metric", "parse_metric_selector", "position"]

_PRECEDENCE: Final = {
    "or": 1, "and": 2, "unless": 2,
    "==": 3, "!=": 3, "<=": 3, "<": 3, ">=": 3, ">": 3, "</": 3, ">/": 3,
    "+": 4, "-": 4,
    "*": 5, "/": 5, "%": 5, "atan2": 5,
    "^": 6,
}  # fmt: skip
_UNARY: Final = 5
_MATCH_TYPES: Final = {m.value: m for m in MatchType}
_Selector = TypeVar("_Selector", ast.VectorSelector, ast.SubqueryExpr)


class _Syntax(Exception):
    """Parsing cannot go on; the complaint is already recorded."""


def parse_expr(text: str | bytes, options: ParserOptions | None = None) -> Expr:
    """The syntax tree of a query. Raises ParseError."""
    parser = _Parser(_bounded(text), options or ParserOptions())
    expr = parser.run(parser.whole_expression)
    parser.check(expr)
    return settle(expr)


def parse_metric_selector(text: str | bytes) -> list[Matcher]:
    """The matchers of a selector without modifiers, as ``match[]`` takes them. Raises ParseError."""
    parser = _Parser(_bounded(text), ParserOptions())
    return list(parser.run(parser.whole_selector).matchers)


def parse_metric(text: str | bytes) -> list[tuple[str, str]]:
    """Name and labels of one series, e.g. ``up{job="x"}``, unsorted. Raises ParseError."""
    parser = _Parser(_bounded(text), ParserOptions())
    selector = parser.run(parser.whole_selector)
    if any(m.type is not MatchType.EQUAL for m in selector.matchers):
        parser.fail('unexpected matcher in label set, expected "="', 0, len(parser.text))
    return [(m.name, m.value) for m in selector.matchers]


def _bounded(text: str | bytes) -> str:
    if isinstance(text, bytes):
        size, decoded = len(text), text.decode("utf-8", errors="surrogateescape")
    else:
        size, decoded = len(text), text
    if size > PROMQL_QUERY_BYTES_MAX:
        message = f"query of {size} bytes is longer than the {PROMQL_QUERY_BYTES_MAX} bytes allowed"
        raise ParseError(decoded[:80], [ParseIssue(message, 0, 0)])
    return decoded


T = TypeVar("T")


class _Parser:
    """One parse: a token of look-ahead, the complaints so far, and how deep we are."""

    def __init__(self, text: str, options: ParserOptions) -> None:
        self.text = text
        self.options = options
        self.issues: list[ParseIssue] = []
        self._lexer = Lexer(text)
        self._last_end = 0
        self._nesting = 0
        self._tokens = 0
        self._regex_size = 0
        self._recovery = ""  # the construct whose error production of the grammar is nearest
        self.token = Token("EOF", "", 0)
        self.durations = DurationParser(self)

    def run(self, rule: Callable[[], T]) -> T:
        """Apply a start rule. Raises ParseError if anything was wrong."""
        try:
            self.advance()
            result = rule()
        except _Syntax:
            raise ParseError(self.text, self.issues) from None
        if self.issues:
            raise ParseError(self.text, self.issues)
        return result

    def check(self, expr: Expr) -> None:
        for message, start, end in check_types(expr):
            while start < end and self.text[start].isspace():
                start += 1
            self.issues.append(ParseIssue(message, start, end))
        if self.issues:
            raise ParseError(self.text, self.issues)

    # --- tokens and complaints

    def advance(self) -> Token:
        """Consume the current token and return it; ``self.token`` is then the next one."""
        consumed = self.token
        if consumed.kind in ("}", ")", "]", "DURATION", "NUMBER"):
            self._last_end = consumed.end
        self._tokens += 1
        if self._tokens > PROMQL_TOKENS_MAX:
            message = f"query has more than the {PROMQL_TOKENS_MAX} words and signs allowed"
            self.fail(message, consumed.start, consumed.end)
        try:
            self.token = self._lexer.next()
        except LexError as error:
            self.token = Token("ERROR", error.message, error.start)
            self.complain(error.message, error.start, len(self.text))
            if self._recovery == "aggregation":
                self._no_arguments(error.start)
            raise _Syntax from None
        return consumed

    def complain(self, message: str, start: int, end: int) -> None:
        """Record an error and go on, unless there are very many."""
        self.issues.append(ParseIssue(message, start, end))
        if len(self.issues) >= PROMQL_ISSUES_MAX:
            raise _Syntax

    def fail(self, message: str, start: int, end: int) -> NoReturn:
        self.complain(message, start, end)
        raise _Syntax

    def unexpected(self, context: str = "", expected: str = "") -> NoReturn:
        """Fail at the current token."""
        token = self.token
        in_aggregation = context == "" and self._recovery == "aggregation"
        message = "unexpected " + describe(token)
        if in_aggregation:
            message += " in aggregation"
        elif context:
            message += f" in {context}"
        if expected:
            message += f", expected {expected}"
        self.complain(message, token.start, token.end)
        if in_aggregation:
            self._no_arguments(token.start)
        raise _Syntax

    def _no_arguments(self, start: int) -> None:
        self.complain("no arguments for aggregate expression provided", start, self._last_end)

    def expect(self, kind: str) -> Token:
        if self.token.kind != kind:
            self.unexpected()
        return self.advance()

    # --- start rules

    def whole_expression(self) -> Expr:
        if self.token.kind == "EOF":
            self.fail("no expression found in input", 0, 0)
        expr = self.expression()
        if self.token.kind != "EOF":
            self.unexpected()
        self._bound_depth(expr)
        return expr

    def whole_selector(self) -> ast.VectorSelector:
        if self.token.kind not in METRIC_KEYWORDS | {"IDENTIFIER", "METRIC_IDENTIFIER", "{"}:
            self.unexpected()
        selector = self.vector_selector()
        if self.token.kind != "EOF":
            self.unexpected()
        return selector

    def _bound_depth(self, expr: Expr) -> None:
        pending = [(expr, 1)]
        while pending:
            node, depth = pending.pop()
            if depth > PROMQL_DEPTH_MAX:
                self.too_deep()
            pending.extend((child, depth + 1) for child in ast.children(node))

    def too_deep(self) -> NoReturn:
        """Fail: the syntax tree would be too high."""
        message = f"expression is nested deeper than the {PROMQL_DEPTH_MAX} levels allowed"
        self.fail(message, 0, len(self.text))

    # --- operators

    def expression(self) -> Expr:
        """Operands and operators by precedence, with explicit stacks instead of recursion."""
        self._nesting += 1
        if self._nesting > PROMQL_NESTING_MAX:
            self.fail(
                f"expression is nested deeper than the {PROMQL_NESTING_MAX} levels allowed",
                self.token.start,
                self.token.end,
            )
        operands: list[Expr] = []
        operators: list[_Operator] = []
        heights: list[int] = []  # of the operands, each counted as one level itself
        while True:
            while self.token.kind in ("+", "-"):
                sign = self.advance()
                operators.append(_Operator(sign.kind, _UNARY, sign.start))
            operands.append(self._postfixed(self.primary()))
            heights.append(1)
            precedence = _PRECEDENCE.get(self.token.kind)
            if precedence is None:
                break
            while operators and (
                operators[-1].precedence > precedence
                or (operators[-1].precedence == precedence and precedence != 6)
            ):
                self._reduce(operands, heights, operators)
            operator = self.advance()
            operators.append(_Operator(operator.kind, precedence, operator.start, *self._modifiers()))
        while operators:
            self._reduce(operands, heights, operators)
        self._nesting -= 1
        return operands[0]

    def _reduce(self, operands: list[Expr], heights: list[int], operators: list[_Operator]) -> None:
        operator = operators.pop()
        rhs = operands.pop()
        if operator.matching is not None:
            lhs = operands.pop()
            height = 1 + max(heights.pop(), heights.pop())
            if height > PROMQL_DEPTH_MAX:
                self.too_deep()  # here, not when all is read: a chain of operators may be long
            heights.append(height)
            node = ast.BinaryExpr(operator.kind, lhs, rhs, operator.matching, operator.return_bool)
            operands.append(self._binary(node))
        elif isinstance(rhs, ast.NumberLiteral):
            value = -rhs.value if operator.kind == "-" else rhs.value
            operands.append(replace(rhs, value=value, span=(operator.start, rhs.end)))
        else:
            operands.append(ast.UnaryExpr(operator.kind, rhs, operator.start))

    def _binary(self, node: ast.BinaryExpr) -> ast.BinaryExpr:
        matching = node.matching
        assert matching is not None
        filled = matching.fill_left is not None or matching.fill_right is not None
        if filled and not self.options.fill:
            self.complain("binop fill modifiers are experimental and not enabled", node.start, node.end)
        return node

    def _modifiers(self) -> tuple[VectorMatching, bool]:
        """What may follow an operator: ``bool``, ``on`` or ``ignoring``, ``group_...``, ``fill...``."""
        matching = VectorMatching()
        return_bool = self.token.kind == "bool"
        if return_bool:
            self.advance()
        if self.token.kind in ("on", "ignoring"):
            on = self.advance().kind == "on"
            matching = replace(matching, on=on, labels=self.grouping_labels())
            if self.token.kind in ("group_left", "group_right"):
                left = self.advance().kind == "group_left"
                include = self.grouping_labels() if self.token.kind == "(" else ()
                card: ast.Card = "many-to-one" if left else "one-to-many"
                matching = replace(matching, card=card, include=include)
        return self._fill_modifiers(matching), return_bool

    def _fill_modifiers(self, matching: VectorMatching) -> VectorMatching:
        if self.token.kind == "fill":
            self.advance()
            value = self._fill_value()
            return replace(matching, fill_left=value, fill_right=value)
        first = self.token.kind
        for kind in ("fill_left", "fill_right") if first == "fill_left" else ("fill_right", "fill_left"):
            if self.token.kind == kind:
                self.advance()
                value = self._fill_value()
                left = kind == "fill_left"
                matching = replace(matching, fill_left=value) if left else replace(matching, fill_right=value)
        return matching

    def _fill_value(self) -> float:
        self.expect("(")
        negative = False
        if self.token.kind in ("+", "-"):
            negative = self.advance().kind == "-"
        if self.token.kind not in ("NUMBER", "DURATION"):
            self.unexpected()
        value = self.number_literal().value
        self.expect(")")
        return -value if negative else value

    # --- operands

    def primary(self) -> Expr:
        kind = self.token.kind
        if kind in ("NUMBER", "DURATION"):
            return self.number_literal()
        if kind == "STRING":
            token = self.advance()
            return ast.StringLiteral(unquote(token.text), (token.start, token.end))
        if kind == "(":
            return self._parenthesised()
        if kind == "{":
            return self.vector_selector()
        if kind in AGGREGATORS or kind in METRIC_KEYWORDS or kind in ("IDENTIFIER", "METRIC_IDENTIFIER"):
            return self._named()
        self.unexpected()

    def _parenthesised(self) -> Expr:
        opened = self.advance()
        inner = self.expression()
        closed = self.expect(")")
        return ast.ParenExpr(inner, (opened.start, closed.end))

    def number_literal(self) -> ast.NumberLiteral:
        token = self.advance()
        return ast.NumberLiteral(self.number(token), token.kind == "DURATION", (token.start, token.end))

    def number(self, token: Token) -> float:
        """The value of a NUMBER or DURATION token, durations in seconds; 0 after a complaint."""
        try:
            if token.kind == "DURATION":
                return parse_duration(token.text) / 1000
            return parse_number(token.text)
        except ValueError as error:
            prefix = "" if token.kind == "DURATION" else "error parsing number: "
            self.complain(f"{prefix}{error}", token.start, token.end)
            return 0.0

    def _named(self) -> Expr:
        """What begins with a word: an aggregation, a call, or a selector."""
        name = self.token
        self.advance()
        if name.kind in AGGREGATORS and (self.token.kind in ("(", "by", "without")):
            return self._aggregation(name)
        callable_kinds = ("IDENTIFIER", "start", "end", "step", "range", "max_of", "min_of")
        if name.kind in callable_kinds and self.token.kind == "(":
            return self._call(name)
        return self._selector_after(name)

    def _aggregation(self, op: Token) -> Expr:
        outer, self._recovery = self._recovery, "aggregation"
        modifier = self._aggregate_modifier()
        if self.token.kind != "(":
            self.unexpected()
        args, closed = self._arguments()
        self._recovery = outer
        if modifier is None and self.token.kind in ("by", "without"):
            modifier = self._aggregate_modifier()
            closed = self._last_end
        grouping, without = modifier or ((), False)
        node = ast.AggregateExpr(
            op.kind, ast.StringLiteral("", (0, 0)), None, grouping, without, (op.start, closed)
        )
        return self._aggregate_arguments(node, args)

    def _aggregate_arguments(self, node: ast.AggregateExpr, args: list[Expr]) -> Expr:
        wanted = 2 if node.op in PARAMETRIC else 1
        if not args:
            self.complain("no arguments for aggregate expression provided", node.start, node.end)
        elif node.op in ("limitk", "limit_ratio") and not self.options.functions:
            self.complain(
                f"{node.op}() is experimental and must be enabled with "
                "--enable-feature=promql-experimental-functions",
                node.start,
                node.end,
            )
        elif len(args) != wanted:
            self.complain(
                "wrong number of arguments for aggregate expression provided, "
                f"expected {wanted}, got {len(args)}",
                node.start,
                node.end,
            )
        else:
            return replace(node, expr=args[-1], param=args[0] if wanted == 2 else None)
        return node

    def _aggregate_modifier(self) -> tuple[tuple[str, ...], bool] | None:
        if self.token.kind not in ("by", "without"):
            return None
        without = self.advance().kind == "without"
        return self.grouping_labels(), without

    def _call(self, name: Token) -> Expr:
        signature = SIGNATURES.get(name.text)
        args, closed = self._arguments()
        if signature is None:
            self.complain(f"unknown function with name {quote(name.text)}", name.start, name.end)
            signature = SIGNATURES["time"]
        elif signature.experimental and not self.options.functions:
            self.complain(f"function {quote(name.text)} is not enabled", name.start, name.end)
        return ast.Call(signature, tuple(args), (name.start, closed))

    def _arguments(self) -> tuple[list[Expr], int]:
        """``( expr, ... )`` and where it ends."""
        self.expect("(")
        args: list[Expr] = []
        if self.token.kind != ")":
            args.append(self.expression())
        while self.token.kind == "," and args:
            comma = self.advance()
            if self.token.kind in (")", ","):
                self.complain("trailing commas not allowed in function call args", comma.start, comma.end)
            else:
                args.append(self.expression())
        return args, self.expect(")").end

    # --- selectors

    def vector_selector(self) -> ast.VectorSelector:
        if self.token.kind == "{":
            start = self.token.start
            matchers, end = self._label_matchers()
            return ast.VectorSelector("", tuple(matchers), (start, end))
        return self._selector_after(self.advance())

    def _selector_after(self, name: Token) -> ast.VectorSelector:
        if name.kind not in METRIC_KEYWORDS and name.kind not in ("IDENTIFIER", "METRIC_IDENTIFIER"):
            self.unexpected()
        matchers: list[Matcher] = []
        end = name.end
        if self.token.kind == "{":
            matchers, end = self._label_matchers()
        matchers.append(Matcher(MatchType.EQUAL, METRIC_NAME, name.text))
        return ast.VectorSelector(name.text, tuple(matchers), (name.start, end))

    def _label_matchers(self) -> tuple[list[Matcher], int]:
        outer, self._recovery = self._recovery, "label matching"
        self.expect("{")
        matchers: list[Matcher] = []
        while self.token.kind != "}":
            matcher = self._label_matcher()
            if matcher is not None:
                matchers.append(matcher)
            if self.token.kind == ",":
                self.advance()
            elif self.token.kind != "}":
                self.unexpected("label matching", '"," or "}"')
        self._recovery = outer
        return matchers, self.advance().end

    def _label_matcher(self) -> Matcher | None:
        if self.token.kind not in ("IDENTIFIER", "STRING"):
            self.unexpected("label matching", 'identifier or "}"')
        label = self.advance()
        name = unquote(label.text) if label.kind == "STRING" else label.text
        if self.token.kind not in _MATCH_TYPES:
            if label.kind == "STRING" and self.token.kind in (",", "}"):
                return Matcher(MatchType.EQUAL, METRIC_NAME, name)
            if label.kind == "STRING":
                self.unexpected("label matching", '"," or "}"')
            self.unexpected("label matching", "label matching operator")
        operator = self.advance()
        if self.token.kind != "STRING":
            self.unexpected("label matching", "string")
        value = self.advance()
        try:
            matcher = Matcher(_MATCH_TYPES[operator.kind], name, unquote(value.text))
        except ValueError as error:
            self.complain(go_regex_error(str(error), unquote(value.text)), label.start, value.end)
            return None
        self._regex_size += matcher.regex_size
        if self._regex_size > PROMQL_REGEX_SIZE_MAX:
            self.fail("the regular expressions are too large together", label.start, value.end)
        return matcher

    def grouping_labels(self) -> tuple[str, ...]:
        """``(label, "label", ...)``."""
        if self.token.kind != "(":
            self.unexpected("grouping opts", '"("')
        outer, self._recovery = self._recovery, "grouping opts"
        self.advance()
        labels: list[str] = []
        while self.token.kind != ")":
            labels.append(self._grouping_label())
            if self.token.kind == ",":
                self.advance()
                continue
            if self.token.kind != ")":
                self.unexpected("grouping opts", '"," or ")"')
        self._recovery = outer
        self.advance()
        return tuple(labels)

    def _grouping_label(self) -> str:
        token = self.token
        if token.kind == "STRING":
            name = unquote(self.advance().text)
            if not is_valid_label_name(name):
                self.complain(f"invalid label name for grouping: {quote(name)}", token.start, token.end)
            return name
        if token.kind not in LABEL_KEYWORDS and token.kind not in ("IDENTIFIER", "METRIC_IDENTIFIER"):
            self.unexpected("grouping opts", "label")
        return self.advance().text

    # --- what may follow an operand

    def _postfixed(self, expr: Expr) -> Expr:
        while True:
            match self.token.kind:
                case "[":
                    expr = self._range_or_subquery(expr)
                case "offset":
                    expr = self._offset(expr)
                case "@":
                    expr = self._at(expr)
                case "anchored" | "smoothed":
                    expr = self._extended(expr, self.advance().kind)
                case _:
                    return expr

    def _range_or_subquery(self, expr: Expr) -> Expr:
        outer, self._recovery = self._recovery, "range"
        opened = self.advance()
        width = self.durations.positive("subquery or range selector", _DURATION_WANTED)
        width_ms, width_expr = self.durations.split(width)
        if self.token.kind == "]":
            self._recovery = outer
            closed = self.advance()
            return self._range(expr, width_ms, width_expr, opened, closed)
        if self.token.kind != ":":
            self.unexpected("subquery or range", '":" or "]"')
        self.advance()
        step_ms, step_expr = 0, None
        if self.token.kind != "]":
            step = self.durations.positive("subquery selector", f'{_DURATION_WANTED_LIST}, or "]"')
            step_ms, step_expr = self.durations.split(step)
        if self.token.kind != "]":
            self.unexpected("subquery selector", '"]"')
        self._recovery = outer
        closed = self.advance()
        return ast.SubqueryExpr(expr, width_ms, width_expr, step_ms, step_expr, (expr.start, closed.end))

    def _range(
        self, expr: Expr, width_ms: int, width_expr: ast.DurationExpr | None, opened: Token, closed: Token
    ) -> Expr:
        message = ""
        if not isinstance(expr, ast.VectorSelector):
            message = "ranges only allowed for vector selectors"
        elif expr.offset_ms != 0 or expr.offset_expr is not None:
            message = "no offset modifiers allowed before range"
        elif expr.at_ms is not None or expr.at:
            message = "no @ modifiers allowed before range"
        if message:
            self.complain(message, opened.start, closed.end)
        selector = cast(ast.VectorSelector, expr)
        return ast.MatrixSelector(selector, width_ms, width_expr, (expr.start, closed.end))

    def _modify(
        self, expr: Expr, change: Callable[[ast.VectorSelector | ast.SubqueryExpr], Expr], modifier: str
    ) -> Expr:
        """Apply a change to the selector inside ``expr``, or complain that there is none."""
        end = self._last_end
        if isinstance(expr, ast.MatrixSelector):
            if not isinstance(expr.selector, ast.VectorSelector):
                self.complain("ranges only allowed for vector selectors", expr.start, expr.end)
                return expr
            changed = cast(ast.VectorSelector, change(expr.selector))
            return replace(expr, selector=changed, span=(expr.start, end))
        if isinstance(expr, ast.VectorSelector | ast.SubqueryExpr):
            changed_any = change(expr)
            assert isinstance(changed_any, ast.VectorSelector | ast.SubqueryExpr)
            return replace(changed_any, span=(expr.start, end))
        self.complain(
            f"{modifier} modifier must be preceded by an instant vector selector or range vector selector "
            "or a subquery",
            expr.start,
            expr.end,
        )
        return expr

    def _offset(self, expr: Expr) -> Expr:
        self.advance()
        offset_ms, offset_expr = self.durations.split(self.durations.offset())

        def change(selector: ast.VectorSelector | ast.SubqueryExpr) -> Expr:
            if selector.offset_ms != 0 or selector.offset_expr is not None:
                self.complain("offset may not be set multiple times", expr.start, expr.end)
                return selector
            return replace(selector, offset_ms=offset_ms, offset_expr=offset_expr)

        return self._modify(expr, change, "offset")

    def _at(self, expr: Expr) -> Expr:
        self.advance()
        at: ast.StartOrEnd = ""
        at_ms: int | None = None
        if self.token.kind in ("start", "end"):
            at = "start" if self.advance().kind == "start" else "end"
            for kind in ("(", ")"):
                if self.token.kind != kind:
                    self.unexpected("@", "timestamp")
                self.advance()
        else:
            at_ms = self._timestamp(expr)

        def change(selector: ast.VectorSelector | ast.SubqueryExpr) -> Expr:
            if selector.at_ms is not None or selector.at:
                self.complain("@ <timestamp> may not be set multiple times", expr.start, expr.end)
                return selector
            return replace(selector, at=at, at_ms=at_ms)

        return self._modify(expr, change, "@")

    def _timestamp(self, expr: Expr) -> int:
        negative = False
        if self.token.kind in ("+", "-"):
            negative = self.advance().kind == "-"
        if self.token.kind not in ("NUMBER", "DURATION"):
            self.unexpected("@", "timestamp")
        seconds = self.number(self.advance())
        seconds = -seconds if negative else seconds
        if not abs(seconds) < 2**63:
            text = "NaN" if seconds != seconds else f"{seconds:+f}".replace("inf", "Inf")
            self.complain(f"timestamp out of bounds for @ modifier: {text}", expr.start, expr.end)
            return 0
        milliseconds = seconds * 1000
        return int(abs(milliseconds) + 0.5) * (1 if milliseconds >= 0 else -1)

    def _extended(self, expr: Expr, kind: str) -> Expr:
        """``anchored`` or ``smoothed`` after a selector."""
        message = ""
        selector = expr.selector if isinstance(expr, ast.MatrixSelector) else expr
        if not self.options.extended_ranges:
            message = f"{kind} modifier is experimental and not enabled"
        elif isinstance(expr, ast.SubqueryExpr):
            message = f"{kind} modifier is not supported for subqueries"
        elif not isinstance(expr, ast.VectorSelector | ast.MatrixSelector):
            message = f"{kind} modifier not implemented"
        elif isinstance(selector, ast.VectorSelector):
            other = selector.smoothed if kind == "anchored" else selector.anchored
            if other:
                message = "anchored and smoothed modifiers cannot be used together"
            changed = (
                replace(selector, anchored=True) if kind == "anchored" else replace(selector, smoothed=True)
            )
            expr = replace(expr, selector=changed) if isinstance(expr, ast.MatrixSelector) else changed
        if message:
            self.complain(message, expr.start, expr.end)
        return expr


@dataclass(frozen=True, slots=True)
class _Operator:
    """An operator waiting for its right operand; ``matching`` is None for a sign."""

    kind: str
    precedence: int
    start: int
    matching: VectorMatching | None = None
    return_bool: bool = False


_DURATION_WANTED_LIST: Final = "number, duration, step(), range()"
_DURATION_WANTED: Final = "number, duration, step(), or range()"
