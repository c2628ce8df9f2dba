"""``kubernetes_sd_configs``: targets from a Kubernetes API, ours or any other.

Mirrors discovery/kubernetes of prometheus/prometheus: all roles, selectors, namespaces and attached
metadata. Left out: credential plugins of kubeconfigs.
"""

from wavetank.monitoring.discovery.kubernetes.watcher import KubernetesDiscovery

__all__ = ["KubernetesDiscovery"]
