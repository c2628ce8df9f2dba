"""The kubelet: runs the pods bound to its node, probes, meters and stops them, and reports it all.

Mirrors ``cmd/kubelet`` of Kubernetes 1.33 and cAdvisor at their public interfaces: pod and node status,
events, probes, log files, HTTP endpoints and series. Pods run as ordinary processes (``process_runtime``)
under CPU and memory limits kept by cgroups or, without them, by signals (``enforcer``).

Left out on purpose: container images as file systems, mount and network namespaces, exec and attach streams,
device plug-ins, node-pressure eviction, swap, persistent volumes.
"""
