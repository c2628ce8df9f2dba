"""Console pages: templates as values, and templates that would never end."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from wavetank.monitoring.options import ServerOptions, WebOptions


async def test_templates_as_values(start: Callable[..., Any], tmp_path: Path) -> None:
    (tmp_path / "page.html").write_text(
        '{{ define "own" }}[{{ . }}]{{ end }}{{ tmpl "own" "<" }} {{ tmpl "lib" (args 1 2) | printf "%s!" }}'
    )
    (tmp_path / "loop.html").write_text('{{ define "l" }}{{ tmpl "l" . }}{{ end }}{{ tmpl "l" 1 }}')
    (tmp_path / "none.html").write_text('{{ tmpl "nothing" 1 }}')
    (tmp_path / "a.lib").write_text('{{ define "lib" }}<b>{{ .arg1 }}</b>{{ tmpl "own" .arg2 }}{{ end }}')
    options = ServerOptions(web=WebOptions(console_templates=tmp_path, console_libraries=tmp_path))
    async with start("{}", options) as server:
        # what printf makes of safe text is text again
        assert await server.get("/consoles/page.html") == (
            "[&lt;] &lt;b&gt;2&lt;/b&gt;[&amp;lt;no value&amp;gt;]!"
        )
        assert "too deeply" in await server.get("/consoles/loop.html", status=500)
        assert 'template "nothing" not defined' in await server.get("/consoles/none.html", status=500)
