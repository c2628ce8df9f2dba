"""``--patch``: patches in a file, each naming its object, merged into the manifests as kubectl would."""

from __future__ import annotations

from pathlib import Path

import pytest

from wavetank.errors import InputError
from wavetank.rehearsal.plan import Plan, make_plan

HTTPBIN = Path(__file__).parents[2] / "examples" / "httpbin"


def plan(directory: Path, text: str) -> Plan:
    file = directory / "patch.yaml"
    file.write_text(text)
    return make_plan(HTTPBIN, simulated=True, patches=[file])


def test_patches_of_two_objects_in_one_file(tmp_path: Path) -> None:
    made = plan(
        tmp_path,
        """
# why: a comment is no document
kind: HorizontalPodAutoscaler
metadata: {name: httpbin, namespace: shop}
spec: {maxReplicas: 9}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: httpbin}
spec:
  template:
    spec:
      containers:
        - name: httpbin
          resources: {limits: {cpu: 750m}}
""",
    )
    (workload,) = made.workloads
    assert (workload.min_replicas, workload.max_replicas) == (1, 9)
    assert workload.cpu_limit_cores == 0.75
    assert workload.cpu_request_cores == 0.1  # lists of containers merge by name
    unpatched = make_plan(HTTPBIN, simulated=True)
    assert unpatched.workloads[0].max_replicas == 5


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("kind: HorizontalPodAutoscaler\nmetadata: {name: httpbinn}\nspec: {}", "no HorizontalPodAutoscaler httpbinn"),
        ("kind: Deployment\nmetadata: {name: httpbin, namespace: x}\nspec: {}", "no Deployment x/httpbin"),
        ("spec: {maxReplicas: 3}", "must say which object"),
        ("- 1", "must say which object"),
        ("kind: Deployment\nmetadata: {name: httpbin}\nspec: {$patch: nonsense}", "unknown \\$patch type"),
    ],
)  # fmt: skip
def test_a_patch_of_nothing_names_the_place(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(InputError, match=message) as raised:
        plan(tmp_path, text)
    assert "patch.yaml:" in str(raised.value)
