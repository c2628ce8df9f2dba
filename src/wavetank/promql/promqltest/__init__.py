"""Runner of Prometheus' ``.test`` files: PromQL's specification as data.

Mirrors ``promql/promqltest`` of prometheus/prometheus: its script language, its comparisons, and its re-runs
of every instant query as a range query and with ``@`` at several times. What a script loads is kept by an
in-memory storage, which is also the simplest implementation of ``wavetank.promql.storage.Queryable``.
"""
