"""Provisioning files: ``dashboards/*.yaml`` with providers of type file.

Mirrors Grafana's conf/provisioning. Paths are relative to the YAML file, beyond upstream, where they are
absolute.
"""

from __future__ import annotations

from pathlib import Path

from wavetank.dashboards.store import Provider
from wavetank.dashboards.values import flag, mapping, mappings, text
from wavetank.errors import InputError
from wavetank.yamlfile import load_documents

__all__ = ["providers_of"]


def providers_of(path: Path) -> list[Provider]:
    """The providers of one YAML file, of all in a directory, or a directory of dashboards itself.

    Raises InputError for a file that cannot be read, or a provider without a path.
    """
    if path.is_dir():
        configured = sorted([*path.glob("*.yaml"), *path.glob("*.yml")])
        inner = [provider for file in configured for provider in _read(file)]
        return inner or [Provider(path, by_directory=True)]
    if path.suffix in (".yaml", ".yml"):
        return _read(path)
    if not path.exists():
        raise InputError("no such file or directory", at=path)
    return [Provider(path)]


def _read(path: Path) -> list[Provider]:
    providers = [p for document in load_documents(path) for p in mappings(document.value, "providers")]
    if not providers:
        raise InputError("no providers", at=path, fix="a provisioning file has apiVersion: 1 and providers")
    out = []
    for provider in providers:
        kind = text(provider, "type", "file")
        if kind != "file":
            raise InputError(f"provider type {kind!r} is not supported", at=path, fix="use type: file")
        options = mapping(provider, "options")
        where = text(options, "path") or text(options, "folder")
        if not where:
            raise InputError(f"provider {text(provider, 'name')!r} has no options.path", at=path)
        out.append(
            Provider(
                (path.parent / where).resolve(),
                text(provider, "folder"),
                text(provider, "folderUid"),
                flag(provider, "allowUiUpdates"),
                flag(options, "foldersFromFilesStructure"),
            )
        )
    return out
