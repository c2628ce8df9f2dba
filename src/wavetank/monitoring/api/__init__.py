"""The HTTP API v1 and the pages beside it.

Mirrors web/api/v1 and web of prometheus/prometheus: paths, parameters, envelopes, error types and codes.
Left out: remote read, OTLP, search (experimental), and the upstream web pages.
"""
