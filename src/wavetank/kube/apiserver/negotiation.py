"""What representation a client accepts: a Table, partial metadata, a version of aggregated discovery.

Answers are JSON always; every client lists it after what it prefers.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

__all__ = ["Accepted", "discovery_version", "negotiate"]


class Accepted(NamedTuple):
    """``shape`` is "", Table, PartialObjectMetadata or PartialObjectMetadataList; ``version`` that of
    meta.k8s.io."""

    shape: str = ""
    version: str = "v1"


def _clauses(header: str) -> list[dict[str, str]]:
    clauses = []
    for part in header.split(",")[:32]:
        media, *parameters = (p.strip() for p in part.split(";"))
        clause = {"": media.lower()}
        for parameter in parameters:
            name, _, value = parameter.partition("=")
            clause[name.strip()] = value.strip()
        clauses.append(clause)
    return clauses


@lru_cache(maxsize=256)
def negotiate(header: str) -> Accepted:
    """The first clause that we can answer in JSON."""
    for clause in _clauses(header):
        if clause[""] not in ("application/json", "*/*", "application/*"):
            continue
        shape = clause.get("as", "")
        if shape in ("Table", "PartialObjectMetadata", "PartialObjectMetadataList"):
            if clause.get("g") == "meta.k8s.io" and clause.get("v") in ("v1", "v1beta1"):
                return Accepted(shape, clause["v"])
        elif not shape:
            return Accepted()
    return Accepted()


@lru_cache(maxsize=256)
def discovery_version(header: str) -> str:
    """v2, v2beta1, or "" for the unaggregated documents."""
    for clause in _clauses(header):
        if clause[""] != "application/json":
            continue
        if clause.get("g") == "apidiscovery.k8s.io" and clause.get("v") in ("v2", "v2beta1"):
            return clause["v"]
        if "as" not in clause:
            return ""
    return ""
