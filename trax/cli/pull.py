"""``trax pull``: runs of a replica, brought to the local store."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from trax.cli.common import common, confirm, is_json, matching, may_ask, place_of, survey
from trax.cli.screen import write, write_error, write_json, write_problem
from trax.errors import TraxError, one_line
from trax.storage.store import Store
from trax.survey.texts import size

if TYPE_CHECKING:
    from trax.replica.pull import Transfer

__all__ = ["look", "pull", "split", "transfer", "words"]

words = click.argument("words", metavar="[URL] [NAME]...", nargs=-1)


@click.command(
    epilog="""\b
Examples:
  trax pull s3://bucket/sweep             all runs that are there
  trax pull s3://bucket/sweep 'fit-*'
  trax pull ../place                      a path: it has a slash, as no name
  trax pull fit                           from $TRAX_REPLICA

The exit status is 1 if one of them could not be brought, or none has the name.
"""
)
@words
@may_ask
@common
@click.pass_context
def pull(context: click.Context, /, words: tuple[str, ...], yes: bool, **_: object) -> int:
    """Bring runs from a replica to the local store.

    A machine that writes them is not disturbed. A run that is here is replaced by its continuation;
    one that has something else is kept in aside, after a question.
    """
    from trax.replica import pull as pulling
    from trax.survey.replica_runs import ReplicaSurvey

    url, patterns = split(words)
    there, store = ReplicaSurvey(url), Store(survey(context).path)
    objects = there.opened.objects
    names = matching(there, patterns) if patterns else there.names()
    if not names:
        write_error(f"no runs in {there.path}")
    found = look(names, lambda name: pulling.look(objects, store, name))
    names = [name for name in names if patterns or found[name]]  # of removed runs claims are left
    different = [name for name in names if found[name] == "other"]
    if different:
        lines = [
            f"{one_line(name)} here has steps that are not there, or is another run"
            for name in different
        ]
        confirm([*lines, f"to be replaced, and kept in {one_line(store.path)}/aside"], yes=yes)
    return transfer(
        context,
        names,
        lambda name: pulling.pull(objects, store, name, replaces=name in different),
    )


def split(given: tuple[str, ...]) -> tuple[str, tuple[str, ...]]:
    """Return the URL, which comes first, as a path may, and the names.

    Raises
    ------
    click.UsageError
        There is no URL, nor one in ``$TRAX_REPLICA``.
    """
    if given and (there := place_of(given[0])):
        return there, given[1:]
    url = os.environ.get("TRAX_REPLICA", "")
    if not url:
        example = f" (./{one_line(given[0])})" if given and os.path.isdir(given[0]) else ""
        raise click.UsageError(
            f"which replica? Give its URL or path{example} first, or set $TRAX_REPLICA"
        )
    return url, given


def look(names: list[str], get: Callable[[str], str]) -> dict[str, str]:
    """Return what is known of each run before it is moved, which tells of what is wrong."""
    found = dict.fromkeys(names, "unknown")
    for name in names:
        with suppress(TraxError):
            found[name] = get(name)
    return found


def transfer(context: click.Context, names: list[str], move: Callable[[str], Transfer]) -> int:
    """Move runs one after the other, with a line for each; return the exit status."""
    done = []
    for name in names:
        try:
            done.append(move(name))
        except (TraxError, OSError) as error:
            write_problem(name, error)
        else:
            if not is_json(context):
                write([_line(done[-1])])
    if is_json(context):
        write_json({"runs": [asdict(one) for one in done]})
    return int(len(done) < len(names))


def _line(done: Transfer) -> str:
    aside = "; the former files are kept in aside" * done.aside
    return f"{one_line(done.name)}  {done.status}, at step {done.step:,}, {size(done.size)}{aside}"
