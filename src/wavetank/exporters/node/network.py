"""Collectors of the network: netdev, netclass, netstat, sockstat, arp, conntrack, udp_queues, tcpstat."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Final

from wavetank.exporters.families import Families
from wavetank.exporters.node.host import Host, NoData, folders, number_of, text_of

__all__ = [
    "NETSTAT_FIELDS",
    "arp",
    "conntrack",
    "netclass",
    "netdev",
    "netstat",
    "sockstat",
    "tcpstat",
    "udp_queues",
]

NETSTAT_FIELDS: Final = (
    "^(.*_(InErrors|InErrs)|Ip_Forwarding|Ip(6|Ext)_(InOctets|OutOctets)|Icmp6?_(InMsgs|OutMsgs)"
    "|TcpExt_(Listen.*|Syncookies.*|TCPSynRetrans|TCPTimeouts|TCPOFOQueue|TCPRcvQDrop)"
    "|Tcp_(ActiveOpens|InSegs|OutSegs|OutRsts|PassiveOpens|RetransSegs|CurrEstab)"
    "|Udp6?_(InDatagrams|OutDatagrams|NoPorts|RcvbufErrors|SndbufErrors))$"
)
_RECEIVE: Final = ("bytes", "packets", "errs", "drop", "fifo", "frame", "compressed", "multicast")
_TRANSMIT: Final = ("bytes", "packets", "errs", "drop", "fifo", "colls", "carrier", "compressed")
_CLASS_GAUGES: Final = {
    "addr_assign_type": "address_assign_type",
    "carrier": "carrier",
    "dev_id": "device_id",
    "dormant": "dormant",
    "flags": "flags",
    "ifindex": "iface_id",
    "iflink": "iface_link",
    "link_mode": "iface_link_mode",
    "mtu": "mtu_bytes",
    "name_assign_type": "name_assign_type",
    "netdev_group": "net_dev_group",
    "tx_queue_len": "transmit_queue_length",
    "type": "protocol_type",
}
_CLASS_COUNTERS: Final = {
    "carrier_changes": "carrier_changes_total",
    "carrier_up_count": "carrier_up_changes_total",
    "carrier_down_count": "carrier_down_changes_total",
}
_CONNTRACK: Final = (
    "found",
    "invalid",
    "ignore",
    "insert",
    "insert_failed",
    "drop",
    "early_drop",
    "search_restart",
)
_TCP_STATES: Final = (
    "established", "syn_sent", "syn_recv", "fin_wait1", "fin_wait2", "time_wait", "close", "close_wait",
    "last_ack", "listen", "closing",
)  # fmt: skip
_MEGABIT_BYTES: Final = 1_000_000 / 8
Keep = Callable[[str], bool]


def netdev(found: Families, host: Host, keep: Keep) -> None:
    for line in host.lines("net/dev")[2:]:
        device, _, rest = line.partition(":")
        device = device.strip()
        values = rest.split()
        if not keep(device) or len(values) < 16:
            continue
        labels = {"device": device}
        for name, value in zip(_RECEIVE, values[:8], strict=True):
            found.counter(f"node_network_receive_{name}_total", labels, float(value))
        for name, value in zip(_TRANSMIT, values[8:16], strict=True):
            found.counter(f"node_network_transmit_{name}_total", labels, float(value))
        nohandler = number_of(host.sys / f"class/net/{device}/statistics/rx_nohandler")
        if nohandler is not None:
            found.counter("node_network_receive_nohandler_total", labels, nohandler)


def netclass(found: Families, host: Host, keep: Keep, *, ignore_invalid_speed: bool = False) -> None:
    """A link that is down has the speed -1, which is shown unless it is to be ignored."""
    for folder in folders(host.sys / "class/net"):
        if not folder.is_dir() or not keep(folder.name):
            continue
        labels, base = {"device": folder.name}, str(folder)
        state = text_of(folder / "operstate") or "unknown"
        info = {
            "address": text_of(folder / "address") or "",
            "adminstate": _admin_state(number_of(folder / "flags")),
            "broadcast": text_of(folder / "broadcast") or "",
            "device": folder.name,
            "duplex": text_of(folder / "duplex") or "",
            "ifalias": text_of(folder / "ifalias") or "",
            "operstate": state,
        }
        found.gauge("node_network_info", info, 1)
        found.gauge("node_network_up", labels, state == "up")
        for file, name in _CLASS_GAUGES.items():
            if (value := number_of(f"{base}/{file}")) is not None:
                found.gauge(f"node_network_{name}", labels, value)
        for file, name in _CLASS_COUNTERS.items():
            if (value := number_of(f"{base}/{file}")) is not None:
                found.counter(f"node_network_{name}", labels, value)
        speed = number_of(folder / "speed")
        if speed is not None and not (ignore_invalid_speed and speed < 0):
            found.gauge("node_network_speed_bytes", labels, speed * _MEGABIT_BYTES)


def _admin_state(flags: float | None) -> str:
    if flags is None:
        return "unknown"
    return "up" if int(flags) & 1 else "down"


def netstat(found: Families, host: Host, keep: Keep) -> None:
    for name, value in sorted(_protocols(host)):
        if keep(name):
            found.untyped(f"node_netstat_{name}", {}, value)


def _protocols(host: Host) -> Iterator[tuple[str, float]]:
    """``Tcp_InSegs`` and its value, of all protocols; lines come in pairs of names and values."""
    for file in ("net/netstat", "net/snmp"):
        rows = list(host.words(file))
        for names, values in zip(rows[::2], rows[1::2], strict=False):
            for name, value in zip(names[1:], values[1:], strict=False):
                yield f"{names[0].rstrip(':')}_{name}", float(value)
    try:
        for name, value, *_ in host.words("net/snmp6"):
            if (six := name.find("6")) != -1:
                yield f"{name[: six + 1]}_{name[six + 1 :]}", float(value)
    except NoData:
        pass  # a kernel without IPv6


def sockstat(found: Families, host: Host) -> None:
    page = os.sysconf("SC_PAGESIZE")
    for file in ("net/sockstat", "net/sockstat6"):
        try:
            rows = list(host.words(file))
        except NoData:
            continue
        for protocol, *pairs in rows:
            name = protocol.rstrip(":")
            for key, value in zip(pairs[::2], pairs[1::2], strict=True):
                found.gauge(f"node_sockstat_{name}_{key}", {}, float(value))
                if key == "mem":
                    found.gauge(f"node_sockstat_{name}_mem_bytes", {}, float(value) * page)


def arp(found: Families, host: Host, keep: Keep) -> None:
    devices = Counter(line.split()[-1] for line in host.lines("net/arp")[1:] if line.split())
    for device, entries in sorted(devices.items()):
        if keep(device):
            found.gauge("node_arp_entries", {"device": device}, entries)


def conntrack(found: Families, host: Host) -> None:
    base = host.proc / "sys/net/netfilter"
    count, maximum = number_of(base / "nf_conntrack_count"), number_of(base / "nf_conntrack_max")
    if count is None or maximum is None:
        raise NoData("conntrack")
    found.gauge("node_nf_conntrack_entries", {}, count)
    found.gauge("node_nf_conntrack_entries_limit", {}, maximum)
    rows = list(host.words("net/stat/nf_conntrack"))
    totals: Counter[str] = Counter()
    for values in rows[1:]:
        for name, value in zip(rows[0], values, strict=False):
            totals[name] += int(value, 16)
    for name in _CONNTRACK:
        # Newer kernels renamed a column to clash_resolve; upstream keeps the old name.
        found.gauge(f"node_nf_conntrack_stat_{name}", {}, totals.get(name, 0))


def udp_queues(found: Families, host: Host) -> None:
    for version, file in (("v4", "net/udp"), ("v6", "net/udp6")):
        try:
            rows = [line.split() for line in host.lines(file)[1:]]
        except NoData:
            continue
        queues = [row[4].split(":") for row in rows if len(row) > 4]
        for kind, index in (("tx", 0), ("rx", 1)):
            total = sum(int(queue[index], 16) for queue in queues)
            found.gauge("node_udp_queues", {"ip": version, "queue": kind}, total)


def tcpstat(found: Families, host: Host) -> None:
    """One pass over all connections: off by default, as upstream's."""
    states: Counter[str] = Counter()
    queued: Counter[str] = Counter()
    for file in ("net/tcp", "net/tcp6"):
        try:
            rows = [line.split() for line in host.lines(file)[1:]]
        except NoData:
            continue
        for row in rows:
            number = int(row[3], 16)
            states[_TCP_STATES[number - 1] if number <= len(_TCP_STATES) else "unknown"] += 1
            sent, received = row[4].split(":")
            queued["tx_queued_bytes"] += int(sent, 16)
            queued["rx_queued_bytes"] += int(received, 16)
    for state, number in sorted((states + queued).items()):
        found.gauge("node_tcp_connection_states", {"state": state}, number)
