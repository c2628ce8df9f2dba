"""The protobuf messages of the remote protocols.

Declared here as a table and built at import into a pool of their own: no generated code, no global names.
Numbers follow prompb/types.proto, prompb/remote.proto and prompb/io/prometheus/write/v2/types.proto, the
published wire formats.
"""

from __future__ import annotations

from typing import Any, Final

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

__all__ = [
    "METADATA_TYPES",
    "ChunkedReadResponse",
    "ReadRequest",
    "ReadResponse",
    "Request",
    "WriteRequest",
]

#: Words of the enumeration MetricType, in the order of their numbers.
METADATA_TYPES: Final = (
    "unknown",
    "counter",
    "gauge",
    "histogram",
    "gaugehistogram",
    "summary",
    "info",
    "stateset",
)

# field: (number, name, type), "*" before a type for repeated; types with a capital are messages.
_HISTOGRAM: Final = (
    (1, "count_int", "uint64"),
    (2, "count_float", "double"),
    (3, "sum", "double"),
    (4, "schema", "sint32"),
    (5, "zero_threshold", "double"),
    (6, "zero_count_int", "uint64"),
    (7, "zero_count_float", "double"),
    (8, "negative_spans", "*BucketSpan"),
    (9, "negative_deltas", "*sint64"),
    (10, "negative_counts", "*double"),
    (11, "positive_spans", "*BucketSpan"),
    (12, "positive_deltas", "*sint64"),
    (13, "positive_counts", "*double"),
    (14, "reset_hint", "int32"),
    (15, "timestamp", "int64"),
    (16, "custom_values", "*double"),
)
_SPAN: Final = ((1, "offset", "sint32"), (2, "length", "uint32"))
_V1: Final = {
    "Label": ((1, "name", "string"), (2, "value", "string")),
    "Sample": ((1, "value", "double"), (2, "timestamp", "int64")),
    "Exemplar": ((1, "labels", "*Label"), (2, "value", "double"), (3, "timestamp", "int64")),
    "BucketSpan": _SPAN,
    "Histogram": _HISTOGRAM,
    "TimeSeries": (
        (1, "labels", "*Label"),
        (2, "samples", "*Sample"),
        (3, "exemplars", "*Exemplar"),
        (4, "histograms", "*Histogram"),
    ),
    "MetricMetadata": (
        (1, "type", "int32"),
        (2, "metric_family_name", "string"),
        (4, "help", "string"),
        (5, "unit", "string"),
    ),
    "WriteRequest": ((1, "timeseries", "*TimeSeries"), (3, "metadata", "*MetricMetadata")),
    "LabelMatcher": ((1, "type", "int32"), (2, "name", "string"), (3, "value", "string")),
    "ReadHints": (
        (1, "step_ms", "int64"),
        (2, "func", "string"),
        (3, "start_ms", "int64"),
        (4, "end_ms", "int64"),
        (5, "grouping", "*string"),
        (6, "by", "bool"),
        (7, "range_ms", "int64"),
    ),
    "Query": (
        (1, "start_timestamp_ms", "int64"),
        (2, "end_timestamp_ms", "int64"),
        (3, "matchers", "*LabelMatcher"),
        (4, "hints", "ReadHints"),
    ),
    "ReadRequest": ((1, "queries", "*Query"), (2, "accepted_response_types", "*int32")),
    "QueryResult": ((1, "timeseries", "*TimeSeries"),),
    "ReadResponse": ((1, "results", "*QueryResult"),),
    "Chunk": (
        (1, "min_time_ms", "int64"),
        (2, "max_time_ms", "int64"),
        (3, "type", "int32"),
        (4, "data", "bytes"),
    ),
    "ChunkedSeries": ((1, "labels", "*Label"), (2, "chunks", "*Chunk")),
    "ChunkedReadResponse": ((1, "chunked_series", "*ChunkedSeries"), (2, "query_index", "int64")),
}
_V2: Final = {
    "BucketSpan": _SPAN,
    "Histogram": (*_HISTOGRAM, (17, "start_timestamp", "int64")),
    "Sample": ((1, "value", "double"), (2, "timestamp", "int64"), (3, "start_timestamp", "int64")),
    "Exemplar": ((1, "labels_refs", "*uint32"), (2, "value", "double"), (3, "timestamp", "int64")),
    "Metadata": ((1, "type", "int32"), (3, "help_ref", "uint32"), (4, "unit_ref", "uint32")),
    "TimeSeries": (
        (1, "labels_refs", "*uint32"),
        (2, "samples", "*Sample"),
        (3, "histograms", "*Histogram"),
        (4, "exemplars", "*Exemplar"),
        (5, "metadata", "Metadata"),
        (6, "created_timestamp", "int64"),
    ),
    "Request": ((4, "symbols", "*string"), (5, "timeseries", "*TimeSeries")),
}
_Field = descriptor_pb2.FieldDescriptorProto
_TYPES: Final = {
    "string": _Field.TYPE_STRING,
    "bytes": _Field.TYPE_BYTES,
    "bool": _Field.TYPE_BOOL,
    "double": _Field.TYPE_DOUBLE,
    "int32": _Field.TYPE_INT32,
    "int64": _Field.TYPE_INT64,
    "uint32": _Field.TYPE_UINT32,
    "uint64": _Field.TYPE_UINT64,
    "sint32": _Field.TYPE_SINT32,
    "sint64": _Field.TYPE_SINT64,
}
# Which kind of count a histogram has is told by which of the two fields is present.
_PRESENT: Final = frozenset({"count_int", "count_float"})


def _build(package: str, table: dict[str, Any]) -> dict[str, Any]:
    """The message classes of a table, by name."""
    file = descriptor_pb2.FileDescriptorProto(name=f"{package}.proto", package=package, syntax="proto3")
    for name, fields in table.items():
        message = file.message_type.add(name=name)
        for number, field_name, kind in fields:
            word = kind.lstrip("*")
            field = message.field.add(
                name=field_name,
                number=number,
                label=_Field.LABEL_REPEATED if kind.startswith("*") else _Field.LABEL_OPTIONAL,
                type=_TYPES.get(word, _Field.TYPE_MESSAGE),
            )
            if word not in _TYPES:
                field.type_name = f".{package}.{word}"
            if field_name in _PRESENT:
                field.oneof_index = 0
        if any(field[1] in _PRESENT for field in fields):
            message.oneof_decl.add(name="count")
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return {
        name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{package}.{name}"))
        for name in table
    }


_ONE = _build("prometheus", _V1)
_TWO = _build("io.prometheus.write.v2", _V2)
WriteRequest: Any = _ONE["WriteRequest"]
ReadRequest: Any = _ONE["ReadRequest"]
ReadResponse: Any = _ONE["ReadResponse"]
ChunkedReadResponse: Any = _ONE["ChunkedReadResponse"]
Request: Any = _TWO["Request"]
