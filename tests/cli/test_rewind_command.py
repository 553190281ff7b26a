"""`trax rewind` goes back to a step, and keeps what there was."""

from __future__ import annotations

import json
from pathlib import Path

from commands import FITS, at_terminal, in_pipe
from support import run_script

import trax


def test_it_asks_and_goes_back() -> None:
    run_script(FITS + "fit(0).result()")
    assert in_pipe("rewind", "fit-0").returncode == 2
    assert in_pipe("rewind", "fit-0", "--step", "44").returncode == 2
    status, text = at_terminal(
        "rewind", "fit-0", "--step", "44", type_after=lambda text: "y\n" * text.endswith("]: ")
    )
    assert status == 0
    assert "fit-0: from step 100 back to step 44" in text
    assert trax.verify("fit-0").step == 44
    found = json.loads(in_pipe("rewind", "fit-0", "--step", "20", "--yes", "--json").stdout)
    assert (found["step"], found["undone"]) == (20, 24)
    assert Path(found["aside"]).is_dir()
    done = in_pipe("rewind", "fit-0", "--step", "77", "--yes")
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] != ""
    run_script(FITS + "fit(0).result()")
    assert trax.verify("fit-0").step == 100


def test_a_step_that_is_yet_to_come() -> None:
    """It is refused before anybody is asked."""
    run_script(FITS + "fit(0).result()")
    done = in_pipe("rewind", "fit-0", "--step", "101")
    assert done.returncode == 1
    assert "fit-0 is at step 100, before 101" in done.stderr
