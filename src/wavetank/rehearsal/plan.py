"""Everything a rehearsal will do, decided and checked before anything is started.

``make_plan`` reads the directory and raises InputError for the first thing that could not work; it starts
nothing and asks nothing of the network.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from wavetank.analysis.query import expand
from wavetank.autoscaling.adapter.rules import load_config
from wavetank.autoscaling.lint import lint
from wavetank.errors import InputError, did_you_mean
from wavetank.kube.quantity import milli, whole
from wavetank.load.stages import Stage, total_seconds
from wavetank.mesh.validation import check_documents
from wavetank.rehearsal.image_model import image_model
from wavetank.rehearsal.manifests import Manifest, apply_order, check_manifests, load_manifests
from wavetank.rehearsal.outcome.dashboards import check_dashboards
from wavetank.rehearsal.outcome.record import SloFacts, WorkloadFacts
from wavetank.rehearsal.patches import patched
from wavetank.rehearsal.scrape import check_monitoring
from wavetank.rehearsal.spec import SLO, Rehearsal, Spec, load_spec, parse_bound, stages_of
from wavetank.yamlfile import Document

__all__ = ["Plan", "TargetPlan", "make_plan"]

_SCALED = ("Deployment", "ReplicaSet", "StatefulSet")


@dataclass(frozen=True, slots=True)
class TargetPlan:
    """Where the load goes: a Gateway's server port and the host the requests carry, or a URL."""

    url: str | None = None
    host: str | None = None
    gateway: str | None = None
    port: int | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """A checked rehearsal. ``manifests`` stand in the order in which they are applied."""

    directory: Path
    rehearsal: Rehearsal
    document: Document
    manifests: tuple[Manifest, ...]
    stages: tuple[Stage, ...]
    target: TargetPlan
    locustfile: Path
    slos: tuple[SloFacts, ...]
    workloads: tuple[WorkloadFacts, ...]
    warnings: tuple[str, ...] = ()
    findings: tuple[str, ...] = ()
    """What the autoscalers' settings will lead to (``wavetank autoscale lint``)."""

    @property
    def spec(self) -> Spec:
        return self.rehearsal.spec

    @property
    def name(self) -> str:
        return self.rehearsal.metadata.name

    @property
    def adapter(self) -> Path | None:
        """The file with the metrics adapter's rules."""
        name = self.spec.monitoring.adapter
        return None if name is None else self.directory / name

    @property
    def load_seconds(self) -> float:
        return total_seconds(self.stages)


def make_plan(directory: Path, *, simulated: bool = False, patches: Sequence[Path] = ()) -> Plan:
    """Read and check the rehearsal of a directory. Raises InputError with place and fix.

    ``simulated``: nothing will be started, so neither programs nor the locustfile need to be here.
    ``patches``: files with patches of the manifests."""
    rehearsal, document = load_spec(directory)
    spec = rehearsal.spec
    stages = stages_of(spec.load, document, directory)
    image_model(spec.cluster.image_pull, document)
    manifests = patched(load_manifests(directory, spec.manifests, document), patches)
    check_manifests(manifests, programs=not simulated)
    warnings = check_documents({id(m.document): m.document for m in manifests}.values())
    slos = tuple(_slo(slo, document, i) for i, slo in enumerate(spec.slos))
    locustfile = directory / spec.load.locustfile
    if not simulated and not locustfile.is_file():
        message = f"locustfile: no such file: {locustfile}"
        raise document.error(message, "spec", "load", "locustfile")
    if spec.monitoring.prometheus is not None:
        check_monitoring(directory, spec.monitoring, document)
    check_dashboards(directory, spec.monitoring.dashboards, document)
    url = spec.monitoring.adapter_url
    if url is not None and urlsplit(url).scheme not in ("http", "https"):
        fix = "write it as http://127.0.0.1:9090"
        raise document.error(f"{url!r} is not a URL", "spec", "monitoring", "adapterUrl", fix=fix)
    if spec.monitoring.adapter is not None:
        if not (directory / spec.monitoring.adapter).is_file():
            message = f"monitoring: no such file: {directory / spec.monitoring.adapter}"
            raise document.error(message, "spec", "monitoring", "adapter")
        load_config(directory / spec.monitoring.adapter)
    return Plan(
        directory=directory,
        rehearsal=rehearsal,
        document=document,
        manifests=tuple(apply_order(manifests)),
        stages=tuple(stages),
        target=_target(spec, document, manifests),
        locustfile=locustfile,
        slos=slos,
        workloads=tuple(_workload(m, manifests) for m in manifests if m.kind in _SCALED),
        warnings=tuple(str(w) for w in warnings),
        findings=tuple(f"{f.level}: {f}" for f in lint(m.object for m in manifests) if f.level != "info"),
    )


def _slo(slo: SLO, document: Document, index: int) -> SloFacts:
    here = ("spec", "slos", index)
    if slo.ratio is not None:
        for key in ("errors", "total"):
            _check_expr(getattr(slo.ratio, key), document, (*here, "ratio", key), slo.name)
        errors, total = slo.ratio.errors, slo.ratio.total
        return SloFacts(name=slo.name, kind="ratio", objective=slo.objective, errors=errors, total=total)
    assert slo.expr is not None
    _check_expr(slo.expr, document, (*here, "expr"), slo.name)
    bounds = [b for b in (slo.max, slo.min) if b is not None]
    return SloFacts(
        name=slo.name,
        kind="threshold",
        objective=slo.objective,
        expr=slo.expr,
        max=None if slo.max is None else parse_bound(slo.max),
        min=None if slo.min is None else parse_bound(slo.min),
        unit=_unit(bounds[0]),
    )


def _unit(bound: str | int | float) -> str:
    if not isinstance(bound, str):
        return ""
    if bound.endswith("%"):
        return "ratio"
    return "seconds" if bound[-1:].isalpha() else ""


def _check_expr(expr: str, document: Document, path: tuple[str | int, ...], name: str) -> None:
    from wavetank.promql.parser import parse_expr

    try:
        parse_expr(expand(expr, range_seconds=60.0, interval_seconds=5.0))
    except InputError as error:
        text = " ".join(expr.split())
        raise document.error(f"SLO {name!r} does not parse: {error.message} (in {text})", *path) from None


def _target(spec: Spec, document: Document, manifests: Sequence[Manifest]) -> TargetPlan:
    target, here = spec.load.target, ("spec", "load", "target")
    if target.url is not None:
        if urlsplit(target.url).scheme not in ("http", "https"):
            fix = "write it as http://127.0.0.1:8080"
            raise document.error(f"target url {target.url!r} is not a URL to load", *here, "url", fix=fix)
        return TargetPlan(url=target.url, host=target.host)
    gateways = [m for m in manifests if m.kind == "Gateway"]
    found = next((m for m in gateways if m.name == target.gateway), None)
    if found is None:
        names = {m.name for m in gateways}
        fix = did_you_mean(str(target.gateway), names) or "no Gateway is among the manifests"
        raise document.error(f"target gateway {target.gateway!r} does not exist", *here, "gateway", fix=fix)
    servers = _servers(found.object)
    host = target.host or next((h for _, hosts in servers for h in hosts if "*" not in h), None)
    if host is None:
        fix = "name the host that the requests should carry"
        raise document.error("target has no host, and the gateway only wildcards", *here, fix=fix)
    for port, hosts in servers:
        if any(_covers(pattern, host) for pattern in hosts):
            return TargetPlan(host=host, gateway=found.name, port=port)
    hosts_shown = sorted({h for _, hosts in servers for h in hosts})
    message = f"target host {host!r} is not served by gateway {found.name!r}"
    raise document.error(message, *here, "host", fix=did_you_mean(host, hosts_shown))


def _servers(gateway: dict[str, Any]) -> list[tuple[int, list[str]]]:
    """(port, hosts) of the HTTP servers of an Istio Gateway, or listeners of a Kubernetes one."""
    spec = gateway.get("spec") or {}
    if str(gateway["apiVersion"]).startswith("gateway.networking.k8s.io"):
        listeners = spec.get("listeners") or []
        return [
            (int(e["port"]), [str(e.get("hostname") or "*")])
            for e in listeners
            if e.get("protocol") == "HTTP"
        ]
    return [
        (int(server["port"]["number"]), [str(h).rpartition("/")[2] for h in server.get("hosts") or []])
        for server in spec.get("servers") or []
        if str((server.get("port") or {}).get("protocol", "")).upper() in ("HTTP", "HTTP2", "GRPC")
    ]


def _covers(pattern: str, host: str) -> bool:
    if pattern == "*" or pattern.lower() == host.lower():
        return True
    return pattern.startswith("*.") and host.lower().endswith(pattern[1:].lower())


def _workload(manifest: Manifest, manifests: Sequence[Manifest]) -> WorkloadFacts:
    spec = manifest.object.get("spec") or {}
    containers = (((spec.get("template") or {}).get("spec")) or {}).get("containers") or []
    hpa = _hpa_of(manifest, manifests)
    hpa_spec = (hpa.object.get("spec") or {}) if hpa is not None else {}
    target = _cpu_target(hpa_spec) if hpa is not None else None
    replicas = spec.get("replicas")
    return WorkloadFacts(
        namespace=manifest.namespace,
        name=manifest.name,
        kind=manifest.kind,
        replicas=1 if replicas is None else int(replicas),
        hpa=hpa.name if hpa is not None else None,
        min_replicas=(hpa_spec.get("minReplicas") or 1) if hpa is not None else None,
        max_replicas=hpa_spec.get("maxReplicas"),
        cpu_target_ratio=target,
        cpu_request_cores=_total(containers, "requests", "cpu"),
        cpu_limit_cores=_total(containers, "limits", "cpu"),
        memory_limit_bytes=_memory_limit(containers),
    )


def _hpa_of(manifest: Manifest, manifests: Sequence[Manifest]) -> Manifest | None:
    for other in manifests:
        if other.kind != "HorizontalPodAutoscaler" or other.namespace != manifest.namespace:
            continue
        reference = (other.object.get("spec") or {}).get("scaleTargetRef") or {}
        if (reference.get("kind"), reference.get("name")) == (manifest.kind, manifest.name):
            return other
    return None


def _cpu_target(spec: dict[str, Any]) -> float | None:
    """The utilisation the HPA aims at, as a fraction of the request; 80 % where no metric is given."""
    if "targetCPUUtilizationPercentage" in spec:
        return float(spec["targetCPUUtilizationPercentage"]) / 100
    if not spec.get("metrics"):
        return 0.8
    for metric in spec["metrics"]:
        source = metric.get("resource") or metric.get("containerResource") or {}
        utilization = (source.get("target") or {}).get("averageUtilization")
        if source.get("name") == "cpu" and utilization is not None:
            return float(utilization) / 100
    return None


def _total(containers: Sequence[dict[str, Any]], section: str, resource: str) -> float | None:
    values = [((c.get("resources") or {}).get(section) or {}).get(resource) for c in containers]
    known = [milli(v) for v in values if v is not None]
    return sum(known) / 1000 if known and len(known) == len(values) else None


def _memory_limit(containers: Sequence[dict[str, Any]]) -> int | None:
    values = [((c.get("resources") or {}).get("limits") or {}).get("memory") for c in containers]
    known = [whole(v) for v in values if v is not None]
    return sum(known) if known and len(known) == len(values) else None
