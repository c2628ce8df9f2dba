"""The configuration file: upstream's good files load, its bad files fail, and errors name line and fix."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wavetank.errors import InputError
from wavetank.monitoring.config import (
    format_duration,
    load_config,
    parse_config,
    parse_duration,
    show_config,
)
from wavetank.monitoring.config.values import parse_size

DATA = Path(__file__).parent / "data" / "config"
GOOD = sorted(
    path.name
    for path in DATA.glob("*.yml")
    if ".bad." not in path.name and "incompatible" not in path.name and "deprecated" not in path.name
)
BAD = sorted(path.name for path in DATA.glob("*.bad.yml"))

MESSAGES = {
    "jobname.bad.yml": "job_name is empty",
    "jobname_dup.bad.yml": 'found multiple scrape configs with job name "prometheus"',
    "scrape_interval.bad.yml": "scrape timeout greater than scrape interval for scrape config with job name",
    "regex.bad.yml": "missing",
    "modulus_missing.bad.yml": "relabel configuration for hashmod requires non-zero modulus",
    "labelkeep.bad.yml": "labelkeep action requires only 'regex', and no other fields",
    "lowercase.bad.yml": "relabel configuration for lowercase action requires 'target_label' value",
    "lowercase3.bad.yml": "'replacement' can not be set for lowercase action",
    "keepequal1.bad.yml": "keepequal action requires only 'source_labels' and `target_label`",
    "rules.bad.yml": "invalid rule file path",
    "unknown_attr.bad.yml": "did you mean 'consul_sd_configs'",
    "unknown_global_attr.bad.yml": "unknown field 'nonexistent_field' in global",
    "bearertoken.bad.yml": "at most one of bearer_token & bearer_token_file must be configured",
    "bearertoken_basicauth.bad.yml": "at most one of basic_auth, oauth2, bearer_token",
    "kubernetes_http_config_without_api_server.bad.yml": "please provide the 'api_server' URL explicitly",
    "kubernetes_kubeconfig_with_own_namespace.bad.yml": "cannot use 'kubeconfig_file' and",
    "kubernetes_api_server_with_own_namespace.bad.yml": "cannot use 'api_server' and 'namespaces",
    "kubernetes_role.bad.yml": "role",
    "kubernetes_selectors_endpoints.bad.yml": "endpoints role supports only pod, service, endpoints",
    "kubernetes_selectors_duplicated_role.bad.yml": "duplicated selector role: pod",
    "kubernetes_selectors_incorrect_selector.bad.yml": "can't understand 'metadata.status-Running'",
    "url_in_targetgroup.bad.yml": '"http://bad" is not a valid hostname',
    "remote_write_url_missing.bad.yml": "url for remote_write is empty",
    "remote_write_header.bad.yml": "x-prometheus-remote-write-version is a reserved header",
    "remote_write_dup.bad.yml": 'found multiple remote write configs with job name "queue1"',
    "empty_scrape_config.bad.yml": "empty or null scrape config section",
    "empty_static_config.bad.yml": "empty or null section in static_configs",
    "empty_scrape_config_action.bad.yml": "relabel action cannot be empty",
    "http_url_bad_scheme.bad.yml": "URL scheme must be 'http' or 'https'",
    "http_url_no_host.bad.yml": "host is missing in URL",
    "scrape_body_size_limit.bad.yml": "units: unknown unit  in 100",
    "scrape_config_files_scrape_protocols.bad.yml": "unknown scrape protocol prometheusproto",
    "scrape_config_files_duplicate.bad.yml": 'found multiple scrape configs with job name "prometheus"',
    "section_key_dup.bad.yml": "given twice",
    "labelname.bad.yml": '"\\xff" is not a valid label name',
    "labelvalue.bad.yml": '"\\xff" is not a valid label value',
    "labelmap.bad.yml": "!!binary value contains invalid base64 data",
    "tracing_missing_endpoint.bad.yml": "tracing endpoint must be set",
    "otlp_allow_utf8.bad.yml": 'unsupported OTLP translation strategy "Invalid"',
    "eureka_no_server.bad.yml": "not built in; use http_sd_configs",
}


@pytest.mark.parametrize("name", GOOD)
def test_good_file_loads_and_shows(name: str) -> None:
    config = load_config(DATA / name, refuse_not_built_in=False)
    shown = show_config(config)
    assert "mysecret" not in shown
    again = parse_config(shown.replace("<secret>", "x"), base=DATA, refuse_not_built_in=False)
    assert {s.job_name for s in again.scrape_configs} >= {s.job_name for s in config.scrape_configs}


@pytest.mark.parametrize("name", BAD)
def test_bad_file_fails_with_its_place(name: str) -> None:
    with pytest.raises(InputError) as caught:
        load_config(DATA / name)
    assert MESSAGES.get(name, "") in str(caught.value)
    assert str(caught.value).startswith(str(DATA))


def test_conf_good_values() -> None:
    config = load_config(DATA / "conf.good.yml", refuse_not_built_in=False)
    first, second = config.scrape_configs[:2]
    assert (first.scrape_interval, first.scrape_timeout) == (15_000, 10_000)
    assert (first.sample_limit, first.body_size_limit) == (1500, 15 << 20)
    assert first.authorization and first.authorization.credentials_file == str(DATA / "valid_token_file")
    assert first.file_sd_configs[0].files[0] == str(DATA / "foo/*.slow.json")
    assert first.relabel_configs[3].regex == ""
    assert second.basic_auth and second.basic_auth.password.reveal() == "multiline\nmysecret\ntest"
    assert config.globals.metric_name_escaping_scheme == "allow-utf-8"


def test_external_labels_expand_the_environment() -> None:
    text = (DATA / "external_labels.good.yml").read_text()
    config = parse_config(text, environment={"TEST": "V"})
    assert config.globals.external_labels == {
        "bar": "foo",
        "foo": "V",
        "baz": "fooVbar",
        "qux": "foo${TEST}",
        "xyz": "foo$bar",
    }


def test_scalars_keep_their_written_form_as_labels() -> None:
    config = parse_config(
        "scrape_configs:\n- job_name: a\n  static_configs:\n"
        "  - targets: [x:1]\n    labels: {version: 1.10, on: true}\n"
    )
    assert config.scrape_configs[0].static_configs[0].labels == {"version": "1.10", "on": "true"}


def test_error_names_the_line() -> None:
    with pytest.raises(InputError, match=r"prometheus\.yml:3: unknown field 'scrape_intervall'"):
        parse_config("scrape_configs:\n- job_name: a\n  scrape_intervall: 5s\n")


@pytest.mark.parametrize("text", ["1d", "90s", "1h30m", "2w", "1y", "15ms", "1m30s250ms"])
def test_durations_round_trip(text: str) -> None:
    assert parse_duration(format_duration(parse_duration(text))) == parse_duration(text)


@pytest.mark.parametrize(
    ("text", "size"), [("15MB", 15 << 20), ("1KiB", 1024), ("100B", 100), ("1.5GB", 3 << 29)]
)
def test_sizes(text: str, size: int) -> None:
    assert parse_size(text) == size


@given(st.text(alphabet="abcdefgh_:-[]{}#&*!|>'\"%@` \n", max_size=200))
def test_any_text_loads_or_is_refused(text: str) -> None:
    try:
        parse_config(text)
    except InputError:
        pass


IN_UPSTREAMS_WORDS = [
    (
        "{global: {scrape_protocols: [a]}}",
        "scrape_protocols: unknown scrape protocol a, supported: [OpenMetricsText0.0.1 OpenMetricsText1.0.0 "
        "PrometheusProto PrometheusText0.0.4 PrometheusText1.0.0] for global config",
    ),
    (
        "scrape_configs: [{job_name: a, scrape_protocols: [PrometheusProto, PrometheusProto]}]",
        "duplicated protocol in scrape_protocols, got [PrometheusProto PrometheusProto] for scrape config with "
        'job name "a"',
    ),
    (
        "{global: {metric_name_validation_scheme: legacy}, scrape_configs: [{job_name: a, "
        "metric_name_escaping_scheme: allow-utf-8}]}",
        "utf8 metric names requested but validation scheme is not set to UTF8",
    ),
    (
        "scrape_configs: [{job_name: a, metric_name_escaping_scheme: x}]",
        "unknown scrape config name escaping method specified, must be one of 'allow-utf-8', 'underscores', "
        "'dots', or 'values', got \"x\"",
    ),
    (
        "remote_write: [{url: 'http://a', queue_config: {max_shards: 0}}]",
        "remote write queue max_shards must be positive",
    ),
    (
        "remote_write: [{url: 'http://a', queue_config: {min_shards: 9, max_shards: 8}}]",
        "remote write queue min_shards must not be greater than max_shards",
    ),
    (
        "remote_write: [{url: 'http://a', sigv4: {}, basic_auth: {username: u}}]",
        "at most one of basic_auth, authorization, oauth2, sigv4, azuread or google_iam must be configured. "
        "Currently configured: [basic_auth sigv4]",
    ),
    (
        "scrape_configs: [{job_name: a, basic_auth: {username: u, password_ref: r}}]",
        "cannot use secret ref without manager: password_ref",
    ),
    (
        "scrape_configs: [{job_name: a, oauth2: {client_id: c, token_url: 'http://a', "
        "signature_algorithm: HS256, grant_type: 'urn:ietf:params:oauth:grant-type:jwt-bearer'}}]",
        "valid signature algorithms are RS256, RS384 and RS512",
    ),
    (
        "alerting: {alertmanagers: [{relabel_configs: [null]}]}",
        "empty or null Alertmanager target relabeling rule",
    ),
    ("remote_write: [{url: 'http://a', write_relabel_configs: [null]}]", "in remote write config"),
    (
        "{storage: {tsdb: {chunk_encoding: {floats: a}}}}",
        "'storage.tsdb.chunk_encoding.floats' must be 'xor' or 'xor2', or the field must be omitted entirely, "
        'got "a"',
    ),
]


@pytest.mark.parametrize(("text", "message"), IN_UPSTREAMS_WORDS)
def test_what_is_wrong_is_said_in_upstreams_words(text: str, message: str) -> None:
    with pytest.raises(InputError) as caught:
        parse_config(text)
    assert message in str(caught.value)


def test_an_interval_of_zero_is_the_default() -> None:
    section = parse_config(
        "{global: {scrape_interval: 0s, evaluation_interval: 0s, scrape_timeout: 0s}}"
    ).globals
    assert (section.scrape_interval, section.evaluation_interval, section.scrape_timeout) == (
        60_000,
        60_000,
        10_000,
    )


@pytest.mark.parametrize(
    ("own", "expected"),
    [
        ("", ("utf8", "dots")),
        ("metric_name_validation_scheme: utf8", ("utf8", "allow-utf-8")),
        ("metric_name_validation_scheme: legacy", ("legacy", "underscores")),
        ("metric_name_validation_scheme: legacy, metric_name_escaping_scheme: values", ("legacy", "values")),
    ],
)
def test_a_jobs_own_validation_decides_on_its_escaping(own: str, expected: tuple[str, str]) -> None:
    job_text = "{job_name: a, " + own + "}"
    text = "{global: {metric_name_escaping_scheme: dots}, scrape_configs: [" + job_text + "]}"
    (job,) = parse_config(text).scrape_configs
    assert (job.metric_name_validation_scheme, job.metric_name_escaping_scheme) == expected


def test_binary_values_are_text() -> None:
    found = parse_config("{global: {external_labels: {a: !!binary 'aMOp'}}}")
    assert found.globals.external_labels == {"a": "h\u00e9"}
