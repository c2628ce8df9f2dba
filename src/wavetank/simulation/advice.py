"""The chosen settings as a patch of the manifests, with the reasons as comments."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

import yaml

from wavetank.simulation.sweep_model import SweepModel, changed_objects, read_path

__all__ = ["patch_yaml"]

#: Lists that a strategic merge patch merges by their elements' names.
_BY_NAME = ("containers", "initContainers")


def patch_yaml(model: SweepModel, settings: Mapping[str, Any], reasons: Sequence[str]) -> str:
    """A strategic merge patch of each object the settings change, a document each; lists are whole, as such
    patches replace them. Flags of the cluster are named in comments, as no object holds them."""
    after = changed_objects(model, settings)
    lines = [f"# {reason}" for reason in reasons]
    documents = []
    for key in dict.fromkeys(read_path(path)[0] for path in settings):
        steps = [read_path(path)[1] for path in settings if read_path(path)[0] == key]
        if key == "cluster":
            lines += [
                f"# {'.'.join(map(str, s))}: {_at(after[key], s)} (a flag of the cluster)" for s in steps
            ]
            continue
        obj = after[key]
        meta = {k: v for k, v in obj["metadata"].items() if k in ("name", "namespace")}
        patch: dict[str, Any] = {"apiVersion": obj["apiVersion"], "kind": obj["kind"], "metadata": meta}
        for path in steps:
            _take(patch, obj, path)
        documents.append(yaml.safe_dump(patch, sort_keys=False).rstrip())
    return "\n".join([*lines, "\n---\n".join(documents), ""])


def _at(value: Any, steps: Sequence[str | int]) -> Any:
    for step in steps:
        value = value[step]
    return value


def _take(patch: dict[str, Any], source: Any, steps: Sequence[str | int]) -> None:
    """Copy the field at ``steps``; a list that is merged by name in part, any other whole."""
    for i, step in enumerate(steps):
        source = source[step]
        if i == len(steps) - 1:
            patch[str(step)] = copy.deepcopy(source)
            return
        following = steps[i + 1]
        if not isinstance(following, int):
            patch = patch.setdefault(str(step), {})
            continue
        if step not in _BY_NAME:
            patch[str(step)] = copy.deepcopy(source)
            return
        elements = patch.setdefault(str(step), [])
        name = source[following]["name"]
        element = next((e for e in elements if e["name"] == name), None)
        if element is None:
            elements.append(element := {"name": name})
        _take(element, source[following], steps[i + 2 :])
        return
