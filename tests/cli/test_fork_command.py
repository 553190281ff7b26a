"""`trax fork` makes a new run, with copies of output files."""

from __future__ import annotations

import json
from pathlib import Path

from commands import FITS, in_pipe
from support import run_script

import trax


def test_a_new_run_from_an_old_step() -> None:
    run_script(FITS + "fit(0).result()")
    done = in_pipe("fork", "fit-0", "new", "--step", "44")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("new was forked from fit-0 at step 44: ")
    assert trax.verify("new").step == 44
    assert json.loads(in_pipe("fork", "fit-0", "newest", "--json").stdout)["step"] == 100
    assert in_pipe("fork", "fit-0", "new").returncode == 1
    assert in_pipe("fork", "fit-0", "x", "--output", "half").returncode == 2
    assert in_pipe("fork", "other", "x").returncode == 1


def test_output_files_are_copied() -> None:
    run_script(
        "import trax\n"
        "@trax.resumable(create=int, keep='all', every_steps=1)\n"
        "def loop(n, path='a.csv'):\n"
        "    with trax.open(path, 'w') as file:\n"
        "        for _ in trax.steps(5):\n"
        "            print(n, file=file)\n"
        "            n = yield n + 1\n"
        "loop().result()"
    )
    assert in_pipe("fork", "loop", "two", "--step", "3").returncode == 1
    done = in_pipe("fork", "loop", "two", "--step", "3", "--output", "a.csv=b.csv")
    assert done.returncode == 0, done.stderr
    assert Path("b.csv").read_text() == "0\n1\n2\n"
