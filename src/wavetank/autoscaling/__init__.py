"""Autoscalers: the HorizontalPodAutoscaler, the VerticalPodAutoscaler, and the metrics they read.

Mirrors kubernetes/kubernetes ``pkg/controller/podautoscaler`` and kubernetes/autoscaler
``vertical-pod-autoscaler``. Decisions are pure functions of what was observed and the time; the controllers
around them only read, write and wait.
"""
