"""Writing expositions. Mirrors ``expfmt`` of prometheus/common. Light: no NumPy.

Names that are not legacy names are written quoted inside the braces, as text 1.0.0 and OpenMetrics 1.0.0
with UTF-8 allow it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

from wavetank.model.quoting import format_float_g

__all__ = [
    "CONTENT_TYPE_OPENMETRICS",
    "CONTENT_TYPE_TEXT",
    "MetricFamily",
    "Sample",
    "render_openmetrics",
    "render_text",
]

CONTENT_TYPE_TEXT = "text/plain; version=0.0.4; charset=utf-8"
CONTENT_TYPE_OPENMETRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"

_LEGACY_NAME = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*\Z")
_LEGACY_LABEL = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*\Z")


@dataclass(frozen=True, slots=True)
class Sample:
    """One line. ``name`` is the whole name, suffix included; ``exemplar`` is ``(labels, value, seconds)``."""

    name: str
    labels: Mapping[str, str]
    value: float
    timestamp_ms: int | None = None
    exemplar: tuple[Mapping[str, str], float, float | None] | None = None


@dataclass(frozen=True, slots=True)
class MetricFamily:
    """``type`` is the OpenMetrics word: counter, gauge, histogram, summary, info, stateset, unknown."""

    name: str
    type: str = "unknown"
    help: str = ""
    unit: str = ""
    samples: Sequence[Sample] = field(default=())


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')


def _series(name: str, labels: Mapping[str, str]) -> str:
    legacy = _LEGACY_NAME.match(name) is not None
    parts = [] if legacy else [f'"{_escaped(name)}"']
    parts += _pairs(labels)
    braces = "{" + ",".join(parts) + "}" if parts else ""
    return (name if legacy else "") + braces


def _pairs(labels: Mapping[str, str]) -> list[str]:
    return [f'{_label_name(name)}="{_escaped(value)}"' for name, value in labels.items()]


@lru_cache(maxsize=4096)  # there are few names of labels, and each comes with every sample
def _label_name(name: str) -> str:
    return name if _LEGACY_LABEL.match(name) else f'"{_escaped(name)}"'


def _meta_name(name: str) -> str:
    return name if _LEGACY_NAME.match(name) else f'"{_escaped(name)}"'


def render_text(families: Iterable[MetricFamily]) -> bytes:
    """Text 0.0.4 (1.0.0 where a name needs quotes). Types that only OpenMetrics knows become untyped."""
    known = {"counter", "gauge", "histogram", "summary"}
    out: list[str] = []
    for family in families:
        name = _meta_name(family.name)
        if family.help:
            shown = family.help.replace("\\", "\\\\").replace("\n", "\\n")
            out.append(f"# HELP {name} {shown}\n")
        out.append(f"# TYPE {name} {family.type if family.type in known else 'untyped'}\n")
        for sample in family.samples:
            stamp = "" if sample.timestamp_ms is None else f" {sample.timestamp_ms}"
            out.append(f"{_series(sample.name, sample.labels)} {format_float_g(sample.value)}{stamp}\n")
    return "".join(out).encode()


def _openmetrics_number(value: float) -> str:
    text = format_float_g(value)
    return text if any(c in text for c in "eIN.") else text + ".0"


def render_openmetrics(families: Iterable[MetricFamily]) -> bytes:
    """OpenMetrics 1.0.0. A counter family loses the ``_total`` of its name in the metadata, as it must."""
    out: list[str] = []
    for family in families:
        base = family.name.removesuffix("_total") if family.type == "counter" else family.name
        name = _meta_name(base)
        out.append(f"# TYPE {name} {family.type}\n")
        if family.unit:
            out.append(f"# UNIT {name} {family.unit}\n")
        if family.help:
            out.append(f"# HELP {name} {_escaped(family.help)}\n")
        for sample in family.samples:
            stamp = "" if sample.timestamp_ms is None else f" {sample.timestamp_ms / 1000:.3f}"
            line = f"{_series(sample.name, sample.labels)} {_openmetrics_number(sample.value)}{stamp}"
            if sample.exemplar is not None:
                labels, value, seconds = sample.exemplar
                line += f" # {{{','.join(_pairs(labels))}}} {_openmetrics_number(value)}"
                if seconds is not None:
                    line += f" {seconds:.3f}"
            out.append(line + "\n")
    out.append("# EOF\n")
    return "".join(out).encode()
