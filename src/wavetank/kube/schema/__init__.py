"""What the fields of every kind are: names, types, merge keys, protobuf numbers.

``fields.json`` states facts of the public API types (kubernetes/api of 2026-07, Apache-2.0): per message,
each field's protobuf number, type, and how lists and maps merge. From this one table come the check of
unknown fields, strategic merge, server-side apply, the protobuf decoder and the OpenAPI documents. Left out:
descriptions and enumerations.
"""
