"""Every bound of the system, by name, so that a reader finds them all in one place.

A bound says what happens at it in the comment. Bytes unless the name says otherwise.
"""

from __future__ import annotations

from typing import Final

KIB: Final = 1024
MIB: Final = 1024 * KIB
GIB: Final = 1024 * MIB

# YAML and JSON files given by the user
YAML_BYTES_MAX: Final = 32 * MIB  # larger: refused
YAML_DEPTH_MAX: Final = 100  # deeper: refused
YAML_NODES_MAX: Final = 2_000_000  # after aliases are expanded; more: refused

# HTTP bodies
REQUEST_BODY_BYTES_MAX: Final = 16 * MIB  # API servers answer 413
SCRAPE_BODY_BYTES_MAX: Final = 256 * MIB  # uncompressed; the scrape fails

# Child processes
CHILD_STOP_SECONDS: Final = 5.0  # from SIGTERM to SIGKILL, unless the child has its own grace
CHILD_TAIL_BYTES: Final = 64 * KIB  # how much of a log is read for an error message

# Journal
JOURNAL_LINE_BYTES_MAX: Final = 1 * MIB  # larger records are refused: they are not events
SALVAGE_SECONDS: Final = 30.0  # how long the warden lets the salvage of a report take
