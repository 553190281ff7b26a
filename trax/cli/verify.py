"""``trax verify``: whether every byte of runs is as it was written."""

from __future__ import annotations

import click

from trax.cli.common import common, is_json, matching, names, survey
from trax.cli.ls import no_runs
from trax.cli.screen import write, write_json, write_problem
from trax.errors import TraxError, one_line
from trax.fsck.verify import Verification
from trax.survey.runs import Survey

__all__ = ["verify"]


@click.command(
    epilog="""\b
Examples:
  trax verify                all runs in the store
  trax verify fit -v         one of them, with all of its files
  trax verify s3://bucket/sweep  replicas: each object, and the files in them
  trax verify --json | jq '.[] | select(.good | not) | .problems[]'

Output files that are gone or were changed are told. They are damage until the run is done: its
result needs none of them.
The exit status is 1 if one of the runs is damaged, or none has the name.
"""
)
@names(required=False, of_replicas=True)
@click.option("-v", "--verbose", is_flag=True, help="List all files.")
@common
@click.pass_context
def verify(context: click.Context, /, names: tuple[str, ...], verbose: bool, **_: object) -> int:
    """Read every byte of runs, and tell where they are damaged."""
    store = survey(context)
    chosen = matching(store, names) if names else store.names()
    if not names:  # a process that was killed when it began a run has left an empty directory
        chosen = [name for name in chosen if store.run(name) is not None]
    found = [one for one in (_verify(store, name) for name in chosen) if one is not None]
    if is_json(context):
        write_json([one.as_dict() for one in found])
    elif not chosen:
        write([no_runs(store)])
    else:
        for one in found:
            write([_short(one) if one.good and not verbose else str(one)])
    return int(len(found) < len(chosen) or not all(one.good for one in found))


def _verify(store: Survey, name: str) -> Verification | None:
    """Verify a run; None if it cannot be read, which is told."""
    try:
        return store.verify(name)
    except TraxError as error:
        write_problem(name, error)
        return None


def _short(one: Verification) -> str:
    step = f", at step {one.step:,}" if one.step is not None else ""
    return "; ".join(map(one_line, (f"{one.name} is whole{step}", *one.remarks)))
