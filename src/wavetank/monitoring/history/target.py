"""Where history goes: a data directory nobody uses, or that of a running server.

A served directory gets finished blocks, which its server takes in within a minute; what is as new as the
server's own log goes to the server by remote write, so that replay loses nothing of either.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, Protocol

import yaml

from wavetank.clock import Clock
from wavetank.errors import InputError
from wavetank.limits import IMPORT_PUSH_SAMPLES
from wavetank.model.labels import METRIC_NAME, Labels, Matcher, MatchType
from wavetank.monitoring.config.values import parse_duration
from wavetank.monitoring.history.extras import Extras, extras_request
from wavetank.monitoring.history.remote import RemoteServer
from wavetank.monitoring.history.slot import BlockSlot, HeadSlot
from wavetank.monitoring.remote.payload import Item, request_v1
from wavetank.monitoring.rfc3339 import format_time
from wavetank.tsdb.block import Block
from wavetank.tsdb.db import DB
from wavetank.tsdb.decode import Columns
from wavetank.tsdb.errors import CorruptionError
from wavetank.tsdb.options import HOUR_MS
from wavetank.tsdb.querier import Budget, Found, find_in_block
from wavetank.tsdb.take_in import ULID_LENGTH, head_begin_ms

__all__ = ["OwnDirectory", "ServedDirectory", "Slot", "Target"]

_EVERY: Final = [Matcher(MatchType.REGEXP, METRIC_NAME, ".*")]
_RANGE_MS: Final = 2 * HOUR_MS


class Slot(Protocol):
    """Takes the samples of one slot of time."""

    @property
    def samples(self) -> int: ...

    def add(self, labels: Sequence[Labels], columns: Columns) -> None: ...

    def finish(self) -> None: ...


class Target(Protocol):
    """Takes samples of any age."""

    @property
    def path(self) -> Path: ...

    def check(self, mint_ms: int) -> None:
        """Raises InputError where samples as old as this would be deleted at once."""

    def stored(self, mint_ms: int, maxt_ms: int) -> int:
        """How many samples the blocks of a range hold, roughly."""

    def find(self, mint_ms: int, maxt_ms: int) -> list[Found]:
        """What is there already of a slot."""

    def head_begin(self) -> int | None:
        """From when on samples belong to the head; None where it is empty."""

    def slot(self, low_ms: int) -> Slot:
        """Where the samples of a slot go that begins there."""

    def add_extras(self, extras: Extras) -> None:
        """Exemplars and metadata."""

    def close(self) -> None:
        """Let go of the directory."""


class OwnDirectory:
    """A directory that no server has open."""

    def __init__(self, db: DB) -> None:
        self._db = db
        self.path = db.path

    def check(self, mint_ms: int) -> None:
        """Whoever opens the directory later decides."""

    def stored(self, mint_ms: int, maxt_ms: int) -> int:
        return sum(b.meta.stats.num_samples for b in self._db.blocks if b.overlaps(mint_ms, maxt_ms))

    def find(self, mint_ms: int, maxt_ms: int) -> list[Found]:
        found = []
        for block in [b for b in self._db.blocks if b.overlaps(mint_ms, maxt_ms)]:
            try:
                found.append(find_in_block(block, _EVERY, mint_ms, maxt_ms, Budget()))
            except CorruptionError as error:
                self._db.quarantine(block, str(error))
        found.append(self._db.store.source.find(_EVERY, mint_ms, maxt_ms, Budget()))
        return [each for each in found if each is not None]

    def head_begin(self) -> int | None:
        head = self._db.store.head
        if not head.samples_appended or head.maxt_ms < head.mint_ms:
            return None
        return head_begin_ms(self._db)

    def slot(self, low_ms: int) -> Slot:
        begin = self.head_begin()
        if begin is None or low_ms < begin:
            return BlockSlot(self.path, self._db.clock, self._db.add_block)
        return HeadSlot(self._db)

    def add_extras(self, extras: Extras) -> None:
        appender = self._db.appender()
        for series, labels, value, at_ms in extras.exemplars:
            appender.append_exemplar(self._db.series_ref(series), series, labels, at_ms, value)
        appender.commit()

    def close(self) -> None:
        self._db.close()


class ServedDirectory:
    """The directory of a running server on this machine."""

    def __init__(self, server: RemoteServer, path: Path | None, clock: Clock) -> None:
        """``path`` None asks the server. Raises InputError where that is not here."""
        self._server = server
        self._clock = clock
        self.path = path or _directory_of(server)
        if not (self.path / "wal").is_dir():
            raise InputError(
                f"the server's data directory {self.path} is not on this machine",
                fix="run the import beside the server, or give --storage.tsdb.path",
            )

    def check(self, mint_ms: int) -> None:
        text = _retention(self._server)
        kept_ms = int(parse_duration(text)) if text else 0
        now_ms = int(self._clock.now() * 1000)
        if kept_ms and mint_ms < now_ms - kept_ms:
            oldest, begin = format_time(mint_ms / 1000), format_time((now_ms - kept_ms) // 1000 + 1)
            raise InputError(
                f"the server keeps {text} and would delete what is older; there are samples from {oldest} on",
                fix=f"give it a longer --storage.tsdb.retention.time, or the import --start={begin}",
            )

    def _blocks(self, mint_ms: int, maxt_ms: int) -> list[Block]:
        """Those that are there now; the server may merge them at any time."""
        found = []
        for path in self.path.glob("*/meta.json"):
            if len(path.parent.name) == ULID_LENGTH:
                try:
                    block = Block(path.parent)
                except (CorruptionError, OSError):
                    continue
                if block.overlaps(mint_ms, maxt_ms):
                    found.append(block)
                else:
                    block.close()
        return found

    def stored(self, mint_ms: int, maxt_ms: int) -> int:
        blocks = self._blocks(mint_ms, maxt_ms)
        for block in blocks:
            block.close()
        return sum(block.meta.stats.num_samples for block in blocks)

    def find(self, mint_ms: int, maxt_ms: int) -> list[Found]:
        begin = self.head_begin()
        if mint_ms >= begin:
            return list(self._server.read(mint_ms, maxt_ms))
        found = []
        for block in self._blocks(mint_ms, maxt_ms):
            try:
                found.append(find_in_block(block, _EVERY, mint_ms, maxt_ms, Budget()))
            except CorruptionError:
                continue  # the server sets damaged blocks aside itself
        return [each for each in found if each is not None]

    def head_begin(self) -> int:
        stats = self._server.status("tsdb")["headStats"]
        now_ms = int(self._clock.now() * 1000)
        begin = int(stats["minTime"]) if int(stats["numSeries"]) else now_ms
        return min(begin, now_ms) // _RANGE_MS * _RANGE_MS

    def slot(self, low_ms: int) -> Slot:
        if low_ms < self.head_begin():
            return BlockSlot(self.path, self._clock, lambda made: None)
        return _PushSlot(self._server)

    def add_extras(self, extras: Extras) -> None:
        for request in extras_request(extras):
            self._server.write(request)

    def close(self) -> None:
        self._server.close()


def _retention(server: RemoteServer) -> str:
    """How long a server keeps samples by its configuration or its flags; empty where time is no limit."""
    config = yaml.safe_load(server.status("config")["yaml"]) or {}
    retention = ((config.get("storage") or {}).get("tsdb") or {}).get("retention") or {}
    if retention.get("rules"):
        return ""  # each series has its own time
    flags = server.status("flags")
    name = "storage.tsdb.retention.time"
    size = retention.get("size") or flags.get("storage.tsdb.retention.size")
    text = str(retention.get("time") or flags.get(name) or "")
    if text in ("", "0s") and name in flags and size in (None, "", "0", "0B"):
        text = "15d"
    return "" if text == "0s" else text


def _directory_of(server: RemoteServer) -> Path:
    """Where a server says that its data is. Raises InputError."""
    flags, runtime = server.status("flags"), server.status("runtimeinfo")
    path = Path(flags.get("storage.tsdb.path") or "data/")
    return path if path.is_absolute() else Path(runtime.get("CWD") or "/") / path


class _PushSlot:
    """Samples as new as the server's log, sent to it."""

    def __init__(self, server: RemoteServer) -> None:
        self.samples = 0
        self._server = server
        self._clear()

    def _clear(self) -> None:
        self._items: list[Item] = []
        self._waiting = 0

    def add(self, labels: Sequence[Labels], columns: Columns) -> None:
        bounds = columns.offsets.tolist()
        times, values = columns.timestamps_ms.tolist(), columns.values.tolist()
        histograms: Any = columns.histograms
        for i, series in enumerate(labels):
            item = Item(series)
            for k in range(bounds[i], bounds[i + 1]):
                if histograms is not None and histograms[k] is not None:
                    item.histograms.append((times[k], histograms[k]))
                else:
                    item.samples.append((times[k], values[k]))
                if len(item) == IMPORT_PUSH_SAMPLES:
                    self._put(item)
                    item = Item(series)
            self._put(item)

    def _put(self, item: Item) -> None:
        if not len(item):
            return
        self._items.append(item)
        self._waiting += len(item)
        self.samples += len(item)
        if self._waiting >= IMPORT_PUSH_SAMPLES:
            self.finish()

    def finish(self) -> None:
        """Send what was gathered. Raises InputError."""
        if self._items:
            self._server.write(request_v1(self._items))
        self._clear()
