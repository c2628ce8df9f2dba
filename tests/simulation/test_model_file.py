"""``model.yaml``: what it means, and that impossible models are errors with the line and the nearest key."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from wavetank.errors import InputError
from wavetank.simulation.distributions import Distribution
from wavetank.simulation.model import load_models
from wavetank.simulation.stream import Stream

HEAD = "apiVersion: wavetank.dev/v1\nkind: Model\nservices:\n  web:\n"


def written(directory: Path, body: str) -> Path:
    (directory / "model.yaml").write_text(HEAD + "".join(f"    {line}\n" for line in body.splitlines()))
    return directory


def test_without_a_file_all_is_assumed_and_said(tmp_path: Path) -> None:
    models = load_models(tmp_path, ("web",))
    assert models.of("web").concurrency == 1
    assert "assumed" in models.origins[0][1]


def test_what_is_written_counts_and_the_rest_is_assumed(tmp_path: Path) -> None:
    body = "cpuPerRequest: 5ms\nserviceTime: {distribution: gamma, mean: 20ms, cv: 0.5}\n"
    models = load_models(written(tmp_path, body + "concurrency: {workers: 2, threads: 4}"), ("web",))
    model = models.of("web")
    assert (model.concurrency, model.cores) == (8, 2.0)
    assert model.cpu_per_request == pytest.approx(0.005)
    assert model.capacity(0.0) == pytest.approx(400.0)
    assert model.capacity(0.5) == pytest.approx(100.0)
    shown = dict(models.origins)
    assert "given in model.yaml" in shown["web: cpuPerRequest"]
    assert "assumed" in shown["web: startup"]


def test_a_rehearsals_model_is_taken_where_there_is_no_own_one(tmp_path: Path) -> None:
    (tmp_path / "report").mkdir()
    written(tmp_path / "report", "cpuPerRequest: 5ms").joinpath("model.yaml").write_text(
        HEAD + "    cpuPerRequest: 5ms\nmeasured: {web.cpuPerRequest: two loads}\n"
    )
    shown = dict(load_models(tmp_path, ("web",)).origins)
    assert "measured: two loads" in shown["web: cpuPerRequest"]


REFUSED = (
    ("cpuPerReqest: 5ms", ":5:", "cpuPerRequest"),
    ("cpuPerRequest: 50ms", ":5:", "do not fit"),
    ("serviceTime: {mean: -1}", ":5:", "not possible"),
    ("serviceTime: {mean: soon}", ":5:", "not a duration"),
    ("serviceTime: {distribution: lognormal, mean: 5ms}", ":5:", "needs p99"),
    ("serviceTime: {distribution: lognormal, mean: 5ms, p99: 5s}", ":5:", "no lognormal"),
    ("serviceTime: {distribution: weibull}", ":5:", "weibull"),
    ('serviceTime: {distribution: empirical, quantiles: {"0.5": 9ms, "0.9": 4ms}}', ":5:", "rise"),
    ('serviceTime: {distribution: empirical, quantiles: {"2": 9ms}}', ":5:", "between 0 and 1"),
    ("concurrency: {workers: 0}", ":5:", "not possible"),
    ("concurrency: {workers: 2, async: true}", ":5:", "not both"),
    ("memory: {base: lots}", ":5:", "not a quantity"),
    ("warmup: {factor: 0.5}", ":5:", "at least 1"),
    ("startup: {cpu: -2}", ":5:", "not possible"),
    ("crashesPerHour: -1", ":5:", "not possible"),
)


@pytest.mark.parametrize(("body", "place", "message"), REFUSED)
def test_impossible_models_name_the_line(tmp_path: Path, body: str, place: str, message: str) -> None:
    with pytest.raises(InputError) as raised:
        load_models(written(tmp_path, body), ("web",))
    text = str(raised.value)
    assert place in text
    assert message in text


def test_a_model_of_nobody_names_the_nearest_workload(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="webb"):
        load_models(written(tmp_path, "cpuPerRequest: 5ms"), ("webb",))


@pytest.mark.parametrize(
    ("distribution", "mean", "p99"),
    [
        (Distribution.constant(0.01), 0.01, 0.01),
        (Distribution.exponential(0.01), 0.01, 0.04605),
        (Distribution.lognormal(0.01, 0.05), 0.01, 0.05),
        (Distribution.gamma(0.01, 0.5), 0.01, 0.02511),
        (Distribution.empirical(((0.0, 0.0), (1.0, 0.02))), 0.01, 0.0198),
    ],
)
def test_draws_have_the_mean_and_the_tail_they_should(
    distribution: Distribution, mean: float, p99: float
) -> None:
    drawn = np.zeros(40_000)
    distribution.fill(drawn, Stream(1, "test"))
    assert drawn.mean() == pytest.approx(mean, rel=0.02)
    assert np.quantile(drawn, 0.99) == pytest.approx(p99, rel=0.05)
