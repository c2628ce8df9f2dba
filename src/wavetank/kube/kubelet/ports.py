"""Two replicas that fight for one port: recognising it, and saying what to do.

Pods share this machine's network, so a program that listens on all addresses takes the port from every other
replica. Each pod has an address of its own; the remedy is to listen on that.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

__all__ = ["explain_conflict", "listeners"]

_TAKEN: Final = re.compile(
    r"EADDRINUSE|address (?:is )?already in use|connection in use|port \d+ is (?:already )?in use"
    r"|only one usage of each socket address|errno (?:98|48)\b",
    re.IGNORECASE,
)
_LISTEN: Final = "0A"


def listeners(root: Path = Path("/proc/net")) -> set[tuple[str, int]]:
    """(address, port) of all listening TCP sockets; "*" for sockets on all addresses."""
    found: set[tuple[str, int]] = set()
    for name in ("tcp", "tcp6"):
        try:
            lines = (root / name).read_text().splitlines()[1:]
        except OSError:
            continue
        for line in lines:
            fields = line.split()
            if fields[3] != _LISTEN:
                continue
            address, _, port = fields[1].partition(":")
            found.add((_address(address), int(port, 16)))
    return found


def _address(text: str) -> str:
    if set(text) == {"0"}:
        return "*"
    tail = text[-8:]  # an IPv4 address, or the end of a mapped one
    return ".".join(str(int(tail[i : i + 2], 16)) for i in (6, 4, 2, 0))


def explain_conflict(
    output: str,
    pod_ip: str,
    ports: Sequence[Mapping[str, Any]],
    listening: Callable[[], set[tuple[str, int]]] = listeners,
) -> str:
    """What to tell the user of a container that ended with ``output``; "" where no port was the cause."""
    if not _TAKEN.search(output):
        return ""
    numbers = [int(p["containerPort"]) for p in ports if p.get("containerPort")]
    mentioned = [int(n) for n in re.findall(r"(?<![\d.])(\d{2,5})(?![\d.])", output)]
    everywhere = {port for address, port in listening() if address == "*"}
    clash = next((port for port in [*numbers, *mentioned] if port in everywhere), None)
    port = clash or (numbers or mentioned or [0])[0]
    shown = f"port {port}" if port else "its port"
    return (
        f"{shown} is taken: pods share this machine's network, and a program that listens on all "
        f"addresses keeps {shown} from the other replicas; listen on the pod's own address ({pod_ip}): add "
        "the variable POD_IP with valueFrom.fieldRef.fieldPath status.podIP and bind to $(POD_IP)"
        + (f":{port}" if port else "")
    )
