"""Explanations: Envoy's own choice, our reasons, and the two agreeing on every request tried."""

from __future__ import annotations

import itertools
import json
import subprocess
from pathlib import Path

import pytest
from click.testing import CliRunner
from mesh_objects import documents

from wavetank.cli.mesh import command
from wavetank.clock import RealClock
from wavetank.errors import InputError
from wavetank.mesh.envoy import envoy_binary
from wavetank.mesh.explain import Places, explain, find_route_config
from wavetank.mesh.matching import Request
from wavetank.mesh.probe import Probe
from wavetank.mesh.translate import Placement, translate
from wavetank.mesh.world import build_world
from wavetank.yamlfile import parse_documents

DATA = Path(__file__).parent / "data"
TEXT = """
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: gw}
spec:
  servers:
    - port: {number: 80, name: http, protocol: HTTP}
      hosts: ["*"]
---
apiVersion: v1
kind: Service
metadata: {name: shop}
spec: {ports: [{name: http, port: 80}]}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: shop}
spec:
  hosts: [shop.example.com, "*.example.org"]
  gateways: [gw]
  http:
    - match: [{uri: {exact: /a}}]
      route: [{destination: {host: shop}}]
    - match: [{uri: {prefix: /B}, ignoreUriCase: true, method: {exact: POST}}]
      route: [{destination: {host: shop}}]
    - match: [{uri: {regex: "/c[0-9]+"}}, {queryParams: {q: {regex: "x.*"}}}, {queryParams: {p: {}}}]
      route: [{destination: {host: shop}}]
    - match:
        - headers: {x-team: {prefix: blue}}
          withoutHeaders: {x-debug: {}}
        - withoutHeaders: {x-plan: {exact: free}, x-team: {}}
          uri: {prefix: /d}
      route: [{destination: {host: shop}}]
    - match: [{authority: {prefix: www.}, scheme: {exact: http}}]
      timeout: 3s
      retries: {attempts: 0}
      route: [{destination: {host: shop}}]
"""


def requests() -> list[Request]:
    paths = [
        "/",
        "/a",
        "/a?q=1",
        "/A",
        "/b/1",
        "/Bx",
        "/c12",
        "/c",
        "/z?q=xy",
        "/z?q=yx",
        "/z?p",
        "/d",
        "/d?p=1",
    ]
    hosts = ["shop.example.com", "SHOP.example.com:81", "www.example.org", "example.org", "other.com"]
    headers = [
        {},
        {"x-team": "bluebird"},
        {"x-team": "blue", "x-debug": "1"},
        {"x-plan": "free"},
        {"x-plan": "paid"},
    ]
    return [
        Request(method, host, path, 80, headers=given)
        for method, host, path, given in itertools.product(("GET", "POST"), hosts, paths, headers)
    ]


async def test_reasons_agree_with_envoy_on_every_request() -> None:
    world = build_world(documents(TEXT))
    config = translate(world, Placement())
    async with Probe.running(config.routes, RealClock()) as probe:
        for request in requests():
            answer = await probe.ask("http.80", request)
            modelled = explain(world, config, request, "http.80")
            assert (modelled.vhost, modelled.route) == (
                (answer.vhost, answer.route) if answer else (modelled.vhost, -1)
            ), (request, answer, modelled)


def test_an_explanation_names_lines_reasons_and_what_happens_then() -> None:
    parsed = parse_documents(TEXT, path="mesh.yaml")
    world = build_world(d.value for d in parsed)
    config = translate(world, Placement())
    request = Request.of("http://www.example.org/x")
    found = explain(world, config, request, "http.80", places=Places(parsed))
    assert found.outcome == "to outbound|80||shop.default.svc.cluster.local"
    assert found.effective == {"timeout": "3s", "retries": "off"}
    *passed, taken = found.considered
    assert (taken.at, taken.reason) == ("mesh.yaml:34", "")
    assert [(c.at, c.reason) for c in passed][:3] == [
        ("mesh.yaml:22", "path '/x' is not '/a'"),
        ("mesh.yaml:24", "path '/x' does not begin with '/B'"),
        ("mesh.yaml:26", "path '/x' does not match regex '/c[0-9]+'"),
    ]


def test_no_listener_says_where_there_is_one() -> None:
    world = build_world(documents(TEXT))
    with pytest.raises(InputError, match="no gateway listens on port 8080; gateway ports: 80"):
        find_route_config(world, translate(world, Placement()), Request.of("http://x:8080/"))


def bookinfo(*names: str) -> list[str]:
    files = [
        DATA / "bookinfo/kube/bookinfo.yaml",
        *(DATA / "bookinfo/networking" / f"{n}.yaml" for n in names),
    ]
    return [text for file in files for text in ("-f", str(file))]


def test_cli_explains_a_request_between_pods() -> None:
    files = bookinfo("destination-rule-all", "virtual-service-reviews-test-v2")
    arguments = ["explain", *files, "--mesh", "http://reviews:9080/", "-o", "json", "-H", "end-user: jason"]
    result = CliRunner().invoke(command, arguments, catch_exceptions=False)
    found = json.loads(result.output)
    assert (found["judge"], found["destinations"][0]["cluster"]) == (
        "envoy",
        "outbound|9080|v2|reviews.default.svc.cluster.local",
    )
    plain = CliRunner().invoke(command, [*arguments[:-2], "--no-envoy"], catch_exceptions=False)
    assert "header end-user is not sent" in plain.output


def test_cli_validates_and_exits_with_1() -> None:
    good = [
        str(DATA / "bookinfo/kube/bookinfo.yaml"),
        str(DATA / "bookinfo/networking/bookinfo-gateway.yaml"),
    ]
    assert CliRunner().invoke(command, ["validate", *good]).exit_code == 0
    shadowed = [*good, str(DATA / "bookinfo/networking/fault-injection-details-v1.yaml")]
    result = CliRunner().invoke(command, ["validate", *shadowed, "-o", "json"])
    assert "IST0130" in result.output
    alone = CliRunner().invoke(command, ["validate", good[1]])
    assert alone.exit_code == 1 and "productpage" in alone.output


@pytest.mark.parametrize(
    "files",
    [bookinfo("bookinfo-gateway", "destination-rule-all"), ["-f", str(DATA / "everything.yaml")]],
    ids=["bookinfo", "everything"],
)
def test_cli_dump_is_what_envoy_takes_without_a_warning(files: list[str], tmp_path: Path) -> None:
    result = CliRunner().invoke(command, ["dump", *files], catch_exceptions=False)
    path = tmp_path / "dump.json"
    path.write_text(result.output)
    checked = subprocess.run(
        [str(envoy_binary()), "--mode", "validate", "-c", str(path)],
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert checked.returncode == 0, checked.stderr
    assert "[warning]" not in checked.stderr
