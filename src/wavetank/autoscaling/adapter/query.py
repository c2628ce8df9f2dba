"""``metricsQuery``: a Go template between ``<<`` and ``>>`` that makes a PromQL expression.

Fields as prometheus-adapter gives them: Series, LabelMatchers, LabelValuesByName, GroupBy, GroupBySlice.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from wavetank.gotemplate import Template, TemplateError
from wavetank.kube.selectors import LabelSelector, Requirement

__all__ = ["Matcher", "QueryTemplate", "from_selector", "one_of"]

_ACTION: Final = re.compile(r"<<(.*?)>>", re.DOTALL)
_QUOTED: Final = {"{": '{{"{"}}', "}": '{{"}"}}'}
_SPECIAL: Final = re.compile(r"([\\.+*?()|\[\]{}^$])")


class Matcher:
    """One label condition of a query, with the plain values it stands for."""

    __slots__ = ("label", "operator", "values")

    def __init__(self, label: str, operator: str, values: Sequence[str]) -> None:
        self.label = label
        self.operator = operator
        self.values = tuple(values)

    def __str__(self) -> str:
        value = "|".join(self.values)
        escaped = value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
        return f'{self.label}{self.operator}"{escaped}"'


def one_of(label: str, values: Sequence[str]) -> Matcher:
    """Equal to the one value, or to one of several."""
    if len(values) == 1:
        return Matcher(label, "=", values)
    return Matcher(label, "=~", [_SPECIAL.sub(r"\\\1", value) for value in values])


def from_selector(selector: LabelSelector) -> list[Matcher]:
    """A metric selector as conditions. Raises ValueError for operators PromQL has no counterpart of."""
    return [_of(requirement) for requirement in selector.requirements]


def _of(requirement: Requirement) -> Matcher:
    match requirement.operator:
        case "In":
            return one_of(requirement.key, requirement.values)
        case "NotIn":
            found = one_of(requirement.key, requirement.values)
            return Matcher(found.label, "!=" if found.operator == "=" else "!~", found.values)
        case "Exists":
            return Matcher(requirement.key, "!=", ("",))
        case "DoesNotExist":
            return Matcher(requirement.key, "=", ("",))
        case operator:
            raise ValueError(f"the selector operator {operator} is not supported by this query")


class QueryTemplate:
    """A parsed query. Raises ValueError where the text is no template."""

    def __init__(self, text: str) -> None:
        self.text = text
        try:
            self._template = Template(_braced(text), variables=())
        except TemplateError as error:
            raise ValueError(str(error)) from None

    def render(self, series: str, matchers: Iterable[Matcher], group_by: Sequence[str]) -> str:
        """The expression. Raises ValueError where the template cannot be filled in."""
        matchers = list(matchers)
        values: Mapping[str, str] = {m.label: "|".join(m.values) for m in matchers}
        dot = {
            "Series": series,
            "LabelMatchers": ",".join(map(str, matchers)),
            "LabelValuesByName": values,
            "GroupBy": ",".join(group_by),
            "GroupBySlice": list(group_by),
        }
        try:
            return self._template.render(dot, {}, {})
        except TemplateError as error:
            raise ValueError(str(error)) from None


def _braced(text: str) -> str:
    """The template with Go's usual delimiters; braces of the PromQL around the actions are quoted."""
    parts: list[str] = []
    at = 0
    for action in _ACTION.finditer(text):
        parts += [_plain(text[at : action.start()]), "{{", action[1], "}}"]
        at = action.end()
    rest = text[at:]
    if "<<" in rest:
        raise ValueError("unclosed action")
    return "".join([*parts, _plain(rest)])


def _plain(text: str) -> str:
    return re.sub(r"[{}]", lambda brace: _QUOTED[brace[0]], text)
