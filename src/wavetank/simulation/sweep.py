"""Many settings: which points to try, trying them on all cores, and what they say together.

Points are numbered, and a point's figures depend on its settings and seed alone, so the order in which they
come back does not matter. Every result is a line in the sweep's file as soon as it is known: an interrupted
sweep keeps what it has, and the same command goes on from there.
"""

from __future__ import annotations

import hashlib
import itertools
import math
import multiprocessing
import pickle
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import msgspec

from wavetank.errors import InputError
from wavetank.limits import SWEEP_POINTS_MAX
from wavetank.simulation.sweep_model import Figures, Settings, SweepModel, evaluate

__all__ = [
    "Knob",
    "Robustness",
    "Tried",
    "count_points",
    "grid_points",
    "pareto_front",
    "parse_knob",
    "random_points",
    "recommend",
    "robustness",
    "run_bayesian",
    "run_sweep",
    "sensitivity",
]

#: Of one setting over a day, on one core of a machine like the one of the benchmark: for estimates only.
SECONDS_PER_POINT = 0.004
_CHUNK = 16


@dataclass(frozen=True, slots=True)
class Knob:
    """A field by path and the values to try; ``low`` and ``high`` where it is a range."""

    path: str
    values: tuple[Any, ...]
    low: float = 0.0
    high: float = 0.0

    @property
    def is_range(self) -> bool:
        return not self.values

    def draw(self, rng: random.Random) -> Any:
        if self.values:
            return rng.choice(self.values)
        if float(self.low).is_integer() and float(self.high).is_integer():
            return rng.randint(int(self.low), int(self.high))
        return rng.uniform(self.low, self.high)


@dataclass(frozen=True, slots=True)
class Tried:
    """One point and what came of it; ``error`` where the setting is impossible."""

    index: int
    settings: Mapping[str, Any]
    figures: Figures | None
    error: str = ""


def parse_knob(text: str) -> Knob:
    """``path=40,60,80`` or ``path=40..80``. Raises InputError."""
    path, equals, values = text.partition("=")
    if not equals or not values:
        raise InputError(f"{text!r} is not a knob", fix="write path=40,60,80 or path=40..80")
    low, dots, high = values.partition("..")
    if dots:
        try:
            bounds = float(low), float(high)
        except ValueError:
            raise InputError(f"{values!r} is not a range", fix="write 40..80") from None
        if bounds[0] >= bounds[1]:
            raise InputError(f"the range {values} is empty", fix="write the lower bound first")
        return Knob(path, (), *bounds)
    return Knob(path, tuple(_scalar(value.strip()) for value in values.split(",")))


def _scalar(text: str) -> Any:
    """A number where it is one, else the text."""
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return None if text in ("null", "~") else text


# --- which points


def count_points(knobs: Sequence[Knob]) -> int:
    ranges = [knob.path for knob in knobs if knob.is_range]
    if ranges:
        raise InputError(f"a grid needs values, {ranges[0]} is a range", fix="list values, or use --random N")
    return math.prod(len(knob.values) for knob in knobs)


def refuse_too_many(count: int, cores: int) -> None:
    """Raises InputError with the estimate."""
    if count > SWEEP_POINTS_MAX:
        hours = count * SECONDS_PER_POINT / max(1, cores) / 3600
        estimate = f"about {hours:,.0f} hours on {cores} cores"
        raise InputError(
            f"{count:,} settings are more than {SWEEP_POINTS_MAX:,}: {estimate}",
            fix="fewer values, or --random N or --bayes N",
        )


def grid_points(knobs: Sequence[Knob]) -> Iterator[dict[str, Any]]:
    for values in itertools.product(*(knob.values for knob in knobs)):
        yield {knob.path: value for knob, value in zip(knobs, values, strict=True)}


def random_points(knobs: Sequence[Knob], count: int, seed: int) -> Iterator[dict[str, Any]]:
    rng = random.Random(f"{seed}/sweep")
    for _ in range(count):
        yield {knob.path: knob.draw(rng) for knob in knobs}


# --- trying them

_model: SweepModel | None = None


def _set_model(data: bytes) -> None:
    global _model
    _model = pickle.loads(data)


def _try_chunk(chunk: Sequence[tuple[int, Settings]], seed: int) -> list[Tried]:
    assert _model is not None
    return [try_point(_model, index, settings, seed) for index, settings in chunk]


def try_point(model: SweepModel, index: int, settings: Settings, seed: int) -> Tried:
    try:
        return Tried(index, dict(settings), evaluate(model, settings, seed))
    except InputError as error:
        return Tried(index, dict(settings), None, str(error))


def run_sweep(
    model: SweepModel,
    points: Sequence[Settings],
    seed: int,
    *,
    cores: int,
    kept: SweepFile | None = None,
    progress: Callable[[int], None] = lambda done: None,
) -> tuple[list[Tried], bool]:
    """(what was tried in order of the points, whether all were). Ctrl-C ends it early and keeps the rest."""
    done: dict[int, Tried] = {t.index: t for t in (kept.read() if kept is not None else ())}
    left = [(i, p) for i, p in enumerate(points) if i not in done]
    progress(len(done))
    whole = True
    try:
        for batch in _batches(model, left, seed, cores):
            done.update((t.index, t) for t in batch)
            if kept is not None:
                kept.add(batch)
            progress(len(done))
    except KeyboardInterrupt:
        whole = False
    return [done[i] for i in sorted(done)], whole


def _batches(
    model: SweepModel, left: Sequence[tuple[int, Settings]], seed: int, cores: int
) -> Iterator[list[Tried]]:
    if not left:
        return
    chunks = [left[i : i + _CHUNK] for i in range(0, len(left), _CHUNK)]
    # The first one here: it compiles the kernels, or finds what is wrong, before there are processes.
    yield [try_point(model, index, settings, seed) for index, settings in chunks[0]]
    if cores <= 1 or len(chunks) == 1:
        for chunk in chunks[1:]:
            yield [try_point(model, index, settings, seed) for index, settings in chunk]
        return
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(
        cores, mp_context=context, initializer=_set_model, initargs=(pickle.dumps(model),)
    )
    try:
        waiting: set[Future[list[Tried]]] = set()
        rest = iter(chunks[1:])
        while True:
            for chunk in itertools.islice(rest, 4 * cores - len(waiting)):
                waiting.add(pool.submit(_try_chunk, chunk, seed))
            if not waiting:
                return
            finished, waiting = wait(waiting, return_when=FIRST_COMPLETED)
            for future in finished:
                yield future.result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


class SweepFile:
    """The results so far, a line each, under a first line that says which sweep they belong to."""

    def __init__(self, path: Path, model: SweepModel, points: Sequence[Settings], seed: int) -> None:
        self._path = path
        text = repr((model, [sorted(p.items()) for p in points], seed)).encode() + model.rates.tobytes()
        self._key = hashlib.sha256(text).hexdigest()

    def read(self) -> list[Tried]:
        """What an earlier run of the same sweep has left; another sweep's file is begun anew."""
        try:
            first, *lines = self._path.read_bytes().splitlines()
        except (OSError, ValueError):
            first, lines = b"", []
        if first.decode("utf-8", "replace") != self._key:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._path.write_text(self._key + "\n")
            return []
        found = []
        for line in lines:
            try:
                found.append(msgspec.json.decode(line, type=Tried))
            except msgspec.DecodeError:
                continue  # the torn last line of a run that was killed
        return found

    def add(self, batch: Sequence[Tried]) -> None:
        with self._path.open("ab") as file:
            file.write(b"".join(msgspec.json.encode(asdict(t)) + b"\n" for t in batch))


def run_bayesian(
    model: SweepModel,
    knobs: Sequence[Knob],
    count: int,
    seed: int,
    progress: Callable[[int], None] = lambda done: None,
) -> tuple[list[Tried], bool]:
    """``count`` points, each chosen from what the earlier ones gave (optuna's TPE), one after another: the
    cost, with every broken SLO dearer than any cost."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=seed))
    tried: list[Tried] = []
    try:
        for index in range(count):
            trial = study.ask()
            settings = {knob.path: _suggest(trial, knob) for knob in knobs}
            tried.append(try_point(model, index, settings, seed))
            study.tell(trial, _loss(tried[-1].figures))
            progress(len(tried))
    except KeyboardInterrupt:
        return tried, False
    return tried, True


def _suggest(trial: Any, knob: Knob) -> Any:
    if knob.values:
        return trial.suggest_categorical(knob.path, knob.values)
    if float(knob.low).is_integer() and float(knob.high).is_integer():
        return trial.suggest_int(knob.path, int(knob.low), int(knob.high))
    return trial.suggest_float(knob.path, knob.low, knob.high)


def _loss(figures: Figures | None) -> float:
    if figures is None:
        return 1e12
    return figures.cost if figures.kept else 1e6 * (1 + figures.bad_ratio) + figures.cost


# --- what they say together


def pareto_front(tried: Sequence[Tried]) -> list[Tried]:
    """Points that no other beats in cost, bad requests and changes at once, by cost."""
    known = [t for t in tried if t.figures is not None]
    known.sort(key=_objectives)
    front: list[Tried] = []
    for point in known:
        mine = _objectives(point)
        if not any(_dominates(_objectives(other), mine) for other in front):
            front.append(point)
    return front


def _objectives(point: Tried) -> tuple[float, float, float]:
    assert point.figures is not None
    return point.figures.cost, point.figures.bad_ratio, point.figures.changes_per_hour


def _dominates(one: tuple[float, ...], other: tuple[float, ...]) -> bool:
    return all(a <= b for a, b in zip(one, other, strict=True))


def recommend(tried: Sequence[Tried]) -> list[Tried]:
    """Candidates from best on: those that keep the SLO by cost, then changes; without any, the least bad."""
    known = [t for t in tried if t.figures is not None]
    kept = [t for t in known if t.figures is not None and t.figures.kept]
    if kept:
        return sorted(kept, key=lambda t: (_objectives(t)[0], _objectives(t)[2], t.index))
    return sorted(known, key=lambda t: (_objectives(t)[1], _objectives(t)[0], t.index))


def sensitivity(tried: Sequence[Tried], knobs: Sequence[Knob]) -> list[tuple[str, float, float]]:
    """(path, range of the mean cost, range of the mean bad ratio) over each knob's values, largest first."""
    found = []
    for knob in knobs:
        groups: dict[Any, list[Figures]] = {}
        for point in tried:
            if point.figures is not None:
                groups.setdefault(_group(knob, point.settings[knob.path]), []).append(point.figures)
        costs = [sum(f.cost for f in g) / len(g) for g in groups.values()]
        bads = [sum(f.bad_ratio for f in g) / len(g) for g in groups.values()]
        if costs:
            found.append((knob.path, max(costs) - min(costs), max(bads) - min(bads)))
    return sorted(found, key=lambda entry: (-entry[1], entry[0]))


def _group(knob: Knob, value: Any) -> Any:
    """A range's values in four parts."""
    return min(3, int(4 * (value - knob.low) / (knob.high - knob.low))) if knob.is_range else value


@dataclass(frozen=True, slots=True)
class Robustness:
    """Of one setting: the share of seeds in which it keeps the SLO, and whether it does by load factor."""

    seeds_kept: float
    cost_spread: float
    loads: tuple[tuple[float, bool, float], ...]


def robustness(
    model: SweepModel, settings: Settings, seeds: Sequence[int], loads: Sequence[float] = (0.5, 1.0, 1.5, 2.0)
) -> Robustness:
    """Other phases and other loads."""
    figures = [evaluate(model, settings, seed) for seed in seeds]
    costs = [f.cost for f in figures]
    scaled = [(scale, evaluate(model, settings, seeds[0], scale)) for scale in loads]
    return Robustness(
        sum(f.kept for f in figures) / len(figures),
        (max(costs) - min(costs)) / max(costs) if max(costs) > 0 else 0.0,
        tuple((scale, f.kept, f.cost) for scale, f in scaled),
    )
