"""Results of tests as JUnit XML: ``promtool test --junit``. Mirrors util/junitxml of upstream."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Sequence
from dataclasses import dataclass, field

from wavetank.monitoring.rfc3339 import format_time

__all__ = ["Suite", "render"]


@dataclass(slots=True)
class _Case:
    name: str
    failures: list[str] = field(default_factory=list)
    error: str = ""


@dataclass(slots=True)
class Suite:
    """One file of tests."""

    name: str
    timestamp: str = ""
    cases: list[_Case] = field(default_factory=list)

    def start(self, at_seconds: float) -> None:
        self.timestamp = format_time(at_seconds)[:19]

    def case(self, name: str) -> None:
        """What follows belongs to this test."""
        self.cases.append(_Case(name))

    def fail(self, text: str) -> None:
        self._last().failures.append(text)

    def abort(self, text: str) -> None:
        """The file could not be tested at all."""
        self._last().error = text

    def _last(self) -> _Case:
        if not self.cases:
            self.case("unknown")
        return self.cases[-1]


def render(suites: Sequence[Suite]) -> bytes:
    """The XML document."""
    root = ET.Element("testsuites")
    for suite in suites:
        counts = {
            "tests": len(suite.cases),
            "failures": sum(len(case.failures) for case in suite.cases),
            "errors": sum(bool(case.error) for case in suite.cases),
            "skipped": 0,
        }
        element = ET.SubElement(root, "testsuite", name=suite.name)
        element.attrib.update({name: str(count) for name, count in counts.items()})
        element.set("timestamp", suite.timestamp)
        for case in suite.cases:
            one = ET.SubElement(element, "testcase", name=case.name)
            for text in case.failures:
                ET.SubElement(one, "failure").text = text
            if case.error:
                ET.SubElement(one, "error").text = case.error
    return ET.tostring(root, short_empty_elements=False)
