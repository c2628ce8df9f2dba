"""A running server: Prometheus, or anything that answers its remote read or its query API.

Remote read with streamed chunks gives every sample as it was stored. A server without it is asked for raw
samples by instant queries over range selectors, which lack staleness markers and native histograms; and one
that does not know those either for ``query_range`` at a fixed step.
"""

from __future__ import annotations

import asyncio
import urllib.parse
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, Literal

import msgspec
import numpy as np
import yaml

from wavetank.clock import Clock, pause
from wavetank.errors import InputError
from wavetank.limits import IMPORT_ANSWER_BYTES_MAX, IMPORT_TRIES_MAX
from wavetank.model.labels import Labels, Matcher
from wavetank.monitoring.config.http import HTTPClientConfig
from wavetank.monitoring.history.extras import Extras
from wavetank.monitoring.history.source import Estimate, TooMuch
from wavetank.monitoring.http_client import FETCH_ERRORS, HTTPClient
from wavetank.monitoring.remote.codec import MetadataEntry, RemoteError, pack, unpack
from wavetank.monitoring.remote.read_client import (
    READ_HEADERS,
    decode_samples_answer,
    found_in_frames,
    read_request,
)
from wavetank.tsdb.decode import LooseSamples
from wavetank.tsdb.errors import CorruptionError
from wavetank.tsdb.head import ChunkSet
from wavetank.tsdb.querier import Found

__all__ = ["RemoteServer", "Via"]

Via = Literal["auto", "read", "query", "range"]
_TIMEOUT_SECONDS: Final = 300.0
_BYTES_PER_SAMPLE: Final = 2.0
_DAY_MS: Final = 86_400_000
_MONTH_MS: Final = 30 * _DAY_MS
_MONTHS_MAX: Final = 240
_STEPS_MAX: Final = 10_000
_PAUSE_SECONDS_MAX: Final = 30.0
_BUSY: Final = frozenset({429, 502, 504})  # worth asking again
_TOO_MUCH: Final = frozenset({413, 422, 502, 503, 504})  # of a range: less at once may do
_NO_CHUNKS: Final = np.empty(0, np.int64)


class RemoteServer:
    """Implements ``HistorySource``."""

    def __init__(
        self,
        url: str,
        selectors: Sequence[Sequence[Matcher]],
        clock: Clock,
        *,
        http: HTTPClientConfig | None = None,
        headers: Mapping[str, str] | None = None,
        via: Via = "auto",
        step_ms: int = 60_000,
        external_labels: bool = False,
        start_ms: int | None = None,
    ) -> None:
        """``start_ms`` is when history begins, where that is known.

        Raises InputError where the server does not answer.
        """
        self.notes: list[str] = []
        self._base = url.rstrip("/")
        self._selectors = selectors
        self._clock = clock
        self._headers = dict(headers or {})
        self._step_ms = step_ms
        self._start_ms = start_ms
        self._strip: dict[str, str] = {}
        self._answered = False  # a server that was there once is waited for
        self._runner = asyncio.Runner()
        try:
            self._client = self._runner.run(_client(http or HTTPClientConfig(), clock))
        except BaseException:
            self._runner.close()
            raise
        try:
            self.via: Via = self._chosen() if via == "auto" else via
            if self.via == "read" and not external_labels:
                self._strip = self._external_labels()
        except BaseException:
            self.close()
            raise

    # --- what there is ------------------------------------------------------------------------------

    def extent(self) -> tuple[int, int] | None:
        """Until now, from what was given, the oldest sample by the server's metrics, or the oldest month."""
        now_ms = int(self._clock.now() * 1000)
        if self._start_ms is not None:
            return min(self._start_ms, now_ms), now_ms
        for name, scale in (
            ("prometheus_tsdb_lowest_timestamp_seconds", 1000),
            ("prometheus_tsdb_lowest_timestamp", 1),
        ):
            lowest = self._own_metric(name)
            if lowest is not None and 0 < lowest * scale < now_ms:
                return int(lowest * scale), now_ms
        return self._oldest_ms(now_ms), now_ms

    def _oldest_ms(self, now_ms: int) -> int:
        """The begin of the oldest month with series, looking back until a year has none."""
        oldest = now_ms - 15 * _DAY_MS
        empty = 0
        for k in range(_MONTHS_MAX):
            end = now_ms - k * _MONTH_MS
            between = [("start", f"{(end - _MONTH_MS) / 1000:.3f}"), ("end", f"{end / 1000:.3f}")]
            if self._query("labels", [*between, ("limit", "1")]):
                oldest, empty = min(oldest, end - _MONTH_MS), 0
            else:
                empty += 1
            if empty > 12:
                break
        return oldest

    def _own_metric(self, name: str) -> float | None:
        status, body = self._get("/metrics", ())
        for line in body.splitlines() if status == 200 else ():
            if line.startswith(name.encode() + b" "):
                try:
                    return float(line.split()[1])
                except ValueError:
                    return None
        return None

    def estimate(self, mint_ms: int, maxt_ms: int) -> Estimate:
        """Samples a second at five moments, the most of them taken for the whole range."""
        most = 0.0
        for k in range(5):
            at_ms = mint_ms + (maxt_ms - mint_ms) * k // 4
            rate = 0.0
            for selector in self._selectors:
                text = f"sum(count_over_time({_selector(selector)}[2m]))"
                try:
                    answer = self._query("query", [("query", text), ("time", f"{at_ms / 1000:.3f}")])
                except TooMuch:
                    continue  # an estimate may lack one of its moments
                for entry in (answer or {}).get("result") or ():
                    rate += float(entry["value"][1]) / 120
            most = max(most, rate)
        samples = int(most * (maxt_ms - mint_ms) / 1000)
        return Estimate(samples, int(samples * _BYTES_PER_SAMPLE))

    def _external_labels(self) -> dict[str, str]:
        """Remote read adds the server's external labels; its own storage does not have them."""
        data = self._query("status/config", [])
        try:
            found: Any = yaml.safe_load(data["yaml"])["global"]["external_labels"]
        except (TypeError, KeyError, yaml.YAMLError):
            return {}
        return {str(k): str(v) for k, v in found.items()} if isinstance(found, dict) else {}

    def _chosen(self) -> Via:
        """The best way that works, tried on the last minute."""
        now_ms = int(self._clock.now() * 1000)
        status, _, body = self._read_raw(self._selectors[0], now_ms - 60_000, now_ms)
        if status == 200:
            return "read"
        self._refused(status)
        self._check_busy("read", status, body)
        if self._raw(self._selectors[0], now_ms - 60_000, now_ms) is not None:
            self.notes.append(
                f"{self._base} has no remote read: copied by queries, without staleness markers and native "
                "histograms"
            )
            return "query"
        self.notes.append(f"{self._base} gives no raw samples: copied at a step of {self._step_ms / 1000:g}s")
        return "range"

    # --- reading ------------------------------------------------------------------------------------

    def read(self, mint_ms: int, maxt_ms: int) -> Iterator[Found]:
        for selector in self._selectors:
            if self.via == "read":
                yield self._read(selector, mint_ms, maxt_ms)
            elif self.via == "query":
                data = self._raw(selector, mint_ms, maxt_ms)
                if data is None:
                    raise TooMuch(f"{self._base} cannot answer for so long a time at once")
                yield self._loose(data)
            else:
                yield from self._stepped(selector, mint_ms, maxt_ms)

    def _read(self, selector: Sequence[Matcher], mint_ms: int, maxt_ms: int) -> Found:
        status, kind, body = self._read_raw(selector, mint_ms, maxt_ms)
        if status != 200:
            text = body[:200].decode("utf-8", "replace").strip()
            complaint = f"{self._base}/api/v1/read answered {status}: {text}"
            raise TooMuch(complaint) if status in _TOO_MUCH or "limit" in text else InputError(complaint)
        try:
            if "x-streamed-protobuf" in kind:
                found = found_in_frames(body)
            else:
                found = _of_columns(list(decode_samples_answer(unpack(body))))
        except (RemoteError, CorruptionError) as error:
            raise InputError(f"{self._base}/api/v1/read answered with damaged data: {error}") from None
        return self._stripped(found)

    def _stripped(self, found: Found) -> Found:
        if not self._strip:
            return found
        labels = [
            each.without(*[n for n, v in self._strip.items() if each.get(n) == v]) for each in found.labels
        ]
        return Found(labels, found.chunks, found.loose)

    def _read_raw(self, selector: Sequence[Matcher], mint_ms: int, maxt_ms: int) -> tuple[int, str, bytes]:
        request = read_request(selector, mint_ms, maxt_ms)
        headers = {**READ_HEADERS, **self._headers}
        return self._ask("POST", "/api/v1/read", headers, pack(request.SerializeToString()))

    def _raw(self, selector: Sequence[Matcher], mint_ms: int, maxt_ms: int) -> Any:
        """The raw samples of a range, or None where the server does not give them."""
        text = f"{_selector(selector)}[{maxt_ms - mint_ms + 1}ms]"
        data = self._query("query", [("query", text), ("time", f"{maxt_ms / 1000:.3f}")])
        return data if isinstance(data, dict) and data.get("resultType") == "matrix" else None

    def _stepped(self, selector: Sequence[Matcher], mint_ms: int, maxt_ms: int) -> Iterator[Found]:
        step = self._step_ms
        first = -(-mint_ms // step) * step
        for low in range(first, maxt_ms + 1, step * _STEPS_MAX):
            high = min(maxt_ms, low + step * (_STEPS_MAX - 1))
            params = [("query", _selector(selector)), ("step", f"{step / 1000:.3f}")]
            params += [("start", f"{low / 1000:.3f}"), ("end", f"{high / 1000:.3f}")]
            data = self._query("query_range", params)
            if data is None:
                raise TooMuch(f"{self._base} cannot answer for so long a time at once")
            yield self._loose(data)

    def _loose(self, data: Any) -> Found:
        """A matrix of the query API; native histograms are not in it with all their bits."""
        labels: list[Labels] = []
        series: list[int] = []
        times: list[int] = []
        values: list[float] = []
        for entry in data["result"]:
            points = entry.get("values") or ()
            if entry.get("histograms"):
                self._once("native histograms cannot be copied by queries and were passed over")
            if points:
                series += [len(labels)] * len(points)
                labels.append(Labels.of(entry["metric"]))
                times += [round(float(point[0]) * 1000) for point in points]
                values += [float(point[1]) for point in points]
        loose = LooseSamples(
            np.array(series, np.int64), np.array(times, np.int64), np.array(values, np.float64)
        )
        return Found(labels, _no_chunks(), loose)

    def _once(self, note: str) -> None:
        if note not in self.notes:
            self.notes.append(note)

    def extras(self, mint_ms: int, maxt_ms: int) -> Extras:
        """What the query API says; servers without it have none."""
        found = Extras()
        between = [("start", f"{mint_ms / 1000:.3f}"), ("end", f"{maxt_ms / 1000:.3f}")]
        for selector in self._selectors:
            data = self._query("query_exemplars", [("query", _selector(selector)), *between])
            for entry in data if isinstance(data, list) else ():
                series = Labels.of(entry.get("seriesLabels") or {}).without(*self._strip)
                for each in entry.get("exemplars") or ():
                    at_ms = round(float(each["timestamp"]) * 1000)
                    found.exemplars.append((series, Labels.of(each["labels"]), float(each["value"]), at_ms))
        metadata = self._query("metadata", [])
        for name, entries in metadata.items() if isinstance(metadata, dict) else ():
            for entry in entries:
                found.metadata[name] = MetadataEntry(
                    entry.get("type", ""), entry.get("help", ""), entry.get("unit", "")
                )
        return found

    # --- a server to write to -----------------------------------------------------------------------

    def status(self, name: str) -> dict[str, Any]:
        """A page of /api/v1/status. Raises InputError."""
        found = self._query(f"status/{name}", [])
        if not isinstance(found, dict):
            raise InputError(f"{self._base} does not tell its status/{name}", fix="check --to")
        return found

    def write(self, request: bytes) -> None:
        """A remote write request. What the server has already it passes over. Raises InputError."""
        headers = {
            "Content-Encoding": "snappy",
            "Content-Type": "application/x-protobuf",
            "X-Prometheus-Remote-Write-Version": "0.1.0",
            **self._headers,
        }
        status, _, body = self._ask("POST", "/api/v1/write", headers, pack(request))
        self._refused(status)
        text = body[:200].decode("utf-8", "replace").strip()
        if status == 404:
            fix = "start it with --web.enable-remote-write-receiver and run this again, or be content"
            raise InputError(
                f"{self._base} takes no remote write, and its log is as old as some samples", fix=fix
            )
        if status >= 300 and "duplicate" not in text and "out of order" not in text:
            raise InputError(f"{self._base}/api/v1/write answered {status}: {text}")

    # --- HTTP ---------------------------------------------------------------------------------------

    def _query(self, path: str, params: Sequence[tuple[str, str]]) -> Any:
        """``data`` of an answer, None for a server that refuses the query.

        Raises TooMuch for one that cannot answer now, InputError.
        """
        status, body = self._get(f"/api/v1/{path}", params)
        self._refused(status)
        self._check_busy(path, status, body)
        try:
            answer = msgspec.json.decode(body)
            return answer["data"] if answer["status"] == "success" else None
        except (msgspec.DecodeError, KeyError, TypeError):
            return None

    def _refused(self, status: int) -> None:
        if status in (401, 403):
            raise InputError(f"{self._base} answered {status}", fix="give --http.config.file or --header")

    def _check_busy(self, path: str, status: int, body: bytes) -> None:
        """A server that is overloaded has not said what it can do. Raises TooMuch."""
        if status == 429 or status >= 502:
            text = body[:200].decode("utf-8", "replace").strip()
            raise TooMuch(f"{self._base}/api/v1/{path} answered {status}: {text}", fix="try again later")

    def _get(self, path: str, params: Sequence[tuple[str, str]]) -> tuple[int, bytes]:
        query = f"?{urllib.parse.urlencode(params)}" if params else ""
        status, _, body = self._ask("GET", path + query, self._headers, None)
        return status, body

    def _ask(
        self, method: str, path: str, headers: Mapping[str, str], body: bytes | None
    ) -> tuple[int, str, bytes]:
        """One answer; a server that is busy, slow or away is asked again after a while.

        Raises TooMuch where it took too long every time, InputError where it cannot be reached.
        """
        for attempt in range(1, IMPORT_TRIES_MAX + 1):
            try:
                answer = self._runner.run(self._fetch(method, self._base + path, headers, body))
                busy = answer[0] in _BUSY or (answer[0] == 503 and b'"timeout"' not in answer[2][:200])
                if not busy or attempt == IMPORT_TRIES_MAX:
                    return answer
            except TimeoutError:
                raise TooMuch(f"{self._base} did not answer within {_TIMEOUT_SECONDS:g} s") from None
            except FETCH_ERRORS as error:
                if attempt == IMPORT_TRIES_MAX or not self._answered:
                    text = str(error) or type(error).__name__
                    raise InputError(f"cannot reach {self._base}: {text}", fix="check the URL") from None
            pause(min(2.0 ** (attempt - 2), _PAUSE_SECONDS_MAX))
        raise AssertionError("the last try answers or raises")

    async def _fetch(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes | None
    ) -> tuple[int, str, bytes]:
        async with self._client.request(
            method, url, headers=headers, data=body, timeout_seconds=_TIMEOUT_SECONDS
        ) as response:
            parts = bytearray()
            async for part in response.content.iter_any():
                parts += part
                if len(parts) > IMPORT_ANSWER_BYTES_MAX:
                    raise TooMuch(f"{url.partition('?')[0]} answered with more than {len(parts)} bytes")
            self._answered = True
            return response.status, response.headers.get("Content-Type", ""), bytes(parts)

    def close(self) -> None:
        self._runner.run(self._client.close())
        self._runner.close()


async def _client(config: HTTPClientConfig, clock: Clock) -> HTTPClient:
    return HTTPClient(config, clock)


def _selector(matchers: Sequence[Matcher]) -> str:
    return "{" + ",".join(map(str, matchers)) + "}"


def _no_chunks() -> ChunkSet:
    none = _NO_CHUNKS
    return ChunkSet(none, none, none, none, none, none, none, [])


def _of_columns(series: Sequence[tuple[Labels, Any]]) -> Found:
    """The samples of a remote read answer that was not streamed."""
    loose = LooseSamples()
    for i, (_, columns) in enumerate(series):
        loose = loose.extended(
            LooseSamples(
                np.full(len(columns.times_ms), i, np.int64),
                columns.times_ms,
                columns.values,
                columns.histograms,
            )
        )
    return Found([labels for labels, _ in series], _no_chunks(), loose)
