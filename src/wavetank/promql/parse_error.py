"""What is wrong with a query's text, and where."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from wavetank.errors import InputError

__all__ = ["ParseError", "ParseIssue", "position"]


@dataclass(frozen=True, slots=True)
class ParseIssue:
    """One complaint: upstream's text and the characters of the query it is about."""

    message: str
    start: int
    end: int


def position(text: str, start: int) -> str:
    """``line:column`` from 1; columns count UTF-8 bytes, as upstream's do."""
    if text == "":
        return "unknown position"
    line = text.count("\n", 0, start) + 1
    before = text[text.rfind("\n", 0, start) + 1 : start]
    return f"{line}:{len(before.encode('utf-8', 'surrogateescape')) + 1}"


class ParseError(InputError):
    """The query is not PromQL. ``issues`` holds every complaint, the message the first."""

    def __init__(self, text: str, issues: Sequence[ParseIssue]) -> None:
        first = issues[0]
        super().__init__(f"{position(text, first.start)}: parse error: {first.message}")
        self.text = text
        self.issues = tuple(issues)
