"""Receiving metrics by OTLP over HTTP.

Mirrors storage/remote/otlptranslator and prometheus/otlptranslator: ``names`` turns OpenTelemetry's names
into Prometheus', ``convert`` its data points into series. Delta temporality is refused, data point by data
point; there is no conversion to cumulative.
"""
