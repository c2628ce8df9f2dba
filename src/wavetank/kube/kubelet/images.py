"""Images: when they are pulled, how long that takes, and what a node already has.

Mirrors ``pkg/kubelet/images``: pull policy, one pull at a time a node (``serializeImagePulls``), back-off.
The pull itself is behind ``ImagePuller``; the default, ``ModelledPuller``, moves no bytes: its duration
follows from a declared size and bandwidth, and all its records say ``modelled``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from wavetank.clock import Clock
from wavetank.errors import WavetankError

__all__ = ["ImageConfig", "ImagePuller", "ImageStore", "ModelledPuller", "PullError", "Pulled", "pull_policy"]


@dataclass(frozen=True, slots=True)
class ImageConfig:
    """What an image says of itself, where it is known: used for what the pod leaves open."""

    entrypoint: tuple[str, ...] = ()
    command: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Pulled:
    """``seconds`` the pull took (waiting for other pulls not included), ``size`` in bytes."""

    seconds: float
    size: int = 0
    modelled: bool = True
    config: ImageConfig = ImageConfig()


class PullError(WavetankError):
    """The image could not be pulled (ErrImagePull)."""


class ImagePuller(Protocol):
    async def pull(self, image: str) -> Pulled:
        """Bring the image to the node. Raises PullError."""
        ...


@dataclass(slots=True)
class ModelledPuller:
    """Takes ``rtt`` + size / bandwidth + size / decompress seconds; nothing at all without a size.

    ``sizes`` maps images to compressed bytes, ``bandwidth`` and ``decompress`` are bytes per second (0 means
    unlimited), ``rtt`` seconds.
    """

    clock: Clock
    sizes: Mapping[str, int] = field(default_factory=dict)
    bandwidth: float = 0.0
    decompress: float = 0.0
    rtt: float = 0.0

    async def pull(self, image: str) -> Pulled:
        size = self.sizes.get(image, 0)
        seconds = self.rtt if size else 0.0
        for speed in (self.bandwidth, self.decompress):
            seconds += size / speed if speed > 0 else 0.0
        if seconds > 0:
            await self.clock.sleep(seconds)
        return Pulled(seconds, size)


def pull_policy(container: Mapping[str, object]) -> str:
    """The policy given, or the API's default: Always for ``:latest`` and no tag, else IfNotPresent."""
    given = container.get("imagePullPolicy")
    if given:
        return str(given)
    image = str(container.get("image") or "")
    tag = image.rpartition("/")[2].partition(":")[2]
    if "@" in image:
        return "IfNotPresent"
    return "Always" if tag in ("", "latest") else "IfNotPresent"


class ImageStore:
    """The images of one node. ``ensure`` is called once a container start."""

    def __init__(self, puller: ImagePuller, clock: Clock) -> None:
        self._puller = puller
        self._clock = clock
        self._turn = asyncio.Lock()
        self._present: dict[str, Pulled] = {}

    @property
    def present(self) -> Mapping[str, Pulled]:
        return self._present

    async def ensure(
        self, image: str, policy: str, pulling: Callable[[], None]
    ) -> tuple[Pulled, float, bool]:
        """(what was pulled, seconds including waiting, whether it was here already).

        ``pulling`` is called when a pull begins. With policy Always a present image is only checked
        against the registry, which costs no transfer. Raises PullError.
        """
        begun = self._clock.monotonic()
        if image in self._present and policy != "Always":
            return self._present[image], 0.0, True
        if policy == "Never" and image not in self._present:
            # A process needs no image; upstream would say ErrImageNeverPull. Here it counts as present.
            self._present[image] = Pulled(0.0)
            return self._present[image], 0.0, True
        pulling()
        async with self._turn:
            known = self._present.get(image)
            if known is None:
                self._present[image] = await self._puller.pull(image)
        waited = self._clock.monotonic() - begun
        return self._present[image], waited, known is not None
