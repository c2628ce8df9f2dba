"""Sizes and rates as people write them."""

from __future__ import annotations

import pytest

from wavetank.errors import InputError
from wavetank.rehearsal.image_model import image_model, parse_rate, parse_size
from wavetank.rehearsal.spec import ImagePull


@pytest.mark.parametrize(
    ("text", "size"), [("150MB", 150_000_000), ("1.5GiB", 1_610_612_736), ("10", 10), ("64Ki", 65536)]
)
def test_sizes(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize(
    ("text", "rate"), [("200Mbit", 25e6), ("1Gbit", 125e6), ("80MB/s", 80e6), ("1MiB/s", 2**20)]
)
def test_rates(text: str, rate: float) -> None:
    assert parse_rate(text) == rate


@pytest.mark.parametrize("text", ["", "fast", "80MB", "10/s/s", "-1Mbit"])
def test_what_is_not_a_rate(text: str) -> None:
    with pytest.raises(InputError, match="is not a rate"):
        parse_rate(text)


def test_the_model_says_what_it_did() -> None:
    model = image_model(ImagePull(bandwidth="400Mbit", image_sizes={"web:1": "150MB"}))
    assert model.shown == "declared sizes of 1 image(s) at 50 MB/s, not pulled"
    assert image_model(None).shown == "no size is declared, so pulling takes no time"
