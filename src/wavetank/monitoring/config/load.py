"""Loading ``prometheus.yml``: read, check, take over global values, resolve paths.

A configuration that is returned can be used as it stands: every scrape configuration carries its own
interval, timeout, limits and protocols, and every file name is absolute or relative to the caller.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, TypeVar

import msgspec

from wavetank.errors import InputError
from wavetank.monitoring.config.check import check, check_scrape_configs
from wavetank.monitoring.config.decode import decode_section
from wavetank.monitoring.config.discovery import SDConfigs
from wavetank.monitoring.config.http import http_with_paths, join_path, tls_with_paths
from wavetank.monitoring.config.model import Config, Global, ScrapeConfig, ScrapeConfigFile, Tracing
from wavetank.monitoring.config.values import Duration
from wavetank.yamlfile import Document, load_documents, parse_documents

__all__ = ["load_config", "parse_config"]

C = TypeVar("C", bound=SDConfigs)
_DEFAULT_TIMEOUT: Final = Duration(10_000)
_TEXT_PROTOCOLS: Final = [
    "OpenMetricsText1.0.0",
    "OpenMetricsText0.0.1",
    "PrometheusText1.0.0",
    "PrometheusText0.0.4",
]
_VARIABLE: Final = re.compile(r"\$(?:\$|\{([^}]*)\}|([A-Za-z_][A-Za-z0-9_]*))")


def load_config(path: Path, *, refuse_not_built_in: bool = True) -> Config:
    """The configuration in a file. Raises InputError with file, line, value and fix."""
    documents = load_documents(path)
    return _build(documents, path.parent, os.environ, refuse_not_built_in)


def parse_config(
    text: str,
    *,
    path: str = "prometheus.yml",
    base: Path | None = None,
    environment: Mapping[str, str] | None = None,
    refuse_not_built_in: bool = True,
) -> Config:
    """The configuration in a text; file names are taken relative to ``base``."""
    documents = parse_documents(text, path=path)
    env = os.environ if environment is None else environment
    return _build(documents, base or Path(), env, refuse_not_built_in)


def _build(documents: list[Document], base: Path, env: Mapping[str, str], refuse: bool) -> Config:
    if not documents:
        return _with_globals(Config(), base, env)
    document = documents[0]
    if not isinstance(document.value, dict):
        raise document.error("a configuration is a mapping of sections")
    config = decode_section(document, Config)
    check(document, config, refuse_not_built_in=refuse)
    config = _with_globals(config, base, env)
    scrapes = [_complete(s, config.globals, base, document, i) for i, s in enumerate(config.scrape_configs)]
    scrapes += _imported(config, base, refuse)
    _check_unique(document, scrapes)
    alertmanagers = [_with_paths(m, base) for m in config.alerting.alertmanagers]
    return msgspec.structs.replace(
        config,
        scrape_configs=scrapes,
        rule_files=[join_path(base, name) for name in config.rule_files],
        alerting=msgspec.structs.replace(config.alerting, alertmanagers=alertmanagers),
        remote_write=[http_with_paths(r, base) for r in config.remote_write],
        remote_read=[http_with_paths(r, base) for r in config.remote_read],
        tracing=config.tracing and _tracing_with_paths(config.tracing, base),
    )


def _tracing_with_paths(tracing: Tracing, base: Path) -> Tracing:
    return msgspec.structs.replace(tracing, tls_config=tls_with_paths(tracing.tls_config, base))


def _with_globals(config: Config, base: Path, env: Mapping[str, str]) -> Config:
    given = config.globals
    section = msgspec.structs.replace(
        given,
        scrape_interval=given.scrape_interval or Global().scrape_interval,
        evaluation_interval=given.evaluation_interval or Global().evaluation_interval,
    )
    timeout = section.scrape_timeout or min(_DEFAULT_TIMEOUT, section.scrape_interval)
    validation = section.metric_name_validation_scheme or "utf8"
    section = msgspec.structs.replace(
        section,
        scrape_timeout=timeout,
        external_labels={n: _expand(v, env) for n, v in section.external_labels.items()},
        query_log_file=join_path(base, section.query_log_file),
        scrape_failure_log_file=join_path(base, section.scrape_failure_log_file),
        metric_name_validation_scheme=validation,
        metric_name_escaping_scheme=section.metric_name_escaping_scheme or _escaping_for(validation),
    )
    return msgspec.structs.replace(config, globals=section)


def _expand(text: str, env: Mapping[str, str]) -> str:
    """``${VAR}`` and ``$VAR`` by the environment; ``$$`` is a dollar sign."""
    return _VARIABLE.sub(lambda m: "$" if m[0] == "$$" else env.get(m[1] or m[2] or "", ""), text)


def _escaping_for(validation: str) -> str:
    return "underscores" if validation == "legacy" else "allow-utf-8"


def _complete(config: ScrapeConfig, g: Global, base: Path, document: Document, index: int) -> ScrapeConfig:
    """A scrape configuration with all values it takes from ``global``."""
    changes: dict[str, Any] = {}
    interval = config.scrape_interval or g.scrape_interval
    timeout = config.scrape_timeout or min(g.scrape_timeout or _DEFAULT_TIMEOUT, interval)
    if timeout > interval:
        raise document.error(
            "scrape timeout greater than scrape interval for scrape config with job name "
            f'"{config.job_name}"',
            "scrape_configs",
            index,
            "scrape_timeout",
        )
    changes |= {"scrape_interval": interval, "scrape_timeout": timeout}
    for name in (
        "body_size_limit",
        "sample_limit",
        "target_limit",
        "label_limit",
        "label_name_length_limit",
        "label_value_length_limit",
        "keep_dropped_targets",
    ):
        changes[name] = getattr(config, name) or getattr(g, name)
    for name in (
        "scrape_native_histograms",
        "convert_classic_histograms_to_nhcb",
        "always_scrape_classic_histograms",
        "extra_scrape_metrics",
    ):
        own = getattr(config, name)
        changes[name] = getattr(g, name) if own is None else own
    failure_log = join_path(base, config.scrape_failure_log_file) or g.scrape_failure_log_file
    changes["scrape_failure_log_file"] = failure_log
    try:
        changes |= _name_schemes(config, g)
    except ValueError as error:
        raise document.error(str(error), "scrape_configs", index) from None
    protocols = config.scrape_protocols or g.scrape_protocols
    if not protocols:
        first = ["PrometheusProto"] if changes["scrape_native_histograms"] else []
        protocols = first + _TEXT_PROTOCOLS
    changes["scrape_protocols"] = protocols
    return _with_paths(msgspec.structs.replace(config, **changes), base)


def _name_schemes(config: ScrapeConfig, g: Global) -> dict[str, str]:
    """A job's own validation decides on its escaping, where that is not given. Raises ValueError."""
    own = config.metric_name_validation_scheme
    validation = own or g.metric_name_validation_scheme
    escaping = config.metric_name_escaping_scheme
    if not escaping:
        escaping = _escaping_for(own) if own else g.metric_name_escaping_scheme
    if escaping == "allow-utf-8" and validation != "utf8":
        raise ValueError("utf8 metric names requested but validation scheme is not set to UTF8")
    return {"metric_name_validation_scheme": validation, "metric_name_escaping_scheme": escaping}


def _with_paths(config: C, base: Path) -> C:
    config = http_with_paths(config, base)
    return msgspec.structs.replace(
        config,
        file_sd_configs=[
            msgspec.structs.replace(sd, files=[join_path(base, f) for f in sd.files])
            for sd in config.file_sd_configs
        ],
        http_sd_configs=[http_with_paths(sd, base) for sd in config.http_sd_configs],
        consul_sd_configs=[http_with_paths(sd, base) for sd in config.consul_sd_configs],
        kubernetes_sd_configs=[
            msgspec.structs.replace(
                http_with_paths(sd, base), kubeconfig_file=join_path(base, sd.kubeconfig_file)
            )
            for sd in config.kubernetes_sd_configs
        ],
    )


def _imported(config: Config, base: Path, refuse: bool) -> list[ScrapeConfig]:
    """The scrape configurations of ``scrape_config_files``, whose paths are relative to those files."""
    found: list[ScrapeConfig] = []
    for pattern in config.scrape_config_files:
        for path in expand_glob(base / pattern):
            for document in load_documents(path):
                part = decode_section(document, ScrapeConfigFile)
                check_scrape_configs(
                    document, part.scrape_configs, config.globals, refuse_not_built_in=refuse
                )
                found += [
                    _complete(scrape, config.globals, path.parent, document, i)
                    for i, scrape in enumerate(part.scrape_configs)
                ]
    return found


def expand_glob(pattern: Path) -> list[Path]:
    """The files a pattern names; ``*`` only in the last part, as rule and scrape files have it."""
    if not any(sign in pattern.name for sign in "*?["):
        return [pattern] if pattern.exists() else []
    return sorted(path for path in pattern.parent.glob(pattern.name) if path.is_file())


def _check_unique(document: Document, configs: list[ScrapeConfig]) -> None:
    seen: set[str] = set()
    for config in configs:
        if config.job_name in seen:
            raise InputError(
                f'found multiple scrape configs with job name "{config.job_name}"', at=document.path
            )
        seen.add(config.job_name)
