"""What a run means: lag attribution, SLOs, bottleneck. Pure functions over journal records and query results.

Mirrors no upstream. Nothing here reads a clock, a file or a socket.
"""
