"""What the loss of one file costs: by default nothing, and if nothing is logged it is said."""

from __future__ import annotations

import functools
import os
import runpy
import shutil
import signal
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any

import pytest
from support import run_script
from test_sync_driver import take

import trax
from trax.storage.process import process
from trax.storage.run_reader import RunReader
from trax.storage.store import Store

JOB = """
import os, signal, sys
import trax

@trax.resumable(create=list, replay_log=lambda state, increment: [*state, increment])
def folded(state, n):
    for i in trax.steps(n):
        state = yield i * i

@trax.resumable(create=int)
def replaced(state, n):
    while state < n:
        state = yield state + 1

if __name__ == "__main__":
    name, n, end, how = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
    run = globals()[name](n=n)
    for _ in run:
        if run.step == end:
            os.kill(os.getpid(), signal.SIGTERM if how == "stopped" else signal.SIGKILL)
"""

LIVES = {
    "killed at its first step": ([1], "killed"),
    "killed late": ([3000], "killed"),
    "killed again and again": ([400, 401, 600, 800, 1000, 1001], "killed"),
    "stopped": ([50], "stopped"),
    "finished": ([3200], "finished"),
}
STEPS = 3100


@pytest.fixture(params=["folded", "replaced"])
def loop(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def losses(size: int) -> Iterator[Callable[[Path], object]]:
    """Yield ways to lose a file of this size."""

    def flip(path: Path, offset: int) -> None:
        data = bytearray(path.read_bytes())
        data[offset] ^= 1
        path.write_bytes(data)

    yield Path.unlink
    yield lambda path: path.write_bytes(b"")
    yield lambda path: os.truncate(path, size // 2)
    for offset in [0, 20, 1020, 1030, 2000, size // 2, size - 1]:
        yield functools.partial(flip, offset=offset)


@pytest.mark.parametrize("life", LIVES)
def test_no_single_checkpoint_is_needed(
    life: str, loop: str, store_here: Path, count: Callable[[str, int], None]
) -> None:
    """Nobody repairs anything: a call, a reader, `verify` and `repair` all find the last step."""
    ends, how = LIVES[life]
    for last in ends:
        run_script(JOB, loop, str(STEPS), str(last), how, check=False)
    job = runpy.run_path(str(next(Path.cwd().glob("script-*/script.py"))), run_name="script")[loop]
    step = min(ends[-1], STEPS)
    squares = [i * i for i in range(STEPS)]
    wanted: Any = squares[:step] if loop == "folded" else step
    end: Any = squares if loop == "folded" else STEPS
    directory = store_here / "runs" / loop
    checkpoints = sorted(path.name for path in directory.glob("checkpoint-*"))
    assert len(checkpoints) == 2
    assert trax.load(loop) == wanted
    whole = directory.rename("whole")
    tried = 0
    for name in checkpoints:
        for lose in losses((whole / name).stat().st_size):
            shutil.copytree(whole, directory)
            lose(directory / name)
            with trax.Trax() as store:
                assert trax.load(loop) == store.recover(loop) == wanted
            assert trax.verify(loop).step == trax.repair(loop).step == step
            assert job(n=STEPS).result() == end == trax.load(loop)
            shutil.rmtree(directory)
            tried += 1
    count("checkpoints lost", tried)


def logs_read(name: str) -> int:
    reader = Store().recover(name)
    assert isinstance(reader, RunReader)
    return len(reader.generations)


@pytest.mark.parametrize("options", [{}, {"every_steps": 1_000_000}, {"every_seconds": 1e6}])
def test_restarts_do_not_pile_up_logs(options: dict[str, Any], store_here: Path) -> None:
    """Whatever the policy, opening a run that was restarted often reads a few logs."""

    @trax.resumable(create=int, **options)
    def count(n: int) -> Generator[int, int, None]:
        while True:
            n = yield n + 1

    for start in range(40):
        with count() as run:
            assert run.resumed_at == (start or None)
            take(run, 1)
        assert logs_read("count") <= 8
        assert len(list(store_here.glob("runs/count/*"))) <= 20


def test_a_run_that_is_only_looked_at_stores_nothing(store_here: Path) -> None:
    """A checkpoint comes with the first step, not with the opening."""

    @trax.resumable(create=int)
    def count(n: int) -> Generator[int, int, None]:
        while True:
            n = yield n + 1

    with count() as run:
        take(run, 3)
    before = {path: path.read_bytes() for path in store_here.glob("runs/*/*-*")}
    with count() as run:
        assert (run.state, run.step, run.resumed_at) == (3, 3, 3)
    assert {path: path.read_bytes() for path in store_here.glob("runs/*/*-*")} == before


def test_damage_in_a_log_costs_what_follows_it_in_that_log(store_here: Path) -> None:
    """The logs before a good checkpoint are not needed."""

    @trax.resumable(create=int)
    def count(n: int) -> Generator[int, int, None]:
        while True:
            n = yield n + 1

    for _ in range(4):
        with count() as run:
            take(run, 10)
    *older, newest = sorted(store_here.glob("runs/count/log-*"))
    for log in older:
        log.write_bytes(b"")
    assert trax.load("count") == 40
    content = bytearray(newest.read_bytes())
    content[-10] ^= 1
    newest.write_bytes(content)
    with pytest.raises(trax.CorruptionError):
        trax.load("count")
    repaired = trax.repair("count")
    assert (repaired.step, repaired.lost) == (39, 1)


# -- if nothing is logged ------------------------------------------------------------------


@trax.resumable(create=list, replay_log=None, every_steps=5, name="grow")
def grow(state: list[int], n: int) -> Iterator[int]:
    for i in trax.steps(n):
        state.append(i)
        yield i


GROW = """
import os, signal
import trax

@trax.resumable(create=list, replay_log=None, every_steps=5)
def grow(state, n):
    for i in trax.steps(n):
        state.append(i)
        yield i

for i in (run := grow(n=20)):
    if run.step == 13:
        os.kill(os.getpid(), signal.SIGKILL)
"""


def test_most_of_the_first_second_is_stored(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each step takes 2 ms here, and a call to the clock nothing: a checkpoint is cheap."""
    clock = [1000.0]
    monkeypatch.setattr(process, "monotonic", lambda: clock[0])

    @trax.resumable(create=list, replay_log=None)
    def work(state: list[int], n: int) -> Iterator[None]:
        for i in trax.steps(n):
            state.append(i)
            clock[0] += 0.002
            yield

    with work(n=2000) as run:
        for end in (1, 10, 600):
            while run.step < end:
                next(run)
            assert len(work.load()) > end / 2 - 1


def test_a_run_without_a_step_is_said_to_begin_again(caplog: pytest.LogCaptureFixture) -> None:
    """Nothing is resumed where nothing was stored."""
    caplog.set_level("INFO", logger="trax")
    with grow(n=3) as run:
        assert run.step == 0
    assert grow(n=3).result() == [0, 1, 2]
    assert "grow: no step was stored yet; it begins again" in caplog.text
    assert "resumed" not in caplog.text


@pytest.mark.parametrize("lose", [Path.unlink, lambda path: path.write_bytes(b"")])
def test_the_loss_of_the_newest_checkpoint_is_an_error(
    lose: Callable[[Path], object], store_here: Path
) -> None:
    """Nothing leads to its state from the older one; a repair goes back to that."""
    killed = run_script(GROW, check=False)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    lose(max(store_here.glob("runs/grow/checkpoint-*")))
    before = {path: path.read_bytes() for path in store_here.glob("runs/*/*-*")}
    for read in (trax.load, trax.Trax().recover, lambda name: grow(n=20).result()):
        with pytest.raises(trax.CorruptionError, match=r"trax\.repair"):
            read("grow")
    found = trax.verify("grow")
    assert not found.good
    assert found.step is None
    assert {path: path.read_bytes() for path in store_here.glob("runs/*/*-*")} == before
    repaired = trax.repair("grow")
    assert repaired.step == 5
    assert not (repaired.is_exact and repaired.lost == 0)
    assert grow(n=20).resumed_at == 5
    assert grow(n=20).result() == list(range(20))


@pytest.mark.parametrize("number", [1, 2])
def test_the_loss_of_a_state_that_a_person_stored_is_an_error(
    number: int, store_here: Path
) -> None:
    """Also if nothing was logged after it, and if it was the only one."""
    with trax.Trax() as store:
        for word in ("first", "second")[:number]:
            store.checkpoint(state=word)
    max(store_here.glob("runs/state/checkpoint-*")).unlink()
    for read in (trax.load, trax.Trax().recover):
        with pytest.raises(trax.CorruptionError, match="missing"):
            read("state")
    assert "missing" in "".join(trax.verify("state").problems)
    if number == 2:
        assert trax.repair("state").step == 0
        assert trax.load("state") == "first"


def test_a_checkpoint_that_never_counted_is_not_missed(store_here: Path) -> None:
    """A kill before it has its name leaves a log that nothing was said in."""
    with grow(n=20) as run:
        take(run, 6)
        os.mkdir(store_here / "runs" / "grow" / "checkpoint-00000003.tmp")
        take(run, 6)
        os.rmdir(store_here / "runs" / "grow" / "checkpoint-00000003.tmp")
        shutil.copytree(store_here / "runs" / "grow", "killed")
    shutil.rmtree(store_here / "runs" / "grow")
    shutil.move("killed", store_here / "runs" / "grow")
    assert trax.verify("grow").good
    assert grow(n=20).resumed_at == 5
