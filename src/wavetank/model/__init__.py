"""Prometheus' data model: labels, matchers, durations, special float values.

Mirrors ``model/labels`` and ``model/value`` of prometheus/prometheus.
"""
