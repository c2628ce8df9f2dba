"""``/status/*`` and ``/features``: how the server is set up and how it stands."""

from __future__ import annotations

import os
import platform
import socket
from collections.abc import Iterable
from pathlib import Path
from typing import Final

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from wavetank import __version__
from wavetank.monitoring.api.answer import answer, bad_data, endpoint
from wavetank.monitoring.api.features import features
from wavetank.monitoring.api.params import read_params
from wavetank.monitoring.api.self_metrics import self_metrics
from wavetank.monitoring.api.services import Services
from wavetank.monitoring.config.show import show_config
from wavetank.monitoring.rfc3339 import format_time
from wavetank.tsdb.head_stats import HeadStats

__all__ = ["VERSION", "routes"]

#: The Prometheus whose behaviour this is; clients choose features by it.
VERSION: Final = "3.14.0"
_TOP_MAX: Final = 10_000


def routes(services: Services) -> list[Route]:
    """The endpoints, below ``/api/v1``."""
    state = services.state

    async def config(request: Request) -> Response:
        return answer({"yaml": show_config(state.config)})

    async def flags(request: Request) -> Response:
        return answer(dict(services.settings.flags))

    async def runtime(request: Request) -> Response:
        return answer(
            {
                "startTime": format_time(state.started_at),
                "CWD": str(Path.cwd()),
                "hostname": socket.gethostname(),
                "serverTime": format_time(services.clock.now()),
                "reloadConfigSuccess": state.reload_ok,
                "lastConfigTime": format_time(state.reloaded_at),
                "corruptionCount": 0,
                "goroutineCount": 0,
                "GOMAXPROCS": os.cpu_count() or 1,
                "GOMEMLIMIT": 0,
                "GOGC": "",
                "GODEBUG": "",
                "storageRetention": services.settings.retention,
            }
        )

    async def build(request: Request) -> Response:
        return answer(
            {
                "version": VERSION,
                "revision": f"wavetank-{__version__}",
                "branch": "wavetank",
                "buildUser": "wavetank",
                "buildDate": "",
                "goVersion": f"python{platform.python_version()}",
            }
        )

    async def tsdb(request: Request) -> Response:
        params = await read_params(request)
        limit = params.limit(default=10)
        if not 1 <= limit <= _TOP_MAX:
            raise bad_data(f"limit must be a positive number, at most {_TOP_MAX}")
        return answer(_head(await services.queries.run(lambda: services.db.head_stats(limit))))

    async def blocks(request: Request) -> Response:
        return answer({"blocks": [msgspec.to_builtins(block.meta) for block in services.db.blocks]})

    async def walreplay(request: Request) -> Response:
        status = services.db.replay_status
        return answer(
            {
                "min": status.first_segment,
                "max": status.last_segment,
                "current": status.current_segment,
            }
        )

    async def listed(request: Request) -> Response:
        return answer(features(services))

    return [
        Route("/status/config", endpoint(config)),
        Route("/status/flags", endpoint(flags)),
        Route("/status/runtimeinfo", endpoint(runtime)),
        Route("/status/buildinfo", endpoint(build)),
        Route("/status/tsdb", endpoint(tsdb)),
        Route("/status/tsdb/blocks", endpoint(blocks)),
        Route("/status/walreplay", endpoint(walreplay)),
        Route("/status/self_metrics", endpoint(self_metrics(services))),
        Route("/features", endpoint(listed)),
    ]


def _head(stats: HeadStats) -> dict[str, object]:
    """Which names, labels and pairs have the most series."""

    def shown(top: Iterable[tuple[str, int]]) -> list[dict[str, object]]:
        return [{"name": name, "value": count} for name, count in top]

    return {
        "headStats": {
            "numSeries": stats.series,
            "numLabelPairs": stats.label_pairs,
            "chunkCount": stats.chunks,
            "minTime": stats.mint_ms or 0,
            "maxTime": stats.maxt_ms or 0,
        },
        "seriesCountByMetricName": shown(stats.series_by_metric),
        "labelValueCountByLabelName": shown(stats.values_by_label),
        "memoryInBytesByLabelName": shown(stats.bytes_by_label),
        "seriesCountByLabelValuePair": shown(stats.series_by_pair),
    }
