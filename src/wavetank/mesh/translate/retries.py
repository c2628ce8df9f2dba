"""Retries: the policy that every outbound route has, with or without a VirtualService.

Mirrors istio/istio ``core/route/retry/retry.go``. No status code is listed by default, so a plain 503 from a
pod is not retried (since istio/istio#50506); connection failures and refused streams are.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from wavetank.mesh.durations import proto_duration
from wavetank.mesh.translate.names import typed

__all__ = ["DEFAULT_ATTEMPTS", "DEFAULT_RETRY_ON", "retry_policy"]

DEFAULT_ATTEMPTS = 2
DEFAULT_RETRY_ON = "connect-failure,refused-stream,unavailable,cancelled,retriable-status-codes"
_PREVIOUS_HOSTS = {
    "name": "envoy.retry_host_predicates.previous_hosts",
    "typed_config": typed("envoy.extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate"),
}
_PREVIOUS_PRIORITIES = {
    "name": "envoy.retry_priorities.previous_priorities",
    "typed_config": typed(
        "envoy.extensions.retry.priority.previous_priorities.v3.PreviousPrioritiesConfig", update_frequency=2
    ),
}
_HOST_SELECTION_ATTEMPTS = 5  # how often to look for a host that was not tried yet


def retry_policy(
    retries: Mapping[str, Any] | None, *, consistent_hash: bool = False
) -> dict[str, Any] | None:
    """The route's policy; None where retries are off (``attempts: 0``, or ``retries`` without attempts).

    Routes with consistent hashing keep no memory of tried hosts: the hash would bring them back anyway.
    """
    retries = {"attempts": DEFAULT_ATTEMPTS} if retries is None else retries
    attempts = int(retries.get("attempts") or 0)
    if attempts <= 0:
        return None
    retry_on, codes = _retry_on(str(retries.get("retryOn") or DEFAULT_RETRY_ON))
    policy: dict[str, Any] = {"num_retries": attempts, "retry_on": retry_on}
    if codes:
        policy["retriable_status_codes"] = codes
    if not consistent_hash and retries.get("retryIgnorePreviousHosts", True) is not False:
        policy["retry_host_predicate"] = [_PREVIOUS_HOSTS]
        policy["host_selection_retry_max_attempts"] = _HOST_SELECTION_ATTEMPTS
    if retries.get("perTryTimeout"):
        policy["per_try_timeout"] = proto_duration(retries["perTryTimeout"])
    if retries.get("backoff"):
        policy["retry_back_off"] = {"base_interval": proto_duration(retries["backoff"])}
    if retries.get("retryRemoteLocalities"):
        policy["retry_priority"] = _PREVIOUS_PRIORITIES
    return policy


def _retry_on(text: str) -> tuple[str, list[int]]:
    """Tokens that are numbers are status codes, and ask for ``retriable-status-codes``."""
    tokens = [token.strip() for token in text.split(",") if token.strip()]
    codes = [int(token) for token in tokens if token.isdigit()]
    names = [token for token in tokens if not token.isdigit()]
    if codes and "retriable-status-codes" not in names:
        names.append("retriable-status-codes")
    return ",".join(names), codes
