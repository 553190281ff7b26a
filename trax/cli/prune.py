"""``trax prune``: room in a store."""

from __future__ import annotations

import re

import click

from trax.cli.common import common, confirm, is_json, may_ask, store_url, survey
from trax.cli.screen import write, write_json
from trax.errors import one_line
from trax.fsck.prune import Pruned

__all__ = ["prune"]

_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*(?:([kMGT])B?|B)?")
_UNITS = {"k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12}
_SHOWN = 20


def _size(
    context: click.Context,  # noqa: ARG001  # of click's protocol
    parameter: click.Parameter,  # noqa: ARG001
    value: str | None,
) -> float | None:
    if value is None:
        return None
    match = _SIZE.fullmatch(value)
    if match is None:
        raise click.BadParameter(f"{value!r} is no size such as 500MB or 10GB")
    return float(match[1]) * _UNITS.get(match[2], 1)


@click.command(
    epilog="""\b
Examples:
  trax prune                 what was set aside, and nothing else
  trax prune --budget 10GB   and old checkpoints, until the store fits
  trax prune --dry-run
  trax prune s3://bucket/sweep   what killed writers have left there

The exit status is 1 if the store does not fit into the budget even so.
"""
)
@click.option(
    "--budget",
    callback=_size,
    metavar="SIZE",
    help="The size that the store may have, such as 10GB.",
)
@click.option("--dry-run", is_flag=True, help="Only tell what would be removed.")
@may_ask
@store_url
@common
@click.pass_context
def prune(
    context: click.Context, /, budget: float | None, dry_run: bool, yes: bool, **_: object
) -> int:
    """Make room: remove what was set aside, and old checkpoints.

    Checkpoints go only with --budget. What a run needs to resume stays, and so does a run that is
    open or damaged. A replica has nothing else but litter; trax rm removes whole runs from it.
    """
    store = survey(context)
    planned = store.prune(budget=budget, dry_run=True)
    if not dry_run:
        if planned.removed:
            confirm(_plan(planned), yes=yes)
        planned = store.prune(budget=budget)
    if is_json(context):
        write_json(planned.as_dict())
    elif dry_run:
        write(_plan(planned))
    else:
        write(str(planned).splitlines())
    return int(not planned.fits)


def _plan(planned: Pruned) -> list[str]:
    shown = [f"  {one_line(path)}" for path in planned.removed[:_SHOWN]]
    others = len(planned.removed) - len(shown)
    shown += [f"  and {others:,} more"] * bool(others)
    return [*shown, f"{planned.freed:,} bytes to be removed, {planned.size:,} bytes stay"]
