"""The user's own scrape jobs: targets are discovered and relabelled by the code of ``monitoring``.

Scraped are modelled pods. ``up`` is 1 while the pod is ready. Of a pod's own metrics there are those that
client libraries export of every process, and those that ``metrics`` in ``model.yaml`` maps to what a model
knows. Discovery sees the objects of the simulated API in the roles pod, service, endpoints and endpointslice,
and static addresses of pods and Services. Other targets are not simulated, and have no series.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

from wavetank.exposition.render import MetricFamily, Sample
from wavetank.kube.api import Api
from wavetank.kube.client import Object, Resource
from wavetank.kube.resources import ENDPOINTS, ENDPOINTSLICES, PODS, SERVICES
from wavetank.monitoring.config.model import ScrapeConfig
from wavetank.monitoring.discovery.group import TargetGroup
from wavetank.monitoring.discovery.kubernetes import meta
from wavetank.monitoring.relabel import Relabeling
from wavetank.monitoring.scrape.target import Target, make_targets
from wavetank.simulation.flows import PodTraffic
from wavetank.simulation.model import PodModel

__all__ = ["Scraped", "UserJobs"]

#: The model and the traffic of a pod ("namespace/name").
Find = Callable[[str], tuple[PodModel, PodTraffic | None]]

_ROLES: Mapping[str, Resource] = {
    "pod": PODS, "service": SERVICES, "endpoints": ENDPOINTS, "endpointslice": ENDPOINTSLICES,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Scraped:
    """One target's scrape. ``labels`` are the target's; ``families`` are empty where it is down."""

    labels: Mapping[str, str]
    up: bool
    families: Sequence[MetricFamily]
    relabeling: Relabeling


class UserJobs:
    """``scrape`` yields every target of the jobs. ``find`` gives a pod's model and traffic by its name."""

    def __init__(
        self,
        configs: Sequence[ScrapeConfig],
        api: Api,
        find: Find,
    ) -> None:
        self._configs = configs
        self._api = api
        self._find = find
        self._relabelings = [Relabeling(c.metric_relabel_configs) for c in configs]
        self._targets: list[tuple[Target, Relabeling]] = []
        self._counts: dict[int, dict[str, tuple[int, int]]] = {}
        self._seen: tuple[object, ...] = ()

    def scrape(self) -> Iterator[Scraped]:
        if not self._configs:
            return
        self._discover()
        self._counts.clear()
        pods = {(p.get("status") or {}).get("podIP"): p for p in self._objects(PODS)}
        services = self._addresses_of_services()
        for target, relabeling in self._targets:
            host = urlsplit(target.url).hostname or ""
            pod = pods.get(services.get(host, host))
            if pod is None and host not in services:
                continue  # nothing simulated is at this address
            labels = dict(target.labels)
            up = pod is not None and _ready(pod)
            yield Scraped(labels, up, self._families(pod) if up and pod is not None else (), relabeling)

    def _objects(self, resource: Resource) -> list[Object]:
        return list(self._api.bucket(resource).objects())

    def _discover(self) -> None:
        """Again only where an object that targets come of has changed."""
        seen = tuple(
            (o["metadata"]["uid"], o["metadata"].get("resourceVersion"))
            for resource in (PODS, SERVICES, ENDPOINTS, ENDPOINTSLICES)
            for o in self._objects(resource)
        )
        if seen == self._seen:
            return
        self._seen = seen
        self._targets = [
            (target, relabeling)
            for config, relabeling in zip(self._configs, self._relabelings, strict=True)
            for target in make_targets(config, self._groups(config)).active
        ]

    def _groups(self, config: ScrapeConfig) -> Iterable[TargetGroup]:
        around = meta.Surroundings(
            pods={_key(o): o for o in self._objects(PODS)},
            services={_key(o): o for o in self._objects(SERVICES)},
        )
        for number, static in enumerate(config.static_configs):
            addresses = [{"__address__": address} for address in static.targets]
            yield TargetGroup(f"static/{number}", addresses, static.labels)
        for sd in config.kubernetes_sd_configs:
            names = sd.namespaces.names
            for obj in self._objects(_ROLES[sd.role]) if sd.role in _ROLES else ():
                if names and obj["metadata"].get("namespace") not in names:
                    continue
                yield _group(sd.role, obj, around)

    def _addresses_of_services(self) -> dict[str, str]:
        """A Service's names -> the address of its first ready pod, which answers for it."""
        found: dict[str, str] = {}
        for piece in self._objects(ENDPOINTSLICES):
            name = (piece["metadata"].get("labels") or {}).get("kubernetes.io/service-name")
            namespace = piece["metadata"].get("namespace") or "default"
            ready = [e for e in piece.get("endpoints") or () if (e.get("conditions") or {}).get("ready")]
            address = ready[0]["addresses"][0] if ready else ""
            for host in (
                f"{name}.{namespace}.svc",
                f"{name}.{namespace}.svc.cluster.local",
                f"{name}.{namespace}",
            ):
                found.setdefault(host, address)
        return found

    # --- what a pod exports

    def _families(self, pod: Object) -> list[MetricFamily]:
        uid = pod["metadata"]["uid"]
        model, traffic = self._find(f"{pod['metadata'].get('namespace')}/{pod['metadata']['name']}")
        values = self._known(uid, model, traffic)
        started = _started(pod)
        families = [
            _family("process_cpu_seconds_total", "counter", {}, values["cpuSeconds"]),
            _family("process_resident_memory_bytes", "gauge", {}, values["memoryBytes"]),
        ]
        if started is not None:
            families.append(_family("process_start_time_seconds", "gauge", {}, started))
        for metric in model.metrics:
            kind = "gauge" if metric.of in ("inFlight", "memoryBytes") else "counter"
            families.append(_family(metric.name, kind, metric.labels, values[metric.of]))
        return families

    def _known(self, uid: str, model: PodModel, traffic: PodTraffic | None) -> dict[str, float]:
        """What a model knows of a pod, by the names that ``metrics`` uses."""
        known = dict.fromkeys(("cpuSeconds", "inFlight", "requests", "failures"), 0.0)
        known["memoryBytes"] = float(model.memory.base)
        if traffic is None:
            return known
        known["cpuSeconds"] = traffic.usage(uid).cpu_ns / 1e9
        known["inFlight"] = float(traffic.in_flight(uid))
        known["memoryBytes"] += model.memory.per_request * known["inFlight"]
        known["requests"], known["failures"] = self._answered(traffic).get(uid, (0, 0))
        return known

    def _answered(self, traffic: PodTraffic) -> dict[str, tuple[int, int]]:
        """(requests, failures) by pod; counted once a scrape."""
        found = self._counts.get(id(traffic))
        if found is None:
            found = self._counts[id(traffic)] = {}
            for code, _, pod, count in traffic.answers():
                whole, failed = found.get(pod, (0, 0))
                found[pod] = whole + count, failed + (0 if code == "200" else count)
        return found


def _family(name: str, kind: str, labels: Mapping[str, str], value: float) -> MetricFamily:
    base = name.removesuffix("_total") if kind == "counter" else name
    return MetricFamily(base, kind, samples=[Sample(name, dict(labels), value)])


def _group(role: str, obj: Object, around: meta.Surroundings) -> TargetGroup:
    match role:
        case "pod":
            return meta.pod_group(obj, around)
        case "service":
            return meta.service_group(obj)
        case "endpoints":
            return meta.endpoints_group(obj, around)
    return meta.endpointslice_group(obj, around)


def _key(obj: Object) -> tuple[str, str]:
    return obj["metadata"].get("namespace") or "default", obj["metadata"]["name"]


def _ready(pod: Object) -> bool:
    conditions = (pod.get("status") or {}).get("conditions") or ()
    return any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)


def _started(pod: Object) -> float | None:
    from datetime import datetime

    for status in (pod.get("status") or {}).get("containerStatuses") or ():
        text = ((status.get("state") or {}).get("running") or {}).get("startedAt")
        if text:
            return datetime.fromisoformat(text).timestamp()
    return None
