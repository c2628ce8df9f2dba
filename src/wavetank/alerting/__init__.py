"""Alertmanager: who is told of an alert, when, how often, and who is not.

Mirrors prometheus/alertmanager 0.34: the configuration file, the route tree, aggregation groups, inhibition,
silences, time intervals, the notification log, receivers over HTTP and SMTP, and the HTTP API v2.

One instance, no gossip: the high-availability cluster is left out on purpose, and ``--cluster.peer`` is
refused. Silences and the notification log are on disk as soon as they are acknowledged, where upstream
writes a snapshot every fifteen minutes.
"""
