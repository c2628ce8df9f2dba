"""Spans as OTLP's ExportTraceServiceRequest."""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span as SpanMessage
from opentelemetry.proto.trace.v1.trace_pb2 import Status

from wavetank.monitoring.tracing.span import Span, Value, short_text

__all__ = ["encode"]


def encode(spans: Sequence[Span], version: str) -> bytes:
    """The message, serialised."""
    request = ExportTraceServiceRequest()
    group = request.resource_spans.add()
    group.resource.attributes.extend(
        _attributes(
            {
                "service.name": "prometheus",
                "service.version": version,
                "process.runtime.name": platform.python_implementation().lower(),
                "process.runtime.version": platform.python_version(),
                "telemetry.sdk.name": "wavetank",
                "telemetry.sdk.language": "python",
            }
        )
    )
    group.scope_spans.add().spans.extend(_message(span) for span in spans)
    return bytes(request.SerializeToString())


def _message(span: Span) -> SpanMessage:
    return SpanMessage(
        trace_id=span.trace_id.to_bytes(16, "big"),
        span_id=span.span_id.to_bytes(8, "big"),
        parent_span_id=span.parent_id.to_bytes(8, "big") if span.parent_id else b"",
        name=span.name,
        kind=span.kind,  # type: ignore[arg-type]
        start_time_unix_nano=span.start_ns,
        end_time_unix_nano=span.end_ns,
        attributes=_attributes(span.attributes),
        status=_failed(span.error) if span.error else None,
    )


def _failed(error: str) -> Status:
    return Status(code=Status.STATUS_CODE_ERROR, message=short_text(error))


def _attributes(values: Mapping[str, Value]) -> list[KeyValue]:
    return [KeyValue(key=key, value=_value(value)) for key, value in values.items()]


def _value(value: Value) -> AnyValue:
    if isinstance(value, bool):
        return AnyValue(bool_value=value)
    if isinstance(value, int):
        return AnyValue(int_value=value)
    return AnyValue(double_value=value) if isinstance(value, float) else AnyValue(string_value=value)
