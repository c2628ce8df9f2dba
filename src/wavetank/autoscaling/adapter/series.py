"""What Prometheus has: lists the series of every rule, and keeps which metric is made from which.

Mirrors ``cachingMetricsLister``. Upstream lists every ``--metrics-relist-interval``; here a metric that is
asked for and not known lists anew at once, at most every few seconds, since a tank has not been up for days
as a cluster has when a rehearsal begins. Nothing is listed until somebody asks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import urlencode

from wavetank.autoscaling.adapter.naming import NAMESPACE, Labels, Mapper
from wavetank.autoscaling.adapter.rules import Rule
from wavetank.autoscaling.prometheus import Prometheus
from wavetank.clock import Clock
from wavetank.errors import WavetankError
from wavetank.journal import Journal
from wavetank.kube.client import Resource

__all__ = ["CustomMetric", "ExternalMetric", "SeriesRegistry"]

RELIST_SECONDS = 60.0
UNKNOWN_RELIST_SECONDS = 5.0
Listed = Mapping[str, Mapping[str, str]]
"""By series name: the labels of all its series together."""


@dataclass(frozen=True, slots=True)
class CustomMetric:
    """``namespace_label`` is None where the metric's resource is not in a namespace."""

    rule: Rule
    series: str
    label: str
    namespace_label: str | None


@dataclass(frozen=True, slots=True)
class ExternalMetric:
    rule: Rule
    series: str
    namespace_label: str | None


CustomKey = tuple[str, str, bool, str]
"""(group, plural, namespaced, metric)."""


class SeriesRegistry:
    """``refresh`` lists when it is time; the look-ups answer from what was listed last."""

    def __init__(
        self,
        prometheus: Prometheus,
        mapper: Mapper,
        clock: Clock,
        journal: Journal,
        rules: Sequence[Rule],
        external_rules: Sequence[Rule],
    ) -> None:
        self.prometheus = prometheus
        self.mapper = mapper
        self.clock = clock
        self.journal = journal
        self._rules = [(rule, Labels(rule.mapping, mapper)) for rule in rules]
        self._external_rules = [(rule, Labels(rule.mapping, mapper)) for rule in external_rules]
        self.custom: Mapping[CustomKey, CustomMetric] = {}
        self.external: Mapping[str, ExternalMetric] = {}
        self._listed_at: float | None = None

    async def custom_metric(self, resource: Resource, namespaced: bool, metric: str) -> CustomMetric | None:
        key = (resource.group, resource.plural, namespaced, metric)
        await self.refresh(known=key in self.custom)
        return self.custom.get(key)

    async def external_metric(self, metric: str) -> ExternalMetric | None:
        await self.refresh(known=metric in self.external)
        return self.external.get(metric)

    async def refresh(self, *, known: bool) -> None:
        """List again if what is known is old. A rule whose series cannot be listed makes no
        metrics until they can; a server that does not answer at all leaves everything as it was."""
        age = None if self._listed_at is None else self.clock.monotonic() - self._listed_at
        if age is not None and age < (RELIST_SECONDS if known else UNKNOWN_RELIST_SECONDS):
            return
        self._listed_at = self.clock.monotonic()
        queries = {rule.series_query for rule, _ in (*self._rules, *self._external_rules)}
        listed: dict[str, Listed] = {}
        for query in sorted(queries):
            try:
                listed[query] = await self._list(query)
            except WavetankError as error:
                self.journal.record("adapter.failed", query=query, error=str(error))
        if not listed:
            return
        self.custom = self._custom(listed)
        self.external = self._external(listed)

    async def _list(self, query: str) -> Listed:
        start = self.clock.now() - 10 * RELIST_SECONDS
        parameters = urlencode({"match[]": query, "start": f"{start:.0f}"})
        found: dict[str, dict[str, str]] = {}
        for labels in await self.prometheus.get(f"series?{parameters}"):
            if isinstance(labels, dict) and isinstance(labels.get("__name__"), str):
                found.setdefault(labels["__name__"], {}).update(labels)
        return found

    def _custom(self, listed: Mapping[str, Listed]) -> dict[CustomKey, CustomMetric]:
        """Where several rules make one metric, the last has it, as upstream."""
        found: dict[CustomKey, CustomMetric] = {}
        for rule, labels in self._rules:
            for series, names in listed.get(rule.series_query, {}).items():
                name = rule.metric_name(series) if rule.takes(series) else None
                if not name:
                    continue
                resources = labels.of_series(names)
                namespace_label = next((label for label, r in resources if _is_namespace(r)), None)
                for label, resource in resources:
                    inside = namespace_label is not None and not _is_namespace(resource)
                    key = (resource.group, resource.plural, inside, name)
                    found[key] = CustomMetric(rule, series, label, namespace_label if inside else None)
        return found

    def _external(self, listed: Mapping[str, Listed]) -> dict[str, ExternalMetric]:
        found: dict[str, ExternalMetric] = {}
        namespaces = self.mapper.find(*NAMESPACE)
        for rule, labels in self._external_rules:
            inside = rule.mapping.namespaced and namespaces is not None
            label = labels.label_for(namespaces) if inside and namespaces is not None else None
            for series in listed.get(rule.series_query, {}):
                name = rule.metric_name(series) if rule.takes(series) else None
                if name:
                    found[name] = ExternalMetric(rule, series, label)
        return found


def _is_namespace(resource: Resource) -> bool:
    return (resource.group, resource.plural) == NAMESPACE
