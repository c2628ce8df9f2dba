"""Manifests with a patch on top: what ``wavetank sweep`` recommends, tried without touching a file.

A patch file is what ``kubectl patch --patch-file`` takes (strategic merge), with kind and name in it to say
which object is meant; several are documents of one file. Kinds without a schema here are merged as JSON.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from wavetank.errors import did_you_mean
from wavetank.kube.client import ApiError
from wavetank.kube.patches.merge_patch import merge_patch
from wavetank.kube.patches.strategic import strategic_merge
from wavetank.kube.schema.builtin import type_of
from wavetank.rehearsal.manifests import Manifest
from wavetank.yamlfile import Document, load_documents

__all__ = ["patched"]


def patched(manifests: Sequence[Manifest], files: Sequence[Path]) -> list[Manifest]:
    """The manifests with all patches of ``files`` in them, in order. Raises InputError for a patch of
    nothing."""
    found = list(manifests)
    for file in files:
        for document in load_documents(file):
            if document.value is not None:
                index = _meant(found, document)
                found[index] = replace(found[index], object=_merged(found[index], document))
    return found


def _meant(manifests: Sequence[Manifest], document: Document) -> int:
    patch = document.value
    metadata = patch.get("metadata") if isinstance(patch, dict) else None
    if not isinstance(metadata, dict) or not patch.get("kind") or not metadata.get("name"):
        fix = "begin it with kind and metadata.name of the object"
        raise document.error("a patch must say which object it is for", fix=fix)
    kind, name, namespace = patch["kind"], metadata["name"], metadata.get("namespace")
    for index, manifest in enumerate(manifests):
        same = (manifest.kind, manifest.name) == (kind, name)
        if same and namespace in (None, manifest.namespace):
            return index
    wanted = f"{kind} {namespace}/{name}" if namespace else f"{kind} {name}"
    near = did_you_mean(wanted, [str(m) for m in manifests])
    raise document.error(f"there is no {wanted} among the manifests", "metadata", "name", fix=near)


def _merged(manifest: Manifest, document: Document) -> dict[str, Any]:
    node = type_of(manifest.resource)
    if node is None:
        merged: dict[str, Any] = merge_patch(manifest.object, document.value)
        return merged
    try:
        return strategic_merge(node, manifest.object, document.value)
    except ApiError as error:
        raise document.error(f"{manifest}: {error.message}") from None
