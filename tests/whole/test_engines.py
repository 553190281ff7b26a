"""Runs on the engines that people have: their workers and drivers are killed, stopped, run again.

``python tests/engine_storm.py`` kills more often. The engines that are not installed are skipped;
``.ci/run`` installs all of them, and runs all cases of these tests.
"""

from __future__ import annotations

import random
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from engine_storm import ENGINES, SWEEP, Storm, is_here

import trax

EXAMPLES = SWEEP.parent


def of_each(*engines: str) -> pytest.MarkDecorator:
    """Run a test for each engine; one that is not installed is skipped."""
    return pytest.mark.parametrize(
        "engine",
        [
            pytest.param(one, marks=pytest.mark.skipif(not is_here(one), reason="not installed"))
            for one in engines
        ],
    )


@pytest.fixture
def storms() -> Iterator[list[Storm]]:
    """End what the storms of a test leave."""
    begun: list[Storm] = []
    yield begun
    for storm in begun:
        storm.end()


# -- kills ---------------------------------------------------------------------------------


@pytest.mark.proof
@of_each(*ENGINES)
def test_a_sweep_whose_workers_and_drivers_are_killed_misses_nothing(
    engine: str, tmp_path: Path, storms: list[Storm]
) -> None:
    """A kill costs each run that it ends one step at most; the result is that of a calm run."""
    storm = Storm(tmp_path, engine, 40, in_module=random.random() < 0.5)
    storms.append(storm)
    seed = random.randrange(1 << 32)
    counts = storm.run(3, random.Random(seed))
    said = f"seed {seed}: {counts}, {storm.errors}\n{(tmp_path / 'errors').read_text()[-2000:]}"
    assert (counts.missing, counts.wrong) == (0, 0), said
    assert counts.workers + counts.drivers == 3, said
    assert counts.most <= 3, said


@pytest.mark.proof
@of_each("spawn", "joblib", "dask", "submitit")
def test_a_worker_that_was_stopped_does_no_harm_when_it_wakes(
    engine: str, tmp_path: Path, storms: list[Storm]
) -> None:
    """It holds its run as long as it is there: for the next driver that is an error of the case."""
    storm, end = Storm(tmp_path, engine, 100, wait=0.2), time.monotonic() + 200
    storms.append(storm)
    with storm.driver() as driver:
        assert storm.wait_for_steps(10, driver, end), (tmp_path / "errors").read_text()
        stopped = storm.stop_within_a_run(end)
    with storm.driver() as driver:
        driver.wait(200)
    assert any(error.startswith("LockedError: ") for error in storm.errors), storm.errors
    assert not storm.is_done
    storm.kill(stopped, signal.SIGCONT)
    while not storm.is_done:
        assert time.monotonic() < end, storm.errors
        with storm.driver() as driver:
            driver.wait(200)
    counts = storm.counts(Counter(), 0)
    assert (counts.missing, counts.wrong) == (0, 0)
    assert counts.most <= 1


# -- recipes -------------------------------------------------------------------------------


def run(example: str, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, str(EXAMPLES / example), *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def kill_in_step(process: subprocess.Popen[str], name: str) -> None:
    """Kill a process once a run whose name begins so has a step; it must not end before."""
    try:
        while not any(one.step for one in trax.runs() if one.name.startswith(name)):
            assert process.poll() is None, process.communicate()
            time.sleep(0.01)
    finally:
        process.kill()
        process.communicate()


@pytest.mark.proof
@of_each("processes", "joblib")
def test_the_sweep_of_the_examples_gives_the_same_everywhere(engine: str) -> None:
    """What is done on an engine is answered from the store elsewhere."""
    outputs = []
    for where in (engine, "here"):
        process = run("sweep.py", "--engine", where, "--steps", "20")
        outputs.append(process.communicate()[0])
        assert process.returncode == 0
    assert outputs[0] == outputs[1]
    assert outputs[0].count("\n") == 12


def said_until(word: str, example: str, *arguments: str) -> str:
    """Run an example until it says a word, and then kill it; return what it has said."""
    said = []
    with subprocess.Popen(
        [sys.executable, str(EXAMPLES / example), *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            said.append(line)
            if word in line:
                process.kill()
    return "".join(said)


def test_a_killed_trial_of_optuna_goes_on() -> None:
    pytest.importorskip("optuna")
    endless = "study.py", "--trials", "1", "--epochs", "1_000_000_000"
    kill_in_step(run(*endless), "fit-")
    said = said_until("trax: fit-", *endless)
    assert re.search(r"trax: fit-\S+ resumed at step [1-9]", said)
    assert len([*Path(".trax/runs").iterdir()]) == 1


def test_a_study_of_optuna_that_is_done_gives_the_same() -> None:
    pytest.importorskip("optuna")
    outputs = [run("study.py", "--trials", "3", "--epochs", "9").communicate()[0] for _ in "ab"]
    assert re.fullmatch(r"best: \S+\n", outputs[0])
    assert outputs[0] == outputs[1]


def test_a_killed_app_of_hydra_goes_on() -> None:
    """Its first job is done by then, and the second one takes a while."""
    pytest.importorskip("hydra")
    given = "app.py", "-m", "seed=0", "size=20,20_000"
    kill_in_step(run(*given), "coupons-0-20000")
    said = said_until("coupons-0-20000", *given)
    assert "coupons-0-20 is done, at step 500" in said
    assert re.search(r"coupons-0-20000 resumed at step [1-9]", said)
    assert said.count("\n0 20 73.208\n") == 1
