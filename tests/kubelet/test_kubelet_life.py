"""Pods as processes, from binding to gone: start, readiness, restarts, termination."""

import asyncio
import sys
from pathlib import Path

import pytest
from kubelet_room import PYTHON, Tank, container, python, ready, status_of

from wavetank.errors import InputError
from wavetank.kube.client import ApiError, WatchType
from wavetank.kube.kubelet.images import Pulled, PullError
from wavetank.kube.resources import CONFIGMAPS, PODS, SECRETS, SERVICES

SERVER = """
import http.server, os, sys
class H(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200 if os.path.exists("ok") else 503); self.end_headers()
    def log_message(self, *a): pass
http.server.HTTPServer((os.environ["POD_IP"], 8080), H).serve_forever()
"""
POD_IP = {"name": "POD_IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}


async def test_a_bound_pod_runs_is_ready_and_goes(tank: Tank) -> None:
    await tank.create("a", container("main", "sleep", "100"))
    pod = await tank.until("a", ready)
    assert pod["status"]["phase"] == "Running"
    assert pod["status"]["podIP"].startswith("127.")
    assert [c["type"] for c in pod["status"]["conditions"]] == [
        "PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady", "PodScheduled",
    ]  # fmt: skip
    await tank.client.delete(PODS, "a", "default")
    await tank.gone("a")
    kinds = [r["kind"] for r in tank.journal.records if r.get("pod") == "default/a"]
    assert [k for k in kinds if k in ("pod.image", "container.started", "pod.ready", "container.exited")] == [
        "pod.image", "container.started", "pod.ready", "container.exited",
    ]  # fmt: skip
    assert await tank.events("Started") == ["Started container main"]
    assert await tank.events("Killing") == ["Stopping container main"]


async def test_readiness_follows_its_probe_at_once_and_each_period(tank: Tank) -> None:
    probe = {"httpGet": {"path": "/", "port": "web"}, "periodSeconds": 1, "failureThreshold": 1}
    await tank.create(
        "web",
        python(
            SERVER,
            env=[POD_IP],
            ports=[{"name": "web", "containerPort": 8080}],
            readinessProbe=probe,
        ),
    )
    await tank.until("web", lambda p: "running" in status_of(p)["state"])
    directory = tank.directory / "run" / "pods"
    (next(directory.iterdir()) / "ok").touch()
    await tank.until("web", ready)
    (next(directory.iterdir()) / "ok").unlink()
    pod = await tank.until("web", lambda p: not ready(p))
    condition = next(c for c in pod["status"]["conditions"] if c["type"] == "Ready")
    assert condition["reason"] == "ContainersNotReady"
    assert condition["message"] == "containers with unready status: [main]"
    assert "Readiness probe failed: HTTP probe failed with statuscode: 503" in await tank.events("Unhealthy")


async def test_a_crash_restarts_at_once_and_then_backs_off(tank: Tank) -> None:
    await tank.create("crash", container("main", "sh", "-c", "echo bye; exit 3"))
    pod = await tank.until(
        "crash", lambda p: (status_of(p)["state"].get("waiting") or {}).get("reason") == "CrashLoopBackOff"
    )
    status = status_of(pod)
    assert status["restartCount"] == 1
    assert status["lastState"]["terminated"]["exitCode"] == 3
    assert status["lastState"]["terminated"]["reason"] == "Error"
    assert status["state"]["waiting"]["message"].startswith("back-off 10s restarting failed container=main")
    assert pod["status"]["phase"] == "Running"
    assert await tank.logs("crash", previous=True) == "bye\n"


async def test_a_command_that_does_not_exist_says_so(tank: Tank) -> None:
    await tank.create("nosuch", container("main", "gunicornn", "app"))
    pod = await tank.until(
        "nosuch", lambda p: "waiting" in status_of(p)["state"] and status_of(p)["restartCount"]
    )
    waiting = status_of(pod)["state"]["waiting"]
    assert waiting["reason"] == "RunContainerError"
    assert 'exec: "gunicornn": executable file not found in $PATH' in waiting["message"]
    assert pod["status"]["phase"] in ("Pending", "Running")


async def test_no_command_at_all_says_that_images_are_not_run(tank: Tank) -> None:
    await tank.create("bare", container("main"))
    pod = await tank.until("bare", lambda p: "message" in status_of(p)["state"].get("waiting", {}))
    assert status_of(pod)["state"]["waiting"]["reason"] == "CreateContainerError"
    assert "set command in the container" in status_of(pod)["state"]["waiting"]["message"]


async def test_two_replicas_on_one_port_are_told_the_remedy(tank: Tank) -> None:
    code = "import socket, time; s = socket.socket(); s.bind(('0.0.0.0', 18473)); s.listen(); time.sleep(60)"
    ports = [{"containerPort": 18473}]
    probe = {"tcpSocket": {"port": 18473}, "periodSeconds": 1}
    await tank.create("one", python(code, ports=ports, readinessProbe=probe))
    await tank.until("one", ready)
    await tank.create("two", python(code, ports=ports))
    pod = await tank.until("two", lambda p: status_of(p)["lastState"])
    message = status_of(pod)["lastState"]["terminated"]["message"]
    assert "port 18473 is taken" in message
    assert "status.podIP" in message
    assert any("POD_IP" in text for text in await tank.events("PortConflict"))


async def test_liveness_failure_restarts(tank: Tank) -> None:
    probe = {"exec": {"command": ["test", "-f", "alive"]}, "periodSeconds": 1, "failureThreshold": 1}
    await tank.create("dead", container("main", "sleep", "100", livenessProbe=probe))
    pod = await tank.until("dead", lambda p: status_of(p)["restartCount"] == 1)
    assert status_of(pod)["lastState"]["terminated"]["exitCode"] == 143
    assert "Container main failed liveness probe, will be restarted" in await tank.events("Killing")


async def test_a_startup_probe_gates_the_others(tank: Tank) -> None:
    await tank.create(
        "slow",
        container(
            "main", "sh", "-c", "sleep 0.3; touch up; sleep 100",
            startupProbe={"exec": {"command": ["test", "-f", "up"]}, "periodSeconds": 1},
            readinessProbe={"exec": {"command": ["test", "-f", "up"]}, "periodSeconds": 1},
            livenessProbe={"exec": {"command": ["test", "-f", "up"]}, "failureThreshold": 1},
        ),
    )  # fmt: skip
    pod = await tank.until("slow", ready)
    assert status_of(pod)["started"] is True
    assert status_of(pod)["restartCount"] == 0


async def test_termination_runs_the_hook_then_sigterm_then_sigkill(tank: Tank) -> None:
    code = "import signal, time; signal.signal(signal.SIGTERM, lambda *a: print('term', flush=True)); print('up', flush=True)\nwhile True: time.sleep(1)"
    hook = {"preStop": {"exec": {"command": ["sh", "-c", "echo hook > hook"]}}}
    await tank.create("stubborn", python(code, lifecycle=hook), terminationGracePeriodSeconds=1)
    await tank.until("stubborn", ready)
    pod = await tank.get("stubborn")
    follow = tank.kubelet.logs(pod, "main", follow=True)
    assert await anext(follow) == b"up\n"
    await tank.client.delete(PODS, "stubborn", "default")
    assert await anext(follow) == b"term\n"
    await tank.gone("stubborn")
    (exited,) = tank.journal.of("container.exited")
    assert (exited["exit_code"], exited["signal"]) == (137, 9)


async def test_a_shorter_grace_period_takes_effect_at_once(tank: Tank) -> None:
    code = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(100)"
    await tank.create("long", python(code), terminationGracePeriodSeconds=60)
    await tank.until("long", ready)
    await tank.client.delete(PODS, "long", "default")
    await tank.until("long", lambda p: p["metadata"].get("deletionTimestamp"))
    await tank.client.delete(PODS, "long", "default", grace_period_seconds=0)
    await tank.gone("long", 3)


async def test_before_stop_is_awaited_before_the_process_hears_of_it(tank: Tank) -> None:
    heard: list[str] = []

    async def wait(pod: dict[str, object]) -> None:
        heard.append(tank.journal.records[-1]["kind"])

    object.__setattr__(tank.kubelet.options, "before_stop", wait)
    await tank.create("a", container("main", "sleep", "100"))
    await tank.until("a", ready)
    await tank.client.delete(PODS, "a", "default")
    await tank.gone("a")
    assert heard and not any(kind == "container.exited" for kind in heard)


async def test_jobs_end_succeeded_or_failed(tank: Tank) -> None:
    await tank.create("good", container("main", "true"), restartPolicy="Never")
    await tank.create("bad", container("main", "sh", "-c", "exit 4"), restartPolicy="Never")
    good = await tank.until("good", lambda p: p.get("status", {}).get("phase") == "Succeeded")
    bad = await tank.until("bad", lambda p: p.get("status", {}).get("phase") == "Failed")
    assert status_of(good)["state"]["terminated"]["reason"] == "Completed"
    assert status_of(bad)["state"]["terminated"]["exitCode"] == 4
    assert next(c for c in good["status"]["conditions"] if c["type"] == "Ready")["reason"] == "PodCompleted"
    await tank.client.delete(PODS, "good", "default")
    await tank.gone("good")


async def test_on_failure_restarts_until_it_succeeds(tank: Tank) -> None:
    await tank.create(
        "retry",
        container("main", "sh", "-c", "test -f seen || { touch seen; exit 1; }"),
        restartPolicy="OnFailure",
    )
    pod = await tank.until("retry", lambda p: p.get("status", {}).get("phase") == "Succeeded")
    assert status_of(pod)["restartCount"] == 1


async def test_an_active_deadline_fails_the_pod(tank: Tank) -> None:
    await tank.create(
        "late", container("main", "sleep", "100"), activeDeadlineSeconds=1, restartPolicy="Never"
    )
    pod = await tank.until("late", lambda p: p.get("status", {}).get("phase") == "Failed")
    assert pod["status"]["reason"] == "DeadlineExceeded"


async def test_init_containers_run_in_order_and_sidecars_stay(tank: Tank) -> None:
    volume = {"volumeMounts": [{"name": "shared", "mountPath": "/shared"}]}
    await tank.create(
        "chain",
        container("main", "sh", "-c", "cat /shared/first; sleep 100", **volume),
        initContainers=[
            container("first", "sh", "-c", "echo one > /shared/first", **volume),
            container("side", "sleep", "100", restartPolicy="Always"),
        ],
        volumes=[{"name": "shared", "emptyDir": {}}],
    )
    pod = await tank.until("chain", ready)
    assert status_of(pod, "first")["state"]["terminated"]["reason"] == "Completed"
    assert "running" in status_of(pod, "side")["state"]
    started = [r["container"] for r in tank.journal.of("container.started")]
    assert started == ["first", "side", "main"]
    assert await anext(tank.kubelet.logs(pod, "main", follow=True)) == b"one\n"


async def test_a_failing_init_container_keeps_the_pod_pending(tank: Tank) -> None:
    await tank.create(
        "stuck", container("main", "sleep", "1"), initContainers=[container("first", "sh", "-c", "exit 1")]
    )
    pod = await tank.until("stuck", lambda p: status_of(p, "first")["restartCount"] == 1)
    assert pod["status"]["phase"] == "Pending"
    assert status_of(pod)["state"]["waiting"]["reason"] == "PodInitializing"


async def test_environment_comes_from_everywhere(tank: Tank) -> None:
    await tank.client.create(
        CONFIGMAPS, {"metadata": {"name": "cm"}, "data": {"A": "1", "B": "2"}}, "default"
    )
    await tank.client.create(SECRETS, {"metadata": {"name": "se"}, "data": {"P": "cHc="}}, "default")
    service = {"metadata": {"name": "my-db"}, "spec": {"clusterIP": "10.0.0.9", "ports": [{"port": 5432}]}}
    await tank.client.create(SERVICES, service, "default")
    env = [
        {"name": "IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
        {"name": "CPU", "valueFrom": {"resourceFieldRef": {"resource": "limits.cpu", "divisor": "1m"}}},
        {"name": "PW", "valueFrom": {"secretKeyRef": {"name": "se", "key": "P"}}},
        {"name": "BOTH", "value": "$(IP):$(MY_DB_SERVICE_PORT) $(NONE) $$(IP)"},
    ]
    await tank.create(
        "env",
        container(
            "main", "sh", "-c", "echo $IP $CPU $PW $A $X_B; echo \"$BOTH\"; echo $(IP) $HOSTNAME; sleep 100",
            env=env, envFrom=[{"configMapRef": {"name": "cm"}}, {"configMapRef": {"name": "cm"}, "prefix": "X_"}],
            resources={"limits": {"cpu": "250m"}},
        ),
    )  # fmt: skip
    pod = await tank.until("env", ready)
    ip = pod["status"]["podIP"]
    text = ""
    async for chunk in tank.kubelet.logs(pod, "main", follow=True):
        text += chunk.decode()
        if text.count("\n") == 3:
            break
    assert text == f"{ip} 250 pw 1 2\n{ip}:5432 $(NONE) $(IP)\n{ip} env\n"


async def test_a_missing_reference_is_a_config_error(tank: Tank) -> None:
    env = [{"name": "A", "valueFrom": {"configMapKeyRef": {"name": "none", "key": "a"}}}]
    await tank.create("ref", container("main", "sleep", "1", env=env))
    pod = await tank.until("ref", lambda p: "message" in status_of(p)["state"].get("waiting", {}))
    assert status_of(pod)["state"]["waiting"] == {
        "reason": "CreateContainerConfigError",
        "message": 'configmap "none" not found',
    }


async def test_volumes_are_directories_and_paths_are_rewritten(tank: Tank) -> None:
    await tank.client.create(CONFIGMAPS, {"metadata": {"name": "cm"}, "data": {"app.conf": "x=1"}}, "default")
    await tank.create(
        "vol",
        container(
            "main", "cat", "/etc/app/app.conf", "--",
            volumeMounts=[{"name": "conf-1", "mountPath": "/etc/app"}, {"name": "info", "mountPath": "/info"}],
        ),
        container("other", "sh", "-c", "cat $WAVETANK_VOLUME_INFO/labels; echo; sleep 100",
                  volumeMounts=[{"name": "info", "mountPath": "/info"}]),
        volumes=[
            {"name": "conf-1", "configMap": {"name": "cm"}},
            {"name": "info", "downwardAPI": {"items": [
                {"path": "labels", "fieldRef": {"fieldPath": "metadata.labels"}}]}},
        ],
        metadata={"labels": {"app": "vol"}},
        restartPolicy="Never",
    )  # fmt: skip
    await tank.until("vol", lambda p: "terminated" in status_of(p)["state"])
    await tank.until("vol", lambda p: "running" in status_of(p, "other")["state"])
    assert await tank.logs("vol") == "x=1\n"
    assert await anext(tank.kubelet.logs(await tank.get("vol"), "other", follow=True)) == b'app="vol"\n'


async def test_programs_of_our_environment_are_found(tank: Tank) -> None:
    await tank.create(
        "venv", container("main", "python", "-c", "import sys; print(sys.executable)"), restartPolicy="Never"
    )
    await tank.until("venv", lambda p: p.get("status", {}).get("phase") == "Succeeded")
    assert (await tank.logs("venv")).strip().rpartition("/")[0] == sys.executable.rpartition("/")[0]


async def test_home_is_the_pods_own_wherever_it_starts(tank: Tank, tmp_path: Path) -> None:
    await tank.create(
        "away", container("main", "sh", "-c", "pwd; touch $HOME/mine"), restartPolicy="Never",
        metadata={"annotations": {"wavetank.dev/working-dir": str(tmp_path)}},
    )  # fmt: skip
    await tank.until("away", lambda p: p.get("status", {}).get("phase") == "Succeeded")
    assert (await tank.logs("away")).strip() == str(tmp_path)
    assert not (tmp_path / "mine").exists()


async def test_logs_tail_timestamps_and_waiting(tank: Tank) -> None:
    await tank.create(
        "log",
        container("main", "sh", "-c", "for i in 1 2 3; do echo line $i; done; echo err >&2"),
        restartPolicy="Never",
    )
    await tank.until("log", lambda p: p.get("status", {}).get("phase") == "Succeeded")
    assert await tank.logs("log", tail_lines=2) in ("line 3\nerr\n", "line 2\nline 3\n")
    stamped = await tank.logs("log", tail_lines=1, timestamps=True)
    assert stamped[10] == "T" and stamped.split(" ")[0].endswith("Z")
    with pytest.raises(ApiError, match="previous terminated container"):
        await tank.logs("log", previous=True)


async def test_what_a_container_leaves_behind_ends_with_it(tank: Tank) -> None:
    code = f"import subprocess; subprocess.Popen([{PYTHON!r}, '-c', 'import time; time.sleep(100)'], start_new_session=True)"
    await tank.create("daemon", python(code), restartPolicy="Never")
    await tank.until("daemon", lambda p: p.get("status", {}).get("phase") == "Succeeded")
    # The fixture finds any process that carries the tank's marker.


async def test_unknown_volume_sources_are_refused_with_what_is_offered(tank: Tank) -> None:
    await tank.create(
        "pvc",
        container("main", "sleep", "1"),
        volumes=[{"name": "data", "persistentVolumeClaim": {"claimName": "d"}}],
    )
    pod = await tank.until("pvc", lambda p: "message" in status_of(p)["state"].get("waiting", {}))
    assert status_of(pod)["state"]["waiting"]["reason"] == "ContainerCreating"
    assert "persistentVolumeClaim" in status_of(pod)["state"]["waiting"]["message"]
    assert len(await tank.events("FailedMount")) == 1


async def test_real_servers_each_on_their_own_address(tank: Tank) -> None:
    """gunicorn, unmodified, many replicas on one port."""
    web = container(
        "main", "gunicorn", "--bind", "$(POD_IP):8000", "--workers", "1", "wsgiref.simple_server:demo_app",
        env=[POD_IP], ports=[{"containerPort": 8000}],
        readinessProbe={"httpGet": {"path": "/", "port": 8000}, "periodSeconds": 1},
    )  # fmt: skip
    await tank.create("web-1", web)
    await tank.create("web-2", web)
    one = await tank.until("web-1", ready, 20)
    two = await tank.until("web-2", ready, 20)
    assert one["status"]["podIP"] != two["status"]["podIP"]


async def test_resources_of_a_running_container_change_without_a_restart(tank: Tank) -> None:
    resources = {"limits": {"cpu": "100m"}, "requests": {"cpu": "100m"}}
    await tank.create("web", container("main", "sleep", "100", resources=resources))
    await tank.until("web", ready)
    bigger = {"limits": {"cpu": "300m"}, "requests": {"cpu": "200m"}}
    await tank.client.patch(
        PODS,
        "web",
        {"spec": {"containers": [{"name": "main", "resources": bigger}]}},
        "default",
        subresource="resize",
        content_type="application/strategic-merge-patch+json",
    )
    pod = await tank.until("web", lambda p: status_of(p).get("resources") == bigger)
    assert status_of(pod)["restartCount"] == 0
    (worker,) = tank.kubelet.workers.values()
    assert worker.limits("main").quota_us == 30_000


async def test_a_pod_deleted_while_its_image_is_pulled_goes_at_once(tank: Tank) -> None:
    class Slow:
        async def pull(self, image: str) -> Pulled:
            await tank.clock.sleep(60)
            return Pulled(60.0)

    tank.kubelet._context.images._puller = Slow()
    await tank.create("web", container("main", "sleep", "100"))
    await tank.until("web", lambda p: "waiting" in status_of(p)["state"])
    await tank.client.delete(PODS, "web", "default")
    await tank.gone("web", 3)
    assert tank.journal.of("container.started") == []


async def test_a_failed_liveness_probe_restarts_even_what_then_ends_well(tank: Tank) -> None:
    code = "import signal, sys, time; signal.signal(signal.SIGTERM, lambda *a: sys.exit(0)); time.sleep(100)"
    probe = {"exec": {"command": ["test", "-f", "alive"]}, "initialDelaySeconds": 1, "failureThreshold": 1}
    await tank.create("dead", python(code, livenessProbe=probe), restartPolicy="OnFailure")
    pod = await tank.until("dead", lambda p: status_of(p)["restartCount"] == 1)
    assert status_of(pod)["lastState"]["terminated"]["exitCode"] == 0


async def test_pods_that_ran_under_an_earlier_kubelet_start_again(tank: Tank) -> None:
    await tank.kubelet._pods.stop()
    await tank.create("old", container("main", "sleep", "100"))
    state = {"running": {"startedAt": "2025-01-01T00:00:00Z"}}
    old = {"name": "main", "state": state, "restartCount": 2, "containerID": "wavetank://x", "ready": True}
    status = {"phase": "Running", "containerStatuses": [{**old, "image": "", "imageID": "", "lastState": {}}]}
    await tank.client.patch(PODS, "old", {"status": status}, "default", subresource="status")
    await tank.kubelet._pods.start()
    pod = await tank.until("old", ready)
    assert status_of(pod)["restartCount"] == 3


async def test_an_image_that_cannot_be_pulled_backs_off(tank: Tank) -> None:
    class Broken:
        async def pull(self, image: str) -> Pulled:
            raise PullError("manifest unknown")

    tank.kubelet._context.images._puller = Broken()
    await tank.create("web", container("main", "sleep", "100"))
    pod = await tank.until("web", lambda p: "message" in status_of(p)["state"].get("waiting", {}))
    assert status_of(pod)["state"]["waiting"] == {
        "reason": "ImagePullBackOff",
        "message": 'Back-off pulling image "main:1": ErrImagePull: manifest unknown',
    }
    assert 'Failed to pull image "main:1": manifest unknown' in await tank.events("Failed")


@pytest.mark.parametrize(
    "odd",
    [
        {"env": [{"value": "x"}]},
        {"env": "HOME=/"},
        {"volumeMounts": [{"mountPath": "/x"}]},
        {"resources": {"limits": {"cpu": "much"}}},
        {"readinessProbe": {"httpGet": {"port": 1}, "periodSeconds": "often"}},
        {"command": 7},
    ],
)
async def test_what_cannot_be_read_is_said(tank: Tank, odd: dict[str, object]) -> None:
    """Such pods do not pass the API's validation; a kubelet has to outlive them all the same."""
    pod = {
        "metadata": {"name": "odd", "namespace": "default", "uid": "u-odd"},
        "spec": {"nodeName": "node-1"},
    }
    pod["spec"]["containers"] = [{**container("main", "sleep", "100"), **odd}]
    tank.kubelet._on_pod(WatchType.ADDED, None, pod)
    worker = tank.kubelet.workers["u-odd"]
    async with asyncio.timeout(5):
        while not worker.records["main"].message:
            await tank.clock.sleep(0.005)
    assert worker.records["main"].reason == "CreateContainerError"


async def test_a_pod_without_an_address_waits_and_can_be_deleted(tank: Tank) -> None:
    taken = []
    with pytest.raises(InputError):
        while True:
            taken.append(tank.kubelet._context.addresses.take())
    await tank.create("web", container("main", "sleep", "100"))
    async with asyncio.timeout(5):
        while not await tank.events("FailedCreatePodSandBox"):
            await tank.clock.sleep(0.01)
    await tank.client.delete(PODS, "web", "default")
    await tank.gone("web", 3)
