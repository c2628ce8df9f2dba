"""Where a simulation leaves out text or work, what comes out is what the text and the work would give."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from wavetank.clock import VirtualClock
from wavetank.exporters.kube_state import KINDS, families
from wavetank.exposition.render import Sample, render_text
from wavetank.journal import MemoryJournal
from wavetank.kube.kubelet.cadvisor import resource_families
from wavetank.kube.metrics_server.decode import decode
from wavetank.kube.metrics_server.direct import batch_of
from wavetank.kube.resources import BUILT_IN, DEPLOYMENTS
from wavetank.rehearsal.plan import make_plan
from wavetank.simulation.cluster import ClusterOptions, NodeBudget, VirtualCluster
from wavetank.simulation.model import load_models
from wavetank.simulation.query import EngineQuery
from wavetank.simulation.run import open_database
from wavetank.simulation.state_series import StateSeries
from wavetank.simulation.virtual_loop import run_virtual

HTTPBIN = Path(__file__).parents[2] / "examples" / "httpbin"


def whole(samples: list[Sample]) -> Counter[tuple[object, ...]]:
    return Counter((s.name, tuple(sorted(s.labels.items())), s.value, s.timestamp_ms) for s in samples)


def test_points_and_state_of_a_cluster_are_those_of_its_text(tmp_path: Path) -> None:
    clock = VirtualClock(1_750_000_000.0, seed=1)
    models = load_models(HTTPBIN, ("httpbin",))
    database = open_database(tmp_path, clock)

    async def look() -> None:
        options = ClusterOptions([NodeBudget("a"), NodeBudget("b")])
        cluster = VirtualCluster(
            clock, MemoryJournal(clock), options, models, tmp_path, EngineQuery(database)
        )
        await cluster.start()
        state = StateSeries(cluster.plane.api)
        for manifest in make_plan(HTTPBIN, simulated=True).manifests:
            await cluster.apply(manifest.resource, manifest.object, manifest.namespace)
        for _ in range(4):
            await clock.sleep(31.7)
            for kubelet in cluster.kubelets:
                assert batch_of(kubelet.cadvisor) == decode(
                    render_text(resource_families(kubelet.cadvisor)), 0.0
                )
            objects = {
                r.kind: list(cluster.plane.api.bucket(r).objects()) for r in BUILT_IN if r.kind in KINDS
            }
            expected = [sample for family in families(objects) for sample in family.samples]
            assert whole([s for piece in state.pieces() for s in piece.samples]) == whole(expected)
        assert any(batch_of(kubelet.cadvisor).pods for kubelet in cluster.kubelets)
        assert list(cluster.plane.api.bucket(DEPLOYMENTS).objects())
        await cluster.stop()

    run_virtual(clock, look())
    database.close()
