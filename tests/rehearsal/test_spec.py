"""rehearsal.yaml and the manifests: every mistake is named with file, line, value and fix."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from wavetank.errors import InputError
from wavetank.rehearsal.manifests import apply_order, check_manifests, load_manifests
from wavetank.rehearsal.spec import load_spec, parse_bound, stages_of

EXAMPLE = Path(__file__).parents[2] / "examples" / "httpbin"


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    copy = tmp_path / "httpbin"
    shutil.copytree(EXAMPLE, copy, ignore=shutil.ignore_patterns("report"))
    return copy


def check(directory: Path) -> str:
    """The error of a directory, its path shortened; empty if there is none."""
    try:
        rehearsal, document = load_spec(directory)
        stages_of(rehearsal.spec.load, document, directory)
        check_manifests(load_manifests(directory, rehearsal.spec.manifests, document))
    except InputError as error:
        return str(error).replace(str(directory), "DIR")
    return ""


def change(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def test_the_example_is_right(directory: Path) -> None:
    assert check(directory) == ""


def test_what_is_missing_is_named(tmp_path: Path, directory: Path) -> None:
    with pytest.raises(InputError, match="no such directory"):
        load_spec(tmp_path / "absent")
    (directory / "rehearsal.yaml").unlink()
    assert "there is no rehearsal.yaml in DIR; give the directory that holds it" in check(directory)


@pytest.mark.parametrize(
    ("file", "old", "new", "at", "message"),
    [
        ("rehearsal.yaml", "  slos:", "  slo:", "slo:", "unknown field 'slo' in spec; did you mean 'slos'?"),
        ("rehearsal.yaml", "manifests: [k8s/]", "manifests: [k9s/]", "k9s", "manifests: no such file or directory: DIR/k9s"),
        ("rehearsal.yaml", "rps: 100", "rp: 100", "rp: 100", "unknown field 'rp' in a stage; did you mean 'rps'?"),
        ("rehearsal.yaml", "duration: 75s, rps: 100", "duration: soon, rps: 100", "duration: soon", "'soon' is not a duration; write it as 90s, 1m30s or 2h"),
        ("rehearsal.yaml", "max: 500ms", "max: fast", "max: fast", "max: 'fast' is not a bound; write a number, or a duration such as 300ms (it is compared in seconds)"),
        ("rehearsal.yaml", "      objective: 0.999\n", "", "- name: availability", "SLO 'availability' has a ratio but no objective; e.g. objective: 0.999"),
        ("rehearsal.yaml", "  cluster:\n", "  cluster:\n    metricResolution: 5s\n", "metricResolution", "metricResolution: 5s is too short; a metrics server takes 10s at the least"),
        ("rehearsal.yaml", "gateway: web, ", "", "target: {host", "target needs either gateway or url; name the Istio Gateway the load enters by, or the URL of a service that is already there"),
        ("k8s/httpbin.yaml", "kind: Deployment\nmetadata", "kind: Deploiment\nmetadata", "kind: Deploiment", "kind 'Deploiment' is not known to this cluster; did you mean 'Deployment'?"),
        ("k8s/httpbin.yaml", "apiVersion: apps/v1\nkind", "apiVersion: apps/v1beta1\nkind", "apiVersion: apps/v1beta1", "no kind 'Deployment' in 'apps/v1beta1'; this cluster serves it as apps/v1"),
        ("k8s/httpbin.yaml", "kind: Deployment, name: httpbin", "kind: Deployment, name: htpbin", "name: htpbin", "HorizontalPodAutoscaler shop/httpbin: target Deployment/htpbin does not exist; did you mean 'httpbin'?"),
        ("k8s/httpbin.yaml", "requests: {cpu: 100m, memory: 96Mi}\n            limits: {cpu: 500m, memory: 256Mi}", "requests: {memory: 96Mi}", "- name: httpbin", "HorizontalPodAutoscaler shop/httpbin measures cpu utilization, but container 'httpbin' of Deployment shop/httpbin has no cpu request; add resources.requests.cpu"),
        ("k8s/httpbin.yaml", "readinessProbe:", "readynessProbe:", "readynessProbe:", "Deployment shop/httpbin: unknown field 'readynessProbe'"),
        ("k8s/httpbin.yaml", "command: [gunicorn]", "command: [gunicornn]", "command: [gunicornn]", "command not found: gunicornn; install it (for a Python program: into the environment of wavetank), or give its full path"),
    ],
)  # fmt: skip
def test_each_mistake_has_its_place_and_its_fix(
    directory: Path, file: str, old: str, new: str, at: str, message: str
) -> None:
    change(directory / file, old, new)
    lines = (directory / file).read_text().splitlines()
    line = next(number for number, text in enumerate(lines, start=1) if at in text)
    assert check(directory) == f"DIR/{file}:{line}: {message}"


def test_manifests_are_applied_in_the_order_of_their_references(directory: Path) -> None:
    rehearsal, document = load_spec(directory)
    kinds = [m.kind for m in apply_order(load_manifests(directory, rehearsal.spec.manifests, document))]
    assert kinds == [
        "Namespace", "Service", "Gateway", "DestinationRule", "Deployment", "VirtualService",
        "HorizontalPodAutoscaler",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "value"), [("300ms", 0.3), ("2", 2.0), (0.5, 0.5), ("5%", 0.05), ("1m30s", 90)]
)
def test_bounds(text: str | float, value: float) -> None:
    assert parse_bound(text) == pytest.approx(value)


def test_a_kind_may_be_defined_beside_its_objects(directory: Path) -> None:
    (directory / "k8s" / "a-widget.yaml").write_text(
        "apiVersion: example.com/v1\nkind: Widget\nmetadata: {name: w}\nspec: {size: 3}\n"
    )
    assert "kind 'Widget' is not known to this cluster" in check(directory)
    names = "{plural: widgets, kind: Widget}"
    version = "{name: v1, served: true, storage: true, schema: {openAPIV3Schema: {type: object}}}"
    (directory / "k8s" / "z-definition.yaml").write_text(
        "apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\n"
        "metadata: {name: widgets.example.com}\n"
        f"spec: {{group: example.com, scope: Namespaced, names: {names}, versions: [{version}]}}\n"
    )
    assert check(directory) == ""
    rehearsal, document = load_spec(directory)
    kinds = [m.kind for m in apply_order(load_manifests(directory, rehearsal.spec.manifests, document))]
    assert kinds.index("CustomResourceDefinition") < kinds.index("Widget")
