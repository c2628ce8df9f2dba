"""Who asks, and whether they may: bearer tokens, Host and Origin checks, access reviews.

Two identities: an administrator, and a reader who may get, list and watch. Without tokens (plain HTTP, by
explicit flag) everybody is the administrator.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

from wavetank.kube.apiserver.request import Target
from wavetank.kube.client import ApiError, Object
from wavetank.kube.pki import Tokens, same_token
from wavetank.kube.status import qualified

__all__ = ["Guard", "User", "access_review", "authorize", "rules_review", "self_review"]

_LOCAL: Final = frozenset(
    {"127.0.0.1", "localhost", "::1", "kubernetes", "kubernetes.default", "kubernetes.default.svc"}
)
_PUBLIC: Final = frozenset({"/version", "/healthz", "/livez", "/readyz"})
_READ: Final = frozenset({"GET", "HEAD", "OPTIONS"})
_REVIEWS: Final = ("/apis/authorization.k8s.io/", "/apis/authentication.k8s.io/")
_READ_VERBS: Final = frozenset({"get", "list", "watch"})


@dataclass(frozen=True, slots=True)
class User:
    name: str
    groups: tuple[str, ...]
    may_write: bool


ADMIN: Final = User("wavetank-admin", ("system:masters", "system:authenticated"), True)
READER: Final = User("wavetank-reader", ("system:authenticated",), False)


class Guard:
    """Tells who asks, before a request is looked at. ``hosts`` are further names the server is reached by."""

    def __init__(self, tokens: Tokens | None, hosts: frozenset[str] = frozenset()) -> None:
        self._tokens = tokens
        self._hosts = _LOCAL | hosts

    def check(self, method: str, path: str, headers: Mapping[str, str]) -> User:
        """The user. Raises ApiError 401, or 403 for a host that is not ours."""
        self._check_host(headers)
        if self._tokens is None:
            return ADMIN
        scheme, _, token = headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer" and same_token(token.strip(), self._tokens.admin):
            return ADMIN
        if scheme.lower() == "bearer" and same_token(token.strip(), self._tokens.reader):
            user = READER
        elif path in _PUBLIC and method == "GET":
            return READER
        else:
            raise ApiError(401, "Unauthorized", "Unauthorized")
        return user

    def _check_host(self, headers: Mapping[str, str]) -> None:
        """A page in a browser that reaches us by a name of its own (DNS rebinding) is turned away."""
        host = urlsplit(f"//{headers.get('host', '')}").hostname or ""
        if host not in self._hosts and not host.startswith("127."):
            raise ApiError(403, "Forbidden", f"host {host!r} is not a name of this server")
        origin = headers.get("origin")
        if origin is not None:
            name = urlsplit(origin).hostname or ""
            if name not in self._hosts and not name.startswith("127."):
                raise ApiError(403, "Forbidden", f"requests from origin {origin!r} are not allowed")


def authorize(user: User, method: str, path: str, target: Target | None) -> None:
    """Raises ApiError 403 in upstream's words. Commands and connections are more than reading, although
    they begin with GET; reviews may be asked for by everybody."""
    streams = target is not None and target.subresource in ("exec", "attach", "portforward")
    if user.may_write or (method in _READ and not streams) or path.startswith(_REVIEWS):
        return
    if target is None:
        text = f'User "{user.name}" cannot {_verb(method, "x")} path "{path}"'
        raise ApiError(403, "Forbidden", f"forbidden: {text}")
    resource = target.resource
    plural = f"{resource.plural}/{target.subresource}" if target.subresource else resource.plural
    where = f' in the namespace "{target.namespace}"' if target.namespace else " at the cluster scope"
    verb = "create" if streams else _verb(method, target.name)
    what = f'cannot {verb} resource "{plural}" in API group "{resource.group}"{where}'
    name = f'{qualified(resource)} "{target.name}"' if target.name else qualified(resource)
    details = {"name": target.name, "group": resource.group, "kind": resource.plural}
    text = f'{name} is forbidden: User "{user.name}" {what}'
    raise ApiError(403, "Forbidden", text, {k: v for k, v in details.items() if v})


def _verb(method: str, name: str) -> str:
    if method == "DELETE" and not name:
        return "deletecollection"
    return {"POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}.get(
        method, method.lower()
    )


def access_review(user: User, body: Object) -> Object:
    """``SelfSubjectAccessReview``: whether the user may."""
    spec: Mapping[str, Any] = body.get("spec") or {}
    attributes = spec.get("resourceAttributes") or spec.get("nonResourceAttributes") or {}
    streams = attributes.get("subresource") in ("exec", "attach", "portforward")
    allowed = user.may_write or (attributes.get("verb") in _READ_VERBS and not streams)
    status: Object = {"allowed": allowed}
    if not allowed:
        status["reason"] = "the token may only read"
    return {**body, "metadata": body.get("metadata") or {}, "status": status}


def rules_review(user: User, body: Object) -> Object:
    """``SelfSubjectRulesReview``: all the user may do."""
    verbs = ["*"] if user.may_write else sorted(_READ_VERBS)
    status = {
        "resourceRules": [{"verbs": verbs, "apiGroups": ["*"], "resources": ["*"]}],
        "nonResourceRules": [{"verbs": verbs, "nonResourceURLs": ["*"]}],
        "incomplete": False,
    }
    return {**body, "metadata": body.get("metadata") or {}, "status": status}


def self_review(user: User, body: Object) -> Object:
    """``SelfSubjectReview``: who asks (``kubectl auth whoami``)."""
    info = {"username": user.name, "groups": list(user.groups)}
    return {**body, "metadata": body.get("metadata") or {}, "status": {"userInfo": info}}
