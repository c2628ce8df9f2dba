"""The declared model of image pulls: ``spec.cluster.imagePull`` as numbers.

Left out: layers shared between images and registries' own limits; a whole image comes at once.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from wavetank.errors import InputError
from wavetank.load.stages import parse_duration
from wavetank.rehearsal.spec import ImagePull
from wavetank.yamlfile import Document

__all__ = ["ImageModel", "image_model", "parse_rate", "parse_size"]

_NUMBER = re.compile(r"(\d+(?:\.\d+)?)\s*([A-Za-z]*)(/s)?")
_BYTES = {
    "": 1, "B": 1, "kB": 10**3, "KB": 10**3, "MB": 10**6, "GB": 10**9,
    "KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "Ki": 2**10, "Mi": 2**20, "Gi": 2**30,
}  # fmt: skip
_BITS = {"bit": 1, "kbit": 10**3, "Kbit": 10**3, "Mbit": 10**6, "Gbit": 10**9}


@dataclass(frozen=True, slots=True)
class ImageModel:
    """Bytes per second (0: unlimited), seconds, and compressed bytes by image."""

    bandwidth: float = 0.0
    decompress: float = 0.0
    rtt: float = 0.0
    sizes: Mapping[str, int] | None = None

    @property
    def shown(self) -> str:
        """For the report's list of what was modelled."""
        if not self.sizes:
            return "no size is declared, so pulling takes no time"
        speed = f"{self.bandwidth / 1e6:g} MB/s" if self.bandwidth else "unlimited bandwidth"
        return f"declared sizes of {len(self.sizes)} image(s) at {speed}, not pulled"


def parse_size(text: str) -> int:
    """Bytes of ``150MB``, ``1.5GiB``. Raises InputError."""
    found = _NUMBER.fullmatch(text.strip())
    if found is None or found[3] or found[2] not in _BYTES:
        raise InputError(f"{text!r} is not a size", fix="write it as 150MB or 1.5GiB")
    return int(float(found[1]) * _BYTES[found[2]])


def parse_rate(text: str) -> float:
    """Bytes per second of ``200Mbit`` or ``80MB/s``. Raises InputError."""
    found = _NUMBER.fullmatch(text.strip())
    if found is not None and found[2] in _BITS:
        return float(found[1]) * _BITS[found[2]] / 8
    if found is not None and found[3] and found[2] in _BYTES:
        return float(found[1]) * _BYTES[found[2]]
    raise InputError(f"{text!r} is not a rate", fix="write it as 200Mbit or 80MB/s")


def image_model(pull: ImagePull | None, document: Document | None = None) -> ImageModel:
    """Raises InputError, with the line where a document is given."""
    if pull is None:
        return ImageModel()
    try:
        return ImageModel(
            bandwidth=parse_rate(pull.bandwidth) if pull.bandwidth else 0.0,
            decompress=parse_rate(pull.decompress) if pull.decompress else 0.0,
            rtt=parse_duration(pull.rtt) if pull.rtt else 0.0,
            sizes={image: parse_size(size) for image, size in pull.image_sizes.items()},
        )
    except InputError as error:
        if document is None:
            raise
        raise document.error(
            f"imagePull: {error.message}", "spec", "cluster", "imagePull", fix=error.fix
        ) from None
