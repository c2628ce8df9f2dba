"""Time series storage in Prometheus' on-disk format, in columns.

Mirrors ``tsdb`` of prometheus/prometheus: head, write-ahead log, blocks, compaction, tombstones, exemplars.
The head is a structure of arrays and the loops over samples are kernels; the files are Prometheus' own, in
both directions. Left out on purpose: memory-mapped index headers for remote objects (``longterm``'s work)
and the agent's log-only mode.
"""
