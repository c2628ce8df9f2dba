"""The JSON Schema of the report, derived from the model: docs/report.schema.json is this, written out.

Draft 2020-12. The schema allows fields it does not name, since fields may be added within one version.
"""

from __future__ import annotations

import inspect
from typing import Any

import msgspec

from wavetank.rehearsal.report import model

__all__ = ["json_schema", "render_schema"]


def json_schema() -> dict[str, Any]:
    """The schema as plain values, ready for ``json.dump``."""
    (root,), definitions = msgspec.json.schema_components([model.Report], ref_template="#/$defs/{name}")
    for definition in definitions.values():
        if text := definition.get("description"):
            definition["description"] = inspect.cleandoc(text)
    definitions["Report"]["properties"]["schema_version"] = {"const": model.SCHEMA_VERSION}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Wavetank rehearsal report",
        **root,
        "$defs": dict(sorted(definitions.items())),
    }


def render_schema() -> bytes:
    """The schema as the published file's bytes."""
    return msgspec.json.format(msgspec.json.encode(json_schema()), indent=2) + b"\n"
