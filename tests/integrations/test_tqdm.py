"""The progress bar, as a person sees it on standard error."""

from __future__ import annotations

import io
import os
import pty
import re
import subprocess
import sys
import termios

import pytest
from support import run_script, write_script

import trax
from trax.integrations.tqdm import Bar

SQUARES = """
import sys
import trax

@trax.resumable(create=list, replay_log=lambda state, increment: [*state, increment], progress=True)
def squares(state, n):
    for i in trax.steps(n):
        yield i * i

for x in squares(n=9):
    if x == int(sys.argv[1]):
        break
"""

MISSING = """
import sys
sys.modules["tqdm"] = None  # as if it were not installed
import trax
try:
    trax.resumable(create=int, progress=True)(lambda n: (yield))
except trax.UsageError as error:
    print(error)
"""


def shown(text: str) -> str:
    """Return the last state of the bar."""
    return text.rstrip().splitlines()[-1].rpartition("\r")[2]


def test_the_bar_shows_the_total_and_begins_where_the_run_was_resumed() -> None:
    """Its last state is that of the last step, whether the loop was left or ended."""
    left = run_script(SQUARES, "16")
    assert "squares:" in shown(left.stderr)
    assert " 5/9 " in shown(left.stderr)
    ended = run_script(SQUARES, "-1")
    assert "resumed at step 5" in ended.stderr
    assert " 9/9 " in shown(ended.stderr)
    assert left.stdout == ended.stdout == ""


SWEEP = """
import trax

@trax.resumable(name="run-{n}", progress=True)
def run(n):
    if n == 3:
        raise ValueError(n)
    yield n

list(trax.sweep(run, {"n": range(5)}))
"""


def test_a_sweep_has_one_bar_for_all_of_its_runs() -> None:
    told = run_script(SWEEP).stderr
    bars = [line for line in re.split("[\r\n]", told) if "%|" in line]
    assert re.search(r"^run: 100%.* 5/5 .*(run/s|s/run), 1 failed\]", bars[-1])
    assert all(bar.startswith("run: ") for bar in bars)
    assert "step/s" not in told


def test_without_tqdm_it_is_said_when_the_function_is_decorated() -> None:
    """And not after hours, at the first step."""
    said = run_script(MISSING).stdout
    assert said.startswith("progress=True needs tqdm, which is not installed.\nRun pip install")


def in_terminal(text: str) -> str:
    """Run a script with a terminal as its standard error; return what it drew."""
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (24, 80))
    with subprocess.Popen(
        [sys.executable, write_script(text), "-1"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=theirs,
    ) as process:
        os.close(theirs)
        said = b""
        with os.fdopen(ours, "rb", buffering=0) as terminal:
            try:
                while chunk := terminal.read(1 << 16):
                    said += chunk
            except OSError:  # Linux says so that the other end is closed
                pass
    assert process.returncode == 0, said
    return said.decode()


def test_in_a_terminal_it_is_there_before_the_first_step() -> None:
    """With the total, as soon as the loop gives it; without warnings."""
    said = in_terminal(SQUARES)
    assert " 0/9 " in said
    assert " 9/9 " in said
    assert "Warning" not in said


def test_of_a_pipe_nobody_sees_each_step() -> None:
    """A batch job's log has the beginning and the end."""
    said = run_script(SQUARES, "-1").stderr
    assert said.count("squares:") <= 3
    assert "Warning" not in said


def test_the_last_checkpoint_is_beside_it(capsys: pytest.CaptureFixture[str]) -> None:
    """As soon as it counts."""

    @trax.resumable(create=int, every_steps=4, progress=True, total=10)
    def count(n: int):  # type: ignore[no-untyped-def]
        while n < 10:
            n = yield n + 1

    with count() as run:
        for n in run:
            if n == 6:
                break
    assert "checkpoint 4" in shown(capsys.readouterr().err)
    assert list(count()) == [7, 8, 9, 10]
    said = capsys.readouterr().err
    assert " 6/10 " in said  # before the first step of this call
    assert re.search(r" 10/10 \[.*checkpoint 8\]", shown(said))


def test_of_a_plain_loop_no_checkpoint_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    """It goes on from its newest variables, which may be those of any later step."""
    displays = []

    class Mine(Bar):
        counts_on_replay = False

        def __init__(self, name: str, step: int) -> None:
            super().__init__(name, step)
            displays.append(self)

    for progress in (True, Mine):

        @trax.resumable(progress=progress, every_steps=4, name=f"count-{progress is True}")
        def count():  # type: ignore[no-untyped-def]
            yield from range(10)

        count().result()
        assert ("checkpoint 8" in capsys.readouterr().err) is (progress is Mine)


def test_only_live_steps_count_for_the_rate(monkeypatch: pytest.MonkeyPatch) -> None:
    """From the end of the catch-up on, and not the steps of earlier calls."""
    now = 1000.0
    monkeypatch.setattr("time.time", lambda: now)
    monkeypatch.setattr("tqdm.std.time", lambda: now)
    monkeypatch.setattr("sys.stderr", io.StringIO())
    bar = Bar("run", 100)
    now += 50  # stored steps are run again
    bar.update(100, None)
    now += 10
    bar.update(120, 200)
    drawn = bar._bar.format_dict
    assert (drawn["initial"], drawn["n"], drawn["elapsed"]) == (100, 120, 10)
    bar.close(120)


def test_of_many_at_the_same_time_each_has_a_line_of_its_own() -> None:
    """And each is left at its end."""
    said = in_terminal(
        """
import itertools
import trax

@trax.resumable(create=int, name="run-{n}", progress=True, total="n")
def count(state, n):
    while state < n:
        state = yield state + 1

for _ in itertools.zip_longest(*[count(n=n) for n in (3, 4, 5)]):
    pass
count(n=6).result()
"""
    )
    lines = {line.strip("\r").rpartition("\r")[2] for line in said.split("\n")}
    for n in (3, 4, 5, 6):
        assert any(f" {n}/{n} " in line for line in lines), said
    assert "\x1b[A" in said  # up, from the second bar to the first


def test_nobody_who_listens_is_no_error() -> None:
    """As in a process without standard error, or where it was closed."""
    for change in ("sys.stderr = None", "sys.stderr.close()"):
        run_script(SQUARES.replace("for x in", f"{change}\nfor x in", 1), "-1")


AROUND = """
import sys
from tqdm import tqdm
import trax

@trax.resumable(create=int, total="n")
def count(state, n):
    while state < n:
        state = yield state + 1

for x in tqdm(count(n=9)):
    if x == int(sys.argv[1]):
        break
"""


def test_a_bar_around_a_run_shows_what_is_left() -> None:
    """It begins with the new steps, whose number is the length of the run."""
    assert " 3/9 " in shown(run_script(AROUND, "4").stderr)  # the one that broke off is not counted
    ended = run_script(AROUND, "-1").stderr
    assert " 0/5 " in ended
    assert "100%" in shown(ended)
    assert " 5/5 " in shown(ended)
