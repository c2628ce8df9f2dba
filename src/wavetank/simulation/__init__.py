"""A rehearsal in virtual time: the same API objects, controllers and metrics, with modelled pods.

Mirrors no single upstream. The control plane, kubelets, metrics server, HPA and VPA are those of a rehearsal,
on a ``VirtualClock``; in place of processes there are pod models (``model``), in place of Envoy and Locust
arrivals drawn from the stages, dispatched to pods by the balancer that the DestinationRule names
(``kernels``, ``traffic``). Left out on purpose: packets, TLS, kernel scheduling between pods of one node.
"""

from typing import Final

#: 2026-01-05T00:00:00Z, a Monday: where virtual time begins if no trace says otherwise.
EPOCH: Final = 1_767_571_200.0
