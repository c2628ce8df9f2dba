"""The Prometheus server around the TSDB and PromQL.

Mirrors prometheus/prometheus 3.14: its configuration file, discovery, relabelling, scraping, rules and
alerts, the Alertmanager client and the HTTP API v1. Samples are kept by ``wavetank.tsdb`` and asked by
``wavetank.promql``; this room only brings them in and gives them out. Left out on purpose: the cloud
discoveries (use ``http_sd_configs``) and the upstream web pages (``wavetank.web`` has its own).
"""
