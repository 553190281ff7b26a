"""``trax ls``: a line for each run."""

from __future__ import annotations

import os
import time

import click

from trax.cli.common import common, is_json, is_url, matching, names, rather, survey
from trax.cli.screen import Cell, table, write, write_json
from trax.display import count
from trax.errors import one_line
from trax.survey.run_info import HEAD, RunInfo, texts
from trax.survey.runs import Survey
from trax.survey.texts import place, size

__all__ = [
    "HEAD",
    "RIGHT",
    "STYLES",
    "UNREAD",
    "list_runs",
    "ls",
    "no_runs",
    "row",
    "summary",
    "totals",
]

STYLES = {
    "running": "green",
    "paused": "yellow",
    "stopped": "cyan",
    "failed": "bold red",
    "killed": "magenta",
    "silent": "magenta",
    "damaged": "bold red",
    "signed": "bold red",
    "untrusted": "bold red",
}
UNREAD = ("damaged", "signed", "untrusted")  # the states of runs that cannot be read
RIGHT = (6,)


@click.command(
    epilog="""\b
Examples:
  trax                       all runs in .trax, or in $TRAX_DIR
  trax ls 'fit-*'            those whose names begin with fit-
  trax ls --dir /scratch/me  another store
  trax ls s3://bucket/sweep  replicas: also gs://, az://, ../place
  trax ls --json | jq '.runs[] | select(.state == "failed") | .name'

The exit status is 1 if a run cannot be read, or none has the name.
"""
)
@names(required=False, of_replicas=True)
@common
@click.pass_context
def ls(context: click.Context, /, names: tuple[str, ...], **_: object) -> int:
    """List the runs: how far, how fast, until when, what went wrong."""
    return list_runs(context, names)


def list_runs(context: click.Context, patterns: tuple[str, ...] = ()) -> int:
    """List the runs that names or patterns mean, or all; return the exit status."""
    store = survey(context)
    infos = list(store.runs(matching(store, patterns) if patterns else None))
    aside = store.aside_bytes()
    if is_json(context):
        runs = [info.as_dict() for info in infos]
        write_json({"dir": store.path, "runs": runs, "aside": aside})
    elif infos:
        now = time.time()
        write(table(HEAD, [row(info, now) for info in infos], RIGHT))
        write([summary(store, infos, aside)])
    else:
        write([no_runs(store)])
    return int(any(info.state in UNREAD for info in infos) or bool(patterns and not infos))


def no_runs(store: Survey) -> str:
    """Say that a store has no runs, and why, if that is known."""
    said = f"no runs in {one_line(place(store.path))}"
    if not store.is_there:
        return f"{said}, which does not exist"
    is_store = is_url(store.path) or os.path.exists(os.path.join(store.path, "runs"))
    return said if is_store else f"{said}{rather(store.path)}"


def summary(store: Survey, infos: list[RunInfo], aside: int) -> str:
    """Return how many runs there are, what they take, and where they are."""
    return f"{totals(infos, aside)}, in {one_line(place(store.path))}"


def totals(infos: list[RunInfo], aside: int) -> str:
    """Return how many runs there are, what they take, and how much of that can be had back."""
    prunable = sum(info.prunable for info in infos) + aside
    sizes = [size(sum(info.size for info in infos) + aside)]
    sizes += [f"{size(prunable)} prunable (trax prune)"] * bool(prunable)
    return f"{count(len(infos), 'run')}, {', '.join(sizes)}"


def row(info: RunInfo, now: float) -> list[Cell]:
    """Return the cells of a run."""
    styles = {1: STYLES.get(info.state, "")}
    cells = enumerate(texts(info, now))
    return [(one_line(text), styles.get(column, "")) for column, text in cells]
