"""The ``tracing`` section of the configuration, put to work."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from wavetank.clock import Clock
from wavetank.monitoring.config.http import TLSConfig
from wavetank.monitoring.config.model import Tracing as Config
from wavetank.monitoring.tracing.span import Tracer

if TYPE_CHECKING:
    from wavetank.monitoring.tracing.export import Count, Exporter

__all__ = ["Tracing"]

_LOG = logging.getLogger(__name__)


class Tracing:
    """``apply`` starts, replaces and ends the exporter."""

    def __init__(self, tracer: Tracer, clock: Clock, version: str, count: Count) -> None:
        self._tracer = tracer
        self._clock = clock
        self._version = version
        self._count = count
        self._config: Config | None = None
        self._exporter: Exporter | None = None

    async def apply(self, config: Config | None) -> None:
        """A section that did not change goes on undisturbed, unless it has TLS settings. Certificates that
        cannot be read are said to the log, and nothing is traced."""
        if config == self._config and (config is None or config.tls_config == TLSConfig()):
            return  # certificates may have changed though their names did not
        await self.close()
        if config is None:
            return
        # loading gRPC and protobuf takes longer than all else of a server without traces
        from wavetank.monitoring.tracing.clients import client_of
        from wavetank.monitoring.tracing.export import Exporter

        try:
            client = client_of(config, self._clock)
        except OSError as error:
            _LOG.error("no traces are sent to %s: %s", config.endpoint, error)
            return
        self._config = config
        self._exporter = Exporter(client, self._clock, self._version, self._count)
        self._tracer.turn_on(self._exporter.take, config.sampling_fraction)

    async def close(self) -> None:
        self._tracer.turn_off()
        self._config = None
        if self._exporter is not None:
            exporter, self._exporter = self._exporter, None
            await exporter.close()
