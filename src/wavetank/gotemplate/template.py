"""The template language of alert annotations and notifications: Go's text/template.

Follows the language of https://pkg.go.dev/text/template: actions, pipelines, variables, ``if``, ``with``,
``range``, ``define``, ``template``, ``block``, trimming and comments. Values are Python's: dicts, lists,
text, numbers, booleans and None, which is shown as ``<no value>``. A missing key is the empty text, unless
the mapping's ``get`` says otherwise. A value whose class has a ``go_methods``
table answers ``.Name arguments`` by calling ``go_methods["Name"](value, *arguments)``; methods come before
keys, as in Go.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from wavetank.gotemplate import gofmt
from wavetank.limits import TEMPLATE_OUTPUT_BYTES_MAX, TEMPLATE_STEPS_MAX

__all__ = ["ALERT_VARIABLES", "Definitions", "SafeText", "Template", "TemplateError", "definitions_of"]


#: What alert templates may use without declaring it.
ALERT_VARIABLES: Final = ("labels", "externalLabels", "externalURL", "value")


class TemplateError(ValueError):
    """The template does not parse, or what it asks for cannot be done."""


_TOKEN: Final = re.compile(
    r"""(?P<space>\s+)|(?P<string>"(?:\\.|[^"\\\n])*"|`[^`]*`)|(?P<char>'(?:\\.|[^'\\])')
    |(?P<number>[-+]?(?:0[xX][0-9a-fA-F]+|(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?))
    |(?P<variable>\$[A-Za-z0-9_]*)|(?P<field>\.[A-Za-z_][A-Za-z0-9_]*)|(?P<dot>\.)
    |(?P<name>[A-Za-z_][A-Za-z0-9_]*)|(?P<sign>:=|=|\||\(|\)|,)""",
    re.VERBOSE,
)
_ACTION: Final = re.compile(
    r"\{\{(-(?=\s))?((?:\"(?:\\.|[^\"\\])*\"|`[^`]*`|(?!\}\}).)*?)((?<=\s)-)?\}\}", re.DOTALL
)
_ESCAPES: Final = {"n": "\n", "t": "\t", "r": "\r", "\\": "\\", '"': '"', "'": "'", "a": "\a", "b": "\b"}

Function = Callable[..., Any]
Definitions = Mapping[str, list[Any]]
_CALLS_MAX: Final = 100


class SafeText(str):
    """Text that a rendering with escapes leaves as it is."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class _Text:
    text: str


@dataclass(frozen=True, slots=True)
class _Output:
    pipe: _Pipe


@dataclass(frozen=True, slots=True)
class _Branch:
    """``if``, ``with`` or ``range``."""

    kind: str
    pipe: _Pipe
    body: list[Any]
    otherwise: list[Any]


@dataclass(frozen=True, slots=True)
class _Call:
    """``template "name" pipe``."""

    name: str
    pipe: _Pipe | None


@dataclass(frozen=True, slots=True)
class _Jump:
    kind: str


@dataclass(frozen=True, slots=True)
class _Pipe:
    variables: tuple[str, ...]
    declares: bool
    commands: list[list[Any]]


@dataclass(frozen=True, slots=True)
class _Literal:
    value: Any


@dataclass(frozen=True, slots=True)
class _Name:
    name: str


@dataclass(frozen=True, slots=True)
class _Chain:
    """A variable, the dot or a parenthesis, and the fields taken from it."""

    root: str | _Pipe
    fields: tuple[str, ...]


def _unquote(token: str) -> str:
    if token[0] == "`":
        return token[1:-1]
    return re.sub(r"\\(.)", lambda m: _ESCAPES.get(m[1], m[1]), token[1:-1])


def _tokens(text: str) -> list[tuple[str, str, bool]]:
    """(kind, text, preceded by space) of an action's inside."""
    found: list[tuple[str, str, bool]] = []
    at, spaced = 0, True
    while at < len(text):
        token = _TOKEN.match(text, at)
        if token is None or token.lastgroup is None:
            raise TemplateError(f"unexpected {text[at : at + 10]!r} in template action")
        at = token.end()
        if token.lastgroup == "space":
            spaced = True
            continue
        found.append((token.lastgroup, token.group(), spaced))
        spaced = False
    return found


class _Parser:
    """Actions to nodes."""

    def __init__(self, text: str, variables: Iterable[str], functions: Container[str] | None) -> None:
        self.definitions: dict[str, list[Any]] = {}
        self._variables = ["$", *(f"${name}" for name in variables)]
        self._functions = functions
        self._items = list(_split(text))
        self._at = 0
        self._tokens: list[tuple[str, str, bool]] = []
        self._pos = 0
        self._depth = 0

    def parse(self) -> list[Any]:
        nodes, end = self._nodes()
        if end:
            raise TemplateError(f"unexpected {{{{{end}}}}}")
        return nodes

    def _nodes(self) -> tuple[list[Any], str]:
        """Nodes up to the end or to a word that ends a block; that word."""
        self._depth += 1
        if self._depth > 50:
            raise TemplateError("nested too deeply")
        nodes: list[Any] = []
        while self._at < len(self._items):
            is_action, text = self._items[self._at]
            self._at += 1
            if not is_action:
                nodes.append(_Text(text))
                continue
            self._tokens, self._pos = _tokens(text), 0
            if not self._tokens:
                raise TemplateError("missing value for command")
            word = self._tokens[0][1]
            if word in ("end", "else"):
                self._depth -= 1
                return nodes, word
            if node := self._action(word):
                nodes.append(node)
        self._depth -= 1
        return nodes, ""

    def _action(self, word: str) -> Any:
        match word:
            case "if" | "with" | "range":
                self._pos = 1
                return self._branch(word)
            case "define" | "block":
                return self._define(word)
            case "template":
                name = self._string(1)
                self._pos = 2
                return _Call(name, self._pipe() if self._pos < len(self._tokens) else None)
            case "break" | "continue" if len(self._tokens) == 1:
                return _Jump(word)
            case _:
                return _Output(self._pipe())

    def _string(self, at: int) -> str:
        if at >= len(self._tokens) or self._tokens[at][0] != "string":
            raise TemplateError("a template's name must be a quoted text")
        return _unquote(self._tokens[at][1])

    def _branch(self, kind: str) -> _Branch:
        known = len(self._variables)
        pipe = self._pipe()
        inside = len(self._variables)
        body, end = self._nodes()
        del self._variables[inside:]
        otherwise: list[Any] = []
        if end == "else":
            rest = self._tokens[1:]
            if rest and rest[0][1] in ("if", "with"):
                self._pos = 2
                otherwise, end = [self._branch(rest[0][1])], "end"
            else:
                otherwise, end = self._nodes()
        del self._variables[known:]
        if end != "end":
            raise TemplateError(f"unexpected EOF: {{{{{kind}}}}} has no {{{{end}}}}")
        return _Branch(kind, pipe, body, otherwise)

    def _define(self, word: str) -> Any:
        name = self._string(1)
        self._pos = 2
        pipe = self._pipe() if word == "block" else None
        outside, self._variables = self._variables, ["$"]
        body, end = self._nodes()
        self._variables = outside
        if end != "end":
            raise TemplateError(f"unexpected EOF: template {name!r} has no {{{{end}}}}")
        self.definitions[name] = body
        return _Call(name, pipe) if word == "block" else None

    def _peek(self) -> tuple[str, str, bool]:
        return self._tokens[self._pos] if self._pos < len(self._tokens) else ("", "", True)

    def _pipe(self) -> _Pipe:
        variables, declares = self._assignment()
        commands: list[list[Any]] = [[]]
        while (token := self._peek())[0]:
            if token[1] == ")":
                break
            if token[1] == "|":
                self._pos += 1
                commands.append([])
                continue
            commands[-1].append(self._operand())
        if not all(commands):
            raise TemplateError("missing value for command")
        return _Pipe(variables, declares, commands)

    def _assignment(self) -> tuple[tuple[str, ...], bool]:
        start, names = self._pos, []
        while self._peek()[0] == "variable":
            names.append(self._peek()[1])
            self._pos += 1
            if self._peek()[1] != ",":
                break
            self._pos += 1
        if names and self._peek()[1] in (":=", "="):
            declares = self._peek()[1] == ":="
            self._pos += 1
            if declares:
                self._variables += names
            return tuple(names), declares
        self._pos = start
        return (), False

    def _operand(self) -> Any:
        kind, text, _ = self._peek()
        self._pos += 1
        match kind:
            case "string":
                return _Literal(_unquote(text))
            case "char":
                return _Literal(ord(_unquote(text)))
            case "number":
                return _Literal(_number(text))
            case "name":
                if text in ("true", "false", "nil"):
                    return _Literal({"true": True, "false": False, "nil": None}[text])
                self._check_function(text)
                return _Name(text)
            case "variable" | "dot":
                if kind == "variable" and text not in self._variables:
                    raise TemplateError(f'undefined variable "{text}"')
                return _Chain(text, self._fields())
            case "field":
                return _Chain(".", (text[1:], *self._fields()))
        if text == "(":
            self._depth += 1
            if self._depth > 50:
                raise TemplateError("nested too deeply")
            pipe = self._pipe()
            self._depth -= 1
            if self._peek()[1] != ")":
                raise TemplateError("unclosed left paren")
            self._pos += 1
            return _Chain(pipe, self._fields())
        raise TemplateError(f"unexpected {text!r} in operand")

    def _check_function(self, name: str) -> None:
        known = name in gofmt.BUILTINS or name in ("and", "or")
        if not known and self._functions is not None and name not in self._functions:
            raise TemplateError(f'function "{name}" not defined')

    def _fields(self) -> tuple[str, ...]:
        names = []
        while self._peek()[0] == "field" and not self._peek()[2]:
            names.append(self._peek()[1][1:])
            self._pos += 1
        return tuple(names)


def _number(text: str) -> int | float:
    try:
        return int(text, 0) if re.fullmatch(r"[-+]?(0[xX][0-9a-fA-F]+|0|[1-9]\d*)", text) else float(text)
    except ValueError:
        raise TemplateError(f"bad number syntax: {text!r}") from None


def _split(text: str) -> Iterator[tuple[bool, str]]:
    """Alternately text and actions, with the spaces trimmed that ``{{-`` and ``-}}`` ask for."""
    at, trim = 0, False
    for action in _ACTION.finditer(text):
        plain = text[at : action.start()]
        if "{{" in plain:
            break
        plain = plain.lstrip() if trim else plain
        plain = plain.rstrip() if action.group(1) else plain
        if plain:
            yield False, plain
        at, trim = action.end(), bool(action.group(3))
        inside = action.group(2).strip()
        if not (inside.startswith("/*") and inside.endswith("*/")):
            yield True, inside
    rest = text[at:]
    if "{{" in rest:
        raise TemplateError("unclosed action")
    rest = rest.lstrip() if trim else rest
    if rest:
        yield False, rest


class _Break(Exception):
    pass


class _Continue(Exception):
    pass


class Template:
    """A parsed template."""

    def __init__(
        self,
        text: str,
        *,
        variables: Iterable[str] = ALERT_VARIABLES,
        functions: Container[str] | None = None,
        definitions: Definitions | None = None,
    ) -> None:
        """``functions`` names those there will be; None leaves it to the rendering. ``definitions`` are
        templates it may call, beside its own. Raises TemplateError."""
        parser = _Parser(text, variables, functions)
        self.nodes: list[Any] = parser.parse() if "{{" in text else [_Text(text)]
        self.definitions = {**(definitions or {}), **parser.definitions}

    def render(
        self,
        dot: Any,
        variables: Mapping[str, Any],
        functions: Mapping[str, Function],
        escape: Callable[[str], str] | None = None,
    ) -> str:
        """The text. ``variables`` are without their dollar sign; ``escape`` is applied to every value that
        is not a ``SafeText``. Raises TemplateError."""
        run = _Run(self.definitions, functions, escape)
        scope = {"$": dot, **{f"${name}": value for name, value in variables.items()}}
        try:
            run.nodes(self.nodes, dot, scope)
        except (ArithmeticError, AttributeError, KeyError, IndexError, TypeError, ValueError) as error:
            raise TemplateError(str(error)) from None
        return "".join(run.out)


class _Run:
    def __init__(
        self,
        definitions: Definitions,
        functions: Mapping[str, Function],
        escape: Callable[[str], str] | None,
    ) -> None:
        self.out: list[str] = []
        self._escape = escape
        self._definitions = definitions
        self._functions = functions
        self._steps = 0
        self._size = 0
        self._calls = 0

    def _write(self, text: str) -> None:
        self._size += len(text)
        if self._size > TEMPLATE_OUTPUT_BYTES_MAX:
            raise TemplateError(f"the text is longer than {TEMPLATE_OUTPUT_BYTES_MAX} bytes")
        self.out.append(text)

    def nodes(self, nodes: list[Any], dot: Any, scope: dict[str, Any]) -> None:
        for node in nodes:
            self._steps += 1
            if self._steps > TEMPLATE_STEPS_MAX:
                raise TemplateError(f"takes more than {TEMPLATE_STEPS_MAX} steps")
            match node:
                case _Text():
                    self._write(node.text)
                case _Output():
                    value = self._pipe(node.pipe, dot, scope)
                    if not node.pipe.variables:
                        self._write(self._shown(value))
                case _Branch():
                    self._branch(node, dot, scope)
                case _Call():
                    self._template(node, dot, scope)
                case _Jump():
                    raise _Break if node.kind == "break" else _Continue

    def _shown(self, value: Any) -> str:
        text = gofmt.sprint(value)
        return text if self._escape is None or isinstance(value, SafeText) else self._escape(text)

    def _template(self, node: _Call, dot: Any, scope: dict[str, Any]) -> None:
        body = self._definitions.get(node.name)
        if body is None:
            raise TemplateError(f'template "{node.name}" not defined')
        inner = None if node.pipe is None else self._pipe(node.pipe, dot, scope)
        self._calls += 1
        if self._calls > _CALLS_MAX:
            raise TemplateError("templates call each other too deeply")
        self.nodes(body, inner, {"$": inner})
        self._calls -= 1

    def _branch(self, node: _Branch, dot: Any, scope: dict[str, Any]) -> None:
        inner = _Scope(scope)
        if node.kind == "range":
            self._range(node, dot, inner)
            return
        value = self._pipe(node.pipe, dot, inner)
        if gofmt.truth(value):
            self.nodes(node.body, value if node.kind == "with" else dot, inner)
        else:
            self.nodes(node.otherwise, dot, inner)

    def _range(self, node: _Branch, dot: Any, scope: _Scope) -> None:
        bare = _Pipe((), False, node.pipe.commands)
        value = self._pipe(bare, dot, scope)
        names = node.pipe.variables
        entries = list(_entries(value))
        if not entries:
            self.nodes(node.otherwise, dot, scope)
        for key, entry in entries:
            inner = _Scope(scope)
            if len(names) == 1:
                inner.declare(names[0], entry)
            elif names:
                inner.declare(names[0], key)
                inner.declare(names[1], entry)
            try:
                self.nodes(node.body, entry, inner)
            except _Break:
                break
            except _Continue:
                continue

    def _pipe(self, pipe: _Pipe, dot: Any, scope: dict[str, Any]) -> Any:
        value: Any = None
        for i, command in enumerate(pipe.commands):
            value = self._command(command, dot, scope, [value] if i else [])
        for name in pipe.variables:
            if pipe.declares:
                scope.declare(name, value) if isinstance(scope, _Scope) else scope.__setitem__(name, value)
            elif name not in scope:
                raise TemplateError(f'undefined variable "{name}"')
            else:
                scope[name] = value
        return value

    def _command(self, command: list[Any], dot: Any, scope: dict[str, Any], piped: list[Any]) -> Any:
        self._steps += 1
        if self._steps > TEMPLATE_STEPS_MAX:
            raise TemplateError(f"takes more than {TEMPLATE_STEPS_MAX} steps")
        first = command[0]
        if not isinstance(first, _Name):
            arguments = [self._value(argument, dot, scope) for argument in command[1:]] + piped
            return self._value(first, dot, scope, arguments)
        if first.name in ("and", "or"):
            return self._short_circuit(first.name, command[1:], dot, scope, piped)
        function = self._functions.get(first.name) or gofmt.BUILTINS.get(first.name)
        if function is None:
            raise TemplateError(f'function "{first.name}" not defined')
        arguments = [self._value(argument, dot, scope) for argument in command[1:]]
        try:
            return function(*arguments, *piped)
        except (ArithmeticError, AttributeError, KeyError, IndexError, TypeError, ValueError) as error:
            raise TemplateError(f"error calling {first.name}: {error}") from None

    def _short_circuit(
        self, name: str, arguments: list[Any], dot: Any, scope: dict[str, Any], piped: list[Any]
    ) -> Any:
        value: Any = None
        for argument in arguments:
            value = self._value(argument, dot, scope)
            if gofmt.truth(value) == (name == "or"):
                return value
        return piped[0] if piped else value

    def _value(self, operand: Any, dot: Any, scope: dict[str, Any], arguments: Sequence[Any] = ()) -> Any:
        """An operand's value; ``arguments`` go to the method that ends a chain."""
        match operand:
            case _Name():
                return self._command([operand], dot, scope, [])
            case _Chain() if operand.fields:
                value = self._root(operand.root, dot, scope)
                for field in operand.fields[:-1]:
                    value = _field(value, field, ())
                return _field(value, operand.fields[-1], arguments)
        if arguments:
            raise TemplateError("can't give argument to non-function")
        match operand:
            case _Literal():
                return operand.value
            case _Chain():
                return self._root(operand.root, dot, scope)
        raise TemplateError(f"cannot evaluate {operand!r}")

    def _root(self, root: str | _Pipe, dot: Any, scope: dict[str, Any]) -> Any:
        if isinstance(root, _Pipe):
            return self._pipe(root, dot, scope)
        if root == ".":
            return dot
        if root in scope:
            return scope[root]
        raise TemplateError(f'undefined variable "{root}"')


class _Scope(dict[str, Any]):
    """Variables of a block: reads and assignments reach outwards, declarations stay inside."""

    def __init__(self, outer: dict[str, Any]) -> None:
        super().__init__(outer)
        self._outer = outer
        self._own: set[str] = set()

    def declare(self, name: str, value: Any) -> None:
        self._own.add(name)
        super().__setitem__(name, value)

    def __setitem__(self, name: str, value: Any) -> None:
        super().__setitem__(name, value)
        if name not in self._own:
            self._outer[name] = value


def definitions_of(text: str, functions: Container[str] | None = None) -> Definitions:
    """The templates that a text defines. Raises TemplateError."""
    parser = _Parser(text, (), functions)
    parser.parse()
    return parser.definitions


def _field(value: Any, name: str, arguments: Sequence[Any]) -> Any:
    method = getattr(type(value), "go_methods", {}).get(name)
    if method is not None:
        return method(value, *arguments)
    if arguments:
        raise TemplateError(f"{name} has arguments but cannot be invoked as function")
    if isinstance(value, Mapping):
        return value.get(name, "")
    if value is None:
        raise TemplateError(f"nil data; no entry for key {name!r}")
    raise TemplateError(f"can't evaluate field {name} in type {gofmt.type_name(value)}")


def _entries(value: Any) -> Iterator[tuple[Any, Any]]:
    if isinstance(value, Mapping):
        yield from ((key, value[key]) for key in sorted(value))
    elif isinstance(value, list | tuple):
        yield from enumerate(value)
    elif isinstance(value, int) and not isinstance(value, bool):
        yield from ((i, i) for i in range(min(value, TEMPLATE_STEPS_MAX)))
    elif value is not None:
        raise TemplateError(f"range can't iterate over {gofmt.sprint(value)}")
