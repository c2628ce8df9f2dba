"""What a check prints, in its order, and how it ends."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

__all__ = ["LINT_EXIT", "Lint", "Report"]

LINT_EXIT: Final = 3


@dataclass(slots=True)
class Report:
    """Lines for standard output, and for standard error where the second of a pair is True."""

    lines: list[tuple[str, bool]] = field(default_factory=list)
    failed: bool = False
    has_errors: bool = False

    def say(self, text: str) -> None:
        self.lines.append((text, False))

    def complain(self, text: str) -> None:
        self.lines.append((text, True))

    def fail(self, text: str, *, lint: bool = False) -> None:
        self.complain(text)
        self.failed = True
        self.has_errors = self.has_errors or not lint

    def exit_code(self, lint_fatal: bool) -> int:
        if self.has_errors:
            return 1
        return LINT_EXIT if self.failed and lint_fatal else 0


@dataclass(frozen=True, slots=True)
class Lint:
    """What to look for beyond errors; ``lookback_ms`` 0 leaves scrape intervals alone."""

    duplicates: bool
    lookback_ms: int = 0
    ignore_unknown: bool = False

    @classmethod
    def of(
        cls,
        text: str,
        *,
        lookback_ms: int = 0,
        ignore_unknown: bool = False,
        warn: Callable[[str], None],
    ) -> Lint:
        """Of ``--lint``: names separated by commas; ``lookback_ms`` 0 where intervals are not checked."""
        options = text.split(",")
        known = {"all", "duplicate-rules", "none"} | ({"too-long-scrape-interval"} if lookback_ms else set())
        for option in options if text else ():
            if option not in known:
                warn(f'WARNING: unknown lint option: "{option}"')
        off = "none" in options and bool(lookback_ms)
        return cls(
            not off and ("all" in options or "duplicate-rules" in options),
            lookback_ms if not off and ("all" in options or "too-long-scrape-interval" in options) else 0,
            ignore_unknown,
        )
