"""``trax fork``: a new run from a step of an old one."""

from __future__ import annotations

import os

import click

from trax.cli.common import common, is_json, name, one, survey
from trax.cli.screen import write, write_json
from trax.fsck.fork import fork as fork_run

__all__ = ["fork"]


@click.command(
    epilog="""\b
Examples:
  trax fork fit fit-2                the newest step
  trax fork fit fit-2 --step 300
  trax fork fit fit-2 --output fit.csv=fit-2.csv

The exit status is 1 if nothing leads to the step, the new name is taken, or no run has the old one.
"""
)
@name
@click.argument("new_name", metavar="NEW")
@click.option("--step", type=click.IntRange(0), help="By default the newest one.")
@click.option(
    "--output",
    "outputs",
    metavar="OLD=NEW",
    multiple=True,
    help="The new path of an output file, which is copied.",
)
@common
@click.pass_context
def fork(
    context: click.Context,
    /,
    name: str,
    new_name: str,
    step: int | None,
    outputs: tuple[str, ...],
    **_: object,
) -> int:
    """Make a run NEW that begins at a step of another one.

    The other one stays as it is.
    """
    store = survey(context)
    paths: dict[str | os.PathLike[str], str | os.PathLike[str]] = {}
    paths |= dict(text.partition("=")[::2] for text in outputs)
    if not all(paths.values()):
        raise click.UsageError("--output needs both paths, such as --output fit.csv=new.csv")
    done = fork_run(
        one(store, name), new_name, step=step, outputs=paths or None, traxdir=store.path
    )
    write_json(done.as_dict()) if is_json(context) else write([str(done)])
    return 0
