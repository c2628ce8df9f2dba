"""The write-ahead log, in Prometheus' format: segments of pages of fragments of records.

Mirrors ``tsdb/wlog`` and ``tsdb/record``. ``framing`` turns records into pages and back, ``records`` turns
columns into records and back, ``log`` owns a directory of segments.
"""
