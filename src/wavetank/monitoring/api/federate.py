"""``/federate``: the newest sample of chosen series, in exposition format.

Mirrors web/federate.go: looks back five minutes, leaves out series that went stale, adds external labels.
"""

from __future__ import annotations

import math

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from wavetank.exposition.render import MetricFamily, Sample, render_text
from wavetank.model.labels import METRIC_NAME, Labels
from wavetank.model.series import SeriesBatch
from wavetank.model.value import is_stale_nan
from wavetank.monitoring.api.answer import ApiFailure
from wavetank.monitoring.api.params import read_params
from wavetank.monitoring.api.services import Services

__all__ = ["federate"]


async def federate(services: Services, request: Request) -> Response:
    """The answer; 400 for selectors that do not parse."""
    try:
        sets = (await read_params(request)).matcher_sets()
    except ApiFailure as error:
        return PlainTextResponse(f"{error.message}\n", 400)
    now_ms = round(services.clock.now() * 1000)
    start_ms = now_ms - services.queries.options.lookback_ms

    def collect() -> bytes:
        newest: dict[Labels, tuple[int, float]] = {}
        for matchers in sets:
            newest |= _newest(services.db.select(matchers, start_ms, now_ms))
        return _render(services, newest)

    body = await services.queries.run(collect)
    return Response(body, media_type="text/plain; version=0.0.4; charset=utf-8; escaping=allow-utf-8")


def _newest(found: SeriesBatch) -> dict[Labels, tuple[int, float]]:
    newest = {}
    for i, labels in enumerate(found.labels):
        last = int(found.offsets[i + 1]) - 1
        if last < found.offsets[i] or (found.histograms is not None and found.histograms[last] is not None):
            continue
        value = float(found.values[last])
        if not (math.isnan(value) and is_stale_nan(value)):
            newest[labels] = (int(found.timestamps_ms[last]), value)
    return newest


def _render(services: Services, newest: dict[Labels, tuple[int, float]]) -> bytes:
    lines: dict[str, list[Sample]] = {}
    for labels in sorted(newest):
        timestamp_ms, value = newest[labels]
        shown = services.labels_with_external(labels).without(METRIC_NAME).to_dict()
        lines.setdefault(labels.name, []).append(Sample(labels.name, shown, value, timestamp_ms))
    return render_text(MetricFamily(name, samples=samples) for name, samples in lines.items())
