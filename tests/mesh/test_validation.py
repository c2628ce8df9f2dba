"""What validation says, case by case, and over Istio's own test data."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from wavetank.errors import InputError
from wavetank.mesh.validation import check_documents, validate_documents, validate_object
from wavetank.mesh.validation.messages import catalogue
from wavetank.yamlfile import load_documents, parse_documents

DATA = Path(__file__).parent / "data"
FINDINGS = yaml.safe_load((DATA / "findings.yaml").read_text())


@pytest.mark.parametrize("case", FINDINGS["cases"], ids=lambda case: case["name"])
def test_finding(case: dict[str, Any]) -> None:
    documents = [
        *parse_documents(FINDINGS["base"], path="base"),
        *parse_documents(case["given"], path="given"),
    ]
    found = [f for f in validate_documents(documents) if f.at.path == "given" and f.problem.level != "info"]
    told = [
        [f.at.line, f.problem.level, f.problem.code, f"{f.problem.message}; {f.problem.fix}"] for f in found
    ]
    assert [t[:3] for t in told] == [e[:3] for e in case["expect"]], told
    for (*_, text), (*_, words) in zip(told, case["expect"], strict=True):
        assert words in text


def _upstream() -> list[Any]:
    cases = []
    for file in sorted((DATA / "validation").glob("*.yaml")):
        # Go's YAML takes an unquoted `001:db8::` in a flow sequence.
        text = file.read_text().replace("001:db8::", '"001:db8::"')
        for document in parse_documents(text, path=file.name):
            error = document.value.pop("_err", None)
            cases.append(pytest.param(document.value, error, id=f"{file.stem}:{document.line}"))
    return cases


@pytest.mark.parametrize(("obj", "error"), _upstream())
def test_istio_case(obj: dict[str, Any], error: str | None) -> None:
    texts = [p.message for p in validate_object(obj) if p.is_error]
    if error is None:
        assert texts == []
    else:
        assert any(error in text for text in texts), texts


@pytest.mark.parametrize("file", sorted((DATA / "bookinfo/networking").glob("*.yaml")), ids=lambda f: f.stem)
def test_bookinfo_has_no_errors_in_form(file: Path) -> None:
    for document in load_documents(file):
        assert [p for p in validate_object(document.value) if p.is_error] == []


def test_the_first_error_names_file_line_object_and_fix() -> None:
    text = FINDINGS["cases"][2]["given"]
    with pytest.raises(InputError) as caught:
        check_documents([*parse_documents(FINDINGS["base"]), *parse_documents(text, path="vs.yaml")])
    assert str(caught.value) == (
        "vs.yaml:7: VirtualService/shop: destination host 'shopp' matches no Service or ServiceEntry"
        " (looked for shopp.default.svc.cluster.local); did you mean 'shop'?"
    )


def test_the_catalogue_is_in_order() -> None:
    assert all(m.level in ("error", "warning", "info") for m in catalogue().values())


_VALUES: Any = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    "hosts",
                    "http",
                    "route",
                    "match",
                    "uri",
                    "prefix",
                    "regex",
                    "destination",
                    "host",
                    "port",
                    "number",
                    "servers",
                    "tls",
                    "name",
                    "rules",
                    "headers",
                    "weight",
                    "retries",
                    "timeout",
                    "fault",
                    "subsets",
                    "labels",
                    "parentRefs",
                    "matches",
                    "path",
                    "value",
                ]
            )
            | st.text(max_size=3),
            inner,
            max_size=4,
        )
    ),
    max_leaves=20,
)
_KINDS = st.sampled_from(
    [
        ("networking.istio.io/v1", kind)
        for kind in (
            "VirtualService",
            "Gateway",
            "DestinationRule",
            "ServiceEntry",
            "Sidecar",
            "WorkloadEntry",
        )
    ]
    + [("gateway.networking.k8s.io/v1", "HTTPRoute"), ("gateway.networking.k8s.io/v1", "Gateway")]
)


@given(_KINDS, _VALUES)
def test_no_spec_breaks_validation(kind: tuple[str, str], spec: Any) -> None:
    obj = {"apiVersion": kind[0], "kind": kind[1], "metadata": {"name": "x"}, "spec": spec}
    assert isinstance(validate_object(obj), list)
