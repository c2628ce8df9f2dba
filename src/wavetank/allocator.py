"""What the C library keeps of memory that was freed.

glibc gives each thread an arena of its own, and what a thread frees at the top of it stays resident, up to
64 MiB once a single large array was ever freed (its thresholds grow with it); ``malloc_trim`` does not look
there. A server whose upkeep runs in one thread after the other would seem to grow for days. With one arena,
trimmed after upkeep, what is not in use goes back. Elsewhere than on glibc both do nothing.
"""

from __future__ import annotations

import ctypes
from typing import Final

__all__ = ["give_back", "one_arena"]

_M_ARENA_MAX: Final = -8  # of malloc.h


def _call(name: str, *arguments: int) -> None:
    try:
        function = getattr(ctypes.CDLL(None), name)
    except (AttributeError, OSError, TypeError):
        return
    function(*arguments)


def one_arena() -> None:
    """Let all threads share one arena; call it before any is started."""
    _call("mallopt", _M_ARENA_MAX, 1)


def give_back() -> None:
    """Return free pages to the system; takes some milliseconds."""
    _call("malloc_trim", 0)
