"""Receivers: one notification to one integration.

Mirrors notify/*. All of them but email are functions from a section and a notification to HTTP requests; one
core (``web.py``) sends those, and says whether to try again.
"""
