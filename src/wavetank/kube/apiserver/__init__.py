"""The HTTP face of the API: discovery, OpenAPI, resources, watches, tables, over TLS with bearer tokens.

Mirrors kube-apiserver as kubectl 1.27-1.33 and client libraries use it. Left out: HTTP/2, protobuf and CBOR
answers, OpenAPI v2, exec and port-forward, admission webhooks, RBAC beyond an admin and a reading token.
"""
