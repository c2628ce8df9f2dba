"""kubeconfig files: written for our own cluster, read for any.

Only what a client of one context needs: server, CA, bearer token or client certificate. Left out: exec and
auth-provider plugins, proxies.
"""

from __future__ import annotations

import base64
import os
import ssl
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from wavetank.errors import InputError
from wavetank.yamlfile import load_documents

__all__ = ["Access", "read_kubeconfig", "write_kubeconfig"]


@dataclass(frozen=True, slots=True)
class Access:
    """How to reach one cluster. Certificates and keys are PEM."""

    server: str
    ca: bytes | None = None
    token: str = ""
    certificate: bytes | None = None
    key: bytes | None = None
    insecure: bool = False
    namespace: str = "default"

    def ssl_context(self) -> ssl.SSLContext | None:
        """None for plain HTTP."""
        if not self.server.startswith("https"):
            return None
        context = ssl.create_default_context(cadata=self.ca.decode("ascii") if self.ca else None)
        if self.insecure:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        if self.certificate and self.key:
            # The ssl module reads keys from files only.
            with tempfile.NamedTemporaryFile(suffix=".pem") as file:
                file.write(self.certificate + b"\n" + self.key)
                file.flush()
                context.load_cert_chain(file.name)
        return context


def read_kubeconfig(path: Path, context: str = "") -> Access:
    """The access of a context (the current one by default). Raises InputError with file and fix."""
    documents = load_documents(path)
    config = documents[0].value if documents else {}
    if not isinstance(config, dict):
        raise InputError("not a kubeconfig", at=path)
    name = context or config.get("current-context") or ""
    chosen = _named(config, "contexts", name, "context", path)
    cluster = _named(config, "clusters", chosen.get("cluster", ""), "cluster", path)
    user = _named(config, "users", chosen["user"], "user", path) if chosen.get("user") else {}
    for plugin in ("exec", "auth-provider"):
        if plugin in user:
            fix = "put a token into the kubeconfig, e.g. from `kubectl create token`"
            raise InputError(f"the user's {plugin} plugin is not supported", at=path, fix=fix)
    if not cluster.get("server"):
        raise InputError(f"cluster {chosen.get('cluster')!r} has no server", at=path)
    token = user.get("token") or _text(path, user.get("tokenFile"))
    return Access(
        server=str(cluster["server"]).rstrip("/"),
        ca=_pem(path, cluster, "certificate-authority"),
        token=token,
        certificate=_pem(path, user, "client-certificate"),
        key=_pem(path, user, "client-key"),
        insecure=bool(cluster.get("insecure-skip-tls-verify")),
        namespace=chosen.get("namespace") or "default",
    )


def _named(config: dict[str, Any], section: str, name: str, key: str, path: Path) -> dict[str, Any]:
    entries = [e for e in config.get(section) or [] if isinstance(e, dict)]
    for entry in entries:
        if entry.get("name") == name:
            return dict(entry.get(key) or {})
    known = ", ".join(str(e.get("name")) for e in entries) or "none"
    raise InputError(f"no {key} named {name!r}", at=path, fix=f"the file has: {known}")


def _pem(path: Path, entry: dict[str, Any], field: str) -> bytes | None:
    if data := entry.get(f"{field}-data"):
        try:
            return base64.b64decode(data, validate=True)
        except ValueError:
            raise InputError(f"{field}-data is not base64", at=path) from None
    if file := entry.get(field):
        return (path.parent / str(file)).read_bytes()
    return None


def _text(path: Path, file: Any) -> str:
    return (path.parent / str(file)).read_text(encoding="utf-8").strip() if file else ""


def write_kubeconfig(path: Path, access: Access, *, name: str = "wavetank") -> None:
    """Write a file of mode 0600 with one context, replacing what was there in one step."""
    cluster: dict[str, Any] = {"server": access.server}
    if access.ca:
        cluster["certificate-authority-data"] = base64.b64encode(access.ca).decode("ascii")
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": name,
        "clusters": [{"name": name, "cluster": cluster}],
        "contexts": [{"name": name, "context": {"cluster": name, "user": name}}],
        "users": [{"name": name, "user": {"token": access.token} if access.token else {}}],
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    with os.fdopen(handle, "w", encoding="utf-8") as file:  # mkstemp makes it 0600
        yaml.safe_dump(config, file, sort_keys=False)
    Path(temporary).replace(path)
