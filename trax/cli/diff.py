"""``trax diff``: the first step at which two runs differ."""

from __future__ import annotations

import click

from trax.cli.common import common, is_json, name, one, survey
from trax.cli.screen import cut, width, write, write_json
from trax.difference import RunDifference, compare_runs
from trax.errors import one_line
from trax.plain.data import shown
from trax.survey.columns import plain
from trax.survey.runs import Survey
from trax.survey.series import stored
from trax.survey.texts import place

__all__ = ["diff"]

_LONGEST = 1000  # characters of an increment


@click.command(
    epilog="""\b
Examples:
  trax diff fit-1 fit-2
  trax diff fit-1 fit-2 --objects   load them, if bytes alone do not tell
  trax diff fit fit --other-dir /scratch/me   the same run in another store

The exit status is 1 if they differ, or one of them is damaged or not there.
"""
)
@name
@click.argument("other", metavar="OTHER")
@click.option(
    "--other-dir",
    metavar="DIR",
    type=click.Path(exists=True, file_okay=False),
    help="The store of OTHER; by default that of NAME.",
)
@click.option("--objects", is_flag=True, help="Load increments whose bytes differ: runs code.")
@common
@click.pass_context
def diff(
    context: click.Context,
    /,
    name: str,
    other: str,
    other_dir: str | None,
    objects: bool,
    **_: object,
) -> int:
    """Compare the steps of two runs, and the arguments of their calls.

    Increments are compared as they are stored, and nothing is unpickled. Equal objects can be
    stored in different bytes, such as sets: --objects loads those, and compares them to the last
    bit.
    """
    store = survey(context)
    stores = store, store if other_dir is None else Survey(other_dir)
    pair = one(stores[0], name), one(stores[1], other)
    paths = [each.path for each in stores]
    found = compare_runs(*pair, traxdir=paths[0], other_traxdir=paths[1], objects=objects)
    increments = tuple(_increment(*run, found.step) for run in zip(stores, pair, strict=True))
    if is_json(context):
        write_json(found.as_dict() | {"names": pair, "increments": increments})
    else:
        room = width()
        labels = pair[0], pair[1] if other_dir is None else f"{pair[1]} in {place(paths[1])}"
        lines = _lines(found, labels, increments)
        write(line if room is None else cut(line, room) for line in lines)
    return int(found.step is not None or bool(found.arguments))


def _increment(store: Survey, name: str, step: int | None) -> str | None:
    """Return an increment as a text."""
    if step is None:
        return None
    past = next(stored(store, name, step, step + 1), None)
    return None if past is None else shown(plain(past.increment), _LONGEST)


def _lines(
    found: RunDifference, pair: tuple[str, str], increments: tuple[str | None, ...]
) -> list[str]:
    names = [one_line(name) for name in pair]
    wide = max(map(len, names))
    if found.step is not None:
        is_first = found.step > found.first or found.first == 1
        how = "first at" if is_first else "at the first step that both have,"
        lines = [f"{names[0]} and {names[1]} differ {how} step {found.step:,}"]
        lines += [
            f"  {name:{wide}}  {text}" for name, text in zip(names, increments, strict=True) if text
        ]
        lines += [f"  {line}" for line in found.text.splitlines()]
    elif found.last < found.first:
        lines = [f"{names[0]} and {names[1]} have no stored step in common"]
    else:
        lines = [f"steps {found.first:,} to {found.last:,} are the same"]
    for argument, texts in found.arguments.items():
        lines.append(f"argument {one_line(argument)}")
        lines += [
            f"  {name:{wide}}  {'(none)' if text is None else one_line(text)}"
            for name, text in zip(names, texts, strict=True)
        ]
    return lines
