"""autoscaling.wavetank.dev/v1 ``hpadecisions``: why each HPA last decided what it did.

An API group of ours beside the real ones, so that the console, ``wavetank autoscale explain`` and ``kubectl
get --raw`` read the controller's own account. Nothing is written into the HPA objects.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

from wavetank.autoscaling.hpa.controller import HpaController
from wavetank.autoscaling.hpa.explain import DecisionInputs, explain
from wavetank.kube.client import ApiError, Object, Resource
from wavetank.kube.times import format_time

__all__ = ["HPA_DECISIONS", "HpaDecisionsApi"]

HPA_DECISIONS: Final = Resource(
    "autoscaling.wavetank.dev", "v1", "HpaDecision", "hpadecisions", True, "hpadecision"
)


class HpaDecisionsApi:
    """An ``ApiExtension``. A single object carries ``decisions``, newest first; a list only the newest of
    each HPA."""

    group = HPA_DECISIONS.group
    version = HPA_DECISIONS.version
    resources: Sequence[Resource] = (HPA_DECISIONS,)

    def __init__(self, controller: HpaController) -> None:
        self._controller = controller

    async def handle(self, path: str, query: Mapping[str, str]) -> Any:
        """Answer GET of hpadecisions, namespaces/NS/hpadecisions and namespaces/NS/hpadecisions/NAME."""
        decisions = self._controller.decisions
        match [part for part in path.strip("/").split("/") if part]:
            case ["hpadecisions"]:
                return self._list("")
            case ["namespaces", namespace, "hpadecisions"]:
                return self._list(f"{namespace}/")
            case ["namespaces", namespace, "hpadecisions", name]:
                found = decisions.get(f"{namespace}/{name}")
                if found:
                    return self._object(list(found))
                text = f'hpadecisions.{self.group} "{name}" not found'
                raise ApiError(404, "NotFound", text, {"name": name, "kind": "hpadecisions"})
        raise ApiError(404, "NotFound", "the server could not find the requested resource")

    def _list(self, prefix: str) -> Object:
        kept = sorted(self._controller.decisions.items())
        items = [self._object([d[-1]]) for key, d in kept if d and key.startswith(prefix)]
        return {"kind": "HpaDecisionList", "apiVersion": _VERSION, "metadata": {}, "items": items}

    def _object(self, decisions: Sequence[DecisionInputs]) -> Object:
        newest = decisions[-1]
        options = self._controller.options
        return {
            "kind": HPA_DECISIONS.kind,
            "apiVersion": _VERSION,
            "metadata": {
                "name": newest.hpa.name,
                "namespace": newest.hpa.namespace,
                "creationTimestamp": format_time(newest.now),
            },
            "decisions": [msgspec.to_builtins(explain(each, options)) for each in reversed(decisions)],
        }


_VERSION: Final = HPA_DECISIONS.api_version
