"""``wavetank mesh``: check Istio resources, explain a request's way, dump Envoy's configuration."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from wavetank.mesh.explain import Explanation
    from wavetank.mesh.matching import Request
    from wavetank.mesh.model import World
    from wavetank.mesh.translate import EnvoyConfig
    from wavetank.yamlfile import Document

__all__ = ["command"]

_FILES = click.argument("paths", nargs=-1, required=True, type=click.Path(path_type=Path))
_OUTPUT = click.option(
    "--output", "-o", type=click.Choice(["text", "json"]), default="text", show_default=True
)
_MANIFESTS = click.option(
    "-f", "--filename", "paths", multiple=True, required=True, type=click.Path(path_type=Path),
    help="A manifest, or a directory of manifests; may be repeated.",
)  # fmt: skip
_LEVELS = {"error": 0, "warning": 1, "info": 2}


@click.group()
def command() -> None:
    """Check Istio and Gateway API resources; explain which route a request takes; dump Envoy's view."""


@command.command()
@_FILES
@click.option(
    "--level", type=click.Choice(list(_LEVELS)), default="warning", show_default=True,
    help="Show findings of this level and worse.",
)  # fmt: skip
@_OUTPUT
@click.pass_context
def validate(ctx: click.Context, paths: tuple[Path, ...], level: str, output: str) -> None:
    """Check manifests: form, sense, references, unreachable rules.

    PATHS are files or directories, taken together as one set: give the Services too. Exit code 1 if there
    is an error.
    """
    from wavetank.mesh.validation import validate_documents

    findings = validate_documents(_documents(paths))
    shown = [f for f in findings if _LEVELS[f.problem.level] <= _LEVELS[level]]
    if output == "json":
        import msgspec

        rows = [
            {
                "file": f.at.path, "line": f.at.line, "object": f.object, "level": f.problem.level,
                "code": f.problem.code, "field": f.problem.field, "message": f.problem.message,
                "fix": f.problem.fix,
            }
            for f in shown
        ]  # fmt: skip
        click.echo(msgspec.json.format(msgspec.json.encode(rows)))
    else:
        for finding in shown:
            click.echo(str(finding))
        errors = sum(f.problem.is_error for f in findings)
        click.echo(f"{errors} errors, {len(findings) - errors} warnings and hints")
    ctx.exit(1 if any(f.problem.is_error for f in findings) else 0)


@command.command()
@_MANIFESTS
@click.option("-X", "--request", "method", default="GET", show_default=True, help="The HTTP method.")
@click.option("-H", "--header", "headers", multiple=True, help="A request header, as 'Name: value'.")
@click.option("--mesh", is_flag=True, help="Ask for a request between pods instead of through a gateway.")
@click.option(
    "--no-envoy", is_flag=True, help="Do not start an Envoy to decide; use the rules restated here."
)
@_OUTPUT
@click.argument("url")
def explain(
    paths: tuple[Path, ...],
    method: str,
    headers: tuple[str, ...],
    mesh: bool,
    no_envoy: bool,
    output: str,
    url: str,
) -> None:
    """Tell which rule a request for URL takes, why the others do not, and what happens to it then.

    A real Envoy decides (started for the question, in a temporary directory).
    """
    import msgspec

    from wavetank.mesh.matching import Request

    documents = _documents(paths)
    request = Request.of(url, method, _headers(headers))
    found = _explain(documents, request, mesh=mesh, envoy=not no_envoy)
    if output == "json":
        click.echo(msgspec.json.format(msgspec.json.encode(found)))
    else:
        click.echo("\n".join(_told(found)))


@command.command()
@_MANIFESTS
@click.option("--admin-port", type=click.IntRange(1, 65535), default=15000, show_default=True)
def dump(paths: tuple[Path, ...], admin_port: int) -> None:
    """Print Envoy's configuration as one static bootstrap, for `envoy -c`."""
    import msgspec

    from wavetank.mesh.dump import static_bootstrap

    _, config = _translated(_documents(paths), mesh=False)
    click.echo(msgspec.json.format(msgspec.json.encode(static_bootstrap(config, admin_port=admin_port))))


def _documents(paths: Iterable[Path]) -> list[Document]:
    from wavetank.errors import InputError
    from wavetank.yamlfile import load_documents

    documents: list[Document] = []
    for path in paths:
        if not path.exists():
            raise InputError("no such file or directory", at=path)
        files = (
            sorted(p for p in path.rglob("*") if p.suffix in (".yaml", ".yml")) if path.is_dir() else [path]
        )
        for file in files:
            documents += load_documents(file)
    if not documents:
        raise InputError("no YAML documents found", at=", ".join(str(path) for path in paths))
    return documents


def _headers(given: Iterable[str]) -> dict[str, str]:
    from wavetank.errors import InputError

    result = {}
    for text in given:
        name, colon, value = text.partition(":")
        if not colon:
            raise InputError(f"header {text!r} has no colon", fix="write it as 'Name: value'")
        result[name.strip()] = value.strip()
    return result


def _translated(documents: list[Document], *, mesh: bool) -> tuple[World, EnvoyConfig]:
    from wavetank.mesh.translate import Placement, translate
    from wavetank.mesh.validation import check_documents
    from wavetank.mesh.world import build_world

    check_documents(documents)
    objects = [d.value for d in documents if isinstance(d.value, dict) and d.value.get("metadata")]
    world = build_world(_with_addresses(objects) if mesh else objects)
    return world, translate(world, Placement(service_listeners=mesh))


def _with_addresses(objects: list[dict[str, object]]) -> list[dict[str, object]]:
    """Services without a cluster IP get a stand-in: listeners need one, and nothing is started here."""
    result = []
    for number, obj in enumerate(objects):
        spec = obj.get("spec")
        if obj.get("kind") == "Service" and isinstance(spec, dict) and not spec.get("clusterIP"):
            obj = {**obj, "spec": {**spec, "clusterIP": f"127.96.{number // 250}.{number % 250 + 1}"}}
        result.append(obj)
    return result


def _explain(documents: list[Document], request: Request, *, mesh: bool, envoy: bool) -> Explanation:
    import asyncio

    from wavetank.clock import RealClock
    from wavetank.mesh.explain import Places, explain, find_route_config
    from wavetank.mesh.probe import Probe

    world, config = _translated(documents, mesh=mesh)
    name = find_route_config(world, config, request, mesh=mesh)
    places = Places(documents)
    if not envoy:
        return explain(world, config, request, name, places=places)

    async def ask() -> Explanation:
        async with Probe.running({name: config.routes[name]}, RealClock()) as probe:
            answer = await probe.ask(name, request)
        return explain(world, config, request, name, answer=answer, asked=True, places=places)

    return asyncio.run(ask())


def _told(found: Explanation) -> Iterable[str]:
    yield found.request
    yield f"  listener  {found.listener}"
    yield f"  host      {found.vhost or 'none'}"
    for considered in found.considered:
        mark = "x" if considered.reason else ">"
        place = f"  {considered.at}" if considered.at else ""
        yield f"  {mark} {considered.number}  {considered.source}{place}"
        if considered.reason:
            yield f"       {considered.reason}"
    yield f"  outcome   {found.outcome}  (decided by {found.judge})"
    for destination in found.destinations:
        yield f"  {destination.percent:6.2f} %  {destination.cluster}"
        for key, value in destination.policy.items():
            yield f"            {key}: {value}"
        for endpoint in destination.endpoints:
            yield f"            {endpoint}"
    for key, value in found.effective.items():
        yield f"  {key}: {value}"
