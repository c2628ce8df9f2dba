# ruff: noqa: RUF012 -- msgspec gives every instance its own copy of an empty default
"""The sections of ``prometheus.yml`` as typed values.

Mirrors config/config.go of prometheus/prometheus 3.14: every section and field. ``None`` marks a scrape
field that takes the global's value; ``wavetank.monitoring.config.load`` fills it.
"""

from __future__ import annotations

from typing import Any

import msgspec

from wavetank.monitoring.config.discovery import SDConfigs
from wavetank.monitoring.config.http import HTTPClientConfig, TLSConfig
from wavetank.monitoring.config.values import Duration, Secret, Size
from wavetank.monitoring.relabel import RelabelConfig

__all__ = [
    "Alerting",
    "AlertmanagerConfig",
    "Config",
    "Global",
    "RemoteRead",
    "RemoteWrite",
    "RetentionRule",
    "ScrapeConfig",
    "ScrapeConfigFile",
    "TSDBConfig",
]


class Global(msgspec.Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    scrape_interval: Duration = Duration(60_000)
    scrape_timeout: Duration | None = None
    scrape_protocols: list[str] = []
    evaluation_interval: Duration = Duration(60_000)
    rule_query_offset: Duration = Duration(0)
    query_log_file: str = ""
    scrape_failure_log_file: str = ""
    external_labels: dict[str, str] = {}
    body_size_limit: Size = Size(0)
    sample_limit: int = 0
    target_limit: int = 0
    label_limit: int = 0
    label_name_length_limit: int = 0
    label_value_length_limit: int = 0
    keep_dropped_targets: int = 0
    metric_name_validation_scheme: str = "utf8"
    metric_name_escaping_scheme: str = ""
    scrape_native_histograms: bool = False
    convert_classic_histograms_to_nhcb: bool = False
    always_scrape_classic_histograms: bool = False
    extra_scrape_metrics: bool = False


class Runtime(msgspec.Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    gogc: int = 75


class ScrapeConfig(SDConfigs, forbid_unknown_fields=True, frozen=True, kw_only=True):
    job_name: str = ""
    honor_labels: bool = False
    honor_timestamps: bool = True
    track_timestamps_staleness: bool = False
    params: dict[str, list[str]] = {}
    scrape_interval: Duration = Duration(0)
    scrape_timeout: Duration = Duration(0)
    scrape_protocols: list[str] = []
    fallback_scrape_protocol: str = ""
    scrape_failure_log_file: str = ""
    metrics_path: str = "/metrics"
    scheme: str = "http"
    enable_compression: bool = True
    relabel_configs: list[RelabelConfig] = []
    metric_relabel_configs: list[RelabelConfig] = []
    body_size_limit: Size = Size(0)
    sample_limit: int = 0
    target_limit: int = 0
    label_limit: int = 0
    label_name_length_limit: int = 0
    label_value_length_limit: int = 0
    keep_dropped_targets: int = 0
    metric_name_validation_scheme: str = ""
    metric_name_escaping_scheme: str = ""
    native_histogram_bucket_limit: int = 0
    native_histogram_min_bucket_factor: float = 0.0
    scrape_native_histograms: bool | None = None
    convert_classic_histograms_to_nhcb: bool | None = None
    always_scrape_classic_histograms: bool | None = None
    extra_scrape_metrics: bool | None = None


class AlertmanagerConfig(SDConfigs, forbid_unknown_fields=True, frozen=True, kw_only=True):
    scheme: str = "http"
    path_prefix: str = "/"
    timeout: Duration = Duration(10_000)
    api_version: str = "v2"
    relabel_configs: list[RelabelConfig] = []
    alert_relabel_configs: list[RelabelConfig] = []
    sigv4: dict[str, Any] | None = None


class Alerting(msgspec.Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    alert_relabel_configs: list[RelabelConfig] = []
    alertmanagers: list[AlertmanagerConfig] = []


class QueueConfig(msgspec.Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    capacity: int = 10_000
    max_shards: int = 50
    min_shards: int = 1
    max_samples_per_send: int = 2000
    batch_send_deadline: Duration = Duration(5000)
    min_backoff: Duration = Duration(30)
    max_backoff: Duration = Duration(5000)
    retry_on_http_429: bool = False
    sample_age_limit: Duration = Duration(0)


class MetadataConfig(msgspec.Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    send: bool = True
    send_interval: Duration = Duration(60_000)
    max_samples_per_send: int = 2000


class RemoteWrite(HTTPClientConfig, forbid_unknown_fields=True, frozen=True, kw_only=True):
    url: str = ""
    protobuf_message: str = "prometheus.WriteRequest"
    remote_timeout: Duration = Duration(30_000)
    headers: dict[str, str] = {}
    write_relabel_configs: list[RelabelConfig] = []
    name: str = ""
    send_exemplars: bool = False
    send_native_histograms: bool = False
    round_robin_dns: bool = False
    failed_request_logging: bool = False
    enable_http2: bool = False
    queue_config: QueueConfig = QueueConfig()
    metadata_config: MetadataConfig = MetadataConfig()
    sigv4: dict[str, Any] | None = None
    azuread: dict[str, Any] | None = None
    google_iam: dict[str, Any] | None = None


class RemoteRead(HTTPClientConfig, forbid_unknown_fields=True, frozen=True, kw_only=True):
    url: str = ""
    remote_timeout: Duration = Duration(60_000)
    chunked_read_limit: int = 50_000_000
    headers: dict[str, str] = {}
    read_recent: bool = False
    name: str = ""
    required_matchers: dict[str, str] = {}
    filter_external_labels: bool = True


class OTLP(msgspec.Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    promote_resource_attributes: list[str] = []
    promote_all_resource_attributes: bool = False
    ignore_resource_attributes: list[str] = []
    translation_strategy: str = ""
    keep_identifying_resource_attributes: bool = False
    convert_histograms_to_nhcb: bool = False
    promote_scope_metadata: bool = False
    label_name_underscore_sanitization: bool = True
    label_name_preserve_multiple_underscores: bool = True


class Downsampling(msgspec.Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    after: Duration = Duration(0)
    to: Duration = Duration(0)
    keep: str = "last"


class RetentionRule(msgspec.Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    """Not in upstream: other retention, and downsampling, of the series a selector chooses."""

    matchers: str = ""
    time: Duration | None = None
    downsample: list[Downsampling] | Downsampling = []


class Retention(msgspec.Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    time: Duration | None = None
    size: Size | None = None
    percentage: float = 0.0
    rules: list[RetentionRule] = []


class ChunkEncoding(msgspec.Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    floats: str = ""


class TSDBConfig(msgspec.Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    out_of_order_time_window: Duration | None = None  # None takes samples of any age
    stale_series_compaction_threshold: float = 0.0
    chunk_encoding: ChunkEncoding = ChunkEncoding()
    retention: Retention = Retention()


class Exemplars(msgspec.Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    max_exemplars: int = 100_000


class Storage(msgspec.Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    tsdb: TSDBConfig = TSDBConfig()
    exemplars: Exemplars = Exemplars()


class Tracing(msgspec.Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    client_type: str = "grpc"
    endpoint: str = ""
    sampling_fraction: float = 0.0
    insecure: bool = False
    headers: dict[str, Secret] = {}
    compression: str = ""
    timeout: Duration = Duration(0)
    tls_config: TLSConfig = TLSConfig()


class Config(msgspec.Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    """A whole ``prometheus.yml``."""

    # "global" is a keyword of Python; the file calls the section so.
    globals: Global = msgspec.field(name="global", default=Global())
    runtime: Runtime = Runtime()
    alerting: Alerting = Alerting()
    rule_files: list[str] = []
    scrape_config_files: list[str] = []
    scrape_configs: list[ScrapeConfig] = []
    storage: Storage = Storage()
    tracing: Tracing | None = None
    remote_write: list[RemoteWrite] = []
    remote_read: list[RemoteRead] = []
    otlp: OTLP = OTLP()


class ScrapeConfigFile(msgspec.Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    """A file named by ``scrape_config_files``."""

    scrape_configs: list[ScrapeConfig] = []
