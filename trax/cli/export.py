"""``trax export``: the numbers of a run as CSV, JSON lines or Parquet."""

from __future__ import annotations

import csv
import json
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple, TextIO

import click

from trax.cli.common import common, is_json, name, one, replacing, survey
from trax.cli.log import fields_of
from trax.cli.screen import write_error
from trax.survey.runs import Survey
from trax.survey.series import is_wanted, not_kept, numbers_of, stored

__all__ = ["export"]

_FORMATS = {"csv": "csv", "json": "jsonl", "jsonl": "jsonl", "parquet": "parquet", "pq": "parquet"}


@click.command(
    epilog="""\b
Examples:
  trax export fit > fit.csv
  trax export fit -o fit.jsonl
  trax export fit -o fit.parquet     needs pyarrow
  trax export fit --field loss --field 'at.*'

The exit status is 1 if the run is damaged, or none has the name.
"""
)
@name
@click.option("-o", "--output", type=click.Path(dir_okay=False), help="A file to write.")
@click.option(
    "--format",
    "kind",
    type=click.Choice(["csv", "jsonl", "parquet"]),
    help="By default that of the file's name, or csv.",
)
@click.option(
    "--field", "fields", metavar="NAME", multiple=True, help="What to export; all by default."
)
@common
@click.pass_context
def export(
    context: click.Context,
    /,
    name: str,
    output: str | None,
    kind: str | None,
    fields: tuple[str, ...],
    **_: object,
) -> int:
    """Write the numbers of a run to a file, a row for each step.

    Times are seconds since 1970. Whole numbers have all their digits, others 64 bits. A line of
    JSON has the increment as a text as well.
    """
    store = survey(context)
    name = one(store, name)
    if kind is None:
        ending = os.path.splitext(output or "")[1][1:].lower()
        kind = "jsonl" if is_json(context) else _FORMATS.get(ending, "csv")
    if note := not_kept(next((past.step for past in stored(store, name)), None)):
        write_error(f"{name}: {note}")
    if kind == "parquet":
        if output is None:
            raise click.UsageError("Parquet needs a file: give -o")
        with replacing(output) as path:
            _write_parquet(store, name, fields, path)
        return 0
    with _opened(output) as file:
        if kind == "csv":
            _write_csv(store, name, fields, file)
        else:
            for past in stored(store, name):
                line = fields_of(past)
                values: Any = line["values"]
                line["values"] = {key: values[key] for key in values if is_wanted(key, fields)}
                file.write(json.dumps(line) + "\n")
    return 0


class _Field(NamedTuple):
    """The column of a field, and the kinds of its numbers."""

    column: str
    kinds: set[str]


@contextmanager
def _opened(output: str | None) -> Iterator[TextIO]:
    if output is None or output == "-":
        yield sys.stdout
        sys.stdout.flush()
        return
    with replacing(output) as path, open(path, "w", encoding="utf-8", newline="") as file:
        yield file


def _columns(store: Survey, name: str, fields: Sequence[str]) -> tuple[dict[str, _Field], int]:
    """Return the fields with their columns, and the last step."""
    kinds: dict[str, set[str]] = {}
    last = 0
    for batch, columns in numbers_of(store, name):
        last = batch.steps[-1]
        for label, (_, values) in columns.items():
            if is_wanted(label, fields):
                kinds.setdefault(label, set()).update(_kinds(values))
    names = {"step", "time"}
    found = {}
    for label, kind in kinds.items():
        column = label or "value"
        while column in names:
            column = f"value.{column}"
        names.add(column)
        found[label] = _Field(column, kind)
    return found, last


def _kinds(values: Sequence[float]) -> Iterator[str]:
    """Yield the kinds of numbers among some: bool, float, and int of three sizes."""
    types = {*map(type, values)}
    yield from (kind.__name__ for kind in types - {int})
    if int in types:
        most = max(abs(value) for value in values if type(value) is int)
        yield "small" if most <= 2**53 else "int64" if most < 2**63 else "large"


def _tables(
    store: Survey, name: str, labels: Iterable[str], last: int
) -> Iterator[list[Sequence[float | None]]]:
    """Yield the steps, the times and the numbers of each field, for some rows at a time.

    They end with the step that was the last one when the fields were found.
    """
    for batch, columns in numbers_of(store, name, stop=last + 1):
        table: list[Sequence[float | None]] = [batch.steps, batch.times]
        for label in labels:
            places, values = columns.get(label, ((), []))
            if len(places) < len(batch.steps):
                cells: list[float | None] = [None] * len(batch.steps)
                for place, value in zip(places, values, strict=True):
                    cells[place] = value
                table.append(cells)
            else:
                table.append(values)
        yield table


def _write_csv(store: Survey, name: str, fields: Sequence[str], file: TextIO) -> None:
    columns, last = _columns(store, name, fields)
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(["step", "time", *(field.column for field in columns.values())])
    for table in _tables(store, name, columns, last):
        writer.writerows(zip(*table, strict=True))


def _write_parquet(store: Survey, name: str, fields: Sequence[str], output: str) -> None:
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError:
        raise click.ClickException(
            "Parquet needs pyarrow: pip install 'trax-resumable[parquet]'.\n"
            "Or write a .csv or .jsonl file, which needs nothing."
        ) from None
    columns, last = _columns(store, name, fields)
    heads = [("step", "int64"), ("time", "float64")]
    heads += [(field.column, _type(field.kinds)) for field in columns.values()]
    schema = pa.schema(heads)
    with pq.ParquetWriter(output, schema) as writer:
        for table in _tables(store, name, columns, last):
            parts = [
                part if kind != "string" else [None if one is None else str(one) for one in part]
                for part, (_, kind) in zip(table, heads, strict=True)
            ]
            arrays = [pa.array(part, one.type) for part, one in zip(parts, schema, strict=True)]
            writer.write_batch(pa.record_batch(arrays, schema=schema))


def _type(kinds: set[str]) -> str:
    """Return the type of Parquet that holds numbers of some kinds exactly; text, if none does."""
    types = {"bool": {"bool"}, "int64": {"small", "int64"}, "float64": {"small", "float"}}
    return next((one for one, exact in types.items() if kinds <= exact), "string")
