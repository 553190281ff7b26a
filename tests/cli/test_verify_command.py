"""`trax verify` finds damage, in one run or all."""

from __future__ import annotations

import json
from pathlib import Path

from commands import FITS, in_pipe
from support import run_script


def test_damage_is_found_and_told() -> None:
    run_script(FITS + "fit(0).result()\nfit(1).result()")
    done = in_pipe("verify")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "fit-0 is whole, at step 100\nfit-1 is whole, at step 100\n"
    assert "checkpoint-00000003" in in_pipe("verify", "fit-0", "-v").stdout
    path = Path(".trax/runs/fit-1/log-00000005")
    path.write_bytes(path.read_bytes()[:-3] + b"???")
    done = in_pipe("verify")
    assert done.returncode == 1
    assert "log-00000005 is damaged" in done.stdout
    assert in_pipe("verify", "fit-0").returncode == 0
    found = json.loads(in_pipe("verify", "--json").stdout)
    assert [(one["name"], one["good"]) for one in found] == [("fit-0", True), ("fit-1", False)]


def test_a_run_of_another_key_is_told() -> None:
    run_script(FITS + "fit(0).result()")
    done = in_pipe("verify", TRAX_KEY="ab" * 32)
    assert done.returncode == 1
    assert "fit-0" in done.stderr
    assert "Traceback" not in done.stderr
