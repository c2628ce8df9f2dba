"""The report of a rehearsal or simulation: one value, written in every form that somebody reads.

``model`` is the value and its JSON, ``schema`` its published JSON Schema, ``html`` one file for browsers,
``markdown`` a comment, ``junit`` for CI, ``terminal`` the summary at the end of a run.
"""

from __future__ import annotations

from wavetank.rehearsal.report.files import FORMATS, write_report
from wavetank.rehearsal.report.html import render_html
from wavetank.rehearsal.report.junit import render_junit
from wavetank.rehearsal.report.markdown import render_markdown
from wavetank.rehearsal.report.model import Report, decode, encode
from wavetank.rehearsal.report.schema import json_schema
from wavetank.rehearsal.report.terminal import print_summary
from wavetank.rehearsal.report.wording import verdict

__all__ = [
    "FORMATS",
    "Report",
    "decode",
    "encode",
    "json_schema",
    "print_summary",
    "render_html",
    "render_junit",
    "render_markdown",
    "verdict",
    "write_report",
]
