"""Dashboards as one HTML file that needs nothing else: data, script and style are inside it.

The content security policy names the script and the style by their hashes and allows nothing more, so that
the file cannot reach a network whatever a label or a text panel holds.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from html import escape
from importlib.resources import files
from typing import Any, Final

import msgspec

__all__ = ["inert_json", "render_page"]

_PAGE: Final = """<!doctype html>
<html lang="en"{fixed}>
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; script-src '{script_hash}'; \
style-src '{style_hash}'; img-src data:; base-uri 'none'; form-action 'none'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="generator" content="wavetank">
<title>{title}</title>
<link rel="icon" href="data:,">
<style>{style}</style>
</head>
<body>
<div id="dashboard"><noscript>This page draws its charts with a script.</noscript></div>
<script type="application/json" id="dashboard-data">{data}</script>
<script>{script}</script>
</body>
</html>
"""


def render_page(stored: Sequence[Mapping[str, Any]], *, title: str, theme: str = "") -> str:
    """``stored`` are ``{board, frames}`` of the browser's contract; ``theme`` "" is the reader's own."""
    script, style = _static("dashboard.js"), _static("dashboard.css")
    return _PAGE.format(
        fixed=f' data-fixed="{escape(theme)}"' if theme else "",
        script_hash=_csp_hash(script),
        style_hash=_csp_hash(style),
        title=escape(title),
        style=style,
        data=inert_json(stored),
        script=script,
    )


def inert_json(value: Any) -> str:
    """JSON that cannot end its script element nor open a comment in it, whatever its strings hold."""
    text = msgspec.json.encode(value).decode()
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")


def _static(name: str) -> str:
    # The room above holds the built bundle; reading its files does not import it.
    return files("wavetank").joinpath("web", "static", name).read_text(encoding="utf-8")


def _csp_hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
