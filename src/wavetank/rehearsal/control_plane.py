"""The control plane process of a tank: everything that a cluster's control plane and nodes do, in one loop.

API server, controllers, scheduler, kubelets, metrics server, HPA and the mesh, wired together; each is a
room of its own and knows the others only through the API. Run as
``python -m wavetank.rehearsal.control_plane SETTINGS``; writes its facts when it is ready, ends on SIGTERM.
"""

from __future__ import annotations

__all__ = ["run_control_plane"]

#: After Envoy has acknowledged that a pod is gone, requests that were already on their way may still come.
DRAIN_SECONDS = 0.1
