"""Objects by namespace and label: what a selector picks, without looking at all of them."""

from __future__ import annotations

from collections.abc import Mapping

from wavetank.kube.client import Object
from wavetank.kube.selectors import LabelSelector

__all__ = ["Label", "LabelIndex", "demanded"]

Label = tuple[str, str]


def demanded(selector: LabelSelector) -> Label | None:
    """A label that every match has; None where the selector demands no single value."""
    for requirement in selector.requirements:
        if requirement.operator == "In" and len(requirement.values) == 1:
            return requirement.key, requirement.values[0]
    return None


class LabelIndex:
    """Keeps objects that are put and removed one by one, as an informer's handler does."""

    def __init__(self) -> None:
        self._all: dict[str, dict[str, Object]] = {}
        self._by_label: dict[str, dict[Label, dict[str, Object]]] = {}

    def put(self, obj: Object) -> None:
        self.remove(obj)
        namespace, name = _place(obj)
        self._all.setdefault(namespace, {})[name] = obj
        labels = self._by_label.setdefault(namespace, {})
        for label in (obj["metadata"].get("labels") or {}).items():
            labels.setdefault(label, {})[name] = obj

    def remove(self, obj: Object) -> Object | None:
        """Forget the object of that name; answers what was kept."""
        namespace, name = _place(obj)
        old = self._all.get(namespace, {}).pop(name, None)
        if old is None:
            return None
        labels = self._by_label[namespace]
        for label in (old["metadata"].get("labels") or {}).items():
            labels[label].pop(name, None)
            if not labels[label]:
                del labels[label]
        return old

    def matching(self, namespace: str | None, selector: LabelSelector) -> list[Object]:
        """In the order in which they were put; ``namespace`` None means all."""
        if namespace is None:
            return [obj for each in list(self._all) for obj in self.matching(each, selector)]
        label = demanded(selector)
        if label is None:
            found: Mapping[str, Object] = self._all.get(namespace, {})
        else:
            found = self._by_label.get(namespace, {}).get(label, {})
        return [obj for obj in found.values() if selector.matches(obj["metadata"].get("labels"))]


def _place(obj: Object) -> tuple[str, str]:
    return obj["metadata"].get("namespace") or "", obj["metadata"]["name"]
