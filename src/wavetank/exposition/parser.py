"""Choosing the format by Content-Type. Mirrors ``textparse.New``."""

from __future__ import annotations

from wavetank.exposition.errors import UnsupportedContentType
from wavetank.exposition.samples import ScrapedSamples
from wavetank.exposition.text import parse_openmetrics, parse_text

__all__ = ["format_of", "parse"]

# scrape_protocols of the configuration, for fallback_scrape_protocol
_PROTOCOLS = {
    "PrometheusText0.0.4": "text",
    "PrometheusText1.0.0": "text",
    "OpenMetricsText0.0.1": "openmetrics",
    "OpenMetricsText1.0.0": "openmetrics",
    "PrometheusProto": "protobuf",
}


def format_of(content_type: str, fallback: str | None = None) -> str:
    """``text``, ``openmetrics`` or ``protobuf``; ``fallback`` is a media type or a scrape protocol's name.

    Raises UnsupportedContentType where Prometheus 3 fails the scrape.
    """
    media, *parameters = (part.strip() for part in content_type.split(";"))
    given = dict(p.split("=", 1) for p in parameters if "=" in p)
    match media.lower():
        case "application/openmetrics-text":
            return "openmetrics"
        case "text/plain":
            return "text"
        case "application/vnd.google.protobuf":
            if (
                given.get("encoding", "delimited") == "delimited"
                and given.get("proto", "io.prometheus.client.MetricFamily")
                == "io.prometheus.client.MetricFamily"
            ):
                return "protobuf"
    if fallback:
        return _PROTOCOLS[fallback] if fallback in _PROTOCOLS else format_of(fallback)
    problem = f"unsupported Content-Type {content_type!r}" if content_type else "no Content-Type"
    raise UnsupportedContentType(
        f"{problem} in the scrape's response", fix="set fallback_scrape_protocol, or fix the target"
    )


def parse(
    body: bytes,
    content_type: str,
    *,
    default_timestamp_ms: int,
    fallback: str | None = None,
    read_starts: bool = True,
) -> ScrapedSamples:
    """Read a scraped body of any format.

    With ``read_starts``, OpenMetrics' ``_created`` samples become start timestamps; without, they are samples
    like others. Samples without a timestamp of their own get ``default_timestamp_ms``.

    Raises ExpositionError with line and text, UnsupportedContentType if neither the type nor ``fallback``
    names a format.
    """
    match format_of(content_type, fallback):
        case "openmetrics":
            return parse_openmetrics(body, default_timestamp_ms, read_starts=read_starts)
        case "protobuf":
            from wavetank.exposition.protobuf import parse_protobuf

            return parse_protobuf(body, default_timestamp_ms)
        case _:
            return parse_text(body, default_timestamp_ms)
