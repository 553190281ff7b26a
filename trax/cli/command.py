"""Runs the ``trax`` command: finds what to do, and tells by the exit status how it went."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Sequence
from difflib import get_close_matches
from importlib import import_module

import click

from trax._version import __version__
from trax.cli.common import common, is_url, place_of, survey
from trax.errors import TraxError, one_line, printable
from trax.storage.filenames import has_replicas

__all__ = ["main"]


_COMMANDS = (  # each is in the module of its name
    "ls", "show", "log", "tail", "watch", "plot", "diff", "verify", "repair", "rewind", "fork",
    "rm", "prune", "pull", "push", "export", "report", "keygen",
)  # fmt: skip
_ON_REPLICAS = ("ls", "show", "verify", "prune", "report", "rm", "pull", "push")


class _Commands(click.Group):
    """Loads a command when it is used."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        return [*_COMMANDS]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        if cmd_name not in _COMMANDS:
            return None
        command: click.Command = getattr(import_module(f"trax.cli.{cmd_name}"), cmd_name)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        try:
            name, command, others = super().resolve_command(ctx, args)
        except click.UsageError:
            raise click.UsageError(_no_command(ctx, args[0]), ctx) from None
        words = [ctx.params.get("store") or "", *others]
        url = next((place_of(word) for word in words if _is_of_replicas(word)), None)
        if url and name not in _ON_REPLICAS:
            raise click.UsageError(
                f"trax {name} works on local stores: get the runs by trax pull {one_line(url)}", ctx
            )
        return name, command, others


def _is_of_replicas(word: str) -> bool:
    return is_url(word) or ("/" in word and has_replicas(word))


def _no_command(context: click.Context, word: str) -> str:
    """Say that there is no such command, and which may be meant."""
    said = f"no such command {one_line(repr(word))}"
    if is_url(word):
        return f"{said}: write trax ls {one_line(word)}"
    if word in survey(context).names():
        return f"{said}: write trax show {one_line(word)}"
    close = get_close_matches(word, _COMMANDS, 1)
    return f"{said}: did you mean {close[0]}?" if close else f"{said}: trax --help lists them"


@click.group(
    cls=_Commands,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="""\b
Examples:
  trax                       the runs in .trax, or in $TRAX_DIR
  trax show fit              all about one of them
  trax ls --help             more about a command
  eval "$(_TRAX_COMPLETE=bash_source trax)"   completion (or zsh_, fish_)

The exit status is 0 if all is good, 1 if something is wrong, 2 after misuse.
""",
)
@click.version_option(__version__, message="trax %(version)s")
@common
@click.pass_context
def trax(context: click.Context, /, **_: object) -> int:
    """Look at the runs of a store. Without a command, list them.

    Nothing is unpickled, and no run is disturbed: all of it works while they are going on.
    """
    if context.invoked_subcommand is not None:
        return 0
    from trax.cli.ls import list_runs

    return list_runs(context)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status: 0 for success, 1 for an error, 2 for misuse."""
    _open_streams()
    try:
        status = trax.main(arguments, prog_name="trax", standalone_mode=False)
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except click.Abort:
        return 130
    except BrokenPipeError:  # as of `trax | head`; what is left is not written at the end either
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except (TraxError, OSError) as error:
        print(f"trax: {printable(str(error))}", file=sys.stderr)
        return 1
    return int(status or 0)


def _open_streams() -> None:
    """Let streams that are closed take everything, and others what their encoding does not have."""
    if sys.stdin is None:
        sys.stdin = open(os.devnull)  # noqa: SIM115
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115
        elif isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
