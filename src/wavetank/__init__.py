"""Wavetank: rehearse a Kubernetes service on one machine.

The rooms and which way they may lean are in ARCHITECTURE.md.
"""

__version__ = "0.1.0"
