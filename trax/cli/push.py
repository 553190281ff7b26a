"""``trax push``: runs of the local store, copied to a replica."""

from __future__ import annotations

import click

from trax.cli.common import common, confirm, matching, may_ask, survey
from trax.cli.pull import look, split, transfer, words
from trax.errors import one_line
from trax.storage.store import Store

__all__ = ["push"]


@click.command(
    epilog="""\b
Examples:
  trax push s3://bucket/sweep             all runs of the store
  trax push s3://bucket/sweep 'fit-*'
  trax push fit                           to $TRAX_REPLICA

The exit status is 1 if one of them could not be copied, or none has the name.
"""
)
@words
@may_ask
@common
@click.pass_context
def push(context: click.Context, /, words: tuple[str, ...], yes: bool, **_: object) -> int:
    """Copy runs to a replica, so that any machine can go on.

    Runs that are running are refused. One that has something else in the replica, or that another
    machine wrote there last, is replaced after a question.
    """
    from trax.replica import push as pushing
    from trax.replica.objects import check, open_objects

    url, patterns = split(words)
    local = survey(context)
    names = matching(local, patterns) if patterns else local.names()
    objects, store = open_objects(url), Store(local.path)
    check(objects)
    found = look(names, lambda name: pushing.objection(objects, store, name))
    different = {name: why for name, why in found.items() if why not in ("", "unknown")}
    if different:
        where = one_line(objects.url)
        lines = [f"{one_line(name)} in {where}: {why}" for name, why in different.items()]
        lines += ["to be replaced there by what is here; trax pull brings it instead"]
        confirm(lines, yes=yes)
    return transfer(
        context,
        names,
        lambda name: pushing.push(objects, store, name, replaces=name in different),
    )
