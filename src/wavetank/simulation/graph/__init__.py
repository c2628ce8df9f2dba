"""Services that call each other, each request by itself: what an Envoy between them makes of it.

Which services a request calls stands in ``model.yaml`` (``calls``). Timeouts, retries, budgets, circuit
breakers, ejections, weights and balancers are read from the Envoy configuration that ``wavetank.mesh`` makes
of the directory's Istio resources, so that they mean here what they mean in a rehearsal. As in a rehearsal
there is one Envoy for everything: its counts are per cluster, not per client. Left out on purpose: locality,
slow start, ring hashing, mirrors, faults, matches of calls by more than method and path.
"""
