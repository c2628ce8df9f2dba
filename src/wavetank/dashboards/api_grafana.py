"""Grafana's HTTP API over a store and a source: answers as plain values.

A tuple of status and body where the status is not 200. Numeric ids, which old clients still ask for, are
given out in the order in which dashboards are first seen. Creation times are not kept and are left out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

from wavetank.dashboards.source import Answer, Source
from wavetank.dashboards.store import Folder, Store, Stored, slug_of
from wavetank.dashboards.times import moment_ms
from wavetank.dashboards.values import flag, integer, mapping, mappings, text
from wavetank.errors import InputError, WavetankError

__all__ = ["Grafana"]

_GROUP: Final = "dashboard.grafana.app"
_LEVEL: Final = "13.0.0"  # the Grafana whose API this is, which clients look at


class Grafana:
    """What the routes answer."""

    def __init__(self, store: Store, source: Source, version: str) -> None:
        self._store = store
        self._source = source
        self._version = version

    def health(self) -> Any:
        return {"database": "ok", "version": _LEVEL, "commit": f"wavetank-{self._version}"}

    def org(self) -> Any:
        return {"id": 1, "name": "Main Org.", "address": {}}

    def user(self) -> Any:
        return {"id": 1, "login": "admin", "name": "admin", "email": "", "orgId": 1, "isGrafanaAdmin": True}

    def settings(self) -> Any:
        return {
            "buildInfo": {"version": _LEVEL, "edition": "Wavetank", "env": "production"},
            "defaultDatasource": self._source.name,
            "datasources": {self._source.name: self.sources()[0]},
        }

    # Dashboards

    def search(self, params: Sequence[tuple[str, str]]) -> Any:
        """By ``query``, ``tag``, ``type``, ``folderUIDs``, ``dashboardUIDs``, ``limit`` and ``page``."""
        by: dict[str, list[str]] = {}
        for key, value in params:
            by.setdefault(key, []).append(value)
        words = by.get("query", [""])[0].lower()
        kinds = by.get("type", [])
        folders = set(",".join([*by.get("folderUIDs", []), *by.get("folderUids", [])]).split(",")) - {""}
        uids = set(",".join([*by.get("dashboardUIDs", []), *by.get("dashboardUIDs[]", [])]).split(",")) - {""}
        tags = set(by.get("tag", []))
        found = []
        if "dash-db" not in kinds and not tags and not uids:
            found = [self._folder_hit(f) for f in self._store.folders() if words in f.title.lower()]
        if "dash-folder" not in kinds:
            found += [
                self._hit(s)
                for s in self._store.all()
                if words in s.dashboard.title.lower()
                and tags <= set(s.dashboard.tags)
                and (not folders or (s.folder.uid if s.folder else "general") in folders)
                and (not uids or s.uid in uids)
            ]
        limit = max(1, min(5000, _int(by.get("limit", ["1000"])[0], 1000)))
        start = (max(1, _int(by.get("page", ["1"])[0], 1)) - 1) * limit
        return found[start : start + limit]

    def _hit(self, stored: Stored) -> dict[str, Any]:
        board = stored.dashboard
        out = {
            "id": stored.number,
            "uid": stored.uid,
            "title": board.title,
            "uri": f"db/{slug_of(board.title)}",
            "url": _url(stored),
            "slug": "",
            "type": "dash-db",
            "tags": board.tags,
            "isStarred": False,
            "sortMeta": 0,
        }
        if stored.folder:
            folder = stored.folder
            out |= {"folderUid": folder.uid, "folderTitle": folder.title, "folderUrl": _folder_url(folder)}
        return out

    def _folder_hit(self, folder: Folder) -> dict[str, Any]:
        return {
            "id": self._folder_number(folder),
            "uid": folder.uid,
            "title": folder.title,
            "uri": f"db/{slug_of(folder.title)}",
            "url": _folder_url(folder),
            "type": "dash-folder",
            "tags": [],
            "isStarred": False,
        }

    def dashboard(self, uid: str) -> Any:
        stored = self._found(uid)
        if stored is None:
            return 404, {"message": "Dashboard not found", "status": "not-found"}
        return {
            "meta": {
                "type": "db",
                "canSave": stored.writable,
                "canEdit": stored.writable,
                "canAdmin": stored.writable,
                "canStar": False,
                "canDelete": stored.writable,
                "slug": slug_of(stored.dashboard.title),
                "url": _url(stored),
                "version": stored.version,
                "hasAcl": False,
                "isFolder": False,
                "folderUid": stored.folder.uid if stored.folder else "",
                "folderTitle": stored.folder.title if stored.folder else "General",
                "folderUrl": _folder_url(stored.folder) if stored.folder else "",
                "provisioned": stored.path is not None,
            },
            "dashboard": self._classic(stored),
        }

    def _classic(self, stored: Stored) -> dict[str, Any]:
        classic = dict(stored.dashboard.classic)
        return classic | {"id": stored.number, "uid": stored.uid, "version": stored.version}

    def save(self, body: Mapping[str, Any]) -> Any:
        """``{dashboard, folderUid, overwrite}``; an older version than the stored is refused."""
        board = body.get("dashboard")
        if not isinstance(board, Mapping):
            raise InputError("the request has no dashboard")
        if not text(board, "title") and "elements" not in board:
            return 400, {"message": "Dashboard title cannot be empty", "status": "empty-name"}
        old = self._found(text(board, "uid")) if text(board, "uid") else None
        if old is not None and not flag(body, "overwrite") and integer(board, "version") != old.version:
            return 412, {
                "message": "The dashboard has been changed by someone else",
                "status": "version-mismatch",
            }
        kept = {key: value for key, value in board.items() if key != "id"}
        stored = self._store.save(
            msgspec.json.encode(kept), uid=text(board, "uid"), folder_uid=text(body, "folderUid")
        )
        return {
            "id": stored.number,
            "uid": stored.uid,
            "url": _url(stored),
            "status": "success",
            "version": stored.version,
            "slug": slug_of(stored.dashboard.title),
            "folderUid": stored.folder.uid if stored.folder else "",
        }

    def remove(self, uid: str) -> Any:
        stored = self._found(uid)
        if stored is None:
            return 404, {"message": "Dashboard not found"}
        self._store.delete(uid)
        title = stored.dashboard.title
        return {"title": title, "message": f"Dashboard {title} deleted", "id": stored.number, "uid": uid}

    def home(self) -> Any:
        return {"redirectUri": "/dashboards"}

    def tags(self) -> Any:
        counts: dict[str, int] = {}
        for stored in self._store.all():
            for tag in stored.dashboard.tags:
                counts[tag] = counts.get(tag, 0) + 1
        return [{"term": tag, "count": count} for tag, count in sorted(counts.items())]

    def versions(self, uid: str) -> Any:
        stored = self._found(uid)
        if stored is None:
            return 404, {"message": "Dashboard not found"}
        return [{"id": stored.version, "uid": uid, "version": stored.version, "message": ""}]

    def _found(self, uid: str) -> Stored | None:
        return self._store.get(uid)

    # Folders

    def _folder_number(self, folder: Folder) -> int:
        return [f.uid for f in self._store.folders()].index(folder.uid) + 100_000

    def _folder(self, folder: Folder) -> dict[str, Any]:
        return {
            "id": self._folder_number(folder),
            "uid": folder.uid,
            "title": folder.title,
            "url": _folder_url(folder),
            "hasAcl": False,
            "canSave": True,
            "canEdit": True,
            "canAdmin": True,
            "version": 1,
        }

    def folders(self) -> Any:
        return [self._folder(folder) for folder in self._store.folders()]

    def folder(self, uid: str) -> Any:
        found = next((f for f in self._store.folders() if f.uid == uid), None)
        return self._folder(found) if found else (404, {"message": "folder not found"})

    def add_folder(self, body: Mapping[str, Any]) -> Any:
        title = text(body, "title")
        if not title:
            return 400, {"message": "folder title cannot be empty"}
        uid = text(body, "uid")
        if any(f.uid == (uid or slug_of(title)) for f in self._store.folders()):
            return 409, {"message": "a folder with the same UID or name already exists"}
        return self._folder(self._store.add_folder(title, uid))

    def rename_folder(self, uid: str, body: Mapping[str, Any]) -> Any:
        if not any(f.uid == uid for f in self._store.folders()):
            return 404, {"message": "folder not found"}
        return self._folder(self._store.add_folder(text(body, "title", uid), uid))

    def remove_folder(self, uid: str) -> Any:
        if not self._store.remove_folder(uid):
            return 404, {"message": "folder not found"}
        return {"message": "Folder deleted", "uid": uid}

    # Data sources

    def sources(self) -> list[dict[str, Any]]:
        source = self._source
        return [
            {
                "id": 1,
                "uid": source.uid,
                "orgId": 1,
                "name": source.name,
                "type": "prometheus",
                "typeName": "Prometheus",
                "access": "proxy",
                "url": getattr(source, "url", ""),
                "isDefault": True,
                "readOnly": True,
                "jsonData": {"timeInterval": f"{source.scrape_interval_ms / 1000:g}s", "httpMethod": "POST"},
            }
        ]

    def source_by(self, key: str) -> Any:
        """By uid, name or id."""
        source = self._source
        if key in (source.uid, source.name, "1"):
            return self.sources()[0]
        return 404, {"message": "Data source not found"}

    def source_id(self) -> Any:
        return {"id": 1}

    def source_health(self) -> Any:
        try:
            self._source.instant("vector(1)", 0)
        except WavetankError as error:
            return 400, {"status": "ERROR", "message": error.message}
        return {"status": "OK", "message": "Successfully queried the Prometheus API."}

    def query(self, body: Mapping[str, Any]) -> Any:
        """``/api/ds/query``: each query's series as data frames."""
        now = moment_ms(text(body, "to", "0"), 0, up=True)
        start = moment_ms(text(body, "from", "0"), 0, up=False)
        results = {}
        for query in mappings(body, "queries")[:100]:
            ref = text(query, "refId", "A")
            step = max(1, integer(query, "intervalMs", 15_000))
            try:
                answer = (
                    self._source.instant(text(query, "expr"), now)
                    if flag(query, "instant")
                    else self._source.range(text(query, "expr"), start, now, step)
                )
                results[ref] = {"status": 200, "frames": _data_frames(ref, answer)}
            except WavetankError as error:
                results[ref] = {"status": 400, "error": error.message, "frames": []}
        return {"results": results}

    # Resources

    def resources(self, version: str) -> Any:
        return {
            "kind": "DashboardList",
            "apiVersion": f"{_GROUP}/{version}",
            "metadata": {},
            "items": [self._resource(version, stored) for stored in self._store.all()],
        }

    def resource(self, version: str, uid: str) -> Any:
        stored = self._found(uid)
        return self._resource(version, stored) if stored else (404, _not_found(uid))

    def _resource(self, version: str, stored: Stored) -> dict[str, Any]:
        notes = {"grafana.app/folder": stored.folder.uid} if stored.folder else {}
        spec = {k: v for k, v in stored.dashboard.classic.items() if k not in ("id", "uid", "version")}
        metadata = {
            "name": stored.uid,
            "namespace": "default",
            "resourceVersion": str(stored.version),
            "generation": stored.version,
            "annotations": notes,
        }
        return {
            "kind": "Dashboard",
            "apiVersion": f"{_GROUP}/{version}",
            "metadata": metadata,
            "spec": spec,
        }

    def put_resource(self, version: str, uid: str, body: Mapping[str, Any]) -> Any:
        """A v1 or v2 resource, stored under its name."""
        name = uid or text(mapping(body, "metadata"), "name")
        folder = text(mapping(body, "metadata", "annotations"), "grafana.app/folder")
        whole = {"apiVersion": f"{_GROUP}/{version}", "kind": "Dashboard", **body}
        if name:
            whole["metadata"] = {**mapping(body, "metadata"), "name": name}
        stored = self._store.save(msgspec.json.encode(whole), folder_uid=folder)
        made = self._resource("v1" if version.startswith("v2") else version, stored)
        return made if uid else (201, made)


def _int(text_of: str, default: int) -> int:
    return int(text_of) if text_of.isdigit() and len(text_of) < 9 else default


def _url(stored: Stored) -> str:
    return f"/d/{stored.uid}/{slug_of(stored.dashboard.title)}"


def _folder_url(folder: Folder) -> str:
    return f"/dashboards/f/{folder.uid}/{slug_of(folder.title)}"


def _not_found(uid: str) -> dict[str, Any]:
    return {
        "kind": "Status",
        "apiVersion": "v1",
        "status": "Failure",
        "reason": "NotFound",
        "message": f'dashboards.{_GROUP} "{uid}" not found',
        "code": 404,
    }


def _data_frames(ref: str, answer: Answer) -> list[dict[str, Any]]:
    frames = []
    for labels, values, mask in zip(answer.labels, answer.values, answer.mask, strict=True):
        times = answer.times[mask].tolist()
        fields = [
            {"name": "Time", "type": "time", "typeInfo": {"frame": "time.Time"}, "config": {}},
            {
                "name": "Value",
                "type": "number",
                "typeInfo": {"frame": "float64"},
                "labels": labels,
                "config": {},
            },
        ]
        schema = {"refId": ref, "meta": {"type": "timeseries-multi"}, "fields": fields}
        frames.append({"schema": schema, "data": {"values": [times, values[mask].tolist()]}})
    return frames
