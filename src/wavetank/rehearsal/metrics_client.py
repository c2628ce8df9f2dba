"""Asks any Prometheus HTTP API: ``wavetank.analysis.query.Query`` over aiohttp."""

from __future__ import annotations

from typing import Any

import aiohttp
import msgspec

from wavetank.analysis.query import Series
from wavetank.errors import InternalError

__all__ = ["PrometheusQuery"]

READY_SECONDS = 2.0  # how long a server may take to say whether it is ready


class PrometheusQuery:
    """``url`` is the server's root. Close with ``await query.close()``."""

    def __init__(self, url: str, *, timeout_seconds: float = 30.0) -> None:
        self._url = url.rstrip("/")
        self._timeout = aiohttp.ClientTimeout(total=timeout_seconds)
        self._session: aiohttp.ClientSession | None = None

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()

    async def ready(self) -> bool:
        try:
            timeout = aiohttp.ClientTimeout(total=READY_SECONDS)
            async with self._http().get(f"{self._url}/-/ready", timeout=timeout) as answer:
                return answer.status == 200
        except (aiohttp.ClientError, TimeoutError):
            return False

    async def instant(self, expr: str, at: float) -> list[Series]:
        data = await self._ask("query", {"query": expr, "time": f"{at:.3f}"})
        if data["resultType"] == "scalar":
            when, value = data["result"]
            return [Series({}, [float(when)], [float(value)])]
        return [
            Series(row["metric"], [float(row["value"][0])], [float(row["value"][1])])
            for row in data["result"]
            if "value" in row
        ]

    async def range(self, expr: str, start: float, end: float, step: float) -> list[Series]:
        parameters = {"query": expr, "start": f"{start:.3f}", "end": f"{end:.3f}", "step": f"{step:g}"}
        data = await self._ask("query_range", parameters)
        return [
            Series(row["metric"], [float(t) for t, _ in row["values"]], [float(v) for _, v in row["values"]])
            for row in data["result"]
            if "values" in row
        ]

    async def get(self, path: str) -> Any:
        """The ``data`` of any other endpoint of the API."""
        return await self._ask(path, None)

    def _http(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(timeout=self._timeout)
        return self._session

    async def _ask(self, endpoint: str, parameters: dict[str, str] | None) -> Any:
        method = "GET" if parameters is None else "POST"
        try:
            async with self._http().request(
                method, f"{self._url}/api/v1/{endpoint}", data=parameters
            ) as answer:
                body = msgspec.json.decode(await answer.read())
        except (aiohttp.ClientError, TimeoutError, msgspec.DecodeError) as error:
            raise InternalError(f"monitoring does not answer at {self._url}: {error}") from error
        if body.get("status") != "success":
            asked = (parameters or {}).get("query", endpoint)
            raise InternalError(f"query failed: {body.get('error')} (in {asked})")
        return body["data"]
