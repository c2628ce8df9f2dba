"""This machine under the node exporter's names.

Mirrors prometheus/node_exporter 1.12 on Linux, from /proc, /sys and system calls: the collectors that are on
by default and have anything to say on an ordinary machine, and of the others those that community dashboards
ask for. ``collect`` runs them, each alone: one that fails says so in ``node_scrape_collector_success``.
"""

from wavetank.exporters.node.collectors import COLLECTORS, Settings, collect, families
from wavetank.exporters.node.host import Host

__all__ = ["COLLECTORS", "Host", "Settings", "collect", "families"]
