"""Addresses of pods: each gets its own out of a block of 127.0.0.0/8, which every Linux accepts unasked."""

from __future__ import annotations

import ipaddress

from wavetank.clock import Clock
from wavetank.errors import InputError
from wavetank.limits import KUBELET_ADDRESSES_KEPT_SECONDS

__all__ = ["AddressPool"]


class AddressPool:
    """Hands out the addresses of a block in turn, so that one just given up rests before it is used again."""

    def __init__(self, cidr: str, clock: Clock) -> None:
        try:
            network = ipaddress.IPv4Network(cidr)
        except ValueError as error:
            raise InputError(f"pod CIDR {cidr!r}: {error}", fix="give one such as 127.64.0.0/16") from None
        if network.num_addresses < 16:
            raise InputError(f"pod CIDR {cidr!r} has too few addresses", fix="give a /28 or wider")
        self._network = network
        self._clock = clock
        self._next = 2  # .0 and .1 are the network's and, by custom, the node's
        self._used: set[str] = set()
        self._resting: dict[str, float] = {}

    def take(self) -> str:
        """A free address. Raises InputError when the block is used up."""
        now = self._clock.monotonic()
        rested = [a for a, until in self._resting.items() if until <= now]
        for address in rested:
            del self._resting[address]
        for _ in range(self._network.num_addresses):
            address = str(self._network[self._next])
            self._next = 2 + (self._next - 1) % (self._network.num_addresses - 3)
            if address not in self._used and address not in self._resting:
                self._used.add(address)
                return address
        raise InputError(f"no free address in {self._network}", fix="give a wider pod CIDR")

    def release(self, address: str) -> None:
        if address in self._used:
            self._used.discard(address)
            self._resting[address] = self._clock.monotonic() + KUBELET_ADDRESSES_KEPT_SECONDS
