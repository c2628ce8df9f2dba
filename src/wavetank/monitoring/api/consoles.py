"""``/consoles/*``: pages made from templates, with the functions of alert templates.

Mirrors consoles of web/web.go: a file of ``--web.console.templates`` is expanded with the templates that the
``*.lib`` files of ``--web.console.libraries`` define; values are escaped for HTML.
"""

from __future__ import annotations

import html
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qs

from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, Response

from wavetank.gotemplate import SafeText, Template, TemplateError, definitions_of
from wavetank.model.quoting import quote
from wavetank.monitoring.api.services import Services
from wavetank.monitoring.rules.functions import template_functions

__all__ = ["console_page"]

_NESTED_MAX: Final = 20  # calls of tmpl inside each other


def console_page(services: Services) -> Callable[[Request], Awaitable[Response]]:
    """The endpoint."""
    settings = services.settings

    async def page(request: Request) -> Response:
        path = _inside(settings.console_templates, request.path_params["path"])
        if path is None:
            return PlainTextResponse("404 page not found\n", 404)
        params = parse_qs(request.url.query, keep_blank_values=True)
        try:
            text = await services.queries.run(lambda: _expand(services, path, params))
        except (TemplateError, OSError, UnicodeDecodeError) as error:
            return PlainTextResponse(f"error expanding template: {error}\n", 500)
        return HTMLResponse(text)

    return page


def _inside(root: Path, name: str) -> Path | None:
    """A file below ``root``; None for one that is not there or would be elsewhere."""
    try:
        path = (root / name).resolve()
        return path if path.is_file() and path.is_relative_to(root.resolve()) else None
    except (OSError, ValueError):
        return None


def _expand(services: Services, path: Path, params: dict[str, list[str]]) -> str:
    settings = services.settings
    libraries = sorted(settings.console_libraries.glob("*.lib"))
    definitions = definitions_of("".join(file.read_text() for file in libraries))
    now_ms = round(services.clock.now() * 1000)
    functions = template_functions(
        lambda text, ts_ms: [
            (labels.to_dict(), value)
            for labels, value in services.queries.vector(text, ts_ms)
            if isinstance(value, float)
        ],
        now_ms,
        settings.external_url,
    )
    external = dict(services.state.config.globals.external_labels)
    dot = {
        "Params": {name: values[0] for name, values in params.items()},
        "RawParams": params,
        "Path": path.name,
        "ExternalLabels": external,
        "ExternalURL": settings.external_url,
    }
    variables = {
        "params": dot["Params"],
        "rawParams": params,
        "path": path.name,
        "externalLabels": external,
        "externalURL": settings.external_url,
    }
    template = Template(path.read_text(), variables=variables, definitions=definitions)
    functions = {**functions, "safeHtml": SafeText}
    nested = 0

    def tmpl(name: str, data: Any = None) -> SafeText:
        """A template's text, as a value. Raises ValueError."""
        nonlocal nested
        if nested >= _NESTED_MAX:
            raise ValueError("templates call each other too deeply")
        nested += 1
        call = Template(f"{{{{ template {quote(name)} . }}}}", variables=(), definitions=template.definitions)
        made = call.render(data, {}, functions, escape=html.escape)
        nested -= 1
        return SafeText(made)

    functions["tmpl"] = tmpl
    return template.render(dot, variables, functions, escape=html.escape)
