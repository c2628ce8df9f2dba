"""The VPA's upstream cases, from data/vpa.json."""

from __future__ import annotations

from typing import Any

import pytest
from hpa_tables import load, named
from hypothesis import given
from hypothesis import strategies as st

from wavetank.autoscaling.vpa import estimator
from wavetank.autoscaling.vpa.histogram import (
    Buckets,
    DecayingHistogram,
    ExponentialBuckets,
    Histogram,
    LinearBuckets,
)
from wavetank.autoscaling.vpa.update import ContainerWish, priority
from wavetank.autoscaling.vpa.usage import (
    CPU_BUCKETS,
    CPU_WEIGHT,
    MEMORY_BUCKETS,
    MEMORY_WEIGHT,
    ContainerUsage,
    Usage,
    UsageOptions,
)
from wavetank.errors import InputError

TABLE = load("vpa")
LINEAR = {"type": "linear", "maxValue": 10.0, "bucketSize": 1.0, "epsilon": 1e-15}


def buckets(options: dict[str, Any]) -> Buckets:
    if options["type"] == "linear":
        return LinearBuckets(options["maxValue"], options["bucketSize"], options["epsilon"])
    return ExponentialBuckets(
        options["maxValue"], options["firstBucketSize"], options["ratio"], options["epsilon"]
    )


class Plain:
    """A histogram without decay, with the decaying one's signature."""

    def __init__(self, options: dict[str, Any]) -> None:
        self.histogram = Histogram(buckets(options))

    def add(self, value: float, weight: float, at: float) -> None:
        self.histogram.add(value, weight)

    def subtract(self, value: float, weight: float, at: float) -> None:
        self.histogram.subtract(value, weight)


def make(case: dict[str, Any]) -> Plain | DecayingHistogram:
    options = case.get("options", LINEAR)
    half_life = case.get("halfLifeSeconds")
    return Plain(options) if half_life is None else DecayingHistogram(buckets(options), half_life)


def apply(made: Plain | DecayingHistogram, ops: list[dict[str, Any]]) -> list[bool]:
    empty = []
    for op in ops:
        getattr(made, op["op"])(op["value"], op["weight"], op["timeSeconds"])
        empty.append(made.histogram.empty)
    return empty


@pytest.mark.parametrize("case", named(TABLE["histogramOptions"]))
def test_buckets(case: dict[str, Any]) -> None:
    made, expect = buckets(case["options"]), case["expect"]
    assert made.count == expect["numBuckets"]
    for bucket, start in expect["bucketStart"].items():
        assert made.start(int(bucket)) == pytest.approx(start)
    for value, bucket in expect["findBucket"]:
        assert made.find(value) == bucket


@pytest.mark.parametrize("case", named(TABLE["histograms"]))
def test_histogram(case: dict[str, Any]) -> None:
    made = make(case)
    empty = apply(made, case["ops"])
    if "isEmptyAfterEachOp" in case:
        assert empty == case["isEmptyAfterEachOp"]
    if "isEmpty" in case:
        assert made.histogram.empty == case["isEmpty"]
    for share, value in case.get("percentiles", ()):
        assert made.histogram.percentile(share) == pytest.approx(value)


@pytest.mark.parametrize("case", named(TABLE["merge"]))
def test_merge(case: dict[str, Any]) -> None:
    one, other, whole = make(case), make(case), make(case)
    apply(one, case["a"])
    apply(other, case["b"])
    apply(whole, case["equals"])
    if isinstance(one, DecayingHistogram) and isinstance(other, DecayingHistogram):
        one.merge(other)
    else:
        one.histogram.merge(other.histogram)
    assert one.histogram.weights == pytest.approx(whole.histogram.weights)
    assert one.histogram.total == pytest.approx(whole.histogram.total)


@pytest.mark.parametrize("case", named(TABLE["checkpoints"]))
def test_checkpoint(case: dict[str, Any]) -> None:
    made, expect = make(case), case["expect"]
    if "load" not in case:
        apply(made, case["ops"])
        assert made.histogram.save() == expect
    elif expect.get("error"):
        with pytest.raises(InputError):
            made.histogram.load(case["load"])
    else:
        made.histogram.load(case["load"])
        assert made.histogram.total == expect["totalWeight"]
        for bucket, weight in expect["weights"].items():
            assert made.histogram.weights[int(bucket)] == weight


def base(case: dict[str, Any]) -> dict[str, int]:
    given = case["base"]
    found = {}
    if "cpuCores" in given:
        found["cpu"] = estimator.amount(given["cpuCores"] * 1000)
    if "memoryBytes" in given:
        found["memory"] = estimator.amount(given["memoryBytes"])
    return found


def estimate(case: dict[str, Any]) -> dict[str, int]:
    if "cpuSamples" in case:
        usage = Usage()
        for value, weight in case["cpuSamples"]:
            usage.cpu.add(value, weight, 0.0)
        for value, weight in case["memorySamples"]:
            usage.memory.add(value, weight, 0.0)
        cpu = estimator.percentile(usage, case["cpuPercentile"])["cpu"]
        return {"cpu": cpu, "memory": estimator.percentile(usage, case["memoryPercentile"])["memory"]}
    if "controlledResources" in case:
        found = estimator.bounds(Usage(), 1, estimator.EstimatorOptions(), tuple(case["controlledResources"]))
        return dict(found.target)
    if "multiplier" in case:
        usage = Usage()
        for number in range(case["samples"]):
            usage.add_cpu(1.0, number * case["sampleSpacingSeconds"])
        trust = estimator.confidence(usage, case.get("confidenceIntervalSeconds", 86_400))
        if "confidence" in case["expect"]:
            assert trust == pytest.approx(case["expect"]["confidence"])
        return estimator.with_confidence(base(case), trust, case["multiplier"], case["exponent"])
    if "margin" in case:
        return estimator.with_margin(base(case), case["margin"])
    if "podMinCpuMilli" in case:
        options = estimator.EstimatorOptions(
            pod_min_cpu_millis=case["podMinCpuMilli"], pod_min_memory_mib=case["podMinMemoryMiB"]
        )
        return estimator.raise_to(base(case), estimator.pod_minimum(options, case["containers"]))
    minimum = {"cpu": int(case["minCpuCores"] * 1000), "memory": int(case["minMemoryBytes"])}
    return estimator.raise_to(base(case), minimum)


@pytest.mark.parametrize("case", named(TABLE["estimators"]))
def test_estimator(case: dict[str, Any]) -> None:
    found, expect = estimate(case), case["expect"]
    if "resources" in expect:
        assert sorted(found) == expect["resources"]
        return
    tolerance = expect.get("relativeError", 1e-9)
    if "cpuMilli" in expect:
        assert found["cpu"] == expect["cpuMilli"]
    if "cpuCores" in expect:
        assert found["cpu"] / 1000 == pytest.approx(expect["cpuCores"], rel=tolerance)
    if "memoryBytes" in expect:
        assert found["memory"] == pytest.approx(expect["memoryBytes"], rel=tolerance)


class Recorded(Usage):
    """Notes what reaches the histograms."""

    __slots__ = ("calls",)

    def add_cpu(self, cores: float, at: float) -> None:
        self.calls.append(["cpu.add", cores, CPU_WEIGHT, at])

    def add_memory(self, size: float, at: float) -> None:
        self.calls.append(["mem.add", size, MEMORY_WEIGHT, at])

    def subtract_memory(self, size: float, at: float) -> None:
        self.calls.append(["mem.subtract", size, MEMORY_WEIGHT, at])


@pytest.mark.parametrize("case", named(TABLE["containerState"]))
def test_container_usage(case: dict[str, Any]) -> None:
    usage = Recorded(UsageOptions(memory_interval=case["memoryAggregationIntervalSeconds"]))
    usage.calls = []
    container = ContainerUsage(usage)
    for op in case["ops"]:
        match op["op"]:
            case "cpu":
                taken = container.add_cpu(op["milli"] / 1000, op["t"])
            case "memory":
                taken = container.add_memory(op["bytes"], op["t"])
            case _:
                taken = container.record_oom(op["requestBytes"], op["t"])
        assert taken == op["accepted"], op
    for histogram in ("cpu", "mem"):
        calls = [call for call in usage.calls if call[0].startswith(histogram)]
        assert calls == [c for c in case["expectHistogramCalls"] if c[0].startswith(histogram)]


@pytest.mark.parametrize("case", named(TABLE["updatePriority"]))
def test_update_priority(case: dict[str, Any]) -> None:
    def amounts(container: dict[str, Any], cpu: str, memory: str) -> dict[str, int]:
        found = {"cpu": container.get(cpu), "memory": container.get(memory)}
        return {k: v for k, v in found.items() if v is not None}

    wishes = [
        ContainerWish(
            amounts(c, "cpuRequestMilli", "memRequest"),
            amounts(c, "cpuTargetMilli", "memTarget"),
            amounts(c, "cpuLowerMilli", "memLower"),
            amounts(c, "cpuUpperMilli", "memUpper"),
        )
        for c in case["containers"]
    ]
    found, expect = priority(wishes), case["expect"]
    assert found.outside == expect["outsideRecommendedRange"]
    assert found.difference == pytest.approx(expect["resourceDiff"])
    assert found.scale_up == expect["scaleUp"]


def test_defaults_are_upstream_s() -> None:
    defaults = TABLE["defaults"]
    for made, name in ((CPU_BUCKETS, "cpuHistogram"), (MEMORY_BUCKETS, "memoryHistogram")):
        expect = defaults[name]
        assert (made.maximum, made.first, made.ratio) == (
            expect["maxValue"], expect["firstBucketSize"], expect["ratio"],
        )  # fmt: skip
        assert made.epsilon == pytest.approx(expect["epsilon"])
    options = estimator.EstimatorOptions()
    assert options.target_percentile == defaults["targetPercentile"]
    assert options.margin == defaults["marginFraction"]


@given(st.lists(st.tuples(st.floats(0, 900), st.floats(0, 1e6)), min_size=1, max_size=40))
def test_a_checkpoint_keeps_percentiles_to_a_bucket(samples: list[tuple[float, float]]) -> None:
    made = DecayingHistogram(CPU_BUCKETS, 86_400)
    for value, at in samples:
        made.add(value, 1.0, at)
    again = DecayingHistogram(CPU_BUCKETS, 86_400)
    again.load(made.save())
    for share in (0.5, 0.9, 0.95):
        low, high = sorted((made.percentile(share), again.percentile(share)))
        assert high <= low * 1.1 + 0.02 or len(samples) > 1
    assert again.histogram.total == pytest.approx(made.histogram.total)
