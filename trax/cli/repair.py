"""``trax repair``: runs that are damaged, brought back to the last step that is provably right."""

from __future__ import annotations

import click

from trax.cli.common import common, confirm, is_json, matching, may_ask, names, refuse_live, survey
from trax.cli.screen import write, write_json
from trax.errors import one_line
from trax.fsck.repair import repair as repair_run
from trax.fsck.verify import verify

__all__ = ["repair"]


@click.command(
    epilog="""\b
Examples:
  trax repair fit            tells what is damaged, and asks
  trax repair 'fit-*' --yes
  trax repair fit --step 300    back to step 300, even if more is right

The exit status is 1 if one of them cannot be repaired, or none has the name.
"""
)
@names(required=True)
@click.option("--step", type=click.IntRange(0), help="The last step to keep.")
@may_ask
@common
@click.pass_context
def repair(
    context: click.Context, /, names: tuple[str, ...], step: int | None, yes: bool, **_: object
) -> int:
    """Bring damaged runs back to their last provably right step.

    All files are copied to aside/ in the store first.
    """
    store = survey(context)
    chosen = matching(store, names)
    refuse_live(store, chosen)
    found = {name: verify(name, traxdir=store.path) for name in chosen}
    lines = []
    for name, one in found.items():
        lines += [f"{one_line(name)}: {one_line(problem)}" for problem in one.problems]
    if step is not None:
        lines += [f"{one_line(name)}: back to step {step:,}" for name in chosen]
    if lines:
        lines.append("What is not provably right is cut off; the files are copied to aside first.")
        confirm(lines, yes=yes)
    repaired = [repair_run(name, step=step, traxdir=store.path) for name in chosen]
    if is_json(context):
        write_json([one.as_dict() for one in repaired])
    else:
        write(map(str, repaired))
    return 0
