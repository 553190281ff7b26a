"""`trax prune` removes what was set aside, and with a budget old checkpoints."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from commands import FITS, in_pipe
from support import run_script

import trax
from trax.cli import main
from trax.survey.runs import Survey


def test_what_was_set_aside() -> None:
    run_script(FITS + "fit(0).result()\nfit.fresh(0).result()")
    Path(".trax/runs/fit-0/log-00000001.torn-500").write_bytes(bytes(700))
    told = in_pipe().stdout.splitlines()[-1]
    assert " prunable (trax prune), in ./.trax" in told
    done = in_pipe("prune")
    assert (done.returncode, done.stdout) == (2, "")
    assert "  aside/fit-0~1\n  runs/fit-0/log-00000001.torn-500\n" in done.stderr
    assert json.loads(in_pipe("prune", "--dry-run", "--json").stdout)["removed"] == [
        "aside/fit-0~1",
        "runs/fit-0/log-00000001.torn-500",
    ]
    assert Survey().aside_bytes() > 0
    plan = in_pipe("prune", "--dry-run").stdout
    planned = re.search(r"([\d,]+) bytes to be removed, ([\d,]+) bytes stay", plan)
    done = in_pipe("prune", "--yes")
    assert done.returncode == 0
    assert planned is not None
    assert f"{planned[1]} bytes freed" in done.stdout
    assert f"{planned[2]} bytes left" in done.stdout
    assert Survey().aside_bytes() == 0
    assert "prunable" not in in_pipe().stdout
    assert trax.verify("fit-0").good
    assert in_pipe("prune").returncode == 0


def test_a_budget() -> None:
    run_script(FITS + "fit(0).result()")
    before = len([*Path(".trax/runs/fit-0").iterdir()])
    assert in_pipe("prune", "--budget", "1GB").returncode == 0
    assert len([*Path(".trax/runs/fit-0").iterdir()]) == before
    done = in_pipe("prune", "--budget", "1 kB", "--yes")
    assert done.returncode == 1
    assert "more than the budget" in done.stdout
    assert len([*Path(".trax/runs/fit-0").iterdir()]) < before
    assert trax.verify("fit-0").good


@pytest.mark.parametrize("budget", ["much", "-1", "1XB", ""])
def test_a_budget_is_a_size(budget: str) -> None:
    Path(".trax").mkdir(mode=0o700)
    assert main(["prune", "--budget", budget]) == 2
