"""How a failed unit test shows alerts: as upstream prints them, or as a coloured difference."""

from __future__ import annotations

import difflib
from typing import Final, TypeAlias

import msgspec

from wavetank.model.labels import Labels, braced

__all__ = ["Alerts", "coloured", "shown_alerts"]

#: Labels and annotations of each.
Alerts: TypeAlias = list[tuple[Labels, Labels]]
_INDENT: Final = " " * 12
_COLOURS: Final = {"+": "\x1b[0;32m", "-": "\x1b[0;31m"}
_PLAIN: Final = "\x1b[0m"


def shown_alerts(alerts: Alerts) -> str:
    """Numbered, with labels and annotations."""
    if not alerts:
        return "[]"
    lines = ["["]
    for i, (labels, notes) in enumerate(alerts):
        comma = "," if i + 1 < len(alerts) else ""
        lines += [f"{i}:", f"  Labels:{braced(labels)}", f"  Annotations:{braced(notes)}{comma}"]
    return "\n".join([lines[0], *(_INDENT + line for line in [*lines[1:], "]"])])


def coloured(expected: Alerts, got: Alerts) -> str:
    """Both as JSON, line by line: what is missing in red, what should not be there in green."""
    sides = [
        msgspec.json.format(
            msgspec.json.encode([{"Labels": a.to_dict(), "Annotations": b.to_dict()} for a, b in alerts]),
            indent=4,
        )
        .decode()
        .splitlines()
        for alerts in (expected, got)
    ]
    shown = []
    for line in difflib.ndiff(sides[0], sides[1]):
        if line[0] != "?":
            colour = _COLOURS.get(line[0])
            shown.append(line if colour is None else f"{colour}{line}{_PLAIN}")
    return f"\n{_INDENT}".join(shown)
