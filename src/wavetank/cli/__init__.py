"""The command line: ``wavetank COMMAND``, one module per command, loaded when it is called.

Importing this package imports click and nothing else of size: ``wavetank --help`` must answer in a fifth of
a second. Errors are one line on stderr with the fix; exit codes: 0 fine, 1 a check failed, 2 usage or
input, 3 a fault of ours.
"""

from __future__ import annotations

import importlib
import os
import sys
from typing import Final

import click

from wavetank import __version__
from wavetank.errors import WavetankError

__all__ = ["main"]

#: Command -> one-line help. The module is ``wavetank.cli.<name with _>``, its click command ``command``.
COMMANDS: Final[dict[str, str]] = {
    "rehearse": "Run the whole rehearsal of a directory and report whether it held.",
    "simulate": "Simulate a rehearsal in virtual time: a day in seconds, with the same controllers.",
    "calibrate": "Measure, in about a minute, how the pods behave: a model for simulations.",
    "sweep": "Try many settings in virtual time; print the best as a patch.",
    "up": "Start a standing tank: cluster, mesh, monitoring; with a directory, its manifests.",
    "down": "Stop a standing tank.",
    "status": "What is running here, and who enforces CPU and memory limits.",
    "node": "Lose a node of a tank and bring it back.",
    "load": "Run a locustfile with open-model arrivals and honest latencies.",
    "prometheus": "A Prometheus server; Prometheus' own flags.",
    "promtool": "Check, test and query; promtool's own commands.",
    "alertmanager": "Alertmanager: groups, mutes and delivers alerts; its own flags.",
    "pushgateway": "Pushgateway: keeps what short-lived jobs push; its own flags.",
    "node-exporter": "This machine's metrics under the node exporter's names; its own flags.",
    "autoscale": "Explain, shadow and check HPAs, here or in any cluster.",
    "dashboard": "Check Grafana dashboards against data; draw them as PNG, PDF, HTML or CSV.",
    "mesh": "Check Istio resources; explain which route a request takes.",
}


class _LazyGroup(click.Group):
    """Knows its commands by name and imports one only when it is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f"wavetank.cli.{cmd_name.replace('-', '_')}")
        found: click.Command = module.command
        return found

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            from wavetank.errors import did_you_mean

            near = did_you_mean(args[0], COMMANDS)
            raise click.UsageError(f"{error.message} {near or ''}".strip(), ctx) from None


@click.group(cls=_LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="wavetank")
def root() -> None:
    """Rehearse a Kubernetes service on this machine: real load, real Envoy, real autoscaler.

    Bring the files you have (manifests, Istio routes, a locustfile, a prometheus.yml) and ask whether it
    holds, where it breaks, where the lag comes from, and what to set instead.
    """


def main() -> None:
    """Entry of the ``wavetank`` script: runs a command and turns errors into exit codes."""
    try:
        code = root.main(prog_name="wavetank", standalone_mode=False)
    except click.ClickException as error:
        error.show()
        sys.exit(2)
    except click.Abort:
        sys.exit(130)
    except WavetankError as error:
        click.echo(f"wavetank: {error}", err=True)
        sys.exit(error.exit_code)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    except Exception as error:
        if os.environ.get("WAVETANK_DEBUG"):
            raise
        where = error.__traceback__
        while where is not None and where.tb_next is not None:
            where = where.tb_next
        place = f"{where.tb_frame.f_code.co_filename}:{where.tb_lineno}" if where is not None else "unknown"
        text = f"wavetank: a fault of ours: {type(error).__name__}: {error} ({place})"
        click.echo(f"{text}; set WAVETANK_DEBUG=1 to see the traceback", err=True)
        sys.exit(3)
    sys.exit(code if isinstance(code, int) else 0)
