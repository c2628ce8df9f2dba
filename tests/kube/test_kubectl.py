"""Real kubectl binaries against the API server: the commands people type, and what they print."""

from __future__ import annotations

import re
import shutil
import stat
from pathlib import Path

import pytest
from kube_cluster import Cluster, cluster

_VERSIONS = ("1.27", "1.28", "1.29", "1.30", "1.31", "1.32", "1.33")
_MANIFEST = Path(__file__).parent / "data" / "app.yaml"


def _find() -> dict[str, str]:
    """kubectl by version: binaries beside the one on the path, else that one alone."""
    found = {}
    base = shutil.which("kubectl")
    if base is None:
        return {}
    directory = Path(base).resolve().parent
    for version in _VERSIONS:
        binary = directory / f"kubectl.{version}"
        if binary.exists() and binary.stat().st_mode & stat.S_IXUSR:
            found[version] = str(binary)
    return found or {"installed": base}


_KUBECTL = _find()
pytestmark = [
    pytest.mark.peer,
    pytest.mark.skipif(not _KUBECTL, reason="kubectl is not installed"),
]

# (arguments, regular expression the output must match, exit code)
_COMMANDS: list[tuple[str, str, int]] = [
    ("version", r"v1\.33\.1\+wavetank", 0),
    ("get nodes -o wide", r"node-1 +Ready +<none> +\d+s +v1\.33\.1 +127\.0\.0\.1", 0),
    ("get pods", r"No resources found in default namespace\.", 0),
    ("apply -f {app}", r"deployment\.apps/app created\nservice/app created", 0),
    ("apply -f {app}", r"deployment\.apps/app unchanged\nservice/app unchanged", 0),
    ("rollout status deploy/app --timeout=20s", r"successfully rolled out", 0),
    ("wait --for=condition=Available deploy/app --timeout=20s", r"condition met", 0),
    ("wait --for=jsonpath={.status.readyReplicas}=2 deploy/app --timeout=20s", r"condition met", 0),
    ("get pods -l app=app -o wide", r"app-\w+-\w+ +1/1 +Running +0 +\d+s +127\.1\.\d+\.\d+ +node-1", 0),
    ("get deploy app -o jsonpath={.spec.replicas}", r"^2$", 0),
    ("get deploy app -o yaml", r"progressDeadlineSeconds: 600", 0),
    ("get deploy,svc,ep,endpointslices", r"deployment\.apps/app +2/2 +2 +2", 0),
    ("get all", r"service/app +ClusterIP +127\.96\.\d+\.\d+ +<none> +80/TCP", 0),
    ("get pods -A --field-selector=status.phase=Running", r"default +app-", 0),
    ("get pods --field-selector=spec.unknown=x", r'field label not supported: "spec.unknown"', 1),
    ("get pod nowhere", r'pods "nowhere" not found', 1),
    ("diff -f {app2}", r"\+ +- image: nginx:2|\+ +image: nginx:2", 1),
    ("apply -f {app2}", r"deployment\.apps/app configured", 0),
    ("rollout status deploy/app --timeout=20s", r"successfully rolled out", 0),
    ("rollout history deploy/app", r"1 +<none>\n2 +<none>", 0),
    ("rollout undo deploy/app", r"rolled back", 0),
    ("rollout status deploy/app --timeout=20s", r"successfully rolled out", 0),
    ("get deploy app -o jsonpath={.spec.template.spec.containers[0].image}", r"^nginx:1$", 0),
    ("rollout restart deploy/app", r"restarted", 0),
    ("rollout pause deploy/app", r"paused", 0),
    ("rollout resume deploy/app", r"resumed", 0),
    ("rollout status deploy/app --timeout=20s", r"successfully rolled out", 0),
    ("scale deploy/app --replicas=3", r"scaled", 0),
    ("scale deploy/app --current-replicas=3 --replicas=1", r"scaled", 0),
    ("scale deploy/app --current-replicas=9 --replicas=1", r"Expected replicas to be 9, was 1", 1),
    ("set image deploy/app c=nginx:3", r"image updated", 0),
    ("set env deploy/app A=1", r"env updated", 0),
    ("label deploy/app tier=web", r"labeled", 0),
    ("annotate deploy/app note=x", r"annotate", 0),
    ('patch deploy app -p {"spec":{"minReadySeconds":1}}', r"patched", 0),
    ('patch deploy app --type=json -p [{"op":"remove","path":"/spec/minReadySeconds"}]', r"patched", 0),
    ('patch deploy app --subresource=scale --type=merge -p {"spec":{"replicas":2}}', r"patched", 0),
    ("autoscale deployment app --min=1 --max=5 --cpu-percent=50", r"autoscaled", 0),
    ("get hpa", r"app +Deployment/app +.*<unknown>/50% +1 +5 +0", 0),
    ("describe hpa app", r"resource cpu on pods .*<unknown> / 50%", 0),
    ("describe deploy app", r"RollingUpdateStrategy: +25% max unavailable, 25% max surge", 0),
    ("describe svc app", r"TargetPort: +80/TCP", 0),
    ("describe node node-1", r"Allocated resources", 0),
    ("describe pods -l app=app", r"Successfully assigned default/app-", 0),
    ("get events --sort-by=.lastTimestamp", r"ScalingReplicaSet", 0),
    ("events", r"ScalingReplicaSet", 0),
    ("logs deploy/app --tail=2", r"c line 4\nc line 5\n$", 0),
    ("logs -f deploy/app", r"c line 1\n", 0),
    ("top nodes", r"node-1 +124m +3% +10Mi +0%", 0),
    ("top pods", r"web-1 +124m +10Mi", 0),
    ("get --raw /api/v1/nodes/node-1/proxy/stats/summary", r"node-1/stats/summary", 0),
    ("explain deployment.spec.replicas", r"FIELD: +replicas <integer>", 0),
    ("explain pod.spec.containers", r"readinessProbe\s+<Probe>\s+A check whose failure takes the pod out", 0),
    ("explain hpa --recursive", r"stabilizationWindowSeconds\s+<integer>", 0),
    ("explain hpa.spec.behavior.scaleDown", r"By default after 300 s of lower recommendations", 0),
    ("api-resources", r"horizontalpodautoscalers +hpa +autoscaling/v2 +true", 0),
    ("api-versions", r"networking\.istio\.io/v1", 0),
    ("auth can-i create pods", r"yes", 0),
    ("auth can-i --list", r"\*\.\* +\[\] +\[\] +\[\*\]", 0),
    ("create quota q --hard=pods=1,requests.cpu=2 -n kube-public", r"resourcequota/q created", 0),
    ("describe quota q -n kube-public", r"requests\.cpu +0 +2", 0),
    ("run one -n kube-public --image=x", r"failed quota: q: must specify requests\.cpu for: one", 1),
    ("get quota -n kube-public", r"pods: 0/1, requests\.cpu: 0/2", 0),
    ("create priorityclass high --value=1000", r"priorityclass\.scheduling\.k8s\.io/high created", 0),
    ("cluster-info", r"is running at", 0),
    ("create ns team", r"namespace/team created", 0),
    ("create configmap x -n team --from-literal=a=b", r"configmap/x created", 0),
    ("create secret generic s -n team --from-literal=a=b", r"secret/s created", 0),
    ("create deployment d -n team --image=nginx:1", r"deployment\.apps/d created", 0),
    ("expose deployment d -n team --port=80", r"service/d exposed", 0),
    ("create service nodeport np -n team --tcp=80:8080", r"service/np created", 0),
    ("create job j -n team --image=x", r"job\.batch/j created", 0),
    ("create cronjob cj -n team --image=x --schedule=@hourly", r"cronjob\.batch/cj created", 0),
    ("create pdb p -n team --selector=a=b --min-available=1", r"created", 0),
    ("create deployment dry -n team --image=x --dry-run=server", r"created \(server dry run\)", 0),
    ("get all,cm,secret,sa -n team", r"secret/s +Opaque +1", 0),
    ("run one -n team --image=nginx:1 --restart=Never", r"pod/one created", 0),
    ("delete pod one -n team --timeout=20s", r'pod "one" deleted', 0),
    ("delete ns team --timeout=20s", r'namespace "team" deleted', 0),
    ("cordon node-1", r"node/node-1 cordoned", 0),
    ("get nodes", r"Ready,SchedulingDisabled", 0),
    ("drain node-1 --ignore-daemonsets --timeout=20s", r"evicted|drained", 0),
    ("uncordon node-1", r"uncordoned", 0),
    ("apply -f {bad}", r'strict decoding error: unknown field "spec\.replicaz"', 1),
    ("apply -f {crd}", r"widgets\.example\.com created", 0),
    ("wait --for=condition=Established crd/widgets.example.com --timeout=20s", r"condition met", 0),
    ("apply -f {widget}", r"widget\.example\.com/w created", 0),
    ("get widgets", r"NAME +SIZE +AGE\nw +3 ", 0),
    ("scale widget/w --replicas=7", r"scaled", 0),
    ("apply -f {badwidget}", r"spec\.size.*should be less than or equal to 10", 1),
    ("apply -f {sets}", r"statefulset\.apps/db created\ndaemonset\.apps/agent created", 0),
    ("rollout status sts/db --timeout=20s", r"complete", 0),
    ("rollout status ds/agent --timeout=20s", r"successfully rolled out", 0),
    ("set image sts/db ds/agent c=i:2", r"statefulset\.apps/db image updated\ndaemonset", 0),
    ("rollout status sts/db --timeout=20s", r"complete", 0),
    ("rollout status ds/agent --timeout=20s", r"successfully rolled out", 0),
    ("rollout history sts/db", r"1 +<none>\n2 +<none>", 0),
    ("rollout history ds/agent --revision=1", r"Image:\s+i:1", 0),
    ("rollout undo sts/db", r"rolled back", 0),
    ("rollout undo ds/agent --to-revision=1", r"rolled back", 0),
    ("rollout status ds/agent --timeout=20s", r"successfully rolled out", 0),
    ("get sts,ds -o jsonpath={.items[*].spec.template.spec.containers[0].image}", r"^i:1 i:1$", 0),
    ("rollout restart sts/db ds/agent", r"statefulset\.apps/db restarted\ndaemonset", 0),
    ("rollout status sts/db --timeout=20s", r"complete", 0),
    ("get controllerrevisions", r"db-\w+ +statefulset\.apps/db +3 ", 0),
    ("delete -f {sets} --timeout=20s", r'daemonset\.apps "agent" deleted', 0),
    ("delete -f {app} --timeout=20s", r'deployment\.apps "app" deleted', 0),
    ("delete hpa app", r"deleted", 0),
    ("wait --for=delete pods -l app=app --timeout=20s", r"", 0),
    ("get pods,rs", r"No resources found", 0),
]

_SETS = """
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: db}
spec:
  replicas: 2
  serviceName: db
  selector: {matchLabels: {app: db}}
  template: {metadata: {labels: {app: db}}, spec: {containers: [{name: c, image: 'i:1'}]}}
---
apiVersion: apps/v1
kind: DaemonSet
metadata: {name: agent}
spec:
  selector: {matchLabels: {app: agent}}
  template: {metadata: {labels: {app: agent}}, spec: {containers: [{name: c, image: 'i:1'}]}}
"""
_BAD = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: bad}
spec:
  replicaz: 2
  selector: {matchLabels: {a: b}}
  template: {metadata: {labels: {a: b}}, spec: {containers: [{name: c, image: x}]}}
"""
_CRD = """
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: widgets.example.com}
spec:
  group: example.com
  scope: Namespaced
  names: {plural: widgets, singular: widget, kind: Widget}
  versions:
  - name: v1
    served: true
    storage: true
    subresources: {status: {}, scale: {specReplicasPath: .spec.replicas, statusReplicasPath: .status.replicas}}
    additionalPrinterColumns:
    - {name: Size, type: integer, jsonPath: .spec.size}
    - {name: Age, type: date, jsonPath: .metadata.creationTimestamp}
    schema:
      openAPIV3Schema:
        type: object
        properties:
          spec:
            type: object
            properties: {size: {type: integer, maximum: 10}, replicas: {type: integer}}
          status: {type: object, x-kubernetes-preserve-unknown-fields: true}
"""
_WIDGET = """
apiVersion: example.com/v1
kind: Widget
metadata: {name: w}
spec: {size: 3}
"""


def _files(directory: Path) -> dict[str, str]:
    texts = {
        "app": _MANIFEST.read_text(),
        "app2": _MANIFEST.read_text().replace("nginx:1", "nginx:2"),
        "bad": _BAD,
        "sets": _SETS,
        "crd": _CRD,
        "widget": _WIDGET,
        "badwidget": _WIDGET.replace("size: 3", "size: 30"),
    }
    found = {}
    for name, text in texts.items():
        path = directory / f"{name}.yaml"
        path.write_text(text)
        found[name] = str(path)
    return found


async def _session(tank: Cluster, program: str, files: dict[str, str]) -> list[str]:
    """Every command in order; what went differently than it should."""
    failures = []
    for command, pattern, expected in _COMMANDS:
        arguments = [re.sub(r"^\{(\w+)\}$", lambda m: files[m[1]], word) for word in command.split()]
        code, output = await tank.run(program, *arguments)
        if code != expected or not re.search(pattern, output):
            failures.append(
                f"$ kubectl {command}\n  exit {code}, wanted {expected} and {pattern!r}:\n{output}"
            )
    return failures


@pytest.mark.slow
@pytest.mark.parametrize("version", sorted(_KUBECTL))
async def test_commands_people_type(version: str, tmp_path: Path) -> None:
    async with cluster(tmp_path) as tank:
        failures = await _session(tank, _KUBECTL[version], _files(tmp_path))
    assert not failures, "\n".join(failures)


async def test_the_newest_kubectl_is_told_who_it_is(tmp_path: Path) -> None:
    async with cluster(tmp_path) as tank:
        code, output = await tank.run(_KUBECTL[max(_KUBECTL)], "auth", "whoami")
    assert code == 0 and re.search(r"Username +wavetank-admin", output), output


async def test_server_side_apply_reports_conflicts_and_can_be_forced(tmp_path: Path) -> None:
    program = _KUBECTL[max(_KUBECTL)]
    app = _files(tmp_path)["app"]
    async with cluster(tmp_path) as tank:
        assert (await tank.run(program, "apply", "--server-side", "-f", app))[0] == 0
        assert (await tank.run(program, "scale", "deploy/app", "--replicas=5"))[0] == 0
        code, output = await tank.run(program, "apply", "--server-side", "-f", app)
        assert code == 1
        assert re.search(
            r'Apply failed with 1 conflict: conflict with "kubectl.*" with subresource "scale"', output
        )
        assert output.count(".spec.replicas") == 1
        code, output = await tank.run(program, "apply", "--server-side", "--force-conflicts", "-f", app)
        assert code == 0
        code, output = await tank.run(program, "get", "deploy", "app", "-o", "jsonpath={.spec.replicas}")
        assert output == "2"
