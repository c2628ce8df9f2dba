"""custom.metrics.k8s.io, external.metrics.k8s.io and, by ``resourceRules``, metrics.k8s.io from Prometheus.

Mirrors prometheus-adapter (``pkg/naming``, ``pkg/custom-provider``, ``pkg/external-provider``,
``pkg/resourceprovider``) and reads its configuration file as it is. Left out on purpose: its flags for
talking to Prometheus; the tank's own is asked.
"""
