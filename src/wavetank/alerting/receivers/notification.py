"""One notification, and how an attempt to deliver it can fail."""

from __future__ import annotations

import datetime as dt
import hashlib
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from wavetank.alerting.alert import Alert
from wavetank.alerting.data import Data
from wavetank.alerting.templates import Templates
from wavetank.monitoring.config.values import Secret

__all__ = ["Notification", "NotifyError", "deep_text", "secret", "truncate"]


class NotifyError(Exception):
    """``retry``: whether another attempt may succeed. ``reason`` is upstream's label of the failure."""

    def __init__(self, message: str, *, retry: bool, reason: str = "other") -> None:
        super().__init__(message)
        self.retry = retry
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Notification:
    """``alerts`` are those of ``data``, as they are at ``now``. ``remembered`` is what an integration noted
    of the group when it last told of it; what it notes now is kept if it succeeds."""

    key: str
    alerts: tuple[Alert, ...]
    data: Data
    templates: Templates
    now: float
    remembered: dict[str, str] = field(default_factory=dict)

    @property
    def firing(self) -> bool:
        return self.data.status == "firing"

    @property
    def key_hash(self) -> str:
        """Identifies the group to receivers that remember: upstream's text."""
        return hashlib.sha256(self.key.encode()).hexdigest()

    def text(self, template: str) -> str:
        """Raises TemplateError."""
        return self.templates.text(template, self.data)

    def html(self, template: str) -> str:
        """Raises TemplateError."""
        return self.templates.html(template, self.data)


def deep_text(value: Any, notification: Notification) -> Any:
    """All texts in nested lists and mappings rendered, keys too. A text that renders to YAML of a number, a
    list or a mapping stands for that. Raises TemplateError."""
    if isinstance(value, str):
        return _structured(notification.text(value))
    if isinstance(value, list):
        return [deep_text(entry, notification) for entry in value]
    if isinstance(value, dict):
        return {notification.text(str(k)): deep_text(entry, notification) for k, entry in value.items()}
    return value


def _structured(text: str) -> Any:
    try:
        value = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError):
        return text
    return text if isinstance(value, str | dt.date | bytes) else _plain(value)


def _plain(value: Any) -> Any:
    """As JSON has it: names are texts, dates are too."""
    if isinstance(value, dict):
        return {str(k): _plain(entry) for k, entry in value.items()}
    if isinstance(value, list | set):
        return [_plain(entry) for entry in value]
    if isinstance(value, dt.date):
        return value.isoformat()
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value


def secret(value: Secret, file: str, what: str) -> str:
    """A secret, or what its file holds now. Raises NotifyError."""
    if value or not file:
        return value.reveal()
    try:
        return Path(file).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise NotifyError(f"failed to read {what} from file: {error}", retry=False) from None


def truncate(text: str, characters_max: int) -> str:
    """As upstream cuts: the last character that fits becomes an ellipsis."""
    if len(text) <= characters_max:
        return text
    return text[:characters_max] if characters_max <= 3 else text[: characters_max - 1] + "…"
