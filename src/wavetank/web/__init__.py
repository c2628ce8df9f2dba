"""The browser side: the built single-page code, kept as files, and how to read it.

``static/`` holds what ``ui/`` builds, under fixed names and committed, so that nobody who installs the
package needs Node. It is never edited by hand; ``ui/check.sh`` fails when it is not what the source builds.
"""

from __future__ import annotations

from functools import cache
from importlib.resources import files

__all__ = ["static_text"]


@cache
def static_text(name: str) -> str:
    """A built file's text by its name, such as ``report.js``."""
    return files("wavetank.web").joinpath("static", name).read_text(encoding="utf-8")
