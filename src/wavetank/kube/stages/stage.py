"""One stage: whether it is for an object, how long it waits, and the object it leaves.

Pure functions of objects; chance comes in as a number. Left out: ``statusPatchAs``, ``patches``,
``expressionFrom`` for weights, impersonation.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

from wavetank.errors import InputError
from wavetank.kube.client import Object
from wavetank.kube.objects import copy
from wavetank.kube.patches.strategic import strategic_merge
from wavetank.kube.schema.builtin import node_of
from wavetank.kube.stages.query import values_at
from wavetank.kube.times import format_time, parse_time
from wavetank.yamlfile import parse_documents

if TYPE_CHECKING:
    from wavetank.gotemplate import Template

_Functions = Mapping[str, Callable[..., Any]]

__all__ = ["choose", "delay_seconds", "is_for", "with_finalizers", "with_status"]


def is_for(stage: Object, obj: Object) -> bool:
    """Whether the stage's resource and selector fit. Raises InputError for queries that cannot be read."""
    spec = stage.get("spec") or {}
    if (spec.get("resourceRef") or {}).get("kind") != obj.get("kind", "Pod"):
        return False
    selector = spec.get("selector") or {}
    metadata = obj["metadata"]
    return (
        _has(metadata.get("labels"), selector.get("matchLabels"))
        and _has(metadata.get("annotations"), selector.get("matchAnnotations"))
        and all(_matches(term, obj) for term in selector.get("matchExpressions") or ())
    )


def _has(given: Mapping[str, str] | None, wanted: Mapping[str, str] | None) -> bool:
    return all((given or {}).get(name) == value for name, value in (wanted or {}).items())


def _matches(term: Mapping[str, Any], obj: Object) -> bool:
    found = values_at(obj, str(term.get("key", "")))
    wanted = [str(v) for v in term.get("values") or ()]
    match term.get("operator"):
        case "Exists":
            return bool(found)
        case "DoesNotExist":
            return not found
        case "In":
            return any(_text(value) in wanted for value in found)
        case "NotIn":
            return not any(_text(value) in wanted for value in found)
    raise InputError(
        f"operator {term.get('operator')!r} of a stage", fix="use In, NotIn, Exists or DoesNotExist"
    )


def _text(value: Any) -> str:
    return ("true" if value else "false") if isinstance(value, bool) else str(value)


def choose(stages: Sequence[Object], draw: float) -> Object:
    """One of the stages that fit, by weight; all alike where none has one. ``draw`` is in [0, 1)."""
    weights = [max(0, int((s.get("spec") or {}).get("weight") or 0)) for s in stages]
    if not any(weights):
        return stages[int(draw * len(stages))]
    place = draw * sum(weights)
    for stage, weight in zip(stages, weights, strict=True):
        if place < weight:
            return stage
        place -= weight
    return stages[-1]


def delay_seconds(stage: Object, obj: Object, now: float, draw: float) -> float:
    """How long the stage waits: ``durationMilliseconds``, or anything from it to
    ``jitterDurationMilliseconds``. Either may come from a field of the object: a duration (``5s``), or a
    time to wait for."""
    delay = (stage.get("spec") or {}).get("delay") or {}
    least = _duration(delay, "duration", obj, now)
    most = _duration(delay, "jitterDuration", obj, now)
    if most is None:
        return max(0.0, least or 0.0)
    if least is None or most <= least:
        return max(0.0, most)
    return max(0.0, least + draw * (most - least))


def _duration(delay: Mapping[str, Any], name: str, obj: Object, now: float) -> float | None:
    expression = (delay.get(f"{name}From") or {}).get("expressionFrom")
    for value in values_at(obj, str(expression)) if expression else ():
        moment = parse_time(str(value))
        if moment is not None:
            return moment - now
        seconds = _go_duration(str(value))
        if seconds is not None:
            return seconds
    given = delay.get(f"{name}Milliseconds")
    return None if given is None else float(given) / 1000


_UNITS: Final = (("ms", 0.001), ("s", 1.0), ("m", 60.0), ("h", 3600.0))


def _go_duration(text: str) -> float | None:
    for unit, size in _UNITS:
        if text.endswith(unit):
            try:
                return float(text.removesuffix(unit)) * size
            except ValueError:
                return None
    return None


def with_status(
    stage: Object, obj: Object, now: float, functions: Mapping[str, Callable[..., Any]]
) -> Object:
    """The object with the status that the stage's template makes. Raises InputError with the stage's name."""
    text = ((stage.get("spec") or {}).get("next") or {}).get("statusTemplate") or ""
    if not text:
        return obj
    from wavetank.gotemplate import TemplateError

    name = stage["metadata"]["name"]
    known: _Functions = {"Now": lambda: format_time(now), "Quote": _quote, **functions}
    try:
        rendered = _template(text, frozenset(known)).render(obj, {}, known)
    except TemplateError as error:
        raise InputError(f"stage {name}: statusTemplate: {error}") from None
    documents = parse_documents(rendered, path=f"statusTemplate of stage {name}")
    patch = documents[0].value if documents else {}
    if not isinstance(patch, dict):
        raise InputError(f"stage {name}: statusTemplate does not make a map of fields")
    node = node_of("core.v1.PodStatus")
    return {**obj, "status": strategic_merge(node, copy(obj.get("status") or {}), patch)}


@lru_cache(maxsize=256)
def _template(text: str, functions: frozenset[str]) -> Template:
    from wavetank.gotemplate import Template

    return Template(text, variables=(), functions=functions)


def _quote(value: Any) -> str:
    text = "" if value is None else _text(value)
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'


def with_finalizers(stage: Object, obj: Object) -> Object:
    change = ((stage.get("spec") or {}).get("next") or {}).get("finalizers") or {}
    old = list(obj["metadata"].get("finalizers") or ())
    removed = {item.get("value") for item in change.get("remove") or ()}
    new = [] if change.get("empty") else [name for name in old if name not in removed]
    new += [v for item in change.get("add") or () if (v := item.get("value")) and v not in new]
    return obj if new == old else {**obj, "metadata": {**obj["metadata"], "finalizers": new}}
