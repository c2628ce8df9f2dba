"""Tokens by OAuth 2.0: client credentials (RFC 6749, 4.4) and signed assertions (RFC 7523, 3.1).

Mirrors oauth2RoundTripper and oauth_assertion.go of prometheus/common, and of golang.org/x/oauth2 the finding
out how a server wants the client's secret: as Basic credentials, or else among the parameters.
"""

from __future__ import annotations

import base64
import socket
import uuid
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any, Final, Protocol
from urllib.parse import quote_plus, urlencode

import msgspec

from wavetank.clock import Clock
from wavetank.limits import OAUTH2_ANSWER_BYTES_MAX
from wavetank.monitoring.config.http import JWT_BEARER, OAuth2
from wavetank.monitoring.http2 import Response

__all__ = ["TokenSource", "assertion"]

_MARGIN_SECONDS: Final = 10.0
_TIMEOUT_SECONDS: Final = 30.0
_ASSERTION_SECONDS: Final = 600
_HASHES: Final = {"": "SHA256", "RS256": "SHA256", "RS384": "SHA384", "RS512": "SHA512"}


class _Asks(Protocol):
    """The part of an HTTPClient that is needed."""

    def request(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        data: bytes | None = None,
        timeout_seconds: float | None = None,
    ) -> AbstractAsyncContextManager[Response]: ...


class TokenSource:
    """One section's token, kept until shortly before it expires."""

    def __init__(self, config: OAuth2, client: _Asks, clock: Clock) -> None:
        self._config = config
        self._client = client
        self._clock = clock
        self._token, self._until = "", 0.0
        self._in_form = False  # the server does not take Basic credentials

    async def token(self) -> str:
        """Raises one of FETCH_ERRORS, among them ValueError for an answer that is not one."""
        if not self._token or self._clock.monotonic() >= self._until:
            answer = await self._ask()
            self._token = str(answer["access_token"])
            lasts = float(answer.get("expires_in") or 3600) - _MARGIN_SECONDS
            self._until = self._clock.monotonic() + lasts
        return self._token

    async def _ask(self) -> dict[str, Any]:
        config = self._config
        form = {"scope": " ".join(config.scopes)} if config.scopes else {}
        if config.grant_type == JWT_BEARER:
            key = _text(config.client_certificate_key_file, config.client_certificate_key.reveal())
            jti = self._clock.random(f"oauth2 {socket.gethostname()} {self._clock.now()}").randbytes(16)
            signed = assertion(config, key, round(self._clock.now()), str(uuid.UUID(bytes=jti, version=4)))
            form |= {"grant_type": JWT_BEARER, "assertion": signed}
            return await self._post({**form, **config.endpoint_params}, {})
        form |= {"grant_type": "client_credentials"}
        secret = _text(config.client_secret_file, config.client_secret.reveal())
        pair = f"{quote_plus(config.client_id)}:{quote_plus(secret)}".encode()
        basic = {"Authorization": "Basic " + base64.b64encode(pair).decode()}
        within = {"client_id": config.client_id, "client_secret": secret}
        if not self._in_form:
            try:
                return await self._post({**form, **config.endpoint_params}, basic)
            except ValueError:
                found = await self._post({**form, **config.endpoint_params, **within}, {})
                self._in_form = True
                return found
        return await self._post({**form, **config.endpoint_params, **within}, {})

    async def _post(self, form: Mapping[str, str], headers: Mapping[str, str]) -> dict[str, Any]:
        """Raises ValueError for an answer without a token."""
        sent = {"Content-Type": "application/x-www-form-urlencoded", "Accept": "application/json", **headers}
        async with self._client.request(
            "POST",
            self._config.token_url,
            headers=sent,
            data=urlencode(form).encode(),
            timeout_seconds=_TIMEOUT_SECONDS,
        ) as response:
            body = bytearray()
            async for part in response.content.iter_any():
                body += part
                if len(body) > OAUTH2_ANSWER_BYTES_MAX:
                    raise ValueError(f"oauth2: an answer of more than {OAUTH2_ANSWER_BYTES_MAX} bytes")
            if response.status // 100 != 2:
                said = bytes(body[:200]).decode("utf-8", "replace").strip()
                raise ValueError(f"oauth2: cannot fetch token: {response.status} {said}")
        answer = msgspec.json.decode(body)
        if not isinstance(answer, dict) or not answer.get("access_token"):
            raise ValueError("oauth2: cannot fetch token: server response missing access_token")
        return answer


def _text(path: str, text: str) -> str:
    return Path(path).read_text().strip() if path else text


def assertion(config: OAuth2, key: str, now: int, jti: str) -> str:
    """A JWT signed by the client's RSA key. Raises ValueError for a key that is none."""
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import padding, rsa

    algorithm = config.signature_algorithm or "RS256"
    header = {"alg": algorithm, "typ": "JWT"}
    if config.client_certificate_key_id:
        header["kid"] = config.client_certificate_key_id
    claims: dict[str, Any] = {
        "iss": config.iss or config.client_id,
        "sub": config.client_id,
        "jti": jti,
        "aud": config.audience or config.token_url,
        "iat": now,
        "exp": now + _ASSERTION_SECONDS,
    }
    if config.scopes:
        claims["scope"] = " ".join(config.scopes)
    signed = b".".join(_encoded(msgspec.json.encode(part)) for part in (header, {**claims, **config.claims}))
    private = serialization.load_pem_private_key(key.encode(), password=None)
    if not isinstance(private, rsa.RSAPrivateKey):
        raise ValueError("oauth2 client_certificate_key is not an RSA key")
    signature = private.sign(signed, padding.PKCS1v15(), getattr(hashes, _HASHES[algorithm])())
    return b".".join((signed, _encoded(signature))).decode()


def _encoded(data: bytes) -> bytes:
    return base64.urlsafe_b64encode(data).rstrip(b"=")
