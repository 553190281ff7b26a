"""`trax diff` shows the first step at which two runs differ."""

from __future__ import annotations

import json

import pytest
from commands import FITS, at_terminal, in_pipe
from support import run_script

import trax
from trax.cli import main

DIFFERENT = FITS.replace('"at": (n', '"at": (n + (n > 60)')


def test_the_first_step_and_the_arguments() -> None:
    run_script(FITS.replace("+ k", "") + "fit(0).result()")
    run_script(DIFFERENT.replace("+ k", "") + "fit(1).result()")
    done = in_pipe("diff", "fit-0", "fit-1")
    assert (done.returncode, done.stderr) == (1, "")
    assert done.stdout == (
        "fit-0 and fit-1 differ first at step 62\n"
        "  fit-0  {'loss': 1.6129032258064515, 'at': (61, 'text')}\n"
        "  fit-1  {'loss': 1.6129032258064515, 'at': (62, 'text')}\n"
        "argument k\n"
        "  fit-0  0\n"
        "  fit-1  1\n"
    )
    found = json.loads(in_pipe("diff", "fit-0", "fit-1", "--json").stdout)
    assert (found["step"], found["arguments"]) == (62, {"k": ["0", "1"]})
    _, text = at_terminal("diff", "fit-0", "fit-1", columns=40)
    assert max(map(len, text.splitlines())) == 40
    assert "62" in in_pipe("diff", "fit-0", "fit-1", "--objects").stdout


def test_the_same() -> None:
    run_script(FITS + "fit(0).result()")
    done = in_pipe("diff", "fit-0", "fit-0")
    assert (done.returncode, done.stdout) == (0, "steps 1 to 100 are the same\n")
    assert in_pipe("diff", "fit-0", "other").returncode == 1
    assert in_pipe("diff", "fit-0").returncode == 2


def test_two_stores(capsys: pytest.CaptureFixture[str]) -> None:
    """The runs may have the same name there."""
    for traxdir, last in (("here", 1), ("there", 2)):
        with trax.Trax(traxdir) as store:
            for number in (0, last):
                store.log(fit=number)
    assert main(["diff", "fit", "fit", "--dir", "here", "--other-dir", "there"]) == 1
    assert capsys.readouterr().out == (
        "fit and fit in ./there differ first at step 2\n  fit             1\n  fit in ./there  2\n"
    )
    assert main(["diff", "fit", "fit", "--dir", "here", "--other-dir", "here"]) == 0
    assert main(["diff", "fit", "nothing", "--dir", "here", "--other-dir", "there"]) == 1
    assert "no run 'nothing' in" in capsys.readouterr().err


def test_what_was_before_the_first_step_that_both_have_is_not_known() -> None:
    run_script(
        FITS.replace('keep="all"', "keep=1")
        + "for k in (0, 1):\n    run = fit(k)\n    for _ in range(95): next(run)\n    run.close()"
    )
    first = json.loads(in_pipe("diff", "fit-0", "fit-1", "--json").stdout)["first"]
    assert first > 80
    said = f"fit-0 and fit-1 differ at the first step that both have, step {first}\n"
    assert in_pipe("diff", "fit-0", "fit-1").stdout.startswith(said)
