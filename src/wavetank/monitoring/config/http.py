"""The ``<http_config>`` fields that every HTTP client of the configuration shares.

Mirrors HTTPClientConfig of prometheus/common. Secrets are masked when shown.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeVar

import msgspec

from wavetank.monitoring.config.values import Secret

__all__ = [
    "JWT_BEARER",
    "Authorization",
    "BasicAuth",
    "HTTPClientConfig",
    "HTTPHeader",
    "OAuth2",
    "ProxyConfig",
    "TLSConfig",
    "check_http",
    "http_with_paths",
    "tls_with_paths",
]

JWT_BEARER = "urn:ietf:params:oauth:grant-type:jwt-bearer"
_TLS_VERSIONS = ("", "TLS10", "TLS11", "TLS12", "TLS13")
S = TypeVar("S", bound=msgspec.Struct)


class TLSConfig(msgspec.Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    ca: str = ""
    cert: str = ""
    key: Secret = Secret()
    ca_file: str = ""
    cert_file: str = ""
    key_file: str = ""
    ca_ref: str = ""
    cert_ref: str = ""
    key_ref: str = ""
    server_name: str = ""
    insecure_skip_verify: bool = False
    min_version: str = ""
    max_version: str = ""


class BasicAuth(msgspec.Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    username: str = ""
    username_file: str = ""
    username_ref: str = ""
    password: Secret = Secret()
    password_file: str = ""
    password_ref: str = ""


class Authorization(msgspec.Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    type: str = "Bearer"
    credentials: Secret = Secret()
    credentials_file: str = ""
    credentials_ref: str = ""


class ProxyConfig(msgspec.Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    proxy_url: str = ""
    no_proxy: str = ""
    proxy_from_environment: bool = False
    proxy_connect_header: dict[str, list[Secret]] = {}


class OAuth2(ProxyConfig, forbid_unknown_fields=True, frozen=True, kw_only=True):
    client_id: str = ""
    client_secret: Secret = Secret()
    client_secret_file: str = ""
    client_secret_ref: str = ""
    client_certificate_key_id: str = ""
    client_certificate_key: Secret = Secret()
    client_certificate_key_file: str = ""
    client_certificate_key_ref: str = ""
    grant_type: str = ""
    signature_algorithm: str = ""
    iss: str = ""
    audience: str = ""
    claims: dict[str, Any] = {}
    scopes: list[str] = []
    token_url: str = ""
    endpoint_params: dict[str, str] = {}
    tls_config: TLSConfig = TLSConfig()


class HTTPHeader(msgspec.Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    values: list[str] = []
    secrets: list[Secret] = []
    files: list[str] = []


class HTTPClientConfig(ProxyConfig, forbid_unknown_fields=True, frozen=True, kw_only=True):
    basic_auth: BasicAuth | None = None
    authorization: Authorization | None = None
    oauth2: OAuth2 | None = None
    bearer_token: Secret = Secret()
    bearer_token_file: str = ""
    tls_config: TLSConfig = TLSConfig()
    follow_redirects: bool = True
    enable_http2: bool = True
    http_headers: dict[str, HTTPHeader] = {}

    @property
    def customised(self) -> bool:
        """Whether any of the shared fields was set."""
        return any(getattr(self, name) != default for name, default in _defaults().items())


def _defaults() -> dict[str, Any]:
    blank = HTTPClientConfig()
    return {name: getattr(blank, name) for name in HTTPClientConfig.__struct_fields__}


def check_http(config: HTTPClientConfig) -> None:
    """Raises ValueError, in upstream's words, for credentials that contradict each other."""
    if config.bearer_token and config.bearer_token_file:
        raise ValueError("at most one of bearer_token & bearer_token_file must be configured")
    bearer = bool(config.bearer_token or config.bearer_token_file)
    if (config.basic_auth is not None or config.oauth2 is not None) and bearer:
        raise ValueError(
            "at most one of basic_auth, oauth2, bearer_token & bearer_token_file must be configured"
        )
    _check_basic(config.basic_auth)
    if config.authorization is not None:
        _check_authorization(config, bearer)
    if config.basic_auth is not None and config.oauth2 is not None:
        raise ValueError("at most one of basic_auth, oauth2 & authorization must be configured")
    if config.oauth2 is not None:
        _check_oauth2(config.oauth2)
    _check_proxy(config)
    check_tls(config.tls_config)
    _check_no_refs(config)


def _check_no_refs(config: HTTPClientConfig) -> None:
    """Upstream's server has no secrets by reference either: only programs that embed its client have."""
    for section in (config.basic_auth, config.authorization, config.oauth2, config.tls_config):
        for name in () if section is None else section.__struct_fields__:
            if name.endswith("_ref") and getattr(section, name):
                raise ValueError(f"cannot use secret ref without manager: {name}")


def _check_basic(auth: BasicAuth | None) -> None:
    if auth is None:
        return
    if sum(map(bool, (auth.username, auth.username_file, auth.username_ref))) > 1:
        raise ValueError(
            "at most one of basic_auth username, username_file & username_ref must be configured"
        )
    if sum(map(bool, (auth.password, auth.password_file, auth.password_ref))) > 1:
        raise ValueError(
            "at most one of basic_auth password, password_file & password_ref must be configured"
        )


def _check_authorization(config: HTTPClientConfig, bearer: bool) -> None:
    auth = config.authorization
    assert auth is not None
    if bearer:
        raise ValueError("authorization is not compatible with bearer_token & bearer_token_file")
    if sum(map(bool, (auth.credentials, auth.credentials_file, auth.credentials_ref))) > 1:
        raise ValueError("at most one of authorization credentials & credentials_file must be configured")
    if auth.type.strip().lower() == "basic":
        raise ValueError('authorization type cannot be set to "basic", use "basic_auth" instead')
    if config.basic_auth is not None or config.oauth2 is not None:
        raise ValueError("at most one of basic_auth, oauth2 & authorization must be configured")


def _check_oauth2(oauth2: OAuth2) -> None:
    if not oauth2.client_id:
        raise ValueError("oauth2 client_id must be configured")
    if not oauth2.token_url:
        raise ValueError("oauth2 token_url must be configured")
    if oauth2.grant_type == JWT_BEARER:
        keys = (oauth2.client_certificate_key, oauth2.client_certificate_key_file)
        if sum(map(bool, (*keys, oauth2.client_certificate_key_ref))) > 1:
            raise ValueError(
                "at most one of oauth2 client_certificate_key, client_certificate_key_file & "
                f"client_certificate_key_ref must be configured using grant-type={JWT_BEARER}"
            )
        if oauth2.signature_algorithm not in ("", "RS256", "RS384", "RS512"):
            raise ValueError("valid signature algorithms are RS256, RS384 and RS512")
    elif sum(map(bool, (oauth2.client_secret, oauth2.client_secret_file, oauth2.client_secret_ref))) > 1:
        raise ValueError(
            "at most one of oauth2 client_secret, client_secret_file & client_secret_ref must be configured "
            "using grant-type=client_credentials"
        )


def _check_proxy(config: ProxyConfig) -> None:
    if config.proxy_connect_header and not (config.proxy_from_environment or config.proxy_url):
        raise ValueError(
            "if proxy_connect_header is configured, proxy_url or proxy_from_environment must also be "
            "configured"
        )
    if config.proxy_from_environment and config.proxy_url:
        raise ValueError("if proxy_from_environment is configured, proxy_url must not be configured")
    if config.proxy_from_environment and config.no_proxy:
        raise ValueError("if proxy_from_environment is configured, no_proxy must not be configured")
    if config.no_proxy and not config.proxy_url:
        raise ValueError("if no_proxy is configured, proxy_url must also be configured")


def check_tls(tls: TLSConfig) -> None:
    """Raises ValueError for half a key pair or an unknown version."""
    if bool(tls.cert or tls.cert_file or tls.cert_ref) and not (tls.key or tls.key_file or tls.key_ref):
        raise ValueError(
            "exactly one of key or key_file must be configured when a client certificate is configured"
        )
    if bool(tls.key or tls.key_file or tls.key_ref) and not (tls.cert or tls.cert_file or tls.cert_ref):
        raise ValueError(
            "exactly one of cert or cert_file must be configured when a client key is configured"
        )
    for version in (tls.min_version, tls.max_version):
        if version not in _TLS_VERSIONS:
            raise ValueError(f"unknown TLS version: {version}")


def join_path(base: Path, path: str) -> str:
    """``path`` as seen from the configuration's directory; empty stays empty."""
    return str(base / path) if path else path


def _with_file_paths(config: S, base: Path) -> S:
    changes = {
        name: join_path(base, getattr(config, name))
        for name in config.__struct_fields__
        if name.endswith("_file") and getattr(config, name)
    }
    return msgspec.structs.replace(config, **changes) if changes else config


def tls_with_paths(tls: TLSConfig, base: Path) -> TLSConfig:
    """A copy whose file names are resolved against ``base``."""
    return _with_file_paths(tls, base)


H = TypeVar("H", bound=HTTPClientConfig)


def http_with_paths(config: H, base: Path) -> H:
    """A copy in which every file name is resolved against ``base``."""
    oauth2 = config.oauth2
    if oauth2 is not None:
        tls = _with_file_paths(oauth2.tls_config, base)
        oauth2 = msgspec.structs.replace(_with_file_paths(oauth2, base), tls_config=tls)
    headers = {
        name: msgspec.structs.replace(header, files=[join_path(base, f) for f in header.files])
        for name, header in config.http_headers.items()
    }
    return msgspec.structs.replace(
        config,
        basic_auth=config.basic_auth and _with_file_paths(config.basic_auth, base),
        authorization=config.authorization and _with_file_paths(config.authorization, base),
        oauth2=oauth2,
        bearer_token_file=join_path(base, config.bearer_token_file),
        tls_config=_with_file_paths(config.tls_config, base),
        http_headers=headers,
    )
