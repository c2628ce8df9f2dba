"""Command lines as Go's kingpin reads them, for the tools whose scripts were written against it.

A flag may stand anywhere, before or after the words of the command it belongs to; every switch has a
``--no-`` form; whatever is wrong with a command line, and every error of the command, ends with exit code 1.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any, Final, NoReturn, TypeVar

import click

from wavetank.errors import WavetankError

__all__ = ["WHOLE", "Tool", "switch", "text_map"]

F = TypeVar("F", bound=Callable[..., Any])


class _Whole(click.ParamType[int]):
    """A whole number, which kingpin reads as a float: 5e7."""

    name = "integer"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        try:
            found = float(value)
            if found.is_integer():
                return int(found)
        except ValueError:
            pass
        self.fail(f"{value!r} is not a whole number", param, ctx)


WHOLE: Final = _Whole()


def switch(name: str, dest: str, help: str, *, hidden: bool = False) -> Callable[[F], F]:
    """``--name`` and ``--no-name``, off by default."""
    return click.option(f"--{name}/--no-{name}", dest, default=False, hidden=hidden, help=help)


def text_map(flag: str, values: tuple[str, ...]) -> dict[str, str]:
    """``name=value`` or ``name:value``, cut at whichever sign comes first. Raises click.UsageError."""
    found = {}
    for text in values:
        ends = [at for sign in "=:" if (at := text.find(sign)) >= 0]
        if not ends:
            raise click.UsageError(f"expected KEY=VALUE got '{text}' for --{flag}")
        found[text[: min(ends)]] = text[min(ends) + 1 :]
    return found


class Tool(click.Group):
    """The root of such a tool: puts flags in front of the words they belong to, and answers with 1."""

    def make_context(
        self, info_name: str | None, args: list[str], parent: click.Context | None = None, **extra: Any
    ) -> click.Context:
        try:
            return super().make_context(info_name, self._sorted(args) or ["--help"], parent, **extra)
        except click.UsageError as error:
            self._fail(error)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except click.UsageError as error:
            self._fail(error)
        except WavetankError as error:
            click.echo(str(error), err=True)
            sys.exit(1)

    def _fail(self, error: click.UsageError) -> NoReturn:
        click.echo(f"{self.name}: error: {_text(error)}, try --help", err=True)
        sys.exit(1)

    def _sorted(self, args: list[str]) -> list[str]:
        """Every flag moved to the command that knows it, the innermost first."""
        chain: list[click.Command] = [self]
        words: list[str] = []
        flags: list[list[str]] = [[]]
        arguments: list[str] = []
        rest = iter(args)
        for token in rest:
            if token == "--":
                arguments += ["--", *rest]
            elif token.startswith("-") and token != "-":
                depth, option = _owner(chain, token)
                flags[depth].append(token)
                if option is not None and not option.is_flag and _wants_value(token):
                    flags[depth] += [value for value in [next(rest, None)] if value is not None]
            elif isinstance(chain[-1], click.Group) and (inner := chain[-1].commands.get(token)):
                chain.append(inner)
                words.append(token)
                flags.append([])
            else:
                arguments.append(token)
        ordered = flags[0]
        for word, own in zip(words, flags[1:], strict=True):
            ordered = [*ordered, word, *own]
        return [*ordered, *arguments]


def _text(error: click.UsageError) -> str:
    """In kingpin's words where it has any."""
    if isinstance(error, click.exceptions.NoArgsIsHelpError) and error.ctx is not None:
        return f"must select a subcommand of '{error.ctx.info_name}'"
    if isinstance(error, click.NoSuchOption):
        kind = "long" if error.option_name.startswith("--") else "short"
        return f"unknown {kind} flag '{error.option_name}'"
    if isinstance(error, click.MissingParameter) and error.param is not None:
        required = "argument" if isinstance(error.param, click.Argument) else "flag"
        name = error.param.opts[0] if required == "flag" else str(error.param.name)
        return f"required {required} {name if required == 'flag' else repr(name)} not provided"
    if isinstance(error, click.BadParameter) and isinstance(getattr(error.param, "type", None), click.Path):
        found = error.message.removesuffix(" does not exist.").split(" ", 1)
        if error.message != " ".join(found):
            return f"path {found[1]} does not exist"
    if error.message.startswith("No such command "):
        return f'expected command but got "{error.message[len("No such command ") :].strip(".")[1:-1]}"'
    return error.format_message().removesuffix(".")


def _wants_value(token: str) -> bool:
    return "=" not in token if token.startswith("--") else len(token) == 2


def _owner(chain: list[click.Command], token: str) -> tuple[int, click.Option | None]:
    """How deep in the chain the flag belongs, and the option; unknown ones go to the innermost."""
    name = token.partition("=")[0] if token.startswith("--") else token[:2]
    for depth in range(len(chain) - 1, -1, -1):
        for parameter in chain[depth].params:
            if isinstance(parameter, click.Option) and name in (*parameter.opts, *parameter.secondary_opts):
                return depth, parameter
    return len(chain) - 1, None
