"""`trax show` tells of one run what a person asks after a crash."""

from __future__ import annotations

import os
import re
import time
from pathlib import Path

import pytest
from support import run_script

import trax
from trax.cli import main

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
        rf"fit  failed at step 41( of 100)?, \d+ s ago \(host {host}, pid \d+\)", lines[0]
    )
    assert lines[1] == "  ValueError: loss is nan  script.py:7"
    assert lines[2] == "  args     epochs=100 lr=0.1"
    assert lines[3] == "  code     not edited since"
    clock = r"(\w{3} )?\d\d:\d\d"
    assert re.fullmatch(
        rf"  history  began {clock}, killed {clock}, resumed at 17 {clock}, failed", lines[4]
    )
    assert re.fullmatch(r"  values   \d+ ▁[▁-█]*█ 41", lines[5])
    assert lines[6] == "  restore  checkpoint 40, 1 increment after it"
    assert re.fullmatch(r"  disk     \d+ kB, verified", lines[7])


def test_code_that_was_edited_since(capsys: pytest.CaptureFixture[str]) -> None:
    run_script(SCRIPT, "-1", check=False)
    (script,) = Path().glob("script-*/script.py")
    os.utime(script, (time.time() + 5, time.time() + 5))
    assert "  code     edited since" in shown(capsys, "fit")
    script.unlink()
    assert not any("code" in line for line in shown(capsys, "fit"))


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
    path.write_bytes(path.read_bytes()[:3000] + b"?" + path.read_bytes()[3001:])
    assert main(["show", "word"]) == 1
    assert "damaged" in capsys.readouterr().out
    assert main(["show", "word", "--no-verify"]) == 0
