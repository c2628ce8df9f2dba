"""``/status/*`` and ``/features``: how the server is set up and how it stands."""

from __future__ import annotations

import asyncio
import os
import platform
import socket
import threading
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
from wavetank.monitoring.api.params import parse_integer, read_params
from wavetank.monitoring.api.self_metrics import self_metrics
from wavetank.monitoring.api.services import Services
from wavetank.monitoring.config.show import show_config
from wavetank.monitoring.rfc3339 import format_time
from wavetank.tsdb.head_stats import HeadStats

__all__ = ["VERSION", "routes"]

#: The Prometheus whose behaviour this is; clients choose features by it.
VERSION: Final = "3.14.0"
_TOP_MAX: Final = 10_000
_NO_MIN, _NO_MAX = (1 << 63) - 1, -(1 << 63)  # times of a head without samples


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
                "goroutineCount": len(asyncio.all_tasks()) + threading.active_count(),
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
        try:
            limit = parse_integer(params.text("limit") or "10")
        except ValueError:
            limit = 0
        if limit < 1:
            raise bad_data("limit must be a positive number")
        if limit > _TOP_MAX:
            raise bad_data(f"limit must not exceed {_TOP_MAX}")
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
            "minTime": _NO_MIN if stats.mint_ms is None else stats.mint_ms,
            "maxTime": _NO_MAX if stats.maxt_ms is None else stats.maxt_ms,
        },
        "seriesCountByMetricName": shown(stats.series_by_metric),
        "labelValueCountByLabelName": shown(stats.values_by_label),
        "memoryInBytesByLabelName": shown(stats.bytes_by_label),
        "seriesCountByLabelValuePair": shown(stats.series_by_pair),
    }
