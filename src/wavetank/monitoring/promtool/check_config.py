"""Checking configurations: ``promtool check config``. Mirrors checkConfig of cmd/promtool/main.go.

Beyond upstream, a CA or password file that is not there is warned of.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from wavetank.errors import InputError
from wavetank.model.duration import format_duration
from wavetank.monitoring.config import Config, ScrapeConfig, load_config
from wavetank.monitoring.config.check import check_agent
from wavetank.monitoring.config.discovery import FileSD
from wavetank.monitoring.config.http import HTTPClientConfig
from wavetank.monitoring.config.load import expand_glob
from wavetank.monitoring.config.model import AlertmanagerConfig
from wavetank.monitoring.discovery.files import read_groups
from wavetank.monitoring.discovery.group import TargetGroup
from wavetank.monitoring.promtool.check_rules import check_rules
from wavetank.monitoring.promtool.report import Lint, Report
from wavetank.monitoring.relabel import Relabeling
from wavetank.monitoring.scrape.target import make_targets
from wavetank.promql.options import ParserOptions

__all__ = ["check_config"]


def check_config(
    report: Report, path: Path, lint: Lint, options: ParserOptions, *, syntax_only: bool, agent: bool
) -> None:
    """A configuration, the files it names, and its rule files."""
    report.say(f"Checking {path}")
    scrapes: Sequence[ScrapeConfig] = ()
    rules: list[Path] = []
    legacy = False
    try:
        config = load_config(path)
        if agent:
            check_agent(config)
        legacy = config.globals.metric_name_validation_scheme == "legacy"
        found = [] if syntax_only else _rule_paths(config)
        for text in _warnings(config, syntax_only):
            report.say(f"  WARNING: {text}")
    except InputError as error:
        report.fail(f"  FAILED: {error}")
    else:
        scrapes, rules = config.scrape_configs, found
        if rules:
            report.say(f"  SUCCESS: {len(rules)} rule files found")
        report.say(f" SUCCESS: {path} is valid prometheus config file syntax")
    report.say("")
    if not syntax_only:
        _lint_intervals(report, scrapes, lint)
        check_rules(report, rules, lint, options, legacy=legacy)


def _lint_intervals(report: Report, scrapes: Sequence[ScrapeConfig], lint: Lint) -> None:
    for scrape in scrapes:
        if lint.lookback_ms and scrape.scrape_interval >= lint.lookback_ms:
            report.fail(
                "  FAILED: too long scrape interval found, data point will be marked as stale - "
                f"job: {scrape.job_name}, interval: {format_duration(scrape.scrape_interval)}",
                lint=True,
            )
            return


def _rule_paths(config: Config) -> list[Path]:
    found: list[Path] = []
    for pattern in config.rule_files:
        paths = expand_glob(Path(pattern))
        if not paths and "*" not in pattern:
            raise InputError(f'"{pattern}" does not point to an existing file')
        found += paths
    return found


def _warnings(config: Config, syntax_only: bool) -> Iterator[str]:
    """Checks what the configuration names. Raises InputError; what may come later is only warned of."""
    for scrape in config.scrape_configs:
        if not syntax_only:
            yield from _check_files(scrape)
        for kubernetes in scrape.kubernetes_sd_configs if not syntax_only else ():
            yield from _check_files(kubernetes)
        _check_targets(scrape, _static(scrape))
        if not syntax_only:
            groups, missing = _from_files(scrape.file_sd_configs)
            _check_targets(scrape, groups)
            for name in missing:
                yield f'file "{name}" for file_sd in scrape job "{scrape.job_name}" does not exist'
    for manager in config.alerting.alertmanagers:
        _check_alertmanagers(manager, _static(manager))
        if not syntax_only:
            groups, missing = _from_files(manager.file_sd_configs)
            _check_alertmanagers(manager, groups)
            for name in missing:
                yield f'file "{name}" for file_sd in alertmanager config does not exist'


def _static(section: ScrapeConfig | AlertmanagerConfig) -> list[TargetGroup]:
    return [
        TargetGroup(str(i), [{"__address__": target} for target in config.targets], config.labels)
        for i, config in enumerate(section.static_configs)
    ]


def _from_files(configs: Sequence[FileSD]) -> tuple[list[TargetGroup], list[str]]:
    """The groups of the files that are there, and the patterns that match none. Raises InputError."""
    groups: list[TargetGroup] = []
    missing: list[str] = []
    for pattern in [name for config in configs for name in config.files]:
        names = sorted(Path(pattern).parent.glob(Path(pattern).name))
        if not names:
            missing.append(pattern)
        for name in names:
            try:
                groups += read_groups(name)
            except InputError as error:
                raise InputError(f'checking SD file "{pattern}": {error}') from None
    return groups, missing


def _check_targets(config: ScrapeConfig, groups: Sequence[TargetGroup]) -> None:
    errors = make_targets(config, groups).errors
    if errors:
        raise InputError(errors[0])


def _check_alertmanagers(config: AlertmanagerConfig, groups: Sequence[TargetGroup]) -> None:
    relabeling = Relabeling(config.relabel_configs)
    for group in groups:
        for own in group.targets:
            kept = relabeling({"__scheme__": config.scheme, **group.labels, **own})
            address = "" if kept is None else kept.get("__address__", "")
            if "/" in address:
                raise InputError(f'"{address}" is not a valid hostname')


def _check_files(http: HTTPClientConfig) -> Iterator[str]:
    """Credentials, certificate and key have to be there; what else is missing comes out."""
    credentials = http.authorization.credentials_file if http.authorization is not None else ""
    tls = http.tls_config
    for what, name in (
        ("authorization credentials or bearer token file", http.bearer_token_file or credentials),
        ("client cert file", tls.cert_file),
        ("client key file", tls.key_file),
    ):
        if name and not Path(name).exists():
            raise InputError(f'error checking {what} "{name}": stat {name}: no such file or directory')
    password = http.basic_auth.password_file if http.basic_auth is not None else ""
    for what, name in (("CA file", tls.ca_file), ("basic auth password file", password)):
        if name and not Path(name).exists():
            yield f'{what} "{name}" does not exist'
