"""How to reach a Kubernetes API: the section's own fields, a kubeconfig, or the pod's service account.

Mirrors client-go's loading rules as far as Prometheus uses them. Where neither ``api_server`` nor
``kubeconfig_file`` is given and this is not a pod, ``$KUBECONFIG`` is used, so that a configuration written
for a pod works on a workstation unchanged. Credential plugins (``exec``) are not run.
"""

from __future__ import annotations

import base64
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from wavetank.errors import InputError
from wavetank.monitoring.config.discovery import KubernetesSD
from wavetank.monitoring.config.http import Authorization, BasicAuth, HTTPClientConfig, TLSConfig
from wavetank.monitoring.config.values import Secret
from wavetank.yamlfile import load_documents

__all__ = ["Access", "access_for"]

_ACCOUNT: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount")


@dataclass(frozen=True, slots=True)
class Access:
    """A server, the credentials for it, and the namespace this process belongs to."""

    server: str
    http: HTTPClientConfig
    namespace: str = "default"


def access_for(
    config: KubernetesSD, environment: Mapping[str, str] = os.environ, account: Path = _ACCOUNT
) -> Access:
    """Raises InputError where no way leads to a cluster."""
    if config.api_server:
        return Access(config.api_server.rstrip("/"), config)
    if config.kubeconfig_file:
        return read_kubeconfig(Path(config.kubeconfig_file))
    host, port = environment.get("KUBERNETES_SERVICE_HOST"), environment.get("KUBERNETES_SERVICE_PORT")
    if host and port and (account / "token").exists():
        shown = f"[{host}]" if ":" in host else host
        namespace_file = account / "namespace"
        return Access(
            f"https://{shown}:{port}",
            HTTPClientConfig(
                authorization=Authorization(credentials_file=str(account / "token")),
                tls_config=TLSConfig(ca_file=str(account / "ca.crt")),
            ),
            namespace_file.read_text().strip() if namespace_file.exists() else "default",
        )
    if paths := environment.get("KUBECONFIG"):
        return read_kubeconfig(Path(paths.split(os.pathsep)[0]))
    raise InputError(
        "unable to load in-cluster configuration, KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT must "
        "be defined",
        fix="set kubeconfig_file in kubernetes_sd_configs, or $KUBECONFIG",
    )


def read_kubeconfig(path: Path) -> Access:
    """The current context of a kubeconfig. Raises InputError."""
    documents = load_documents(path)
    value = documents[0].value if documents else None
    if not isinstance(value, dict):
        raise InputError("not a kubeconfig", at=path)
    contexts, clusters, users = (_named(value, key) for key in ("contexts", "clusters", "users"))
    current = str(value.get("current-context") or "")
    if current not in contexts:
        raise InputError(f"context {current!r} does not exist", at=path, fix="set current-context")
    context = contexts[current].get("context") or {}
    cluster = clusters.get(str(context.get("cluster")), {}).get("cluster")
    if not cluster or not cluster.get("server"):
        raise InputError(f"context {current!r} names no cluster with a server", at=path)
    user = users.get(str(context.get("user")), {}).get("user") or {}
    http = HTTPClientConfig(
        tls_config=_tls(cluster, user, path.parent),
        authorization=_token(user, path.parent),
        basic_auth=_basic(user),
        proxy_url=str(cluster.get("proxy-url") or ""),
    )
    if not (http.authorization or http.basic_auth) and (user.get("exec") or user.get("auth-provider")):
        raise InputError("credential plugins are not run", at=path, fix="use a token or a certificate")
    return Access(str(cluster["server"]).rstrip("/"), http, str(context.get("namespace") or "default"))


def _named(value: dict[str, Any], key: str) -> dict[str, dict[str, Any]]:
    return {str(entry.get("name")): entry for entry in value.get(key) or [] if isinstance(entry, dict)}


def _tls(cluster: dict[str, Any], user: dict[str, Any], base: Path) -> TLSConfig:
    return TLSConfig(
        ca=_data(cluster, "certificate-authority-data"),
        ca_file=_file(cluster, "certificate-authority", base),
        insecure_skip_verify=bool(cluster.get("insecure-skip-tls-verify")),
        server_name=str(cluster.get("tls-server-name") or ""),
        cert=_data(user, "client-certificate-data"),
        key=Secret(_data(user, "client-key-data")),
        cert_file=_file(user, "client-certificate", base),
        key_file=_file(user, "client-key", base),
    )


def _data(section: dict[str, Any], key: str) -> str:
    return base64.b64decode(section.get(key) or "").decode()


def _file(section: dict[str, Any], key: str, base: Path) -> str:
    """A file name relative to the kubeconfig; empty where the same thing is given inline."""
    name = section.get(key)
    return str(base / name) if name and not section.get(f"{key}-data") else ""


def _token(user: dict[str, Any], base: Path) -> Authorization | None:
    if user.get("tokenFile"):
        return Authorization(credentials_file=str(base / user["tokenFile"]))
    return Authorization(credentials=Secret(user["token"])) if user.get("token") else None


def _basic(user: dict[str, Any]) -> BasicAuth | None:
    if not user.get("username") or user.get("token") or user.get("tokenFile"):
        return None
    return BasicAuth(username=str(user["username"]), password=Secret(user.get("password") or ""))
