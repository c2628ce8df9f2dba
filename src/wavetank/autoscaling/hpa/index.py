"""Which pods a selector picks, and which HPAs' selectors pick a pod, without looking at all of them."""

from __future__ import annotations

from collections.abc import Iterable

from wavetank.autoscaling.hpa.model import parse_pod
from wavetank.autoscaling.hpa.replica_calculator import PodView
from wavetank.kube.client import Object
from wavetank.kube.metrics_server.index import Label, LabelIndex, demanded
from wavetank.kube.selectors import LabelSelector

__all__ = ["PodIndex", "SelectorIndex"]


class PodIndex:
    """Pods by namespace and label; each is parsed once for each of its versions."""

    def __init__(self) -> None:
        self._pods = LabelIndex()
        self._views: dict[str, tuple[str, PodView]] = {}

    def put(self, pod: Object) -> None:
        self._pods.put(pod)

    def remove(self, pod: Object) -> None:
        old = self._pods.remove(pod)
        if old is not None:
            self._views.pop(str(old["metadata"].get("uid")), None)

    def matching(self, namespace: str, selector: LabelSelector) -> list[Object]:
        return self._pods.matching(namespace, selector)

    def view(self, pod: Object) -> PodView:
        uid, version = str(pod["metadata"].get("uid")), str(pod["metadata"].get("resourceVersion"))
        known = self._views.get(uid)
        if known is not None and known[0] == version:
            return known[1]
        view = parse_pod(pod)
        self._views[uid] = (version, view)
        return view


class SelectorIndex:
    """The selectors of all HPAs, by namespace and a label each demands."""

    def __init__(self) -> None:
        self._selectors: dict[str, tuple[str, LabelSelector]] = {}
        self._by_label: dict[tuple[str, Label | None], set[str]] = {}

    def put(self, key: str, namespace: str, selector: LabelSelector) -> None:
        if self._selectors.get(key) == (namespace, selector):
            return
        self.remove(key)
        self._selectors[key] = (namespace, selector)
        self._by_label.setdefault((namespace, demanded(selector)), set()).add(key)

    def remove(self, key: str) -> None:
        known = self._selectors.pop(key, None)
        if known is not None:
            self._by_label[(known[0], demanded(known[1]))].discard(key)

    def controlling(self, namespace: str, pods: Iterable[Object]) -> set[str]:
        """Keys of the HPAs that pick at least one of the pods."""
        found: set[str] = set()
        for pod in pods:
            labels = pod["metadata"].get("labels") or {}
            for label in (None, *labels.items()):
                for key in self._by_label.get((namespace, label), ()):
                    if key not in found and self._selectors[key][1].matches(labels):
                        found.add(key)
        return found
