"""Which blocks another program has copied away.

Mirrors ``--storage.tsdb.delay-compact-file.path`` of Prometheus: Thanos' sidecar notes uploaded blocks in
``thanos.shipper.json``, and copies only blocks that no compaction has touched. So none is merged before.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

import msgspec

from wavetank.tsdb.meta import BlockMeta

__all__ = ["without_pending"]

_LOG = logging.getLogger(__name__)


class _Uploads(msgspec.Struct):
    uploaded: list[str] | None = None


def without_pending(metas: Sequence[BlockMeta], path: Path | None) -> list[BlockMeta]:
    """The blocks before the first that waits for its upload: merging later ones would leave gaps.

    All of them where there is no such file, or none that can be read, which the log says.
    """
    if path is None:
        return list(metas)
    try:
        uploaded = set(msgspec.json.decode(path.read_bytes(), type=_Uploads).uploaded or ())
    except (OSError, msgspec.DecodeError) as error:
        _LOG.warning("cannot read the file of uploaded blocks %s: %s", path, error)
        return list(metas)
    kept: list[BlockMeta] = []
    for meta in sorted(metas, key=lambda m: m.ulid):  # in the order they were made
        if meta.compaction.level <= 1 and meta.ulid not in uploaded:
            break
        kept.append(meta)
    return kept
