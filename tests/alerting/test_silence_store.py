"""Silences and the notification log: what may change, and what is on disk."""

from __future__ import annotations

import resource
from pathlib import Path

import msgspec
import pytest

from wavetank.alerting.nflog import NotificationLog, Standing
from wavetank.alerting.silences import Silence, SilenceMatcher, SilenceNotFound, Silences
from wavetank.alerting.statelog import StateLog
from wavetank.clock import VirtualClock

NOW = 1_700_000_000.0


def silence(start: float, end: float, *, id: str = "", **labels: str) -> Silence:
    matchers = tuple(SilenceMatcher(n, v, is_regex=False) for n, v in (labels or {"a": "b"}).items())
    return Silence(
        matchers=matchers, starts_at=NOW + start, ends_at=NOW + end, created_by="me", comment="c", id=id
    )


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock(NOW)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "silences.log"


def opened(path: Path, clock: VirtualClock, **limits: int) -> Silences:
    return Silences(path, clock, 3600, **limits)


def test_mutes_while_it_is_active(path: Path, clock: VirtualClock) -> None:
    silences = opened(path, clock)
    made = silences.set(silence(10, 20))
    states = []
    for second in (0, 10, 20, 21):
        clock.run_until(NOW + second)
        states.append((made.state(clock.now()), silences.muting({"a": "b"}) == [made.id]))
    assert states == [("pending", False), ("active", True), ("active", True), ("expired", False)]
    silences.close()


def test_an_update_that_changes_history_makes_a_new_silence(path: Path, clock: VirtualClock) -> None:
    silences = opened(path, clock)
    first = silences.set(silence(0, 100))
    longer = silences.set(silence(0, 200, id=first.id))
    assert longer.id == first.id
    clock.run_until(NOW + 5)
    other = silences.set(silence(0, 200, id=first.id, c="d"))
    assert other.id != first.id
    assert silences.get(first.id).ends_at == NOW + 5
    assert other.starts_at == NOW + 5
    with pytest.raises(SilenceNotFound, match="silence not found"):
        silences.set(silence(0, 1, id="nope"))
    silences.close()


def test_expiring_a_pending_silence_leaves_nothing_to_come(path: Path, clock: VirtualClock) -> None:
    silences = opened(path, clock)
    made = silences.set(silence(50, 100))
    silences.expire(made.id)
    assert silences.get(made.id).state(NOW + 1) == "expired"
    clock.run_until(NOW + 2)
    silences.expire(made.id)  # it may be told twice
    assert silences.get(made.id).ends_at == NOW
    silences.close()


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        (Silence((), NOW, NOW + 1), "at least one matcher required"),
        (Silence((SilenceMatcher("a", "", False),), NOW, NOW + 1), "at least one matcher must not match the empty string"),
        (Silence((SilenceMatcher("a", ".*", True),), NOW, NOW + 1), "at least one matcher must not match the empty string"),
        (Silence((SilenceMatcher("a", "(", True),), NOW, NOW + 1), "invalid label matcher 0: invalid regular expression"),
        (Silence((SilenceMatcher("", "x", False),), NOW, NOW + 1), 'invalid label name ""'),
        (silence(5, 1), "end time must not be before start time"),
    ],
)  # fmt: skip
def test_refuses_with_upstreams_text(path: Path, clock: VirtualClock, broken: Silence, message: str) -> None:
    silences = opened(path, clock)
    with pytest.raises(ValueError, match=message.replace("(", r"\(")):
        silences.set(broken)
    silences.close()


def test_limits(path: Path, clock: VirtualClock) -> None:
    silences = opened(path, clock, count_max=1, bytes_max=400)
    with pytest.raises(ValueError, match=r"silence exceeded maximum size: \d+ bytes \(limit: 400 bytes\)"):
        silences.set(silence(0, 1, a="x" * 1000))
    silences.set(silence(0, 1))
    with pytest.raises(ValueError, match=r"exceeded maximum number of silences: 1 \(limit: 1\)"):
        silences.set(silence(0, 1))
    silences.close()


def test_everything_acknowledged_is_there_after_a_crash(path: Path, clock: VirtualClock) -> None:
    before = opened(path, clock)
    made = [before.set(silence(0, 100 + i)) for i in range(5)]
    before.expire(made[0].id)
    # No close: the process is gone. Half a record and a damaged one are left behind.
    content = path.read_bytes()
    path.write_bytes(content.replace(b"101", b"999", 1) + b"0badc0de {half")
    after = opened(path, clock)
    assert len(after) == 5 - (b"101" in content)
    assert after.damaged == (b"101" in content)
    after.set(silence(0, 500))
    again = opened(path, clock)
    assert {s.id for s in again.all()} == {s.id for s in after.all()}
    for store in (before, after, again):
        store.close()


def test_retention_removes_and_compacts(path: Path, clock: VirtualClock) -> None:
    silences = opened(path, clock)
    for _ in range(20):
        made = silences.set(silence(0, 100))
        silences.expire(made.id)
    size = silences.size
    clock.run_until(NOW + 3601)
    assert silences.collect() == 20
    assert silences.size == 0 < size
    silences.close()


def test_a_full_disk_is_reported_and_nothing_is_half_written(path: Path) -> None:
    log = StateLog(path)
    log.load()
    log.append({"n": 1}, durable=True)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    import signal

    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (log.size + 7, hard))
    try:
        with pytest.raises(OSError):
            log.append({"n": 2, "much": "x" * 1000}, durable=True)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, before)
    log.append({"n": 3}, durable=True)
    log.close()
    again = StateLog(path)
    assert again.load() == [{"n": 1}, {"n": 3}]
    assert again.damaged == 0


def test_the_notification_log_survives_and_forgets(tmp_path: Path) -> None:
    path = tmp_path / "nflog"
    log = NotificationLog(path, 1000)
    log.record("k", Standing(frozenset("a"), frozenset("b")), 0.0, 10.0)
    log.record("l", Standing(frozenset("a"), frozenset()), 0.0, 10_000.0)
    after = NotificationLog(path, 1000)
    entry = after.query("k", 19.0)
    assert entry is not None
    assert entry.firing == {"a"}
    assert after.query("k", 20.0) is None, "kept for twice the repeat interval"
    assert after.collect(20.0) == 1
    assert after.query("l", 999.0) is not None
    assert after.collect(1000.0) == 1, "at most for the retention"
    log.close()
    after.close()


def test_records_of_another_kind_are_passed_over(path: Path, clock: VirtualClock) -> None:
    log = StateLog(path)
    log.load()
    log.append({"what": "is this"}, durable=False)
    log.append(
        msgspec.to_builtins(silence(0, 10, id="x")) | {"matchers": [["a", "(", True, True]]}, durable=False
    )
    log.close()
    silences = opened(path, clock)
    assert (len(silences), silences.damaged) == (0, 2)
    silences.close()
