"""The monitoring's configuration: the user's ``prometheus.yml``, and what only the tank knows how to reach.

The user's file runs unchanged in a cluster. Here three things differ: the service account's files are in the
run directory, relative paths keep pointing at the user's folder, and targets that no cluster discovery would
find (the gateway's statistics, the load generator, the control plane) are added as jobs ``wavetank/...``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import yaml

from wavetank.errors import InputError
from wavetank.monitoring.config.load import load_config
from wavetank.rehearsal.addresses import Addresses
from wavetank.rehearsal.spec import Monitoring
from wavetank.yamlfile import Document, load_documents

__all__ = ["SERVICE_ACCOUNT", "InternalTargets", "check_monitoring", "internal_targets", "monitoring_config"]

SERVICE_ACCOUNT: Final = "/var/run/secrets/kubernetes.io/serviceaccount"

#: Job name -> (scheme, metrics path, addresses) of the parts of a tank.
InternalTargets = dict[str, tuple[str, str, list[str]]]

#: Job name -> the labels that the field's dashboards and rules go by: those of kube-prometheus.
_USUAL: Final = {
    "wavetank/kube-state": {"job": "kube-state-metrics"},
    "wavetank/cadvisor": {"job": "kubelet", "metrics_path": "/metrics/cadvisor"},
}

MONITORING_PORT: Final = 9090
KUBELET_PORT: Final = 10250
LOAD_EXPORTER_PORT: Final = 9646


def internal_targets(addresses: Addresses, control_plane: str, nodes: int) -> InternalTargets:
    """The parts of a tank to scrape; ``control_plane`` is the address of its metrics. With 0 ``nodes`` the
    kubelets are discovered, since they come and go."""
    kubelets = [f"{addresses.node(i)}:{KUBELET_PORT}" for i in range(nodes)]
    return {
        "wavetank/gateway": ("http", "/gateway/metrics", [control_plane]),
        "wavetank/kube-state": ("http", "/kube-state/metrics", [control_plane]),
        "wavetank/control-plane": ("http", "/metrics", [control_plane]),
        "wavetank/monitoring": ("http", "/metrics", [f"{addresses.monitoring}:{MONITORING_PORT}"]),
        "wavetank/cadvisor": ("https", "/metrics/cadvisor", kubelets),
    }


def check_monitoring(directory: Path, monitoring: Monitoring, spec: Document) -> None:
    """Raises InputError if the user's configuration would not load."""
    assert monitoring.prometheus is not None
    path = directory / monitoring.prometheus
    if not path.is_file():
        raise spec.error(f"monitoring: no such file: {path}", "spec", "monitoring", "prometheus")
    load_config(path)
    for index, rules in enumerate(monitoring.rules):
        if not list(_rule_files(directory, rules)):
            raise spec.error(f"monitoring: no rule files in {rules}", "spec", "monitoring", "rules", index)


def _rule_files(directory: Path, text: str) -> list[Path]:
    path = directory / text
    if path.is_dir():
        return sorted(p for p in path.iterdir() if p.suffix in (".yml", ".yaml"))
    return [path] if path.is_file() else sorted(path.parent.glob(path.name))


def monitoring_config(
    directory: Path, monitoring: Monitoring, targets: InternalTargets, account: Path, interval: str
) -> str:
    """The text of the configuration file to run with."""
    config = _user_config(directory, monitoring)
    base = (directory / monitoring.prometheus).parent if monitoring.prometheus else directory
    _rewrite(config, base.resolve(), account)
    config.setdefault("global", {}).setdefault("scrape_interval", "5s")
    rules = [str(f.resolve()) for text in monitoring.rules for f in _rule_files(directory, text)]
    if rules:
        config["rule_files"] = [*config.get("rule_files", []), *rules]
    jobs = config.setdefault("scrape_configs", [])
    if monitoring.prometheus is None:
        jobs.append(_annotated_pods())
    scrapes_nodes = any(
        sd.get("role") == "node" for job in jobs for sd in job.get("kubernetes_sd_configs") or []
    )
    for name, (scheme, path, addresses) in targets.items():
        if name == "wavetank/cadvisor" and scrapes_nodes:
            continue  # the user's own job collects these series; twice would double every sum
        jobs.append(_job(name, scheme, path, addresses, account, interval))
    return yaml.safe_dump(config, sort_keys=False)


def _annotated_pods() -> dict[str, Any]:
    """Without a configuration of the user's: pods that ask to be scraped by the usual annotations, with the
    labels ``namespace`` and ``pod`` that the metrics adapter's default rules go by."""
    meta = "__meta_kubernetes_pod"
    annotation = f"{meta}_annotation_prometheus_io"
    return {
        "job_name": "wavetank/pods",
        "kubernetes_sd_configs": [{"role": "pod"}],
        "relabel_configs": [
            {"source_labels": [f"{annotation}_scrape"], "regex": "true", "action": "keep"},
            {"source_labels": [f"{annotation}_scheme"], "regex": "(https?)", "target_label": "__scheme__"},
            {
                "source_labels": [f"{annotation}_path"],
                "regex": "(.+)",
                "target_label": "__metrics_path__",
            },
            {
                "source_labels": ["__address__", f"{annotation}_port"],
                "regex": r"([^:]+)(?::\d+)?;(\d+)",
                "replacement": "$1:$2",
                "target_label": "__address__",
            },
            {"source_labels": ["__meta_kubernetes_namespace"], "target_label": "namespace"},
            {"source_labels": [f"{meta}_name"], "target_label": "pod"},
            {"source_labels": [f"{meta}_node_name"], "target_label": "node"},
        ],
    }


def _user_config(directory: Path, monitoring: Monitoring) -> dict[str, Any]:
    if monitoring.prometheus is None:
        return {}
    path = directory / monitoring.prometheus
    documents = load_documents(path)
    if not documents:
        return {}
    if not isinstance(documents[0].value, dict):
        raise InputError("not a Prometheus configuration", at=path)
    return dict(documents[0].value)


def _job(
    name: str, scheme: str, path: str, addresses: list[str], account: Path, interval: str
) -> dict[str, Any]:
    job: dict[str, Any] = {
        "job_name": name,
        "scheme": scheme,
        "metrics_path": path,
        "scrape_interval": interval,
        "scrape_timeout": interval,
    }
    job["relabel_configs"] = [
        {"target_label": label, "replacement": value} for label, value in _USUAL.get(name, {}).items()
    ]
    if addresses:
        job["static_configs"] = [{"targets": addresses}]
    else:
        job["kubernetes_sd_configs"] = [{"role": "node"}]
    if scheme == "https":
        job["authorization"] = {"credentials_file": str(account / "token")}
        job["tls_config"] = {"ca_file": str(account / "ca.crt")}
    return job


def _rewrite(value: Any, base: Path, account: Path, key: str = "") -> Any:
    """Point the service account's files at the tank's, and relative files at the user's folder."""
    if isinstance(value, dict):
        for name, inner in value.items():
            value[name] = _rewrite(inner, base, account, str(name))
        return value
    if isinstance(value, list):
        return [_rewrite(inner, base, account, key) for inner in value]
    if not isinstance(value, str):
        return value
    if value.startswith(SERVICE_ACCOUNT):
        return str(account) + value[len(SERVICE_ACCOUNT) :]
    is_file = key.endswith("_file") or key in ("rule_files", "scrape_config_files", "files")
    return str(base / value) if is_file and not Path(value).is_absolute() else value
