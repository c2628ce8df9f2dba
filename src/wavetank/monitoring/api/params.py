"""Reading parameters from the query string and, for POST, from the form.

Mirrors parseTimeParam, parseDuration, parseLimitParam and parseMatchersParam of web/api/v1/api.go.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from urllib.parse import parse_qs

from starlette.requests import Request

from wavetank.limits import MATCH_CHARS_MAX, PROMQL_REGEX_SIZE_MAX, REQUEST_BODY_BYTES_MAX
from wavetank.model.duration import parse_duration
from wavetank.model.labels import Matcher
from wavetank.model.quoting import quote
from wavetank.monitoring.api.answer import ApiFailure, bad_data
from wavetank.monitoring.rfc3339 import TIME_MAX_MS, TIME_MIN_MS, parse_time_ms
from wavetank.promql.parser import ParseError, parse_metric_selector

__all__ = ["Params", "no_selector", "parse_integer", "range_of", "read_body", "read_params"]

_FIELDS_MAX = 10_000
_POINTS_MAX = 11_000


async def read_body(request: Request, limit: int = REQUEST_BODY_BYTES_MAX) -> bytes:
    """The whole body. Raises ApiFailure if it is larger than ``limit``."""
    body = bytearray()
    async for part in request.stream():
        body += part
        if len(body) > limit:
            raise bad_data(f"body is larger than {limit} bytes")
    return bytes(body)


async def read_params(request: Request) -> Params:
    """Parameters of the URL and of a form; the form's come first, as in Go."""
    values: dict[str, list[str]] = {}
    if request.method in ("POST", "PUT", "PATCH"):
        kind = request.headers.get("content-type", "").partition(";")[0].strip()
        if kind == "application/x-www-form-urlencoded":
            body = await read_body(request)
            values = _fields(body.decode("utf-8", "replace"))
    for name, found in _fields(request.url.query).items():
        values.setdefault(name, []).extend(found)
    return Params(values)


def _fields(text: str) -> dict[str, list[str]]:
    try:
        return parse_qs(text, keep_blank_values=True, max_num_fields=_FIELDS_MAX)
    except ValueError as error:
        raise bad_data(f"error parsing form values: {error}") from None


class Params:
    """Parameters by name; each may be given more than once."""

    def __init__(self, values: Mapping[str, Sequence[str]]) -> None:
        self._values = values

    def text(self, name: str, default: str = "") -> str:
        values = self._values.get(name)
        return values[0] if values else default

    def all(self, name: str) -> list[str]:
        return list(self._values.get(name, ()))

    def flag(self, name: str) -> bool:
        """A boolean; absent or empty is false."""
        text = self.text(name)
        if text.lower() in ("", "0", "f", "false"):
            return False
        if text.lower() in ("1", "t", "true"):
            return True
        raise bad_data(f'invalid parameter "{name}": not a boolean: "{text}"')

    def time_ms(self, name: str, default: int | None = None, *, named: bool = True) -> int:
        """A time; the default where it is absent or empty, and an error where there is none.

        An error begins with the parameter's name if it is to be ``named``.
        """
        text = self.text(name)
        if text == "" and default is not None:
            return default
        try:
            return parse_time_ms(text)
        except ValueError as error:
            said = f"{error}" if default is None else f"invalid time value for '{name}': {error}"
            raise bad_data(_about(name, said) if named else said) from None

    def span_ms(self) -> tuple[int, int]:
        """``start`` and ``end``; everything where they are absent."""
        return self.time_ms("start", TIME_MIN_MS), self.time_ms("end", TIME_MAX_MS)

    def duration_ms(self, name: str, default: int | None = None) -> int:
        """A duration: ``5m``, or seconds with a fraction."""
        text = self.text(name)
        if text == "" and default is not None:
            return default
        try:
            seconds = float(text)
        except ValueError:
            pass
        else:
            if abs(seconds) <= TIME_MAX_MS / 1000:
                return round(seconds * 1000)
            raise bad_data(
                _about(name, f"cannot parse {quote(text)} to a valid duration. It overflows int64")
            )
        try:
            return parse_duration(text)
        except ValueError:
            raise bad_data(_about(name, f"cannot parse {quote(text)} to a valid duration")) from None

    def limit(self, name: str = "limit", default: int = 0) -> int:
        """How many; 0 is all."""
        text = self.text(name)
        if text == "":
            return default
        try:
            value = parse_integer(text)
        except ValueError as error:
            raise bad_data(_about(name, f"{error}")) from None
        if value < 0:
            raise bad_data(_about(name, "limit must be non-negative"))
        return value

    def number(self, name: str) -> int:
        """How many; -1 where it is absent. Raises ApiFailure for what is no number."""
        text = self.text(name)
        try:
            return parse_integer(text) if text else -1
        except ValueError:
            raise bad_data(f"{name} must be a number") from None

    def matcher_sets(self, *, named: bool = False, may_match_all: bool = False) -> list[list[Matcher]]:
        """The selectors of ``match[]``. Errors begin with that name if it is to be ``named``."""
        found = []
        texts, size = self.all("match[]"), 0
        if sum(map(len, texts)) > MATCH_CHARS_MAX:
            raise bad_data(f"match[] has more than {MATCH_CHARS_MAX} characters")
        try:
            for text in texts:
                matchers = parse_metric_selector(text)
                size += sum(matcher.regex_size for matcher in matchers)
                if size > PROMQL_REGEX_SIZE_MAX:
                    raise bad_data("the regular expressions are too large together")
                if not may_match_all and all(matcher.matches("") for matcher in matchers):
                    raise bad_data("match[] must contain at least one non-empty matcher")
                found.append(matchers)
        except (ParseError, ApiFailure) as error:
            raise bad_data(_about("match[]", error.message) if named else error.message) from None
        return found


def parse_integer(text: str) -> int:
    """As Go's strconv.Atoi. Raises ValueError with its text."""
    digits = text[1:] if text[:1] in ("+", "-") else text
    if not (digits.isascii() and digits.isdigit()):
        raise ValueError(f"strconv.Atoi: parsing {quote(text)}: invalid syntax")
    if len(digits.lstrip("0")) > 19 or not -(1 << 63) <= int(text) < 1 << 63:
        raise ValueError(f"strconv.Atoi: parsing {quote(text)}: value out of range")
    return int(text)


def _about(name: str, text: str) -> str:
    return f'invalid parameter "{name}": {text}'


def range_of(params: Params) -> tuple[int, int, int]:
    """``start``, ``end`` and ``step`` of a range query, in ms. Raises ApiFailure."""
    start, end = params.time_ms("start"), params.time_ms("end")
    if end < start:
        raise bad_data('invalid parameter "end": end timestamp must not be before start time')
    step = params.duration_ms("step")
    if step <= 0:
        raise bad_data(
            'invalid parameter "step": zero or negative query resolution step widths are not accepted. '
            "Try a positive integer"
        )
    if (end - start) // step > _POINTS_MAX:
        raise bad_data(
            "exceeded maximum resolution of 11,000 points per timeseries. "
            "Try decreasing the query resolution (?step=XX)"
        )
    return start, end, step


def no_selector() -> ApiFailure:
    return bad_data("no match[] parameter provided")
