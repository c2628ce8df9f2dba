"""``/targets``, ``/targets/metadata``, ``/targets/relabel_steps``, ``/metadata``, ``/scrape_pools``,
``/alertmanagers``: what is scraped, and what the targets say of their metrics."""

from __future__ import annotations

from typing import Any, Final
from urllib.parse import urlsplit

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from wavetank.model.quoting import quote
from wavetank.monitoring.api.answer import answer, bad_data, endpoint
from wavetank.monitoring.api.params import Params, read_params
from wavetank.monitoring.api.services import Services
from wavetank.monitoring.config.show import plain, show_scrape_config
from wavetank.monitoring.config.values import format_duration
from wavetank.monitoring.relabel import Relabeling
from wavetank.monitoring.rfc3339 import format_time
from wavetank.monitoring.scrape.loop import TargetLoop
from wavetank.monitoring.scrape.pool import ScrapePool
from wavetank.promql.parser import ParseError, parse_metric_selector

__all__ = ["routes"]

_LOCAL: Final = ("127.0.0.1", "localhost", "::1")


def target_json(pool: str, loop: TargetLoop, external_url: str, port: str) -> dict[str, Any]:
    """A target as ``/targets`` shows it. ``port`` is that of this server."""
    target, health = loop.target, loop.health
    return {
        "discoveredLabels": dict(sorted(target.discovered.items())),
        "labels": target.labels.to_dict(),
        "scrapePool": pool,
        "scrapeUrl": target.url,
        "globalUrl": global_url(target.url, external_url, port),
        "lastError": health.error,
        "lastScrape": format_time(health.at),
        "lastScrapeDuration": health.seconds,
        "health": health.state,
        "scrapeInterval": format_duration(target.interval),
        "scrapeTimeout": format_duration(target.timeout),
    }


def global_url(url: str, external_url: str, own_port: str) -> str:
    """How others reach a target that this server reaches by a name of its own machine: by the host of the
    external URL, and if the target is this server, by all of it but the path."""
    parts = urlsplit(url)
    if parts.hostname not in _LOCAL:
        return url
    outside = urlsplit(external_url)
    if parts.netloc.rpartition(":")[2] == own_port:
        return parts._replace(scheme=outside.scheme, netloc=outside.netloc).geturl()
    host = outside.hostname or ""
    host = f"[{host}]" if ":" in host else host
    return parts._replace(netloc=host if parts.port is None else f"{host}:{parts.port}").geturl()


def routes(services: Services) -> list[Route]:
    """The endpoints, below ``/api/v1``."""
    pools = services.pools.pools

    async def targets(request: Request) -> Response:
        params = await read_params(request)
        state, wanted = params.text("state").lower(), params.text("scrapePool")
        chosen = {name: pool for name, pool in sorted(pools.items()) if wanted in ("", name)}
        external_url = services.settings.external_url
        port = (services.settings.flags.get("web.listen-address") or "").split(",")[0].rpartition(":")[2]
        port = port if port not in ("", "0") else urlsplit(external_url).netloc.rpartition(":")[2]
        active = [
            target_json(name, loop, external_url, port)
            for name, pool in chosen.items()
            for loop in sorted(pool.loops.values(), key=lambda loop: loop.target.labels.pairs)
        ]
        dropped = [
            {"discoveredLabels": dict(sorted(target.discovered.items())), "scrapePool": name}
            for name, pool in chosen.items()
            for target in pool.targets.dropped
        ]
        with_dropped = state in ("", "any", "dropped")
        counts = {name: pool.targets.dropped_count for name, pool in sorted(pools.items())}
        return answer(
            {
                "activeTargets": active if state in ("", "any", "active") else [],
                "droppedTargets": dropped if with_dropped else [],
                "droppedTargetCounts": counts if with_dropped else None,
            }
        )

    async def target_metadata(request: Request) -> Response:
        params = await read_params(request)
        limit, metric = params.number("limit"), params.text("metric")
        try:
            text = params.text("match_target")
            matchers = parse_metric_selector(text) if text else []
        except ParseError as error:
            raise bad_data(f'invalid parameter "match_target": {error.message}') from None
        found: list[dict[str, Any]] = []
        for loop in [loop for pool in pools.values() for loop in pool.loops.values()]:
            if 0 <= limit <= len(found):  # a target is shown whole
                break
            labels = loop.target.labels
            if not all(m.matches(labels.get(m.name)) for m in matchers):
                continue
            known = loop.store.metadata
            for name in known if not metric else [metric] if metric in known else []:
                entry = known[name]
                shown = {"type": entry.type, "help": entry.help, "unit": entry.unit}
                found.append({"target": labels.to_dict(), **({} if metric else {"metric": name}), **shown})
        return answer(found)

    async def metadata(request: Request) -> Response:
        params = await read_params(request)
        limit, per_metric = params.number("limit"), params.number("limit_per_metric")
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

    def pool_of(params: Params) -> ScrapePool:
        name = params.text("scrapePool")
        if name not in pools:
            raise bad_data(f"error retrieving scrape config: scrape pool {quote(name)} not found")
        return pools[name]

    async def relabel_steps(request: Request) -> Response:
        params = await read_params(request)
        for name in ("scrapePool", "labels"):
            if not params.text(name):
                raise bad_data(f"no {name} parameter provided")
        try:
            labels = msgspec.json.decode(params.text("labels"), type=dict[str, str])
        except msgspec.DecodeError as error:
            raise bad_data(f"error parsing labels: {error}") from None
        steps = Relabeling(pool_of(params).config.relabel_configs).steps(labels)
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
        params = await read_params(request)
        if not params.text("scrapePool"):
            raise bad_data("no scrapePool parameter provided")
        return answer({"yaml": show_scrape_config(pool_of(params).config)})

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
