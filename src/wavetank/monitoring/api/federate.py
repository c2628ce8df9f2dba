"""``/federate``: the newest sample of chosen series, in the format the client asks for.

Mirrors web/federate.go: looks back five minutes, leaves out series that went stale, adds external labels, and
an empty ``instance`` where there is none, so that whoever scrapes this does not put in its own. Native
histograms are served in protobuf; those with custom buckets as classic histograms in text too.
"""

from __future__ import annotations

import math
from itertools import groupby
from operator import itemgetter

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from wavetank.model.histogram import CounterResetHint, FloatHistogram
from wavetank.model.labels import METRIC_NAME, Labels
from wavetank.model.series import SeriesBatch
from wavetank.model.value import is_stale_nan
from wavetank.monitoring.api.answer import ApiFailure
from wavetank.monitoring.api.federate_format import Family, Format, Labelled, negotiate, render
from wavetank.monitoring.api.params import read_params
from wavetank.monitoring.api.services import Services

__all__ = ["federate"]

_INSTANCE = "instance"
Newest = dict[Labels, tuple[int, float | FloatHistogram]]


async def federate(services: Services, request: Request) -> Response:
    """The answer; 400 for selectors that do not parse."""
    try:
        sets = (await read_params(request)).matcher_sets(may_match_all=True)
    except ApiFailure as error:
        return PlainTextResponse(f"{error.message}\n", 400)
    form = negotiate(",".join(request.headers.getlist("accept")))
    now_ms = round(services.clock.now() * 1000)
    start_ms = now_ms - services.queries.options.lookback_ms
    external = {_INSTANCE: "", **services.state.config.globals.external_labels}

    def collect() -> bytes:
        newest: Newest = {}
        for matchers in sets:
            newest |= _newest(services.db.select(matchers, start_ms, now_ms))
        return render(_families(newest, external, form), form)

    body = await services.queries.run(collect)
    return Response(body, headers={"Content-Type": form.content_type})


def _newest(found: SeriesBatch) -> Newest:
    newest: Newest = {}
    for i, labels in enumerate(found.labels):
        last = int(found.offsets[i + 1]) - 1
        if last < found.offsets[i]:
            continue
        value: float | FloatHistogram = float(found.values[last])
        if found.histograms is not None and (histogram := found.histograms[last]) is not None:
            value = histogram
        if not _is_stale(value):
            newest[labels] = (int(found.timestamps_ms[last]), value)
    return newest


def _is_stale(value: float | FloatHistogram) -> bool:
    if isinstance(value, FloatHistogram):
        return value.is_stale
    return math.isnan(value) and is_stale_nan(value)


def _families(newest: Newest, external: dict[str, str], form: Format) -> list[Family]:
    """Samples of one name and one kind in a row make a family; a name may have several."""
    entries = []
    for labels in sorted(newest):
        at_ms, value = newest[labels]
        kind = "float"
        if isinstance(value, FloatHistogram):
            kind = "gauge" if value.counter_reset_hint is CounterResetHint.GAUGE else "counter"
            if not (form.protobuf or value.has_custom_buckets):
                continue
        if labels.name:
            entries.append((labels.name, kind, Labelled(_labels(labels, external), at_ms, value)))
    entries.sort(key=itemgetter(0))
    return [
        Family(name, [entry[2] for entry in found])
        for (name, _), found in groupby(entries, key=itemgetter(0, 1))
    ]


def _labels(labels: Labels, external: dict[str, str]) -> list[tuple[str, str]]:
    own = [(name, value) for name, value in labels.pairs if name != METRIC_NAME]
    known = {name for name, _ in own}
    return own + [(name, external[name]) for name in sorted(external) if name not in known]
