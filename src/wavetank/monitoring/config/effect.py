"""What a configuration asks for that this server does not do.

A setting that cannot be refused without breaking files that work elsewhere is said aloud at every load.
"""

from __future__ import annotations

from collections.abc import Iterator

from wavetank.monitoring.config.model import Config, Runtime

__all__ = ["without_effect"]


def without_effect(config: Config) -> list[str]:
    """One line a setting, naming it and what happens instead."""
    return list(_whole(config))


def _whole(config: Config) -> Iterator[str]:
    tracing = config.tracing
    if tracing is not None and tracing.client_type == "grpc" and not tracing.insecure:
        for name in ("insecure_skip_verify", "min_version", "max_version"):
            if getattr(tracing.tls_config, name):
                yield f"tracing.tls_config.{name}: only with client_type http"
    if config.runtime != Runtime():
        yield "runtime.gogc: there is no Go runtime"
    for section in config.remote_write:
        if section.failed_request_logging:
            yield f"remote_write {section.url}: failed_request_logging: the answer is logged, not the request"
    tsdb = config.storage.tsdb
    if tsdb.stale_series_compaction_threshold:
        yield "storage.tsdb.stale_series_compaction_threshold: stale series wait for the next block"
