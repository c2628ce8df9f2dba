"""The server's own metrics: those that Prometheus' dashboard and alert rules ask for are there, and right."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

CONFIG = """
global: {scrape_interval: 1s, evaluation_interval: 1s}
scrape_configs:
  - job_name: self
    sample_limit: 1
    static_configs: [{targets: ["%s"]}]
    http_sd_configs: [{url: "http://127.0.0.1:1/"}]
    file_sd_configs: [{files: [none.json]}]
remote_write: [{url: "http://127.0.0.1:1/"}]
rule_files: [rules.yml]
alerting:
  alertmanagers: [{static_configs: [{targets: ["127.0.0.1:1"]}]}]
"""
RULES = """
groups:
  - name: one
    rules:
      - {record: fine, expr: vector(1)}
      - {record: fails, expr: 'label_replace(vector(1), "a", "b", "c", "(.*)") + on() group_left() (vector(1) or label_replace(vector(1), "x", "y", "", ""))'}
"""

# From the alert rules and the dashboard of the Prometheus mixin.
NEEDED = [
    "prometheus_build_info",
    "prometheus_config_last_reload_successful",
    "prometheus_engine_queries",
    "prometheus_engine_queries_concurrent_max",
    "prometheus_engine_query_duration_seconds",
    "prometheus_notifications_alertmanagers_discovered",
    "prometheus_notifications_queue_capacity",
    "prometheus_notifications_queue_length",
    "prometheus_rule_evaluation_failures_total",
    "prometheus_rule_group_iterations_missed_total",
    "prometheus_rule_group_rules",
    "prometheus_sd_discovered_targets",
    "prometheus_remote_storage_highest_timestamp_in_seconds",
    "prometheus_remote_storage_max_samples_per_send",
    "prometheus_remote_storage_queue_highest_sent_timestamp_seconds",
    "prometheus_remote_storage_queue_highest_timestamp_seconds",
    "prometheus_remote_storage_samples_failed_total",
    "prometheus_remote_storage_samples_in_total",
    "prometheus_remote_storage_samples_pending",
    "prometheus_remote_storage_shards_desired",
    "prometheus_sd_consul_rpc_failures_total",
    "prometheus_sd_dns_lookup_failures_total",
    "prometheus_sd_dns_lookups_total",
    "prometheus_sd_failed_configs",
    "prometheus_sd_file_read_errors_total",
    "prometheus_sd_file_scan_duration_seconds",
    "prometheus_sd_http_failures_total",
    "prometheus_sd_kubernetes_events_total",
    "prometheus_sd_kubernetes_failures_total",
    "prometheus_sd_last_update_timestamp_seconds",
    "prometheus_sd_received_updates_total",
    "prometheus_sd_refresh_duration_histogram_seconds",
    "prometheus_sd_refresh_duration_seconds",
    "prometheus_sd_refresh_failures_total",
    "prometheus_sd_updates_delayed_total",
    "prometheus_sd_updates_total",
    "prometheus_target_interval_length_seconds",
    "prometheus_target_metadata_cache_entries",
    "prometheus_target_scrape_pool_exceeded_label_limits_total",
    "prometheus_target_scrape_pool_exceeded_target_limit_total",
    "prometheus_target_scrapes_exceeded_body_size_limit_total",
    "prometheus_target_scrapes_exceeded_sample_limit_total",
    "prometheus_target_scrapes_sample_duplicate_timestamp_total",
    "prometheus_target_scrapes_sample_out_of_bounds_total",
    "prometheus_target_scrapes_sample_out_of_order_total",
    "prometheus_target_sync_failed_total",
    "prometheus_target_sync_length_seconds",
    "prometheus_tsdb_compactions_failed_total",
    "prometheus_tsdb_head_chunks",
    "prometheus_tsdb_head_max_time_seconds",
    "prometheus_tsdb_wal_segment_current",
    "prometheus_wal_watcher_current_segment",
    "prometheus_tsdb_head_samples_appended_total",
    "prometheus_tsdb_head_series",
    "prometheus_tsdb_reloads_failures_total",
    "prometheus_http_requests_total",
    "prometheus_http_request_duration_seconds",
    "process_start_time_seconds",
]


async def test_what_upstreams_dashboard_and_rules_ask_for_is_there(start: Callable[..., Any]) -> None:
    async with start(CONFIG % "127.0.0.1:1", rules=RULES) as server:

        async def scraped_twice() -> bool:
            return "prometheus_target_interval_length_seconds_count" in await server.get("/metrics")

        await server.query("up")
        await server.until(scraped_twice)
        text = await server.get("/metrics")
        families = {line.split()[2] for line in text.splitlines() if line.startswith("# TYPE")}
        assert set(NEEDED) <= families, set(NEEDED) - families


async def test_what_goes_wrong_is_counted_where_it_belongs(start: Callable[..., Any], tmp_path: Path) -> None:
    async with start(CONFIG % "127.0.0.1:1", directory="a") as target:
        address = target.url.removeprefix("http://")
        async with start(CONFIG % address, directory="b", rules=RULES) as server:

            async def counted() -> bool:
                values = dict(line.rsplit(" ", 1) for line in (await server.get("/metrics")).splitlines())
                limit = values["prometheus_target_scrapes_exceeded_sample_limit_total"]
                group = f"{tmp_path / 'b' / 'rules.yml'};one"
                failures = values.get(
                    f'prometheus_rule_evaluation_failures_total{{rule_group="{group}"}}', "0"
                )
                return limit != "0" and failures != "0"

            await server.until(counted)
            await server.get("/api/v1/label/job/values")
            await server.get("/api/v1/nonsense/x", status=404)
            text = await server.get("/metrics")
    assert 'prometheus_sd_discovered_targets{name="scrape",config="self"} 1' in text
    assert 'prometheus_sd_refresh_failures_total{mechanism="http",config="self"}' in text
    assert 'prometheus_sd_updates_total{name="notify"} ' in text
    assert "prometheus_notifications_alertmanagers_discovered 1" in text
    assert 'prometheus_http_requests_total{handler="/api/v1/label/:name/values",code="200"} 1' in text
    assert 'prometheus_http_requests_total{handler="/api/v1/*path",code="404"} 1' in text
