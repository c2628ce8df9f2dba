"""The textfile collector: metrics that other programs leave in ``*.prom`` files."""

from __future__ import annotations

import logging
from collections.abc import Container, Sequence
from dataclasses import replace
from pathlib import Path

from wavetank.exporters.families import Families
from wavetank.exposition.errors import ExpositionError
from wavetank.exposition.render import MetricFamily, Sample
from wavetank.limits import NODE_TEXTFILE_BYTES_MAX
from wavetank.model.labels import METRIC_NAME

__all__ = ["textfile"]

_LOG = logging.getLogger(__name__)
_SUFFIXES = ("_bucket", "_sum", "_count")


def textfile(found: Families, directories: Sequence[str]) -> list[MetricFamily]:
    """The files' families. A file that does not parse or has timestamps is left out whole, a family whose
    help or type contradicts an earlier file's by itself; both are logged and counted as an error."""
    families: dict[str, MetricFamily] = {}
    files: dict[str, list[str]] = {}
    failed = False
    for path in _files(directories):
        try:
            read = _read(path)
            at = path.stat().st_mtime
        except (OSError, ValueError, ExpositionError) as error:
            _LOG.error("failed to collect textfile data from %s: %s", path, error)
            failed = True
            continue
        found.gauge("node_textfile_mtime_seconds", {"file": str(path)}, at)
        for family in read:
            files.setdefault(family.name, []).append(str(path))
            before = families.setdefault(family.name, family)
            if before is family:
                continue
            if contradiction := _contradiction(before, family):
                _LOG.error("inconsistent metric %s of %s in %s", contradiction, family.name, path)
                failed = True
                continue
            samples = [*before.samples, *family.samples]
            families[family.name] = replace(before, help=before.help or family.help, samples=samples)
    found.gauge("node_textfile_scrape_error", {}, failed)
    return [
        family if family.help else replace(family, help=f"Metric read from {', '.join(files[family.name])}")
        for family in families.values()
    ]


def _contradiction(a: MetricFamily, b: MetricFamily) -> str:
    if a.help and b.help and a.help != b.help:
        return "help text"
    return "type" if a.type != b.type else ""


def _files(directories: Sequence[str]) -> list[Path]:
    """All files of the folders that the patterns name."""
    found = []
    for pattern in directories:
        anchor = Path(Path(pattern).anchor or ".")
        for folder in sorted(anchor.glob(str(Path(pattern).relative_to(anchor)))):
            found += sorted(folder.glob("*.prom"))
    return found


def _read(path: Path) -> list[MetricFamily]:
    """Raises OSError, ValueError, ExpositionError."""
    # Here, because it loads NumPy, which an exporter without text files does not need.
    from wavetank.exposition.parser import parse

    if path.stat().st_size > NODE_TEXTFILE_BYTES_MAX:
        raise ValueError(f"larger than {NODE_TEXTFILE_BYTES_MAX} bytes")
    scraped = parse(path.read_bytes(), "text/plain", default_timestamp_ms=0)
    if bool(scraped.explicit.any()):
        raise ValueError("contains unsupported client-side timestamps, skipping entire file")
    samples: dict[str, list[Sample]] = {}
    for labels, value in zip(scraped.labels, scraped.values.tolist(), strict=True):
        own = {name: text for name, text in labels.pairs if name != METRIC_NAME}
        name = _family_name(labels.name, scraped.metadata)
        samples.setdefault(name, []).append(Sample(labels.name, own, value))
    found = []
    for name, members in samples.items():
        known = scraped.metadata.get(name)
        kind, text = (known.type, known.help) if known else ("unknown", "")
        found.append(MetricFamily(name, kind, text, samples=members))
    return found


def _family_name(name: str, metadata: Container[str]) -> str:
    """The family of a sample: histograms and summaries have suffixes."""
    if name in metadata:
        return name
    bases = (name.removesuffix(suffix) for suffix in _SUFFIXES if name.endswith(suffix))
    return next((base for base in bases if base in metadata), name)
