"""``wavetank autoscale``: why an HPA decided what it did, a decision beside the cluster's own, and lints."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from wavetank.autoscaling.hpa.explain import Explanation
    from wavetank.autoscaling.hpa.options import HpaOptions
    from wavetank.autoscaling.hpa.shadow import ShadowRow
    from wavetank.kube.http_client import HttpClient
    from wavetank.yamlfile import Document

__all__ = ["command"]

_KUBECONFIG = click.option(
    "--kubeconfig", type=click.Path(path_type=Path), envvar="KUBECONFIG",
    help="Of the cluster. [default: $KUBECONFIG, else the tank that runs here, else ~/.kube/config]",
)  # fmt: skip
_CONTEXT = click.option("--context", default="", help="The kubeconfig's context.")
_NAMESPACE = click.option("-n", "--namespace", default="default", show_default=True)
_OUTPUT = click.option(
    "--output", "-o", type=click.Choice(["text", "json"]), default="text", show_default=True
)
_RELEASE = click.option(
    "--emulate-kubernetes", metavar="1.3x", help="Whose rules to follow. [default: the cluster's version]"
)
_LEVELS = {"error": 0, "warning": 1, "info": 2}


@click.group()
def command() -> None:
    """Explain, shadow and check autoscalers."""


@command.command()
@click.argument("target", metavar="hpa/NAME")
@_NAMESPACE
@_KUBECONFIG
@_CONTEXT
@_RELEASE
@click.option("--last", type=click.IntRange(1, 10), default=1, show_default=True, help="How many decisions.")
@_OUTPUT
def explain(
    target: str,
    namespace: str,
    kubeconfig: Path | None,
    context: str,
    emulate_kubernetes: str | None,
    last: int,
    output: str,
) -> None:
    """Tell in words and numbers why the HPA decided what it last did.

    Of a tank's HPA the controller's own account is shown. Of any other cluster the decision is made again
    from what its API shows: the HPA, the scale, the pods and the metrics APIs; only what the controller
    remembers of earlier recommendations is hidden from it.
    """
    import asyncio

    name = _name(target)

    async def ask() -> list[Explanation]:
        async with _client(kubeconfig, context) as client:
            return await _explanations(client, namespace, name, emulate_kubernetes, last)

    found = asyncio.run(ask())
    if output == "json":
        import msgspec

        click.echo(msgspec.json.format(msgspec.json.encode(found)).decode())
        return
    for number, each in enumerate(found):
        click.echo(("\n" if number else "") + "\n".join(_shown(each)))


@command.command()
@click.argument("target", metavar="hpa/NAME")
@_NAMESPACE
@_KUBECONFIG
@_CONTEXT
@_RELEASE
@click.option(
    "-f", "--filename", type=click.Path(path_type=Path),
    help="Another HPA, to be decided by instead: what it would do about the same target.",
)  # fmt: skip
@click.option("--count", type=click.IntRange(min=1), help="End after this many decisions.")
@click.option("--for", "seconds", type=float, help="End after this many seconds.")
@click.option("--sync-period", type=float, default=15.0, show_default=True, help="The cluster's, in seconds.")
@click.option("--check", is_flag=True, help="Exit with 1 if a decision differed.")
@_OUTPUT
@click.pass_context
def shadow(
    ctx: click.Context,
    target: str,
    namespace: str,
    kubeconfig: Path | None,
    context: str,
    emulate_kubernetes: str | None,
    filename: Path | None,
    count: int | None,
    seconds: float | None,
    sync_period: float,
    check: bool,
    output: str,
) -> None:
    """Decide beside an HPA of any cluster, and report each agreement and difference. Writes nothing there.

    With --output json each decision is a line of JSON, and the summary the last. Ctrl-C ends it.
    """
    import asyncio
    from dataclasses import replace

    from wavetank.autoscaling.hpa.shadow import Shadow
    from wavetank.autoscaling.metrics_api import ApiMetricsClient
    from wavetank.clock import RealClock

    name, clock = _name(target), RealClock()
    rows: list[ShadowRow] = []
    other = _other(filename) if filename is not None else None

    async def follow() -> None:
        async with _client(kubeconfig, context) as client:
            options = replace(await _options(client, emulate_kubernetes), sync_period=sync_period)
            metrics = ApiMetricsClient(client)
            beside = Shadow(client, metrics, clock, namespace, name, options, other).rows()
            try:
                async for row in beside:
                    rows.append(row)
                    _print_row(row, output)
                    if count is not None and len(rows) >= count:
                        return
            finally:
                await beside.aclose()

    async def limited() -> None:
        following = asyncio.ensure_future(follow())
        ending = asyncio.ensure_future(clock.sleep(seconds if seconds is not None else 1e9))
        await asyncio.wait({following, ending}, return_when=asyncio.FIRST_COMPLETED)
        ending.cancel()
        if not following.done():
            following.cancel()
        await asyncio.gather(ending, return_exceptions=True)
        try:
            await following
        except asyncio.CancelledError:
            pass

    try:
        asyncio.run(limited())
    except KeyboardInterrupt:
        pass
    _print_summary(rows, output)
    ctx.exit(1 if check and any(not row.agrees for row in rows) else 0)


@command.command()
@click.argument("paths", metavar="FILE...", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "--level", type=click.Choice(list(_LEVELS)), default="warning", show_default=True,
    help="Show findings of this level and worse.",
)  # fmt: skip
@_OUTPUT
@click.pass_context
def lint(ctx: click.Context, paths: tuple[Path, ...], level: str, output: str) -> None:
    """Check the autoscalers of manifests against what is known to go wrong.

    FILEs are manifests or directories of them, taken together as one set: give the workloads too. Exit code
    1 if there is an error.
    """
    from wavetank.autoscaling.lint import lint as check

    places = _objects(paths)
    findings = check(obj for obj, _, _ in places.values())
    shown = [f for f in findings if _LEVELS[f.level] <= _LEVELS[level]]
    rows = []
    for finding in shown:
        _, document, root = places[finding.object]
        at = document.at(*root, *finding.field)
        rows.append(
            {
                "file": at.path, "line": at.line, "object": finding.object, "level": finding.level,
                "code": finding.code, "field": ".".join(map(str, finding.field)),
                "message": finding.message, "fix": finding.fix,
            }
        )  # fmt: skip
        if output == "text":
            click.echo(f"{at}: {finding.level}: {finding} [{finding.code}]")
    errors = sum(f.level == "error" for f in findings)
    if output == "json":
        import msgspec

        click.echo(msgspec.json.format(msgspec.json.encode(rows)).decode())
    else:
        click.echo(f"{errors} errors, {len(findings) - errors} warnings and hints")
    ctx.exit(1 if errors else 0)


def _objects(
    paths: tuple[Path, ...],
) -> dict[str, tuple[dict[str, Any], Document, tuple[str | int, ...]]]:
    """By Kind/namespace/name: the object, its document, and its place there."""
    from wavetank.errors import InputError
    from wavetank.yamlfile import load_documents

    found: dict[str, tuple[dict[str, Any], Document, tuple[str | int, ...]]] = {}

    def take(value: Any, document: Document, root: tuple[str | int, ...]) -> None:
        if not isinstance(value, dict):
            return
        if str(value.get("kind", "")).endswith("List") and isinstance(value.get("items"), list):
            for index, item in enumerate(value["items"]):
                take(item, document, (*root, "items", index))
        elif isinstance(meta := value.get("metadata"), dict):
            name = f"{value.get('kind', '')}/{meta.get('namespace') or 'default'}/{meta.get('name', '')}"
            found[name] = (value, document, root)

    for path in paths:
        if not path.exists():
            raise InputError("no such file or directory", at=path)
        inside = path.rglob("*") if path.is_dir() else [path]
        for file in sorted(f for f in inside if f == path or f.suffix in (".yaml", ".yml", ".json")):
            for document in load_documents(file):
                take(document.value, document, ())
    return found


def _name(target: str) -> str:
    kind, slash, name = target.partition("/")
    kinds = ("hpa", "horizontalpodautoscaler", "horizontalpodautoscalers")
    if not slash:
        return target
    if kind.lower() not in kinds or not name:
        raise click.UsageError(f"{target!r} is not an HPA; write it as hpa/NAME")
    return name


@asynccontextmanager
async def _client(kubeconfig: Path | None, context: str) -> AsyncIterator[HttpClient]:
    from wavetank.kube.http_client import HttpClient

    client = HttpClient.from_kubeconfig(kubeconfig or _kubeconfig(), context=context)
    try:
        yield client
    finally:
        await client.close()


def _kubeconfig() -> Path:
    """The tank that runs here, if there is one; else what kubectl would take."""
    from wavetank.rehearsal.registry import running

    tanks = [entry for entry in running() if entry.kubeconfig]
    if tanks:
        return Path(max(tanks, key=lambda entry: entry.started_at).kubeconfig)
    return Path.home() / ".kube" / "config"


async def _options(client: HttpClient, release: str | None) -> HpaOptions:
    """The rules of the release given, or of the cluster's own version."""
    import msgspec

    from wavetank.autoscaling.hpa.options import NEWEST, OLDEST, HpaOptions, parse_release

    if release is not None:
        return HpaOptions().emulate(parse_release(release))
    found = msgspec.json.decode(await client.get_raw("/version"))
    digits = "".join(c for c in str(found.get("minor", "")) if c.isdigit())
    return HpaOptions().emulate(min(max(int(digits or NEWEST), OLDEST), NEWEST))


async def _explanations(
    client: HttpClient, namespace: str, name: str, release: str | None, last: int
) -> list[Explanation]:
    """The controller's own account where the cluster is a tank, else the decision made again."""
    import msgspec

    from wavetank.autoscaling.hpa.explain import Explanation, explain
    from wavetank.autoscaling.hpa.observe import decide_on, get_hpa, guess_state, observe
    from wavetank.autoscaling.metrics_api import ApiMetricsClient
    from wavetank.clock import RealClock
    from wavetank.errors import InputError
    from wavetank.kube.client import ApiError

    if release is None:
        path = f"/apis/autoscaling.wavetank.dev/v1/namespaces/{namespace}/hpadecisions/{name}"
        try:
            body: Any = msgspec.json.decode(await client.get_raw(path))
            return msgspec.convert(body["decisions"][:last], list[Explanation])
        except ApiError as error:
            if error.code not in (403, 404):
                raise InputError(f"the cluster does not answer: {error.message}") from None
    obj = await get_hpa(client, namespace, name)
    options = await _options(client, release)
    seen = await observe(client, ApiMetricsClient(client), obj, options)
    now = RealClock().now()
    inputs = decide_on(now, seen, guess_state(seen.hpa, seen.scale, now), options)
    return [explain(inputs, options, recomputed=True)]


def _shown(found: Explanation) -> Iterator[str]:
    from wavetank.kube.times import format_time

    made = "made again from the API" if found.recomputed else "the controller's own"
    yield f"{found.hpa} -> {found.target} at {format_time(found.at)} ({made})"
    for line in found.lines:
        yield f"  {line}"
    for metric in found.metrics:
        if not metric.pods:
            continue
        yield f"  {metric.name}"
        for pod in metric.pods:
            parts = [pod.value or "-"]
            if pod.request:
                parts.append(f"of {pod.request}")
            if pod.utilization is not None:
                parts.append(f"= {pod.utilization} %")
            if pod.sample_age_seconds is not None:
                parts.append(f"({pod.sample_age_seconds:.1f} s old)")
            yield f"    {pod.name:40} {pod.group:8} {' '.join(parts)}"


def _other(path: Path) -> dict[str, Any]:
    from wavetank.errors import InputError
    from wavetank.yamlfile import load_documents

    for document in load_documents(path):
        if isinstance(document.value, dict) and document.value.get("kind") == "HorizontalPodAutoscaler":
            if document.value.get("apiVersion") != "autoscaling/v2":
                raise document.error("only autoscaling/v2 is read", "apiVersion")
            return document.value
    raise InputError("there is no HorizontalPodAutoscaler in it", at=path)


def _print_row(row: ShadowRow, output: str) -> None:
    import msgspec

    from wavetank.kube.times import format_time

    if output == "json":
        click.echo(msgspec.json.encode(row).decode())
        return
    mark = "agrees " if row.agrees else "DIFFERS"
    shown = f"{format_time(row.at)}  {mark}  {row.current} -> ours {row.ours}, theirs {row.theirs}"
    click.echo(f"{shown}  ({row.error or row.bound_by})")
    for line in (*row.inputs, *row.why):
        click.echo(f"    {line}")


def _print_summary(rows: list[ShadowRow], output: str) -> None:
    import msgspec

    agreed = sum(1 for row in rows if row.agrees)
    if output == "json":
        summary = {"decisions": len(rows), "agree": agreed, "differ": len(rows) - agreed}
        click.echo(msgspec.json.encode({"summary": summary}).decode())
    else:
        click.echo(f"{len(rows)} decisions: {agreed} agree, {len(rows) - agreed} differ")
