"""``dns_sd_configs``: targets from SRV, A, AAAA, MX and NS records.

Mirrors discovery/dns. Asks the servers of /etc/resolv.conf over UDP, and over TCP when an answer is cut
short (RFC 1035, RFC 2782). Search domains are tried as resolv.conf says.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from wavetank.clock import Clock
from wavetank.monitoring.config.discovery import DNSSD
from wavetank.monitoring.discovery.group import Publish, TargetGroup
from wavetank.monitoring.discovery.metrics import Took

__all__ = ["DNSDiscovery", "Record", "parse_answer", "question"]

_TYPES: Final = {"A": 1, "NS": 2, "MX": 15, "AAAA": 28, "SRV": 33}
_TIMEOUT_SECONDS: Final = 5.0
_NAME_STEPS_MAX: Final = 128  # labels of one name; more is a loop of pointers
_TRUNCATED: Final = 0x0200
_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Record:
    """An answer: a host name or address, and the port of an SRV record (0 otherwise)."""

    type: str
    host: str
    port: int = 0


def question(name: str, type: str, id: int) -> bytes:
    """A recursive query for one name."""
    labels = [
        label.encode("idna") if label.isascii() is False else label.encode() for label in name.split(".")
    ]
    encoded = b"".join(bytes([len(label)]) + label for label in labels if label)
    return struct.pack(">6H", id, 0x0100, 1, 0, 0, 0) + encoded + b"\0" + struct.pack(">2H", _TYPES[type], 1)


def parse_answer(packet: bytes, id: int, type: str) -> list[Record]:
    """The records of one type. Raises ValueError for a packet that is not an answer to ``id``."""
    try:
        got, flags, questions, answers = struct.unpack_from(">4H", packet)
        if got != id or not flags & 0x8000:
            raise ValueError("not the answer to our question")
        if code := flags & 0xF:
            raise ValueError(f"server answered with code {code}" if code != 3 else "no such name")
        offset = 12
        for _ in range(questions):
            offset = _name(packet, offset)[1] + 4
        records = []
        for _ in range(answers):
            offset = _name(packet, offset)[1]
            kind, _class, _ttl, length = struct.unpack_from(">2HIH", packet, offset)
            offset += 10
            if kind == _TYPES[type]:
                records.append(_record(packet, offset, length, type))
            offset += length
        return records
    except (struct.error, IndexError, OSError) as error:
        raise ValueError(f"malformed DNS answer: {error}") from None


def _record(packet: bytes, offset: int, length: int, type: str) -> Record:
    match type:
        case "A":
            return Record(type, socket.inet_ntop(socket.AF_INET, packet[offset : offset + length]))
        case "AAAA":
            return Record(type, socket.inet_ntop(socket.AF_INET6, packet[offset : offset + length]))
        case "SRV":
            port = struct.unpack_from(">H", packet, offset + 4)[0]
            return Record(type, _name(packet, offset + 6)[0], port)
        case "MX":
            return Record(type, _name(packet, offset + 2)[0])
        case _:
            return Record(type, _name(packet, offset)[0])


def _name(packet: bytes, offset: int) -> tuple[str, int]:
    """A possibly compressed name and the offset after it."""
    labels: list[str] = []
    end = -1
    for _ in range(_NAME_STEPS_MAX):
        length = packet[offset]
        if length & 0xC0 == 0xC0:
            end = offset + 2 if end < 0 else end
            offset = (length & 0x3F) << 8 | packet[offset + 1]
        elif length == 0:
            return ".".join(labels), offset + 1 if end < 0 else end
        else:
            labels.append(packet[offset + 1 : offset + 1 + length].decode("ascii", "replace"))
            offset += 1 + length
    raise ValueError("malformed DNS answer: name does not end")


class _Datagram(asyncio.DatagramProtocol):
    def __init__(self) -> None:
        self.answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    def datagram_received(self, data: bytes, addr: object) -> None:
        if not self.answer.done():
            self.answer.set_result(data)

    def error_received(self, exc: Exception) -> None:
        if not self.answer.done():
            self.answer.set_exception(exc)


async def _ask(server: str, packet: bytes) -> bytes:
    loop = asyncio.get_running_loop()
    transport, protocol = await loop.create_datagram_endpoint(_Datagram, remote_addr=(server, 53))
    try:
        transport.sendto(packet)
        async with asyncio.timeout(_TIMEOUT_SECONDS):
            answer = await protocol.answer
    finally:
        transport.close()
    if len(answer) > 4 and struct.unpack_from(">H", answer, 2)[0] & _TRUNCATED:
        return await _ask_tcp(server, packet)
    return answer


async def _ask_tcp(server: str, packet: bytes) -> bytes:
    async with asyncio.timeout(_TIMEOUT_SECONDS):
        reader, writer = await asyncio.open_connection(server, 53)
        try:
            writer.write(struct.pack(">H", len(packet)) + packet)
            length = struct.unpack(">H", await reader.readexactly(2))[0]
            return await reader.readexactly(length)
        finally:
            writer.close()


class DNSDiscovery:
    """Looks names up again and again; a failed look-up keeps the old targets."""

    def __init__(
        self,
        config: DNSSD,
        clock: Clock,
        count_failure: Callable[[], None],
        resolv_conf: Path = Path("/etc/resolv.conf"),
        *,
        took: Took = lambda seconds: None,
        looked_up: Callable[[], None] = lambda: None,
    ) -> None:
        self._took = took
        self._looked_up = looked_up
        self._config = config
        self._clock = clock
        self._count_failure = count_failure
        self._resolv_conf = resolv_conf

    async def run(self, publish: Publish) -> None:
        while True:
            began = self._clock.monotonic()
            found = await asyncio.gather(*(self._refresh(name) for name in self._config.names))
            publish([group for group in found if group is not None])
            self._took(self._clock.monotonic() - began)
            await self._clock.sleep(self._config.refresh_interval.seconds)

    async def _refresh(self, name: str) -> TargetGroup | None:
        self._looked_up()
        try:
            records = await self._look_up(name, self._config.type.upper())
        except (OSError, ValueError, asyncio.IncompleteReadError) as error:
            self._count_failure()
            _LOG.error("dns discovery of %s keeps the old targets: %s", name, error)
            return None
        return group_of(name, records, self._config.port)

    async def _look_up(self, name: str, type: str) -> list[Record]:
        servers, search = _resolvers(self._resolv_conf)
        draw = self._clock.random("dns")
        last: Exception = ValueError("no name server is configured")
        names = [name] if name.endswith(".") else [name, *(f"{name}.{domain}" for domain in search)]
        for candidate in names:
            for server in servers:
                id = draw.randrange(1 << 16)
                try:
                    return parse_answer(await _ask(server, question(candidate, type, id)), id, type)
                except (OSError, ValueError, asyncio.IncompleteReadError) as error:
                    last = error
        raise last


def group_of(name: str, records: Sequence[Record], port: int) -> TargetGroup:
    """The targets of one name's records."""
    targets = []
    for record in records:
        host = record.host.rstrip(".")
        target = {
            "__meta_dns_name": name,
            "__meta_dns_srv_record_target": "",
            "__meta_dns_srv_record_port": "",
            "__meta_dns_mx_record_target": "",
            "__meta_dns_ns_record_target": "",
        }
        number = record.port if record.type == "SRV" else port
        if record.type == "SRV":
            target["__meta_dns_srv_record_target"] = record.host + "."
            target["__meta_dns_srv_record_port"] = str(record.port)
        elif record.type in ("MX", "NS"):
            target[f"__meta_dns_{record.type.lower()}_record_target"] = record.host + "."
        shown = f"[{host}]" if ":" in host else host
        target["__address__"] = f"{shown}:{number}"
        targets.append({key: value for key, value in target.items() if value})
    return TargetGroup(name, targets)


def _resolvers(path: Path) -> tuple[list[str], list[str]]:
    """Name servers and search domains."""
    servers: list[str] = []
    search: list[str] = []
    for line in path.read_text().splitlines() if path.exists() else ():
        words = line.split("#")[0].split()
        if len(words) > 1 and words[0] == "nameserver":
            servers.append(words[1])
        elif len(words) > 1 and words[0] in ("search", "domain"):
            search = words[1:]
    return servers or ["127.0.0.1"], search
