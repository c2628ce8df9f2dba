"""The console's pages for a monitoring server: its own, the dashboards', and those of its tank."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from pathlib import Path

from starlette.routing import BaseRoute

from wavetank.clock import Clock
from wavetank.dashboards.annotations import Marks
from wavetank.dashboards.api import routes as dashboard_routes
from wavetank.dashboards.source import EngineSource
from wavetank.dashboards.store import Provider, Store
from wavetank.monitoring.api.services import Services
from wavetank.web.console import Console, routes
from wavetank.web.session import Sessions

__all__ = ["console_pages"]

Pages = Callable[[Services], Sequence[BaseRoute]]


async def console_pages(
    tank_directory: Path | None, dashboards: Sequence[Path], clock: Clock, *, title: str = "Wavetank"
) -> tuple[Pages, Callable[[], Awaitable[None]]]:
    """What ``Server`` takes as ``pages``, and how to close what stands behind them."""
    folders = list(dashboards)
    if tank_directory is None:
        return partial(
            routes, console=Console(title=title, extra=partial(_dashboards, folders, None))
        ), _nothing

    from wavetank.rehearsal.console import open_console
    from wavetank.rehearsal.outcome.marks import journal_marks

    tank = await open_console(tank_directory, clock)
    folders += [Path(folder) for folder in tank.facts.dashboards]
    console = Console(
        title=title,
        tank=tank,
        sessions=Sessions(tank_directory),
        extra=partial(_dashboards, folders, journal_marks(tank.records)),
    )
    return partial(routes, console=console), tank.close


async def _nothing() -> None:
    return None


def _dashboards(folders: Sequence[Path], marks: Marks | None, services: Services) -> Sequence[BaseRoute]:
    interval_ms = int(services.state.config.globals.scrape_interval)
    store = Store([Provider(folder) for folder in folders])
    source = EngineSource(services.db, services.clock, scrape_interval_ms=interval_ms)
    return dashboard_routes(store, source, services.clock, marks)
