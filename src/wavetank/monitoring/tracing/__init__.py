"""The server's own traces: spans of requests, queries, rules, scrapes, remote write and read, sent by OTLP.

Mirrors tracing/ of prometheus/prometheus and the parts of the OpenTelemetry SDK it stands on. ``Tracer``
makes spans and does nothing while it is off; ``Tracing`` puts a configuration's ``tracing`` section to work.
Servers that are asked, scraped targets among them, hear of the trace by ``traceparent``.
"""

from wavetank.monitoring.tracing.span import Parent, Span, Tracer

__all__ = ["Parent", "Span", "Tracer"]
