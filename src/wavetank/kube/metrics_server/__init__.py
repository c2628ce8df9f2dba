"""The metrics server: scrapes every kubelet's /metrics/resource and serves metrics.k8s.io/v1beta1 from it.

Mirrors kubernetes-sigs/metrics-server 0.8 with the official manifest's settings (a scrape every 15 s).
``storage`` holds the last two points of each container as a pure value, ``decode`` reads a scrape, ``server``
drives both. Left out: TLS bootstrapping, delegated authorisation (the API server in front does that).
"""
