"""What promtool does: checking files, unit tests of rules, asking servers, looking into data directories.

Mirrors cmd/promtool of prometheus/prometheus. Functions return texts and problems; ``wavetank.cli.promtool``
and its neighbours print them and pick the exit code.
"""
