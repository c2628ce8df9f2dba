"""The report as one HTML file that needs nothing else: data, script and style are inside it.

The content security policy names the script and the style by their hashes and allows nothing more, so the
file cannot reach a network even where a user's text (an SLO's name, a log line) tries to make it. Where
scripts are off, the Markdown report stands in the page instead.
"""

from __future__ import annotations

import base64
import hashlib
from html import escape

import msgspec

from wavetank.dashboards.page import inert_json
from wavetank.rehearsal.report.markdown import render_markdown
from wavetank.rehearsal.report.model import Report
from wavetank.rehearsal.report.wording import detail, verdict
from wavetank.web import static_text

__all__ = ["render_html"]

_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; script-src {script_hashes}; \
style-src {style_hashes}; img-src data:; base-uri 'none'; form-action 'none'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="generator" content="wavetank">
<meta name="description" content="{verdict}">
<title>{name}: {outcome} – Wavetank</title>
<link rel="icon" href="data:,">
<style>{style}</style>
</head>
<body>
<div id="report" data-verdict="{verdict}" data-detail="{detail}">
<noscript>
<h1>{verdict}</h1>
<pre>{text}</pre>
</noscript>
</div>
{dashboards}<script type="application/json" id="report-data">{data}</script>
<script>{script}</script>
</body>
</html>
"""


def render_html(report: Report) -> str:
    """One self-contained page; write it as UTF-8."""
    script, style = static_text("report.js"), static_text("report.css")
    scripts, styles = [script], [style]
    if report.dashboards:
        scripts.append(static_text("dashboard.js"))
        styles.append(static_text("dashboard.css"))
    return _PAGE.format(
        script_hashes=" ".join(f"'{_csp_hash(text)}'" for text in scripts),
        style_hashes=" ".join(f"'{_csp_hash(text)}'" for text in styles),
        name=escape(report.name),
        outcome=report.outcome,
        verdict=escape(verdict(report)),
        detail=escape(detail(report)),
        text=escape(render_markdown(report)),
        style=style,
        data=inert_json(msgspec.structs.replace(report, dashboards=())),
        dashboards=_dashboards(report),
        script=script,
    )


def _dashboards(report: Report) -> str:
    """The dashboards with what draws them; nothing where the run has none."""
    if not report.dashboards:
        return ""
    script, style, data = (
        static_text("dashboard.js"),
        static_text("dashboard.css"),
        inert_json(report.dashboards),
    )
    return (
        f'<style>{style}</style>\n<div id="dashboard"></div>\n'
        f'<script type="application/json" id="dashboard-data">{data}</script>\n<script>{script}</script>\n'
    )


def _csp_hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
