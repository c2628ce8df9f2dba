"""A block's ``meta.json``, and its name. Mirrors ``BlockMeta`` of ``tsdb/block.go`` and ``oklog/ulid``."""

from __future__ import annotations

import os
from pathlib import Path
from random import Random
from typing import Any, Final

import msgspec

from wavetank.tsdb.errors import CorruptionError

__all__ = ["BlockDescription", "BlockMeta", "Compaction", "Stats", "new_ulid", "read_meta", "write_meta"]

_CROCKFORD: Final = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"


class Stats(msgspec.Struct, rename="camel", omit_defaults=True, kw_only=True):
    num_samples: int = 0
    num_float_samples: int = 0
    num_histogram_samples: int = 0
    num_series: int = 0
    num_chunks: int = 0
    num_tombstones: int = 0


class BlockDescription(msgspec.Struct, rename="camel"):
    """A parent of a compacted block."""

    ulid: str
    min_time: int
    max_time: int


class Compaction(msgspec.Struct, rename="camel", omit_defaults=True, kw_only=True):
    level: int = 1
    sources: list[str] = msgspec.field(default_factory=list)
    deletable: bool = False
    parents: list[BlockDescription] = msgspec.field(default_factory=list)
    failed: bool = False
    hints: list[str] = msgspec.field(default_factory=list)


class BlockMeta(msgspec.Struct, rename="camel", kw_only=True):
    """Times are milliseconds; ``max_time`` is exclusive. Fields that are not known here are kept."""

    ulid: str
    min_time: int
    max_time: int
    stats: Stats = msgspec.field(default_factory=Stats)
    compaction: Compaction = msgspec.field(default_factory=Compaction)
    version: int = 1
    extra: dict[str, Any] = msgspec.field(default_factory=dict, name="-")

    @property
    def from_out_of_order(self) -> bool:
        return "from-out-of-order" in self.compaction.hints


def new_ulid(now_ms: int, random: Random) -> str:
    """48 bits of time and 80 of chance, in Crockford's base 32."""
    number = (now_ms << 80) | random.getrandbits(80)
    return "".join(_CROCKFORD[(number >> (5 * i)) & 31] for i in range(25, -1, -1))


def read_meta(directory: Path) -> BlockMeta:
    """Raises CorruptionError naming the file."""
    path = directory / "meta.json"
    try:
        raw = msgspec.json.decode(path.read_bytes())
        meta = msgspec.convert(raw, BlockMeta)
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise CorruptionError(f"cannot be read: {error}", at=path) from None
    if meta.version != 1:
        raise CorruptionError(f"unexpected meta file version {meta.version}", at=path)
    known = {"ulid", "minTime", "maxTime", "stats", "compaction", "version"}
    meta.extra = {key: value for key, value in raw.items() if key not in known}
    return meta


def write_meta(directory: Path, meta: BlockMeta) -> None:
    """Write ``meta.json`` atomically, as upstream lays it out."""
    fields = msgspec.to_builtins(meta)
    fields.pop("-", None)
    fields["compaction"].setdefault("level", 1)
    fields["compaction"].setdefault("sources", [])
    body = msgspec.json.format(msgspec.json.encode({**fields, **meta.extra}), indent=1)
    temporary = directory / "meta.json.tmp"
    with temporary.open("wb") as file:
        file.write(body.replace(b"\n ", b"\n\t"))
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(directory / "meta.json")
