"""The regular expressions of template functions: RE2, found anywhere, as Go's regexp package has them."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final

import re2

__all__ = ["match", "replace_all"]

_GROUP: Final = re.compile(r"\$(?:\$|(\w+)|\{(\w+)\})")


@lru_cache(maxsize=1024)
def _compile(pattern: str) -> re2._Regexp:
    options = re2.Options()
    options.log_errors = False
    try:
        return re2.compile(pattern, options)
    except re2.error as error:
        text = error.args[0] if error.args else error
        shown = text.decode() if isinstance(text, bytes) else str(text)
        raise ValueError(f"error parsing regexp: {shown}") from None


def match(pattern: str, text: str) -> bool:
    """Whether the pattern is found. Raises ValueError for one that is none."""
    return _compile(pattern).search(text) is not None


def replace_all(pattern: str, replacement: str, text: str) -> str:
    """Every match replaced; ``$1`` and ``${name}`` stand for groups, those that are not there for nothing.

    Raises ValueError for a pattern that is none.
    """

    def expand(found: re2._Match) -> str:
        def group(reference: re.Match[str]) -> str:
            name = reference[1] or reference[2]
            if name is None:
                return "$"
            try:
                return found.group(int(name) if name.isdigit() else name) or ""
            except (IndexError, KeyError):
                return ""

        return _GROUP.sub(group, replacement)

    return str(_compile(pattern).sub(expand, text))
