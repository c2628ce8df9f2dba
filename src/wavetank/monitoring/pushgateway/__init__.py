"""Pushgateway: metrics of jobs that do not live long enough to be scraped.

Mirrors prometheus/pushgateway 1.11: PUT, POST and DELETE by grouping key, the consistency check, times of the
last success and failure, persistence, API v1. Native histograms are refused; the persistence file is of a
format of our own.
"""
