"""Which replica set is the deployment's current one, and how revisions are numbered."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from wavetank.kube.client import Object
from wavetank.kube.controllers.deployment.replicas import (
    DESIRED,
    HASH_LABEL,
    MAX,
    REVISION,
    fenceposts,
    oldest_first,
    wanted,
)  # fmt: skip
from wavetank.kube.objects import owner_reference, stable_hash
from wavetank.kube.resources import DEPLOYMENTS

__all__ = ["annotated", "current_set", "new_set", "revision_of", "revisions_after", "sized"]

_HISTORY: Final = "deployment.kubernetes.io/revision-history"
_NOT_COPIED: Final = frozenset(
    {
        "kubectl.kubernetes.io/last-applied-configuration", REVISION, _HISTORY, DESIRED, MAX,
        "deprecated.deployment.rollback.to",
    }
)  # fmt: skip


def _template_of(obj: Object) -> Any:
    """The pod template without the hash label, which is ours."""
    template = obj["spec"]["template"]
    metadata = template.get("metadata") or {}
    labels = {k: v for k, v in (metadata.get("labels") or {}).items() if k != HASH_LABEL}
    return {**template, "metadata": {**metadata, "labels": labels}}


def current_set(deployment: Object, sets: Sequence[Object]) -> Object | None:
    """The oldest replica set whose template is the deployment's; two of them are possible after races."""
    template = _template_of(deployment)
    return next((rs for rs in oldest_first(sets) if _template_of(rs) == template), None)


def revision_of(obj: Object) -> int:
    text = (obj["metadata"].get("annotations") or {}).get(REVISION, "0")
    return int(text) if text.isdigit() else 0


def revisions_after(sets: Sequence[Object]) -> int:
    return max((revision_of(rs) for rs in sets), default=0) + 1


def annotated(deployment: Object, rs: Object, revision: int) -> dict[str, str]:
    """The annotations of the current replica set: the deployment's, its revision and those it had before."""
    given = deployment["metadata"].get("annotations") or {}
    found = dict(rs["metadata"].get("annotations") or {})
    found.update({k: v for k, v in given.items() if k not in _NOT_COPIED})
    before = revision_of(rs)
    if before < revision:
        if before > 0:
            earlier = found.get(_HISTORY)
            found[_HISTORY] = f"{earlier},{before}" if earlier else str(before)
        found[REVISION] = str(revision)
    return found


def sized(deployment: Object, annotations: Mapping[str, str]) -> dict[str, str]:
    """The annotations with what the deployment wants in all, which tell a scaling from a rollout."""
    surge, _ = fenceposts(deployment)
    return {**annotations, DESIRED: str(wanted(deployment)), MAX: str(wanted(deployment) + surge)}


def new_set(deployment: Object, replicas: int, revision: int) -> Object:
    """A replica set for the deployment's template."""
    spec, metadata = deployment["spec"], deployment["metadata"]
    template = spec["template"]
    collisions = (deployment.get("status") or {}).get("collisionCount")
    digest = stable_hash([template, collisions] if collisions else template)
    labels = {**((template.get("metadata") or {}).get("labels") or {}), HASH_LABEL: digest}
    selector = spec["selector"]
    made: Object = {
        "apiVersion": "apps/v1",
        "kind": "ReplicaSet",
        "metadata": {
            "name": f"{metadata['name']}-{digest}",
            "namespace": metadata["namespace"],
            "labels": labels,
            "ownerReferences": [owner_reference(deployment, DEPLOYMENTS)],
        },
        "spec": {
            "replicas": replicas,
            "selector": {
                **selector,
                "matchLabels": {**(selector.get("matchLabels") or {}), HASH_LABEL: digest},
            },
            "template": {**template, "metadata": {**(template.get("metadata") or {}), "labels": labels}},
        },
    }
    if spec.get("minReadySeconds"):
        made["spec"]["minReadySeconds"] = spec["minReadySeconds"]
    made["metadata"]["annotations"] = sized(deployment, annotated(deployment, made, revision))
    return made
