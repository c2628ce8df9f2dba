"""The file of ``--web.config.file``: its format, strictly read.

Mirrors the Config of prometheus/exporter-toolkit/web. What cannot be done here is refused when the file is
read, never passed over: a protection that is written down is in force.
"""

from __future__ import annotations

import re
import ssl
from pathlib import Path
from typing import Final

import msgspec

from wavetank.monitoring.config.decode import decode_section
from wavetank.monitoring.config.http import join_path
from wavetank.monitoring.config.values import Duration, Secret
from wavetank.yamlfile import Document, load_documents

__all__ = ["TLSServerConfig", "WebConfig", "load_web_config", "server_context"]

_VERSIONS: Final = {
    "TLS10": ssl.TLSVersion.TLSv1,
    "TLS11": ssl.TLSVersion.TLSv1_1,
    "TLS12": ssl.TLSVersion.TLSv1_2,
    "TLS13": ssl.TLSVersion.TLSv1_3,
}
_CLIENT_AUTH: Final = {
    "": ssl.CERT_NONE,
    "NoClientCert": ssl.CERT_NONE,
    "RequestClientCert": ssl.CERT_NONE,
    "VerifyClientCertIfGiven": ssl.CERT_OPTIONAL,
    "RequireAndVerifyClientCert": ssl.CERT_REQUIRED,
}
# Python's ssl cannot ask for a certificate and leave it unverified.
_UNVERIFIED: Final = ("RequireAnyClientCert", "RequireClientCert")
_CURVES: Final = {
    "CurveP256": "prime256v1",
    "CurveP384": "secp384r1",
    "CurveP521": "secp521r1",
    "X25519": "X25519",
}
_HEADERS: Final[dict[str, tuple[str, ...] | None]] = {
    "Strict-Transport-Security": None,
    "X-Content-Type-Options": ("nosniff",),
    "X-Frame-Options": ("deny", "sameorigin"),
    "X-XSS-Protection": None,
    "Content-Security-Policy": None,
}
# Go's names of cipher suites, by OpenSSL's; those of TLS 1.3 cannot be chosen in Go either.
_CIPHERS: Final = {
    "TLS_RSA_WITH_AES_128_CBC_SHA": "AES128-SHA",
    "TLS_RSA_WITH_AES_256_CBC_SHA": "AES256-SHA",
    "TLS_RSA_WITH_AES_128_GCM_SHA256": "AES128-GCM-SHA256",
    "TLS_RSA_WITH_AES_256_GCM_SHA384": "AES256-GCM-SHA384",
    "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA": "ECDHE-ECDSA-AES128-SHA",
    "TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA": "ECDHE-ECDSA-AES256-SHA",
    "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA": "ECDHE-RSA-AES128-SHA",
    "TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA": "ECDHE-RSA-AES256-SHA",
    "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256": "ECDHE-ECDSA-AES128-GCM-SHA256",
    "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384": "ECDHE-ECDSA-AES256-GCM-SHA384",
    "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256": "ECDHE-RSA-AES128-GCM-SHA256",
    "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384": "ECDHE-RSA-AES256-GCM-SHA384",
    "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256": "ECDHE-RSA-CHACHA20-POLY1305",
    "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256": "ECDHE-ECDSA-CHACHA20-POLY1305",
}
_BCRYPT: Final = re.compile(r"\$2[abxy]?\$\d\d\$[./A-Za-z0-9]{53}")


class TLSServerConfig(msgspec.Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    cert: str = ""
    key: Secret = Secret()
    cert_file: str = ""
    key_file: str = ""
    client_ca: str = ""
    client_ca_file: str = ""
    client_auth_type: str = ""
    client_allowed_sans: list[str] = msgspec.field(default_factory=list)
    cipher_suites: list[str] = msgspec.field(default_factory=list)
    curve_preferences: list[str] = msgspec.field(default_factory=list)
    min_version: str = "TLS12"
    max_version: str = "TLS13"
    prefer_server_cipher_suites: bool = True

    @property
    def is_enabled(self) -> bool:
        """Whether the section asks for TLS; one that does not is as if it were not there."""
        return bool(
            self.cert
            or self.cert_file
            or self.key
            or self.key_file
            or self.client_ca
            or self.client_ca_file
            or self.client_auth_type
        )

    @property
    def files(self) -> tuple[str, ...]:
        return tuple(name for name in (self.cert_file, self.key_file, self.client_ca_file) if name)


class HTTPServerConfig(msgspec.Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    http2: bool = True
    headers: dict[str, str] = msgspec.field(default_factory=dict)


class RateLimit(msgspec.Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    """One request per ``interval``, and ``burst`` of them at once; without an interval there is no limit."""

    burst: int = 0
    interval: Duration = Duration(0)


class WebConfig(msgspec.Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    """``basic_auth_users`` maps names to bcrypt hashes; with any, every request needs a password."""

    tls_server_config: TLSServerConfig | None = None
    http_server_config: HTTPServerConfig = HTTPServerConfig()
    basic_auth_users: dict[str, str] = msgspec.field(default_factory=dict)
    rate_limit: RateLimit = RateLimit()


def load_web_config(path: Path) -> WebConfig:
    """The file, checked; certificates are read, so that a bad one is found now. Raises InputError."""
    documents = load_documents(path)
    if not documents or documents[0].value is None:
        return WebConfig()
    document = documents[0]
    if not isinstance(document.value, dict):
        raise document.error("a web configuration is a mapping of sections")
    config = decode_section(document, WebConfig)
    tls = config.tls_server_config
    if tls is not None and not tls.is_enabled:
        config = msgspec.structs.replace(config, tls_server_config=None)
    elif tls is not None:
        tls = msgspec.structs.replace(
            tls,
            **{
                name: join_path(path.parent, getattr(tls, name))
                for name in ("cert_file", "key_file", "client_ca_file")
            },
        )
        config = msgspec.structs.replace(config, tls_server_config=tls)
        try:
            server_context(tls)
        except (ValueError, OSError) as error:
            raise document.error(str(error), "tls_server_config") from None
    _check_users(document, config)
    _check_headers(document, config)
    return config


def _check_users(document: Document, config: WebConfig) -> None:
    for name, hashed in config.basic_auth_users.items():
        if _BCRYPT.fullmatch(hashed) is None:
            raise document.error(
                f"the password of user {name!r} is not a bcrypt hash",
                "basic_auth_users",
                name,
                fix="make one with: htpasswd -nBC 10 '' | tr -d ':'",
            )


def _check_headers(document: Document, config: WebConfig) -> None:
    for name, value in config.http_server_config.headers.items():
        where = ("http_server_config", "headers", name)
        if name not in _HEADERS:
            raise document.error(f'HTTP header "{name}" can not be configured', *where)
        allowed = _HEADERS[name]
        if value and allowed is not None and value.lower() not in allowed:
            raise document.error(
                f'invalid value for {name}. Expected one of: {list(allowed)}, but got: "{value}"', *where
            )
        if not value.isprintable() or not value.isascii():
            raise document.error(f"the value of {name} cannot be sent", *where)


def server_context(tls: TLSServerConfig) -> ssl.SSLContext:
    """What connections are served with. Raises ValueError for settings, OSError for files that cannot be."""
    _check_tls(tls)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = _VERSIONS[tls.min_version]
    context.maximum_version = _VERSIONS[tls.max_version]
    context.set_alpn_protocols(["http/1.1"])
    _load_pair(context, tls)
    if tls.client_ca_file or tls.client_ca:
        context.load_verify_locations(cafile=tls.client_ca_file or None, cadata=tls.client_ca or None)
    context.verify_mode = _CLIENT_AUTH[tls.client_auth_type]
    if tls.cipher_suites:
        context.set_ciphers(":".join(_CIPHERS[name] for name in tls.cipher_suites))
    if len(tls.curve_preferences) == 1:
        name = tls.curve_preferences[0]
        try:
            context.set_ecdh_curve(_CURVES[name])
        except (ValueError, ssl.SSLError):
            raise ValueError(f"Python's ssl cannot choose the curve {name}; leave it out") from None
    if tls.prefer_server_cipher_suites:
        context.options |= ssl.OP_CIPHER_SERVER_PREFERENCE
    return context


def _check_tls(tls: TLSServerConfig) -> None:
    if not (tls.cert or tls.cert_file):
        raise ValueError("missing one of cert or cert_file")
    if not (tls.key or tls.key_file):
        raise ValueError("missing one of key or key_file")
    if (tls.cert and tls.cert_file) or (tls.key and tls.key_file):
        raise ValueError("cert and key are given twice: as text and as a file")
    if tls.client_auth_type not in _CLIENT_AUTH:
        if tls.client_auth_type in _UNVERIFIED:
            raise ValueError(
                f"client_auth_type {tls.client_auth_type} is not possible here: a certificate that is asked "
                "for is verified; use RequireAndVerifyClientCert"
            )
        raise ValueError(f"invalid ClientAuth: {tls.client_auth_type}")
    verifies = _CLIENT_AUTH[tls.client_auth_type] != ssl.CERT_NONE
    if tls.client_ca and tls.client_ca_file:
        raise ValueError("at most one of client_ca and client_ca_file must be configured")
    if (tls.client_ca or tls.client_ca_file) and not verifies:
        raise ValueError("client CA's have been configured without a Client Auth Policy")
    if verifies and not (tls.client_ca or tls.client_ca_file):
        raise ValueError(f"client_auth_type {tls.client_auth_type} needs client_ca_file")
    for name in (tls.min_version, tls.max_version):
        if name not in _VERSIONS:
            raise ValueError(f"unknown TLS version: {name}")
    for name in tls.cipher_suites:
        if name not in _CIPHERS:
            raise ValueError(f"unknown cipher: {name}")
    if tls.client_allowed_sans and not verifies:
        raise ValueError("client_allowed_sans needs client_auth_type RequireAndVerifyClientCert")
    for name in tls.curve_preferences:
        if name not in _CURVES:
            raise ValueError(f"unknown curve: {name}")
    if len(tls.curve_preferences) > 1:
        raise ValueError(
            "curve_preferences can name one curve here: Python's ssl takes no list; keep the best"
        )


def _load_pair(context: ssl.SSLContext, tls: TLSServerConfig) -> None:
    """Certificate and key, from files or from the text. OpenSSL reads key pairs from files only."""
    import tempfile

    if tls.cert_file and tls.key_file:
        context.load_cert_chain(tls.cert_file, tls.key_file)
        return
    cert = tls.cert or Path(tls.cert_file).read_text()
    key = tls.key.reveal() or Path(tls.key_file).read_text()
    with tempfile.NamedTemporaryFile("w", suffix=".pem") as file:
        file.write(f"{cert}\n{key}\n")
        file.flush()
        context.load_cert_chain(file.name)
