"""``/targets``, ``/targets/metadata``, ``/targets/relabel_steps``, ``/metadata``, ``/scrape_pools``,
``/alertmanagers``: what is scraped, and what the targets say of their metrics."""

from __future__ import annotations

from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from wavetank.monitoring.api.answer import answer, bad_data, endpoint, not_found
from wavetank.monitoring.api.params import read_params
from wavetank.monitoring.api.services import Services
from wavetank.monitoring.config.show import plain, show_scrape_config
from wavetank.monitoring.config.values import format_duration
from wavetank.monitoring.relabel import Relabeling
from wavetank.monitoring.rfc3339 import format_time
from wavetank.monitoring.scrape.loop import TargetLoop
from wavetank.promql.parser import ParseError, parse_metric_selector

__all__ = ["routes"]


def target_json(pool: str, loop: TargetLoop) -> dict[str, Any]:
    """A target as ``/targets`` shows it."""
    target, health = loop.target, loop.health
    return {
        "discoveredLabels": dict(target.discovered),
        "labels": target.labels.to_dict(),
        "scrapePool": pool,
        "scrapeUrl": target.url,
        "globalUrl": target.url,
        "lastError": health.error,
        "lastScrape": format_time(health.at),
        "lastScrapeDuration": health.seconds,
        "health": health.state,
        "scrapeInterval": format_duration(target.interval),
        "scrapeTimeout": format_duration(target.timeout),
    }


def routes(services: Services) -> list[Route]:
    """The endpoints, below ``/api/v1``."""
    pools = services.pools.pools

    async def targets(request: Request) -> Response:
        params = await read_params(request)
        state, wanted = params.text("state").lower(), params.text("scrapePool")
        chosen = {name: pool for name, pool in sorted(pools.items()) if wanted in ("", name)}
        active = [
            target_json(name, loop)
            for name, pool in chosen.items()
            for loop in sorted(pool.loops.values(), key=lambda loop: loop.target.labels.pairs)
        ]
        dropped = [
            {"discoveredLabels": dict(target.discovered), "scrapePool": name}
            for name, pool in chosen.items()
            for target in pool.targets.dropped
        ]
        return answer(
            {
                "activeTargets": active if state in ("", "any", "active") else [],
                "droppedTargets": dropped if state in ("", "any", "dropped") else [],
                "droppedTargetCounts": {name: pool.targets.dropped_count for name, pool in chosen.items()},
            }
        )

    async def target_metadata(request: Request) -> Response:
        params = await read_params(request)
        limit = params.limit(default=-1)
        metric = params.text("metric")
        try:
            text = params.text("match_target")
            matchers = parse_metric_selector(text) if text else []
        except ParseError as error:
            raise bad_data(error.message) from None
        found = []
        for pool in pools.values():
            for loop in pool.loops.values():
                labels = loop.target.labels
                if not all(m.matches(labels.get(m.name)) for m in matchers):
                    continue
                for name, entry in loop.store.metadata.items():
                    if metric in ("", name):
                        shown = {"type": entry.type, "help": entry.help, "unit": entry.unit}
                        found.append(
                            {"target": labels.to_dict(), **({} if metric else {"metric": name}), **shown}
                        )
        return answer(found if limit < 0 else found[:limit])

    async def metadata(request: Request) -> Response:
        params = await read_params(request)
        limit, per_metric = params.limit(default=-1), params.limit("limit_per_metric", -1)
        metric = params.text("metric")
        found: dict[str, dict[tuple[str, str, str], None]] = {}
        for pool in pools.values():
            for loop in pool.loops.values():
                for name, entry in loop.store.metadata.items():
                    if metric in ("", name):
                        found.setdefault(name, {})[entry.type, entry.unit, entry.help] = None
        names = sorted(found) if limit < 0 else sorted(found)[:limit]
        return answer(
            {
                name: [
                    {"type": kind, "unit": unit, "help": text}
                    for kind, unit, text in list(found[name])[: per_metric if per_metric > 0 else None]
                ]
                for name in names
            }
        )

    async def relabel_steps(request: Request) -> Response:
        params = await read_params(request)
        pool = pools.get(params.text("scrapePool"))
        if pool is None:
            raise not_found(f'scrape pool "{params.text("scrapePool")}" not found')
        try:
            labels = msgspec.json.decode(params.text("labels"), type=dict[str, str])
        except msgspec.DecodeError as error:
            raise bad_data(f'invalid parameter "labels": {error}') from None
        steps = Relabeling(pool.config.relabel_configs).steps(labels)
        return answer(
            {
                "steps": [
                    {"rule": plain(rule), "output": after or {}, "keep": after is not None}
                    for rule, after in steps
                ]
            }
        )

    async def scrape_pools(request: Request) -> Response:
        return answer({"scrapePools": sorted(pools)})

    async def pool_config(request: Request) -> Response:
        name = (await read_params(request)).text("scrapePool")
        pool = pools.get(name)
        if pool is None:
            raise not_found(f'scrape pool "{name}" not found')
        return answer({"yaml": show_scrape_config(pool.config)})

    async def alertmanagers(request: Request) -> Response:
        notifier = services.notifier

        def shown(groups: dict[str, list[Any]]) -> list[dict[str, str]]:
            return [{"url": manager.url} for found in groups.values() for manager in found]

        return answer(
            {
                "activeAlertmanagers": shown(notifier.active),
                "droppedAlertmanagers": shown(notifier.dropped),
            }
        )

    return [
        Route("/targets", endpoint(targets)),
        Route("/targets/metadata", endpoint(target_metadata)),
        Route("/targets/relabel_steps", endpoint(relabel_steps)),
        Route("/metadata", endpoint(metadata)),
        Route("/scrape_pools", endpoint(scrape_pools)),
        Route("/scrape_pools/config", endpoint(pool_config)),
        Route("/alertmanagers", endpoint(alertmanagers)),
    ]
