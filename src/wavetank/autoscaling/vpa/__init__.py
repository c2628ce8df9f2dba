"""The VerticalPodAutoscaler, autoscaling.k8s.io/v1: recommender, updater, admission.

Mirrors kubernetes/autoscaler ``vertical-pod-autoscaler`` 1.7. ``histogram``, ``usage`` and ``estimator``
are the recommender's arithmetic, ``recommend`` makes a status of it, ``update`` decides which pods to
change, ``admit`` changes a pod being created; ``controller`` runs the loops. Left out on purpose: history
from Prometheus, CPU start-up boost, alternative recommenders, aggregation over pods of several versions of
a workload by label set (samples are kept by VPA and container).
"""
