"""``promtool debug``: what a server says of itself, in ``debug.tar.gz``. Mirrors cmd/promtool/debug.go.

Profiles are a Go server's. A Wavetank server has none; of one, ``all`` takes metrics and status.
"""

from __future__ import annotations

import gzip
import io
import tarfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from wavetank.errors import CheckFailed
from wavetank.monitoring.config.http import HTTPClientConfig
from wavetank.monitoring.promtool.transport import send

__all__ = ["METRICS", "PROFILES", "STATUS", "collect"]

Part = tuple[str, str]
METRICS: Final[Sequence[Part]] = (("metrics.txt", "/metrics"),)
STATUS: Final[Sequence[Part]] = tuple(
    (f"{name}.json", f"/api/v1/status/{name}")
    for name in ("runtimeinfo", "buildinfo", "flags", "config", "tsdb")
)
PROFILES: Final[Sequence[Part]] = (
    ("cpu.pb", "/debug/pprof/profile?seconds=30"),
    *((f"{name}.pb", f"/debug/pprof/{name}") for name in ("block", "goroutine", "heap", "mutex")),
    ("threadcreate.pb", "/debug/pprof/threadcreate"),
    ("trace.pb", "/debug/pprof/trace?seconds=30"),
)
ARCHIVE: Final = "debug.tar.gz"


def collect(
    server: str,
    parts: Sequence[Part],
    say: Callable[[str], None],
    http: HTTPClientConfig | None = None,
    *,
    optional: Sequence[Part] = (),
) -> None:
    """Fetch the parts into the archive; optional ones that are not there are named and left out.

    Raises CheckFailed for a part that is not there, InputError where the server is not reached.
    """
    base = server.rstrip("/") if "://" in server else f"http://{server.rstrip('/')}"
    found: list[tuple[str, bytes]] = []
    for name, path in (*optional, *parts):
        say(f"collecting: {base}{path}")
        status, body = send("GET", base + path, {}, http=http)
        if status == 200:
            found.append((name, gzip.decompress(body) if body.startswith(b"\x1f\x8b") else body))
        elif (name, path) in optional:
            say(f"  left out: {base}{path} answered {status}")
        else:
            raise CheckFailed(f"error completing debug command: {base}{path} answered {status}")
    with tarfile.open(Path(ARCHIVE), "w:gz") as archive:
        for name, body in found:
            entry = tarfile.TarInfo(name)
            entry.size = len(body)
            archive.addfile(entry, io.BytesIO(body))
    say(f'Compiling debug information complete, all files written in "{ARCHIVE}".')
