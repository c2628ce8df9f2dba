"""Where the lag of each scaling comes from, second by second, from measured instants.

A scaling begins when the offered load changed (or at the previous decision for the same change) and ends
when the last new pod served its first request, or the last removed pod was gone. Between the two stand the
instants that the parts noted in the journal (docs/journal.md). A stage is the time between two consecutive
instants, so stages add up to the total unless an instant is missing or out of order: then the time is shown
as unexplained, never spread over its neighbours.

The order of the chain follows the metrics pipeline of Kubernetes: cAdvisor housekeeping, metrics-server
scrape, metric window, HPA sync, behavior limits, ReplicaSet, scheduler, kubelet, EndpointSlice, proxy.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

__all__ = ["NO_CHANGE_OF_LOAD", "PodLag", "Scaling", "Stage", "attribute_scalings"]

Record = Mapping[str, Any]
#: A scaling this long after one in its direction has a cause of its own: a day's load rises all morning.
CONTINUED_SECONDS_MAX = 300.0
ORDER_SLACK_SECONDS = 0.002  # two processes' clocks reads may interleave by this much without being wrong


@dataclass(frozen=True, slots=True)
class Stage:
    """One stage of a scaling: ``start`` and ``end`` in Unix seconds; ``source`` names the journal records."""

    name: str
    start: float
    end: float
    source: str
    note: str = ""
    modelled: bool = False

    @property
    def seconds(self) -> float:
        return self.end - self.start


@dataclass(frozen=True, slots=True)
class PodLag:
    """One pod's part: from the written scale to the end of its chain."""

    pod: str
    stages: tuple[Stage, ...]


@dataclass(frozen=True, slots=True)
class Scaling:
    """One change of replicas by an HPA, from its cause to its effect.

    ``began`` and ``ended`` are Unix seconds; ``total_seconds`` is their difference; the seconds of ``stages``
    and ``unexplained_seconds`` add up to it. ``complete`` is False when the run ended before the effect.
    """

    hpa: str
    target: str
    direction: Literal["up", "down"]
    replicas_from: int
    replicas_to: int
    cause: str
    began: float
    decided: float
    ended: float
    complete: bool
    stages: tuple[Stage, ...]
    pods: tuple[PodLag, ...]

    @property
    def total_seconds(self) -> float:
        return self.ended - self.began

    @property
    def unexplained_seconds(self) -> float:
        return sum(s.seconds for s in self.stages if s.name == UNEXPLAINED)


NO_CHANGE_OF_LOAD = "no change of the offered load: usage moved by itself"
UNEXPLAINED = "unexplained"


@dataclass(frozen=True, slots=True)
class _Instant:
    """A point of the chain: when ``stage`` ended; None where nothing noted it."""

    stage: str
    at: float | None
    source: str
    note: str = ""
    modelled: bool = False
    optional: bool = False  # an instant that need not exist: its absence is not a gap


def attribute_scalings(records: Sequence[Record]) -> list[Scaling]:
    """All scalings of all HPAs in a run. ``records`` are the merged journals, in order of time."""
    log = _Log(records)
    scalings: list[Scaling] = []
    for syncs in log.syncs.values():
        previous: Record | None = None
        for sync in syncs:
            if sync["rescaled"] and sync["desired"] != sync["current"]:
                scalings.append(_attribute(log, sync, previous, syncs))
                previous = sync
    scalings.sort(key=lambda s: s.decided)
    return scalings


def _time(record: Record) -> float:
    return float(record["at"])


class _Log:
    """The journal, indexed by what the attribution asks for."""

    def __init__(self, records: Sequence[Record]) -> None:
        self.end = float(records[-1]["at"]) if records else 0.0
        self.syncs: dict[str, list[Record]] = {}
        self.by_kind: dict[str, list[Record]] = {}
        for record in records:
            self.by_kind.setdefault(record["kind"], []).append(record)
            if record["kind"] == "hpa.sync":
                self.syncs.setdefault(record["hpa"], []).append(record)

    def of(self, kind: str, after: float = 0.0, before: float = float("inf")) -> Sequence[Record]:
        records = self.by_kind.get(kind, [])
        return records[bisect_left(records, after, key=_time) : bisect_right(records, before, key=_time)]

    def first(self, kind: str, after: float, before: float = float("inf"), **equal: Any) -> Record | None:
        for record in self.of(kind, after, before):
            if all(record.get(key) == value for key, value in equal.items()):
                return record
        return None


def _attribute(log: _Log, sync: Record, previous: Record | None, syncs: Sequence[Record]) -> Scaling:
    up = sync["desired"] > sync["current"]
    began, cause = _cause(log, sync, previous, up)
    target = _qualified_target(sync)
    head = _decision_instants(log, sync, syncs, began, up)
    written = log.first("scale", sync["at"] - 0.5, target=target, to=sync["desired"])
    head.append(_Instant("scale written", written["at"] if written else None, "scale"))
    next_sync = next((s["at"] for s in syncs if s["at"] > sync["at"] and s["rescaled"]), log.end)
    chains = (_created_pods if up else _removed_pods)(log, sync, target, next_sync)
    lags = [PodLag(pod, _stages(sync["at"], [head[-1], *chain])) for pod, chain, _ in chains]
    slowest = max(chains, key=_chain_end, default=None)
    instants = head + (slowest[1] if slowest else [])
    stages = _stages(began, instants)
    return Scaling(
        hpa=sync["hpa"],
        target=target,
        direction="up" if up else "down",
        replicas_from=sync["current"],
        replicas_to=sync["desired"],
        cause=cause,
        began=began,
        decided=sync["at"],
        ended=stages[-1].end if stages else sync["at"],
        complete=bool(chains) and all(complete for _, _, complete in chains),
        stages=stages,
        pods=tuple(lags),
    )


def _cause(log: _Log, sync: Record, previous: Record | None, up: bool) -> tuple[float, str]:
    """When and why the demand moved: the latest change of load in that direction before the decision."""
    stages = list(log.of("load.stage", before=sync["at"]))
    rose: float | None = None
    text = ""
    last: Record | None = None
    for stage in stages:
        level, before = _level(stage), _level(last) if last is not None else 0.0
        if (level > before) if up else (level < before):
            rose, text = float(stage["at"]), f"load {'rose' if up else 'fell'} to {_level_text(stage)}"
        last = stage
    if not up:
        stopped = log.first("load.stop", rose or 0.0, sync["at"])
        if stopped is not None:
            rose, text = float(stopped["at"]), "load stopped"
    same_way = previous is not None and (previous["desired"] > previous["current"]) == up
    if same_way and previous is not None and (rose is None or previous["at"] > rose):
        if sync["at"] - previous["at"] <= CONTINUED_SECONDS_MAX:
            return float(previous["at"]), f"{text or 'load unchanged'}; continued from the scaling before"
        rose = None
    if rose is None:
        return _first_seen(log, sync, up), NO_CHANGE_OF_LOAD
    return rose, text


def _first_seen(log: _Log, sync: Record, up: bool) -> float:
    """Without a change of load, the chain begins at the scrape that supplied the decision."""
    scrape = _supplying_scrape(log, sync)
    return float(scrape["at"]) if scrape is not None else float(sync["at"])


def _level(stage: Record | None) -> float:
    if stage is None:
        return 0.0
    return float(stage.get("rps") or stage.get("users") or 0.0)


def _level_text(stage: Record) -> str:
    if stage.get("rps") is not None:
        return f"{stage['rps']:g} requests/s"
    return f"{stage.get('users', 0):g} users"


def _decision_instants(
    log: _Log, sync: Record, syncs: Sequence[Record], began: float, up: bool
) -> list[_Instant]:
    """From the change of load to the sync that decided."""
    pods = set(sync.get("timestamps") or {})
    sample = _first_sample(log, pods, began, sync["at"])
    scrape = _showing_scrape(log, pods, sample, sync["at"])
    wanting = _first_wanting(syncs, sync, began, up)
    held = wanting is not None and wanting["at"] < sync["at"]
    deciding = wanting if held and wanting is not None else sync
    supplied = _supplying_scrape(log, deciding)
    instants = [
        _Instant("usage sampled", sample, "kubelet.sample", "cAdvisor housekeeping", optional=not pods),
        _Instant(
            "first scrape", scrape, "metrics_server.scrape", "metrics-server resolution", optional=not pods
        ),
    ]
    full = float(supplied["at"]) if supplied is not None else None
    if full is not None and (scrape is None or full > scrape) and full <= deciding["at"]:
        note = "the window still averaged over the time before"
        instants.append(_Instant("metric window", full, "metrics_server.scrape", note, optional=True))
    instants.append(_Instant("HPA sync", deciding["at"], "hpa.sync", "waited for the next sync"))
    if held:
        reason = (wanting or {}).get("limited") or "behavior"
        instants.append(_Instant("rate limit or stabilisation", sync["at"], "hpa.sync", str(reason)))
    return instants


def _first_sample(log: _Log, pods: set[str], began: float, before: float) -> float | None:
    for record in log.of("kubelet.sample", began, before):
        if not pods or pods & set(record["pods"]):
            return float(record["at"])
    return None


def _showing_scrape(log: _Log, pods: set[str], sample: float | None, before: float) -> float | None:
    """The first metrics-server scrape that can show a sample taken after the change."""
    if sample is None:
        return None
    for record in log.of("metrics_server.scrape", sample, before):
        if any(p in record["pods"] and record["pods"][p][1] >= sample - 1.0 for p in pods):
            return float(record["at"])
    return None


def _supplying_scrape(log: _Log, sync: Record) -> Record | None:
    """The scrape that first served the newest sample the deciding sync used."""
    timestamps: Mapping[str, float] = sync.get("timestamps") or {}
    if not timestamps:
        return None
    pod, newest = max(timestamps.items(), key=lambda item: item[1])
    # No scrape can show a sample that was taken after it, but for the rounding of times.
    for record in log.of("metrics_server.scrape", newest - 1.0, sync["at"]):
        served = record["pods"].get(pod)
        if served is not None and served[1] >= newest - 0.001:
            return record
    return None


def _first_wanting(syncs: Sequence[Record], sync: Record, began: float, up: bool) -> Record | None:
    """The first sync after the change that wanted to move, in an unbroken run up to the deciding one."""
    first: Record | None = None
    for candidate in syncs:
        if not began <= candidate["at"] <= sync["at"]:
            continue
        proposed = candidate.get("proposed")
        wants = proposed is not None and (
            proposed > candidate["current"] if up else proposed < candidate["current"]
        )
        first = (first or candidate) if wants else None
    return first


_Chain = tuple[str, list[_Instant], bool]


def _created_pods(log: _Log, sync: Record, target: str, before: float) -> list[_Chain]:
    chains: list[_Chain] = []
    for created in log.of("pod.created", sync["at"] - 0.05, max(before, sync["at"] + 1.0)):
        if _owned_by(created, target):
            chains.append(_created_chain(log, created))
        if len(chains) >= sync["desired"] - sync["current"]:
            break
    return chains


def _created_chain(log: _Log, created: Record) -> _Chain:
    uid, at, pod = created["uid"], created["at"], created["pod"]
    scheduled = log.first("pod.scheduled", at, uid=uid)
    image = log.first("pod.image", at, uid=uid)
    started = _last_start(log, uid, at)
    ready = log.first("pod.ready", at, uid=uid)
    programmed = log.first("endpoint.programmed", at, pod=pod, action="added")
    served = log.first("endpoint.first_request", at, pod=pod)
    stuck = log.first("pod.unschedulable", at, uid=uid)
    pulled = f"{image['image']}{', cached' if image.get('cached') else ''}" if image else ""
    instants = [
        _Instant("pod created", at, "pod.created"),
        _Instant("scheduled", _at(scheduled), "pod.scheduled", stuck["message"] if stuck else ""),
        _Instant("image pulled", _at(image), "pod.image", pulled, bool(image and image["modelled"]), True),
        _Instant("process started", _at(started), "container.started"),
        _Instant("ready", _at(ready), "pod.ready", "start-up until the first successful readiness probe"),
        _Instant(
            "endpoint programmed",
            _at(programmed),
            "endpoint.programmed",
            "acknowledged by Envoy",
            optional=True,
        ),
        _Instant("first request", _at(served), "endpoint.first_request", optional=True),
    ]
    return pod, instants, ready is not None


def _last_start(log: _Log, uid: str, at: float) -> Record | None:
    """The start of the pod's last container to start for the first time."""
    starts = [r for r in log.of("container.started", at) if r["uid"] == uid and not r.get("restart")]
    return starts[-1] if starts else None


def _removed_pods(log: _Log, sync: Record, target: str, before: float) -> list[_Chain]:
    owners = {r["uid"] for r in log.of("pod.created") if _owned_by(r, target)}
    chains: list[_Chain] = []
    for ending in log.of("pod.terminating", sync["at"] - 0.05, max(before, sync["at"] + 1.0)):
        if ending["uid"] in owners and len(chains) < sync["current"] - sync["desired"]:
            removed = log.first(
                "endpoint.programmed", ending["at"] - 0.05, pod=ending["pod"], action="removed"
            )
            gone = log.first("pod.gone", ending["at"], uid=ending["uid"])
            instants = [
                _Instant("pod terminating", ending["at"], "pod.terminating"),
                _Instant(
                    "endpoint removed",
                    _at(removed),
                    "endpoint.programmed",
                    "acknowledged by Envoy",
                    optional=True,
                ),
                _Instant("pod gone", _at(gone), "pod.gone", "SIGTERM until the process ended"),
            ]
            chains.append((ending["pod"], instants, gone is not None))
    return chains


def _owned_by(created: Record, target: str) -> bool:
    kind, namespace, name = target.split("/", 2)
    if not str(created["pod"]).startswith(f"{namespace}/"):
        return False
    owner_kind, _, owner = str(created.get("owner", "")).partition("/")
    if owner_kind == "ReplicaSet" and kind == "Deployment":
        return owner.rpartition("-")[0] == name
    return (owner_kind, owner) == (kind, name)


def _qualified_target(sync: Record) -> str:
    """``Kind/namespace/name`` of an HPA's target, from its own namespace and ``Kind/name``."""
    namespace = str(sync["hpa"]).partition("/")[0]
    kind, _, name = str(sync["target"]).partition("/")
    return f"{kind}/{namespace}/{name}"


def _at(record: Record | None) -> float | None:
    return float(record["at"]) if record is not None else None


def _chain_end(chain: _Chain) -> float:
    return max((i.at for i in chain[1] if i.at is not None), default=0.0)


def _stages(began: float, instants: Sequence[_Instant]) -> tuple[Stage, ...]:
    """Consecutive instants to stages. Where an instant that must exist is missing, the time up to the next
    known one is unexplained; an instant before its predecessor ends a stage of no length."""
    stages: list[Stage] = []
    cursor = began
    gap: list[str] = []
    for instant in instants:
        if instant.at is None:
            if not instant.optional:
                gap.append(instant.stage)
            continue
        end = max(cursor, instant.at)
        if gap:
            note = f"no record of: {', '.join(gap)}"
            stages.append(Stage(UNEXPLAINED, cursor, end, "", note))
            gap = []
        elif instant.at < cursor - ORDER_SLACK_SECONDS:
            note = f"noted {cursor - instant.at:.3f} s before the stage that should precede it"
            stages.append(Stage(instant.stage, cursor, cursor, instant.source, note, instant.modelled))
        else:
            stages.append(Stage(instant.stage, cursor, end, instant.source, instant.note, instant.modelled))
        cursor = end
    return tuple(stages)
