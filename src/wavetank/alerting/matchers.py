"""Matchers as Alertmanager writes them: ``severity=~"critical|page"``, alone, in braces, or several.

Mirrors matcher/parse and pkg/labels: names and values are UTF-8, quoted where they hold a reserved
character. Texts that only the classic syntax of old configurations allows are read by that; where both read
a text differently the classic reading holds, as upstream's fallback mode has it. ``read_as`` leaves one of
the two for the whole process, as upstream's feature flags do.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from wavetank.model.labels import Matcher, MatchType
from wavetank.model.quoting import quote

__all__ = [
    "format_matchers",
    "label_text",
    "matches",
    "matches_filter",
    "parse_matcher",
    "parse_matchers",
    "read_as",
]

_RESERVED: Final = frozenset("{}!=~,\\\"'`")
_OPERATORS: Final = {"=": MatchType.EQUAL, "!=": MatchType.NOT_EQUAL}
_OPERATORS_RE: Final = {"=~": MatchType.REGEXP, "!~": MatchType.NOT_REGEXP}
_TYPES: Final = {**_OPERATORS, **_OPERATORS_RE}
_CLASSIC: Final = re.compile(r"\s*([a-zA-Z_:][a-zA-Z0-9_:]*)\s*(=~|=|!=|!~)\s*(.*?)\s*\Z", re.DOTALL)
_ESCAPE: Final = re.compile(r'\\(x[0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|U[0-9a-fA-F]{8}|[0-7]{3}|[abfnrtv\\"])')
_SHORT: Final = {
    "a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v", "\\": "\\", '"': '"'
}  # fmt: skip


_FALLBACK: Final = frozenset({"classic", "utf8"})
_read: frozenset[str] = _FALLBACK


def read_as(*syntaxes: str) -> None:
    """Read matchers as ``classic``, ``utf8``, or whichever fits; none named is both."""
    global _read
    _read = frozenset(syntaxes) or _FALLBACK


@dataclass(frozen=True, slots=True)
class _Token:
    """``kind`` is ``{``, ``}``, ``,``, ``op``, ``quoted``, ``plain`` or "" at the end; columns in runes."""

    kind: str
    text: str
    start: int
    end: int

    @property
    def place(self) -> str:
        return f"{self.start}:{self.end}"


def parse_matcher(text: str) -> Matcher:
    """One matcher. Raises ValueError with upstream's text."""
    if text.startswith("{") or text.endswith("}"):
        raise ValueError(f"unexpected open or close brace: {text}")
    if "classic" not in _read:
        return _only(_utf8(text), text)
    try:
        return _classic_matcher(text)
    except ValueError as error:
        if "utf8" not in _read:
            raise
        try:
            return _only(_utf8(text), text)
        except ValueError:
            raise error from None


def _only(found: list[Matcher], text: str) -> Matcher:
    if len(found) != 1:
        raise ValueError(f"expected one matcher, found {len(found)}: {text}")
    return found[0]


def parse_matchers(text: str) -> list[Matcher]:
    """All matchers of a text, with or without braces. Raises ValueError with upstream's text."""
    if "classic" not in _read:
        return _utf8(text)
    try:
        return _classic(text)
    except ValueError as error:
        if "utf8" not in _read:
            raise
        try:
            return _utf8(text)
        except ValueError:
            raise error from None


def matches(matchers: Iterable[Matcher], labels: Mapping[str, str]) -> bool:
    """Whether every matcher holds; a missing label has the empty value."""
    for matcher in matchers:  # noqa: SIM110  (a generator costs as much as the matching)
        if not matcher.matches(labels.get(matcher.name, "")):
            return False
    return True


def matches_filter(matchers: Iterable[Matcher], labels: Mapping[str, str]) -> bool:
    """As the API's filters have it: ``name=""`` holds for labels that are not there at all."""
    for matcher in matchers:
        present = matcher.name in labels
        negative = matcher.type in (MatchType.NOT_EQUAL, MatchType.NOT_REGEXP)
        if matcher.value == "" and present == negative:
            continue
        if not matcher.matches(labels.get(matcher.name, "")):
            return False
    return True


def format_matchers(matchers: Sequence[Matcher]) -> str:
    """``{a="b",c=~"d"}``: part of a group's key, so the same text as upstream's."""
    return "{" + ",".join(_format(matcher) for matcher in matchers) + "}"


def _format(matcher: Matcher) -> str:
    name = matcher.name
    if any(c in _RESERVED or c.isspace() for c in name):
        name = '"' + _escape(name) + '"'
    return f'{name}{matcher.type.value}"{_escape(matcher.value)}"'


def _escape(text: str) -> str:
    return text.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')


def label_text(labels: Mapping[str, str]) -> str:
    """``{a="b", c="d"}``, sorted by name, as Go's ``model.LabelSet`` prints."""
    return "{" + ", ".join(f"{name}={quote(labels[name])}" for name in sorted(labels)) + "}"


# --- the UTF-8 syntax


def _utf8(text: str) -> list[Matcher]:
    tokens = _scan(text)
    at = 0
    braces = tokens[0].kind == "{"
    found: list[Matcher] = []
    if braces:
        at = 1
    while tokens[at].kind not in ("}", ""):
        matcher, at = _one(tokens, at)
        found.append(matcher)
        if tokens[at].kind == ",":
            at += 1
            if tokens[at].kind not in ("}", "", "quoted", "plain"):
                raise _unexpected(tokens[at], "expected a matcher or close brace after comma")
        elif tokens[at].kind not in ("}", ""):
            raise _unexpected(tokens[at], "expected a comma or close brace")
    if braces:
        if tokens[at].kind != "}":
            raise ValueError(f"0:{tokens[at].end}: end of input: expected close brace")
        at += 1
    elif tokens[at].kind == "}":
        raise ValueError(f"0:{tokens[at].end}: }}: expected opening brace")
    if tokens[at].kind:
        raise ValueError(f"{tokens[at].place}: {tokens[at].text}: expected end of input")
    return found


def _one(tokens: Sequence[_Token], at: int) -> tuple[Matcher, int]:
    name, operator = tokens[at], tokens[at + 1] if tokens[at].kind else tokens[at]
    if name.kind not in ("quoted", "plain"):
        raise _unexpected(name, "expected label name")
    if operator.kind != "op":
        raise _unexpected(operator, "expected an operator such as '=', '!=', '=~' or '!~'")
    value = tokens[at + 2]
    if value.kind not in ("quoted", "plain"):
        raise _unexpected(value, "expected label value")
    try:
        return Matcher(_TYPES[operator.text], _unquoted(name), _unquoted(value)), at + 3
    except ValueError as error:
        if str(error).endswith("invalid input"):
            raise
        raise ValueError(f"failed to create matcher: {error}") from None


def _unexpected(token: _Token, wanted: str) -> ValueError:
    if not token.kind:
        return ValueError(f"end of input: {wanted}")
    return ValueError(f"{token.place}: unexpected {token.text}: {wanted}")


def _unquoted(token: _Token) -> str:
    if token.kind == "plain":
        return token.text
    inside = token.text[1:-1]
    plain = _ESCAPE.sub("", inside)
    if "\\" in plain or '"' in plain or "\n" in inside:
        raise ValueError(f"{token.place}: {token.text}: invalid input")
    return _ESCAPE.sub(lambda found: _escaped(found[1]), inside)


def _escaped(escape: str) -> str:
    if escape in _SHORT:
        return _SHORT[escape]
    code = int(escape[1:], 16) if escape[0] in "xuU" else int(escape, 8)
    if code > 0x10FFFF or 0xD800 <= code < 0xE000:
        raise ValueError(f"\\{escape}: invalid input")
    return chr(code)


def _scan(text: str) -> list[_Token]:
    """All tokens, and one for the end. Raises ValueError for what is no token."""
    tokens: list[_Token] = []
    at = 0
    while at < len(text):
        char = text[at]
        start = at
        if char.isspace():
            at += 1
            continue
        if char in "{},":
            at += 1
            tokens.append(_Token(char, char, start, at))
            continue
        if char in "=!":
            at = _operator(text, at, tokens)
            continue
        if char == '"':
            at = _quoted(text, at)
            tokens.append(_Token("quoted", text[start:at], start, at))
            continue
        while at < len(text) and text[at] not in _RESERVED and not text[at].isspace():
            at += 1
        if at == start:
            raise ValueError(f"{start}:{start + 1}: {char}: invalid input")
        tokens.append(_Token("plain", text[start:at], start, at))
    tokens.append(_Token("", "", len(text), len(text)))
    return tokens


def _operator(text: str, at: int, tokens: list[_Token]) -> int:
    two = text[at : at + 2]
    if two in ("=~", "!=", "!~"):
        tokens.append(_Token("op", two, at, at + 2))
        return at + 2
    if text[at] == "=":
        tokens.append(_Token("op", "=", at, at + 1))
        return at + 1
    if at + 1 >= len(text):
        raise ValueError(f"{at}:{at + 1}: unexpected end of input, expected one of '=~'")
    raise ValueError(f"{at}:{at + 1}: !: expected one of '=~'")


def _quoted(text: str, at: int) -> int:
    start = at
    at += 1
    while at < len(text) and text[at] != '"':
        at += 2 if text[at] == "\\" else 1
    if at >= len(text):
        raise ValueError(f'{start}:{len(text)}: {text[start:]}: missing end "')
    return at + 1


# --- the classic syntax


def _classic(text: str) -> list[Matcher]:
    text = text.removeprefix("{").removesuffix("}")
    tokens: list[str] = []
    token: list[str] = []
    inside = escaped = False
    for char in text:
        if char == "," and not inside:
            tokens.append("".join(token))
            token.clear()
            continue
        if char == '"':
            inside, escaped = (inside, False) if escaped else (not inside, False)
        else:
            escaped = not escaped if char == "\\" else False
        token.append(char)
    if rest := "".join(token).strip():
        tokens.append(rest)
    return [_classic_matcher(part) for part in tokens]


def _classic_matcher(text: str) -> Matcher:
    found = _CLASSIC.match(text)
    if found is None:
        raise ValueError(f"bad matcher format: {text}")
    name, operator, raw = found.groups()
    rest = raw
    trailing = rest.startswith('"')
    rest = rest[1:] if trailing else rest
    value: list[str] = []
    at = 0
    while at < len(rest):
        char = rest[at]
        if char == "\\" and at + 1 < len(rest):
            at += 1
            value.append({"n": "\n", '"': '"', "\\": "\\"}.get(rest[at], "\\" + rest[at]))
        elif char == '"':
            if not trailing or at < len(rest) - 1:
                raise ValueError(f"matcher value contains unescaped double quote: {raw}")
            trailing = False
        else:
            value.append(char)
        at += 1
    if trailing:
        raise ValueError(f"matcher value contains unescaped double quote: {raw}")
    return Matcher(_TYPES[operator], name, "".join(value))
