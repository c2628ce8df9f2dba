# ruff: noqa: RUF012 -- msgspec gives every instance its own copy of an empty default
"""The ``*_sd_configs`` sections: what is discovered, and which mechanisms are not built in.

Mirrors discovery/{file,http,dns,consul,kubernetes} of prometheus/prometheus. The other mechanisms are known
by name, so that a file that uses one is answered with what to do instead of "unknown field".
"""

from __future__ import annotations

import re
from typing import Any, Final
from urllib.parse import urlsplit

import msgspec

from wavetank.monitoring.config.http import BasicAuth, HTTPClientConfig, check_http
from wavetank.monitoring.config.values import Duration, Secret

__all__ = [
    "DNSSD",
    "HTTPSD",
    "NOT_BUILT_IN",
    "ConsulSD",
    "FileSD",
    "KubernetesSD",
    "SDConfigs",
    "StaticConfig",
    "check_discovery",
]

NOT_BUILT_IN: Final = tuple(
    f"{name}_sd_configs"
    for name in [
        "aws",
        "azure",
        "digitalocean",
        "docker",
        "dockerswarm",
        "ec2",
        "ecs",
        "elasticache",
        "eureka",
        "gce",
        "hetzner",
        "ionos",
        "kuma",
        "lightsail",
        "linode",
        "marathon",
        "msk",
        "nerve",
        "nomad",
        "oci",
        "openstack",
        "outscale",
        "ovhcloud",
        "puppetdb",
        "rds",
        "scaleway",
        "serverset",
        "stackit",
        "triton",
        "uyuni",
        "vultr",
    ]
)

_ROLES: Final = ("pod", "service", "endpoints", "endpointslice", "node", "ingress")
_SELECTORS: Final = {
    "pod": ("pod", "node"),
    "service": ("service",),
    "endpoints": ("pod", "service", "endpoints"),
    "endpointslice": ("pod", "service", "endpointslice"),
    "node": ("node",),
    "ingress": ("ingress",),
}
_FILE_NAME: Final = re.compile(r"[^*]*(\*[^/]*)?\.(json|yml|yaml|JSON|YML|YAML)")


class StaticConfig(msgspec.Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    targets: list[str] = []
    labels: dict[str, str] = {}


class FileSD(msgspec.Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    files: list[str] = []
    refresh_interval: Duration = Duration(300_000)


class HTTPSD(HTTPClientConfig, forbid_unknown_fields=True, frozen=True, kw_only=True):
    url: str = ""
    refresh_interval: Duration = Duration(60_000)


class DNSSD(msgspec.Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    names: list[str] = []
    refresh_interval: Duration = Duration(30_000)
    type: str = "SRV"
    port: int = 0


class Namespaces(msgspec.Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    own_namespace: bool = False
    names: list[str] = []


class Selector(msgspec.Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    role: str = ""
    label: str = ""
    field: str = ""


class AttachMetadata(msgspec.Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    node: bool = False
    namespace: bool = False
    deployment: bool = False
    job: bool = False
    cronjob: bool = False


class KubernetesSD(HTTPClientConfig, forbid_unknown_fields=True, frozen=True, kw_only=True):
    api_server: str = ""
    role: str = ""
    kubeconfig_file: str = ""
    namespaces: Namespaces = Namespaces()
    selectors: list[Selector] = []
    attach_metadata: AttachMetadata = AttachMetadata()


class ConsulSD(HTTPClientConfig, forbid_unknown_fields=True, frozen=True, kw_only=True):
    server: str = "localhost:8500"
    path_prefix: str = ""
    token: Secret = Secret()
    datacenter: str = ""
    namespace: str = ""
    partition: str = ""
    tag_separator: str = ","
    scheme: str = "http"
    username: str = ""
    password: Secret = Secret()
    allow_stale: bool = True
    refresh_interval: Duration = Duration(30_000)
    services: list[str] = []
    tags: list[str] = []
    node_meta: dict[str, str] = {}
    filter: str = ""
    health_filter: str = ""

    def client(self) -> HTTPClientConfig:
        """The HTTP options, with ``username`` and ``password`` as the basic credentials they stand for."""
        if not self.username and not self.password:
            return self
        return msgspec.structs.replace(
            self, basic_auth=BasicAuth(username=self.username, password=self.password)
        )


class SDConfigs(HTTPClientConfig, forbid_unknown_fields=True, frozen=True, kw_only=True):
    """The discovery sections a scrape or Alertmanager configuration may have."""

    static_configs: list[StaticConfig] = []
    file_sd_configs: list[FileSD] = []
    http_sd_configs: list[HTTPSD] = []
    dns_sd_configs: list[DNSSD] = []
    kubernetes_sd_configs: list[KubernetesSD] = []
    consul_sd_configs: list[ConsulSD] = []
    aws_sd_configs: list[Any] = []
    azure_sd_configs: list[Any] = []
    digitalocean_sd_configs: list[Any] = []
    docker_sd_configs: list[Any] = []
    dockerswarm_sd_configs: list[Any] = []
    ec2_sd_configs: list[Any] = []
    ecs_sd_configs: list[Any] = []
    elasticache_sd_configs: list[Any] = []
    eureka_sd_configs: list[Any] = []
    gce_sd_configs: list[Any] = []
    hetzner_sd_configs: list[Any] = []
    ionos_sd_configs: list[Any] = []
    kuma_sd_configs: list[Any] = []
    lightsail_sd_configs: list[Any] = []
    linode_sd_configs: list[Any] = []
    marathon_sd_configs: list[Any] = []
    msk_sd_configs: list[Any] = []
    nerve_sd_configs: list[Any] = []
    nomad_sd_configs: list[Any] = []
    oci_sd_configs: list[Any] = []
    openstack_sd_configs: list[Any] = []
    outscale_sd_configs: list[Any] = []
    ovhcloud_sd_configs: list[Any] = []
    puppetdb_sd_configs: list[Any] = []
    rds_sd_configs: list[Any] = []
    scaleway_sd_configs: list[Any] = []
    serverset_sd_configs: list[Any] = []
    stackit_sd_configs: list[Any] = []
    triton_sd_configs: list[Any] = []
    uyuni_sd_configs: list[Any] = []
    vultr_sd_configs: list[Any] = []


def check_discovery(section: StaticConfig | FileSD | HTTPSD | DNSSD | ConsulSD | KubernetesSD) -> None:
    """Raises ValueError, in upstream's words, for one discovery section that cannot work."""
    match section:
        case StaticConfig():
            for target in section.targets:
                if "/" in target:
                    raise ValueError(f'"{target}" is not a valid hostname')
        case FileSD():
            _check_files(section)
        case HTTPSD():
            _check_url(section.url)
        case DNSSD():
            _check_dns(section)
        case ConsulSD():
            _check_consul(section)
        case KubernetesSD():
            _check_kubernetes(section)


def _check_files(section: FileSD) -> None:
    if not section.files:
        raise ValueError("file service discovery config must contain at least one path name")
    for name in section.files:
        if _FILE_NAME.fullmatch(name) is None:
            raise ValueError(f'path name "{name}" is not valid for file discovery')


def _check_url(url: str) -> None:
    if not url:
        raise ValueError("URL is missing")
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https"):
        raise ValueError("URL scheme must be 'http' or 'https'")
    if not parts.netloc:
        raise ValueError("host is missing in URL")


def _check_dns(section: DNSSD) -> None:
    if not section.names:
        raise ValueError("DNS-SD config must contain at least one SRV record name")
    if section.type.upper() not in ("SRV", "A", "AAAA", "MX", "NS"):
        raise ValueError(f'invalid DNS-SD records type "{section.type}"')
    if section.type.upper() != "SRV" and section.port == 0:
        raise ValueError("a port is required in DNS-SD configs for all record types except SRV")


def _check_consul(section: ConsulSD) -> None:
    if not section.server.strip():
        raise ValueError("consul SD configuration requires a server address")
    if section.scheme not in ("", "http", "https"):
        raise ValueError(f'consul SD scheme must be "http" or "https", not "{section.scheme}"')
    if section.refresh_interval == 0:
        raise ValueError("consul SD refresh_interval must be more than 0")
    if (section.username or section.password) and section.basic_auth is not None:
        raise ValueError(
            "at most one of consul SD configuration username and password and basic auth can be configured"
        )
    if section.token and (section.authorization is not None or section.oauth2 is not None):
        raise ValueError("at most one of consul SD token, authorization, or oauth2 can be configured")
    check_http(section.client())


def _check_kubernetes(section: KubernetesSD) -> None:
    if not section.role:
        raise ValueError("role missing (one of: pod, service, endpoints, endpointslice, node, ingress)")
    if section.role not in _ROLES:
        raise ValueError(f'unknown Kubernetes SD role "{section.role}"')
    if section.kubeconfig_file and section.customised:
        raise ValueError("cannot use a custom HTTP client configuration together with 'kubeconfig_file'")
    if not section.api_server and section.customised:
        raise ValueError(
            "to use custom HTTP client configuration please provide the 'api_server' URL explicitly"
        )
    if section.api_server and section.kubeconfig_file:
        raise ValueError("cannot use 'kubeconfig_file' and 'api_server' simultaneously")
    if section.api_server and section.namespaces.own_namespace:
        raise ValueError("cannot use 'api_server' and 'namespaces.own_namespace' simultaneously")
    if section.kubeconfig_file and section.namespaces.own_namespace:
        raise ValueError("cannot use 'kubeconfig_file' and 'namespaces.own_namespace' simultaneously")
    _check_selectors(section)


def _check_selectors(section: KubernetesSD) -> None:
    allowed = _SELECTORS[section.role]
    if section.attach_metadata.node and "node" not in allowed:
        allowed = (*allowed, "node")
    seen: set[str] = set()
    for selector in section.selectors:
        if selector.role in seen:
            raise ValueError(f"duplicated selector role: {selector.role}")
        seen.add(selector.role)
        if selector.role not in allowed:
            raise ValueError(f"{section.role} role supports only {', '.join(allowed)} selectors")
        _check_field_selector(selector.field)


def _check_field_selector(text: str) -> None:
    for term in filter(None, text.split(",")):
        if "=" not in term:
            raise ValueError(f"invalid selector: '{text}'; can't understand '{term}'")
