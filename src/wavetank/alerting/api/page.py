"""One page that says how things stand: groups with their alerts, silences, the configuration.

It is made on the server and needs no script; everything that comes from outside is escaped.
"""

from __future__ import annotations

import html
from collections.abc import Mapping

from wavetank.alerting.alert import Alert
from wavetank.alerting.api.times import show_time
from wavetank.alerting.config import show_config
from wavetank.alerting.dispatch import Group
from wavetank.alerting.matchers import format_matchers
from wavetank.alerting.service import Alertmanager
from wavetank.alerting.silences import Silence

__all__ = ["render_page"]

_ROWS_MAX = 1000
_STYLE = """
body { font: 15px/1.45 system-ui, sans-serif; margin: 0 auto; max-width: 70rem; padding: 1.5rem }
body { color: #1c2733 }
h1 { font-size: 1.4rem } h2 { font-size: 1.1rem; margin-top: 2rem }
table { border-collapse: collapse; width: 100% }
td, th { text-align: left; padding: .3rem .6rem; vertical-align: top }
tr + tr td { border-top: 1px solid #dde3ea } code { background: #eef2f6; border-radius: 3px; padding: 0 .3em }
.firing { color: #b00020; font-weight: 600 } .suppressed { color: #5b6875 }
pre { background: #eef2f6; padding: 1rem }
@media (prefers-color-scheme: dark) {
  body { background: #14191f; color: #dfe6ee } code, pre { background: #232b34 }
  tr + tr td { border-color: #2f3943 }
  .firing { color: #ff7a8a } .suppressed { color: #93a1af }
}
"""


def render_page(am: Alertmanager) -> str:
    """The HTML text."""
    now = am.clock.now()
    groups = [group for group in am.dispatcher.groups.values() if group.alerts][:_ROWS_MAX]
    silences = [silence for silence in am.silences.all() if silence.state(now) != "expired"][:_ROWS_MAX]
    parts = [
        "<!doctype html><html lang=en><head><meta charset=utf-8><title>Alertmanager</title>",
        '<meta name=viewport content="width=device-width"><style>',
        _STYLE,
        "</style></head><body><h1>Alertmanager</h1>",
        f"<p>{len(am.store)} alerts in {len(groups)} groups, {len(silences)} silences active or pending, ",
        f"{len(am.config.receivers)} receivers. Up since {show_time(am.started_at)}.</p>",
        "<h2>Alerts</h2>",
        "".join(_group(am, group, now) for group in groups) or "<p>No alerts.</p>",
        "<h2>Silences</h2>",
        _silences(silences, now) or "<p>No silences.</p>",
        "<h2>Configuration</h2><pre>",
        html.escape(show_config(am.config)),
        "</pre></body></html>",
    ]
    return "".join(parts)


def _labels(labels: Mapping[str, str]) -> str:
    return " ".join(f"<code>{html.escape(f'{name}={labels[name]}')}</code>" for name in sorted(labels))


def _group(am: Alertmanager, group: Group, now: float) -> str:
    muted = f" (muted by {html.escape(', '.join(group.muted_by))})" if group.muted_by else ""
    head = f"<h3>{_labels(group.labels) or 'all alerts'} to {html.escape(group.route.receiver)}{muted}</h3>"
    return head + "<table>" + "".join(_alert(am, a, now) for a in group.alerts.values()) + "</table>"


def _alert(am: Alertmanager, alert: Alert, now: float) -> str:
    state = "resolved" if alert.resolved(now) else am.status(alert).state
    shown = "firing" if state == "active" else state
    notes = " ".join(html.escape(f"{name}: {text}") for name, text in sorted(alert.annotations.items()))
    return (
        f"<tr><td class={shown}>{shown}</td><td>{show_time(alert.starts_at)}</td>"
        f"<td>{_labels(alert.labels)}<br>{notes}</td></tr>"
    )


def _silences(silences: list[Silence], now: float) -> str:
    rows = "".join(
        f"<tr><td>{silence.state(now)}</td><td>until {show_time(silence.ends_at)}</td>"
        f"<td><code>{html.escape(format_matchers([m.compile() for m in silence.matchers]))}</code> "
        f"{html.escape(silence.comment)} ({html.escape(silence.created_by)})<br>{silence.id}</td></tr>"
        for silence in silences
    )
    return f"<table>{rows}</table>" if rows else ""
