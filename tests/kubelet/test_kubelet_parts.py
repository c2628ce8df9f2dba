"""Environment, logs, images, ports, addresses, volumes: each alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wavetank.clock import VirtualClock
from wavetank.errors import InputError
from wavetank.kube.kubelet import container_log
from wavetank.kube.kubelet.addresses import AddressPool
from wavetank.kube.kubelet.container_log import ContainerLog, read_log
from wavetank.kube.kubelet.environment import (
    ConfigError,
    PodAddresses,
    container_environment,
    expand,
    field_value,
    resource_value,
    service_variables,
)
from wavetank.kube.kubelet.images import ImageStore, ModelledPuller, pull_policy
from wavetank.kube.kubelet.ports import explain_conflict, listeners
from wavetank.kube.kubelet.volumes import VolumeError, make_volumes, mounts_of

ADDRESSES = PodAddresses("127.9.0.2", "127.9.0.1", "node-1", {"cpu": "4", "memory": "8Gi"})


@pytest.mark.parametrize(
    ("text", "result"),
    [
        ("$(A)", "1"),
        ("a$(A)b$(B)", "a1b2"),
        ("$(NONE)", "$(NONE)"),
        ("$$(A)", "$(A)"),
        ("$$$(A)", "$1"),
        ("$A $", "$A $"),
        ("$(A", "$(A"),
        ("$()", "$()"),
    ],
)
def test_expansion(text: str, result: str) -> None:
    assert expand(text, {"A": "1", "B": "2"}) == result


@given(st.text(alphabet="$()AB ", max_size=40))
def test_expansion_survives_anything(text: str) -> None:
    assert "$(A)" not in expand(text, {"A": "x"}) or "$$" in text


def test_env_refers_back_but_not_forward_and_not_to_env_from() -> None:
    container = {
        "envFrom": [{"configMapRef": {"name": "cm"}}],
        "env": [
            {"name": "FIRST", "value": "$(SECOND) $(C)"},
            {"name": "SECOND", "value": "2"},
            {"name": "THIRD", "value": "$(SECOND)"},
        ],
    }
    found = container_environment(
        {"metadata": {"name": "p"}, "spec": {}},
        container,
        [],
        lambda kind, name: {"kind": kind, "metadata": {"name": name}, "data": {"C": "c"}},
        ADDRESSES,
    )
    assert found == {"C": "c", "FIRST": "$(SECOND) $(C)", "SECOND": "2", "THIRD": "2"}


def test_service_variables_are_docker_s() -> None:
    ports = [{"name": "http", "port": 80}, {"name": "dns-udp", "port": 53, "protocol": "UDP"}]
    services = [
        {
            "metadata": {"name": "my-web", "namespace": "ns"},
            "spec": {"clusterIP": "10.0.0.1", "ports": ports},
        },
        {"metadata": {"name": "headless", "namespace": "ns"}, "spec": {"clusterIP": "None", "ports": ports}},
        {
            "metadata": {"name": "far", "namespace": "other"},
            "spec": {"clusterIP": "10.0.0.2", "ports": ports},
        },
    ]
    assert service_variables(services, "ns") == {
        "MY_WEB_SERVICE_HOST": "10.0.0.1",
        "MY_WEB_SERVICE_PORT": "80",
        "MY_WEB_PORT": "tcp://10.0.0.1:80",
        "MY_WEB_SERVICE_PORT_HTTP": "80",
        "MY_WEB_PORT_80_TCP": "tcp://10.0.0.1:80",
        "MY_WEB_PORT_80_TCP_PROTO": "tcp",
        "MY_WEB_PORT_80_TCP_PORT": "80",
        "MY_WEB_PORT_80_TCP_ADDR": "10.0.0.1",
        "MY_WEB_SERVICE_PORT_DNS_UDP": "53",
        "MY_WEB_PORT_53_UDP": "udp://10.0.0.1:53",
        "MY_WEB_PORT_53_UDP_PROTO": "udp",
        "MY_WEB_PORT_53_UDP_PORT": "53",
        "MY_WEB_PORT_53_UDP_ADDR": "10.0.0.1",
    }


POD: dict[str, Any] = {
    "metadata": {"name": "p", "namespace": "ns", "uid": "u", "labels": {"b": 'x"y', "a": "1"}},
    "spec": {"containers": [{"name": "c", "resources": {"requests": {"cpu": "250m"}}}]},
}


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("metadata.name", "p"),
        ("metadata.labels['a']", "1"),
        ("metadata.labels", 'a="1"\nb="x\\"y"'),
        ("status.podIP", "127.9.0.2"),
        ("status.hostIP", "127.9.0.1"),
        ("spec.nodeName", "node-1"),
        ("spec.serviceAccountName", "default"),
    ],
)
def test_downward_api_fields(path: str, value: str) -> None:
    assert field_value(POD, path, ADDRESSES) == value


def test_an_unknown_field_is_refused() -> None:
    with pytest.raises(ConfigError, match="unsupported fieldPath"):
        field_value(POD, "spec.hostname", ADDRESSES)


@pytest.mark.parametrize(
    ("resource", "divisor", "value"),
    [
        ("requests.cpu", None, "1"),
        ("requests.cpu", "1m", "250"),
        ("limits.cpu", None, "4"),
        ("limits.memory", "1Mi", "8192"),
    ],
)
def test_resources_are_rounded_up_and_limits_default_to_the_node(
    resource: str, divisor: str, value: str
) -> None:
    reference = {"containerName": "c", "resource": resource, "divisor": divisor}
    assert resource_value(POD, reference, ADDRESSES) == value


async def read(log: ContainerLog, **options: Any) -> str:
    return b"".join([c async for c in read_log(log.path, None, now=1000.0, **options)]).decode()


async def test_logs_are_cri_lines_with_partial_tags(tmp_path: Path) -> None:
    log = ContainerLog(tmp_path / "0.log", VirtualClock(1_750_000_000.5))
    log.feed("stdout", b"one\ntw")
    log.feed("stderr", b"bad\n")
    log.feed("stdout", b"o\n" + b"x" * 20_000 + b"\nend")
    log.close()
    lines = log.path.read_bytes().splitlines()
    assert lines[0] == b"2025-06-15T15:06:40.500000000Z stdout F one"
    assert [line.split()[1:3] for line in lines] == [
        [b"stdout", b"F"], [b"stderr", b"F"], [b"stdout", b"F"],
        [b"stdout", b"P"], [b"stdout", b"F"], [b"stdout", b"F"],
    ]  # fmt: skip
    assert await read(log) == "one\nbad\ntwo\n" + "x" * 20_000 + "\nend\n"
    assert await read(log, tail_lines=2) == "x" * 20_000 + "\nend\n"
    assert await read(log, tail_lines=0) == ""
    assert log.tail(1) == "end"


async def test_logs_rotate_and_are_read_across_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(container_log, "KUBELET_LOG_BYTES_MAX", 200)
    log = ContainerLog(tmp_path / "0.log", VirtualClock(1_750_000_000.0))
    for number in range(12):
        log.feed("stdout", f"line {number}\n".encode())
    log.close()
    assert len(list(tmp_path.iterdir())) == 3
    assert await read(log) == "".join(f"line {n}\n" for n in range(12))


@given(st.lists(st.binary(max_size=60), max_size=12))
async def test_no_byte_of_output_is_lost_however_it_is_cut(chunks: list[bytes]) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as directory:
        log = ContainerLog(Path(directory) / "0.log", VirtualClock(0.0))
        for chunk in chunks:
            log.feed("stdout", chunk)
        log.close()
        text = b"".join(chunks)
        expected = text if text.endswith(b"\n") or not text else text + b"\n"
        assert b"".join([c async for c in read_log(log.path, None, now=0.0)]) == expected


@pytest.mark.parametrize(
    ("image", "policy"),
    [
        ("a", "Always"),
        ("a:latest", "Always"),
        ("a:1", "IfNotPresent"),
        ("r:5000/a", "Always"),
        ("a@sha256:0", "IfNotPresent"),
    ],
)
def test_pull_policy_defaults(image: str, policy: str) -> None:
    assert pull_policy({"image": image}) == policy


async def test_pulls_take_their_modelled_time_one_after_the_other() -> None:
    import asyncio

    clock = VirtualClock(0.0)
    puller = ModelledPuller(clock, {"a:1": 100, "b:1": 50}, bandwidth=10.0, decompress=100.0, rtt=1.0)
    store = ImageStore(puller, clock)
    pulling: list[str] = []
    tasks = [
        asyncio.ensure_future(store.ensure(image, "IfNotPresent", lambda image=image: pulling.append(image)))
        for image in ("a:1", "b:1", "a:1")
    ]
    await clock.advance(60)
    (first, waited_a, cached_a), (second, waited_b, _), (_, waited_c, cached_c) = [t.result() for t in tasks]
    assert (first.seconds, second.seconds) == (12.0, 6.5)
    assert (waited_a, waited_b, waited_c) == (12.0, 18.5, 18.5)
    assert (cached_a, cached_c) == (False, True)
    assert await store.ensure("a:1", "IfNotPresent", lambda: pulling.append("again")) == (first, 0.0, True)
    assert pulling == ["a:1", "b:1", "a:1"]


@pytest.mark.parametrize(
    "output",
    [
        "OSError: [Errno 98] Address already in use",
        "Error: listen EADDRINUSE: address already in use :::8000",
        "[ERROR] Connection in use: ('0.0.0.0', 8000)",
        "listen tcp :8000: bind: address already in use",
    ],
)
def test_port_conflicts_are_recognised_and_explained(output: str) -> None:
    text = explain_conflict(output, "127.9.0.2", [{"containerPort": 8000}], lambda: {("*", 8000)})
    assert text.startswith("port 8000 is taken")
    assert "status.podIP" in text and "127.9.0.2" in text


def test_other_failures_are_not_taken_for_port_conflicts() -> None:
    assert explain_conflict("ValueError: address 98", "127.9.0.2", []) == ""


def test_listening_sockets_are_read_from_proc(tmp_path: Path) -> None:
    (tmp_path / "tcp").write_text(
        "  sl  local_address rem_address   st\n"
        "   0: 00000000:1F40 00000000:0000 0A 0\n"
        "   1: 0200097F:1F41 00000000:0000 0A 0\n"
        "   2: 0200097F:1F42 00000000:0000 01 0\n"
    )
    assert listeners(tmp_path) == {("*", 8000), ("127.9.0.2", 8001)}


def test_addresses_rest_before_they_are_used_again() -> None:
    clock = VirtualClock(0.0)
    pool = AddressPool("127.9.0.0/28", clock)
    first = pool.take()
    assert first == "127.9.0.2"
    pool.release(first)
    rest = [pool.take() for _ in range(12)]
    assert first not in rest and len(set(rest)) == 12
    with pytest.raises(InputError, match="no free address"):
        pool.take()
    clock.run_until(60)
    assert pool.take() == first


@pytest.mark.parametrize("cidr", ["127.0.0.0/30", "nonsense", "127.0.0.1/8"])
def test_bad_blocks_of_addresses_are_refused(cidr: str) -> None:
    with pytest.raises(InputError, match="pod CIDR"):
        AddressPool(cidr, VirtualClock(0.0))


@pytest.mark.parametrize(
    ("text", "result"),
    [
        ("/data", "/v"),
        ("/data/x.db", "/v/x.db"),
        ("--dir=/data", "--dir=/v"),
        ("sqlite:////data/x", "sqlite:////data/x"),
        ("/database", "/database"),
        ("/a/data", "/a/data"),
        ("cat /data/a:/data/b", "cat /v/a:/v/b"),
    ],
)
def test_mount_paths_are_rewritten_as_whole_paths(text: str, result: str) -> None:
    mounts = mounts_of(
        {"volumeMounts": [{"name": "my-data", "mountPath": "/data/"}]}, {"my-data": Path("/v")}
    )
    assert mounts.rewrite(text) == result
    assert mounts.variables == {"WAVETANK_VOLUME_MY_DATA": "/v"}


def test_volumes_never_leave_their_directory(tmp_path: Path) -> None:
    items = [{"key": "a", "path": "../../escape"}]
    pod = {
        "metadata": {"name": "p"},
        "spec": {"volumes": [{"name": "v", "configMap": {"name": "c", "items": items}}]},
    }
    config = {"kind": "ConfigMap", "metadata": {"name": "c"}, "data": {"a": "x"}}
    with pytest.raises(VolumeError, match="must not leave the volume"):
        make_volumes(pod, tmp_path / "volumes", lambda kind, name: config, ADDRESSES)
    assert not (tmp_path.parent / "escape").exists()


def test_projected_volumes_join_their_sources(tmp_path: Path) -> None:
    sources = [
        {"secret": {"name": "s"}},
        {"downwardAPI": {"items": [{"path": "meta/name", "fieldRef": {"fieldPath": "metadata.name"}}]}},
        {"serviceAccountToken": {"path": "token"}},
    ]
    pod = {**POD, "spec": {**POD["spec"], "volumes": [{"name": "v", "projected": {"sources": sources}}]}}
    secret = {"kind": "Secret", "metadata": {"name": "s"}, "data": {"k": "AP8="}}
    found = make_volumes(pod, tmp_path, lambda kind, name: secret, ADDRESSES)
    assert (found["v"] / "k").read_bytes() == b"\x00\xff"
    assert (found["v"] / "meta" / "name").read_text() == "p"
