"""The HorizontalPodAutoscaler, autoscaling/v2, decision for decision.

Mirrors ``pkg/controller/podautoscaler`` of Kubernetes 1.31 to 1.37; where releases differ,
``HpaOptions.emulate`` picks one. ``replica_calculator`` turns metrics into a proposal, ``behavior`` bounds
it, ``reconcile`` is the whole loop body as a function, ``controller`` runs it every sync period.

Left out on purpose: autoscaling/v2beta1 and v2beta2, which no served Kubernetes has.
"""
