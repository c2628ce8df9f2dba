"""What has to be there before a container starts: its image, the pod's volumes, its configuration."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from wavetank.kube.client import Object
from wavetank.kube.kubelet.context import Context, configure
from wavetank.kube.kubelet.environment import ConfigError
from wavetank.kube.kubelet.images import Pulled, pull_policy
from wavetank.kube.kubelet.probes import parse_probe
from wavetank.kube.kubelet.runtime import ContainerConfig
from wavetank.kube.kubelet.volumes import make_volumes

__all__ = ["Preparation", "Tell"]


class Tell(Protocol):
    """Sends an event about the pod, or about one of its containers."""

    def __call__(self, kind: str, reason: str, message: str, container: str = "") -> None: ...


class Preparation:
    """Prepares containers of one pod."""

    def __init__(self, context: Context, pod_ip: str, directory: Path, tell: Tell) -> None:
        self._context = context
        self._ip = pod_ip
        self._directory = directory
        self._tell = tell
        self._made: Mapping[str, Path] | None = None

    async def config(self, pod: Object, container: Mapping[str, Any], restarts: int) -> ContainerConfig:
        """All that the runtime needs. Raises PullError, ConfigError, StartError, ApiError; and KeyError and
        its like for what the API let through and nobody can read."""
        context = self._context
        for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
            parse_probe(container.get(probe))
        pulled = await self._image(pod, container)
        objects = await context.objects(pod)
        return configure(
            context,
            pod,
            container,
            container_id=f"{context.clock.random('container').getrandbits(256):064x}",
            restarts=restarts,
            pod_ip=self._ip,
            directory=self._directory,
            volumes=self._volumes(pod, objects),
            objects=objects,
            services=await context.services(pod),
            image=pulled.config,
        )

    async def _image(self, pod: Object, container: Mapping[str, Any]) -> Pulled:
        """Make sure of the image; say so in events and journal."""
        context, name = self._context, container["name"]
        image = str(container.get("image") or "")
        begun = context.clock.now()
        pulled, waited, cached = await context.images.ensure(
            image,
            pull_policy(container),
            lambda: self._tell("Normal", "Pulling", f'Pulling image "{image}"', name),
        )
        if cached and waited == 0.0:
            message = f'Container image "{image}" already present on machine'
        else:
            message = (
                f'Successfully pulled image "{image}" in {_go_seconds(0.0 if cached else pulled.seconds)} '
                f"({_go_seconds(waited)} including waiting). Image size: {pulled.size} bytes."
            )
        self._tell("Normal", "Pulled", message, name)
        meta = pod["metadata"]
        context.journal.record(
            "pod.image",
            pod=f"{meta.get('namespace', 'default')}/{meta['name']}",
            uid=meta["uid"],
            image=image,
            seconds=context.clock.now() - begun,
            modelled=pulled.modelled,
            cached=cached,
        )
        return pulled

    def _volumes(self, pod: Object, objects: Mapping[tuple[str, str], Object]) -> Mapping[str, Path]:
        """The pod's volumes, made once: containers that start later, or again, find what is in them."""
        if self._made is not None:
            return self._made
        try:
            self._made = make_volumes(
                pod,
                self._directory / "volumes",
                lambda kind, name: objects.get((kind, name)),
                self._context.pod_addresses(self._ip),
            )
        except OSError as error:
            raise ConfigError(f"cannot make the volumes: {error}") from None
        return self._made


def _go_seconds(seconds: float) -> str:
    """A duration as Go prints it, to the millisecond."""
    if seconds < 1:
        return f"{seconds * 1000:.0f}ms" if seconds > 0 else "0s"
    return f"{seconds:.3f}".rstrip("0").rstrip(".") + "s"
