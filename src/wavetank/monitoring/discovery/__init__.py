"""Service discovery: static, file, http, dns, consul and kubernetes.

Mirrors prometheus/discovery. Mechanisms of single clouds are left out: ``http_sd_configs`` takes their place.
"""

from wavetank.monitoring.discovery.group import Discoverer, TargetGroup
from wavetank.monitoring.discovery.pool import DiscoveryPool

__all__ = ["Discoverer", "DiscoveryPool", "TargetGroup"]
