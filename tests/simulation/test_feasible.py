"""Models that cannot go with their autoscaler's target are refused; what will surprise is told."""

from __future__ import annotations

import pytest

from wavetank.errors import InputError, Location
from wavetank.simulation.distributions import Distribution
from wavetank.simulation.feasible import Target, check
from wavetank.simulation.model import PodModel

AT = Location("model.yaml", 7)


def test_idle_cpu_above_the_target_can_never_be_met() -> None:
    model = PodModel(Distribution.constant(0.01), idle_cpu=0.3)
    with pytest.raises(InputError) as raised:
        check(Target("web", 0.5, 0.5, 0.0, 4), model, AT)
    assert str(raised.value) == (
        "model.yaml:7: web: idleCpu of 0.3 cores is not below the HPA's target of 50% of 0.5 cores: it can never "
        "be met; lower idleCpu below 0.25, or raise the request or the target"
    )


@pytest.mark.parametrize(
    ("model", "target", "says"),
    [
        (PodModel(Distribution.constant(0.01)), Target("web", 0.6, 0.5, 0.0, 4, rate=100.0), ()),
        (
            PodModel(Distribution.constant(0.01)),
            Target("web", 0.6, 4.0, 0.0, 4),
            ("cannot use more than 1.002 cores each, 25% of their request; the HPA's target of 60%",),
        ),
        (
            PodModel(Distribution.constant(0.01), cores=4.0, concurrency=4),
            Target("web", 0.6, 1.0, 0.5, 4),
            ("cannot use more than 0.502 cores",),
        ),
        (
            PodModel(Distribution.constant(0.01)),
            Target("web", 0.6, 0.5, 0.0, 4, rate=500.0),
            ("the load reaches 500 requests a second, maxReplicas 4 can do 400",),
        ),
    ],
)
def test_what_will_surprise_is_told(model: PodModel, target: Target, says: tuple[str, ...]) -> None:
    told = check(target, model, AT)
    assert len(told) == len(says)
    assert all(wanted in text for wanted, text in zip(says, told, strict=True))
