"""The autoscalers' part of rehearsal.yaml: what is accepted, and mistakes with their place."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from wavetank.errors import InputError
from wavetank.monitoring.config.load import load_config
from wavetank.rehearsal.addresses import Addresses
from wavetank.rehearsal.elastic_nodes import nodes_options
from wavetank.rehearsal.scrape import internal_targets, monitoring_config
from wavetank.rehearsal.spec import Monitoring, load_spec

TEXT = """
apiVersion: wavetank.dev/v1
kind: Rehearsal
metadata: {name: r}
spec:
  manifests: [k8s]
  load: {target: {url: "http://127.0.0.1:1"}, stages: [{duration: 1s, rps: 1}]}
  cluster:
    CLUSTER
"""


def load(directory: Path, cluster: str):  # type: ignore[no-untyped-def]
    (directory / "rehearsal.yaml").write_text(TEXT.replace("CLUSTER", cluster))
    return load_spec(directory)[0].spec.cluster


def test_all_of_it(tmp_path: Path) -> None:
    cluster = load(
        tmp_path,
        "{emulateKubernetes: '1.36', featureGates: {HPAScaleToZero: true}, vpa: {interval: 15s, historyLength: 2d},"
        " autoscaler: {min: 1, max: 2, bootDelay: 30s, template: {cpu: 2, memory: 1Gi, labels: {a: b}}}}",
    )
    options = nodes_options(cluster.autoscaler)
    assert (options.minimum, options.maximum, options.boot_delay) == (1, 2, 30.0)
    assert options.template["status"]["allocatable"] == {"cpu": "2", "memory": "1Gi", "pods": "110"}
    assert cluster.fixed_nodes == 0
    assert load(tmp_path, "{}").fixed_nodes == 1


@pytest.mark.parametrize(
    ("cluster", "message"),
    [
        ("{emulateKubernetes: '1.99'}", "Kubernetes '1.99' is not emulated; give one from"),
        ("{featureGates: {HPAScaleToZeros: true}}", "did you mean 'HPAScaleToZero'?"),
        ("{vpa: {historyLength: long}}", "historyLength"),
        ("{vpa: {prometheus: 'localhost:9090'}}", "is not a URL"),
        ("{vpa: {intervall: 1s}}", "did you mean 'interval'?"),
        ("{autoscaler: {min: 3, max: 2}}", "min 3 is above max 2"),
        ("{autoscaler: {max: 16}}", "are over the 16 of a tank"),
        ("{autoscaler: {bootDelay: soon}}", "'soon' is not a duration"),
        ("{autoscaler: {template: {gpu: 1}}}", "unknown field 'gpu'"),
    ],
)
def test_mistakes_are_named_with_their_line(cluster: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        load(tmp_path, cluster)
    assert message in str(caught.value)
    assert "rehearsal.yaml:9" in str(caught.value)


def jobs(directory: Path, monitoring: Monitoring, nodes: int) -> dict[str, dict[str, object]]:
    """The scrape jobs of a tank, by name; the configuration is read by the server's own loader."""
    targets = internal_targets(Addresses(20), "127.20.0.1:8080", nodes)
    text = monitoring_config(directory, monitoring, targets, directory, "5s")
    path = directory / "made.yml"
    path.write_text(text)
    load_config(path)
    return {job["job_name"]: job for job in yaml.safe_load(text)["scrape_configs"]}


def test_annotated_pods_are_scraped_where_the_user_configured_nothing(tmp_path: Path) -> None:
    assert jobs(tmp_path, Monitoring(), 1)["wavetank/pods"]["kubernetes_sd_configs"] == [{"role": "pod"}]
    (tmp_path / "prometheus.yml").write_text("scrape_configs: []\n")
    assert "wavetank/pods" not in jobs(tmp_path, Monitoring(prometheus="prometheus.yml"), 1)


def test_nodes_that_come_and_go_are_discovered(tmp_path: Path) -> None:
    assert "static_configs" in jobs(tmp_path, Monitoring(), 2)["wavetank/cadvisor"]
    assert jobs(tmp_path, Monitoring(), 0)["wavetank/cadvisor"]["kubernetes_sd_configs"] == [{"role": "node"}]
