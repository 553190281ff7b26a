"""`trax watch` fills the terminal, follows what happens, and leaves it as it was."""

from __future__ import annotations

import re
import time

import pytest
from commands import FITS, at_terminal, in_pipe
from support import run_script, start_script

import trax
from trax.cli.watch import _Screen
from trax.survey.run_info import RunInfo
from trax.survey.runs import Survey

ENTER, LEAVE = "\x1b[?1049h", "\x1b[?1049l"


def screens(text: str) -> list[list[str]]:
    """Return the lines of each screen that was drawn."""
    plain = re.sub(r"\x1b\[[0-9;]*m", "", text.partition(ENTER)[2].partition(LEAVE)[0])
    return [part.replace("\x1b[K", "").split("\n") for part in plain.split("\x1b[H")[1:]]


def test_keys_sort_and_q_quits() -> None:
    run_script(FITS + "fit(0).result()\nfit(1).result()\nfit(2, epochs=5).result()")
    keys = iter("nnq")

    def press(text: str) -> str:
        return next(keys, "") if text.endswith("\x1b[J") else ""

    status, text = at_terminal("watch", rows=10, type_after=press)
    assert status == 0
    assert text.count(ENTER) == text.count(LEAVE) == 1
    assert text.rstrip().endswith(LEAVE)
    found = screens(text)
    assert len(found) >= 3
    for screen in found:
        assert len(screen) == 10
        assert max(len(line) for line in screen) <= 80
        assert screen[0].split() == ["RUN", "STATE", "STEP", "RATE", "ETA", "LAST", "SIZE"]
    orders = [[line.split()[0] for line in screen[1:4]] for screen in found]
    assert ["fit-0", "fit-1", "fit-2"] in orders
    assert ["fit-2", "fit-1", "fit-0"] in orders
    assert found[-1][-2].startswith("3 runs, ")


def test_a_run_that_ends_meanwhile() -> None:
    live = FITS + "run = fit(0)\nnext(run)\nprint(flush=True)\nsys.stdin.read()\nrun.close()"
    with start_script(live) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        process.stdout.readline()
        stdin = process.stdin

        def react(text: str) -> str:
            if "running" in text and not stdin.closed:
                stdin.close()
            return "q" if "stopped" in text else ""

        status, text = at_terminal("watch", type_after=react)
    assert status == 0
    rows = [screen[1] for screen in screens(text)]
    assert [bool(re.search("[▁-█]", row)) for row in (rows[0], rows[-1])] == [True, False]
    states = [row.split()[1] for row in rows]
    assert (states[0], states[-1]) == ("running", "stopped")


def test_the_end_by_ctrl_c_leaves_the_terminal_as_it_was() -> None:
    run_script(FITS + "fit(0).result()")
    status, text = at_terminal("watch", type_after=lambda text: "\x03" * text.endswith("\x1b[J"))
    assert (status, LEAVE in text) == (0, True)


def test_it_needs_a_terminal() -> None:
    run_script(FITS + "fit(0).result()")
    for arguments in ((), ("--json",)):
        done = in_pipe("watch", *arguments)
        assert (done.returncode, done.stdout) == (2, "")


def test_runs_that_have_ended_are_not_read_again(monkeypatch: pytest.MonkeyPatch) -> None:
    with trax.Trax() as store:
        store.log(**{f"run-{n}": 1 for n in range(5)})
    survey = Survey()
    screen = _Screen(survey, "name")
    screen._look()
    read: list[str] = []
    real = survey.run

    def run(name: str) -> RunInfo | None:
        read.append(name)
        return real(name)

    monkeypatch.setattr(survey, "run", run)
    screen._look()
    assert read == []
    time.sleep(0.01)  # file times are no finer
    with trax.Trax() as store:
        store.log(**{"run-3": 2})
    screen._look()
    assert read == ["run-3"]
    assert [info.step for info in screen._infos] == [1, 1, 1, 2, 1]


def test_some_runs_alone() -> None:
    run_script(FITS + "fit(0).result()\nfit(1).result()")
    screen = _Screen(Survey(".trax"), "name", ["fit-1*"])
    screen._look()
    assert [info.name for info in screen._infos] == ["fit-1"]


def test_names_are_those_of_other_commands() -> None:
    """A name comes before a pattern, and one that means no run is an error."""
    with trax.Trax() as store:
        store.log(**{"fit[1]": 1, "fit1": 1})
    screen = _Screen(Survey(".trax"), "name", ["fit[1]"])
    screen._look()
    assert "fit[1]" in [info.name for info in screen._infos]
    status, text = at_terminal("watch", "nothing")
    assert status == 1
    assert "no run 'nothing'" in text
