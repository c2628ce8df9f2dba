"""Exporters: other systems' state under the metric names that dashboards and alert rules expect.

``kube_state`` mirrors kube-state-metrics, ``node`` the node exporter. Both are functions to metric families
of ``wavetank.exposition.render``; whoever serves ``/metrics`` calls them, or ``node.app`` for the exporter
as a server.
"""
