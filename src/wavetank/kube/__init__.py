"""A Kubernetes control plane in one process: API server, controllers, scheduler, kubelets, metrics server.

Mirrors kubernetes/kubernetes 1.33 and kubernetes-sigs/metrics-server 0.8 at their public interfaces.
"""
