"""``/features``: which parts of Prometheus this server has, and which of them are switched on.

Mirrors util/features and its registrations: categories of names, each true or false. What is not built in
says false; discoveries that are not built in are not named. Values come from the tables and options that
decide, where there are any.
"""

from __future__ import annotations

from typing import Final

import msgspec

from wavetank.monitoring.api.scoring import ALGORITHMS
from wavetank.monitoring.api.services import Services
from wavetank.monitoring.config.discovery import NOT_BUILT_IN, SDConfigs
from wavetank.monitoring.rules.functions import FUNCTION_NAMES
from wavetank.promql.signatures import SIGNATURES
from wavetank.promql.tokens import AGGREGATORS

__all__ = ["features"]

_SYMBOLS: Final = (
    "!=",
    "!~",
    "%",
    "*",
    "+",
    "-",
    "/",
    "<",
    "</",
    "<=",
    "==",
    "=~",
    ">",
    ">/",
    ">=",
    "@",
    "^",
)
_OPERATORS: Final = (*_SYMBOLS, "and", "atan2", "or", "unless", *AGGREGATORS)
_MODIFIERS: Final = ("at_modifier", "bool", "by", "group_left", "group_right", "ignoring", "negative_offset")
_ALWAYS: Final = (*_MODIFIERS, "offset", "on", "per_query_lookback_delta", "subqueries", "without")
_SUFFIX: Final = "_sd_configs"


def features(services: Services) -> dict[str, dict[str, bool]]:
    """Names by category, both sorted."""
    found = {
        "api": _api(services),
        "otlp_receiver": {
            "delta_conversion": services.settings.otlp_deltas == "totals",
            "native_delta_ingestion": services.settings.otlp_deltas == "keep",
        },
        "prometheus": _modes(services),
        **_promql(services),
        "rules": {
            "concurrent_rule_eval": services.rules.is_concurrent,
            "keep_firing_for": True,
            "query_offset": True,
        },
        "scrape": {
            "extra_scrape_metrics": True,
            "start_timestamp_zero_ingestion": services.db.options.created_zeros,
            "type_and_unit_labels": False,
        },
        "service_discovery_providers": dict.fromkeys(_providers(), True),
        "templating_functions": dict.fromkeys(FUNCTION_NAMES, True),
        "tsdb": _storage(services),
        "ui": {"ui_v2": False, "ui_v3": False},
    }
    return {category: dict(sorted(names.items())) for category, names in sorted(found.items())}


def _api(services: Services) -> dict[str, bool]:
    settings = services.settings
    return {
        "admin": settings.enable_admin_api,
        "exclude_alerts": True,
        "label_values_match": True,
        "lifecycle": settings.enable_lifecycle,
        "openapi_3.1": True,
        "openapi_3.2": True,
        "otlp_write_receiver": settings.enable_otlp_receiver,
        "query_stats": True,
        "query_warnings": True,
        "remote_write_receiver": settings.enable_remote_write_receiver,
        "search": settings.enable_search,
        **{f"search_fuzz_alg_{name}": True for name in ALGORITHMS},
        "time_range_labels": True,
        "time_range_series": True,
    }


def _modes(services: Services) -> dict[str, bool]:
    agent = services.settings.agent
    return {
        "agent_mode": agent,
        "auto_reload_config": services.settings.flags.get("config.auto-reload") == "true",
        "server_mode": not agent,
        "stringlabels": False,
    }


def _promql(services: Services) -> dict[str, dict[str, bool]]:
    options = services.queries.options
    parser = options.parser
    return {
        "promql": {
            **dict.fromkeys(_ALWAYS, True),
            **dict.fromkeys(("anchored", "smoothed"), parser.extended_ranges),
            **dict.fromkeys(("fill", "fill_left", "fill_right"), parser.fill),
            "delayed_name_removal": options.delayed_name_removal,
            "duration_expr": parser.durations,
            "per_step_stats": False,
            "type_and_unit_labels": options.type_and_unit_labels,
        },
        "promql_functions": {
            name: parser.functions or not signature.experimental for name, signature in SIGNATURES.items()
        },
        "promql_operators": {
            **dict.fromkeys(_OPERATORS, True),
            **dict.fromkeys(("limitk", "limit_ratio"), parser.functions),
        },
    }


def _providers() -> list[str]:
    return [
        field.name.removesuffix(_SUFFIX).removesuffix("_configs")
        for field in msgspec.structs.fields(SDConfigs)
        if field.name not in NOT_BUILT_IN and (field.name.endswith(_SUFFIX) or field.name == "static_configs")
    ]


def _storage(services: Services) -> dict[str, bool]:
    options = services.db.options
    return {
        "delayed_compaction": False,
        "exemplar_storage": True,
        "histograms_st_encoding": options.histogram_starts,
        "isolation": True,
        "native_histograms": True,
        "st_storage": options.start_storage,
        "use_uncached_io": False,
        "xor2_encoding": True,
    }
