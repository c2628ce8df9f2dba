"""Where dashboards are kept: folders of JSON files, those that ship with Wavetank, and those pushed over
HTTP.

Mirrors Grafana's file provisioning, but that a file may be saved back where its provider allows it
(``allowUiUpdates``). A file is read again when it changes; one that cannot be read is listed with the reason.
Two files with one uid: the first found keeps it, the other is named by its file.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path

import msgspec

from wavetank.dashboards.load import load_bytes, read_json, to_dashboard
from wavetank.dashboards.model import Dashboard
from wavetank.errors import InputError, WavetankError
from wavetank.limits import DASHBOARD_STORE_FILES_MAX

__all__ = ["Folder", "Provider", "Store", "Stored", "slug_of"]


@dataclass(frozen=True, slots=True)
class Provider:
    """A directory of dashboards. ``folder`` is the title that they are listed under."""

    path: Path
    folder: str = ""
    folder_uid: str = ""
    writable: bool = True
    by_directory: bool = False


@dataclass(frozen=True, slots=True)
class Folder:
    uid: str
    title: str


@dataclass(slots=True)
class Stored:
    """A dashboard and where it came from; ``data`` is the file as it is."""

    uid: str
    dashboard: Dashboard
    folder: Folder | None
    data: bytes
    path: Path | None = None
    writable: bool = True
    version: int = 1
    number: int = 0
    stamp: tuple[int, int] = (0, 0)


@dataclass(slots=True)
class _Known:
    stored: dict[Path, Stored] = field(default_factory=dict)
    broken: dict[Path, str] = field(default_factory=dict)


def slug_of(title: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-")[:100] or "dashboard"


class Store:
    """All dashboards of a server. Pushed ones live in memory, or in ``save_to`` where it is given."""

    def __init__(
        self, providers: Sequence[Provider] = (), *, save_to: Path | None = None, shipped: bool = True
    ) -> None:
        self._providers = [*providers, *([Provider(save_to)] if save_to else [])]
        self._save_to = save_to
        self._known = _Known()
        self._pushed: dict[str, Stored] = {}
        self._folders: dict[str, Folder] = {}
        self._numbers: dict[str, int] = {}
        self._shipped = _shipped() if shipped else {}

    @property
    def broken(self) -> dict[Path, str]:
        """Files that could not be read, and why; as of the last ``all``."""
        return dict(self._known.broken)

    def all(self) -> list[Stored]:
        """Every dashboard by uid; files are looked at again."""
        self._scan()
        found: dict[str, Stored] = {**self._shipped}
        for path, stored in sorted(self._known.stored.items()):
            uid = stored.uid if stored.uid not in found or stored.uid in self._shipped else slug_of(path.stem)
            stored.uid = uid
            found[uid] = stored
        found.update(self._pushed)
        for stored in found.values():
            stored.number = self._numbers.setdefault(stored.uid, len(self._numbers) + 1)
        return sorted(found.values(), key=lambda s: (s.dashboard.title.lower(), s.uid))

    def get(self, uid: str) -> Stored | None:
        return next((stored for stored in self.all() if stored.uid == uid), None)

    def folders(self) -> list[Folder]:
        found = {s.folder.uid: s.folder for s in self.all() if s.folder is not None}
        found.update(self._folders)
        return sorted(found.values(), key=lambda folder: folder.title.lower())

    def add_folder(self, title: str, uid: str = "") -> Folder:
        folder = Folder(uid or slug_of(title), title)
        self._folders[folder.uid] = folder
        return folder

    def remove_folder(self, uid: str) -> bool:
        self._pushed = {k: s for k, s in self._pushed.items() if s.folder is None or s.folder.uid != uid}
        return self._folders.pop(uid, None) is not None

    def save(self, data: bytes, *, uid: str = "", folder_uid: str = "", overwrite: bool = True) -> Stored:
        """Write a dashboard: back to its file, into ``save_to``, or into memory. Raises InputError."""
        body = read_json(data)
        if uid and "elements" not in body and "spec" not in body:
            body["uid"] = uid
        board = to_dashboard(body)
        if not uid and not body.get("uid") and "spec" not in body:
            board = to_dashboard({**body, "uid": slug_of(board.title)})
        old = self.get(board.uid)
        if old is not None and not overwrite:
            raise InputError(f"a dashboard with uid {board.uid!r} exists", fix="overwrite it")
        if old is not None and not old.writable:
            raise InputError(f"dashboard {board.uid!r} is read-only", fix="save it under another uid")
        folder = next((f for f in self.folders() if f.uid == folder_uid), None)
        path = old.path if old is not None else None
        if path is None and self._save_to is not None:
            path = self._save_to / f"{slug_of(board.uid)}.json"
        stored = Stored(
            board.uid,
            board,
            folder or (old.folder if old else None),
            data
            if old is not None and old.path
            else msgspec.json.format(msgspec.json.encode(body), indent=2),
            path,
            version=old.version + 1 if old else 1,
        )
        if path is not None:
            _write(path, stored.data)
            self._known.stored[path] = stored
            stored.stamp = _stamp(path)
        else:
            self._pushed[board.uid] = stored
        return self.get(board.uid) or stored

    def delete(self, uid: str) -> bool:
        """Forget a dashboard; its file goes too, if it is one that was pushed. False if there is none."""
        if uid in self._pushed:
            del self._pushed[uid]
            return True
        found = self.get(uid)
        if found is None:
            return False
        if found.path is None or self._save_to is None or found.path.parent != self._save_to:
            raise InputError(f"dashboard {uid!r} is provisioned", fix="remove its file")
        found.path.unlink(missing_ok=True)
        return True

    def _scan(self) -> None:
        seen: set[Path] = set()
        self._known.broken.clear()
        for provider in self._providers:
            for path in _json_files(provider.path):
                if path not in seen and len(seen) < DASHBOARD_STORE_FILES_MAX:
                    seen.add(path)
                    self._read(path, provider)
        for path in self._known.stored.keys() - seen:
            del self._known.stored[path]

    def _read(self, path: Path, provider: Provider) -> None:
        try:
            stamp = _stamp(path)
            known = self._known.stored.get(path)
            if known is not None and known.stamp == stamp:
                return
            data = path.read_bytes()
            board = load_bytes(data, str(path))
        except OSError as error:
            self._known.broken[path] = str(error)
            return
        except WavetankError as error:
            self._known.broken[path] = error.message
            return
        version = known.version + 1 if known is not None else 1
        self._known.stored[path] = Stored(
            board.uid, board, _folder(path, provider), data, path, provider.writable, version, stamp=stamp
        )


def _json_files(root: Path) -> list[Path]:
    if root.is_file():
        return [root]
    return sorted(path for path in root.rglob("*.json") if path.is_file()) if root.is_dir() else []


def _stamp(path: Path) -> tuple[int, int]:
    found = path.stat()
    return found.st_mtime_ns, found.st_size


def _folder(path: Path, provider: Provider) -> Folder | None:
    title = provider.folder
    if provider.by_directory and path.parent != provider.path:
        title = path.parent.name
    return Folder(provider.folder_uid or slug_of(title), title) if title else None


def _write(path: Path, data: bytes) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished = path.with_name(f".{path.name}.unfinished")
        unfinished.write_bytes(data)
        unfinished.replace(path)
    except OSError as error:
        raise InputError(f"cannot write the dashboard: {error.strerror}", at=path) from None


def _shipped() -> dict[str, Stored]:
    """Those in the package."""
    out: dict[str, Stored] = {}
    folder = Folder("wavetank", "Wavetank")
    for entry in sorted(files("wavetank.dashboards").joinpath("shipped").iterdir(), key=lambda e: e.name):
        if entry.name.endswith(".json"):
            data = entry.read_bytes()
            board = load_bytes(data, entry.name)
            out[board.uid] = Stored(board.uid, board, folder, data, writable=False)
    return out
