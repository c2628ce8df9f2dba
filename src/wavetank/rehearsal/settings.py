"""What the control plane process of a tank is told at its start: one JSON file in the run directory."""

from __future__ import annotations

from pathlib import Path

import msgspec
from msgspec import Struct, field

from wavetank.rehearsal.addresses import Addresses
from wavetank.rehearsal.spec import ImagePull, Node, NodeAutoscaling, Vpa

__all__ = ["ControlPlaneFacts", "ControlPlaneSettings", "RunFiles"]


class RunFiles:
    """The files of a run directory, by name."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    @property
    def settings(self) -> Path:
        return self.directory / "control-plane.settings.json"

    @property
    def facts(self) -> Path:
        """Written by the control plane when it is ready."""
        return self.directory / "control-plane.facts.json"

    @property
    def kubeconfig(self) -> Path:
        return self.directory / "kubeconfig"

    @property
    def account(self) -> Path:
        """What pods find under /var/run/secrets/kubernetes.io/serviceaccount."""
        return self.directory / "serviceaccount"

    @property
    def state(self) -> Path:
        """Of the API server."""
        return self.directory / "state"

    @property
    def pods(self) -> Path:
        return self.directory / "pods"

    @property
    def envoy(self) -> Path:
        return self.directory / "envoy"

    @property
    def monitoring(self) -> Path:
        return self.directory / "monitoring"

    @property
    def load(self) -> Path:
        return self.directory / "load"

    @property
    def logs(self) -> Path:
        return self.directory / "logs"

    def journal(self, process: str) -> Path:
        return self.directory / f"journal-{process}.jsonl"


class ControlPlaneSettings(Struct, kw_only=True):
    """Times in seconds."""

    tank: str
    directory: str
    block: int
    seed: int
    working_directory: str | None = None  # where containers start that name none
    nodes: list[Node] = field(default_factory=list)
    image_pull: ImagePull | None = None
    hpa_sync_seconds: float = 15.0
    metric_resolution_seconds: float = 15.0
    housekeeping_seconds: float = 10.0
    vpa: Vpa = field(default_factory=Vpa)
    autoscaler: NodeAutoscaling | None = None
    kubernetes: str | None = None  # the release to emulate
    feature_gates: dict[str, bool] = {}
    adapter: str | None = None  # the file with the metrics adapter's rules
    adapter_url: str | None = None  # the Prometheus it asks, if not the tank's own

    @property
    def addresses(self) -> Addresses:
        return Addresses(self.block)

    @property
    def files(self) -> RunFiles:
        return RunFiles(Path(self.directory))

    @property
    def certificate_addresses(self) -> tuple[str, ...]:
        """Of the API server and of the kubelets, which share a certificate."""
        nodes = len(self.nodes) + (self.autoscaler.max if self.autoscaler is not None else 0)
        return (self.addresses.api_server, *(self.addresses.node(i) for i in range(nodes)))

    def write(self) -> None:
        self.files.settings.write_bytes(msgspec.json.encode(self))


class ControlPlaneFacts(Struct, kw_only=True):
    """What the control plane found out at its start."""

    pid: int
    api_url: str
    enforcer: str
    runtime: str
    modelled: list[tuple[str, str]] = []


def read_settings(path: Path) -> ControlPlaneSettings:
    return msgspec.json.decode(path.read_bytes(), type=ControlPlaneSettings)


def read_facts(path: Path) -> ControlPlaneFacts:
    return msgspec.json.decode(path.read_bytes(), type=ControlPlaneFacts)
