"""Dashboards that a rehearsal names are looked at before anything starts; its targets carry the usual names."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from wavetank.errors import InputError
from wavetank.rehearsal.outcome.dashboards import check_dashboards
from wavetank.rehearsal.scrape import internal_targets, monitoring_config
from wavetank.rehearsal.settings import Addresses
from wavetank.rehearsal.spec import Monitoring
from wavetank.yamlfile import Document, load_documents


@pytest.fixture
def spec(tmp_path: Path) -> Document:
    path = tmp_path / "rehearsal.yaml"
    path.write_text("spec:\n  monitoring:\n    dashboards: [a, b]\n")
    return load_documents(path)[0]


def test_files_folders_and_those_that_ship_are_right(tmp_path: Path, spec: Document) -> None:
    (tmp_path / "boards").mkdir()
    (tmp_path / "boards" / "one.json").write_text(
        json.dumps({"title": "One", "schemaVersion": 42, "panels": []})
    )
    check_dashboards(tmp_path, ["boards", "boards/one.json", "wavetank-rehearsal"], spec)


@pytest.mark.parametrize(
    ("name", "text", "why"),
    [
        ("none.json", None, "no such dashboard"),
        ("bad.json", "{", "bad.json"),
        ("empty", "folder", "no dashboard in"),
    ],
)
def test_what_is_wrong_has_its_place(
    tmp_path: Path, spec: Document, name: str, text: str | None, why: str
) -> None:
    if text == "folder":
        (tmp_path / name).mkdir()
    elif text is not None:
        (tmp_path / name).write_text(text)
    with pytest.raises(InputError, match=why) as caught:
        check_dashboards(tmp_path, [name], spec)
    assert "rehearsal.yaml:3" in str(caught.value)


def test_dashboards_of_the_field_find_the_jobs_they_ask_for(tmp_path: Path) -> None:
    targets = internal_targets(Addresses(20), "127.20.0.1:8080", 1)
    made = yaml.safe_load(monitoring_config(tmp_path, Monitoring(), targets, tmp_path, "5s"))
    labels = {
        job["job_name"]: {
            r["target_label"]: r["replacement"] for r in job["relabel_configs"] if "replacement" in r
        }
        for job in made["scrape_configs"]
    }
    assert labels["wavetank/kube-state"] == {"job": "kube-state-metrics"}
    assert labels["wavetank/cadvisor"] == {"job": "kubelet", "metrics_path": "/metrics/cadvisor"}
