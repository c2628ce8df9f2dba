"""Scraping: targets, their loops, and storing what they expose.

Mirrors prometheus/scrape. Left out: HTTP/2, and start timestamps injected as zero samples.
"""

from wavetank.monitoring.scrape.pool import ScrapePool, ScrapePools

__all__ = ["ScrapePool", "ScrapePools"]
