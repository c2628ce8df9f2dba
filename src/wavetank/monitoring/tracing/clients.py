"""OTLP over HTTP and over gRPC: one serialised request to one endpoint."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any, Final, Protocol

import grpc
import grpc.aio

from wavetank.clock import Clock
from wavetank.monitoring.config.http import HTTPClientConfig, TLSConfig
from wavetank.monitoring.config.model import Tracing
from wavetank.monitoring.http_client import FETCH_ERRORS, HTTPClient

__all__ = ["Client", "NotTaken", "client_of"]

_METHOD: Final = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"
_TIMEOUT_SECONDS: Final = 10.0  # OpenTelemetry's, where the configuration gives none
_AGAIN_HTTP: Final = (429, 502, 503, 504)
_AGAIN_GRPC: Final = tuple(
    getattr(grpc.StatusCode, name)
    for name in ("CANCELLED", "DEADLINE_EXCEEDED", "ABORTED", "OUT_OF_RANGE", "UNAVAILABLE", "DATA_LOSS")
)


class NotTaken(Exception):
    """A request that failed; ``again`` says whether it may go well later."""

    def __init__(self, message: str, *, again: bool) -> None:
        super().__init__(message)
        self.again = again


class Client(Protocol):
    async def send(self, request: bytes) -> None:
        """Raises NotTaken."""

    async def close(self) -> None: ...


def client_of(config: Tracing, clock: Clock) -> Client:
    """Raises OSError for certificates that cannot be read."""
    return _HTTP(config, clock) if config.client_type == "http" else _GRPC(config)


class _HTTP:
    def __init__(self, config: Tracing, clock: Clock) -> None:
        tls = TLSConfig() if config.insecure else config.tls_config
        self._client = HTTPClient(HTTPClientConfig(tls_config=tls), clock)
        self._url = f"{'http' if config.insecure else 'https'}://{config.endpoint}/v1/traces"
        self._headers = {name: value.reveal() for name, value in config.headers.items()}
        self._headers |= {"Content-Type": "application/x-protobuf", "User-Agent": "Prometheus/3.14.0"}
        self._packed = config.compression == "gzip"
        if self._packed:
            self._headers["Content-Encoding"] = "gzip"
        self._timeout = config.timeout.seconds or _TIMEOUT_SECONDS

    async def send(self, request: bytes) -> None:
        body = gzip.compress(request, 6, mtime=0) if self._packed else request
        try:
            async with self._client.request(
                "POST", self._url, headers=self._headers, data=body, timeout_seconds=self._timeout
            ) as response:
                if response.status // 100 != 2:
                    again = response.status in _AGAIN_HTTP
                    raise NotTaken(f"{self._url} answered {response.status}", again=again)
        except FETCH_ERRORS as error:
            raise NotTaken(f"{self._url}: {error or type(error).__name__}", again=True) from None

    async def close(self) -> None:
        await self._client.close()


class _GRPC:
    def __init__(self, config: Tracing) -> None:
        self._endpoint = config.endpoint
        packed = grpc.Compression.Gzip if config.compression == "gzip" else None
        if config.insecure:
            self._channel: Any = grpc.aio.insecure_channel(config.endpoint, compression=packed)
        else:
            tls = config.tls_config
            options = [("grpc.ssl_target_name_override", tls.server_name)] if tls.server_name else []
            self._channel = grpc.aio.secure_channel(
                config.endpoint, _credentials(tls), options=options, compression=packed
            )
        self._export = self._channel.unary_unary(_METHOD)
        self._headers = [(name.lower(), value.reveal()) for name, value in config.headers.items()]
        self._timeout = config.timeout.seconds or _TIMEOUT_SECONDS

    async def send(self, request: bytes) -> None:
        try:
            await self._export(request, timeout=self._timeout, metadata=self._headers)
        except grpc.aio.AioRpcError as error:
            again = error.code() in _AGAIN_GRPC
            raise NotTaken(f"{self._endpoint}: {error.code().name}: {error.details()}", again=again) from None

    async def close(self) -> None:
        await self._channel.close()


def _credentials(tls: TLSConfig) -> Any:
    """Raises OSError."""
    ca = _pem(tls.ca, tls.ca_file)
    key = _pem(tls.key.reveal(), tls.key_file)
    return grpc.ssl_channel_credentials(ca, key, _pem(tls.cert, tls.cert_file))


def _pem(text: str, path: str) -> bytes | None:
    return text.encode() if text else Path(path).read_bytes() if path else None
