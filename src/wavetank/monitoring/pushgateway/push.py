"""From a request to families: the grouping key of a path, the families of a body.

Mirrors handler/push.go.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping
from typing import Final

import msgspec

from wavetank.exposition.errors import ExpositionError
from wavetank.exposition.parser import parse
from wavetank.exposition.samples import Metadata, ScrapedSamples
from wavetank.model.labels import METRIC_NAME, is_legacy_label

__all__ = ["Family", "PushError", "PushedSample", "families_of", "grouping_key", "unescape"]

_BASE64: Final = "@base64"
_ESCAPED: Final = "U__"
_LEGACY_NAME: Final = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*\Z")
_SUFFIXES: Final = {
    "histogram": ("_bucket", "_sum", "_count"),
    "summary": ("_sum", "_count"),
}
_NO_TIMESTAMP: Final = -(2**62)


class PushError(ValueError):
    """The request is at fault; upstream's text."""


class PushedSample(msgspec.Struct, frozen=True):
    """``name`` is the whole name, suffix included; ``labels`` are sorted, the grouping key's among them."""

    name: str
    labels: dict[str, str]
    value: float


class Family(msgspec.Struct, frozen=True):
    """All samples of one metric in one group; ``timestamp`` is when they were pushed, Unix seconds."""

    name: str
    type: str
    help: str
    samples: tuple[PushedSample, ...]
    timestamp: float


def grouping_key(job: str, encoded: bool, rest: str, *, utf8: bool) -> dict[str, str]:
    """The labels of ``/job/<job>/<name>/<value>...``. Raises PushError."""
    if encoded:
        try:
            job = _decode(job)
        except ValueError as error:
            raise PushError(f'invalid base64 encoding in job name "{job}": {error}') from None
    labels: dict[str, str] = {}
    parts = rest.split("/") if rest else []
    if len(parts) % 2:
        raise PushError(f'odd number of components in label string "/{rest}"')
    for name, value in zip(parts[::2], parts[1::2], strict=True):
        bare = name.removesuffix(_BASE64)
        plain = unescape(bare) if utf8 else bare
        valid = bool(plain) if utf8 else is_legacy_label(plain)
        if not valid or plain.startswith("__"):
            raise PushError(f'improper label name "{plain}"')
        try:
            labels[plain] = value if bare == name else _decode(value)
        except ValueError as error:
            raise PushError(f'invalid base64 encoding for label {plain}="{value}": {error}') from None
    if not job:
        raise PushError("job name is required")
    return {**labels, "job": job}


def unescape(name: str) -> str:
    """A name in the ``U__`` form of values escaping; others, and what is no such form, as they are."""
    if not name.startswith(_ESCAPED):
        return name
    text = name.removeprefix(_ESCAPED)
    found, at = [], 0
    while at < len(text):
        if text[at] != "_":
            found.append(text[at])
            at += 1
            continue
        code, underscore, _ = text[at + 1 :].partition("_")
        if not underscore or (code and re.fullmatch(r"[0-9a-fA-F]{1,6}", code) is None):
            return name
        if not code:
            found.append("_")
        elif (point := int(code, 16)) < 0x110000 and not 0xD800 <= point < 0xE000:
            found.append(chr(point))
        else:
            return name
        at += len(code) + 2
    return "".join(found)


def _decode(text: str) -> str:
    """URL-safe base64, padded or not. Raises ValueError."""
    bare = text.rstrip("=")
    try:
        if re.search(r"[^A-Za-z0-9_-]", bare):
            raise ValueError("illegal base64 data")
        return base64.urlsafe_b64decode(bare + "=" * (-len(bare) % 4)).decode()
    except (binascii.Error, UnicodeDecodeError):
        raise ValueError("illegal base64 data") from None


def families_of(
    body: bytes, content_type: str, group: Mapping[str, str], now: float, *, utf8: bool
) -> dict[str, Family]:
    """The body's families by name. The grouping key's labels win; ``instance`` is always there.

    Raises PushError for a body that does not parse or has timestamps.
    """
    protobuf = content_type.replace(" ", "").lower().startswith("application/vnd.google.protobuf;")
    try:
        scraped = parse(body, content_type if protobuf else "text/plain", default_timestamp_ms=_NO_TIMESTAMP)
    except ExpositionError as error:
        raise PushError(f"text format parsing error: {error}") from None
    if scraped.histograms:
        raise PushError("native histograms are not supported")
    if bool(scraped.explicit.any()):
        raise PushError(
            "pushed metrics are invalid or inconsistent with existing metrics: "
            "pushed metrics must not have timestamps"
        )
    return _assembled(scraped, group, now, utf8=utf8)


def _assembled(
    scraped: ScrapedSamples, group: Mapping[str, str], now: float, *, utf8: bool
) -> dict[str, Family]:
    samples: dict[str, list[PushedSample]] = {}
    for labels, value in zip(scraped.labels, scraped.values.tolist(), strict=True):
        own = {name: text for name, text in labels.pairs if name != METRIC_NAME}
        if not utf8:
            _check_legacy(labels.name, own)
        merged = {"instance": "", **own, **group}
        made = PushedSample(labels.name, {name: merged[name] for name in sorted(merged)}, value)
        samples.setdefault(_family_name(labels.name, scraped.metadata), []).append(made)
    found = {}
    for name, members in samples.items():
        metadata = scraped.metadata.get(name, Metadata())
        kind = "untyped" if metadata.type == "unknown" else metadata.type
        found[name] = Family(name, kind, metadata.help, tuple(members), now)
    return found


def _check_legacy(name: str, labels: Mapping[str, str]) -> None:
    if _LEGACY_NAME.match(name) is None:
        raise PushError(f'text format parsing error: invalid metric name "{name}"')
    for label in labels:
        if not is_legacy_label(label):
            raise PushError(f'text format parsing error: invalid label name "{label}"')


def _family_name(name: str, metadata: Mapping[str, Metadata]) -> str:
    if name in metadata:
        return name
    for kind, suffixes in _SUFFIXES.items():
        for suffix in suffixes:
            base = name.removesuffix(suffix)
            if base != name and base in metadata and metadata[base].type == kind:
                return base
    return name
