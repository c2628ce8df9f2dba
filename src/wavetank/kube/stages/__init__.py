"""Declared lives of simulated pods: Stage objects in the shape of kwok's, and what they do.

Mirrors the ``Stage`` API of kubernetes-sigs/kwok (kwok.x-k8s.io/v1alpha1): which objects a stage is for, how
long it waits, what it writes next.
"""
