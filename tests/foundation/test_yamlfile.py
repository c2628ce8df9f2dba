"""YAML with line numbers: values as upstream tools read them, errors that name the place."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wavetank.errors import InputError
from wavetank.yamlfile import decode, load_documents, parse_documents


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("yes", "yes"),
        ("on", "on"),
        ("true", True),
        ("null", None),
        ("~", None),
        ("0644", 420),
        ("0x1f", 31),
        ("1e3", 1000.0),
        (".inf", float("inf")),
        ("2016-01-01", "2016-01-01"),
        ("1.2.3", "1.2.3"),
        ("'1'", "1"),
        ("10m", "10m"),
    ],
)
def test_scalars(text: str, value: Any) -> None:
    documents = parse_documents(f"key: {text}")
    assert documents[0].value == {"key": value}


def test_lines_of_key_paths() -> None:
    (document,) = parse_documents("a: 1\nb:\n  - c: 2\n    d: 3\n", path="f.yaml")
    assert str(document.at("b", 0, "d")) == "f.yaml:4"
    assert str(document.at("b", 0, "absent")) == "f.yaml:3"
    assert str(document.at("absent")) == "f.yaml:1"


def test_several_documents_and_merge_keys() -> None:
    first, second = parse_documents("---\na: &x {p: 1, q: 2}\nb: {<<: *x, q: 3}\n---\n---\nc: 1\n")
    assert first.value["b"] == {"p": 1, "q": 3}
    assert (second.value, second.line) == ({"c": 1}, 6)


BOMB = "a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"a{i}: &a{i} [{','.join([f'*a{i - 1}'] * 10)}]\n" for i in range(1, 9)
)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1\na: 2\n", "f.yaml:2: key 'a' is given twice; remove one of the two"),
        ("a: [1\n", "f.yaml:2: not valid YAML:"),
        ("a: !!python/object:os.system {}\n", "f.yaml:1: "),
        ("? [1]\n: 2\n", "f.yaml:1: a mapping key must be a plain value"),
        ("[" * 150 + "]" * 150, "nested deeper than 100 levels"),
        (BOMB, "more than 20000 values after aliases are expanded"),
        ("a: \x00", "not valid YAML"),
    ],
)
def test_bad_documents(text: str, message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("wavetank.yamlfile.YAML_NODES_MAX", 20_000)
    with pytest.raises(InputError) as raised:
        value = parse_documents(text, path="f.yaml")[0].value
        raise AssertionError(f"accepted: {value}")
    assert message in str(raised.value)


@given(st.text(max_size=200))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        parse_documents(text)
    except InputError:
        pass


class Inner(msgspec.Struct, forbid_unknown_fields=True):
    limit: int = 0


class Outer(msgspec.Struct, forbid_unknown_fields=True):
    name: str
    inner: list[Inner] = []
    maybe: Inner | None = None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name: x\ninner:\n- limt: 1\n", "f.yaml:3: unknown field 'limt' in inner.0; did you mean 'limit'?"),
        ("name: x\nmaybe:\n  limt: 1\n", "f.yaml:3: unknown field 'limt' in maybe; did you mean 'limit'?"),
        ("name: x\ninner:\n- limit: y\n", "f.yaml:3: inner.0.limit: Expected `int`, got `str`"),
        ("inner: []\n", "f.yaml:1: required field 'name' is missing"),
        ("name: 3\n", "f.yaml:1: name: Expected `str`, got `int`"),
    ],
)
def test_typed_documents_name_the_line_and_the_nearest_field(text: str, message: str) -> None:
    with pytest.raises(InputError) as raised:
        decode(parse_documents(text, path="f.yaml")[0], Outer)
    assert str(raised.value) == message


def test_a_missing_file_and_one_that_is_not_text(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot read the file: No such file"):
        load_documents(tmp_path / "absent.yaml")
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match="not UTF-8 text"):
        load_documents(tmp_path / "binary.yaml")
