"""PromQL: lexer, parser, printer, engine, functions, and the runner of Prometheus' ``.test`` files.

Mirrors ``promql`` and ``promql/parser`` of prometheus/prometheus 3.14. Storage is seen only through the
``Queryable`` protocol of ``wavetank.promql.storage``.
"""
