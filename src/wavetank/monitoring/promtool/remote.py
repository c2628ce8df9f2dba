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

__all__ = ["ask", "plain", "probe", "show"]


def ask(
    server: str,
    path: str,
    params: Sequence[tuple[str, str]],
    headers: Mapping[str, str],
    http: HTTPClientConfig | None = None,
    *,
    post: bool = False,
) -> Any:
    """``data`` of an API answer; ``post`` sends the parameters as a form, whatever their length.

    Raises CheckFailed for an error of the server, InputError if it is not reached.
    """
    base, form = _base(server), urllib.parse.urlencode(params)
    url = f"{base}/api/v1/{path}"
    status, body = 405, b""
    if post:
        sent = {**headers, "Content-Type": "application/x-www-form-urlencoded"}
        status, body = _sent("POST", url, sent, form.encode(), http)
    if not post or status in (405, 501):
        status, body = _sent("GET", f"{url}?{form}" if form else url, headers, None, http)
    return _data(server, status, body)


def _sent(
    method: str,
    url: str,
    headers: Mapping[str, str],
    body: bytes | None,
    http: HTTPClientConfig | None,
) -> tuple[int, bytes]:
    try:
        return send(method, url, headers, body, http=http)
    except InputError as error:
        raise InputError(f"query error: {error.message}", fix=error.fix) from None


def _data(server: str, status: int, body: bytes) -> Any:
    """What is in the envelope; errors as upstream's client words them."""
    try:
        answer = msgspec.json.decode(body)
        if answer["status"] == "success":
            return answer["data"]
        raise CheckFailed(f"query error: {answer['errorType']}: {answer['error']}")
    except (msgspec.DecodeError, KeyError, TypeError):
        kind = {4: "client_error: client", 5: "server_error: server"}.get(status // 100)
        text = body[:512].decode("utf-8", "replace").strip()
        detail = f" (detail: {text})" if text else ""
        if kind is not None:
            raise CheckFailed(f"query error: {kind} error: {status}{detail}") from None
        raise CheckFailed(
            f"query error: bad_response: {server} did not answer as a Prometheus does{detail}"
        ) from None


def _base(server: str) -> str:
    server = server if "://" in server else f"http://{server}"
    if urllib.parse.urlsplit(server).scheme not in ("http", "https"):
        raise InputError(f"server {server!r} is not an HTTP URL")
    return server.rstrip("/")


def probe(url: str, path: str, http: HTTPClientConfig | None = None) -> str:
    """What a server says of its health. Raises CheckFailed unless it answers 200, InputError."""
    base = _base(url)
    status, body = send("GET", base + path, {}, http=http, timeout_seconds=10.0)
    if status != 200:
        raise CheckFailed(f"check failed: URL={base}, status={status}")
    return body.decode("utf-8", "replace")


def show(data: Any) -> list[str]:
    """A query's result in promtool's own form."""
    match data["resultType"]:
        case "vector":
            return [
                f"{Labels.of(entry['metric'])} => {line}"
                for entry in data["result"]
                for line in _points(entry)
            ] or [""]
        case "matrix":
            lines = []
            for entry in sorted(data["result"], key=lambda entry: str(Labels.of(entry["metric"]))):
                lines += [f"{Labels.of(entry['metric'])} =>", *_points(entry)]
            return lines or [""]
        case "scalar":
            moment, value = data["result"]
            return [f"scalar: {value} @[{moment}]"]
        case _:
            return [str(data["result"][1])]


def plain(data: Any) -> Any:
    """A query's result as Go's JSON has it: the value alone, labels in order."""
    if data["resultType"] not in ("vector", "matrix"):
        return data["result"]
    return [{**entry, "metric": dict(sorted(entry["metric"].items()))} for entry in data["result"]]


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
