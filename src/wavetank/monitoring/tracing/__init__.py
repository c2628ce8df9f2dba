"""The server's own traces: spans of requests, queries, rules and scrapes, sent by OTLP.

Mirrors tracing/ of prometheus/prometheus and the parts of the OpenTelemetry SDK it stands on. ``Tracer``
makes spans and does nothing while it is off; ``Tracing`` puts a configuration's ``tracing`` section to work.
Left out: spans of remote write and read, and passing a trace on to scraped targets.
"""

from wavetank.monitoring.tracing.span import Parent, Span, Tracer

__all__ = ["Parent", "Span", "Tracer"]
