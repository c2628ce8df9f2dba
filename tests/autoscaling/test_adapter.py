"""The metrics adapter: its configuration file, the queries it makes, and the answers of the metrics APIs."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wavetank.autoscaling.adapter.custom import CustomMetricsApi, metric_value
from wavetank.autoscaling.adapter.external import ExternalMetricsApi
from wavetank.autoscaling.adapter.naming import Labels, Mapper
from wavetank.autoscaling.adapter.query import QueryTemplate, from_selector, one_of
from wavetank.autoscaling.adapter.resource import ResourceMetricsApi
from wavetank.autoscaling.adapter.rules import default_config, load_config, parse_config
from wavetank.autoscaling.adapter.series import SeriesRegistry
from wavetank.autoscaling.metrics import MetricsError
from wavetank.autoscaling.metrics_api import ApiMetricsClient
from wavetank.clock import VirtualClock
from wavetank.errors import InputError, InternalError
from wavetank.journal import MemoryJournal
from wavetank.kube.client import ApiError
from wavetank.kube.control_plane import ControlPlane
from wavetank.kube.resources import NODES, PODS, SERVICES
from wavetank.kube.selectors import parse_labels
from wavetank.yamlfile import parse_documents

RULES = """
rules:
  - seriesQuery: 'http_requests_total{kube_pod!=""}'
    resources: {template: "kube_<<.Resource>>"}
    name: {matches: "^(.*)_total$", as: "${1}_per_second"}
    metricsQuery: sum(rate(<<.Series>>{<<.LabelMatchers>>}[2m])) by (<<.GroupBy>>)
  - seriesQuery: '{__name__=~"^queue_.*"}'
    seriesFilters: [{isNot: "_bytes$"}]
    resources: {overrides: {ns: {resource: namespace}, svc: {resource: services}}}
    metricsQuery: 'max(<<.Series>>{<<.LabelMatchers>>}) by (<<.GroupBy>>)'
externalRules:
  - seriesQuery: 'backlog'
    resources: {overrides: {ns: {resource: namespace}}}
    metricsQuery: sum(<<.Series>>{<<.LabelMatchers>>})
  - seriesQuery: 'world_total'
    resources: {namespaced: false}
    name: {as: world}
    metricsQuery: sum(rate(<<.Series>>{<<.LabelMatchers>>}[5m]))
"""

SERIES: dict[str, list[dict[str, str]]] = {
    'http_requests_total{kube_pod!=""}': [
        {"__name__": "http_requests_total", "kube_namespace": "default", "kube_pod": "web-0"}
    ],
    '{__name__=~"^queue_.*"}': [
        {"__name__": "queue_depth", "ns": "default", "svc": "web"},
        {"__name__": "queue_bytes", "ns": "default", "svc": "web"},
    ],
    "backlog": [{"__name__": "backlog", "ns": "default"}],
    "world_total": [{"__name__": "world_total"}],
}


@dataclass
class Row:
    labels: Mapping[str, str]
    values: Sequence[float]
    times: Sequence[float] = (0.0,)


class Server:
    """Answers by expression, and remembers what it was asked."""

    def __init__(self) -> None:
        self.answers: dict[str, list[Row]] = {}
        self.asked: list[str] = []
        self.listed: list[str] = []
        self.broken = False

    async def instant(self, expr: str, at: float) -> list[Row]:
        self.asked.append(expr)
        if self.broken:
            raise InternalError("monitoring does not answer")
        return self.answers.get(expr, [])

    async def range(self, expr: str, start: float, end: float, step: float) -> list[Row]:
        return []

    async def get(self, path: str) -> Any:
        if self.broken:
            raise InternalError("monitoring does not answer")
        (query,) = parse_qs(path.partition("?")[2])["match[]"]
        self.listed.append(query)
        return SERIES.get(query, [])


class Cluster:
    def __init__(self, text: str = RULES) -> None:
        self.clock = VirtualClock(1_750_000_000.0)
        self.server = Server()
        self.journal = MemoryJournal(self.clock)
        self.plane = ControlPlane(self.clock, self.journal)
        self.plane.boot()
        client = self.plane.client("adapter")
        config = parse_config(parse_documents(text)[0])
        mapper = Mapper(self.plane.registry.resources)
        registry = SeriesRegistry(
            self.server, mapper, self.clock, self.journal, config.rules, config.external_rules
        )
        for version in ("v1beta2", "v1beta1"):
            self.plane.add_extension(CustomMetricsApi(registry, client, version))
        self.plane.add_extension(ExternalMetricsApi(registry))
        if config.resource_rules:
            self.plane.add_extension(ResourceMetricsApi(config, self.server, mapper, client, self.clock))
        self.metrics = ApiMetricsClient(client)
        self.client = client

    async def pod(self, name: str, app: str = "web") -> None:
        containers = [{"name": "c", "image": "i"}]
        await self.client.create(
            PODS,
            {"metadata": {"name": name, "labels": {"app": app}}, "spec": {"containers": containers}},
            "default",
        )
        await self.client.patch(PODS, name, {"status": {"phase": "Running"}}, "default", subresource="status")


async def test_a_pods_metric_is_one_query_over_the_pods_selected() -> None:
    cluster = Cluster()
    for name in ("web-0", "web-1"):
        await cluster.pod(name)
    await cluster.pod("db-0", app="db")
    expression = (
        'sum(rate(http_requests_total{kube_namespace="default",kube_pod=~"web-0|web-1"}[2m])) by (kube_pod)'
    )
    cluster.server.answers[expression] = [Row({"kube_pod": "web-0"}, [12.3456])]
    found = await cluster.metrics.pods("http_requests_per_second", "default", "app=web")
    assert cluster.server.asked == [expression]
    assert {name: sample.value for name, sample in found.items()} == {"web-0": 12_345}, "web-1 has none"


async def test_a_metric_selector_becomes_matchers() -> None:
    cluster = Cluster()
    await cluster.pod("web-0")
    await cluster.plane.server.raw(
        "/apis/custom.metrics.k8s.io/v1beta2/namespaces/default/pods/*/http_requests_per_second"
        "?metricLabelSelector=verb%20in%20(GET%2CPUT)%2Ccode!%3D500%2Chost%2C!debug"
    )
    (asked,) = cluster.server.asked
    assert asked.startswith(
        'sum(rate(http_requests_total{verb=~"GET|PUT",code!="500",host!="",debug="",kube_namespace='
    )


async def test_an_objects_metric() -> None:
    cluster = Cluster()
    await cluster.client.create(
        SERVICES, {"metadata": {"name": "web"}, "spec": {"ports": [{"port": 80}]}}, "default"
    )
    expression = 'max(queue_depth{ns="default",svc="web"}) by (svc)'
    cluster.server.answers[expression] = [Row({"svc": "web"}, [7.0])]
    described = {"apiVersion": "v1", "kind": "Service", "name": "web"}
    value, at = await cluster.metrics.object("queue_depth", "default", described)
    assert (value, at) == (7000, 1_750_000_000.0)
    described = {"apiVersion": "v1", "kind": "Service", "name": "other"}
    with pytest.raises(MetricsError, match="could not find the metric queue_depth for services other"):
        await cluster.metrics.object("queue_depth", "default", described)
    with pytest.raises(MetricsError, match="could not find the metric queue_bytes for services"):
        await cluster.metrics.object("queue_bytes", "default", described)


async def test_external_metrics_are_in_their_namespace_unless_the_rule_says_not() -> None:
    cluster = Cluster()
    cluster.server.answers['sum(backlog{topic="a",ns="default"})'] = [Row({}, [3.0])]
    cluster.server.answers["sum(rate(world_total{}[5m]))"] = [Row({}, [math.nan])]
    assert (await cluster.metrics.external("backlog", "default", "topic=a"))[0] == (3000,)
    assert (await cluster.metrics.external("world", "default"))[0] == (0,), "NaN counts as 0, as upstream"
    with pytest.raises(MetricsError, match="the server could not find the metric nothing for namespaces"):
        await cluster.metrics.external("nothing", "default")
    with pytest.raises(MetricsError, match="no metrics returned from external metrics API"):
        await cluster.metrics.external("backlog", "default", "topic=b")


async def test_the_two_versions_of_the_custom_api_differ_in_shape() -> None:
    cluster = Cluster()
    await cluster.pod("web-0")
    expression = 'sum(rate(http_requests_total{kube_namespace="default",kube_pod="web-0"}[2m])) by (kube_pod)'
    cluster.server.answers[expression] = [Row({"kube_pod": "web-0"}, [1.0])]
    import msgspec

    items = {}
    for version in ("v1beta1", "v1beta2"):
        path = f"/apis/custom.metrics.k8s.io/{version}/namespaces/default/pods/web-0/http_requests_per_second"
        answer = msgspec.json.decode(await cluster.plane.server.raw(path))
        assert answer["kind"] == "MetricValueList"
        (items[version],) = answer["items"]
    described = {"kind": "Pod", "name": "web-0", "apiVersion": "/v1", "namespace": "default"}
    assert items["v1beta1"]["describedObject"] == items["v1beta2"]["describedObject"] == described
    assert items["v1beta1"]["metricName"] == items["v1beta2"]["metric"]["name"] == "http_requests_per_second"
    assert items["v1beta2"]["value"] == "1"


async def test_what_is_known_is_not_listed_at_every_question() -> None:
    cluster = Cluster()
    await cluster.pod("web-0")
    for _ in range(5):
        with pytest.raises(MetricsError):
            await cluster.metrics.pods("http_requests_per_second", "default", "app=web")
    assert len(cluster.server.listed) == len(SERIES)
    await cluster.clock.advance(61)
    with pytest.raises(MetricsError):
        await cluster.metrics.pods("http_requests_per_second", "default", "app=web")
    assert len(cluster.server.listed) == 2 * len(SERIES)


async def test_a_server_that_does_not_answer_fails_the_metric_alone() -> None:
    cluster = Cluster()
    await cluster.pod("web-0")
    with pytest.raises(MetricsError):
        await cluster.metrics.pods("http_requests_per_second", "default", "app=web")
    cluster.server.broken = True
    await cluster.clock.advance(61)
    with pytest.raises(MetricsError, match="monitoring does not answer"):
        await cluster.metrics.pods("http_requests_per_second", "default", "app=web")
    assert [r["kind"] for r in cluster.journal.of("adapter.failed")], (
        "the listing's failure is in the journal"
    )


RESOURCE_RULES = """
resourceRules:
  cpu:
    containerQuery: sum(rate(cpu_total{<<.LabelMatchers>>}[3m])) by (<<.GroupBy>>)
    nodeQuery: sum(rate(cpu_total{<<.LabelMatchers>>, id='/'}[3m])) by (<<.GroupBy>>)
    resources: {overrides: {instance: {resource: node}, namespace: {resource: namespace}, pod: {resource: pod}}}
    containerLabel: container
  memory:
    containerQuery: sum(memory{<<.LabelMatchers>>}) by (<<.GroupBy>>)
    nodeQuery: sum(memory{<<.LabelMatchers>>,id='/'}) by (<<.GroupBy>>)
    resources: {overrides: {instance: {resource: node}, namespace: {resource: namespace}, pod: {resource: pod}}}
    containerLabel: container
  window: 3m
"""


async def test_resource_rules_stand_in_for_a_metrics_server() -> None:
    cluster = Cluster(RESOURCE_RULES)
    await cluster.pod("web-0")
    await cluster.client.create(NODES, {"metadata": {"name": "n1"}})
    where = 'namespace="default",pod="web-0"'
    labels = {"pod": "web-0", "container": "c"}
    answers = cluster.server.answers
    answers[f"sum(rate(cpu_total{{{where}}}[3m])) by (pod,container)"] = [Row(labels, [0.25])]
    answers[f"sum(memory{{{where}}}) by (pod,container)"] = [Row(labels, [2048.0])]
    found = await cluster.metrics.resource("cpu", "default", "app=web")
    assert (found["web-0"].value, found["web-0"].window) == (250, 180.0)
    assert (await cluster.metrics.resource("memory", "default", "app=web"))["web-0"].value == 2_048_000
    del answers[f"sum(memory{{{where}}}) by (pod,container)"]
    with pytest.raises(MetricsError, match="no metrics returned from resource metrics API"):
        await cluster.metrics.resource("cpu", "default", "app=web")


@pytest.mark.parametrize(
    ("pattern", "expand", "series", "name"),
    [
        ("", "", "queue_depth", "queue_depth"),
        ("^(.*)_total$", "", "x_total", "x"),
        ("^(.*)_total$", "${1}_per_second", "x_total", "x_per_second"),
        ("^(.*)_(seconds)_total$", "$1", "x_seconds_total", "x"),
        (".*", "fixed", "anything", "fixed"),
        ("^nothing$", "", "x_total", None),
    ],
)
def test_names(pattern: str, expand: str, series: str, name: str | None) -> None:
    text = f'rules: [{{seriesQuery: x, metricsQuery: x, name: {{matches: "{pattern}", as: "{expand}"}}}}]'
    (rule,) = parse_config(parse_documents(text)[0]).rules
    assert rule.metric_name(series) == name


@pytest.mark.parametrize(
    ("template", "labels", "found"),
    [
        (
            "kube_<<.Group>>_<<.Resource>>",
            {"kube_apps_deployment": "a", "kube__pod": "p"},
            ["deployments", "pods"],
        ),
        ("<<.Resource>>", {"pod": "p", "namespace": "n", "job": "j", "method": "m"}, ["namespaces", "pods"]),
        ("k_<< .Resource >>_name", {"k_service_name": "s", "service": "s"}, ["services"]),
    ],
)
def test_a_template_reads_labels_both_ways(template: str, labels: dict[str, str], found: list[str]) -> None:
    clock = VirtualClock()
    mapper = Mapper(ControlPlane(clock, MemoryJournal(clock)).registry.resources)
    text = f'rules: [{{seriesQuery: x, metricsQuery: x, resources: {{template: "{template}"}}}}]'
    mapping = Labels(parse_config(parse_documents(text)[0]).rules[0].mapping, mapper)
    resources = mapping.of_series(labels)
    assert sorted(r.plural for _, r in resources) == found
    assert all(mapping.label_for(resource) == label for label, resource in resources)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("rules: [{seriesQuery: x}]", "metricsQuery is missing"),
        ("rules: [{seriesQuery: x, metricsQuery: y, name: {matches: '('}}]", "not a regular expression"),
        ("rules: [{seriesQuery: x, metricsQuery: 'sum(<<.Series'}]", "unclosed action"),
        ("rules: [{seriesQuery: x, metricsQuery: y, name: {matches: '(a)(b)'}}]", "must specify an 'as' value"),
        ("rules: [{seriesQuery: x, metricsQuery: y, seriesFilters: [{}]}]", "either is or isNot"),
        ("rules: [{seriesQuery: x, metricsQuery: y, resources: {template: kube}}]", "does not name .Resource"),
        ("rulez: []", "did you mean 'rules'"),
    ],
)  # fmt: skip
def test_mistakes_in_the_file_are_named_with_their_place(text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "adapter.yaml"
    path.write_text(f"# a comment\n{text}\n")
    with pytest.raises(InputError) as caught:
        load_config(path)
    assert message in str(caught.value)
    assert f"{path}:2" in str(caught.value)


def test_a_config_map_is_read_through(tmp_path: Path) -> None:
    path = tmp_path / "configmap.yaml"
    indented = RULES.replace("\n", "\n    ")
    path.write_text(
        f"apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: a}}\ndata:\n  config.yaml: |{indented}\n"
    )
    assert len(load_config(path).rules) == 2
    assert len(default_config().rules) == 4


def test_templates_may_use_values_by_name() -> None:
    template = QueryTemplate(
        'up{pod=~"<<index .LabelValuesByName "pod">>.*"} > <<len .GroupBySlice>> {x="{}"}'
    )
    assert template.render("s", [one_of("pod", ["a", "b.c"])], ["g"]) == 'up{pod=~"a|b\\.c.*"} > 1 {x="{}"}'


@given(st.text(max_size=40))
@settings(max_examples=40, deadline=None)
def test_any_text_is_a_template_or_an_input_error(text: str) -> None:
    try:
        QueryTemplate(text).render("s", [one_of("pod", [text])], ["pod"])
    except ValueError:
        pass


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (1.5, "1500m"),
        (0.0, "0"),
        (-2.0, "-2"),
        (math.nan, "0"),
        (math.inf, "9223372036854775807m"),
        (0.0009, "0"),
    ],
)
def test_values_are_thousandths(value: float, shown: str) -> None:
    assert metric_value(value) == shown


def test_selectors_without_a_counterpart_are_refused() -> None:
    with pytest.raises(ValueError, match="not supported"):
        from_selector(parse_labels("a>5"))


async def test_paths_that_are_none_are_not_found() -> None:
    cluster = Cluster()
    for path in (
        "",
        "namespaces",
        "namespaces/default/pods",
        "nonsense/x/y",
        "namespaces/default/nonsense/x/y",
    ):
        with pytest.raises(ApiError) as caught:
            await cluster.plane.server.raw(f"/apis/custom.metrics.k8s.io/v1beta2/{path}")
        assert caught.value.code == 404 or path == ""
