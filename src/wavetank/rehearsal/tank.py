"""A tank: the processes of one cluster on this machine, from first to last.

Control plane and monitoring are processes of their own; Envoy, pods and Locust are theirs and the runner's.
The tank starts them, waits until they answer, applies manifests, and ends them. Whatever happens to the
process that owns the tank, the warden removes what is left.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import signal
import socket
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from wavetank.clock import Clock
from wavetank.errors import InputError, InternalError
from wavetank.journal import FileJournal
from wavetank.kube.client import ApiError, Object
from wavetank.kube.http_client import HttpClient
from wavetank.kube.pki import make_credentials
from wavetank.limits import KERNELS_SECONDS, TANK_START_SECONDS
from wavetank.load.stages import parse_duration
from wavetank.process import TANK_VARIABLE, Child, python_argv, spawn
from wavetank.rehearsal.addresses import METRICS_PORT, Addresses, claim_addresses
from wavetank.rehearsal.console_facts import ConsoleFacts
from wavetank.rehearsal.manifests import Manifest
from wavetank.rehearsal.metrics_client import PrometheusQuery
from wavetank.rehearsal.scrape import MONITORING_PORT
from wavetank.rehearsal.settings import ControlPlaneFacts, ControlPlaneSettings, RunFiles, read_facts
from wavetank.rehearsal.spec import Cluster
from wavetank.warden import Warden
from wavetank.web.session import Sessions

__all__ = ["Tank"]


#: Fewer malloc arenas and no idle BLAS threads: memory that these processes would only keep.
_LEAN = {"MALLOC_ARENA_MAX": "2", "OPENBLAS_NUM_THREADS": "1"}


class Tank:
    """Open with ``await Tank.open(...)``; always ``await tank.close()``."""

    def __init__(
        self, tank: str, files: RunFiles, addresses: Addresses, claim: socket.socket, clock: Clock, keep: bool
    ) -> None:
        self.id = tank
        self.files = files
        self.addresses = addresses
        self.journal = FileJournal(files.journal("runner"), clock)
        self.keep = keep
        self.facts: ControlPlaneFacts | None = None
        self.control_plane: Child | None = None
        self.monitoring: Child | None = None
        self.query = PrometheusQuery(self.monitoring_url)
        self._claim = claim
        self._clock = clock
        self._warden: Warden | None = None
        self._client: HttpClient | None = None

    @classmethod
    async def open(cls, clock: Clock, *, keep: bool = False, directory: Path | None = None) -> Tank:
        """Claim addresses and a run directory, and post the warden. Nothing else runs yet."""
        addresses, claim = claim_addresses()
        try:
            tank = secrets.token_hex(4)
            if directory is None:
                base = os.environ.get("XDG_RUNTIME_DIR")
                usable = base if base and os.access(base, os.W_OK) else None
                directory = Path(tempfile.mkdtemp(prefix="wavetank-", dir=usable))
            opened = cls(tank, RunFiles(directory), addresses, claim, clock, keep)
            os.environ[TANK_VARIABLE] = tank
            doomed = [] if keep else [directory]
            log = directory / "warden.log"
            opened._warden = await Warden.start(
                tank, doomed, log_path=log, clock=clock, journal=opened.journal
            )
            return opened
        except BaseException:
            claim.close()
            raise

    # --- starting

    async def start_control_plane(
        self,
        cluster: Cluster,
        working_directory: Path | None = None,
        adapter: Path | None = None,
        adapter_url: str | None = None,
    ) -> ControlPlaneFacts:
        """Start API server, controllers, kubelets, autoscaler, xDS and Envoy; wait until they are ready.

        Containers whose pods name no directory start in ``working_directory``; ``adapter`` is the file
        with the metrics adapter's rules, ``adapter_url`` the Prometheus it asks if not the tank's own.
        """
        settings = ControlPlaneSettings(
            tank=self.id,
            directory=str(self.files.directory),
            block=self.addresses.block,
            seed=self._clock.seed,
            working_directory=str(working_directory.resolve()) if working_directory else None,
            nodes=cluster.nodes,
            image_pull=cluster.image_pull,
            hpa_sync_seconds=parse_duration(cluster.hpa_sync_period),
            metric_resolution_seconds=parse_duration(cluster.metric_resolution),
            housekeeping_seconds=parse_duration(cluster.housekeeping_interval),
            vpa=cluster.vpa,
            autoscaler=cluster.autoscaler,
            kubernetes=cluster.emulate_kubernetes,
            feature_gates=cluster.feature_gates,
            adapter=str(adapter.resolve()) if adapter else None,
            adapter_url=adapter_url,
        )
        settings.write()
        # Made here, since making certificates takes memory that the control plane would never give back.
        make_credentials(self.files.state / "pki", self._clock, settings.certificate_addresses)
        argv = python_argv("wavetank.rehearsal.control_plane", str(self.files.settings))
        self.control_plane = child = await self._spawn("control-plane", argv)
        await self._until(child, lambda: self.files.facts.exists())
        self.facts = read_facts(self.files.facts)
        return self.facts

    async def start_monitoring(self, console: ConsoleFacts) -> None:
        """Start the Prometheus server and its console, with nothing to scrape yet; do not wait.

        It loads its kernels while the control plane starts; ``monitor`` says what to scrape.
        """
        directory = self.files.monitoring
        directory.mkdir(parents=True, exist_ok=True)
        path = self._monitoring_file
        path.write_text("scrape_configs: []\n", encoding="utf-8")
        console.write(self.files.directory)
        Sessions(self.files.directory)  # so that its address can be printed at once
        argv = python_argv(
            "wavetank", "prometheus", f"--config.file={path}", f"--storage.tsdb.path={directory / 'data'}",
            f"--web.listen-address={self.addresses.monitoring}:{MONITORING_PORT}",
            f"--console.tank={self.files.directory}",
        )  # fmt: skip
        self.monitoring = await self._spawn("monitoring", argv, {"KUBECONFIG": str(self.files.kubeconfig)})

    async def monitor(self, config: str) -> None:
        """Put a configuration text in force, as soon as the server is ready for it."""
        assert self.monitoring is not None
        end = self._clock.monotonic() + KERNELS_SECONDS
        while not await self.query.ready():
            self._alive(self.monitoring, end)
            await self._clock.sleep(0.02)
        before = await self.query.get("status/runtimeinfo")
        self._monitoring_file.write_text(config, encoding="utf-8")
        self.monitoring.signal(signal.SIGHUP)
        while (now := await self.query.get("status/runtimeinfo"))["lastConfigTime"] == before[
            "lastConfigTime"
        ]:
            if not now["reloadConfigSuccess"]:
                last = self.monitoring.tail(1)
                raise InternalError(
                    f"monitoring refused its configuration: {last}", at=self.monitoring.log_path
                )
            self._alive(self.monitoring, end)
            await self._clock.sleep(0.02)

    @property
    def _monitoring_file(self) -> Path:
        return self.files.monitoring / "prometheus.yml"

    @property
    def monitoring_url(self) -> str:
        return f"http://{self.addresses.monitoring}:{MONITORING_PORT}"

    @property
    def metrics_address(self) -> str:
        """Where the control plane serves metrics for the scrape."""
        return f"{self.addresses.api_server}:{METRICS_PORT}"

    def gateway_url(self, port: int) -> str:
        return f"http://{self.addresses.gateway}:{self.addresses.gateway_port(port)}"

    async def client(self) -> HttpClient:
        if self._client is None:
            self._client = HttpClient.from_kubeconfig(self.files.kubeconfig)
        return self._client

    async def apply(self, manifests: Sequence[Manifest]) -> None:
        """Create the objects in order. Raises InputError with the place of one that is refused."""
        client = await self.client()
        for manifest in manifests:
            namespace = manifest.namespace if manifest.resource.namespaced else None
            try:
                await client.create(manifest.resource, _served(manifest), namespace)
            except ApiError as error:
                if error.reason == "AlreadyExists" and manifest.kind == "Namespace":
                    continue
                raise _refused(manifest, error) from None

    # --- ending

    def salvage_with(self, argv: Sequence[str]) -> None:
        """What the warden should run first, should this process die."""
        if self._warden is not None:
            self._warden.salvage_with(argv)

    async def stop_children(self) -> None:
        """End the control plane, which ends its pods and Envoy, and the monitoring."""
        children = [c for c in (self.control_plane, self.monitoring) if c is not None]
        await asyncio.gather(*(child.stop(8.0) for child in children))

    async def close(self) -> None:
        """End everything and wait until nothing is left."""
        await self.query.close()
        if self._client is not None:
            await self._client.close()
        await self.stop_children()
        if self._warden is not None:
            await self._warden.finish()
        self.journal.close()
        self._claim.close()
        os.environ.pop(TANK_VARIABLE, None)

    async def failed_child(self) -> Child:
        """Wait until a process that should run has ended."""
        children = [c for c in (self.control_plane, self.monitoring) if c is not None]
        if self._warden is not None:
            children.append(self._warden.child)
        tasks = {asyncio.create_task(c.wait()): c for c in children}
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
        return tasks[done.pop()]

    # --- inside

    async def _spawn(self, name: str, argv: Sequence[str], env: dict[str, str] | None = None) -> Child:
        log = self.files.logs / f"{name}.log"
        temporary = self.files.directory / "tmp"
        temporary.mkdir(exist_ok=True)
        env = {**_LEAN, "TMPDIR": str(temporary), **(env or {})}
        return await spawn(name, argv, env=env, log_path=log, clock=self._clock, journal=self.journal)

    async def _until(self, child: Child, condition: Callable[[], bool]) -> None:
        end = self._clock.monotonic() + TANK_START_SECONDS
        while not condition():
            self._alive(child, end)
            await self._clock.sleep(0.005)

    def _alive(self, child: Child, end: float) -> None:
        if child.returncode is not None:
            raise child_failed(child)
        if self._clock.monotonic() > end:
            raise InternalError(
                f"{child.name} did not start in {TANK_START_SECONDS:.0f} s", at=child.log_path
            )


def child_failed(child: Child) -> InternalError:
    """The error of a process that ended though it should not have; its last words are the reason."""
    last = child.tail(1) or "it said nothing"
    return InternalError(f"{child.name} ended with {child.returncode}: {last}", at=child.log_path)


def _served(manifest: Manifest) -> Object:
    """The object in the version that is stored, where its kind is the same in all of them."""
    obj = dict(manifest.object)
    if manifest.resource.group.endswith(("istio.io", "networking.k8s.io")):
        obj["apiVersion"] = manifest.resource.api_version
    return obj


def _refused(manifest: Manifest, error: ApiError) -> InputError:
    causes = error.details.get("causes") or []
    field = str(causes[0].get("field", "")) if causes else ""
    path = tuple(
        int(p) if p.isdigit() else p for p in field.replace("[", ".").replace("]", "").split(".") if p
    )
    return manifest.error(error.message, *path)
