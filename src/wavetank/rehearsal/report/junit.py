"""The report as JUnit XML, in the dialect that GitLab, Jenkins and GitHub's reporters read.

One test case per SLO, one per scaling (its stages must account for its time), and one for the run itself.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from xml.etree import ElementTree as ET

from wavetank.limits import REPORT_UNEXPLAINED_RATIO_MAX
from wavetank.rehearsal.report.model import Report, Scaling, Slo
from wavetank.rehearsal.report.wording import (
    clock,
    duration,
    in_unit,
    objective,
    seconds,
    short_name,
    verdict,
)

__all__ = ["render_junit"]

# What XML 1.0 cannot hold, even escaped.
_FORBIDDEN = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def render_junit(report: Report) -> str:
    """A ``testsuites`` document; a failed SLO is a failure, a missing value an error."""
    cases = [_run_case(report), *(_slo_case(slo) for slo in report.slos)]
    cases += [_scaling_case(scaling) for scaling in report.scalings]
    counts = {
        "tests": str(len(cases)),
        "failures": str(sum(case.find("failure") is not None for case in cases)),
        "errors": str(sum(case.find("error") is not None for case in cases)),
        "time": f"{report.duration_seconds:.3f}",
    }
    name = _clean(f"wavetank {report.kind} {report.name}")
    root = ET.Element("testsuites", {"name": name, **counts})
    stamp = datetime.fromtimestamp(report.started_at, UTC).isoformat(timespec="seconds")
    suite = ET.SubElement(root, "testsuite", {"name": name, **counts, "skipped": "0", "timestamp": stamp})
    properties = ET.SubElement(suite, "properties")
    for key, value in _properties(report).items():
        ET.SubElement(properties, "property", {"name": _clean(key), "value": _clean(value)})
    suite.extend(cases)
    ET.SubElement(suite, "system-out").text = _clean(verdict(report))
    ET.indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ET.tostring(root, encoding="unicode") + "\n"


def _clean(text: str) -> str:
    return _FORBIDDEN.sub("\N{REPLACEMENT CHARACTER}", text)


def _properties(report: Report) -> dict[str, str]:
    e = report.environment
    versions = {f"version.{name}": version for name, version in e.versions.items()}
    return {"seed": str(e.seed), "enforcer": e.enforcer, "runtime": e.runtime, "python": e.python, **versions}


def _case(classname: str, name: str, took_seconds: float) -> ET.Element:
    attributes = {"classname": f"wavetank.{classname}", "name": _clean(name), "time": f"{took_seconds:.3f}"}
    return ET.Element("testcase", attributes)


def _add(case: ET.Element, tag: str, message: str, body: str = "") -> None:
    element = ET.SubElement(case, tag, {"message": _clean(message), "type": tag})
    element.text = _clean(body) or None


def _run_case(report: Report) -> ET.Element:
    case = _case("run", f"the {report.kind} ran to its end", report.duration_seconds)
    if report.outcome == "incomplete":
        why = f": {report.reason}" if report.reason else ""
        _add(case, "error", f"no verdict after {duration(report.duration_seconds)}{why}")
    return case


def _slo_case(slo: Slo) -> ET.Element:
    case = _case("slo", slo.name, 0.0)
    if slo.ok is None:
        _add(case, "error", f"{slo.name}: no data", slo.expr)
    elif not slo.ok:
        body = [slo.expr]
        if slo.worst_value is not None:
            body.append(f"worst: {in_unit(slo.worst_value, slo.unit)} at {clock(slo.worst_at_seconds)}")
        message = f"{slo.name}: {in_unit(slo.value, slo.unit)}, objective {objective(slo)}"
        _add(case, "failure", message, "\n".join(body))
    return case


def _scaling_case(scaling: Scaling) -> ET.Element:
    step = f"{scaling.from_replicas} to {scaling.to_replicas} at {clock(scaling.decided_at_seconds)}"
    case = _case("scaling", f"{short_name(scaling.workload)} {step}", scaling.total_seconds)
    if problem := _unaccounted(scaling):
        stages = "\n".join(f"{stage.name}: {seconds(stage.seconds)}" for stage in scaling.stages)
        _add(case, "failure", problem, stages)
    return case


def _unaccounted(scaling: Scaling) -> str | None:
    """Why the stages do not account for the scaling's time, if so."""
    allowed = scaling.total_seconds * REPORT_UNEXPLAINED_RATIO_MAX
    total = sum(stage.seconds for stage in scaling.stages) + scaling.unexplained_seconds
    if abs(total - scaling.total_seconds) > allowed:
        return f"stages add up to {seconds(total)} of {seconds(scaling.total_seconds)}"
    if scaling.unexplained_seconds > allowed:
        return f"{seconds(scaling.unexplained_seconds)} of {seconds(scaling.total_seconds)} are unexplained"
    return None
