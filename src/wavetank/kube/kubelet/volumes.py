"""Volumes as directories of the pod, and paths that are rewritten to them.

Without mount namespaces nothing can be mounted at ``mountPath``. Instead each volume is a directory, told
to the containers as ``WAVETANK_VOLUME_<NAME>``, and where a container's command, arguments or environment
name a path at or below a ``mountPath`` of its own, that path is rewritten. A program that has such a path
built in must be given it another way; docs/kubelet.md says so.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from wavetank.kube.client import Object
from wavetank.kube.kubelet.environment import (
    ConfigError,
    Lookup,
    PodAddresses,
    binary_data,
    field_value,
    resource_value,
)
from wavetank.limits import KUBELET_VOLUME_BYTES_MAX

__all__ = ["Mounts", "VolumeError", "make_volumes", "mounts_of"]


class VolumeError(ConfigError):
    """A volume cannot be made (event FailedMount); the pod waits."""


def make_volumes(pod: Object, directory: Path, lookup: Lookup, addresses: PodAddresses) -> dict[str, Path]:
    """Make every volume of the pod below ``directory``: name to path. Raises VolumeError."""
    result: dict[str, Path] = {}
    for volume in pod["spec"].get("volumes") or ():
        name = volume["name"]
        result[name] = _make(pod, volume, directory / name, lookup, addresses)
    return result


def _make(
    pod: Object, volume: Mapping[str, Any], path: Path, lookup: Lookup, addresses: PodAddresses
) -> Path:
    if "hostPath" in volume:
        return _host_path(volume)
    path.mkdir(parents=True, exist_ok=True)
    if "emptyDir" in volume:
        path.chmod(0o777)
        return path
    sources = (volume["projected"].get("sources") or ()) if "projected" in volume else (volume,)
    files: dict[str, tuple[bytes, int]] = {}
    for source in sources:
        files.update(_files(pod, volume["name"], source, lookup, addresses))
    if sum(len(content) for content, _ in files.values()) > KUBELET_VOLUME_BYTES_MAX:
        raise VolumeError(f'volume "{volume["name"]}" is larger than {KUBELET_VOLUME_BYTES_MAX} bytes')
    _write(volume["name"], path, files)
    return path


def _host_path(volume: Mapping[str, Any]) -> Path:
    path = Path(volume["hostPath"].get("path", ""))
    kind = volume["hostPath"].get("type") or ""
    if kind == "DirectoryOrCreate":
        path.mkdir(parents=True, exist_ok=True)
    elif kind == "FileOrCreate":
        path.touch(exist_ok=True)
    elif kind == "Directory" and not path.is_dir():
        raise VolumeError(f"hostPath type check failed: {path} is not a directory")
    elif kind == "File" and not path.is_file():
        raise VolumeError(f"hostPath type check failed: {path} is not a file")
    return path


def _files(
    pod: Object, name: str, source: Mapping[str, Any], lookup: Lookup, addresses: PodAddresses
) -> dict[str, tuple[bytes, int]]:
    """The files one source gives: relative path to content and mode."""
    for key, kind, naming in (("configMap", "ConfigMap", "name"), ("secret", "Secret", "secretName")):
        if key in source:
            given = source[key]
            return _from_object(kind, given.get(naming) or given.get("name", ""), given, lookup)
    if "downwardAPI" in source:
        return _downward(pod, source["downwardAPI"], addresses)
    if "serviceAccountToken" in source or "clusterTrustBundle" in source:
        return {}  # nothing here checks a token of the pod's own
    kinds = ", ".join(sorted(set(source) - {"name"})) or "none"
    raise VolumeError(
        f'volume "{name}" has a source that the process runtime does not offer ({kinds}); use emptyDir, '
        "configMap, secret, downwardAPI, projected or hostPath"
    )


def _from_object(
    kind: str, name: str, given: Mapping[str, Any], lookup: Lookup
) -> dict[str, tuple[bytes, int]]:
    found = lookup(kind, name)
    if found is None:
        if given.get("optional"):
            return {}
        raise VolumeError(f'references non-existent {kind.lower()}: {kind.lower()} "{name}" not found')
    data = binary_data(found)
    mode = int(given.get("defaultMode") or 0o644)
    items: Sequence[Mapping[str, Any]] | None = given.get("items")
    if items is None:
        return {key: (content, mode) for key, content in data.items()}
    files: dict[str, tuple[bytes, int]] = {}
    for item in items:
        if item["key"] not in data:
            if given.get("optional"):
                continue
            raise VolumeError(f"references non-existent {kind.lower()} key: {item['key']}")
        files[item["path"]] = (data[item["key"]], int(item.get("mode") or mode))
    return files


def _downward(pod: Object, given: Mapping[str, Any], addresses: PodAddresses) -> dict[str, tuple[bytes, int]]:
    mode = int(given.get("defaultMode") or 0o644)
    files: dict[str, tuple[bytes, int]] = {}
    for item in given.get("items") or ():
        if "fieldRef" in item:
            text = field_value(pod, item["fieldRef"].get("fieldPath", ""), addresses)
        else:
            text = resource_value(pod, item.get("resourceFieldRef") or {}, addresses)
        files[item["path"]] = (text.encode(), int(item.get("mode") or mode))
    return files


def _write(name: str, path: Path, files: Mapping[str, tuple[bytes, int]]) -> None:
    shutil.rmtree(path)
    path.mkdir(parents=True)
    for relative, (content, mode) in files.items():
        target = path / relative
        if Path(relative).is_absolute() or ".." in Path(relative).parts:
            raise VolumeError(f'volume "{name}": path {relative!r} must not leave the volume')
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)
        target.chmod(mode & 0o777)


class Mounts:
    """The ``volumeMounts`` of one container: variables to add and paths to rewrite."""

    def __init__(self, mounts: Mapping[str, Path], variables: Mapping[str, str]) -> None:
        self.variables = variables
        self.rewrite: Callable[[str], str] = _rewriter(mounts) if mounts else str


def mounts_of(container: Mapping[str, Any], volumes: Mapping[str, Path]) -> Mounts:
    """Raises ConfigError where a mount names no volume."""
    paths: dict[str, Path] = {}
    variables: dict[str, str] = {}
    for mount in container.get("volumeMounts") or ():
        volume = volumes.get(mount["name"])
        if volume is None:
            raise ConfigError(f'cannot find volume "{mount["name"]}" to mount into container')
        target = volume / mount["subPath"] if mount.get("subPath") else volume
        if mount.get("subPath") and not target.exists():
            target.mkdir(parents=True, exist_ok=True)
        at = mount["mountPath"].rstrip("/")
        if at:
            paths[at] = target
        name = re.sub(r"[^A-Z0-9]", "_", mount["name"].upper())
        variables[f"WAVETANK_VOLUME_{name}"] = str(target)
    return Mounts(paths, variables)


def _rewriter(mounts: Mapping[str, Path]) -> Callable[[str], str]:
    """Replaces a mount path where it stands as a whole path or as the beginning of one."""
    alternatives = "|".join(re.escape(at) for at in sorted(mounts, key=len, reverse=True))
    pattern = re.compile(rf"(?<![\w./-])({alternatives})(?=$|[/:;,\s'\"])")
    return lambda text: pattern.sub(lambda match: str(mounts[match.group(1)]), text)
