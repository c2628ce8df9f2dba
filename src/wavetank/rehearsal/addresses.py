"""The addresses of a tank: a /16 of the loopback range of its own, so that tanks never meet.

Linux answers on all of 127.0.0.0/8 without configuration, which gives every pod an address of its own
without namespaces or root.

    127.T.0.1  API server       127.T.0.3  monitoring      127.T.1.n      nodes (kubelets)
    127.T.0.2  ingress gateway  127.T.0.4  load exporter   127.T.16.0/20  pods    127.T.128.0/17  services
"""

from __future__ import annotations

import errno
import socket
from dataclasses import dataclass
from typing import Final

from wavetank.errors import InputError

__all__ = ["API_PORT", "METRICS_PORT", "Addresses", "claim_addresses"]

FIRST_BLOCK: Final = 16
LAST_BLOCK: Final = 250
API_PORT: Final = 6443
STRANGERS_MAX: Final = 8  # blocks with a port in use; after so many, it is in use in all of them
METRICS_PORT: Final = 8080  # of the control plane, on the address of its API


@dataclass(frozen=True, slots=True)
class Addresses:
    """All addresses of the tank in block ``127.block.0.0/16``."""

    block: int

    @property
    def api_server(self) -> str:
        return f"127.{self.block}.0.1"

    @property
    def gateway(self) -> str:
        return f"127.{self.block}.0.2"

    @property
    def monitoring(self) -> str:
        return f"127.{self.block}.0.3"

    @property
    def load(self) -> str:
        return f"127.{self.block}.0.4"

    @property
    def pod_cidr(self) -> str:
        return f"127.{self.block}.16.0/20"

    @property
    def service_cidr(self) -> str:
        return f"127.{self.block}.128.0/17"

    def node(self, index: int) -> str:
        return f"127.{self.block}.1.{index + 1}"

    def gateway_port(self, port: int) -> int:
        """Where a Gateway's server port listens: ports below 1024 are moved, as they need privileges."""
        return port if port >= 1024 else 8000 + port


def claim_addresses(preferred: int | None = None) -> tuple[Addresses, socket.socket]:
    """A free block, and a bound socket that holds it against other tanks until it is closed.

    The socket is bound to the block's last address, which nothing else uses; the kernel gives it to one
    process at a time. Raises InputError if every block is taken.
    """
    blocks = range(FIRST_BLOCK, LAST_BLOCK + 1) if preferred is None else [preferred]
    strangers = 0
    for block in blocks:
        lock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        try:
            lock.bind((f"127.{block}.255.254", API_PORT))
            lock.listen(1)
            _refuse_strangers(Addresses(block))
            return Addresses(block), lock
        except InputError:
            # A tank that was killed may still be coming to its end here, or something listens in every block.
            lock.close()
            strangers += 1
            if strangers == STRANGERS_MAX or block == blocks[-1]:
                raise
        except OSError as error:
            lock.close()
            if error.errno not in (errno.EADDRINUSE, errno.EADDRNOTAVAIL, errno.EACCES):
                raise
    shown = f"127.{preferred}.0.0/16" if preferred is not None else "127.16.0.0 to 127.250.0.0"
    raise InputError(f"no free loopback block in {shown}", fix="stop a running tank: wavetank down")


def _refuse_strangers(addresses: Addresses) -> None:
    """A program that listens on all addresses may hold our ports in every block; then it holds this one."""
    for host, port in (
        (addresses.api_server, API_PORT),
        (addresses.monitoring, 9090),
        (addresses.gateway, addresses.gateway_port(80)),
    ):
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((host, port))
            except OSError as error:
                if error.errno == errno.EADDRINUSE:
                    fix = f"something on this machine listens on all addresses at port {port}; stop it"
                    raise InputError(f"port {port} is already taken on {host}", fix=fix) from None
                raise
