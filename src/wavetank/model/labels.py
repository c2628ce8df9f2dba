"""Label sets and matchers.

Mirrors prometheus/model/labels. A label set is an immutable sorted tuple of pairs; an empty value is the
same as no label. Regular expressions are RE2, anchored at both ends, with ``.`` matching newline, as in
Prometheus 3; RE2 runs in linear time whatever the pattern.
"""

from __future__ import annotations

import enum
import re as _re
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache

import re2

from wavetank.model.quoting import quote

__all__ = [
    "BUCKET_LABEL",
    "METADATA_LABELS",
    "METRIC_NAME",
    "Labels",
    "MatchType",
    "Matcher",
    "braced",
    "compile_regex",
    "is_legacy_label",
    "is_valid_label_name",
]

METRIC_NAME = "__name__"
BUCKET_LABEL = "le"
METADATA_LABELS = frozenset((METRIC_NAME, "__type__", "__unit__"))
_LEGACY_NAME = _re.compile(r"^[a-zA-Z_:][a-zA-Z0-9_:]*\Z")
_LEGACY_LABEL = _re.compile(r"^[a-zA-Z_][a-zA-Z0-9_]*\Z")


class Labels:
    """An immutable set of labels, sorted by name. Hashable; iterates over ``(name, value)``."""

    __slots__ = ("_hash", "pairs")

    pairs: tuple[tuple[str, str], ...]

    def __init__(self, pairs: tuple[tuple[str, str], ...] = ()) -> None:
        """``pairs`` must be sorted by name, without duplicates or empty values; see ``of`` otherwise."""
        self.pairs = pairs
        self._hash: int | None = None

    @classmethod
    def of(cls, labels: Mapping[str, str] | Iterable[tuple[str, str]] = (), /, **more: str) -> Labels:
        """From any mapping or pairs; empty values are dropped, later names win."""
        merged = dict(labels)
        merged.update(more)
        return cls(tuple(sorted((n, v) for n, v in merged.items() if v != "")))

    def get(self, name: str, default: str = "") -> str:
        for n, v in self.pairs:
            if n == name:
                return v
        return default

    @property
    def name(self) -> str:
        return self.get(METRIC_NAME)

    def without(self, *names: str) -> Labels:
        return Labels(tuple(p for p in self.pairs if p[0] not in names))

    def only(self, *names: str) -> Labels:
        return Labels(tuple(p for p in self.pairs if p[0] in names))

    def replace(self, **changes: str) -> Labels:
        """With these labels set; an empty value removes the label."""
        return Labels.of(dict(self.pairs), **changes)

    def without_metadata(self) -> Labels:
        """Without name, type and unit, which describe a metric and not what is computed from it."""
        pairs = tuple(p for p in self.pairs if p[0] not in METADATA_LABELS)
        return self if len(pairs) == len(self.pairs) else Labels(pairs)

    def to_dict(self) -> dict[str, str]:
        return dict(self.pairs)

    def __iter__(self) -> Iterator[tuple[str, str]]:
        return iter(self.pairs)

    def __len__(self) -> int:
        return len(self.pairs)

    def __contains__(self, name: object) -> bool:
        return any(n == name for n, _ in self.pairs)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Labels) and self.pairs == other.pairs

    def __lt__(self, other: Labels) -> bool:
        return self.pairs < other.pairs

    def __hash__(self) -> int:
        if self._hash is None:
            self._hash = hash(self.pairs)
        return self._hash

    def __str__(self) -> str:
        """As Prometheus prints it: ``name{a="b"}``, or all inside the braces for a UTF-8 name."""
        name = self.name
        legacy = bool(name) and _LEGACY_NAME.match(name) is not None
        parts = [] if legacy or not name else [quote(name)]
        parts += [
            f"{n if _LEGACY_LABEL.match(n) else quote(n)}={quote(v)}"
            for n, v in self.pairs
            if n != METRIC_NAME
        ]
        if legacy and not parts:
            return name
        return (name if legacy else "") + "{" + ", ".join(parts) + "}"

    def __repr__(self) -> str:
        return f"Labels({self})"


def braced(labels: Labels) -> str:
    """All labels inside the braces, the name too: as Prometheus prints a series in error texts."""
    pairs = [f"{n if is_legacy_label(n) else quote(n)}={quote(v)}" for n, v in labels.pairs]
    return "{" + ", ".join(pairs) + "}"


def is_valid_label_name(name: str) -> bool:
    """Any text in valid UTF-8 may name a label, but the empty one."""
    try:
        return name.encode() != b""
    except UnicodeEncodeError:
        return False


def is_legacy_label(name: str) -> bool:
    """Whether a label name can be written without quotes."""
    return _LEGACY_LABEL.match(name) is not None


class MatchType(enum.Enum):
    EQUAL = "="
    NOT_EQUAL = "!="
    REGEXP = "=~"
    NOT_REGEXP = "!~"


@lru_cache(maxsize=4096)
def compile_regex(pattern: str) -> re2._Regexp:
    """An RE2 pattern anchored at both ends with ``.`` matching newline. Raises ValueError if invalid."""
    options = re2.Options()
    options.log_errors = False
    options.dot_nl = True
    try:
        return re2.compile(f"^(?s:{pattern})$", options)
    except re2.error as error:
        text = error.args[0] if error.args else error
        raise ValueError(text.decode() if isinstance(text, bytes) else str(text)) from None


class Matcher:
    """One condition on a label; a missing label has the empty value."""

    __slots__ = ("_regex", "name", "type", "value")

    def __init__(self, type: MatchType, name: str, value: str) -> None:
        """Raises ValueError if ``value`` is not a valid regular expression where one is needed."""
        self.type = type
        self.name = name
        self.value = value
        self._regex = compile_regex(value) if type in (MatchType.REGEXP, MatchType.NOT_REGEXP) else None

    @property
    def regex_size(self) -> int:
        """Instructions of the compiled regular expression, 0 without one; each took about a microsecond."""
        return 0 if self._regex is None else int(self._regex.programsize)

    def matches(self, value: str) -> bool:
        match self.type:
            case MatchType.EQUAL:
                return value == self.value
            case MatchType.NOT_EQUAL:
                return value != self.value
            case MatchType.REGEXP:
                assert self._regex is not None
                return self._regex.search(value) is not None
            case MatchType.NOT_REGEXP:
                assert self._regex is not None
                return self._regex.search(value) is None

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Matcher) and (self.type, self.name, self.value) == (
            other.type,
            other.name,
            other.value,
        )

    def __hash__(self) -> int:
        return hash((self.type, self.name, self.value))

    def __str__(self) -> str:
        name = self.name if _LEGACY_LABEL.match(self.name) else quote(self.name)
        return f"{name}{self.type.value}{quote(self.value)}"

    def __repr__(self) -> str:
        return f"Matcher({self})"
