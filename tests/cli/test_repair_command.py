"""`trax repair` tells what is damaged, asks, and brings the run back."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from commands import FITS, in_pipe
from support import flipped, run_script

import trax


@pytest.fixture
def damaged() -> None:
    run_script(FITS + "for state in fit(0):\n    if state['at'][0] == 55: break")
    path = max(Path(".trax/runs/fit-0").glob("log-*"))
    path.write_bytes(flipped(path.read_bytes(), -20))
    newest = max(Path(".trax/runs/fit-0").glob("checkpoint-*"))
    newest.write_bytes(newest.read_bytes()[:-5] + b"?????")


@pytest.mark.usefixtures("damaged")
def test_it_tells_and_asks_and_repairs() -> None:
    before = trax.verify("fit-0").problems
    assert before
    done = in_pipe("repair", "fit-0")
    assert (done.returncode, done.stdout) == (2, "")
    assert before[0] in done.stderr
    assert trax.verify("fit-0").problems == before
    done = in_pipe("repair", "fit-0", "--yes", "--json")
    assert done.returncode == 0
    (found,) = json.loads(done.stdout)
    assert found["step"] == trax.verify("fit-0").step
    assert Path(found["aside"]).is_dir()
    assert trax.verify("fit-0").good


def test_what_is_whole_needs_no_answer() -> None:
    run_script(FITS + "fit(0).result()")
    done = in_pipe("repair", "fit-0")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "fit-0 needs no repair: it resumes at step 100.\n"
    assert in_pipe("repair", "fit-0", "--step", "44").returncode == 2
    assert in_pipe("repair", "fit-0", "--step", "44", "--yes").returncode == 0
    assert trax.verify("fit-0").step == 44
