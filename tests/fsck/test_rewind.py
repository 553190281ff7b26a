"""Going back to an earlier step, and on from there."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from collections.abc import Generator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support import KILLED_LATER, LIVE, run_script, start_script, write_script

import trax
from trax import CorruptionError, LockedError, NotFoundError, UsageError

Loop = Generator[Any, Any, Any]


def declared(state: list[float], steps: int) -> Loop:
    for _ in trax.steps(steps):
        yield random.random() + np.random.normal()


def plain(steps: int) -> Loop:
    total, rng = 0.0, np.random.default_rng(5)
    for i in range(steps):
        total += rng.normal() * i + random.random()
        yield total
    return total


def changing(state: list[float], steps: int) -> Loop:
    while len(state) < steps:
        state.append(random.random())
        yield state[-1]


def writing(n: int, steps: int) -> Loop:
    with trax.open("out.txt") as file:
        while n < steps:
            file.write(f"{n} {random.random()}\n")
            n = yield n + 1


def items(steps: int) -> Loop:
    done = []
    for i in trax.remaining(range(steps)):
        done.append(i * random.random())
        yield done[-1]


KINDS: dict[str, tuple[Any, dict[str, Any]]] = {
    "declared": (declared, {"create": list, "replay_log": "append"}),
    "plain": (plain, {}),
    "changing": (changing, {"create": list, "replay_log": None}),
    "writing": (writing, {"create": int}),
    "items": (items, {}),
}


def loop(kind: str, every: int = 4) -> Any:
    function, options = KINDS[kind]
    return trax.resumable(keep="all", every_steps=every, name="run", **options)(function)


def seed(number: int) -> None:
    random.seed(number)
    np.random.seed(number)


def play(kind: str, steps: int = 30) -> tuple[list[Any], Any, bytes]:
    """Run a loop to its end; return its new increments, its result, and its output file."""
    run = loop(kind)(steps=steps)
    increments = list(run)
    output = Path("out.txt")
    return increments, run.result(), output.read_bytes() if output.exists() else b""


@pytest.mark.parametrize("key", ["", "ab" * 32], ids=["unsigned", "signed"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_rewound_run_goes_on_to_the_same_bits(
    kind: str, key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From any step, with RNGs and output files as they were there."""
    if key:
        monkeypatch.setenv("TRAX_KEY", key)
    seed(1)
    increments, result, output = play(kind)
    steps = [0, 30, 4, 12] if kind == "changing" else [29, 0, 30, 17, 4, 5]
    for step in steps[: 2 if key else None]:
        rewound = trax.rewind("run", step=step)
        assert (rewound.step, rewound.undone) == (step, 30 - step)
        assert trax.verify("run").good
        assert (
            [one for _, _, one in trax.history("run")] == increments[:step]
            if (kind != "changing")
            else True
        )
        seed(1 if step == 0 else 7)  # without a step it begins anew, as it did at first
        again, its_result, its_output = play(kind)
        assert (again, its_result) == (increments[step:], result)
        assert its_output == output
        if rewound.aside:
            assert len(os.listdir(rewound.aside)) > 2


def test_what_was_undone_is_kept_aside() -> None:
    """All files as they were; a run that is at that step stays as it is."""
    play("declared")
    files = {file.name: file.read_bytes() for file in Path(".trax/runs/run").iterdir()}
    rewound = trax.rewind("run", step=10)
    assert rewound.aside == os.path.realpath(".trax/aside/run~1")
    assert {file.name: file.read_bytes() for file in Path(rewound.aside).iterdir()} == files
    assert str(rewound).splitlines() == [
        "run was rewound by 20 steps: it resumes at step 10.",
        f"The files as they were are kept in {rewound.aside}.",
    ]
    again = trax.rewind("run", step=10)
    assert (again.aside, again.undone) == (None, 0)
    assert str(again) == "run is at step 10."
    assert again.as_dict()["step"] == 10


def test_a_step_that_is_not_there_is_no_other_step() -> None:
    """Neither one before it nor the last one."""
    play("changing")
    for step in (7, 31):
        with pytest.raises(NotFoundError, match=f"no state of step {step} of 'run'.*\nGive one of"):
            trax.rewind("run", step=step)
    with pytest.raises(UsageError, match="step must be"):
        trax.rewind("run", step=-1)
    with pytest.raises(NotFoundError, match="nothing is stored as 'other'"):
        trax.rewind("other", step=1)
    assert not os.path.exists(".trax/aside")


def test_an_output_file_must_be_as_it_was() -> None:
    """Else the run would resume at another step, or never."""
    play("writing")
    Path("out.txt").write_bytes(b"else" + Path("out.txt").read_bytes()[4:])
    with pytest.raises(
        CorruptionError, match="an output file of 'run' is not as it was at step 10"
    ):
        trax.rewind("run", step=10)
    assert trax.load("run") == 30
    assert not os.path.exists(".trax/aside")


def test_a_run_that_is_open_is_not_rewound() -> None:
    """Unless its process was killed."""
    with start_script(LIVE) as started:
        assert started.stdout is not None
        started.stdout.readline()
        with pytest.raises(LockedError):
            trax.rewind("live", step=50)
        started.send_signal(signal.SIGKILL)
        started.wait()
    assert trax.rewind("live", step=55).undone == 45
    assert trax.load("live") == 55


KILLED = (
    KILLED_LATER
    + """
trax.rewind("run", step=10)
"""
)


def test_a_kill_at_each_operation_leaves_one_of_two_runs() -> None:
    """The one before or the one after; between them it says that it must be repaired."""
    play("declared")
    script = write_script(KILLED)
    seen: set[object] = set()
    for operations in range(200):
        died = subprocess.run([sys.executable, script, str(operations)], check=False).returncode
        try:
            seen.add(len(trax.load("run")))
        except CorruptionError as error:
            seen.add(str(error).partition("(")[0])
            trax.repair("run")
            assert len(trax.load("run")) == 10
        assert trax.verify("run").good
        if not died:
            break
        if len(trax.load("run")) == 10:
            assert len(play("declared")[0]) == 20
    assert seen == {30, 10, "the repair of the run 'run' was interrupted "}
    assert run_script("import trax; print(len(trax.load('run')))").stdout == "10\n"
