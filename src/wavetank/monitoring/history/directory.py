"""A directory of blocks: a Prometheus data directory with its head, a Thanos bucket, or a single block.

Follows tsdb/docs/format of prometheus/prometheus and the bucket layout of Thanos: external labels stand in
``meta.json`` and are put on every series, only raw blocks are read, blocks marked for deletion are left out.
The source is never written to: what its log holds is replayed from a copy.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from wavetank.clock import Clock
from wavetank.errors import InputError
from wavetank.model.labels import Labels, Matcher
from wavetank.monitoring.history.extras import Extras
from wavetank.monitoring.history.source import Estimate
from wavetank.monitoring.remote.codec import MetadataEntry
from wavetank.tsdb.block import Block
from wavetank.tsdb.db import DB
from wavetank.tsdb.errors import CorruptionError, StorageError
from wavetank.tsdb.options import Options
from wavetank.tsdb.querier import Budget, Found, find_in_block, merged

__all__ = ["Directory"]

_HEAD_PARTS: Final = ("wal", "wbl", "chunks_head")
_LOG_BYTES_PER_SAMPLE: Final = 6


@dataclass(frozen=True, slots=True)
class _Labelled:
    block: Block
    labels: Mapping[str, str]


class Directory:
    """Implements ``HistorySource``."""

    def __init__(
        self,
        path: Path,
        selectors: Sequence[Sequence[Matcher]],
        clock: Clock,
        *,
        external_labels: bool = True,
        scratch: Path | None = None,
    ) -> None:
        """``scratch`` is where a copy of the log may be put. Raises InputError where nothing is found."""
        self.notes: list[str] = []
        self._selectors = selectors
        self._clock = clock
        self._external = external_labels
        self._blocks: list[_Labelled] = []
        self._head: DB | None = None
        self._log_bytes = 0
        self._copy: Path | None = None
        places = [path] if (path / "meta.json").is_file() else sorted(path.glob("*/"))
        for place in places:
            if len(place.name) == 26 and (place / "meta.json").is_file():
                self._open(place)
        if (path / "wal").is_dir():
            self._open_head(path, scratch)
        if not self._blocks and self._head is None and not self.notes:
            raise InputError(
                f"no blocks in {path}", fix="give a data directory, a bucket's directory or a block"
            )

    def _open(self, place: Path) -> None:
        try:
            block = Block(place)
        except (CorruptionError, OSError) as error:
            self.notes.append(f"block {place.name} cannot be read and was passed over: {error}")
            return
        thanos: Any = block.meta.extra.get("thanos") or {}
        if int((thanos.get("downsample") or {}).get("resolution") or 0):
            self.notes.append(f"block {place.name} is downsampled and was passed over")
        elif (place / "deletion-mark.json").exists():
            self.notes.append(f"block {place.name} is marked for deletion and was passed over")
        else:
            labels = thanos.get("labels") if self._external else None
            self._blocks.append(_Labelled(block, labels if isinstance(labels, dict) else {}))
            return
        block.close()

    def _open_head(self, path: Path, scratch: Path | None) -> None:
        """Replay a copy of the log: opening it in place would start a segment and mend torn ends."""
        self._copy = Path(tempfile.mkdtemp(prefix="wavetank-import-", dir=scratch))
        try:
            for part in _HEAD_PARTS:
                if (path / part).is_dir():
                    shutil.copytree(path / part, self._copy / part)
            self._log_bytes = sum(p.stat().st_size for p in self._copy.rglob("*") if p.is_file())
            self._head = DB.open(self._copy, Options(lock_file=False), self._clock)
        except (OSError, shutil.Error, StorageError) as error:
            self.notes.append(f"the log of {path} cannot be read and was passed over: {error}")
        else:
            for report in self._head.replays:
                for damage in report.damage:
                    self.notes.append(f"the log of {path} is damaged: {damage}")

    def extent(self) -> tuple[int, int] | None:
        ranges = [(b.block.meta.min_time, b.block.meta.max_time - 1) for b in self._blocks]
        if self._head is not None:
            head, late = self._head.store.head, self._head.store.out_of_order
            if head.samples_appended:
                ranges.append((head.mint_ms, head.maxt_ms))
            if len(late):
                ranges.append((late.mint_ms, late.maxt_ms))
        if not ranges:
            return None
        return min(low for low, _ in ranges), max(high for _, high in ranges)

    def estimate(self, mint_ms: int, maxt_ms: int) -> Estimate:
        samples = bytes = 0.0
        for each in self._blocks:
            meta = each.block.meta
            span = max(meta.max_time - meta.min_time, 1)
            share = max(0, min(meta.max_time, maxt_ms + 1) - max(meta.min_time, mint_ms)) / span
            samples += meta.stats.num_samples * share
            bytes += each.block.bytes_on_disk * share
        samples += self._log_bytes / _LOG_BYTES_PER_SAMPLE
        return Estimate(int(samples), int(bytes + self._log_bytes))

    def read(self, mint_ms: int, maxt_ms: int) -> Iterator[Found]:
        found = []
        for each in [b for b in self._blocks if b.block.overlaps(mint_ms, maxt_ms)]:
            try:
                for selector in self._selectors:
                    part = find_in_block(each.block, selector, mint_ms, maxt_ms, Budget())
                    if part is not None:
                        found.append(_labelled(part, each.labels))
            except CorruptionError as error:
                self._blocks.remove(each)
                self.notes.append(f"block {each.block.meta.ulid} is damaged and was passed over: {error}")
        if self._head is not None:
            for selector in self._selectors:
                part = self._head.store.source.find(selector, mint_ms, maxt_ms, Budget())
                if part is not None:
                    found.append(part)
        if found:
            yield merged(found)

    def extras(self, mint_ms: int, maxt_ms: int) -> Extras:
        """What the log has; blocks have neither."""
        if self._head is None:
            return Extras()
        exemplars = [
            (series, each.labels, each.value, each.timestamp_ms)
            for series, found in self._head.exemplars(self._selectors, mint_ms, maxt_ms)
            for each in found
        ]
        metadata = {
            name: MetadataEntry(entries[-1].type, entries[-1].help, entries[-1].unit)
            for name, entries in self._head.metadata().items()
        }
        return Extras(exemplars, metadata)

    def close(self) -> None:
        for each in self._blocks:
            each.block.close()
        if self._head is not None:
            self._head.close()
        if self._copy is not None:
            shutil.rmtree(self._copy, ignore_errors=True)


def _labelled(found: Found, labels: Mapping[str, str]) -> Found:
    if not labels:
        return found
    return replace(found, labels=[Labels.of(each, **labels) for each in found.labels])
