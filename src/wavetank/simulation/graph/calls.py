"""``calls`` of ``model.yaml``: the requests that a pod makes of other services while it answers one.

A list is worked off in order; an entry with ``parallel`` sends its own entries at the same time and waits for
all of them. ``count`` repeats an entry, ``probability`` skips it, ``optional`` survives its failure; any
other failure is answered with 500 once the step is over. Calls follow the request's own work, and the worker
waits for them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

from msgspec import Meta, Struct

from wavetank.errors import Location
from wavetank.limits import SIMULATION_CALLS_MAX
from wavetank.yamlfile import Document

__all__ = ["Call", "CallFile", "FailuresFile", "Step", "steps_of"]


class FailuresFile(Struct, forbid_unknown_fields=True, rename="camel"):
    """``ratio`` of the requests are answered with ``status`` after their own work, calling nobody."""

    ratio: Annotated[float, Meta(ge=0, le=1)] = 0.0
    status: int = 500


class CallFile(Struct, forbid_unknown_fields=True, rename="camel"):
    """Either ``service`` (a Service, as a VirtualService's destination names it) or ``parallel``."""

    service: str | None = None
    parallel: list[CallFile] | None = None
    port: int | None = None
    method: str = "GET"
    path: str | None = None
    count: int = 1
    probability: Annotated[float, Meta(ge=0, le=1)] = 1.0
    optional: bool = False


@dataclass(frozen=True, slots=True)
class Call:
    """One request to another service. ``at`` is where the file asks for it."""

    service: str
    port: int | None = None
    method: str = "GET"
    path: str | None = None
    probability: float = 1.0
    optional: bool = False
    at: Location | None = None


#: Calls that are under way at the same time.
Step = tuple[Call, ...]


def steps_of(document: Document, given: Sequence[CallFile], path: tuple[str | int, ...]) -> tuple[Step, ...]:
    """The calls of one request, step by step. Raises InputError with the line."""
    steps: list[Step] = []
    for index, entry in enumerate(given):
        here = (*path, index)
        if entry.parallel is None:
            steps += [(call,) for call in _repeated(document, entry, here)]
            continue
        if entry.service is not None or entry != CallFile(parallel=entry.parallel):
            fix = "write them on the entries below parallel"
            raise document.error("parallel stands alone: no service, count or probability", *here, fix=fix)
        together = [
            call
            for number, inner in enumerate(entry.parallel)
            for call in _repeated(document, inner, (*here, "parallel", number))
        ]
        if together:
            steps.append(tuple(together))
    made = sum(len(step) for step in steps)
    if made > SIMULATION_CALLS_MAX:
        fix = "model some of them as serviceTime"
        raise document.error(f"{made} calls of one request, above {SIMULATION_CALLS_MAX}", *path, fix=fix)
    return tuple(steps)


def _repeated(document: Document, entry: CallFile, here: tuple[str | int, ...]) -> list[Call]:
    if entry.parallel is not None:
        raise document.error("parallel inside parallel", *here, fix="list all entries in one parallel")
    if not entry.service:
        raise document.error("a call names no service", *here, fix="write {service: cart}")
    if not 1 <= entry.count <= SIMULATION_CALLS_MAX:
        fix = f"between 1 and {SIMULATION_CALLS_MAX}"
        raise document.error(f"count: {entry.count} is not possible", *here, "count", fix=fix)
    if entry.path is not None and not entry.path.startswith("/"):
        raise document.error(f"path: {entry.path!r} does not begin with /", *here, "path")
    call = Call(
        entry.service, entry.port, entry.method.upper(), entry.path, entry.probability, entry.optional,
        document.at(*here),
    )  # fmt: skip
    return [call] * entry.count
