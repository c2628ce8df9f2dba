"""Lists as ``kubectl get`` prints them: the server-side Tables of ``meta.k8s.io/v1``.

Mirrors the columns and cells of ``k8s.io/kubernetes/pkg/printers/internalversion``.
"""
