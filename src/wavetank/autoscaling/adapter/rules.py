"""The adapter's configuration file: which series become which metrics, and by which query.

``docs/config.md`` of prometheus-adapter is the specification. Unknown fields are errors with their line.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from msgspec import Struct, field

from wavetank.autoscaling.adapter.query import QueryTemplate
from wavetank.errors import InputError
from wavetank.model.duration import parse_duration
from wavetank.yamlfile import Document, decode, load_documents, parse_documents

__all__ = ["AdapterConfig", "ResourceRule", "Rule", "default_config", "load_config", "parse_config"]

KeyPath = tuple[str | int, ...]


class _Filter(Struct, forbid_unknown_fields=True, rename="camel"):
    is_: str | None = field(default=None, name="is")
    is_not: str | None = None


class _GroupResource(Struct, forbid_unknown_fields=True):
    resource: str
    group: str = ""


class _Mapping(Struct, forbid_unknown_fields=True):
    template: str = ""
    overrides: dict[str, _GroupResource] = {}
    namespaced: bool | None = None


class _Name(Struct, forbid_unknown_fields=True):
    matches: str = ""
    as_: str = field(default="", name="as")


class _Rule(Struct, forbid_unknown_fields=True, rename="camel"):
    series_query: str
    metrics_query: str = ""
    series_filters: list[_Filter] = []
    resources: _Mapping = field(default_factory=_Mapping)
    name: _Name = field(default_factory=_Name)


class _Resource(Struct, forbid_unknown_fields=True, rename="camel"):
    container_query: str
    node_query: str
    container_label: str
    resources: _Mapping = field(default_factory=_Mapping)


class _Resources(Struct, forbid_unknown_fields=True):
    cpu: _Resource
    memory: _Resource
    window: str = "1m"


class _File(Struct, forbid_unknown_fields=True, rename="camel"):
    rules: list[_Rule] = []
    external_rules: list[_Rule] = []
    resource_rules: _Resources | None = None


@dataclass(frozen=True, slots=True)
class ResourceMapping:
    """Labels and resources of one rule: ``overrides`` maps a label to (group, resource), ``template`` makes
    the label of any resource."""

    template: str = ""
    overrides: Mapping[str, tuple[str, str]] = dataclasses.field(default_factory=dict)
    namespaced: bool = True


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule. ``filters`` are (pattern, whether it must match); ``name_as`` is the expansion in Python's
    form (``\\g<1>``)."""

    series_query: str
    query: QueryTemplate
    filters: Sequence[tuple[re.Pattern[str], bool]]
    mapping: ResourceMapping
    name_matches: re.Pattern[str]
    name_as: str

    def takes(self, series: str) -> bool:
        return all(bool(pattern.search(series)) is wanted for pattern, wanted in self.filters)

    def metric_name(self, series: str) -> str | None:
        """The name the series is served under; None where the rule's pattern does not match it."""
        found = self.name_matches.search(series)
        return found.expand(self.name_as) if found is not None else None


@dataclass(frozen=True, slots=True)
class ResourceRule:
    """How one of cpu and memory is asked for metrics.k8s.io."""

    container_query: QueryTemplate
    node_query: QueryTemplate
    container_label: str
    mapping: ResourceMapping


@dataclass(frozen=True, slots=True)
class AdapterConfig:
    """``resource_rules`` is by resource name, empty where the file has none; ``window`` in seconds."""

    rules: tuple[Rule, ...] = ()
    external_rules: tuple[Rule, ...] = ()
    resource_rules: Mapping[str, ResourceRule] = dataclasses.field(default_factory=dict)
    window: float = 60.0


#: Rules for a tank without an adapter file: every series with a namespace label, by the labels pod, service,
#: ... it carries; counters as rates under their name without _total. Of the tank's own jobs only that of the
#: pods counts (wavetank/pods).
DEFAULT_RULES: Final = """
rules:
  - seriesQuery: '{__name__=~"^container_.*",container!="",namespace!="",pod!=""}'
    seriesFilters: [{isNot: "_total$"}]
    resources: {overrides: {namespace: {resource: namespace}, pod: {resource: pod}}}
    name: {matches: "^container_(.*)$"}
    metricsQuery: sum(<<.Series>>{<<.LabelMatchers>>,container!=""}) by (<<.GroupBy>>)
  - seriesQuery: '{__name__=~"^istio_.*_total$",destination_service_name!=""}'
    resources:
      overrides:
        destination_service_namespace: {resource: namespace}
        destination_service_name: {resource: service}
    name: {matches: "^(.*)_total$"}
    metricsQuery: sum(rate(<<.Series>>{<<.LabelMatchers>>}[1m])) by (<<.GroupBy>>)
  - seriesQuery: '{namespace!="",__name__!~"^(container|kube|istio)_.*"}'
    seriesFilters: [{is: "_total$"}]
    resources: {template: <<.Resource>>}
    name: {matches: "^(.*)_total$"}
    metricsQuery: sum(rate(<<.Series>>{<<.LabelMatchers>>}[1m])) by (<<.GroupBy>>)
  - seriesQuery: '{namespace!="",__name__!~"^(container|kube|istio)_.*"}'
    seriesFilters: [{isNot: "_total$"}]
    resources: {template: <<.Resource>>}
    metricsQuery: sum(<<.Series>>{<<.LabelMatchers>>}) by (<<.GroupBy>>)
externalRules:
  - seriesQuery: '{__name__!="",__name__!~"^(container|kube|envoy|go|python)_.*",job!~"wavetank/[^p].*"}'
    seriesFilters: [{is: "_total$"}]
    resources: {namespaced: false}
    name: {matches: "^(.*)_total$"}
    metricsQuery: sum(rate(<<.Series>>{<<.LabelMatchers>>}[1m]))
  - seriesQuery: '{__name__!="",__name__!~"^(container|kube|envoy|go|python)_.*",job!~"wavetank/[^p].*"}'
    seriesFilters: [{isNot: "_total$"}]
    resources: {namespaced: false}
    metricsQuery: sum(<<.Series>>{<<.LabelMatchers>>})
"""


def default_config() -> AdapterConfig:
    return parse_config(parse_documents(DEFAULT_RULES, path="<default adapter rules>")[0])


def load_config(path: Path) -> AdapterConfig:
    """Read the adapter's file; a ConfigMap that holds it as ``config.yaml`` is read through. Raises
    InputError with place and fix."""
    documents = load_documents(path)
    if len(documents) != 1:
        raise InputError(f"one document expected, {len(documents)} found", at=path)
    document = documents[0]
    value = document.value
    if isinstance(value, dict) and value.get("kind") == "ConfigMap":
        text = (value.get("data") or {}).get("config.yaml")
        if not isinstance(text, str):
            raise document.error("the ConfigMap has no config.yaml", "data")
        document = parse_documents(text, path=f"{path} (data.config.yaml)")[0]
    return parse_config(document)


def parse_config(document: Document) -> AdapterConfig:
    """Raises InputError with the line of what is wrong."""
    found = decode(document, _File)
    resources: dict[str, ResourceRule] = {}
    window = 60.0
    if found.resource_rules is not None:
        for name, rule in (("cpu", found.resource_rules.cpu), ("memory", found.resource_rules.memory)):
            resources[name] = _resource_rule(rule, document, ("resourceRules", name))
        try:
            window = parse_duration(found.resource_rules.window) / 1000
        except ValueError as error:
            raise document.error(f"window: {error}", "resourceRules", "window") from None
    return AdapterConfig(
        tuple(_rule(rule, document, ("rules", i)) for i, rule in enumerate(found.rules)),
        tuple(_rule(rule, document, ("externalRules", i)) for i, rule in enumerate(found.external_rules)),
        resources,
        window,
    )


def _resource_rule(rule: _Resource, document: Document, here: KeyPath) -> ResourceRule:
    return ResourceRule(
        _template(rule.container_query, document, (*here, "containerQuery")),
        _template(rule.node_query, document, (*here, "nodeQuery")),
        rule.container_label,
        _mapping(rule.resources, document, here),
    )


def _rule(rule: _Rule, document: Document, here: KeyPath) -> Rule:
    if not rule.metrics_query:
        raise document.error("metricsQuery is missing", *here)
    filters = []
    for index, each in enumerate(rule.series_filters):
        if (each.is_ is None) == (each.is_not is None):
            raise document.error("a filter needs either is or isNot", *here, "seriesFilters", index)
        place = (*here, "seriesFilters", index)
        filters.append((_pattern(each.is_ or each.is_not or "", document, place), each.is_ is not None))
    matches = _pattern(rule.name.matches or ".*", document, (*here, "name", "matches"))
    return Rule(
        rule.series_query,
        _template(rule.metrics_query, document, (*here, "metricsQuery")),
        tuple(filters),
        _mapping(rule.resources, document, here),
        matches,
        _expansion(rule.name.as_, matches, document, (*here, "name", "as")),
    )


def _expansion(text: str, pattern: re.Pattern[str], document: Document, here: KeyPath) -> str:
    """``$1`` and ``${name}`` as Python writes them; "" takes the one group, or the whole match."""
    if not text:
        if pattern.groups > 1:
            message = "must specify an 'as' value for name matcher with more than one capture group"
            raise document.error(message, *here)
        return f"\\g<{pattern.groups}>"

    def group(match: re.Match[str]) -> str:
        name = match[1] or match[2]
        known = int(name) <= pattern.groups if name.isdigit() else name in pattern.groupindex
        return f"\\g<{name}>" if known else ""  # as Go: a group that is not there expands to nothing

    return re.sub(r"\$(?:\{(\w+)\}|(\w+))", group, text.replace("\\", "\\\\"))


def _mapping(mapping: _Mapping, document: Document, here: KeyPath) -> ResourceMapping:
    if mapping.template and "<<.Resource>>" not in mapping.template.replace(" ", ""):
        fix = "e.g. kube_<<.Group>>_<<.Resource>>"
        raise document.error("the template does not name .Resource", *here, "resources", "template", fix=fix)
    overrides = {label: (to.group, to.resource) for label, to in mapping.overrides.items()}
    return ResourceMapping(mapping.template, overrides, mapping.namespaced is not False)


def _pattern(text: str, document: Document, here: KeyPath) -> re.Pattern[str]:
    try:
        return re.compile(text)
    except re.error as error:
        raise document.error(f"not a regular expression: {error} (in {text!r})", *here) from None


def _template(text: str, document: Document, here: KeyPath) -> QueryTemplate:
    try:
        return QueryTemplate(text)
    except ValueError as error:
        raise document.error(f"not a template: {error}", *here) from None
