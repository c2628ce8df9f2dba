"""AWS' Signature Version 4: the headers that sign a request.

After "Create a signed AWS API request" of the IAM user guide. For paths and queries that need no encoding.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

__all__ = ["AwsKeys", "signed_headers"]


@dataclass(frozen=True, slots=True)
class AwsKeys:
    """``token`` is of temporary keys only."""

    access_key: str
    secret_key: str
    token: str = ""


def signed_headers(
    method: str,
    url: str,
    headers: Mapping[str, str],
    body: bytes,
    *,
    keys: AwsKeys,
    region: str,
    service: str,
    now: float,
) -> dict[str, str]:
    """``headers`` and those that sign them; ``now`` in Unix seconds."""
    parts = urlsplit(url)
    at = dt.datetime.fromtimestamp(now, dt.UTC)
    stamp = at.strftime("%Y%m%dT%H%M%SZ")
    sent = {**headers, "X-Amz-Date": stamp}
    if keys.token:
        sent["X-Amz-Security-Token"] = keys.token
    named = {name.lower(): value.strip() for name, value in sent.items()} | {"host": parts.netloc}
    names = ";".join(sorted(named))
    canonical = "\n".join(
        [
            method,
            parts.path or "/",
            parts.query,
            *(f"{name}:{named[name]}" for name in sorted(named)),
            "",
            names,
            hashlib.sha256(body).hexdigest(),
        ]
    )
    scope = f"{stamp[:8]}/{region}/{service}/aws4_request"
    digest = hashlib.sha256(canonical.encode()).hexdigest()
    key = f"AWS4{keys.secret_key}".encode()
    for part in scope.split("/"):
        key = hmac.digest(key, part.encode(), "sha256")
    signature = hmac.new(key, f"AWS4-HMAC-SHA256\n{stamp}\n{scope}\n{digest}".encode(), "sha256")
    sent["Authorization"] = (
        f"AWS4-HMAC-SHA256 Credential={keys.access_key}/{scope}, SignedHeaders={names}, "
        f"Signature={signature.hexdigest()}"
    )
    return sent
