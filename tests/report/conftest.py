from __future__ import annotations

from pathlib import Path

import pytest

from wavetank.rehearsal.report import Report, decode

DATA = Path(__file__).with_name("data")


@pytest.fixture(scope="session")
def example() -> Report:
    return decode((DATA / "example.json").read_bytes())
