"""Alertmanager's HTTP side: API v2, lifecycle, metrics, one page. Mirrors api/v2 and ui."""
