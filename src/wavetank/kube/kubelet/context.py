"""What all pod workers of a kubelet share, and the container's configuration made from the API."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from wavetank.clock import Clock
from wavetank.errors import InputError
from wavetank.journal import Journal
from wavetank.kube.client import ApiError, Client, Object
from wavetank.kube.events import EventRecorder
from wavetank.kube.kubelet.addresses import AddressPool
from wavetank.kube.kubelet.cadvisor import Cadvisor
from wavetank.kube.kubelet.enforcer import Limits
from wavetank.kube.kubelet.environment import PodAddresses, container_environment, expand
from wavetank.kube.kubelet.images import ImageConfig, ImageStore
from wavetank.kube.kubelet.metrics import KubeletMetrics
from wavetank.kube.kubelet.options import KubeletOptions, NodeConfig
from wavetank.kube.kubelet.runtime import ContainerConfig, Runtime, StartError
from wavetank.kube.kubelet.volumes import mounts_of
from wavetank.kube.quantity import milli, whole
from wavetank.kube.resources import CONFIGMAPS, SECRETS, SERVICES

__all__ = ["WORKING_DIRECTORY", "Context", "configure", "limits_of", "referenced"]

WORKING_DIRECTORY = "wavetank.dev/working-dir"
"""Annotation of a pod: where on this machine its containers start, in place of ``workingDir``."""


@dataclass(frozen=True, slots=True)
class Context:
    client: Client
    clock: Clock
    journal: Journal
    runtime: Runtime
    node: NodeConfig
    options: KubeletOptions
    recorder: EventRecorder
    images: ImageStore
    addresses: AddressPool
    metrics: KubeletMetrics
    cadvisor: Cadvisor

    async def objects(self, pod: Object) -> dict[tuple[str, str], Object]:
        """The ConfigMaps and Secrets the pod refers to, those that exist."""
        namespace = pod["metadata"].get("namespace", "default")
        found: dict[tuple[str, str], Object] = {}
        for kind, name in referenced(pod):
            try:
                resource = CONFIGMAPS if kind == "ConfigMap" else SECRETS
                found[(kind, name)] = {**await self.client.get(resource, name, namespace), "kind": kind}
            except ApiError as error:
                if error.code != 404:
                    raise
        return found

    async def services(self, pod: Object) -> list[Object]:
        """The services whose variables the pod's containers get."""
        if not pod["spec"].get("enableServiceLinks", True):
            return []
        namespace = pod["metadata"].get("namespace", "default")
        found = (await self.client.list(SERVICES, namespace)).items
        if namespace != "default":
            listed = await self.client.list(SERVICES, "default", field_selector="metadata.name=kubernetes")
            found = [*found, *listed.items]
        return found

    def pod_addresses(self, pod_ip: str) -> PodAddresses:
        return PodAddresses(pod_ip, self.node.ip, self.node.name, self.node.capacity)


def referenced(pod: Object) -> set[tuple[str, str]]:
    """(kind, name) of every ConfigMap and Secret named in the pod."""
    return {
        (kind, name)
        for holder in _holders(pod["spec"])
        for kind, key, naming in (
            ("ConfigMap", "configMapRef", "name"),
            ("Secret", "secretRef", "name"),
            ("ConfigMap", "configMapKeyRef", "name"),
            ("Secret", "secretKeyRef", "name"),
            ("ConfigMap", "configMap", "name"),
            ("Secret", "secret", "secretName"),
        )
        if isinstance(holder.get(key), Mapping)
        and (name := str(holder[key].get(naming) or holder[key].get("name") or ""))
    }


def _holders(spec: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    for container in [*(spec.get("containers") or ()), *(spec.get("initContainers") or ())]:
        yield from container.get("envFrom") or ()
        yield from (v["valueFrom"] for v in container.get("env") or () if v.get("valueFrom"))
    for volume in spec.get("volumes") or ():
        yield volume
        if "projected" in volume:
            yield from volume["projected"].get("sources") or ()


def limits_of(container: Mapping[str, Any]) -> Limits:
    """The container's limits and CPU request. A malformed quantity raises StartError."""
    resources = container.get("resources") or {}
    limits, requests = resources.get("limits") or {}, resources.get("requests") or {}
    try:
        cpu = milli(limits.get("cpu", 0))
        return Limits(cpu, milli(requests.get("cpu", 0)) or cpu, whole(limits.get("memory", 0)))
    except InputError as error:
        raise StartError("CreateContainerError", str(error)) from None


def configure(
    context: Context,
    pod: Object,
    container: Mapping[str, Any],
    *,
    container_id: str,
    restarts: int,
    pod_ip: str,
    directory: Path,
    volumes: Mapping[str, Path],
    objects: Mapping[tuple[str, str], Object],
    services: list[Object],
    image: ImageConfig,
) -> ContainerConfig:
    """Everything a runtime needs. Raises ConfigError and StartError."""
    meta = pod["metadata"]
    mounts = mounts_of(container, volumes)
    variables = container_environment(
        pod,
        container,
        services,
        lambda kind, name: objects.get((kind, name)),
        context.pod_addresses(pod_ip),
    )
    variables = {**image.environment, **variables}
    command = [expand(str(a), variables) for a in container.get("command") or ()]
    arguments = [expand(str(a), variables) for a in container.get("args") or ()]
    argv = _argv(container, command, arguments, image)
    shown = {name: mounts.rewrite(value) for name, value in variables.items()}
    namespace = meta.get("namespace", "default")
    log = f"{namespace}_{meta['name']}_{meta['uid']}/{container['name']}/{restarts}.log"
    return ContainerConfig(
        pod=f"{namespace}/{meta['name']}",
        pod_uid=meta["uid"],
        name=container["name"],
        container_id=container_id,
        argv=[mounts.rewrite(a) for a in argv],
        environment={**shown, **mounts.variables},
        directory=_working_directory(context, pod, container, directory),
        home=directory,
        log_path=context.options.run_directory / "logs" / log,
        limits=limits_of(container),
    )


def _argv(
    container: Mapping[str, Any], command: list[str], arguments: list[str], image: ImageConfig
) -> list[str]:
    """``command`` replaces the image's entrypoint and its command, ``args`` only the latter."""
    if command:
        return [*command, *arguments]
    argv = [*image.entrypoint, *(arguments or image.command)]
    if not argv:
        raise StartError(
            "CreateContainerError",
            f"no command specified: the entrypoint of image {container.get('image', '')!r} is not known "
            "to the process runtime; set command in the container",
        )
    return argv


def _working_directory(context: Context, pod: Object, container: Mapping[str, Any], directory: Path) -> Path:
    given = (pod["metadata"].get("annotations") or {}).get(WORKING_DIRECTORY)
    if given:
        path = Path(given)
        if not path.is_dir():
            raise StartError(
                "CreateContainerError", f"annotation {WORKING_DIRECTORY}: {given} is no directory here"
            )
        return path
    wanted = container.get("workingDir")
    directory = context.options.working_directory or directory
    if wanted and Path(wanted).is_dir():
        return Path(wanted)
    if wanted:
        message = (
            f"workingDir {wanted} does not exist on this machine; the container starts in {directory}. "
            f"Annotate the pod with {WORKING_DIRECTORY} to choose another directory"
        )
        context.recorder.event(
            {**pod, "apiVersion": "v1", "kind": "Pod"}, "Warning", "WorkingDirMissing", message
        )
    return directory
