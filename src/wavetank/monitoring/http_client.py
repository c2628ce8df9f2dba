"""An HTTP client made from an ``<http_config>`` section: TLS, credentials, headers, proxies, unix sockets.

Mirrors NewClientFromConfig of prometheus/common. Files with credentials are read at every request and
certificates when they change, so that rotated secrets are taken up without a reload. Over TLS the server may
choose HTTP/2, unless ``enable_http2`` is off; everything else is aiohttp's HTTP/1.1.
"""

from __future__ import annotations

import asyncio
import base64
import os
import random
import socket
import ssl
import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final
from urllib.parse import SplitResult, unquote, urljoin, urlsplit

import aiohttp

from wavetank.clock import Clock
from wavetank.limits import HTTP_REDIRECTS_MAX
from wavetank.monitoring.config.http import HTTPClientConfig, OAuth2, ProxyConfig, TLSConfig
from wavetank.monitoring.dial import Origin, SecureOrigins
from wavetank.monitoring.http2 import Answer, Refused, Response
from wavetank.monitoring.oauth2 import TokenSource
from wavetank.monitoring.proxies import proxy_for
from wavetank.monitoring.tracing.span import Tracer

__all__ = ["FETCH_ERRORS", "HTTPClient", "Response", "ssl_context"]

_TLS: Final = {
    "TLS10": ssl.TLSVersion.TLSv1,
    "TLS11": ssl.TLSVersion.TLSv1_1,
    "TLS12": ssl.TLSVersion.TLSv1_2,
    "TLS13": ssl.TLSVersion.TLSv1_3,
}
_IDLE_SECONDS: Final = 300.0  # an idle connection is kept this long: longer than most scrape intervals
_REDIRECTS: Final = (301, 302, 303, 307, 308)
_NOT_FOR_OTHERS: Final = ("authorization", "cookie", "www-authenticate")  # at a redirect to another host


def ssl_context(tls: TLSConfig) -> ssl.SSLContext:
    """A client context. Raises OSError or ssl.SSLError for files that cannot be used."""
    context = ssl.create_default_context()
    if tls.ca_file or tls.ca:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.load_verify_locations(cafile=tls.ca_file or None, cadata=tls.ca or None)
    if tls.min_version in _TLS:
        context.minimum_version = _TLS[tls.min_version]
    if tls.max_version in _TLS:
        context.maximum_version = _TLS[tls.max_version]
    if tls.insecure_skip_verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if tls.cert and tls.key:
        with tempfile.NamedTemporaryFile(
            "w", suffix=".pem"
        ) as file:  # OpenSSL reads key pairs from files only
            file.write(f"{tls.cert}\n{tls.key.reveal()}\n")
            file.flush()
            context.load_cert_chain(file.name)
    elif tls.cert_file and tls.key_file:
        context.load_cert_chain(tls.cert_file, tls.key_file)
    return context


@dataclass(frozen=True, slots=True)
class _Request:
    method: str
    url: str
    headers: Mapping[str, str]
    data: bytes | None

    def elsewhere(self, status: int, location: str) -> _Request:
        """What a redirect makes of it, as net/http has it. Raises ValueError for no http URL."""
        url = urljoin(self.url, location)
        old, new = urlsplit(self.url), urlsplit(url)
        if new.scheme not in ("http", "https") or not new.hostname:
            raise ValueError(f"unsupported redirect to {url!r}")
        made = replace(self, url=url)
        if status not in (307, 308):
            made = replace(made, method="HEAD" if self.method == "HEAD" else "GET", data=None)
        if new.netloc != old.netloc:
            kept = {name: text for name, text in self.headers.items() if name.lower() not in _NOT_FOR_OTHERS}
            made = replace(made, headers=kept)
        return made


class HTTPClient:
    """Requests with the configured credentials; connections are kept and shared.

    Servers are told of the current span of ``tracer``. ``environment`` is where ``proxy_from_environment``
    looks; ``round_robin_dns`` makes each new connection go to any of a name's addresses.
    """

    def __init__(
        self,
        config: HTTPClientConfig,
        clock: Clock,
        *,
        environment: Mapping[str, str] | None = None,
        round_robin_dns: bool = False,
        tracer: Tracer | None = None,
    ) -> None:
        self.tracer = tracer or Tracer(clock)
        self._config = config
        self._clock = clock
        self._environment = os.environ if environment is None else environment
        self._round_robin_dns = round_robin_dns
        self._adds_headers = bool(
            config.http_headers
            or config.basic_auth
            or config.authorization
            or config.bearer_token
            or config.bearer_token_file
            or config.oauth2
        )
        self._random = clock.random(f"round_robin_dns of {socket.gethostname()}")
        self._sessions: dict[str, aiohttp.ClientSession] = {}
        self._secure: SecureOrigins | None = None
        self._stamps: tuple[float, ...] = ()
        self._tokens: TokenSource | None = None
        self._token_client: HTTPClient | None = None

    @asynccontextmanager
    async def request(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        data: bytes | None = None,
        timeout_seconds: float | None = None,
        unix_socket: str = "",
    ) -> AsyncIterator[Response]:
        """The answer with its body unread and still compressed. Raises OSError, aiohttp.ClientError or
        asyncio.TimeoutError; a credentials file that cannot be read is an OSError."""
        request = _Request(method, url, {**(headers or {}), **await self.headers()}, data)
        await self._renew()
        if unix_socket or not self._config.enable_http2 or not url.startswith("https:"):
            async with self._by_http1(request, unix_socket, timeout_seconds) as older:
                yield older
            return
        async with asyncio.timeout(timeout_seconds):
            answer, request = await self._by_http2(request)
            if answer is not None:
                try:
                    yield answer
                finally:
                    answer.release()
                return
            async with self._by_http1(request, "", None) as older:
                yield older

    @asynccontextmanager
    async def _by_http1(
        self, request: _Request, unix_socket: str, timeout_seconds: float | None
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        config = self._config
        options: dict[str, Any] = {}
        if not unix_socket and (proxy := proxy_for(request.url, config, self._environment)):
            options["proxy"] = proxy
            if config.proxy_connect_header:
                options["proxy_headers"] = {name: values[0] for name, values in self._proxy_headers().items()}
        if config.tls_config.server_name:
            options["server_hostname"] = config.tls_config.server_name
        try:
            async with self._session(unix_socket).request(
                request.method,
                request.url,
                headers=request.headers,
                data=request.data,
                allow_redirects=config.follow_redirects,
                timeout=aiohttp.ClientTimeout(total=timeout_seconds),
                **options,
            ) as response:
                yield response
        except aiohttp.ClientConnectorError:
            if self._secure is not None and request.url.startswith("https:"):
                self._secure.forget(self._origin(urlsplit(request.url), options.get("proxy", "")))
            raise

    async def _by_http2(self, request: _Request) -> tuple[Answer | None, _Request]:
        """The answer, or None and the request to be made by HTTP/1.1, as a server asked for that or
        redirected to one without TLS. Raises as ``request``."""
        for _ in range(HTTP_REDIRECTS_MAX + 1):
            if not request.url.startswith("https:"):
                return None, request
            answer = await self._once_by_http2(request)
            if answer is None:
                return None, request
            location = answer.headers.get("Location", "")
            if not (self._config.follow_redirects and answer.status in _REDIRECTS and location):
                return answer, request
            answer.release()
            request = request.elsewhere(answer.status, location)
        raise ValueError(f"stopped after {HTTP_REDIRECTS_MAX} redirects")

    async def _once_by_http2(self, request: _Request) -> Answer | None:
        parts = urlsplit(request.url)
        origin = self._origin(parts, proxy_for(request.url, self._config, self._environment))
        if self._secure is None:
            self._secure = SecureOrigins(
                self._clock,
                ssl_context(self._config.tls_config),
                _IDLE_SECONDS,
                self._proxy_headers(),
                self._any_order if self._round_robin_dns else None,
            )
        headers = dict(request.headers)
        if parts.username is not None and "Authorization" not in headers:
            headers["Authorization"] = _basic(unquote(parts.username), unquote(parts.password or ""))
        authority = headers.pop("Host", "") or parts.netloc.rpartition("@")[2]
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        again = True
        while True:
            connection = await self._secure.connection(origin)
            if connection is None:
                return None
            try:
                return await connection.request(request.method, authority, target, headers, request.data)
            except Refused:
                if not again:
                    raise
                again = False

    def _origin(self, parts: SplitResult, proxy: str) -> Origin:
        host = parts.hostname or ""
        return Origin(host, parts.port or 443, self._config.tls_config.server_name or host, proxy)

    def _proxy_headers(self) -> dict[str, list[str]]:
        headers = self._config.proxy_connect_header
        return {name: [value.reveal() for value in values] for name, values in headers.items() if values}

    async def _any_order(self, host: str, port: int) -> list[str]:
        """A name's addresses, shuffled: ``round_robin_dns``."""
        loop = asyncio.get_running_loop()
        found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        addresses = sorted({str(entry[4][0]) for entry in found})
        self._random.shuffle(addresses)
        return addresses

    @property
    def is_direct(self) -> bool:
        """Whether requests go straight to the server that the URL names."""
        return not (self._config.proxy_url or self._config.proxy_from_environment)

    @property
    def adds_headers(self) -> bool:
        """Whether there are headers, credentials or traces, which may change at any request."""
        return self._adds_headers or self.tracer.is_on

    async def close(self) -> None:
        if self._token_client is not None:
            await self._token_client.close()
        if self._secure is not None:
            self._secure.close()
            self._secure = None
        for session in self._sessions.values():
            await session.close()
        self._sessions.clear()

    async def _renew(self) -> None:
        """Certificates that changed make all connections old."""
        stamps = _stamps(self._config.tls_config)
        if stamps != self._stamps:
            await self.close()
            self._stamps = stamps

    def _session(self, unix_socket: str) -> aiohttp.ClientSession:
        session = self._sessions.get(unix_socket)
        if session is None:
            session = self._sessions[unix_socket] = aiohttp.ClientSession(
                connector=self._connector(unix_socket),
                auto_decompress=False,
                skip_auto_headers=("User-Agent", "Accept", "Accept-Encoding", "Content-Type"),
                cookie_jar=aiohttp.DummyCookieJar(),
            )
        return session

    def _connector(self, unix_socket: str) -> aiohttp.BaseConnector:
        if unix_socket:
            return aiohttp.UnixConnector(unix_socket, limit=0, keepalive_timeout=_IDLE_SECONDS)
        tls: ssl.SSLContext | bool = True
        if self._config.tls_config != TLSConfig():
            tls = ssl_context(self._config.tls_config)
        if self._round_robin_dns:
            return aiohttp.TCPConnector(
                ssl=tls,
                limit=0,
                use_dns_cache=False,
                resolver=_AnyOrder(self._random),
                keepalive_timeout=_IDLE_SECONDS,
            )
        return aiohttp.TCPConnector(ssl=tls, limit=0, ttl_dns_cache=30, keepalive_timeout=_IDLE_SECONDS)

    async def headers(self) -> dict[str, str]:
        """What the configuration adds to a request."""
        config = self._config
        headers: dict[str, str] = {}
        if traceparent := self.tracer.traceparent():
            headers["traceparent"] = traceparent
        for name, header in config.http_headers.items():
            values = [*header.values, *(secret.reveal() for secret in header.secrets)]
            values += [Path(path).read_text().strip() for path in header.files]
            headers[name] = ", ".join(values)
        if (authorization := await self._authorization()) is not None:
            headers["Authorization"] = authorization
        return headers

    async def _authorization(self) -> str | None:
        config = self._config
        if config.basic_auth is not None:
            auth = config.basic_auth
            username = _read(auth.username_file) if auth.username_file else auth.username
            password = _read(auth.password_file) if auth.password_file else auth.password.reveal()
            return _basic(username, password)
        if config.authorization is not None:
            bearer = config.authorization
            token = _read(bearer.credentials_file) if bearer.credentials_file else bearer.credentials.reveal()
            return f"{bearer.type} {token}"
        if config.bearer_token or config.bearer_token_file:
            token = (
                _read(config.bearer_token_file) if config.bearer_token_file else config.bearer_token.reveal()
            )
            return f"Bearer {token}"
        if config.oauth2 is not None:
            return f"Bearer {await self._token_source(config.oauth2).token()}"
        return None

    def _token_source(self, oauth2: OAuth2) -> TokenSource:
        """Asks for tokens with a client of its own, whose TLS and proxy the section gives."""
        if self._tokens is None:
            shared = {name: getattr(oauth2, name) for name in ProxyConfig.__struct_fields__}
            config = HTTPClientConfig(tls_config=oauth2.tls_config, **shared)
            self._token_client = HTTPClient(config, self._clock, environment=self._environment)
            self._tokens = TokenSource(oauth2, self._token_client, self._clock)
        return self._tokens


def _basic(username: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{username}:{password}".encode()).decode()


def _read(path: str) -> str:
    return Path(path).read_text().strip()


def _stamps(tls: TLSConfig) -> tuple[float, ...]:
    """Modification times of the certificate files; 0 for one that is missing."""
    found = []
    for name in (tls.ca_file, tls.cert_file, tls.key_file):
        if name:
            try:
                found.append(Path(name).stat().st_mtime)
            except OSError:
                found.append(0.0)
    return tuple(found)


class _AnyOrder(aiohttp.ThreadedResolver):
    """Gives a name's addresses in another order each time."""

    def __init__(self, random: random.Random) -> None:
        super().__init__()
        self._random = random

    async def resolve(self, *arguments: Any, **options: Any) -> list[aiohttp.abc.ResolveResult]:
        found = await super().resolve(*arguments, **options)
        self._random.shuffle(found)
        return found


FETCH_ERRORS: Final = (OSError, aiohttp.ClientError, asyncio.TimeoutError, ssl.SSLError, ValueError)
