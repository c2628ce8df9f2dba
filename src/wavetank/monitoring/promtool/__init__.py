"""What promtool does: checking files, unit tests of rules, asking servers, looking into data directories.

Mirrors cmd/promtool of prometheus/prometheus. Functions return texts and problems; ``wavetank.cli.promtool``
prints them and picks the exit code. Left out: debug, push, check service-discovery, and writing blocks.
"""
