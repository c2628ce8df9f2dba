"""What a tank's owner tells its console, and where that console is found."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import msgspec
from msgspec import Struct

from wavetank.web.session import Sessions

__all__ = ["FACTS_FILE", "ConsoleFacts", "console_url"]

FACTS_FILE = "console.json"


class ConsoleFacts(Struct, frozen=True, kw_only=True):
    """What the tank's owner tells the console: written beside the run before the monitoring starts.

    ``plan`` is the rehearsal's directory where the console may start its load; ``gateway_url`` and
    ``load_host`` are where that goes and where the generator's metrics are served.
    """

    kind: Literal["tank", "rehearsal"]
    name: str
    monitoring_url: str
    plan: str | None = None
    gateway_url: str | None = None
    load_host: str = ""
    load_port: int = 0
    dashboards: list[str] = []

    def write(self, directory: Path) -> None:
        (directory / FACTS_FILE).write_bytes(msgspec.json.encode(self))


def console_url(monitoring_url: str, directory: Path) -> str:
    """The address that signs the next browser in; empty where the run directory has gone."""
    try:
        return f"{monitoring_url}/?token={Sessions(directory).token}"
    except OSError:
        return ""
