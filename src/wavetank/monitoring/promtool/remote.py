"""Asking a server: ``promtool query``.

Mirrors the query commands of cmd/promtool/query.go. Results print as promtool prints them, or as JSON.
"""

from __future__ import annotations

import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

from wavetank.errors import CheckFailed, InputError
from wavetank.model.labels import Labels

__all__ = ["ask", "fetch_text", "show"]

_TIMEOUT_SECONDS: Final = 120.0


def ask(server: str, path: str, params: Sequence[tuple[str, str]], headers: Mapping[str, str]) -> Any:
    """``data`` of an API answer. Raises CheckFailed for an error of the server, InputError if it is not
    reached."""
    body = fetch_text(f"{_base(server)}/api/v1/{path}?{urllib.parse.urlencode(params)}", headers)
    try:
        answer = msgspec.json.decode(body)
        if answer["status"] != "success":
            raise CheckFailed(f"query error: {answer.get('errorType')}: {answer.get('error')}")
        return answer["data"]
    except (msgspec.DecodeError, KeyError, TypeError):
        raise CheckFailed(f"query error: {server} did not answer as a Prometheus does") from None


def _base(server: str) -> str:
    server = server if "://" in server else f"http://{server}"
    if urllib.parse.urlsplit(server).scheme not in ("http", "https"):
        raise InputError(f"server {server!r} is not an HTTP URL")
    return server.rstrip("/")


def fetch_text(url: str, headers: Mapping[str, str]) -> bytes:
    """The body of an answer, errors of the API included."""
    request = urllib.request.Request(url, headers=dict(headers))
    try:
        with urllib.request.urlopen(request, timeout=_TIMEOUT_SECONDS) as response:
            body: bytes = response.read()
            return body
    except urllib.error.HTTPError as error:
        body = error.read()
        error.close()
        if not body.startswith(b"{"):
            raise CheckFailed(f"query error: {error.code} {body[:200].decode('utf-8', 'replace')}") from None
        return body
    except OSError as error:
        raise InputError(f"cannot reach {url.partition('?')[0]}: {error}") from None


def show(data: Any) -> list[str]:
    """A query's result in promtool's own form."""
    match data["resultType"]:
        case "vector":
            return [
                f"{Labels.of(entry['metric'])} => {entry['value'][1]} @[{entry['value'][0]}]"
                for entry in data["result"]
            ]
        case "matrix":
            lines = []
            for entry in data["result"]:
                lines.append(f"{Labels.of(entry['metric'])} =>")
                lines += [f"{value} @[{moment}]" for moment, value in entry["values"]]
            return lines
        case "scalar":
            moment, value = data["result"]
            return [f"scalar: {value} @[{moment}]"]
        case _:
            return [str(data["result"][1])]
