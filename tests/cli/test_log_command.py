"""`trax log` writes the steps of a run, and of a damaged one those that can be read."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest
from commands import FITS, at_terminal, in_pipe
from support import run_script

import trax
from trax.cli import main
from trax.cli.log import fields_of
from trax.storage.history_reader import Past
from trax.survey.runs import Survey
from trax.survey.series import stored


@pytest.fixture
def fits() -> None:
    run_script(FITS + "fit(0).result()\nfit(1).result()")


def lines(*arguments: str) -> list[str]:
    done = in_pipe("log", *arguments)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


@pytest.mark.usefixtures("fits")
def test_each_step_is_a_line() -> None:
    found = lines("fit-0")
    assert len(found) == 100
    step, *when, loss, number, _, _, _ = found[0].split()
    assert (step, loss, number) == ("1", "{'loss':", "100.0,")
    assert when[0] != "-"  # the first moment of a run notes no times
    assert [int(line.split()[0]) for line in found] == [*range(1, 101)]
    assert lines("fit-0", "-n", "3") == found[-3:]
    assert lines("fit-0", "--since", "98") == found[-3:]
    assert lines("fit-0", "--since", "90", "-n", "2") == found[-2:]


@pytest.mark.parametrize("command", ["log", "plot"])
def test_a_run_without_steps_has_lost_none(command: str) -> None:
    run_script("import trax\n@trax.resumable\ndef fit():\n    yield from []\nfit().result()")
    assert in_pipe(command, "fit").stderr.splitlines()[0] == "trax: fit: it has no step"


def test_steps_without_a_time_at_the_beginning_have_that_of_the_run(store_here: Path) -> None:
    """Of the process that made the first; where there is no journal, they have none."""

    def times() -> list[float | None]:
        return [past.time for past in stored(Survey(), "fit")]

    run_script(FITS.replace("fit-{k}", "fit") + "fit(0, epochs=5).result()")
    began = [event["time"] for event in Survey().events("fit")]
    assert times()[0] == began[0]
    assert None not in times()
    (store_here / "runs/fit/journal").unlink()
    assert times()[0] is None


@pytest.mark.usefixtures("fits")
def test_json_lines() -> None:
    first, second = map(json.loads, lines("fit-1", "--since", "99", "--json"))
    assert second["step"] == 100
    assert second["values"] == {"loss": 2.0, "at.0": 99.0}
    assert second["text"] == "{'loss': 2.0, 'at': (99, 'text')}"
    assert {*first} == {"step", "time", "values", "text"}


@pytest.mark.usefixtures("fits")
def test_since_a_time() -> None:
    def local(seconds: float) -> str:
        return time.strftime("%Y-%m-%dT%H:%M:%S", time.localtime(time.time() + seconds))

    assert len(lines("fit-0", "--since", "2h")) == len(lines("fit-0", "--since", local(-99))) == 100
    later = local(99)
    none = in_pipe("log", "fit-0", "--since", later)
    assert (none.returncode, none.stdout) == (0, "")
    assert none.stderr == f"trax: fit-0: no step since {later}\n"
    assert lines("fit-0", "--since", "2020-01-01", "-n", "1") == lines("fit-0", "-n", "1")
    done = in_pipe("log", "fit-0", "--since", "yesterday")
    assert (done.returncode, done.stdout) == (2, "")


@pytest.mark.usefixtures("fits")
def test_at_a_terminal_lines_are_cut() -> None:
    status, text = at_terminal("log", "fit-0", columns=40)
    assert status == 0
    assert {len(line) for line in text.splitlines()} == {40}


@pytest.mark.usefixtures("fits")
def test_what_stands_before_damage_is_written(capsys: pytest.CaptureFixture[str]) -> None:
    path = Path(".trax/runs/fit-0/log-00000005")
    path.write_bytes(path.read_bytes()[:-3] + b"???")
    assert main(["log", "fit-0"]) == 1
    told = capsys.readouterr()
    assert 40 <= len(told.out.splitlines()) < 50
    assert "log-00000005" in told.err


@pytest.mark.usefixtures("fits")
def test_one_run_is_meant() -> None:
    assert in_pipe("log", "fit-*").returncode == 2
    assert in_pipe("log", "*-0").returncode == 0
    assert in_pipe("log", "other").returncode == 1


def test_odd_objects_and_texts_are_harmless() -> None:
    with trax.Trax() as store:
        store.log(word={"\x1b[2J": float("nan"), "s": "\x1b]0;x\x07\n", "inf": -float("inf")})
    for arguments in ((), ("--json",)):
        (line,) = lines("word", *arguments)
        assert line.isprintable()
    values = json.loads(line)["values"]
    assert sorted(values.values()) == ["-inf", "nan"]
    assert fields_of(Past(1, None, b"no pickle"))["text"] == "(not readable)"


def test_a_signed_run_is_read_with_its_key_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRAX_KEY", "ab" * 32)
    run_script(FITS + "fit(0).result()")
    assert len([*stored(Survey(), "fit-0")]) == 100
    done = in_pipe("log", "fit-0", TRAX_KEY="cd" * 32)
    assert (done.returncode, done.stdout) == (1, "")
    assert "Traceback" not in done.stderr
    assert os.environ["TRAX_KEY"] not in done.stderr
