"""Asking a server: ``promtool query``.

Mirrors the query commands of cmd/promtool/query.go. Results print as promtool prints them, or as JSON.
"""

from __future__ import annotations

import urllib.parse
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from wavetank.errors import CheckFailed, InputError
from wavetank.model.labels import Labels
from wavetank.monitoring.config.http import HTTPClientConfig
from wavetank.monitoring.promtool.transport import send

__all__ = ["ask", "fetch_text", "show"]


def ask(
    server: str,
    path: str,
    params: Sequence[tuple[str, str]],
    headers: Mapping[str, str],
    http: HTTPClientConfig | None = None,
) -> Any:
    """``data`` of an API answer. Raises CheckFailed for an error of the server, InputError if it is not
    reached."""
    body = fetch_text(f"{_base(server)}/api/v1/{path}?{urllib.parse.urlencode(params)}", headers, http)
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


def fetch_text(url: str, headers: Mapping[str, str], http: HTTPClientConfig | None = None) -> bytes:
    """The body of an answer, errors of the API included."""
    status, body = send("GET", url, headers, http=http)
    if status >= 300 and not body.startswith(b"{"):
        raise CheckFailed(f"query error: {status} {body[:200].decode('utf-8', 'replace')}")
    return body


def show(data: Any) -> list[str]:
    """A query's result in promtool's own form."""
    match data["resultType"]:
        case "vector":
            return [
                f"{Labels.of(entry['metric'])} => {line}"
                for entry in data["result"]
                for line in _points(entry)
            ]
        case "matrix":
            lines = []
            for entry in data["result"]:
                lines += [f"{Labels.of(entry['metric'])} =>", *_points(entry)]
            return lines
        case "scalar":
            moment, value = data["result"]
            return [f"scalar: {value} @[{moment}]"]
        case _:
            return [str(data["result"][1])]


def _points(entry: Mapping[str, Any]) -> list[str]:
    """Floats, then native histograms, each with its time."""
    floats = entry.get("values", [entry["value"]] if "value" in entry else [])
    histograms = entry.get("histograms", [entry["histogram"]] if "histogram" in entry else [])
    lines = [f"{value} @[{moment}]" for moment, value in floats]
    return lines + [f"{_histogram(value)} @[{moment}]" for moment, value in histograms]


def _histogram(value: Mapping[str, Any]) -> str:
    """As model.SampleHistogram prints itself."""
    buckets = " ".join(_bucket(*bucket) for bucket in value.get("buckets") or ())
    return f"Count: {float(value['count']):f}, Sum: {float(value['sum']):f}, Buckets: [{buckets}]"


def _bucket(rule: int, low: str, high: str, count: str) -> str:
    left, right = "[" if rule in (1, 3) else "(", "]" if rule in (0, 3) else ")"
    return f"{left}{float(low):g},{float(high):g}{right}:{count}"
