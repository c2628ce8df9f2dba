"""The options of every command that talks to a server: ``--http.config.file`` and ``--header``."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

from wavetank.cli._kingpin import text_map

if TYPE_CHECKING:
    from wavetank.monitoring.config.http import HTTPClientConfig

__all__ = ["header_option", "headers_of", "http_of", "http_option"]

F = TypeVar("F", bound=Callable[..., Any])
_KEY: Final = "wavetank.http.config.file"


def _keep(context: click.Context, parameter: click.Parameter, value: Path | None) -> None:
    if value is not None:
        context.meta[_KEY] = value


def http_option(function: F) -> F:
    """``--http.config.file``."""
    return click.option(
        "--http.config.file",
        "http_config_file",
        type=click.Path(path_type=Path),
        expose_value=False,
        callback=_keep,
        help="HTTP client configuration: credentials, TLS, proxy.",
    )(function)


def http_of(context: click.Context) -> HTTPClientConfig | None:
    """What the file says, None where none is named. Raises InputError."""
    from wavetank.monitoring.config.http_file import load_http_config

    path = context.meta.get(_KEY)
    return None if path is None else load_http_config(path)


def header_option(function: F) -> F:
    return click.option("--header", multiple=True, help="Extra headers, name=value.")(function)


def headers_of(values: tuple[str, ...]) -> dict[str, str]:
    """Raises click.UsageError for what is not ``name=value`` or ``name:value``."""
    return text_map("header", values)
