"""`trax show` tells of one run what a person asks after a crash."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest
from commands import at_terminal
from support import flipped, run_script

import trax
from trax.cli import main
from trax.cli import show as module

SCRIPT = """
import os, sys, trax
@trax.resumable(create=int, every_steps=10)
def fit(n, epochs=100, lr=0.1):
    for _ in trax.steps(epochs):
        if n == int(sys.argv[1]): os.kill(os.getpid(), 9)
        if n == 41: raise ValueError("loss is nan")
        n = yield n + 1
fit().result()
"""


def shown(capsys: pytest.CaptureFixture[str], *arguments: str) -> list[str]:
    assert main(["show", *arguments]) == 0
    return capsys.readouterr().out.splitlines()


def test_a_run_that_was_killed_and_then_failed(capsys: pytest.CaptureFixture[str]) -> None:
    run_script(SCRIPT, "17", check=False)
    run_script(SCRIPT, "-1", check=False)
    lines = shown(capsys, "fit")
    host = re.escape(os.uname().nodename)
    assert re.fullmatch(
        r"fit  failed at step 41( of 100)?(, took \d+ s)?, \d+ s ago "
        rf"\(host {host}, pid \d+\)",
        lines[0],
    )
    assert lines[1] == "  ValueError: loss is nan  script.py:7"
    assert lines[2] == "  args     epochs=100 lr=0.1"
    assert lines[3] == "  code     script.py: not edited since"
    clock = r"(\w{3} )?\d\d:\d\d"
    assert re.fullmatch(
        rf"  history  {clock} began, {clock} killed, {clock} resumed at step 17, failed", lines[4]
    )
    note = "; steps 1 to 30 are not kept (keep='all' keeps all)"
    assert re.fullmatch(r"  values   from 31 ▁[▁-█]*█ to 41" + re.escape(note), lines[5])
    assert lines[6] == "  restore  checkpoint 40, 1 increment replayed"
    assert re.fullmatch(r"  disk     \d+ kB, verified", lines[7])


def test_a_line_that_is_too_long_for_the_terminal() -> None:
    """The process that is its end has one of its own."""
    run_script(SCRIPT, "17", check=False)
    for columns in (120, 48):
        status, text = at_terminal("show", "fit", columns=columns)
        lines = re.sub(r"\x1b\[[0-9;]*m", "", text).splitlines()
        assert status == 0
        assert max(map(len, lines[1:])) <= columns
        assert (columns == 48) == any(re.match(r"  process  host .*, pid", line) for line in lines)
        assert ("(host" in lines[0]) == (columns == 120)


def test_a_plain_loop_restarts_at_its_newest_variables(capsys: pytest.CaptureFixture[str]) -> None:
    """And not at its checkpoint, which is much older."""
    plain = """
import os, trax
@trax.resumable
def fit(n):
    for k in range(n):
        if k == 41: {end}
        yield k
fit(100).result()
"""
    run_script(plain.format(end="os.kill(os.getpid(), 9)"), check=False)
    found = re.search(
        r"restore  step (\d+), (no|\d+) steps? runs? again", "\n".join(shown(capsys, "fit"))
    )
    assert found
    again = 0 if found[2] == "no" else int(found[2])
    assert (int(found[1]), int(found[1]) + again) == (trax.load("fit").step, 41)
    run_script(plain.format(end="pass"))
    assert "  restore  the stored result; nothing runs again" in shown(capsys, "fit")


def test_steps_that_run_again_take_their_time() -> None:
    assert module._again(0, 5.0) == ", no step runs again"
    assert module._again(1, None) == ", 1 step runs again"
    assert module._again(1000, 2.0) == ", 1,000 steps run again, some 8 min"


def test_a_long_history_is_wrapped_and_keeps_its_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    """At a terminal; in a pipe it is one line."""
    items = ["Tue 22:01 began", *(f"22:02 resumed at {number}" for number in range(50)), "failed"]
    assert module._wrapped("history", items) == [f"  history  {', '.join(items)}"]
    monkeypatch.setattr(module, "width", lambda: 60)
    lines = module._wrapped("history", items)
    assert len(lines) == 4
    assert lines[0].startswith("  history  Tue 22:01 began, … 22:02 resumed at ")
    assert all(line.startswith(" " * 11) for line in lines[1:])
    assert lines[-1].endswith("22:02 resumed at 49, failed")
    assert max(map(len, lines)) <= 60
    assert module._wrapped("history", []) == []
    assert module._wrapped("history", ["began", "x" * 99])[1] == f"{' ' * 11}{'x' * 48}…"


def test_code_that_was_edited_since(capsys: pytest.CaptureFixture[str]) -> None:
    run_script(SCRIPT, "-1", check=False)
    (script,) = Path().glob("script-*/script.py")
    os.utime(script, (time.time() + 5, time.time() + 5))
    assert "  code     script.py: edited since" in shown(capsys, "fit")
    script.unlink()
    assert not any("code" in line for line in shown(capsys, "fit"))


def test_an_attempt_that_fails_at_once_is_not_since_when_code_was_edited(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """It has run the code as it was edited, and has come to no step."""
    path = Path("loop.py")

    def run_at(edited: float) -> None:
        os.utime(path, (edited, edited))
        subprocess.run([sys.executable, path, "-1"], capture_output=True, check=False)

    path.write_text(SCRIPT)
    run_at(1e9)
    run_at(2e9)
    assert "  code     loop.py: edited since" in shown(capsys, "fit")
    path.write_text(SCRIPT.replace("41", "43"))
    run_at(3e9)
    assert "  code     loop.py: not edited since" in shown(capsys, "fit")


def test_a_name_without_a_loop(capsys: pytest.CaptureFixture[str]) -> None:
    with trax.Trax() as store:
        store.log(word="u")
        lines = shown(capsys, "word")
        assert re.match(r"word  running at step 1 \(host", lines[0])
    lines = shown(capsys, "word", "--no-verify")
    assert lines[0].startswith("word  stopped at step 1, closed, ")
    assert not any("verified" in line for line in lines)


def test_several_are_apart_by_an_empty_line(capsys: pytest.CaptureFixture[str]) -> None:
    with trax.Trax() as store:
        store.log(a=1, b=2)
    lines = shown(capsys, "*")
    assert [line[:1] for line in lines if line[:1] != " "] == ["a", "", "b"]


def test_damage_that_only_reading_all_finds(capsys: pytest.CaptureFixture[str]) -> None:
    with trax.Trax() as store:
        store.checkpoint(word=bytes(5000))
    path = Path(".trax/runs/word/checkpoint-00000001")
    path.write_bytes(flipped(path.read_bytes(), 3000))
    assert main(["show", "word"]) == 1
    assert "damaged" in capsys.readouterr().out
    assert main(["show", "word", "--no-verify"]) == 0


def test_a_fork_says_from_where_it_is_and_a_rewound_run_to_where(
    capsys: pytest.CaptureFixture[str],
) -> None:
    run_script(SCRIPT, "-1", check=False)
    trax.fork("fit", "fork", step=40)
    trax.rewind("fit", step=40)
    (fork,) = (line for line in shown(capsys, "fork") if "history" in line)
    (fit,) = (line for line in shown(capsys, "fit") if "history" in line)
    assert re.search(r"history  .*\d\d:\d\d forked from fit at step 40, stopped$", fork)
    assert re.search(r"\d\d:\d\d failed, .*\d\d:\d\d rewound to step 40, stopped$", fit)
