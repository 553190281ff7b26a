"""`trax export` writes each step and each number as it is."""

from __future__ import annotations

import csv
import json
import math
import re
from pathlib import Path

import pytest
from commands import FITS, in_pipe
from support import run_script

import trax


@pytest.fixture
def fits() -> None:
    run_script(FITS + "fit(0).result()")


@pytest.mark.usefixtures("fits")
def test_csv() -> None:
    done = in_pipe("export", "fit-0")
    assert (done.returncode, done.stderr) == (0, "")
    found = [*csv.DictReader(done.stdout.splitlines())]
    assert [*found[0]] == ["step", "time", "loss", "at.0"]
    assert [float(row["loss"]) for row in found] == [100 / (n + 1) for n in range(100)]
    assert [int(row["step"]) for row in found] == [*range(1, 101)]
    assert in_pipe("export", "fit-0", "-o", "fit.csv").stdout == ""
    assert Path("fit.csv").read_text() == done.stdout
    text = in_pipe("export", "fit-0", "--field", "lo*").stdout
    assert re.match(r"step,time,loss\n1,\d+\.\d+,100\.0\n", text)


@pytest.mark.usefixtures("fits")
@pytest.mark.parametrize(
    "arguments", [("-o", "fit.jsonl"), ("-o", "fit.jsonl", "--json"), ("--json",)]
)
def test_json_lines(arguments: tuple[str, ...]) -> None:
    done = in_pipe("export", "fit-0", "--field", "loss", *arguments)
    text = Path("fit.jsonl").read_text() if "-o" in arguments else done.stdout
    found = [json.loads(line) for line in text.splitlines()]
    assert [one["values"] for one in found] == [{"loss": 100 / (n + 1)} for n in range(100)]
    assert found[1]["text"] == "{'loss': 50.0, 'at': (1, 'text')}"


@pytest.mark.usefixtures("fits")
def test_parquet() -> None:
    pytest.importorskip("pyarrow")
    from pyarrow import parquet

    assert in_pipe("export", "fit-0", "--format", "parquet").returncode == 2
    done = in_pipe("export", "fit-0", "-o", "fit.parquet")
    assert (done.returncode, done.stderr) == (0, "")
    found = parquet.read_table("fit.parquet").to_pydict()
    assert [*found] == ["step", "time", "loss", "at.0"]
    assert found["loss"] == [100 / (n + 1) for n in range(100)]


def test_fields_that_come_late_and_odd_names_and_numbers() -> None:
    with trax.Trax() as store:
        store.log(word=1.5)
        store.log(word={"step": 1, "time": 2, "a,\n": math.nan, "value": -math.inf})
        store.log(word="none")
    found = [*csv.reader(in_pipe("export", "word").stdout.splitlines())]
    assert found[0] == ["step", "time", "value", "value.step", "value.time", "a,\\n", "value.value"]
    assert [row[:1] + row[2:] for row in found[1:]] == [
        ["1", "1.5", "", "", "", ""],
        ["2", "", "1", "2", "nan", "-inf"],
        ["3", "", "", "", "", ""],
    ]


EXACT: dict[str, list[float | None]] = {
    "seed": [2**53 + 1, -(2**63) + 1, 0],
    "id": [2**63, None, 2**90 + 1],
    "won": [True, False, True],
    "sum": [0, 0.5, None],
    "odd": [2**53 + 1, 0.5, True],
}


@pytest.fixture
def exact() -> None:
    with trax.Trax() as store:
        for row in zip(*EXACT.values(), strict=True):
            store.log(word=dict(zip(EXACT, row, strict=True)))


@pytest.mark.usefixtures("exact")
def test_whole_numbers_and_truth_values_are_as_they_were() -> None:
    """A seed that is rounded is another seed."""
    found = [*csv.reader(in_pipe("export", "word").stdout.splitlines())]
    shown = [["" if one is None else str(one) for one in values] for values in EXACT.values()]
    rows = map(list, zip(*shown, strict=True))
    assert [row[2:] for row in found] == [[*EXACT], *rows]
    lines = in_pipe("export", "word", "--json").stdout.splitlines()
    for row, line in zip(zip(*EXACT.values(), strict=True), lines, strict=True):
        assert repr([json.loads(line)["values"].get(name) for name in EXACT]) == repr([*row])


@pytest.mark.usefixtures("exact")
def test_parquet_has_types_that_lose_nothing() -> None:
    """Numbers that no type of it holds are texts."""
    pytest.importorskip("pyarrow")
    from pyarrow import parquet

    in_pipe("export", "word", "-o", "word.parquet")
    found = parquet.read_table("word.parquet").drop(["step", "time"])
    kinds = {one.name: str(one.type) for one in found.schema}
    assert kinds == dict(zip(EXACT, ["int64", "string", "bool", "double", "string"], strict=True))
    texts = {"id", "odd"}
    for name, values in EXACT.items():
        as_texts = [value and str(value) for value in values]
        assert found[name].to_pylist() == (as_texts if name in texts else values)


@pytest.mark.usefixtures("fits")
def test_damage_is_no_success() -> None:
    path = Path(".trax/runs/fit-0/log-00000005")
    path.write_bytes(path.read_bytes()[:-3] + b"???")
    for arguments in ((), ("--json",)):
        done = in_pipe("export", "fit-0", *arguments)
        assert done.returncode == 1
        assert "log-00000005" in done.stderr
