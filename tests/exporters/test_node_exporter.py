"""The node exporter on this machine, on a machine made of files, and beside Debian's."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import shutil
import socket
import threading
import urllib.request
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from starlette.testclient import TestClient

from wavetank.cli import node_exporter as cli
from wavetank.clock import RealClock, VirtualClock
from wavetank.errors import InputError
from wavetank.exporters.node import COLLECTORS, Host, Settings, collect, disk, families
from wavetank.exporters.node.app import create_app
from wavetank.exposition import parse
from wavetank.exposition.render import MetricFamily, render_text

DATA = Path(__file__).parent / "data"


def samples(found: list[MetricFamily]) -> dict[str, float]:
    """Every sample by its text form, read back from the rendered exposition."""
    read = parse(render_text(found), "text/plain", default_timestamp_ms=0)
    return {str(labels): value for labels, value in zip(read.labels, read.values.tolist(), strict=True)}


def write(root: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text + "\n")


FILES = {
    "proc/stat": "cpu  1 2 3 4 5 6 7 8 9 10\ncpu0 100 200 300 400 500 600 700 800 900 1000\nctxt 7\nbtime 9\nprocesses 8\nprocs_running 2",
    "proc/meminfo": "MemTotal:  10 kB\nActive(anon):  3 kB\nHugePages_Total:  4",
    "proc/vmstat": "pgfault 5\nnr_free_pages 7\noom_kill 1",
    "proc/loadavg": "0.5 0.25 0.125 1/2 3",
    "proc/diskstats": " 8 0 sda 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17\n 8 1 sda1 1 2 3 4 5 6 7 8 9 10 11",
    "proc/net/dev": "a\nb\n  eth0: 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16\n",
    "proc/net/snmp": "Tcp: ActiveOpens Nope\nTcp: 3 4",
    "proc/net/netstat": "TcpExt: ListenDrops\nTcpExt: 6",
    "proc/net/snmp6": "Ip6InOctets 9\nUdpLite6InErrors 2",
    "proc/net/sockstat": "sockets: used 5\nTCP: inuse 1 orphan 0 tw 2 alloc 3 mem 4",
    "proc/net/softnet_stat": "0000000a 00000001 00000002 0 0 0 0 0 3 4 5",
    "proc/net/arp": "IP address HW\n1.2.3.4 0x1 0x2 aa * eth0\n1.2.3.5 0x1 0x2 aa * eth0",
    "proc/net/udp": "  sl\n 1: 0:0 0:0 07 00000010:00000002 x",
    "proc/net/tcp": "  sl\n 1: 0:0 0:0 0A 00000001:00000002 x\n 2: 0:0 0:0 01 00000000:00000000 x",
    "proc/net/stat/nf_conntrack": "entries found drop\n1 a 1\n1 b 2",
    "proc/sys/net/netfilter/nf_conntrack_count": "11",
    "proc/sys/net/netfilter/nf_conntrack_max": "22",
    "proc/sys/fs/file-nr": "100 0 200",
    "proc/sys/kernel/random/entropy_avail": "256",
    "proc/sys/kernel/random/poolsize": "512",
    "proc/sys/kernel/hung_task_detect_count": "3",
    "proc/pressure/cpu": "some avg10=0.00 avg60=0.00 avg300=0.00 total=1500000",
    "proc/pressure/irq": "full avg10=0.00 avg60=0.00 avg300=0.00 total=2500000",
    "proc/schedstat": "version 15\ncpu0 0 0 0 0 0 0 3000000000 5000000000 7\ndomain0 1",
    "proc/interrupts": "      CPU0  CPU1\n  9:  1  2  IO-APIC  9-fasteoi  acpi\nNMI:  3  4  Non-maskable interrupts",
    "sys/class/net/eth0/operstate": "up",
    "sys/class/net/eth0/speed": "1000",
    "sys/class/net/eth0/flags": "0x1003",
    "sys/class/net/eth0/mtu": "1500",
    "sys/class/net/eth0/address": "aa:bb",
    "sys/class/net/eth0/carrier_changes": "2",
    "sys/class/hwmon/hwmon0/name": "coretemp",
    "sys/class/hwmon/hwmon0/temp1_input": "45500",
    "sys/class/hwmon/hwmon0/temp1_crit": "100000",
    "sys/class/hwmon/hwmon0/temp1_crit_alarm": "0",
    "sys/class/hwmon/hwmon0/temp1_label": "Core 0",
    "sys/class/hwmon/hwmon0/fan2_input": "900",
    "sys/class/hwmon/hwmon0/fan2_min": "100",
    "sys/class/thermal/thermal_zone0/type": "x86",
    "sys/class/thermal/thermal_zone0/temp": "38000",
    "sys/class/thermal/cooling_device1/type": "Fan",
    "sys/class/thermal/cooling_device1/cur_state": "1",
    "sys/class/thermal/cooling_device1/max_state": "3",
    "sys/class/power_supply/AC/online": "1",
    "sys/class/dmi/id/sys_vendor": "Acme",
    "sys/devices/system/cpu/cpu0/cpufreq/scaling_cur_freq": "2000000",
    "sys/devices/system/cpu/cpu0/cpufreq/cpuinfo_max_freq": "3000000",
    "proc/mdstat": (
        "Personalities : [raid1] [raid6]\n"
        "md3 : active raid6 sda1[8] sdb1[7] sdc1[5](F) sdd1[10](S)\n"
        "      5853468288 blocks super 1.2 level 6, 64k chunk, algorithm 2 [4/3] [UU_U]\n"
        "      [=>....]  recovery =  8.5% (16775552/195310144) finish=17.0min speed=259783K/sec\n\n"
        "md0 : active (auto-read-only) raid0 sde[1] sdf[0]\n      100 blocks 64k chunks\n\n"
        "md4 : active raid1 sdg1[0] sdh1[1]\n      200 blocks [2/2] [UU]\n        resync=PENDING\n"
        "md5 : inactive raid1 sdi1[0](F) sdj1[0](S)\n      300 blocks\nunused devices: <none>"
    ),
    "sys/block/md3/md/degraded": "1",
    "sys/block/md3/md/raid_disks": "4",
    "sys/class/net/bonding_masters": "bond0",
    "sys/class/net/bond0/bonding/slaves": "eth1 eth2",
    "sys/class/net/bond0/lower_eth1/bonding_slave/mii_status": "up",
    "sys/class/net/bond0/slave_eth2/bonding_slave/mii_status": "down",
    "sys/devices/system/edac/mc/mc0/ce_count": "4",
    "sys/devices/system/edac/mc/mc0/ue_noinfo_count": "2",
    "sys/devices/system/edac/mc/mc0/csrow1/ce_count": "3",
    "sys/devices/system/edac/mc/mc0/csrow1/ch0_ce_count": "1",
    "sys/devices/system/edac/mc/mc0/csrow1/ch0_dimm_label": "CPU_SrcID#0_Ha#0_csrow1channel0",
    "sys/class/watchdog/watchdog0/timeleft": "300",
    "sys/class/watchdog/watchdog0/identity": "Software Watchdog",
    "sys/class/nvme/nvme0/model": "Acme SSD",
    "sys/class/nvme/nvme0/firmware_rev": "1B2",
    "sys/class/powercap/intel-rapl:0/name": "package-0",
    "sys/class/powercap/intel-rapl:0/energy_uj": "2500000",
    "sys/class/powercap/intel-rapl:0:1/name": "dram",
    "sys/class/powercap/intel-rapl:0:1/energy_uj": "1000000",
    "proc/softirqs": "      CPU0  CPU1\n  TIMER:  1  2\n NET_RX:  3  4",
    "proc/cpuinfo": "processor\t: 0\nmodel name\t: Acme: 9\ncore id : 1\n\nprocessor : 1\ncore id : 2",
    "sys/class/net/down0/speed": "-1",
    "proc/buddyinfo": "Node 0, zone   Normal  4  2  1",
    "root/etc/os-release": 'ID=debian\nNAME="Debian GNU/Linux"\nVERSION_ID="12"',
}
EXPECTED = {
    'node_cpu_seconds_total{cpu="0", mode="idle"}': 4,
    'node_cpu_guest_seconds_total{cpu="0", mode="nice"}': 10,
    "node_context_switches_total": 7,
    "node_boot_time_seconds": 9,
    "node_memory_MemTotal_bytes": 10240,
    "node_memory_Active_anon_bytes": 3072,
    "node_memory_HugePages_Total": 4,
    "node_vmstat_pgfault": 5,
    "node_load15": 0.125,
    'node_md_disks{device="md3", state="active"}': 3,
    'node_md_disks{device="md3", state="failed"}': 1,
    'node_md_disks{device="md3", state="spare"}': 1,
    'node_md_disks_required{device="md3"}': 4,
    'node_md_state{device="md3", state="recovering"}': 1,
    'node_md_state{device="md3", state="active"}': 0,
    'node_md_blocks{device="md3"}': 5853468288,
    'node_md_blocks_synced{device="md3"}': 16775552,
    'node_md_degraded{device="md3"}': 1,
    'node_md_raid_disks{device="md3"}': 4,
    'node_md_disks_required{device="md0"}': 2,
    'node_md_disks{device="md0", state="active"}': 2,
    'node_md_state{device="md0", state="active"}': 1,
    'node_md_blocks_synced{device="md0"}': 100,
    'node_md_state{device="md4", state="resync"}': 1,
    'node_md_blocks_synced{device="md4"}': 0,
    'node_md_state{device="md5", state="inactive"}': 1,
    'node_md_disks{device="md5", state="active"}': 0,
    'node_bonding_slaves{master="bond0"}': 2,
    'node_bonding_active{master="bond0"}': 1,
    'node_edac_correctable_errors_total{controller="0"}': 4,
    'node_edac_csrow_uncorrectable_errors_total{controller="0", csrow="unknown"}': 2,
    'node_edac_csrow_correctable_errors_total{controller="0", csrow="1"}': 3,
    'node_edac_channel_correctable_errors_total{channel="0", controller="0", csrow="1", '
    'dimm_label="CPU_SrcID0_Ha0__csrow1_channel0"}': 1,
    'node_watchdog_timeleft_seconds{name="watchdog0"}': 300,
    'node_watchdog_info{identity="Software Watchdog", name="watchdog0"}': 1,
    'node_nvme_info{device="nvme0", firmware_revision="1B2", model="Acme SSD"}': 1,
    'node_softirqs_functions_total{cpu="1", type="NET_RX"}': 4,
    'node_buddyinfo_blocks{node="0", size="2", zone="Normal"}': 1,
    'node_disk_read_bytes_total{device="sda"}': 1536,
    'node_disk_io_time_seconds_total{device="sda"}': 0.01,
    'node_disk_flush_requests_total{device="sda"}': 16,
    'node_network_receive_multicast_total{device="eth0"}': 8,
    'node_network_transmit_carrier_total{device="eth0"}': 15,
    "node_netstat_Tcp_ActiveOpens": 3,
    "node_netstat_TcpExt_ListenDrops": 6,
    "node_netstat_Ip6_InOctets": 9,
    "node_netstat_UdpLite6_InErrors": 2,
    "node_sockstat_TCP_mem_bytes": 16384,
    'node_softnet_received_rps_total{cpu="0"}': 4,
    'node_arp_entries{device="eth0"}': 2,
    'node_udp_queues{ip="v4", queue="tx"}': 16,
    'node_tcp_connection_states{state="listen"}': 1,
    'node_tcp_connection_states{state="rx_queued_bytes"}': 2,
    "node_nf_conntrack_stat_found": 21,
    "node_nf_conntrack_entries_limit": 22,
    "node_filefd_maximum": 200,
    "node_entropy_available_bits": 256,
    "node_kernel_hung_tasks_total": 3,
    "node_pressure_cpu_waiting_seconds_total": 1.5,
    "node_pressure_irq_stalled_seconds_total": 2.5,
    'node_schedstat_waiting_seconds_total{cpu="0"}': 5,
    'node_interrupts_total{cpu="1", devices="9-fasteoi acpi", info="IO-APIC", type="9"}': 2,
    'node_interrupts_total{cpu="0", info="Non-maskable interrupts", type="NMI"}': 3,
    'node_network_speed_bytes{device="eth0"}': 125_000_000,
    'node_network_flags{device="eth0"}': 0x1003,
    'node_network_info{address="aa:bb", adminstate="up", device="eth0", operstate="up"}': 1,
    'node_network_up{device="eth0"}': 1,
    'node_hwmon_chip_names{chip="coretemp", chip_name="coretemp"}': 1,
    'node_hwmon_temp_celsius{chip="coretemp", sensor="temp1"}': 45.5,
    'node_hwmon_temp_crit_celsius{chip="coretemp", sensor="temp1"}': 100,
    'node_hwmon_temp_crit_alarm_celsius{chip="coretemp", sensor="temp1"}': 0,
    'node_hwmon_fan_rpm{chip="coretemp", sensor="fan2"}': 900,
    'node_hwmon_fan_min_rpm{chip="coretemp", sensor="fan2"}': 100,
    'node_thermal_zone_temp{type="x86", zone="0"}': 38,
    'node_cooling_device_max_state{name="1", type="Fan"}': 3,
    'node_power_supply_online{power_supply="AC"}': 1,
    'node_dmi_info{system_vendor="Acme"}': 1,
    'node_cpu_scaling_frequency_hertz{cpu="0"}': 2e9,
    'node_cpu_frequency_max_hertz{cpu="0"}': 3e9,
    'node_os_version{id="debian", name="Debian GNU/Linux"}': 12,
    'node_scrape_collector_success{collector="schedstat"}': 1,
}  # fmt: skip


@pytest.fixture
def made_of_files(tmp_path: Path) -> Host:
    write(tmp_path, FILES)
    return Host(VirtualClock(5.0), tmp_path / "proc", tmp_path / "sys", tmp_path / "root")


def test_a_machine_made_of_files(made_of_files: Host) -> None:
    found = samples(collect(COLLECTORS, made_of_files))
    assert {name: found.get(name) for name in EXPECTED} == EXPECTED
    zones = made_of_files.sys / "class/powercap"
    assert found[f'node_rapl_package_joules_total{{index="0", path="{zones}/intel-rapl:0"}}'] == 2.5
    assert found[f'node_rapl_dram_joules_total{{index="1", path="{zones}/intel-rapl:0:1"}}'] == 1
    disks = {name: value for name, value in found.items() if name.startswith("node_disk_")}
    assert not any("sda1" in name for name in disks), "partitions are left out by default"
    assert "node_netstat_Tcp_Nope" not in found


def test_a_collector_that_fails_is_alone(made_of_files: Host) -> None:
    (made_of_files.proc / "meminfo").write_text("Mem: x kB\n")
    (made_of_files.proc / "net/dev").write_bytes(b"\xff\n\n:::: \xfe\n")
    (made_of_files.proc / "vmstat").unlink()
    found = samples(collect(COLLECTORS, made_of_files))
    assert found['node_scrape_collector_success{collector="meminfo"}'] == 0
    assert found['node_scrape_collector_success{collector="vmstat"}'] == 0
    assert found["node_load1"] == 0.5


@pytest.mark.parametrize(
    "content", [b"", b"\x00\xff" * 50, b"a b c d e f g h\n" * 20, b"1 2 3\n", b":\n" * 9]
)
def test_no_content_of_a_file_stops_the_exporter(made_of_files: Host, content: bytes) -> None:
    for path in [*made_of_files.proc.rglob("*"), *made_of_files.sys.rglob("*")]:
        if path.is_file():
            path.write_bytes(content)
    assert render_text(collect(COLLECTORS, made_of_files))


def test_filters(made_of_files: Host) -> None:
    found = samples(collect(["diskstats"], made_of_files, Settings(disk_include="^sda1$")))
    assert 'node_disk_io_now{device="sda1"}' in found
    assert 'node_disk_io_now{device="sda"}' not in found
    assert not any(
        "eth0" in n for n in samples(collect(["netdev"], made_of_files, Settings(netdev_exclude="eth.*")))
    )
    for settings in (Settings(netdev_include="("), Settings(disk_include="a", disk_exclude="b")):
        with pytest.raises(ValueError, match=r"error parsing regexp|mutually exclusive"):
            settings.check()


def test_text_files(tmp_path: Path) -> None:
    write(
        tmp_path,
        {
            "a/good.prom": '# HELP job_seconds How long.\n# TYPE job_seconds histogram\njob_seconds_bucket{le="+Inf"} 2\njob_seconds_sum 3\njob_seconds_count 2',
            "b/more.prom": "other 7",
            "b/stamped.prom": "late 1 1234",
            "b/broken.prom": "what is this",
            "b/ignored.txt": "ignored 1",
        },
    )
    host = Host(RealClock())
    found = collect(["textfile"], host, Settings(textfile_directories=(f"{tmp_path}/*",)))
    text = samples(found)
    assert text["job_seconds_count"] == 2
    assert text["other"] == 7
    assert text["node_textfile_scrape_error"] == 1
    assert len([name for name in text if name.startswith("node_textfile_mtime_seconds")]) == 2
    assert not {"late", "ignored"} & set(text)
    assert next(f for f in found if f.name == "job_seconds").type == "histogram"


def test_families_of_several_text_files_are_joined_unless_they_contradict(tmp_path: Path) -> None:
    write(
        tmp_path,
        {
            "a.prom": '# HELP m one\n# TYPE m gauge\nm{f="a"} 1\nplain{f="a"} 1',
            "b.prom": '# HELP m two\n# TYPE m gauge\nm{f="b"} 2\nplain{f="b"} 2',
            "c.prom": '# HELP m one\n# TYPE m counter\nm{f="c"} 3',
            "d.prom": '# TYPE m gauge\nm{f="d"} 4',
        },
    )
    found = collect(["textfile"], Host(RealClock()), Settings(textfile_directories=(str(tmp_path),)))
    text = samples(found)
    assert {name for name in text if name.startswith("m{")} == {'m{f="a"}', 'm{f="d"}'}
    assert text["node_textfile_scrape_error"] == 1
    helps = {family.name: family.help for family in found}
    assert helps["m"] == "one"
    assert helps["plain"] == f"Metric read from {tmp_path}/a.prom, {tmp_path}/b.prom"


def test_this_machine_lights_up_the_community_dashboard() -> None:
    names = {family.name for family in collect(COLLECTORS, Host(RealClock()))}
    metric = re.compile(r"\bnode_[A-Za-z0-9_]+")
    expressions = (DATA / "node-exporter-full.expressions.txt").read_text().splitlines()
    asked = [e for e in expressions if metric.search(e)]
    answered = [e for e in asked if all(name in names for name in metric.findall(e))]
    # What is missing on a machine without sensors: hwmon, cpufreq, cooling devices, systemd, power supply.
    assert len(asked) > 250
    assert len(answered) / len(asked) > 0.8, sorted(set(asked) - set(answered))


def test_metrics_over_http() -> None:
    app = create_app(["loadavg", "uname"], Host(RealClock()), Settings())
    with TestClient(app) as client:
        assert "node_load1 " in client.get("/metrics").text
        assert "node_exporter_build_info{" in client.get("/metrics").text
        only = client.get("/metrics", params={"collect[]": "uname"}).text
        assert "node_uname_info" in only
        assert "node_load1" not in only
        assert "node_load1" not in client.get("/metrics", params={"exclude[]": "loadavg"}).text
        answer = client.get("/metrics", params={"collect[]": "cpu"})
        assert answer.status_code == 400
        assert "disabled collector: cpu" in answer.text
        assert client.get("/metrics", params={"collect[]": "uname", "exclude[]": "uname"}).status_code == 400
        openmetrics = client.get("/metrics", headers={"accept": "application/openmetrics-text"})
        assert openmetrics.text.endswith("# EOF\n")
        assert client.get("/").status_code == 200


def flags(*arguments: str) -> dict[str, Any]:
    with cli.command.make_context("node-exporter", list(arguments)) as context:
        return dict(context.params)


def test_flags_choose_collectors() -> None:
    assert "processes" not in cli._enabled(flags())
    assert "processes" in cli._enabled(flags("--collector.processes"))
    assert "cpu" not in cli._enabled(flags("--no-collector.cpu", "--no-collector.systemd"))
    assert cli._enabled(flags("--collector.disable-defaults", "--collector.cpu")) == ["cpu"]
    with pytest.raises(InputError, match=r"--collector.systemd: not built in"):
        cli._enabled(flags("--collector.systemd"))
    assert tuple(COLLECTORS) == cli._COLLECTORS
    assert CliRunner().invoke(cli.command, ["--collector.nonsense"]).exit_code == 2


def test_switches_and_filters(made_of_files: Host) -> None:
    chosen = Settings(
        cpu_info=True,
        ignore_invalid_speed=True,
        arp_exclude="^eth",
        chip_include="nothing",
        fs_type_exclude="",
    )
    found = samples(collect(COLLECTORS, made_of_files, chosen))
    assert found['node_cpu_info{core="1", cpu="0", model_name="Acme: 9"}'] == 1
    assert found['node_cpu_info{core="2", cpu="1"}'] == 1
    speeds = [name for name in found if name.startswith("node_network_speed_bytes")]
    assert speeds == ['node_network_speed_bytes{device="eth0"}']
    assert not any(name.startswith(("node_arp", "node_hwmon")) for name in found)
    plain = samples(collect(COLLECTORS, made_of_files))
    assert plain['node_network_speed_bytes{device="down0"}'] < 0
    assert not any(name.startswith("node_cpu_info") for name in plain)
    with pytest.raises(ValueError, match=r"hwmon.chip-exclude & hwmon.chip-include are mutually exclusive"):
        Settings(chip_include="a", chip_exclude="b").check()


def test_flags_of_old_unit_files_and_of_the_go_runtime() -> None:
    read = flags(
        "--collector.filesystem.ignored-mount-points=^/snap",
        "--collector.netdev.device-blacklist=^veth",
        "--collector.cpu.info",
        "--runtime.gomaxprocs=2",
    )
    assert (read["mount_exclude"], read["netdev_exclude"], read["cpu_info"]) == ("^/snap", "^veth", True)


def test_the_defaults_are_one_function() -> None:
    assert any(family.name == "node_uname_info" for family in families(RealClock()))


@pytest.mark.peer
@pytest.mark.skipif(
    shutil.which("prometheus-node-exporter") is None, reason="prometheus-node-exporter is not installed"
)
async def test_names_and_types_are_debians() -> None:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port = sock.getsockname()[1]
    process = await asyncio.create_subprocess_exec(
        "prometheus-node-exporter",
        f"--web.listen-address=127.0.0.1:{port}",
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        async with asyncio.timeout(30):
            while True:
                with contextlib.suppress(OSError):
                    text = await asyncio.to_thread(_get, f"http://127.0.0.1:{port}/metrics")
                    break
                await asyncio.sleep(0.05)
    finally:
        process.terminate()
        await process.wait()
    theirs = dict(re.findall(r"^# TYPE (node_\w+) (\w+)$", text, re.MULTILINE))
    ours = {
        f.name: "untyped" if f.type == "unknown" else f.type for f in collect(COLLECTORS, Host(RealClock()))
    }
    both = theirs.keys() & ours.keys()
    assert {name: ours[name] for name in both} == {name: theirs[name] for name in both}
    built_in = re.compile(
        rf"node_({'|'.join(('memory', 'netstat', 'network', 'sockstat', 'disk', 'timex', 'vmstat', 'filesystem', 'cpu', 'load'))})"
    )
    missing = {name for name in theirs.keys() - ours.keys() if built_in.match(name)}
    assert missing == set()


def _get(url: str) -> str:
    with urllib.request.urlopen(url, timeout=10) as response:
        return str(response.read().decode())


def test_a_mount_that_hangs_holds_up_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    release = threading.Event()
    asked = []

    def statvfs(path: str) -> os.statvfs_result:
        asked.append(path)
        if path == "/dead":
            release.wait(30)
        if path == "/gone":
            raise FileNotFoundError(2, "No such file or directory")
        return os.statvfs_result(range(10))

    monkeypatch.setattr(disk.os, "statvfs", statvfs)
    monkeypatch.setattr(disk, "NODE_STATFS_SECONDS", 1.0)
    try:
        for _ in range(2):
            found = disk._statvfs(["/", "/dead", "/gone", "/home"])
            assert {path: type(answer) for path, answer in found.items()} == {
                "/": os.statvfs_result,
                "/dead": TimeoutError,
                "/gone": FileNotFoundError,
                "/home": os.statvfs_result,
            }
        assert asked.count("/dead") == 1, "it is not asked again while it hangs"
    finally:
        release.set()
        for thread in disk._STUCK.values():
            thread.join()
        disk._STUCK.clear()
