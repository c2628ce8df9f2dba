"""``Node``: the type of a value in an object, whether it came from the built-in table or from a CRD."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property

__all__ = ["ANY", "Node"]


@dataclass(frozen=True, eq=False)
class Node:
    """``kind`` is "object" (fixed fields), "map" (any keys), "list", "any", or a scalar: string, bool,
    int32, int64, double, bytes, time, microtime, quantity, intstr.

    ``members`` gives the fields of an object; it is a function since types may contain themselves.
    ``list_type`` is atomic, set or map (by ``list_keys``), as server-side apply merges; ``patch_strategy``
    and ``merge_key`` are strategic merge's. ``atomic`` objects and maps have one owner as a whole.
    """

    kind: str
    members: Callable[[], Mapping[str, Node]] = dict
    item: Node | None = None
    required: frozenset[str] = frozenset()
    atomic: bool = False
    list_type: str = "atomic"
    list_keys: tuple[str, ...] = ()
    patch_strategy: tuple[str, ...] = ()
    merge_key: str = ""
    keep_unknown: bool = False
    embedded: bool = False
    nullable: bool = False
    name: str = ""
    schema: Mapping[str, object] = field(default_factory=dict)

    @cached_property
    def fields(self) -> Mapping[str, Node]:
        return self.members()

    def field(self, name: str) -> Node:
        """The type of a member; ``ANY`` where it is not known."""
        if self.kind == "object":
            return self.fields.get(name, ANY)
        return self.item or ANY

    @property
    def element(self) -> Node:
        return self.item or ANY


ANY = Node("any")
