"""Build ``src/wavetank/mesh/validation/data/istio.json``: the schema of Istio's networking kinds, reduced.

Input is istio/api's ``kubernetes/customresourcedefinitions.gen.yaml`` (Apache-2.0); run by developers when
it changes::

    python tools/build_istio_schema.py customresourcedefinitions.gen.yaml

Descriptions go; equal parts are stored once and referred to by number; CEL rules, of which there are few,
become names of predicates in ``wavetank.mesh.validation.rules``. A rule without a name stops the build.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import yaml

KINDS = ("VirtualService", "DestinationRule", "Gateway", "ServiceEntry", "WorkloadEntry", "Sidecar")
OUTPUT = Path(__file__).parents[1] / "src/wavetank/mesh/validation/data/istio.json"
BOUNDS = ("minimum", "maximum", "minItems", "maxItems", "maxLength", "maxProperties")
RULES = {
    "duration(self) >= duration('1ms')": "duration",
    'self.all(key, !key.contains("*"))': "no-wildcard-key",
    "self.all(key, key.size() != 0)": "no-empty-key",
    '!self.contains("*")': "no-wildcard-value",
    "(has(self.tlsCertificates) ? 1 : 0) + (has(self.credentialNames) ? 1 : 0) <= 1": "one-tls-list",
    "(has(self.credentialName) ? 1 : 0) + (has(self.credentialNames) ? 1 : 0) <= 1": "one-credential",
    "(has(self.credentialNames) ? 1 : 0) + (has(self.tlsCertificates) ? 1 : 0) <= 1": "one-tls-list",
    "(has(self.workloadSelector) ? 1 : 0) + (has(self.endpoints) ? 1 : 0) <= 1": "selector-or-endpoints",
    '!((has(self.addresses) ? self.addresses : []).exists(k, k.contains("/")) && !((has(self.resolution) ?'
    ' self.resolution : "NONE") in ["STATIC", "NONE"]))': "cidr-resolution",
    '((has(self.resolution) ? self.resolution : "NONE") == "NONE") ? !has(self.endpoints) : true':
        "none-without-endpoints",
    '((has(self.resolution) ? self.resolution : "") == "DNS_ROUND_ROBIN") ? ((has(self.endpoints) ?'
    " self.endpoints : []).size() <= 1) : true": "round-robin-one-endpoint",
    "has(self.address) || has(self.network)": "address-required",
    '(has(self.address) ? self.address : "").startsWith("unix://") ? !has(self.ports) : true': "uds-ports",
    'self.startsWith("unix://") ? (self.substring(7, 8) == "/" || self.substring(7, 8) == "@") : true':
        "uds-absolute",
    'self.startsWith("unix://") ? !self.endsWith("/") : true': "uds-dir",
    'self.all(key, size(key) < 63 && key.matches("^[a-zA-Z0-9](?:[-a-zA-Z0-9]*[a-zA-Z0-9])?$"))':
        "port-names",
    "0 < self && self <= 65535": "port-number",
    'self != "*"': "no-wildcard-host",
    "self.all(l1, self.exists_one(l2, l1.number == l2.number))": "unique-port-numbers",
}  # fmt: skip


class Store:
    """Nodes by content; the index of a node is its name."""

    def __init__(self) -> None:
        self.nodes: list[dict[str, Any]] = []
        self._index: dict[str, int] = {}

    def put(self, node: dict[str, Any]) -> int:
        key = json.dumps(node, sort_keys=True)
        if key not in self._index:
            self._index[key] = len(self.nodes)
            self.nodes.append(node)
        return self._index[key]


def reduce(node: dict[str, Any], store: Store) -> int:
    """The number of the reduced node."""
    made: dict[str, Any] = {"type": node.get("type", "any")}
    if node.get("x-kubernetes-int-or-string"):
        made["type"] = "int-or-string"
    if "properties" in node:
        made["properties"] = {name: reduce(child, store) for name, child in node["properties"].items()}
    if "items" in node:
        made["items"] = reduce(node["items"], store)
    if isinstance(node.get("additionalProperties"), dict):
        made["values"] = reduce(node["additionalProperties"], store)
    for field in ("enum", "required", *BOUNDS):
        if field in node:
            made[field] = node[field]
    choices = [_alternatives(c) for c in (node, *node.get("allOf", ())) if "oneOf" in c]
    if choices:
        made["oneof"] = choices
    rules = [RULES[" ".join(rule["rule"].split())] for rule in node.get("x-kubernetes-validations", ())]
    if rules:
        made["rules"] = rules
    if node.get("x-kubernetes-list-type") == "map":
        made["unique"] = node["x-kubernetes-list-map-keys"]
    return store.put(made)


def _alternatives(node: dict[str, Any]) -> list[str]:
    return sorted({name for option in node["oneOf"] for name in option.get("required", ())})


def main() -> None:
    store = Store()
    kinds: dict[str, Any] = {}
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    for crd in yaml.load_all(Path(sys.argv[1]).read_text(), loader):
        kind = crd["spec"]["names"]["kind"]
        if kind in KINDS and crd["spec"]["group"] == "networking.istio.io":
            schema = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
            required = "spec" in schema.get("required", ())
            kinds[kind] = {"spec": reduce(schema["properties"]["spec"], store), "required": required}
    lines = ",\n".join(json.dumps(node, separators=(",", ":")) for node in store.nodes)
    text = f'{{"kinds":{json.dumps(kinds, sort_keys=True)},\n"nodes":[\n{lines}\n]}}\n'
    json.loads(text)
    OUTPUT.write_text(text)
    print(f"{OUTPUT}: {len(store.nodes)} nodes, {len(text)} bytes")


if __name__ == "__main__":
    main()
