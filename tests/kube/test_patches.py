"""Patches as tables: what a strategic merge, a JSON patch and server-side apply leave."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wavetank.kube.client import ApiError, Object
from wavetank.kube.patches.apply import server_side_apply
from wavetank.kube.patches.fieldset import from_fields_v1, to_fields_v1
from wavetank.kube.patches.json_patch import json_patch
from wavetank.kube.patches.managed import record_update
from wavetank.kube.patches.merge_patch import merge_patch
from wavetank.kube.patches.strategic import strategic_merge
from wavetank.kube.resources import DEPLOYMENTS, PODS
from wavetank.kube.schema.builtin import type_of

POD = type_of(PODS)
DEPLOYMENT = type_of(DEPLOYMENTS)
assert POD is not None and DEPLOYMENT is not None


def containers(*items: Object) -> Object:
    return {"spec": {"containers": [*items]}}


A, B = {"name": "a", "image": "1"}, {"name": "b", "image": "1"}


@pytest.mark.parametrize(
    ("why", "target", "patch", "expected"),
    [
        (
            "list items merge by name",
            containers(A, B),
            containers({"name": "b", "image": "2"}),
            containers(A, {"name": "b", "image": "2"}),
        ),
        ("a new item comes first, as upstream", containers(A), containers(B), containers(B, A)),
        (
            "$patch delete removes an item",
            containers(A, B),
            containers({"name": "a", "$patch": "delete"}),
            containers(B),
        ),
        (
            "$patch replace replaces a list",
            containers(A),
            {"spec": {"containers": [B, {"$patch": "replace"}]}},
            containers(B),
        ),
        (
            "$setElementOrder orders",
            containers(A, B),
            {"spec": {"$setElementOrder/containers": [{"name": "b"}, {"name": "a"}]}},
            containers(B, A),
        ),
        (
            "null removes",
            {"metadata": {"labels": {"x": "1"}}},
            {"metadata": {"labels": None}},
            {"metadata": {}},
        ),
        (
            "atomic lists are replaced",
            {"spec": {"tolerations": [{"key": "a"}]}},
            {"spec": {"tolerations": [{"key": "b"}]}},
            {"spec": {"tolerations": [{"key": "b"}]}},
        ),
        (
            "primitive lists with merge are united",
            {"metadata": {"finalizers": ["a"]}},
            {"metadata": {"finalizers": ["b"]}},
            {"metadata": {"finalizers": ["b", "a"]}},
        ),
        (
            "$deleteFromPrimitiveList",
            {"metadata": {"finalizers": ["a", "b"]}},
            {"metadata": {"$deleteFromPrimitiveList/finalizers": ["a"]}},
            {"metadata": {"finalizers": ["b"]}},
        ),
        (
            "$retainKeys keeps only those",
            {"spec": {"volumes": [{"name": "v", "emptyDir": {}}]}},
            {
                "spec": {
                    "volumes": [{"name": "v", "hostPath": {"path": "/"}, "$retainKeys": ["name", "hostPath"]}]
                }
            },
            {"spec": {"volumes": [{"name": "v", "hostPath": {"path": "/"}}]}},
        ),
    ],
)
def test_strategic_merge(why: str, target: Object, patch: Object, expected: Object) -> None:
    assert strategic_merge(POD, target, patch) == expected, why


def test_an_item_without_its_merge_key_is_refused() -> None:
    with pytest.raises(ApiError, match="does not contain declared merge key: name"):
        strategic_merge(POD, containers(A), containers({"image": "2"}))


# The examples of RFC 6902's appendix A that apply to objects.
@pytest.mark.parametrize(
    ("target", "patch", "expected"),
    [
        ({"a": "b"}, [{"op": "add", "path": "/c", "value": 1}], {"a": "b", "c": 1}),
        ({"a": [1, 3]}, [{"op": "add", "path": "/a/1", "value": 2}], {"a": [1, 2, 3]}),
        ({"a": [1]}, [{"op": "add", "path": "/a/-", "value": 2}], {"a": [1, 2]}),
        ({"a": 1, "b": 2}, [{"op": "remove", "path": "/b"}], {"a": 1}),
        ({"a": [1, 2]}, [{"op": "replace", "path": "/a/0", "value": 9}], {"a": [9, 2]}),
        (
            {"a": {"x": 1}, "b": {}},
            [{"op": "move", "from": "/a/x", "path": "/b/y"}],
            {"a": {}, "b": {"y": 1}},
        ),
        ({"a/b": {"m~n": 1}}, [{"op": "test", "path": "/a~1b/m~0n", "value": 1}], {"a/b": {"m~n": 1}}),
        ({"a": {"x": 1}}, [{"op": "copy", "from": "/a", "path": "/b"}], {"a": {"x": 1}, "b": {"x": 1}}),
    ],
)
def test_json_patch(target: Object, patch: list[Object], expected: Object) -> None:
    assert json_patch(target, patch) == expected


@pytest.mark.parametrize(
    ("patch", "code"),
    [
        ({"op": "add"}, 400),
        ([{"op": "fly", "path": "/a"}], 400),
        ([{"op": "remove", "path": "/nowhere"}], 422),
        ([{"op": "test", "path": "/a", "value": 2}], 422),
        ([{"op": "add", "path": "/list/9", "value": 1}], 422),
        ([{"op": "add", "path": "a", "value": 1}], 400),
        ([{"op": "move", "from": "/a", "path": "/a/b"}], 422),
        ([{"op": "add", "path": "/x"}], 400),
    ],
)
def test_json_patches_that_do_not_apply(patch: Any, code: int) -> None:
    target = {"a": 1, "list": []}
    with pytest.raises(ApiError) as caught:
        json_patch(target, patch)
    assert caught.value.code == code
    assert target == {"a": 1, "list": []}


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=12,
)


@given(st.dictionaries(st.text(max_size=4), _JSON, max_size=4), _JSON)
def test_hostile_patches_give_an_object_or_an_api_error(target: Object, patch: Any) -> None:
    for apply in (
        lambda: merge_patch(target, patch),
        lambda: json_patch(target, patch),
        lambda: strategic_merge(POD, target, patch if isinstance(patch, dict) else {}),
    ):
        try:
            apply()
        except ApiError:
            pass


def applied(image: str = "1", **spec: Any) -> Object:
    template = {"spec": {"containers": [{"name": "a", "image": image}]}}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "w"},
        "spec": {"template": template, **spec},
    }


def apply(live: Object | None, obj: Object, manager: str = "one", *, force: bool = False) -> Object:
    return server_side_apply(DEPLOYMENT, live, obj, manager, force, "", 1e9)


def test_applying_twice_changes_nothing() -> None:
    first = apply(None, applied(replicas=1))
    assert apply(first, applied(replicas=1)) == first


def test_a_field_no_longer_applied_is_removed_unless_another_owns_it() -> None:
    live = apply(None, applied(replicas=1, paused=True))
    live = apply(live, applied(replicas=1), "two")
    live = apply(live, applied(), "one")
    assert live["spec"].get("replicas") == 1 and "paused" not in live["spec"]


def test_a_list_item_no_longer_applied_is_removed_as_a_whole() -> None:
    both = applied()
    both["spec"]["template"]["spec"]["containers"].append({"name": "b", "image": "2"})
    live = apply(apply(None, both), applied())
    assert [c["name"] for c in live["spec"]["template"]["spec"]["containers"]] == ["a"]


def test_conflicts_name_the_owner_and_the_field() -> None:
    live = apply(None, applied("1"))
    with pytest.raises(ApiError) as caught:
        apply(live, applied("2"), "two")
    assert caught.value.message == (
        'Apply failed with 1 conflict: conflict with "one": .spec.template.spec.containers[name="a"].image'
    )
    assert caught.value.details["causes"][0]["reason"] == "FieldManagerConflict"
    forced = apply(live, applied("2"), "two", force=True)
    assert forced["spec"]["template"]["spec"]["containers"][0]["image"] == "2"
    owners = {e["manager"]: from_fields_v1(e["fieldsV1"]) for e in forced["metadata"]["managedFields"]}
    image = ("f:spec", "f:template", "f:spec", "f:containers", 'k:{"name":"a"}', "f:image")
    assert image in owners["two"] and image not in owners["one"]


def test_a_plain_write_takes_fields_over() -> None:
    live = apply(None, applied(replicas=1))
    new = {**live, "spec": {**live["spec"], "replicas": 5}, "metadata": {**live["metadata"]}}
    record_update(DEPLOYMENT, live, new, "hpa", "scale", 1e9)
    with pytest.raises(ApiError, match=r'conflict with "hpa" with subresource "scale" using apps/v1 at 2001'):
        apply(new, applied(replicas=2))
    assert apply(new, applied(replicas=5))["spec"]["replicas"] == 5


_ELEMENTS = st.sampled_from(["f:a", "f:b", 'k:{"name":"x"}', 'v:"y"'])


@given(st.sets(st.lists(_ELEMENTS, min_size=1, max_size=4).map(tuple), max_size=8))
def test_field_sets_survive_their_json_form(paths: set[tuple[str, ...]]) -> None:
    assert from_fields_v1(to_fields_v1(paths)) == paths
