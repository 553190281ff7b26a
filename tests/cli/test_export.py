"""`trax export` writes each step and each number as it is."""

from __future__ import annotations

import csv
import json
import math
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
    assert text.startswith("step,time,loss\n1,,100.0\n")


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
        ["2", "", "1.0", "2.0", "nan", "-inf"],
        ["3", "", "", "", "", ""],
    ]


@pytest.mark.usefixtures("fits")
def test_damage_is_no_success() -> None:
    path = Path(".trax/runs/fit-0/log-00000005")
    path.write_bytes(path.read_bytes()[:-3] + b"???")
    for arguments in ((), ("--json",)):
        done = in_pipe("export", "fit-0", *arguments)
        assert done.returncode == 1
        assert "log-00000005" in done.stderr
