"""The JSON report: what is written is what is read, and what the published schema allows."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path

import jsonschema
import msgspec
import pytest

from wavetank.errors import InputError
from wavetank.rehearsal.report import Report, decode, encode, json_schema
from wavetank.rehearsal.report.schema import render_schema

ROOT = Path(__file__).parents[2]


def test_a_report_survives_the_round_trip(example: Report) -> None:
    assert decode(encode(example)) == example


def test_the_published_schema_is_the_models_own() -> None:
    published = (ROOT / "docs" / "report.schema.json").read_bytes()
    assert published == render_schema(), "write render_schema() to docs/report.schema.json"


def test_the_schema_is_valid_and_allows_the_example(example: Report) -> None:
    schema = json_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(json.loads(encode(example)), schema)


@pytest.mark.parametrize(
    "field, value",
    [("outcome", "fine"), ("schema_version", 2), ("slos", [{"name": "x"}]), ("timeline", None), ("name", 3)],
)
def test_the_schema_refuses_what_is_no_report(example: Report, field: str, value: object) -> None:
    document = json.loads(encode(example)) | {field: value}
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(document, json_schema())


def test_values_that_json_lacks_become_null(example: Report) -> None:
    timeline = msgspec.structs.replace(example.timeline, p99_ms=(1.0, math.nan, math.inf))
    read = decode(encode(msgspec.structs.replace(example, timeline=timeline)))
    assert read.timeline.p99_ms == (1.0, None, None)


def test_fields_of_later_versions_are_passed_over(example: Report) -> None:
    document = json.loads(encode(example)) | {"weather": "rain"}
    assert decode(json.dumps(document)) == example


@pytest.mark.parametrize(
    "text, says",
    [
        ("", "not a rehearsal report"),
        ("[]", "not a rehearsal report"),
        ("{}", "schema_version None"),
        ('{"schema_version": 99}', "schema_version 99"),
        ('{"schema_version": 1}', "name"),
        ("[" * 100_000, "not a rehearsal report"),
    ],
)
def test_what_is_not_a_report_is_refused_with_the_reason(text: str, says: str) -> None:
    with pytest.raises(InputError, match=re.escape(says)):
        decode(text)


def test_the_browsers_model_has_the_same_fields() -> None:
    source = (ROOT / "ui" / "src" / "report" / "model.ts").read_text()
    theirs = {
        name: set(re.findall(r"^  (\w+): ", body, flags=re.MULTILINE))
        for name, body in re.findall(
            r"^export interface (\w+) \{\n(.*?)^\}", source, flags=re.MULTILINE | re.DOTALL
        )
    }
    ours = {name: set(part["properties"]) for name, part in json_schema()["$defs"].items()}
    assert theirs == ours
