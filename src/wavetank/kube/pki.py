"""A local certificate authority, the server's certificate, and bearer tokens: made once, kept 0600."""

from __future__ import annotations

import hmac
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from wavetank.clock import Clock

__all__ = ["Credentials", "Tokens", "make_credentials", "same_token"]


@dataclass(frozen=True, slots=True)
class Tokens:
    """Bearer tokens: one that may do anything, one that may only read."""

    admin: str
    reader: str


@dataclass(frozen=True, slots=True)
class Credentials:
    """PEM files in ``directory`` and the CA's certificate itself."""

    directory: Path
    ca: bytes
    tokens: Tokens

    @property
    def certificate(self) -> Path:
        return self.directory / "server.crt"

    @property
    def key(self) -> Path:
        return self.directory / "server.key"


def same_token(given: str, wanted: str) -> bool:
    return hmac.compare_digest(given.encode(), wanted.encode())


def make_credentials(directory: Path, clock: Clock, addresses: Sequence[str] = ("127.0.0.1",)) -> Credentials:
    """Read what is there, or make a CA, a server certificate for ``addresses`` and the tokens."""
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    ca_file, token_file = directory / "ca.crt", directory / "tokens"
    if not ca_file.exists() or not (directory / "server.key").exists() or not token_file.exists():
        # The library is slow to import, and is needed once in the life of a cluster.
        from wavetank.kube.authority import make_authority

        make_authority(directory, clock, addresses)
    admin, reader = token_file.read_text(encoding="ascii").split()
    return Credentials(directory, ca_file.read_bytes(), Tokens(admin, reader))
