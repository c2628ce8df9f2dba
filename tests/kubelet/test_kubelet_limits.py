"""CPU and memory limits, metering, and the endpoints that show it; once with each enforcer."""

from __future__ import annotations

import json

import pytest
from kubelet_room import Tank, container, python, ready, status_of

from wavetank.kube.kubelet.server import LocalKubelets, kubelet_get
from wavetank.kube.metrics_server.decode import decode
from wavetank.kube.resources import LEASES, NODES

BURN = "print('on', flush=True)\nwhile True: pass"


async def test_a_cpu_limit_throttles(either_tank: Tank) -> None:
    tank = either_tank
    await tank.create("burn", python(BURN, resources={"limits": {"cpu": "200m"}}))
    await tank.until("burn", ready)
    running = next(iter(tank.kubelet.workers.values())).running["main"]
    before, begun = running.usage(), tank.clock.monotonic()
    await tank.clock.sleep(1.0)
    # On a machine so busy that the pod gets less than its limit anyway, throttling comes when it is less so.
    async for _ in _until(tank, lambda: running.usage().throttled_periods > before.throttled_periods):
        pass
    after, seconds = running.usage(), tank.clock.monotonic() - begun
    cores = (after.cpu_ns - before.cpu_ns) / 1e9 / seconds
    assert cores < 0.4, "the limit is 0.2 of a core; a period or two of overdraft are allowed"
    assert after.throttled_ns > 0
    assert after.periods >= after.throttled_periods


async def test_a_memory_limit_kills(either_tank: Tank) -> None:
    tank = either_tank
    code = "import time; time.sleep(0.1); x = bytearray(200 << 20); time.sleep(60)"
    limits = {"limits": {"memory": "64Mi"}}
    await tank.create("big", python(code, resources=limits), restartPolicy="Never")
    pod = await tank.until("big", lambda p: p.get("status", {}).get("phase") == "Failed")
    assert status_of(pod)["state"]["terminated"]["reason"] == "OOMKilled"
    assert status_of(pod)["state"]["terminated"]["exitCode"] == 137
    assert tank.journal.of("container.exited")[0]["reason"] == "OOMKilled"


async def test_cpu_of_children_is_counted_after_they_are_gone(either_tank: Tank) -> None:
    tank = either_tank
    burn = "import time; t = time.process_time()\nwhile time.process_time() - t < 0.3: pass"
    await tank.create("kids", container("main", "sh", "-c", f'python -c "{burn}"; touch done; sleep 100'))
    await tank.until("kids", ready)
    (worker,) = tank.kubelet.workers.values()
    async for _ in _until(tank, lambda: (worker.directory / "done").exists()):
        pass
    assert worker.running["main"].usage().cpu_ns >= 0.29e9


async def _until(tank: Tank, check):  # type: ignore[no-untyped-def]
    for _ in range(1000):
        if check():
            return
        yield
        await tank.clock.sleep(0.01)
    pytest.fail("never happened")


async def test_the_endpoints_show_what_was_sampled(tank: Tank) -> None:
    resources = {"limits": {"cpu": "500m", "memory": "128Mi"}, "requests": {"cpu": "250m"}}
    await tank.create("web", python(BURN, resources=resources))
    await tank.until("web", ready)
    await tank.clock.sleep(0.05)
    tank.kubelet.cadvisor.container_started(next(iter(tank.kubelet.workers.values())))

    def get(path: str) -> str:
        status, _, body = kubelet_get(tank.kubelet, path)
        assert status == 200
        return body.decode()

    batch = decode(get("/metrics/resource").encode(), now=0.0)
    point = batch.pods[("default", "web")]["main"]
    assert point.at == pytest.approx(tank.clock.now(), abs=5)
    assert point.start is not None and point.start < point.at
    assert point.cpu_ns > 0 and point.memory > 0
    assert batch.node is not None
    cadvisor = get("/metrics/cadvisor")
    for name, value in (
        ("container_spec_cpu_quota", "50000"),
        ("container_spec_cpu_period", "100000"),
        ("container_spec_cpu_shares", "256"),
        ("container_spec_memory_limit_bytes", "1.34217728e+08"),
        ("machine_cpu_cores", "4"),
    ):
        line = next(line for line in cadvisor.splitlines() if line.startswith(name))
        assert value in line.split(), line
    (total,) = [
        line
        for line in cadvisor.splitlines()
        if line.startswith('container_cpu_usage_seconds_total{container="main",cpu="total"')
    ]
    assert 'image="main:1"' in total and 'namespace="default",pod="web"' in total
    summary = json.loads(get("/stats/summary"))
    assert summary["pods"][0]["podRef"]["name"] == "web"
    assert summary["pods"][0]["cpu"]["usageNanoCores"] >= 0
    assert any('id="/"' in line for line in cadvisor.splitlines()), "the node's own row, as upstream"
    assert json.loads(get("/pods"))["items"][0]["metadata"]["name"] == "web"
    assert 'kubelet_running_containers{container_state="running"} 1' in get("/metrics")
    assert get("/healthz") == "ok"
    assert kubelet_get(tank.kubelet, "/nothing")[0] == 404
    kubelets = LocalKubelets()
    kubelets.add(tank.kubelet)
    assert (await kubelets.node_proxy("node-1", "healthz"))[2] == b"ok"
    assert [r for r in tank.journal.of("kubelet.sample") if r["pods"].get("default/web", 0) > 0]


async def test_series_end_with_the_container(tank: Tank) -> None:
    await tank.create("web", container("main", "sh", "-c", "sleep 0.1"), restartPolicy="Never")
    await tank.until("web", ready)
    assert b'pod="web"' in kubelet_get(tank.kubelet, "/metrics/cadvisor")[2]
    await tank.until("web", lambda pod: pod["status"]["phase"] == "Succeeded")
    assert b'pod="web"' not in kubelet_get(tank.kubelet, "/metrics/cadvisor")[2]


async def test_the_node_is_registered_with_its_budget_and_a_lease(tank: Tank) -> None:
    node = await tank.client.get(NODES, "node-1")
    assert node["status"]["allocatable"] == {"cpu": "4", "memory": "8Gi", "pods": "110"}
    assert {c["type"]: c["status"] for c in node["status"]["conditions"]}["Ready"] == "True"
    assert node["status"]["daemonEndpoints"]["kubeletEndpoint"]["Port"] == 10250
    lease = await tank.client.get(LEASES, "node-1", "kube-node-lease")
    assert lease["spec"]["holderIdentity"] == "node-1"
    assert tank.kubelet.enforcer in ("cgroup v2", "cgroup v1", "signals (100 ms duty cycle, no cgroup)")
