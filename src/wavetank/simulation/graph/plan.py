"""From manifests, host and models to the graph of services that a request runs through. Pure values.

``plan_graph`` takes the gateway's route of the load's host, from there every Service that is called, and so
on; each is looked up in the Envoy configuration that ``wavetank.mesh`` makes of the same manifests.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from wavetank.errors import InputError, Location, did_you_mean
from wavetank.kube.client import Object
from wavetank.mesh import hosts
from wavetank.mesh.matching import Request, choose_host, mismatch
from wavetank.mesh.model import Service, World
from wavetank.mesh.translate import Placement, translate
from wavetank.mesh.translate.matches import is_catch_all
from wavetank.mesh.translate.names import http_route_name, parse_cluster_name, vhost_name
from wavetank.mesh.translate.routes import service_route_config
from wavetank.mesh.translate.traffic_policy import rules_for, subsets
from wavetank.mesh.world import build_world
from wavetank.simulation.graph.calls import Call
from wavetank.simulation.graph.policies import ClusterPolicy, RoutePolicy, cluster_policy, route_policy
from wavetank.simulation.model import Models, PodModel

__all__ = ["Cluster", "Edge", "Graph", "Workload", "plan_graph"]

#: Whose rules an Envoy follows that stands in for gateway and sidecars alike, as a rehearsal's does.
_NAMESPACE = Placement().namespace


@dataclass(frozen=True, slots=True)
class Workload:
    """A Deployment (or the like) that requests reach. ``steps`` are its calls: per step, (edge, probability,
    optional) of those that are under way together."""

    namespace: str
    name: str
    labels: Mapping[str, str]
    model: PodModel
    limit_cores: float
    steps: tuple[tuple[tuple[int, float, bool], ...], ...] = ()


@dataclass(frozen=True, slots=True)
class Cluster:
    """An Envoy cluster: a Service's port, or a subset of it. ``workloads`` are those whose pods it has, by
    number, the first standing for it where no pod was reached."""

    name: str
    service: str
    namespace: str
    workloads: tuple[int, ...]
    policy: ClusterPolicy

    @property
    def key(self) -> str:
        return f"{self.namespace}/{self.service}"


@dataclass(frozen=True, slots=True)
class Edge:
    """A way for requests: which clusters, by number and weight, under which policy."""

    clusters: tuple[tuple[int, float], ...]
    policy: RoutePolicy


@dataclass(frozen=True, slots=True)
class Graph:
    """``edges[0]`` is the load's own way in. There are no cycles."""

    workloads: tuple[Workload, ...]
    clusters: tuple[Cluster, ...]
    edges: tuple[Edge, ...]

    @property
    def needed(self) -> bool:
        """Whether it says more than requests that reach one row of pods: calls, retries, bounds, errors."""
        return (
            len(self.workloads) > 1
            or any(w.steps or w.model.failure_ratio > 0 for w in self.workloads)
            or any(edge.policy.asks_for_retries for edge in self.edges)
            or any(cluster.policy.breaks for cluster in self.clusters)
        )


def plan_graph(objects: Sequence[Object], host: str | None, port: int | None, models: Models) -> Graph:
    """Everything that requests for ``host`` can reach. ``objects`` are the manifests, complete with
    namespaces. Raises InputError for calls that lead nowhere, or in a circle."""
    return _Plan(objects, models).build(host, port)


_WORKLOADS = ("Deployment", "ReplicaSet", "StatefulSet")


class _Plan:
    def __init__(self, objects: Sequence[Object], models: Models) -> None:
        self._models = models
        self._world: World = build_world(objects)
        self._envoy = translate(self._world, Placement())
        self._owners = [o for o in objects if o.get("kind") in _WORKLOADS]
        self._selectors = {
            (o["metadata"].get("namespace") or "default", o["metadata"]["name"]): (o.get("spec") or {}).get(
                "selector"
            )
            for o in objects
            if o.get("kind") == "Service"
        }
        self._workloads: dict[tuple[str, str], int] = {}
        self._made: list[Workload | None] = []
        self._clusters: dict[str, int] = {}
        self._cluster_list: list[Cluster] = []
        self._edges: list[Edge] = []
        self._known_edges: dict[tuple[str, int, str, str | None], int] = {}
        self._path: list[str] = []

    def build(self, host: str | None, port: int | None) -> Graph:
        action = self._entry(host, port)
        if action is None:
            service = next((s for s in self._world.services.values() if not s.external), None)
            if service is None:
                raise InputError(f"no Service is reached by the load for host {host!r}", fix="add a Service")
            action = self._service_action(service, service.ports[0].number, Call(service.name))
        self._edges.append(Edge((), route_policy(action)))
        self._edges[0] = self._edge(action)
        assert all(w is not None for w in self._made)
        return Graph(
            tuple(w for w in self._made if w is not None), tuple(self._cluster_list), tuple(self._edges)
        )

    def _entry(self, host: str | None, port: int | None) -> Mapping[str, Any] | None:
        """The gateway's action for the load. The paths that it asks for are not known: of the routes that
        lead to pods the one that takes everything, else the last."""
        names = [http_route_name(port)] if port is not None else sorted(self._envoy.routes)
        for name in names:
            config = self._envoy.routes.get(name)
            vhost = choose_host(config["virtual_hosts"], host) if config and host else None
            routes = [route for route in (vhost or {}).get("routes") or () if "route" in route]
            if routes:
                found = next((r for r in routes if is_catch_all(r["match"])), routes[-1])
                return _action(found, f"requests for {host}", None)
        return None

    def _edge(self, action: Mapping[str, Any]) -> Edge:
        policy = route_policy(action)
        clusters = tuple((self._cluster(name), weight) for name, weight in policy.clusters)
        return Edge(clusters, policy)

    def _cluster(self, name: str) -> int:
        if name in self._clusters:
            return self._clusters[name]
        config = self._envoy.clusters.get(name)
        parsed = parse_cluster_name(name)
        service = self._world.services.get(parsed[2]) if parsed else None
        if config is None or parsed is None or service is None:
            shown = name if parsed is None else f"{parsed[2]}, port {parsed[0]}, subset {parsed[1] or 'none'}"
            fix = "see: wavetank mesh validate"
            raise InputError(f"requests are routed to {shown}, which does not exist", fix=fix)
        workloads = self._behind(service, parsed[1])
        index = self._clusters[name] = len(self._cluster_list)
        self._cluster_list.append(
            Cluster(name, service.name, service.namespace, workloads, cluster_policy(config))
        )
        return index

    def _behind(self, service: Service, subset: str) -> tuple[int, ...]:
        """The workloads whose pods a service, or its subset, selects."""
        where = f"service {service.namespace}/{service.name}"
        if service.external:
            fix = "model it as a Deployment with a Service, or as serviceTime of its caller"
            raise InputError(f"{where} is outside of the cluster and has no modelled pods", fix=fix)
        wanted = dict(self._selectors.get((service.namespace, service.name)) or {})
        if subset:
            rules = rules_for(service, self._world.destination_rules, _NAMESPACE)
            wanted |= dict((subsets(rules).get(subset) or {}).get("labels") or {})
        found = []
        for owner in self._owners:
            labels = _template(owner).get("metadata", {}).get("labels") or {}
            namespace = owner["metadata"].get("namespace") or "default"
            if namespace == service.namespace and wanted and wanted.items() <= labels.items():
                found.append(self._workload(owner, namespace, labels))
        if not found:
            shown = ", ".join(f"{k}={v}" for k, v in wanted.items()) or "no selector"
            raise InputError(f"no workload has pods that {where} selects ({shown})")
        return tuple(found)

    def _workload(self, owner: Object, namespace: str, labels: Mapping[str, str]) -> int:
        name = owner["metadata"]["name"]
        if (namespace, name) in self._workloads:
            return self._workloads[namespace, name]
        index = self._workloads[namespace, name] = len(self._made)
        self._made.append(None)
        model = self._models.of(name)
        self._path.append(f"{namespace}/{name}")
        steps = tuple(
            tuple((self._call(call, namespace), call.probability, call.optional) for call in step)
            for step in model.steps
        )
        self._path.pop()
        self._made[index] = Workload(namespace, name, labels, model, _limit(owner), steps)
        return index

    def _call(self, call: Call, namespace: str) -> int:
        """The edge of a call from a workload in ``namespace``."""
        service = self._find(call, namespace)
        port = call.port or (80 if service.port(80) else service.ports[0].number)
        if service.port(port) is None:
            known = ", ".join(str(p.number) for p in service.ports)
            message = f"service {call.service} has no port {port}"
            raise InputError(message, at=call.at, fix=f"its ports: {known}")
        key = (service.hostname, port, call.method, call.path)
        action = self._service_action(service, port, call)
        self._refuse_cycle(action, call)
        if key not in self._known_edges:
            edge = self._edge(action)
            self._known_edges[key] = len(self._edges)
            self._edges.append(edge)
        return self._known_edges[key]

    def _refuse_cycle(self, action: Mapping[str, Any], call: Call) -> None:
        for name, _ in route_policy(action).clusters:
            parsed = parse_cluster_name(name)
            service = self._world.services.get(parsed[2]) if parsed else None
            if parsed is None or service is None:
                continue
            selector = dict(self._selectors.get((service.namespace, service.name)) or {})
            for owner in self._owners:
                labels = _template(owner).get("metadata", {}).get("labels") or {}
                mine = selector and selector.items() <= labels.items()
                key = f"{owner['metadata'].get('namespace') or 'default'}/{owner['metadata']['name']}"
                if mine and key in self._path:
                    at = self._path.index(key)
                    circle = " -> ".join(k.partition("/")[2] for k in [*self._path[at:], key])
                    fix = "take one of these calls out: every request would call for ever"
                    raise InputError(f"calls go in a circle: {circle}", at=call.at, fix=fix)

    def _find(self, call: Call, namespace: str) -> Service:
        name = call.service.lower()
        found = self._world.services.get(hosts.resolve(name, namespace))
        if found is None and name.count(".") == 1:
            found = self._world.services.get(hosts.service_host(*name.split(".")))
        if found is None:
            names = sorted({s.name for s in self._world.services.values()})
            fix = did_you_mean(call.service, names) or "no Service is among the manifests"
            raise InputError(f"no service is named {call.service!r}", at=call.at, fix=fix)
        return found

    def _service_action(self, service: Service, port: int, call: Call) -> Mapping[str, Any]:
        """What a client in the mesh meets at the service's own address."""
        name = vhost_name(service.hostname, port)
        config = service_route_config(name, self._world, service, port, _NAMESPACE)
        routes = config["virtual_hosts"][0]["routes"]
        if call.path is None:
            route = next((r for r in routes if is_catch_all(r["match"])), routes[-1] if routes else None)
        else:
            request = Request.of(f"http://{service.hostname}:{port}{call.path}", call.method)
            route = next((r for r in routes if mismatch(r["match"], request) is None), None)
        if route is None:
            shown = f"{call.method} {call.service}{call.path}"
            raise InputError(f"no route takes {shown}: it would be answered with 404", at=call.at)
        return _action(route, f"calls of {service.name}", call.at)


def _action(route: Mapping[str, Any], what: str, at: Location | None) -> Mapping[str, Any]:
    if "route" not in route:
        raise InputError(f"{what} meet a redirect or a direct response, which reach no pod", at=at)
    action: Mapping[str, Any] = route["route"]
    return action


def _template(owner: Object) -> Mapping[str, Any]:
    return (owner.get("spec") or {}).get("template") or {}


def _limit(owner: Object) -> float:
    """The CPU limit of the pod's first container, in cores; 0 where it has none."""
    from wavetank.kube.quantity import milli

    containers = (_template(owner).get("spec") or {}).get("containers") or [{}]
    limit = ((containers[0].get("resources") or {}).get("limits") or {}).get("cpu")
    return 0.0 if limit is None else milli(limit) / 1000
