"""``trax export``: the numbers of a run as CSV, JSON lines or Parquet."""

from __future__ import annotations

import csv
import json
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from fnmatch import fnmatchcase
from itertools import islice
from typing import Any, TextIO

import click

from trax.cli.common import common, is_json, name, one, survey
from trax.cli.log import fields_of
from trax.survey.runs import Survey
from trax.survey.series import Row, rows, stored

__all__ = ["export"]

_FORMATS = {"csv": "csv", "json": "jsonl", "jsonl": "jsonl", "parquet": "parquet", "pq": "parquet"}
_BATCH = 10_000  # rows of a Parquet file that are written together


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
    """Write the numbers of a run: a row for each step, a column for each field.

    Times are seconds since 1970, and numbers have 64 bits. A line of JSON has the increment as a
    text as well.
    """
    store = survey(context)
    name = one(store, name)
    if kind is None:
        ending = os.path.splitext(output or "")[1][1:].lower()
        kind = "jsonl" if is_json(context) else _FORMATS.get(ending, "csv")
    if kind == "parquet":
        if output is None:
            raise click.UsageError("Parquet needs a file: give -o")
        _write_parquet(store, name, fields, output)
        return 0
    with _opened(output) as file:
        if kind == "csv":
            _write_csv(store, name, fields, file)
        else:
            for past in stored(store, name):
                line = fields_of(past)
                values: Any = line["values"]
                line["values"] = {key: values[key] for key in values if _is_wanted(key, fields)}
                file.write(json.dumps(line) + "\n")
    return 0


@contextmanager
def _opened(output: str | None) -> Iterator[TextIO]:
    if output is None or output == "-":
        yield sys.stdout
        sys.stdout.flush()
        return
    with open(output, "w", encoding="utf-8", newline="") as file:
        yield file


def _is_wanted(label: str, fields: Sequence[str]) -> bool:
    return not fields or any(label == one or fnmatchcase(label, one) for one in fields)


def _columns(store: Survey, name: str, fields: Sequence[str]) -> tuple[dict[str, str], int]:
    """Return the fields with the names of their columns, and the last step."""
    labels: dict[str, None] = {}
    last = 0
    for row in rows(stored(store, name)):
        last = row.step
        if not row.values.keys() <= labels.keys():
            labels |= dict.fromkeys(label for label in row.values if _is_wanted(label, fields))
    columns: dict[str, str] = {}
    for label in labels:
        column = label or "value"
        while column in {"step", "time", *columns.values()}:
            column = f"value.{column}"
        columns[label] = column
    return columns, last


def _rows(store: Survey, name: str, last: int) -> Iterator[Row]:
    """Yield the rows up to the step that was the last one when the columns were found."""
    return rows(stored(store, name, stop=last + 1))


def _write_csv(store: Survey, name: str, fields: Sequence[str], file: TextIO) -> None:
    columns, last = _columns(store, name, fields)
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(["step", "time", *columns.values()])
    writer.writerows(
        [row.step, row.time, *map(row.values.get, columns)] for row in _rows(store, name, last)
    )


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
    schema = pa.schema(
        [("step", pa.int64()), ("time", pa.float64())]
        + [(column, pa.float64()) for column in columns.values()]
    )
    source = _rows(store, name, last)
    with pq.ParquetWriter(output, schema) as writer:
        while batch := [*islice(source, _BATCH)]:
            data: list[list[Any]] = [[row.step for row in batch], [row.time for row in batch]]
            data += [[row.values.get(label) for row in batch] for label in columns]
            arrays = [pa.array(part, kind.type) for part, kind in zip(data, schema, strict=True)]
            writer.write_batch(pa.record_batch(arrays, schema=schema))
