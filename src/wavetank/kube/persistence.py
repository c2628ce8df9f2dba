"""Objects on disk: one SQLite table, written before a request is answered.

Stands where etcd stands. Write-ahead logging without fsync: an acknowledged write survives the death of the
process (kill -9), not that of the machine; a rehearsal's cluster is not worth an fsync per pod status.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator
from pathlib import Path

import msgspec

from wavetank.errors import InputError
from wavetank.kube.client import Object

__all__ = ["SqliteLog"]

_SCHEMA = """
CREATE TABLE IF NOT EXISTS objects (
  bucket TEXT NOT NULL, namespace TEXT NOT NULL, name TEXT NOT NULL, value BLOB NOT NULL,
  PRIMARY KEY (bucket, namespace, name)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS revision (id INTEGER PRIMARY KEY CHECK (id = 0), value INTEGER NOT NULL);
INSERT OR IGNORE INTO revision VALUES (0, 1);
"""


def _open(path: Path) -> sqlite3.Connection:
    db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    try:
        db.execute("PRAGMA journal_mode=WAL")
        db.execute("PRAGMA synchronous=OFF")
        db.executescript(_SCHEMA)
    except sqlite3.DatabaseError:
        db.close()
        raise
    return db


class SqliteLog:
    """An ``ObjectLog`` in one file. Raises InputError where the file is not a database of ours."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            self._db = _open(path)
        except sqlite3.DatabaseError as error:
            raise InputError(
                f"cannot open the cluster's state: {error}", at=path, fix="remove the file to start afresh"
            ) from None
        self._encode = msgspec.json.Encoder().encode

    def load(self) -> tuple[int, Iterable[tuple[str, Object]]]:
        (revision,) = self._db.execute("SELECT value FROM revision").fetchone()
        return int(revision), self._objects()

    def _objects(self) -> Iterator[tuple[str, Object]]:
        decode = msgspec.json.Decoder(dict).decode
        for bucket, value in self._db.execute("SELECT bucket, value FROM objects"):
            yield bucket, decode(value)

    def put(self, bucket: str, name: tuple[str, str], revision: int, obj: Object) -> None:
        with self._db:
            self._db.execute("BEGIN")
            self._db.execute(
                "INSERT OR REPLACE INTO objects VALUES (?,?,?,?)", (bucket, *name, self._encode(obj))
            )
            self._db.execute("UPDATE revision SET value = ?", (revision,))

    def remove(self, bucket: str, name: tuple[str, str], revision: int) -> None:
        with self._db:
            self._db.execute("BEGIN")
            self._db.execute("DELETE FROM objects WHERE bucket=? AND namespace=? AND name=?", (bucket, *name))
            self._db.execute("UPDATE revision SET value = ?", (revision,))

    def close(self) -> None:
        self._db.close()
