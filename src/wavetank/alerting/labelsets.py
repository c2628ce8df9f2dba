"""Label sets as they come in, each read once.

A sender repeats every firing alert each minute, and its labels byte for byte. So the text itself is the key:
what was read of it, its fingerprint, and whether it may name an alert at all, are remembered.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from wavetank.alerting.alert import fingerprint

__all__ = ["LabelSet", "LabelSets", "invalid_pairs"]

_DECODER = msgspec.json.Decoder(dict[str, str])
_SPARE = 1000  # texts remembered beyond two an alert


class LabelSet(msgspec.Struct, frozen=True, gc=False):
    """``labels`` without those whose value is empty; ``fault`` is upstream's text of what is wrong, or ""."""

    labels: Mapping[str, str]
    id: str
    fault: str


class LabelSets:
    """``read`` a text; ``keep`` bounds what is remembered."""

    def __init__(self) -> None:
        self._known: dict[bytes, LabelSet] = {}

    def read(self, text: bytes) -> LabelSet:
        """The labels in a JSON object. Raises ValueError for anything else."""
        found = self._known.get(text)
        if found is None:
            found = self._known[text] = _label_set(_DECODER.decode(text))
        return found

    def keep(self, alerts: int) -> None:
        """Forget everything when there are far more texts than ``alerts`` that they could be of."""
        if len(self._known) > 2 * alerts + _SPARE:
            self._known.clear()


def _label_set(pairs: dict[str, str]) -> LabelSet:
    labels = {name: value for name, value in pairs.items() if value}
    fault = invalid_pairs("label", labels) if labels else "at least one label pair required"
    return LabelSet(labels, fingerprint(labels), fault)


def invalid_pairs(what: str, pairs: Mapping[str, str]) -> str:
    """Upstream's text for names that are none, or "". JSON that was read is valid UTF-8."""
    return f'invalid {what} set: invalid name ""' if "" in pairs else ""
