"""How the report says things in words: numbers with units, and the verdict in one sentence.

The browser's ``ui/src/report/format.ts`` follows the same rules; the verdict is worded here only.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

from wavetank.rehearsal.report.model import Report, Scaling, Service, Slo

__all__ = [
    "DASH",
    "clock",
    "detail",
    "duration",
    "in_unit",
    "milliseconds",
    "objective",
    "percent",
    "printable",
    "rate",
    "seconds",
    "short_name",
    "significant",
    "slo_state",
    "verdict",
    "worth_telling",
]

DASH = "–"
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def significant(value: float) -> str:
    """Three significant digits without an exponent: 0.0123, 1.23, 12.3, 1,235."""
    if value == 0:
        return "0"
    size = abs(value)
    if size >= 99.95:
        return f"{value:,.0f}"
    digits = min(6, max(0, 2 - math.floor(math.log10(size))))
    text = f"{value:.{digits}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def seconds(value: float | None) -> str:
    if value is None:
        return DASH
    size = abs(value)
    if size == 0:
        return "0 s"
    if size < 0.9995:
        return f"{significant(value * 1000)} ms"
    if size < 60:
        return f"{value:.2f} s" if size < 10 else f"{value:.1f} s"
    return duration(value)


def milliseconds(value: float | None) -> str:
    return DASH if value is None else seconds(value / 1000)


def duration(value: float) -> str:
    """59 s, 3 min 7 s, 2 h 5 min."""
    whole = math.floor(abs(value) + 0.5)
    hours, minutes, rest = whole // 3600, whole // 60 % 60, whole % 60
    if hours:
        return f"{hours} h {minutes} min" if minutes else f"{hours} h"
    if minutes:
        return f"{minutes} min {rest} s" if rest else f"{minutes} min"
    return f"{rest} s"


def percent(value: float | None) -> str:
    """Enough digits that a ratio near one does not round to all of it: 99.973 %."""
    if value is None:
        return DASH
    if not 0.9 < value < 1:
        return f"{significant(value * 100)} %"
    off = 1 - value
    digits = 1 if off >= 0.01 else 2 if off >= 0.001 else 3
    return f"{value * 100:.{digits}f}".rstrip("0").rstrip(".") + " %"


def rate(value: float | None) -> str:
    return DASH if value is None else f"{significant(value)}/s"


def clock(at: float | None) -> str:
    """A moment of the run from its start: 1:23, or 2:03:00 in runs of hours."""
    if at is None:
        return DASH
    whole = math.floor(abs(at) + 0.5)
    hours, minutes, rest = whole // 3600, whole // 60 % 60, whole % 60
    text = f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
    return f"−{text}" if at < 0 and whole else text


def in_unit(value: float | None, unit: str) -> str:
    """A value in the unit that an SLO names."""
    if value is None:
        return DASH
    match unit:
        case "ratio":
            return percent(value)
        case "seconds" | "s":
            return seconds(value)
        case "milliseconds" | "ms":
            return milliseconds(value)
        case "":
            return significant(value)
        case _:
            return f"{significant(value)} {unit}"


def printable(text: str) -> str:
    """Control characters made visible: a program's output must not steer the reader's terminal."""
    return _CONTROL.sub("\N{REPLACEMENT CHARACTER}", text)


def worth_telling(services: Sequence[Service]) -> Sequence[Service]:
    """All, if there are several, or if the proxy did more than pass requests on."""
    busy = any(s.tries not in (0, s.requests) or s.overflows or s.ejections for s in services)
    return services if len(services) > 1 or busy else ()


def short_name(reference: str) -> str:
    """``Deployment/shop/checkout`` as ``checkout``."""
    return reference.rpartition("/")[2]


def objective(slo: Slo) -> str:
    if slo.kind == "ratio":
        return f"≥ {percent(slo.objective)}"
    bounds = [
        f"{sign} {in_unit(v, slo.unit)}" for sign, v in (("≥", slo.min), ("≤", slo.max)) if v is not None
    ]
    return " and ".join(bounds) or DASH


def slo_state(slo: Slo) -> str:
    return "no data" if slo.ok is None else "held" if slo.ok else "failed"


def verdict(report: Report) -> str:
    """The one sentence that somebody reads who reads no more."""
    failed = [slo for slo in report.slos if slo.ok is False]
    if report.outcome == "incomplete":
        why = f": {report.reason.rstrip('.')}" if report.reason else ""
        return f"No verdict after {duration(report.duration_seconds)}{why}."
    if report.outcome == "held":
        return f"It holds: {_kept(report.slos)}{_under_load(report)}."
    if not failed:
        return f"It does not hold{': ' + report.reason.rstrip('.') if report.reason else ''}."
    worst, others = failed[0], len(failed) - 1
    more = f"; {others} more {'SLO' if others == 1 else 'SLOs'} failed" if others else ""
    measured = f"{worst.name} was {in_unit(worst.value, worst.unit)}, {_allowed(worst)}"
    return f"It does not hold{_under_load(report)}: {measured}{more}."


def _kept(slos: Sequence[Slo]) -> str:
    unknown = sum(slo.ok is None for slo in slos)
    if unknown:
        return f"{len(slos) - unknown} of {len(slos)} SLOs were kept, {unknown} had no data,"
    return {0: "no SLO was set", 1: "its SLO was kept"}.get(len(slos), f"all {len(slos)} SLOs were kept")


def _allowed(slo: Slo) -> str:
    if slo.kind == "ratio":
        return f"at least {percent(slo.objective)} is required"
    if slo.max is not None and (slo.min is None or slo.value is None or slo.value > slo.max):
        return f"at most {in_unit(slo.max, slo.unit)} is allowed"
    return f"at least {in_unit(slo.min, slo.unit)} is required"


def _under_load(report: Report) -> str:
    peaks = [stage.rps for stage in report.stages if stage.kind == "rps" and stage.rps is not None]
    if not peaks or len(peaks) < len(report.stages) / 2:
        users = [stage.users for stage in report.stages if stage.users is not None]
        return f" under {significant(max(users))} users" if users else ""
    return f" at {significant(max(peaks))} requests per second"


def detail(report: Report) -> str:
    """What the verdict rests on, in one or two sentences; empty when there is nothing to add."""
    sentences = []
    if report.bottleneck:
        when = "" if report.bottleneck.at_seconds is None else f" at {clock(report.bottleneck.at_seconds)}"
        sentences.append(f"First to give out was {_lower_first(report.bottleneck.what)}{when}.")
    ups = [scaling for scaling in report.scalings if scaling.direction == "up"]
    if ups:
        sentences.append(_scale_up_sentence(ups))
    if report.outcome == "incomplete" and report.slos:
        states = ", ".join(f"{slo.name} {slo_state(slo)}" for slo in report.slos)
        sentences.append(f"Until then: {states}.")
    return " ".join(sentences)


def _lower_first(text: str) -> str:
    """Sentence case undone, except for words such as CPU."""
    return text if text[1:2].isupper() else text[:1].lower() + text[1:]


def _scale_up_sentence(ups: list[Scaling]) -> str:
    slowest = max(ups, key=lambda scaling: scaling.total_seconds)
    count = "The one scale-up took" if len(ups) == 1 else f"The slowest of {len(ups)} scale-ups took"
    sentence = f"{count} {seconds(slowest.total_seconds)} from the load's rise until the last new pod served"
    if not slowest.stages:
        return f"{sentence}."
    longest = max(slowest.stages, key=lambda stage: stage.seconds)
    modelled = ", modelled" if longest.modelled else ""
    return f"{sentence}, most of it in “{longest.name}” ({seconds(longest.seconds)}{modelled})."
