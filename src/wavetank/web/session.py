"""Who may see the cluster and act on it: a token in the printed address, once, then a cookie.

Loopback alone does not keep out other users of the machine nor other web pages. The address that the command
line prints carries a token; using it makes the browser's session and a new token, so that an address in a
shell's history opens nothing. The cookie is for this server only (SameSite=Strict, HttpOnly) and outlives a
restart, since it is signed with a key that lies beside the token in the run directory, both of mode 0600.
An action also needs a header that a form on another site cannot send, and its own Origin.
"""

from __future__ import annotations

import hmac
import os
import secrets
from hashlib import sha256
from pathlib import Path
from urllib.parse import urlsplit

from starlette.requests import Request
from starlette.responses import Response

from wavetank.monitoring.api.answer import ApiFailure

__all__ = ["ACTION_HEADER", "Sessions"]

ACTION_HEADER = "x-wavetank-action"
_KEY_FILE, _TOKEN_FILE = "console.key", "console.token"


class Sessions:
    """The sessions of one console. ``directory`` is the run directory, which only its owner reads."""

    def __init__(self, directory: Path) -> None:
        self._token_path = directory / _TOKEN_FILE
        self._key = _read_or_make(directory / _KEY_FILE, 32)
        self.cookie = f"wavetank-{sha256(self._key).hexdigest()[:8]}"
        _read_or_make(self._token_path, 16)

    @property
    def token(self) -> str:
        """The token that signs the next browser in."""
        return self._token_path.read_bytes().hex()

    def sign_in(self, token: str, response: Response) -> bool:
        """Put the session's cookie on ``response`` if the token is right; the token is then spent."""
        if not hmac.compare_digest(token.encode(), self.token.encode()):
            return False
        _write(self._token_path, secrets.token_bytes(16))
        identity = secrets.token_urlsafe(16)
        response.set_cookie(
            self.cookie, f"{identity}.{self._sign(identity)}", httponly=True, samesite="strict", path="/"
        )
        return True

    def knows(self, request: Request) -> bool:
        """Whether the request comes from a browser that signed in."""
        identity, _, signature = request.cookies.get(self.cookie, "").partition(".")
        return bool(identity) and hmac.compare_digest(signature.encode(), self._sign(identity).encode())

    def require(self, request: Request) -> None:
        """Raises ApiFailure (403) for a browser that did not sign in."""
        if not self.knows(request):
            raise ApiFailure(
                "forbidden", "open the address that `wavetank status` prints, to sign this browser in"
            )

    def require_action(self, request: Request) -> None:
        """For what changes something. Raises ApiFailure (403)."""
        self.require(request)
        origin = request.headers.get("origin")
        same = origin is None or urlsplit(origin).netloc == request.headers.get("host")
        if ACTION_HEADER not in request.headers or not same:
            raise ApiFailure(
                "forbidden", f"an action needs the header {ACTION_HEADER} and the page's own origin"
            )

    def _sign(self, identity: str) -> str:
        return hmac.new(self._key, identity.encode(), sha256).hexdigest()


def _read_or_make(path: Path, size: int) -> bytes:
    if not path.exists():
        _write(path, secrets.token_bytes(size))
    return path.read_bytes()


def _write(path: Path, data: bytes) -> None:
    """Whole or not at all, and never readable by others."""
    temporary = path.with_suffix(path.suffix + ".new")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
    temporary.replace(path)
