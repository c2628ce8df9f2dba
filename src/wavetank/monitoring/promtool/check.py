"""Checking configurations, rule files and expositions.

Mirrors checkConfig, checkRules and checkMetrics of cmd/promtool/main.go, and client_golang's promlint.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from wavetank.errors import InputError
from wavetank.exposition import parse
from wavetank.exposition.samples import Metadata
from wavetank.model.duration import format_duration
from wavetank.monitoring.config import Config, load_config
from wavetank.monitoring.config.discovery import SDConfigs
from wavetank.monitoring.config.http import HTTPClientConfig
from wavetank.monitoring.config.load import expand_glob
from wavetank.monitoring.discovery.files import read_groups
from wavetank.monitoring.rules.file import RuleFile, check_rule_documents
from wavetank.promql.options import ParserOptions
from wavetank.yamlfile import load_documents

__all__ = ["Report", "check_config", "check_metrics", "check_rules"]

_LOOKBACK_MS: Final = 300_000
_SUFFIXES: Final = ("_total", "_sum", "_count", "_bucket", "_info")
_ABBREVIATED: Final = ("s", "ms", "us", "ns", "sec", "b", "kb", "mb", "gb", "tb", "pb", "m", "h", "d")


@dataclass(slots=True)
class Report:
    """Lines to print, errors, and complaints of the linter."""

    lines: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    lints: list[str] = field(default_factory=list)


def check_config(path: Path, *, syntax_only: bool, options: ParserOptions, lint: bool) -> Report:
    """A configuration, the files it names, and its rule files."""
    report = Report([f"Checking {path}"])
    try:
        config = load_config(path)
        rules = _rule_paths(config, path)
        if not syntax_only:
            _check_files(config)
    except InputError as error:
        report.lines.append(f"  FAILED: {error}")
        report.errors.append(str(error))
        return report
    if lint:
        for scrape in config.scrape_configs:
            if scrape.scrape_interval >= _LOOKBACK_MS:
                report.lints.append(
                    f"  FAILED: too long scrape interval found: job {scrape.job_name!r} is scraped every "
                    f"{format_duration(scrape.scrape_interval)}, which is longer than the lookback delta"
                )
    if rules:
        report.lines.append(f"  SUCCESS: {len(rules)} rule files found")
    report.lines.append(f" SUCCESS: {path} is valid prometheus config file syntax\n")
    if rules and not syntax_only:
        legacy = config.globals.metric_name_validation_scheme == "legacy"
        found = check_rules(rules, options=options, lint=lint, legacy=legacy)
        report.lines += found.lines
        report.errors += found.errors
        report.lints += found.lints
    return report


def _rule_paths(config: Config, path: Path) -> list[Path]:
    found: list[Path] = []
    for pattern in map(Path, config.rule_files):
        paths = expand_glob(pattern)
        if not paths and not any(sign in pattern.name for sign in "*?["):
            raise InputError(f'"{pattern}" does not point to an existing file', at=path)
        found += paths
    return found


def _check_files(config: Config) -> None:
    """That the files a configuration names are there and can be read."""
    sections: list[SDConfigs] = [*config.scrape_configs, *config.alerting.alertmanagers]
    for section in sections:
        _check_http_files(section)
        for http in (*section.http_sd_configs, *section.consul_sd_configs):
            _check_http_files(http)
        for kubernetes in section.kubernetes_sd_configs:
            _check_http_files(kubernetes)
        for files in section.file_sd_configs:
            for pattern in map(Path, files.files):
                for path in sorted(pattern.parent.glob(pattern.name)):
                    read_groups(path)


def _check_http_files(http: HTTPClientConfig) -> None:
    named = [
        ("authorization credentials or bearer token file", http.bearer_token_file),
        ("CA file", http.tls_config.ca_file),
        ("client cert file", http.tls_config.cert_file),
        ("client key file", http.tls_config.key_file),
    ]
    if http.authorization is not None:
        named.append(("authorization credentials or bearer token file", http.authorization.credentials_file))
    if http.basic_auth is not None:
        named.append(("basic auth password file", http.basic_auth.password_file))
    for what, name in named:
        if name and not Path(name).exists():
            raise InputError(f'error checking {what} "{name}": no such file or directory')


def check_rules(paths: Sequence[Path], *, options: ParserOptions, lint: bool, legacy: bool = False) -> Report:
    """Rule files; all that is wrong with each."""
    report = Report()
    for path in paths:
        report.lines.append(f"Checking {path}")
        try:
            rules, errors = check_rule_documents(load_documents(path), legacy, options)
        except InputError as error:
            rules, errors = RuleFile(), [error]
        if errors:
            report.lines.append("  FAILED:\n" + "\n".join(str(error) for error in errors))
            report.errors += map(str, errors)
            continue
        count = sum(len(group.rules) for group in rules.groups)
        duplicates = _duplicates(rules) if lint else []
        if duplicates:
            report.lines.append(f"{len(duplicates)} duplicate rule(s) found.")
            report.lines += duplicates
            report.lines.append("Might cause inconsistency while recording expressions")
            report.lints += duplicates
        report.lines.append(f"  SUCCESS: {count} rules found\n")
    return report


def _duplicates(rules: RuleFile) -> list[str]:
    seen: set[tuple[str, tuple[tuple[str, str], ...]]] = set()
    shown = []
    for group in rules.groups:
        for rule in group.rules:
            labels = tuple(sorted({**group.labels, **rule.labels}.items()))
            if (rule.name, labels) in seen:
                pairs = "".join(f"\n\t{name}: {value}" for name, value in labels)
                shown.append(f"Metric: {rule.name}\nLabel(s):{pairs}")
            seen.add((rule.name, labels))
    return shown


def check_metrics(body: bytes) -> Report:
    """An exposition in text format: that it parses, and what promlint says of it."""
    report = Report()
    try:
        samples = parse(body, "text/plain; version=0.0.4", default_timestamp_ms=0)
    except InputError as error:
        report.errors.append(f"error while linting: {error}")
        return report
    names = {labels.name for labels in samples.labels}
    families = dict(samples.metadata)
    for name in names:
        base = next((name.removesuffix(s) for s in _SUFFIXES if name.removesuffix(s) in families), name)
        if name not in families and base not in families:
            families[name] = Metadata()
    for name in sorted(families):
        report.lints += [f"{name} {problem}" for problem in _lint(name, families[name])]
    return report


def _lint(name: str, entry: Metadata) -> Iterable[str]:
    if not entry.help:
        yield "no help text"
    if entry.type == "counter" and not name.endswith("_total"):
        yield 'counter metrics should have "_total" suffix'
    if entry.type not in ("counter", "unknown") and name.endswith("_total"):
        yield 'non-counter metrics should not have "_total" suffix'
    if entry.type not in ("histogram", "unknown") and name.endswith("_bucket"):
        yield 'non-histogram metrics should not have "_bucket" suffix'
    if entry.type not in ("histogram", "summary", "unknown"):
        for suffix in ("_count", "_sum"):
            if name.endswith(suffix):
                yield f'non-histogram and non-summary metrics should not have "{suffix}" suffix'
    if any(letter.isupper() for letter in name) and "_" not in name:
        yield "metric names should be written in 'snake_case' not 'camelCase'"
    if ":" in name:
        yield "metric names should not contain ':'"
    if any(part in _ABBREVIATED for part in name.split("_")[1:]):
        yield "metric names should not contain abbreviated units"
    if entry.type in ("gauge", "counter", "histogram", "summary") and f"_{entry.type}" in name:
        yield f"metric name should not include type '{entry.type}'"
