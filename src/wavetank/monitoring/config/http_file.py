"""A file with one ``<http_config>``, as ``--http.config.file`` names it."""

from __future__ import annotations

from pathlib import Path

from wavetank.errors import InputError
from wavetank.monitoring.config.decode import decode_section
from wavetank.monitoring.config.http import HTTPClientConfig, check_http, http_with_paths
from wavetank.yamlfile import load_documents

__all__ = ["load_http_config"]


def load_http_config(path: Path) -> HTTPClientConfig:
    """Raises InputError naming file and line."""
    documents = load_documents(path)
    if not documents:
        return HTTPClientConfig()
    config = decode_section(documents[0], HTTPClientConfig)
    try:
        check_http(config)
    except ValueError as error:
        raise InputError(str(error), at=path) from None
    return http_with_paths(config, path.parent)
