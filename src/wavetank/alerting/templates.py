"""Notification templates: the language, the functions, the built-in definitions and the user's files.

Mirrors template/template.go. ``default.tmpl`` and ``email.tmpl`` beside this module define what upstream's
define, by the same names, in our words. In HTML every value is escaped, whatever its place.
"""

from __future__ import annotations

import base64
import binascii
import html
import importlib.resources
import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote_plus

import msgspec

from wavetank.alerting.data import KV, Data, Strings, to_json
from wavetank.clock import Clock
from wavetank.errors import InputError
from wavetank.gotemplate import SafeText, Template, TemplateError, definitions_of, regex
from wavetank.gotemplate.gotime import GoDuration, GoTime, parse_time
from wavetank.monitoring.config.load import expand_glob
from wavetank.monitoring.rules.functions import humanize_duration

__all__ = ["Templates"]

_BUILT_IN: Final = ("default.tmpl", "email.tmpl")
_DEPTH_MAX: Final = 20
_LOG = logging.getLogger(__name__)


def _title(text: str) -> str:
    return " ".join(word[:1].upper() + word[1:].lower() for word in text.split(" "))


def _dict(*values: Any) -> dict[str, Any]:
    if len(values) % 2:
        raise ValueError("dict requires an even number of arguments")
    if not all(isinstance(name, str) for name in values[::2]):
        raise ValueError("dict keys must be strings")
    return dict(zip(values[::2], values[1::2], strict=True))


def _decode(text: str) -> str:
    try:
        return base64.urlsafe_b64decode(text).decode()
    except (binascii.Error, UnicodeDecodeError):
        raise ValueError("illegal base64 data") from None


def _to_date(layout: str, text: str) -> GoTime:
    try:
        return parse_time(layout, text)
    except ValueError:
        return GoTime.of(0)


_PURE: Final[dict[str, Callable[..., Any]]] = {
    "append": lambda values, *more: [*values, *more],
    "base64decode": _decode,
    "base64encode": lambda text: base64.urlsafe_b64encode(text.encode()).decode(),
    "date": lambda layout, at: at.format(layout),
    "dict": _dict,
    "humanizeDuration": humanize_duration,
    "join": lambda sep, texts: sep.join(texts),
    "list": lambda *values: list(values),
    "match": regex.match,
    "mustToDate": parse_time,
    "reReplaceAll": regex.replace_all,
    "safeHtml": SafeText,
    "safeUrl": SafeText,
    "stringSlice": lambda *texts: Strings(texts),
    "title": _title,
    "toDate": _to_date,
    "toJson": lambda value: msgspec.json.encode(to_json(value)).decode(),
    "toLower": str.lower,
    "toUpper": str.upper,
    "trimSpace": str.strip,
    "tz": lambda zone, at: at.within(zone),
    "urlUnescape": unquote_plus,
}
_NAMES: Final = frozenset(_PURE) | {"now", "since", "routeLabels"}


class Templates:
    """All definitions of a configuration. Raises InputError for a file that does not parse."""

    def __init__(self, clock: Clock, patterns: Sequence[str] = ()) -> None:
        self._clock = clock
        self._definitions: dict[str, list[Any]] = {}
        for name in _BUILT_IN:
            source = importlib.resources.files("wavetank.alerting").joinpath(name)
            self._define(source.read_text(encoding="utf-8"), name)
        for pattern in patterns:
            for path in expand_glob(Path(pattern)):
                self._define_file(path)

    def _define_file(self, path: Path) -> None:
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(f"cannot read the template: {error}", at=path) from None
        self._define(text, str(path))
        self._definitions[path.name] = Template(
            text, variables=(), functions=_NAMES, definitions=self._definitions
        ).nodes

    def _define(self, text: str, name: str) -> None:
        try:
            self._definitions.update(definitions_of(text, _NAMES))
        except TemplateError as error:
            raise InputError(f"template: {error}", at=name) from None

    def text(self, template: str, data: Data) -> str:
        """The template's text. Raises TemplateError."""
        return self._render(template, data, None, ()) if "{{" in template else template

    def html(self, template: str, data: Data) -> str:
        """The same with every value escaped for HTML. Raises TemplateError."""
        return self._render(template, data, html.escape, ())

    def expand(self, data: Data) -> None:
        """Put the texts of the route's labels, which are templates, in their place. One that fails is left
        as it is, and logged."""
        texts = {}
        for name, template in data.route_labels.items():
            try:
                texts[name] = self._render(template, data, None, (name,))
            except TemplateError as error:
                _LOG.error("route label %s cannot be rendered: %s", name, error)
                texts[name] = template
        data.route_labels = KV(texts)
        data.labels_rendered = True

    def _render(
        self, template: str, data: Data, escape: Callable[[str], str] | None, labels: tuple[str, ...]
    ) -> str:
        now = self._clock.now()

        def route_label(name: str) -> str:
            if data.labels_rendered:
                return data.route_labels.get(name, "")
            if name in labels or len(labels) > _DEPTH_MAX:
                raise TemplateError(f"route label cycle detected: {' -> '.join([*labels, name])}")
            return self._render(data.route_labels.get(name, ""), data, escape, (*labels, name))

        functions: Mapping[str, Callable[..., Any]] = {
            **_PURE,
            "now": lambda: GoTime.of(now),
            "since": lambda at: GoDuration((GoTime.of(now).at - at.at).total_seconds()),
            "routeLabels": route_label,
        }
        parsed = Template(template, variables=(), functions=_NAMES, definitions=self._definitions)
        return parsed.render(data, {}, functions, escape)
