"""Which pods a selector picks, and which selectors pick a pod, without looking at all of them.

Both are indexed by one ``label = value`` a selector demands; selectors that demand none are looked at one
by one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from wavetank.autoscaling.hpa.model import parse_pod
from wavetank.autoscaling.hpa.replica_calculator import PodView
from wavetank.kube.client import Object
from wavetank.kube.selectors import LabelSelector

__all__ = ["PodIndex", "SelectorIndex"]

Label = tuple[str, str]


def _demanded(selector: LabelSelector) -> Label | None:
    """A label that every match has."""
    for requirement in selector.requirements:
        if requirement.operator == "In" and len(requirement.values) == 1:
            return requirement.key, requirement.values[0]
    return None


class PodIndex:
    """Pods by namespace and label; each is parsed once for each of its versions."""

    def __init__(self) -> None:
        self._by_label: dict[str, dict[Label, dict[str, Object]]] = {}
        self._all: dict[str, dict[str, Object]] = {}
        self._views: dict[str, tuple[str, PodView]] = {}

    def put(self, pod: Object) -> None:
        self.remove(pod)
        namespace, name = _place(pod)
        self._all.setdefault(namespace, {})[name] = pod
        labels = self._by_label.setdefault(namespace, {})
        for label in (pod["metadata"].get("labels") or {}).items():
            labels.setdefault(label, {})[name] = pod

    def remove(self, pod: Object) -> None:
        namespace, name = _place(pod)
        old = self._all.get(namespace, {}).pop(name, None)
        if old is None:
            return
        self._views.pop(str(old["metadata"].get("uid")), None)
        labels = self._by_label[namespace]
        for label in (old["metadata"].get("labels") or {}).items():
            labels[label].pop(name, None)
            if not labels[label]:
                del labels[label]

    def matching(self, namespace: str, selector: LabelSelector) -> list[Object]:
        """In the order in which the pods were put."""
        label = _demanded(selector)
        if label is None:
            found: Mapping[str, Object] = self._all.get(namespace, {})
        else:
            found = self._by_label.get(namespace, {}).get(label, {})
        return [pod for pod in found.values() if selector.matches(pod["metadata"].get("labels"))]

    def view(self, pod: Object) -> PodView:
        uid, version = str(pod["metadata"].get("uid")), str(pod["metadata"].get("resourceVersion"))
        known = self._views.get(uid)
        if known is not None and known[0] == version:
            return known[1]
        view = parse_pod(pod)
        self._views[uid] = (version, view)
        return view


def _place(pod: Object) -> tuple[str, str]:
    return pod["metadata"].get("namespace") or "", pod["metadata"]["name"]


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
        self._by_label.setdefault((namespace, _demanded(selector)), set()).add(key)

    def remove(self, key: str) -> None:
        known = self._selectors.pop(key, None)
        if known is not None:
            self._by_label[(known[0], _demanded(known[1]))].discard(key)

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
