"""An HTTP client made from an ``<http_config>`` section: TLS, credentials, headers, proxies, unix sockets.

Mirrors NewClientFromConfig of prometheus/common. Files with credentials are read at every request and
certificates when they change, so that rotated secrets are taken up without a reload. HTTP/2 is not spoken.
"""

from __future__ import annotations

import asyncio
import base64
import ssl
import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import aiohttp

from wavetank.clock import Clock
from wavetank.monitoring.config.http import HTTPClientConfig, OAuth2, TLSConfig

__all__ = ["HTTPClient", "ssl_context"]

_TLS: Final = {
    "TLS10": ssl.TLSVersion.TLSv1,
    "TLS11": ssl.TLSVersion.TLSv1_1,
    "TLS12": ssl.TLSVersion.TLSv1_2,
    "TLS13": ssl.TLSVersion.TLSv1_3,
}
_TOKEN_MARGIN_SECONDS: Final = 10.0
_IDLE_SECONDS: Final = 300.0  # an idle connection is kept this long: longer than most scrape intervals


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


class HTTPClient:
    """Requests with the configured credentials; connections are kept and shared."""

    def __init__(self, config: HTTPClientConfig, clock: Clock) -> None:
        self._config = config
        self._clock = clock
        self._sessions: dict[str, aiohttp.ClientSession] = {}
        self._stamps: tuple[float, ...] = ()
        self._token: tuple[str, float] = ("", 0.0)

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
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """The answer with its body unread and still compressed. Raises OSError, aiohttp.ClientError or
        asyncio.TimeoutError; a credentials file that cannot be read is an OSError."""
        config = self._config
        session = await self._session(unix_socket)
        sent = {**(headers or {}), **await self.headers()}
        options: dict[str, Any] = {}
        if config.proxy_url and not _excluded(url, config.no_proxy):
            options["proxy"] = config.proxy_url
            if config.proxy_connect_header:
                options["proxy_headers"] = {
                    name: values[0].reveal() for name, values in config.proxy_connect_header.items()
                }
        if config.tls_config.server_name:
            options["server_hostname"] = config.tls_config.server_name
        async with session.request(
            method,
            url,
            headers=sent,
            data=data,
            allow_redirects=config.follow_redirects,
            timeout=aiohttp.ClientTimeout(total=timeout_seconds),
            **options,
        ) as response:
            yield response

    @property
    def is_direct(self) -> bool:
        """Whether requests go straight to the server that the URL names."""
        return not (self._config.proxy_url or self._config.proxy_from_environment)

    @property
    def adds_headers(self) -> bool:
        """Whether the configuration gives headers or credentials, which may change at any request."""
        config = self._config
        return bool(
            config.http_headers
            or config.basic_auth
            or config.authorization
            or config.bearer_token
            or config.bearer_token_file
            or config.oauth2
        )

    async def close(self) -> None:
        for session in self._sessions.values():
            await session.close()
        self._sessions.clear()

    async def _session(self, unix_socket: str) -> aiohttp.ClientSession:
        stamps = _stamps(self._config.tls_config)
        if stamps != self._stamps:
            await self.close()
            self._stamps = stamps
        session = self._sessions.get(unix_socket)
        if session is None:
            session = self._sessions[unix_socket] = aiohttp.ClientSession(
                connector=self._connector(unix_socket),
                auto_decompress=False,
                trust_env=self._config.proxy_from_environment,
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
        return aiohttp.TCPConnector(ssl=tls, limit=0, ttl_dns_cache=30, keepalive_timeout=_IDLE_SECONDS)

    async def headers(self) -> dict[str, str]:
        """What the configuration adds to a request."""
        config = self._config
        headers: dict[str, str] = {}
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
            return f"Bearer {await self._oauth2_token(config.oauth2)}"
        return None

    async def _oauth2_token(self, oauth2: OAuth2) -> str:
        """A client-credentials token, kept until shortly before it expires."""
        token, expires = self._token
        if token and self._clock.monotonic() < expires:
            return token
        secret = (
            _read(oauth2.client_secret_file) if oauth2.client_secret_file else oauth2.client_secret.reveal()
        )
        form = {"grant_type": "client_credentials", **oauth2.endpoint_params}
        if oauth2.scopes:
            form["scope"] = " ".join(oauth2.scopes)
        tls = ssl_context(oauth2.tls_config) if oauth2.tls_config != TLSConfig() else True
        async with (
            aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=tls)) as session,
            session.post(
                oauth2.token_url,
                data=form,
                headers={"Authorization": _basic(oauth2.client_id, secret)},
                proxy=oauth2.proxy_url or None,
            ) as response,
        ):
            response.raise_for_status()
            answer = await response.json(content_type=None)
        token = str(answer["access_token"])
        lasts = float(answer.get("expires_in", 3600)) - _TOKEN_MARGIN_SECONDS
        self._token = (token, self._clock.monotonic() + lasts)
        return token


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


def _excluded(url: str, no_proxy: str) -> bool:
    """Whether ``no_proxy`` names the URL's host or a domain above it."""
    host = url.split("://", 1)[-1].split("/", 1)[0].rsplit("@", 1)[-1].rsplit(":", 1)[0]
    for entry in (part.strip().lstrip(".") for part in no_proxy.split(",")):
        if entry and (entry == "*" or host == entry or host.endswith("." + entry)):
            return True
    return False


FETCH_ERRORS: Final = (OSError, aiohttp.ClientError, asyncio.TimeoutError, ssl.SSLError, ValueError)
