"""``trax rewind``: a run brought back to an earlier step."""

from __future__ import annotations

import click

from trax.cli.common import common, confirm, is_json, may_ask, name, one, refuse_live, survey
from trax.cli.screen import write, write_json
from trax.errors import one_line
from trax.fsck.rewind import rewind as rewind_run

__all__ = ["rewind"]


@click.command(
    epilog="""\b
Examples:
  trax rewind fit --step 300        the next call goes on from step 300
  trax rewind fit --step 300 --yes

To keep the run as it is, make a new one from its step: trax fork --help.
The exit status is 1 if nothing leads to the step, or no run has the name.
"""
)
@name
@click.option("--step", type=click.IntRange(0), required=True, help="The step to go back to.")
@may_ask
@common
@click.pass_context
def rewind(context: click.Context, /, name: str, step: int, yes: bool, **_: object) -> int:
    """Bring a run back to an earlier step.

    Its files as they are go to aside/ in the store. Output files are cut back to that step, too.
    """
    store = survey(context)
    name = one(store, name)
    refuse_live(store, [name])
    info = store.run(name)
    if info is not None and info.step is not None and step > info.step:
        raise click.ClickException(f"{one_line(name)} is at step {info.step:,}, before {step:,}")
    now = "" if info is None or info.step is None else f"from step {info.step:,} "
    confirm(
        [f"{one_line(name)}: {now}back to step {step:,}; the files are copied to aside first."],
        yes=yes,
    )
    done = rewind_run(name, step=step, traxdir=store.path)
    write_json(done.as_dict()) if is_json(context) else write([str(done)])
    return 0
