"""Making room in a store, without taking from a run what it needs."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from support import LIVE, flipped, run_script, start_script

import trax
from trax import NotFoundError, UsageError
from trax.storage.store import Store

Loop = Generator[int, int, None]


@trax.resumable(create=int, every_steps=10, name="count-{to}", keep="all", background=False)
def count(n: int, to: int) -> Loop:
    while n < to:
        n = yield n + 1


def broken_off(to: int, step: int) -> None:
    with count(to=to) as run:
        while run.step < step:
            next(run)


def total() -> int:
    parts = (Path(".trax/runs"), Path(".trax/aside"))
    return sum(file.stat().st_size for part in parts for file in part.rglob("*") if file.is_file())


def test_without_a_budget_only_copies_are_removed() -> None:
    """Nothing else is there that nobody needs."""
    count(to=30).result()
    count.fresh(to=30).result()
    before, files = total(), os.listdir(".trax/runs/count-30")
    asked = trax.prune(dry_run=True)
    assert (asked.removed, asked.size) == (("aside/count-30~1",), before - asked.freed)
    assert asked.is_dry_run
    assert f"{asked.freed:,} bytes would be freed in " in str(asked)
    assert f", {asked.size:,} bytes would be left." in str(asked)
    assert total() == before
    pruned = trax.prune()
    assert pruned == asked
    assert pruned.size == total() == before - pruned.freed
    assert os.listdir(".trax/runs/count-30") == files
    assert trax.prune().removed == ()
    assert str(pruned).startswith(f"{pruned.freed:,} bytes freed in ")


def test_a_store_fits_into_its_budget() -> None:
    """As much as is needed goes, copies first, then what is oldest."""
    broken_off(100, step=95)
    broken_off(200, step=195)
    count.fresh(to=30).result()
    count.fresh(to=30).result()
    everything = total()
    assert trax.prune(budget=everything).removed == ()
    assert trax.prune(budget=everything - 1).removed == ("aside/count-30~1",)
    budget = total() - 20_000
    asked = trax.prune(budget=budget, dry_run=True)
    pruned = trax.prune(budget=budget)
    assert pruned == asked
    assert pruned.fits
    assert budget - 10_000 < pruned.size <= budget
    assert pruned.size == total()
    assert {os.path.dirname(path) for path in pruned.removed} == {"runs/count-100"}
    assert pruned.removed[:2] == (
        "runs/count-100/checkpoint-00000001",
        "runs/count-100/log-00000001",
    )
    assert trax.verify("count-100").good
    assert trax.load("count-100", step=90) == 90
    with pytest.raises(NotFoundError, match="Give one of these steps: "):
        trax.load("count-100", step=0)


def test_what_a_run_needs_stays() -> None:
    """However small the budget is: two checkpoints, and the logs after them."""
    broken_off(100, step=95)
    count(to=30).result()
    pruned = trax.prune(budget=0)
    assert not pruned.fits
    assert "more than the budget" in str(pruned)
    assert all(trax.verify(name).good for name in ("count-100", "count-30"))
    found = trax.verify("count-100").generations
    assert [one.checkpoint.step for one in found if one.checkpoint] == [80, 90]
    assert count(to=100).result() == 100
    assert trax.load("count-100") == 100
    assert trax.prune(budget=0, dry_run=True).as_dict()["fits"] is False


def test_a_damaged_run_is_left_alone() -> None:
    """Its older files may be all that a repair has."""
    broken_off(100, step=95)
    log = max(Path(".trax/runs/count-100").glob("log-*"))
    log.write_bytes(flipped(log.read_bytes(), 1030))
    files = os.listdir(".trax/runs/count-100")
    pruned = trax.prune(budget=0)
    assert pruned.skipped == ("count-100",)
    assert os.listdir(".trax/runs/count-100") == files
    newest = max(Path(".trax/runs/count-100").glob("checkpoint-*"))
    log.write_bytes(flipped(log.read_bytes(), 1030))
    newest.write_bytes(flipped(newest.read_bytes(), -1))
    trax.prune(budget=0)
    assert count(to=100).result() == 100  # from the checkpoint before, of which another stays


def test_an_open_run_is_left_alone() -> None:
    """It is pruned when it was killed."""
    with start_script(LIVE) as started:
        assert started.stdout is not None
        started.stdout.readline()
        files = set(os.listdir(".trax/runs/live"))
        assert trax.prune(budget=0).skipped == ("live",)
        assert set(os.listdir(".trax/runs/live")) == files
        started.send_signal(signal.SIGKILL)
        started.wait()
    assert trax.prune(budget=0).skipped == ()
    assert len(os.listdir(".trax/runs/live")) == 5  # with the journal
    assert trax.load("live") == 100


KILLED = """
import os, signal, sys
import trax
from trax.storage.filesystem import LocalDirectory

left = int(sys.argv[1])
remove = LocalDirectory.remove

def dying(self, name):
    global left
    if not left:
        os.kill(os.getpid(), signal.SIGKILL)
    left -= 1
    remove(self, name)

LocalDirectory.remove = dying
trax.prune(budget=0)
"""


def test_a_kill_at_each_removal_leaves_a_run() -> None:
    """The next call removes the rest."""
    broken_off(100, step=95)
    for removals in (1, 2, 3):
        run_script(KILLED, str(removals), check=False)
        assert trax.verify("count-100").good
        assert trax.load("count-100") == 95
    assert not trax.prune(budget=0).fits
    assert len(os.listdir(".trax/runs/count-100")) == 5  # with the journal


@pytest.mark.parametrize("budget", [-1, float("nan"), "10 GB", True])
def test_what_is_no_size_is_refused(budget: Any) -> None:
    """Before anything is removed."""
    with pytest.raises(UsageError, match="budget must be a number of bytes"):
        trax.prune(budget=budget)


def test_an_empty_store_needs_no_room() -> None:
    """It is no error, and nothing is made."""
    assert trax.prune(budget=0).fits
    assert not os.path.exists(".trax")


def test_a_copy_that_is_being_made_is_left_alone() -> None:
    """And one that a killed process has begun is removed."""
    with trax.Trax() as store:
        store.log(one=1)
    begun = Path(".trax/aside/two~1.tmp")
    begun.mkdir(parents=True)
    (begun / "log-00000001").write_bytes(b"some")
    with Store(".trax").locked("two"):
        assert trax.prune().skipped == ("two",)
        assert begun.exists()
    assert trax.prune().removed == ("aside/two~1.tmp",)
    assert not begun.exists()


def test_forks_are_whole_although_the_store_is_pruned_again_and_again() -> None:
    with trax.Trax() as store:
        for number in range(50):
            store.log(one=number)
    stop = threading.Event()

    def prune_always() -> None:
        while not stop.is_set():
            trax.prune()

    with ThreadPoolExecutor(2) as pool:
        pruning = [pool.submit(prune_always) for _ in range(2)]
        for number in range(50):
            trax.fork("one", f"fork-{number}", step=40)
            assert len([*trax.history(f"fork-{number}")]) == 40
            trax.rewind("one", step=50)
        stop.set()
        for each in pruning:
            each.result()
