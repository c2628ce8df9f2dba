"""What the sections of all receivers share: common fields, and the checks of a field and its file."""

from __future__ import annotations

from typing import Any

import msgspec

from wavetank.monitoring.config.http import HTTPClientConfig

__all__ = ["Notifier", "one_of", "template"]


def template(name: str) -> str:
    """The call of a definition, which many fields have for a default."""
    return f'{{{{ template "{name}" . }}}}'


class Notifier(msgspec.Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    """What all receivers have."""

    send_resolved: bool = True
    http_config: HTTPClientConfig | None = None


def one_of(config: Any, *names: str, needed: bool = False) -> None:
    """At most one of a field and its file, or exactly one. Raises ValueError in upstream's words."""
    given = [name for name in names if getattr(config, name)]
    if len(given) > 1:
        raise ValueError(f"at most one of {' & '.join(names)} must be configured")
    if needed and not given:
        raise ValueError(f"one of {' or '.join(names)} must be configured")
