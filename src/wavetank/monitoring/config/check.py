"""What a configuration must fulfil beyond its fields' types, in upstream's words.

Mirrors the Validate and UnmarshalYAML methods of config/config.go. Each check raises ValueError; ``check``
adds file and line.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

from wavetank.errors import InputError
from wavetank.monitoring.config.discovery import NOT_BUILT_IN, SDConfigs, check_discovery
from wavetank.monitoring.config.http import check_http, check_tls
from wavetank.monitoring.config.model import (
    OTLP,
    AlertmanagerConfig,
    Config,
    Global,
    QueueConfig,
    RemoteRead,
    RemoteWrite,
    RetentionRule,
    ScrapeConfig,
    Storage,
    Tracing,
)
from wavetank.monitoring.relabel import RelabelConfig, check_relabel, is_utf8, valid_label_name
from wavetank.promql.parser import ParseError, parse_metric_selector
from wavetank.yamlfile import Document

__all__ = ["SCRAPE_PROTOCOLS", "check", "check_agent", "check_float_chunks", "check_scrape_configs"]

SCRAPE_PROTOCOLS: Final = (
    "OpenMetricsText0.0.1",
    "OpenMetricsText1.0.0",
    "PrometheusProto",
    "PrometheusText0.0.4",
    "PrometheusText1.0.0",
)
_ESCAPING: Final = ("", "allow-utf-8", "underscores", "dots", "values")
_TRANSLATION: Final = (
    "",
    "UnderscoreEscapingWithSuffixes",
    "NoUTF8EscapingWithSuffixes",
    "UnderscoreEscapingWithoutSuffixes",
    "NoTranslation",
)
_KEEPS: Final = ("last", "min", "max", "avg")
_RULE_PATH: Final = re.compile(r"[^*]*(\*[^/]*)?")
_RESERVED_HEADERS: Final = frozenset(
    [
        "content-encoding",
        "content-length",
        "content-type",
        "user-agent",
        "connection",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "www-authenticate",
        "accept-encoding",
        "x-prometheus-remote-write-version",
        "x-prometheus-remote-read-version",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    ]
)


class _Place:
    """A key path in a document: turns a ValueError into an InputError that names the line."""

    def __init__(self, document: Document, path: tuple[str | int, ...] = ()) -> None:
        self.document = document
        self.path = path

    def __truediv__(self, step: str | int) -> _Place:
        return _Place(self.document, (*self.path, step))

    def run(self, check: Callable[..., None], *args: Any) -> None:
        try:
            check(*args)
        except ValueError as error:
            raise self.error(str(error)) from None

    def error(self, message: str, fix: str | None = None) -> InputError:
        return self.document.error(message, *self.path, fix=fix)


def check(document: Document, config: Config, *, refuse_not_built_in: bool = True) -> None:
    """Raises InputError for the first thing that is wrong."""
    top = _Place(document)
    (top / "global").run(_check_global, config.globals)
    for section, names in (("rule", config.rule_files), ("scrape config", config.scrape_config_files)):
        key = "rule_files" if section == "rule" else "scrape_config_files"
        for i, name in enumerate(names):
            if _RULE_PATH.fullmatch(name) is None:
                raise (top / key / i).error(f'invalid {section} file path "{name}"')
    check_scrape_configs(
        document, config.scrape_configs, config.globals, refuse_not_built_in=refuse_not_built_in
    )
    _check_alerting(top / "alerting", config, refuse_not_built_in)
    _check_remotes(top, config)
    (top / "otlp").run(_check_otlp, config.otlp, config.globals)
    (top / "storage").run(_check_storage, config.storage)
    rules_at = top / "storage" / "tsdb" / "retention" / "rules"
    _check_rules_of_retention(rules_at, config.storage.tsdb.retention.rules)
    if config.tracing is not None:
        (top / "tracing").run(_check_tracing, config.tracing)


def check_agent(config: Config) -> None:
    """Raises InputError for sections that an agent has no use for, in upstream's words."""
    for section, given in (
        ("alerting", config.alerting.alertmanagers or config.alerting.alert_relabel_configs),
        ("rule_files", config.rule_files),
        ("remote_read", config.remote_read),
    ):
        if given:
            raise InputError(f"field {section} is not allowed in agent mode")


def check_float_chunks(config: Config, by_flag: str, *, with_starts: bool) -> None:
    """Raises InputError, in upstream's words, where start timestamps are to be stored and could not be."""
    floats = config.storage.tsdb.chunk_encoding.floats or by_flag
    if with_starts and floats == "xor":
        raise InputError(
            'float chunk encoding "xor" is incompatible with start-timestamp storage; '
            'XOR chunks do not store start timestamps, use "xor2"',
            fix="set storage.tsdb.chunk_encoding.floats: xor2",
        )


def check_scrape_configs(
    document: Document, configs: list[ScrapeConfig], globals: Global, *, refuse_not_built_in: bool
) -> None:
    """The ``scrape_configs`` of the main file or of a file it names."""
    seen: set[str] = set()
    legacy_default = globals.metric_name_validation_scheme == "legacy"
    for i, config in enumerate(configs):
        place = _Place(document, ("scrape_configs", i))
        if not config.job_name:
            # Discovery errors are found while reading, before the job's name is looked at.
            _check_sections(place, config, refuse_not_built_in)
            raise place.error("job_name is empty")
        if config.job_name in seen:
            raise place.error(f'found multiple scrape configs with job name "{config.job_name}"')
        seen.add(config.job_name)
        legacy = config.metric_name_validation_scheme == "legacy" or (
            not config.metric_name_validation_scheme and legacy_default
        )
        for key, rules in (
            ("relabel_configs", config.relabel_configs),
            ("metric_relabel_configs", config.metric_relabel_configs),
        ):
            _check_rules(place / key, rules, legacy)
        place.run(check_http, config)
        place.run(_check_scrape, config)
        _check_sections(place, config, refuse_not_built_in)


def _check_sections(place: _Place, config: SDConfigs, refuse_not_built_in: bool) -> None:
    for key in ("static", "file_sd", "http_sd", "dns_sd", "consul_sd", "kubernetes_sd"):
        for i, section in enumerate(getattr(config, f"{key}_configs")):
            here = place / f"{key}_configs" / i
            if key in ("http_sd", "kubernetes_sd"):
                here.run(check_http, section)
            # With relabelling an address may be anything to begin with: a URL to be probed, for one.
            if key != "static" or not getattr(config, "relabel_configs", ()):
                here.run(check_discovery, section)
    for key in NOT_BUILT_IN if refuse_not_built_in else ():
        if getattr(config, key):
            raise (place / key).error(
                f"{key} is not built in", fix="use http_sd_configs with a small server that lists the targets"
            )


def _check_rules(place: _Place, rules: Iterable[RelabelConfig], legacy: bool = False) -> None:
    for i, rule in enumerate(rules):
        (place / i).run(check_relabel, rule, legacy)


def _check_global(section: Global) -> None:
    for name, value in section.external_labels.items():
        if not valid_label_name(name, section.metric_name_validation_scheme == "legacy"):
            raise ValueError(f'"{_shown(name)}" is not a valid label name')
        if not is_utf8(value):
            raise ValueError(f'"{_shown(value)}" is not a valid label value')
    if (section.scrape_timeout or 0) > (section.scrape_interval or Global().scrape_interval):
        raise ValueError("global scrape timeout greater than scrape interval")
    _check_protocols(section.scrape_protocols, "global config")
    _check_schemes(section.metric_name_validation_scheme, section.metric_name_escaping_scheme)


def _shown(text: str) -> str:
    """With bytes that are no UTF-8 as ``\\xff``, as Go quotes them."""
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def _check_schemes(validation: str, escaping: str, whose: str = "global") -> None:
    if validation not in ("", "utf8", "legacy"):
        raise ValueError(f'unrecognized ValidationScheme: "{validation}"')
    if escaping not in _ESCAPING:
        raise ValueError(
            f"unknown {whose} name escaping method specified, must be one of 'allow-utf-8', 'underscores', "
            f"'dots', or 'values', got \"{escaping}\""
        )
    if validation == "legacy" and escaping == "allow-utf-8":
        raise ValueError("utf8 metric names requested but validation scheme is not set to UTF8")


def _check_protocols(protocols: list[str], whose: str) -> None:
    seen: set[str] = set()
    for protocol in protocols:
        if protocol.lower() in seen:
            raise ValueError(
                f"duplicated protocol in scrape_protocols, got [{' '.join(protocols)}] for {whose}"
            )
        try:
            _check_protocol(protocol)
        except ValueError as error:
            raise ValueError(f"scrape_protocols: {error} for {whose}") from None
        seen.add(protocol.lower())


def _check_protocol(protocol: str) -> None:
    if protocol not in SCRAPE_PROTOCOLS:
        supported = " ".join(SCRAPE_PROTOCOLS)
        raise ValueError(f"unknown scrape protocol {protocol}, supported: [{supported}]")


def _check_scrape(config: ScrapeConfig) -> None:
    whose = f'scrape config with job name "{config.job_name}"'
    _check_protocols(config.scrape_protocols, whose)
    if config.fallback_scrape_protocol:
        try:
            _check_protocol(config.fallback_scrape_protocol)
        except ValueError as error:
            raise ValueError(f"invalid fallback_scrape_protocol for {whose}: {error}") from None
    _check_schemes(config.metric_name_validation_scheme, config.metric_name_escaping_scheme, "scrape config")
    for name in ("sample_limit", "target_limit", "label_limit", "keep_dropped_targets"):
        if getattr(config, name) < 0:
            raise ValueError(f"{name} must not be negative")


def _check_alerting(place: _Place, config: Config, refuse_not_built_in: bool) -> None:
    _check_rules(place / "alert_relabel_configs", config.alerting.alert_relabel_configs)
    for i, manager in enumerate(config.alerting.alertmanagers):
        here = place / "alertmanagers" / i
        _check_rules(here / "relabel_configs", manager.relabel_configs)
        _check_rules(here / "alert_relabel_configs", manager.alert_relabel_configs)
        here.run(check_http, manager)
        here.run(_check_alertmanager, manager)
        _check_sections(here, manager, refuse_not_built_in)


def _check_alertmanager(config: AlertmanagerConfig) -> None:
    if config.api_version != "v2":
        raise ValueError(f"expected Alertmanager api version to be one of [v2] but got {config.api_version}")
    if config.sigv4 is not None and (config.basic_auth or config.authorization or config.oauth2):
        raise ValueError("at most one of basic_auth, authorization, oauth2, & sigv4 must be configured")
    if config.sigv4 is not None:
        raise ValueError("sigv4 is not built in")


def _check_remotes(top: _Place, config: Config) -> None:
    remotes: tuple[tuple[str, str, Sequence[RemoteWrite | RemoteRead]], ...] = (
        ("remote_write", "remote write", config.remote_write),
        ("remote_read", "remote read", config.remote_read),
    )
    for key, word, entries in remotes:
        seen: set[str] = set()
        for i, entry in enumerate(entries):
            place = top / key / i
            place.run(check_http, entry)
            place.run(_check_remote, key, entry)
            if isinstance(entry, RemoteWrite):
                _check_rules(place / "write_relabel_configs", entry.write_relabel_configs)
                (place / "queue_config").run(_check_queue, entry.queue_config)
            if entry.name and entry.name in seen:
                raise place.error(f'found multiple {word} configs with job name "{entry.name}"')
            seen.add(entry.name)
            if entry in entries[:i]:
                raise place.error(
                    f"duplicate {word} configs are not allowed, found duplicate for URL: {entry.url}"
                )


def _check_remote(key: str, entry: RemoteWrite | RemoteRead) -> None:
    if not entry.url:
        raise ValueError(f"url for {key} is empty")
    for header in entry.headers:
        if header.lower() == "authorization":
            raise ValueError(
                "authorization header must be changed via the basic_auth, authorization, oauth2, sigv4, "
                "azuread or google_iam parameter"
            )
        if header.lower() in _RESERVED_HEADERS:
            raise ValueError(f"{header} is a reserved header. It must not be changed")
    if isinstance(entry, RemoteWrite):
        if entry.protobuf_message not in ("prometheus.WriteRequest", "io.prometheus.write.v2.Request"):
            raise ValueError(
                "invalid protobuf_message value: unknown type for remote write protobuf message "
                f"{entry.protobuf_message}, supported: prometheus.WriteRequest, "
                "io.prometheus.write.v2.Request"
            )
        _check_one_kind(entry)
        for cloud in ("sigv4", "azuread", "google_iam"):
            if getattr(entry, cloud) is not None:
                raise ValueError(f"{cloud} is not built in")


def _check_one_kind(entry: RemoteWrite) -> None:
    names = ("basic_auth", "authorization", "oauth2", "sigv4", "azuread", "google_iam")
    given = [name for name in names if getattr(entry, name) is not None]
    if len(given) > 1:
        raise ValueError(
            "at most one of basic_auth, authorization, oauth2, sigv4, azuread or google_iam must be "
            f"configured. Currently configured: [{' '.join(given)}]"
        )


def _check_queue(queue: QueueConfig) -> None:
    for name in ("max_shards", "min_shards", "max_samples_per_send", "capacity"):
        if getattr(queue, name) <= 0:
            raise ValueError(f"remote write queue {name} must be positive")
    if queue.min_shards > queue.max_shards:
        raise ValueError("remote write queue min_shards must not be greater than max_shards")
    if queue.max_backoff < queue.min_backoff:
        raise ValueError("remote write queue max_backoff must not be less than min_backoff")


def _check_otlp(otlp: OTLP, globals: Global) -> None:
    if otlp.promote_all_resource_attributes and otlp.promote_resource_attributes:
        raise ValueError(
            "'promote_all_resource_attributes' and 'promote_resource_attributes' cannot be configured "
            "simultaneously"
        )
    if otlp.ignore_resource_attributes and not otlp.promote_all_resource_attributes:
        raise ValueError(
            "'ignore_resource_attributes' cannot be configured unless 'promote_all_resource_attributes' is "
            "true"
        )
    _check_attributes("promoted", otlp.promote_resource_attributes)
    _check_attributes("ignored", otlp.ignore_resource_attributes)
    if otlp.translation_strategy not in _TRANSLATION:
        raise ValueError(f'unsupported OTLP translation strategy "{otlp.translation_strategy}"')
    legacy = globals.metric_name_validation_scheme == "legacy"
    if legacy and otlp.translation_strategy in ("NoUTF8EscapingWithSuffixes", "NoTranslation"):
        raise ValueError(
            f'OTLP translation strategy "{otlp.translation_strategy}" is not allowed when UTF8 is disabled'
        )


def _check_attributes(word: str, names: list[str]) -> None:
    seen: set[str] = set()
    for name in (raw.strip() for raw in names):
        if not name:
            raise ValueError(f"empty {word} OTel resource attribute")
        if name in seen:
            raise ValueError(f'duplicated {word} OTel resource attribute "{name}"')
        seen.add(name)


def _check_storage(storage: Storage) -> None:
    percentage = storage.tsdb.retention.percentage
    if not 0 <= percentage <= 100:
        raise ValueError(
            f"'storage.tsdb.retention.percentage' must be in the range [0, 100], got {percentage:g}"
        )
    if storage.tsdb.chunk_encoding.floats not in ("", "xor", "xor2"):
        raise ValueError(
            "'storage.tsdb.chunk_encoding.floats' must be 'xor' or 'xor2', or the field must be omitted "
            f'entirely, got "{storage.tsdb.chunk_encoding.floats}"'
        )


def _check_rules_of_retention(place: _Place, rules: list[RetentionRule]) -> None:
    for i, rule in enumerate(rules):
        (place / i).run(_check_retention_rule, rule)


def _check_retention_rule(rule: RetentionRule) -> None:
    if not rule.matchers:
        raise ValueError("a retention rule needs matchers, e.g. '{job=\"x\"}'")
    try:
        parse_metric_selector(rule.matchers)
    except ParseError as error:
        raise ValueError(f"matchers of a retention rule: {error}") from None
    stages = rule.downsample if isinstance(rule.downsample, list) else [rule.downsample]
    if rule.time is None and not stages:
        raise ValueError("a retention rule needs time, downsample or both")
    if rule.time is not None and rule.time <= 0:
        raise ValueError("time of a retention rule must be more than 0")
    for stage in stages:
        if stage.after <= 0 or stage.to <= 0:
            raise ValueError("downsample needs after and to, both more than 0, e.g. {after: 2d, to: 5m}")
        if stage.keep not in _KEEPS:
            raise ValueError(f'unknown keep "{stage.keep}", supported: {", ".join(_KEEPS)}')
        if rule.time is not None and stage.after >= rule.time:
            raise ValueError(f"downsample after {stage.after} has no effect: time is {rule.time}")
    for before, stage in itertools.pairwise(sorted(stages, key=lambda stage: stage.after)):
        if stage.after == before.after or stage.to % before.to:
            raise ValueError(
                f"downsample to {stage.to} after {stage.after}: each stage is later than the one before, and "
                f"its step a multiple of {before.to}"
            )


def _check_tracing(tracing: Tracing) -> None:
    if not tracing.endpoint:
        raise ValueError("tracing endpoint must be set")
    if tracing.client_type not in ("grpc", "http"):
        raise ValueError(
            f"expected tracing client type to be to be http or grpc, but got {tracing.client_type}"
        )
    if tracing.compression not in ("", "gzip"):
        raise ValueError(f"invalid compression type {tracing.compression} provided, valid options: gzip")
    for header in tracing.headers:
        if header.lower() == "authorization":
            raise ValueError("custom authorization header configuration is not yet supported")
        if header.lower() in _RESERVED_HEADERS:
            raise ValueError(f"{header} is a reserved header. It must not be changed")
    check_tls(tracing.tls_config)
