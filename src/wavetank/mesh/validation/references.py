"""Whether what a resource names is there: gateways, hosts, subsets, ports, parents, secrets.

Mirrors istio/istio ``pkg/config/analysis/analyzers`` over one set of files, which is taken to be complete.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from wavetank.errors import did_you_mean
from wavetank.mesh import gateway_api, hosts
from wavetank.mesh.model import Config, Service, World
from wavetank.mesh.translate import traffic_policy
from wavetank.mesh.translate.servers import Server, gateway_servers
from wavetank.mesh.validation.messages import KeyPath, Problem, problem

__all__ = ["Scene", "destination_rule_references", "gateway_references", "http_route_references",
           "virtual_service_references"]  # fmt: skip


@dataclass(frozen=True, slots=True)
class Scene:
    """All resources at once. ``templates`` are the pod labels of each namespace's workloads; ``parents``
    the Gateway API's Gateways. ``complete``: what is not here does not exist."""

    world: World
    templates: Mapping[str, list[Mapping[str, str]]]
    parents: tuple[Mapping[str, Any], ...] = ()
    namespace: str = "istio-system"


def virtual_service_references(config: Config, scene: Scene) -> Iterator[Problem]:
    yield from _gateways(config, scene)
    for kind in ("http", "tcp", "tls"):
        for index, rule in enumerate(config.spec.get(kind) or ()):
            path: KeyPath = ("spec", kind, index)
            for number, route in enumerate(rule.get("route") or ()):
                here = (*path, "route", number, "destination")
                yield from _destination(route["destination"], config, scene, here)
            if rule.get("mirror"):
                yield from _destination(rule["mirror"], config, scene, (*path, "mirror"))
            for number, mirror in enumerate(rule.get("mirrors") or ()):
                here = (*path, "mirrors", number, "destination")
                yield from _destination(mirror["destination"], config, scene, here)
            if rule.get("delegate"):
                yield from _delegate(rule["delegate"], config, scene, (*path, "delegate"))
    yield from _duplicates(config, scene)


def _gateways(config: Config, scene: Scene) -> Iterator[Problem]:
    known = {gateway.key: gateway for gateway in scene.world.gateways}
    for index, name in enumerate(config.spec.get("gateways") or ()):
        if name == "mesh":
            continue
        key = str(name) if "/" in str(name) else f"{config.namespace}/{name}"
        path: KeyPath = ("spec", "gateways", index)
        if key not in known:
            short = [k.removeprefix(f"{config.namespace}/") for k in known]
            fix = did_you_mean(str(name), short) or "there is no Gateway at all"
            yield problem("UnknownGateway", path, gateway=name, resolved=f"looked for {key}", fix=fix)
        else:
            yield from _hosts_in_gateway(config, known[key])


def _hosts_in_gateway(config: Config, gateway: Config) -> Iterator[Problem]:
    offered = [pair for server in gateway_servers(gateway) for pair in server.hosts]
    named = [str(host) for host in config.spec.get("hosts") or ()]
    missing = [i for i, host in enumerate(named) if not _offered(host, config, offered)]
    text = ", ".join(host if ns == "*" else f"{ns}/{host}" for ns, host in offered)
    name = "NoHostInGateway" if len(missing) == len(named) else "HostNotInGateway"
    for index in missing:
        yield problem(
            name, ("spec", "hosts", index), host=named[index], gateway=gateway.name, hosts=text
        )  # fmt: skip


def _offered(host: str, config: Config, offered: Iterable[tuple[str, str]]) -> bool:
    wanted = hosts.resolve(host, config.namespace)
    return any(
        namespace in ("*", config.namespace) and hosts.intersect(wanted, pattern) is not None
        for namespace, pattern in offered
    )


def _destination(
    destination: Mapping[str, Any], config: Config, scene: Scene, path: KeyPath
) -> Iterator[Problem]:
    host = str(destination["host"])
    service = scene.world.service(host, config.namespace)
    if service is None:
        resolved = f"looked for {hosts.resolve(host, config.namespace)}"
        fix = _nearest_host(host, config.namespace, scene)
        yield problem("UnknownDestination", (*path, "host"), host=host, resolved=resolved, fix=fix)
        return
    yield from _port(destination, service, path)
    subset = destination.get("subset")
    rules = traffic_policy.rules_for(service, scene.world.destination_rules, scene.namespace)
    known = traffic_policy.subsets(rules)
    if subset and subset not in known:
        fix = did_you_mean(str(subset), known) or "add a DestinationRule with this subset"
        yield problem("UnknownSubset", (*path, "subset"), subset=subset, host=service.hostname, fix=fix)


def _port(destination: Mapping[str, Any], service: Service, path: KeyPath) -> Iterator[Problem]:
    number = (destination.get("port") or {}).get("number")
    ports = ", ".join(str(p.number) for p in service.ports)
    if number is None and len(service.ports) > 1:
        yield problem("PortRequired", path, host=service.hostname, ports=ports)
    elif number is not None and service.port(number) is None:
        yield problem("UnknownPort", (*path, "port"), host=service.hostname, port=number, ports=ports)


def _nearest_host(host: str, namespace: str, scene: Scene) -> str:
    local = f".{namespace}.svc.{hosts.DOMAIN}"
    short = {h.removesuffix(local) for h in scene.world.services}
    same_name = [h for h in scene.world.services if h.partition(".")[0] == host.partition(".")[0]]
    if same_name:
        return f"did you mean {same_name[0].removesuffix(local)!r}?"
    return did_you_mean(host, short) or "there is no Service at all"


def _delegate(named: Mapping[str, Any], config: Config, scene: Scene, path: KeyPath) -> Iterator[Problem]:
    key = f"{named.get('namespace') or config.namespace}/{named.get('name')}"
    candidates = {c.key for c in scene.world.virtual_services if not c.spec.get("hosts")}
    if key not in candidates:
        yield problem("UnknownDelegate", path, delegate=key, fix=did_you_mean(key, candidates))


def _duplicates(config: Config, scene: Scene) -> Iterator[Problem]:
    if "mesh" not in (config.spec.get("gateways") or ["mesh"]):
        return
    for other in scene.world.virtual_services:
        if other.key == config.key:
            return  # only what comes before this one hides it
        if "mesh" not in (other.spec.get("gateways") or ["mesh"]):
            continue
        taken = {hosts.resolve(str(h), other.namespace) for h in other.spec.get("hosts") or ()}
        for index, host in enumerate(config.spec.get("hosts") or ()):
            full = hosts.resolve(str(host), config.namespace)
            if full in taken:
                yield problem("DuplicateMeshHost", ("spec", "hosts", index), host=full, other=other.key)


def destination_rule_references(config: Config, scene: Scene) -> Iterator[Problem]:
    host = str(config.spec.get("host") or "")
    wanted = hosts.resolve(host, config.namespace)
    found = [s for s in scene.world.services.values() if hosts.subset_of(s.hostname, wanted)]
    if not found:
        resolved = f"looked for {wanted}"
        fix = _nearest_host(host, config.namespace, scene)
        yield problem("UnknownRuleHost", ("spec", "host"), host=host, resolved=resolved, fix=fix)
        return
    service = found[0]
    read = (scene.namespace, service.namespace, traffic_policy.ROOT_NAMESPACE)
    if config.namespace not in read:
        yield problem(
            "RuleNamespace", ("spec", "host"), namespace=config.namespace, host=service.hostname,
            service_namespace=service.namespace,
        )  # fmt: skip
    templates = scene.templates.get(service.namespace, [])
    for index, subset in enumerate(config.spec.get("subsets") or ()):
        labels: Mapping[str, str] = subset.get("labels") or {}
        if templates and not service.external and not any(labels.items() <= t.items() for t in templates):
            present = sorted({f"{k}={t[k]}" for t in templates for k in labels if k in t})
            yield problem(
                "SubsetSelectsNoPods", ("spec", "subsets", index), subset=subset.get("name"),
                host=service.hostname, labels=", ".join(present) or "none of these",
            )  # fmt: skip


def gateway_references(config: Config, scene: Scene) -> Iterator[Problem]:
    for server in gateway_servers(config):
        path: KeyPath = ("spec", "servers", server.index)
        name = server.tls.get("credentialName")
        if name and f"{config.namespace}/{name}" not in scene.world.certificates:
            yield problem(
                "UnknownSecret", (*path, "tls", "credentialName"), secret=f"{config.namespace}/{name}"
            )
        for other in scene.world.gateways:
            if other.key == config.key:
                break  # the older Gateway keeps the port
            for theirs in gateway_servers(other):
                why = _conflict(server, theirs)
                if why:
                    yield problem("ConflictingGateways", path, port=server.port, other=other.key, why=why)


def _conflict(server: Server, theirs: Server) -> str:
    if server.port != theirs.port:
        return ""
    if server.is_http != theirs.is_http:
        return f"protocol {theirs.protocol}"
    shared = set(server.sni) & set(theirs.sni)
    if not server.is_http and shared:
        return f"the same SNI host {min(shared)}"
    return ""


def http_route_references(obj: Mapping[str, Any], scene: Scene) -> Iterator[Problem]:
    """``obj`` is the whole HTTPRoute."""
    namespace = str(obj["metadata"].get("namespace") or "default")
    for index, parent in enumerate(obj["spec"].get("parentRefs") or ()):
        yield from _parent(parent, namespace, obj, scene, ("spec", "parentRefs", index))
    for index, rule in enumerate(obj["spec"].get("rules") or ()):
        for number, reference in enumerate(rule.get("backendRefs") or ()):
            if (reference.get("kind") or "Service") != "Service":
                continue
            in_namespace = str(reference.get("namespace") or namespace)
            host = hosts.service_host(str(reference["name"]), in_namespace)
            service = scene.world.services.get(host)
            path: KeyPath = ("spec", "rules", index, "backendRefs", number)
            if service is None:
                fix = _nearest_host(str(reference["name"]), in_namespace, scene)
                resolved = f"looked for {host}"
                yield problem("UnknownDestination", path, host=reference["name"], resolved=resolved, fix=fix)
            else:
                yield from _port({"port": {"number": reference.get("port")}}, service, path)


def _parent(
    parent: Mapping[str, Any], namespace: str, obj: Mapping[str, Any], scene: Scene, path: KeyPath
) -> Iterator[Problem]:
    in_namespace = str(parent.get("namespace") or namespace)
    if (parent.get("kind") or "Gateway") != "Gateway":
        if parent.get("kind") == "Service":
            host = hosts.service_host(str(parent["name"]), in_namespace)
            if host not in scene.world.services:
                fix = _nearest_host(str(parent["name"]), in_namespace, scene)
                yield problem(
                    "UnknownParent", path, parent=parent["name"], resolved=f"looked for {host}", fix=fix
                )
        return
    key = f"{in_namespace}/{parent['name']}"
    known = {
        f"{g['metadata'].get('namespace') or 'default'}/{g['metadata']['name']}": g for g in scene.parents
    }
    if key not in known:
        fix = did_you_mean(key, known) or "there is no Gateway at all"
        yield problem("UnknownParent", path, parent=parent["name"], resolved=f"looked for {key}", fix=fix)
        return
    found = gateway_api.listeners(dict(known[key]), {namespace: {}})
    wanted = [str(h).lower() for h in obj["spec"].get("hostnames") or ("*",)]
    named = [e for e in found if parent.get("sectionName") in (None, e.name)]
    taking = [e for e in named if e.takes(namespace, "HTTPRoute")]
    if not any(hosts.intersect(host, e.hostname) for e in taking for host in wanted):
        if not named:
            why = f"no listener is named {parent.get('sectionName')!r}"
        elif not taking:
            why = f"allowedRoutes does not admit namespace {namespace}"
        else:
            why = f"hostnames {', '.join(wanted)} are not among {', '.join(e.hostname for e in taking)}"
        yield problem("UnknownListener", path, gateway=key, why=why)
