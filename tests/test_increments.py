"""The history of a run: all increments that are stored, while it is going on."""

from __future__ import annotations

import asyncio
import itertools
import os
import random
import signal
import tracemalloc
from collections.abc import AsyncIterator, Generator, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support import run_script, start_script

import trax
from trax import CodecError, NotFoundError, UntrustedError, UsageError

Loop = Generator[Any, Any, Any]


@trax.resumable(create=int, every_steps=10, keep="all", background=False)
def count(n: int, to: int) -> Loop:
    while n < to:
        n = yield n + 1


def values(name: str, *arguments: int) -> list[Any]:
    return [increment for _, _, increment in trax.history(name, *arguments)]


def test_all_kinds_of_runs_have_one() -> None:
    """Loops with and without a declared state, async ones, maps, and what is stored by hand."""

    @trax.resumable(create=list, replay_log="append", keep="all", every_steps=3)
    def arrays(state: list[Any], steps: int) -> Loop:
        for i in trax.steps(steps):
            yield np.full(2000, i)

    @trax.resumable(keep="all", every_steps=3)
    def plain(steps: int) -> Loop:
        total = 0
        for i in range(steps):
            total += i
            yield total
        return "the end"

    @trax.resumable(keep="all", every_steps=3)
    async def waits(steps: int) -> AsyncIterator[int]:
        for i in range(steps):
            yield 10 * i

    async def drive() -> None:
        async for _ in waits(steps=8):
            pass

    arrays(steps=8).result()
    plain(steps=8).result()
    asyncio.run(drive())
    list(trax.map(str, range(3), name="texts"))
    with trax.Trax(keep="all") as store:
        store.checkpoint(word="a")
        store.log(word="b")
        store.checkpoint(word="x")
        store.log(word="y")
    assert [one.tolist() for one in values("arrays")] == [[i] * 2000 for i in range(8)]
    assert values("plain") == [*itertools.accumulate(range(8))]
    assert values("waits") == [*range(0, 80, 10)]
    assert sorted(values("texts")) == [(0, "0"), (1, "1"), (2, "2")]
    assert values("word") == ["b", "y"]
    assert [step for step, _, _ in trax.history("plain")] == [*range(1, 9)]


def test_start_and_stop_are_steps_as_in_a_range() -> None:
    """The step at stop is not given; what is not there yet is no error."""
    count(to=40).result()
    assert values("count", 38) == [38, 39, 40]
    assert values("count", 9, 13) == [9, 10, 11, 12]
    assert values("count", 0, 3) == [1, 2]
    assert values("count", 41) == values("count", 5, 5) == []


def test_without_a_log_there_is_none() -> None:
    """The message says where the states are."""

    @trax.resumable(create=lambda: [0], replay_log=None)
    def change(state: list[int]) -> Loop:
        while state[0] < 3:
            state[0] += 1
            yield state[0]

    change().result()
    with pytest.raises(
        NotFoundError, match=r"replay_log=None nothing is logged.\ntrax.load\('change'"
    ):
        trax.history("change")
    with pytest.raises(NotFoundError, match="nothing is stored as 'nothing'"):
        trax.history("nothing")


@pytest.mark.parametrize("bounds", [(-1,), (1, -1), (1.5,), ("1",)])
def test_what_is_no_step_is_refused(bounds: Any) -> None:
    """When it is called."""
    with pytest.raises(UsageError, match=r"st(art|op) must be a whole number"):
        trax.history("count", *bounds)


def test_what_was_removed_is_told() -> None:
    """If it was asked for."""
    trax.resumable(create=int, every_steps=10, name="few")(count.__wrapped__)(to=45).result()
    first = next(trax.history("few"))[0]
    assert first > 1
    assert values("few") == [*range(first, 46)]
    with pytest.raises(
        NotFoundError, match=f"steps 3 to {first - 1} of 'few'.*\nGive start={first} to"
    ):
        next(trax.history("few", 3))


def test_an_increment_that_cannot_be_loaded_says_which() -> None:
    """The iteration goes on from another start."""
    run_script(
        "import trax\nclass Mine: pass\n"
        "with trax.Trax() as store:\n"
        "    store.log(things=1)\n    store.log(things=Mine())\n    store.log(things=3)\n"
    )
    past = trax.history("things")
    assert next(past)[2] == 1
    with pytest.raises(CodecError, match="the increment of step 2 of the run 'things'"):
        next(past)
    assert values("things", 3) == [3]


def test_a_signed_run_is_read_with_its_key_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is loaded without it."""
    monkeypatch.setenv("TRAX_KEY", "ab" * 32)
    count(to=30).result()
    assert values("count") == [*range(1, 31)]
    monkeypatch.setenv("TRAX_KEY", "cd" * 32)
    with pytest.raises(UntrustedError):
        values("count")


def test_it_takes_flat_memory() -> None:
    """However many steps there are."""
    trax.resumable(create=int, name="long", every_steps=10_000, keep="all")(count.__wrapped__)(
        to=60_000
    ).result()

    def peak(steps: int) -> int:
        tracemalloc.start()
        for _ in trax.history("long", 50_001, 50_001 + steps):
            pass
        _, peaked = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return peaked

    peak(100)
    assert peak(10_000) < peak(1000) + 1_000_000


# -- while it changes ----------------------------------------------------------------------


def test_it_ends_where_it_began() -> None:
    """A loop that is read by itself does not read its own next step."""
    with count(to=100) as run:
        for _ in range(15):
            next(run)
        past = trax.history("count")
        assert next(past)[0] == 1
        for _ in range(20):
            next(run)
        assert [step for step, _, _ in past] == [*range(2, 16)]
        assert len(values("count")) == 35


@pytest.fixture
def little_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a history read a log only when it has given what is before."""
    monkeypatch.setattr("trax.storage.history_reader._WAITING", 0)


@pytest.mark.usefixtures("little_at_once")
def test_files_that_are_pruned_under_it_are_told() -> None:
    """It gives the rest only if no step is missing between."""
    with trax.resumable(create=int, every_steps=10, keep=4, sync="os")(count.__wrapped__)(
        to=1000
    ) as run:
        while run.step < 55:
            next(run)
        first = next(trax.history("count"))[0]
        past = trax.history("count")
        given = [next(past)[0] for _ in range(3)]
        while run.step < 65:  # the oldest log is removed, which is open
            next(run)
        given += [next(past)[0] for _ in range(12)]
        assert given == [*range(first, first + 15)]
        while run.step < 500:
            next(run)
        with pytest.raises(NotFoundError, match=r"steps \d+ to \d+ of 'count'.*\nGive start=\d+"):
            given.extend(step for step, _, _ in past)
        assert given == [*range(first, first + len(given))]


@pytest.mark.usefixtures("little_at_once")
def test_a_run_that_was_started_over_is_another_one() -> None:
    """Its steps are not mixed with those of the one before."""
    count(to=100).result()
    past = trax.history("count")
    next(past)
    count.fresh(to=100).result()
    given = [1]
    with pytest.raises(NotFoundError, match="'count' was started over while its history was read"):
        given.extend(step for step, _, _ in past)
    assert given == [*range(1, 11)]


LIVE = """
import trax

@trax.resumable(create=int, every_steps=50, keep=trax.keep_bytes(30_000), background=False)
def live(n):
    while True:
        n = yield n + 1

for n in live():
    if n % 5000 == 0:
        print(n, flush=True)
"""


def test_a_live_run_is_read_while_it_is_pruned_and_killed() -> None:
    """What is given has no gap, and each error says what is missing."""
    with start_script(LIVE) as started:
        assert started.stdout is not None
        told: list[str] = []
        for line in started.stdout:
            steps = []
            try:
                for step, _, increment in trax.history("live"):
                    assert step == increment
                    steps.append(step)
                    if step % 7 == 0:
                        os.sched_yield()
                assert steps[-1] >= int(line)
            except NotFoundError as error:
                told.append(str(error))
            assert steps == [*range(steps[0], steps[0] + len(steps))] if steps else told
            if int(line) >= 25_000:
                started.send_signal(signal.SIGKILL)
                break
    assert all("not stored any more" in text for text in told)
    found = values("live")
    assert found == [*range(found[0], found[-1] + 1)]
    assert found[-1] == trax.load("live")


def test_every_step_is_given_once_after_kills_at_random() -> None:
    """A plain loop runs steps again when it resumes; they are in the log once."""
    script = """
import os, random, signal, sys
import trax

@trax.resumable(every_steps=4, keep="all")
def squares(to):
    total = 0
    for i in range(to):
        total += i * i
        yield total

for n, _ in enumerate(squares(to=60)):
    if n == int(sys.argv[1]):
        os.kill(os.getpid(), signal.SIGKILL)
"""
    for seed in range(6):
        run_script(script, str(random.Random(seed).randrange(1, 10)), check=False)
    run_script(script, "-1")
    assert values("squares") == [*itertools.accumulate(i * i for i in range(60))]
    assert Path(".trax/runs/squares").exists()


@pytest.mark.usefixtures("little_at_once")
@pytest.mark.parametrize("back", [50, 499, 500, 501, 9999])
@pytest.mark.parametrize("read", [1, 600, 1200])
def test_a_run_that_is_rewound_meanwhile_has_two_histories(back: int, read: int) -> None:
    """What is given is of the first one, even if logs of the second have the names of its own."""

    def labelled(
        state: tuple[str, int],  # it is the increment
        steps: int,
        label: str,
    ) -> Iterator[tuple[str, int]]:
        for step in trax.steps(steps):
            yield label, step + 1

    loop = trax.resumable(
        create=tuple, keep="all", every_steps=500, name="two", varying=("steps", "label"), sync="os"
    )(labelled)
    loop(steps=10_000, label="old").result()
    past = trax.history("two")
    given = [next(past) for _ in range(read)]
    trax.rewind("two", step=back)
    loop(steps=12_000, label="new").result()
    first = given[-1][0]
    try:
        given.extend(past)
    except NotFoundError as error:
        assert "'two' was rewound while its history was read" in str(error)  # noqa: PT017
        assert {label for _, _, (label, _) in given} == {"old"}
        assert len(given) > back
    else:
        labels = [label for _, _, (label, _) in given]
        whole = ["old"] * 10_000, ["old"] * back + ["new"] * (12_000 - back)
        assert labels in whole
        assert first <= back
    assert [step for step, _, _ in given] == [*range(1, len(given) + 1)]
    assert [number for _, _, (_, number) in given] == [*range(1, len(given) + 1)]


@pytest.mark.usefixtures("little_at_once")
def test_steps_before_the_one_to_which_a_run_is_rewound_are_its_own() -> None:
    """A history that has not come so far goes on, into what was stored since."""
    count(to=2000).result()
    past = trax.history("count")
    given = [next(past)[0]]
    trax.rewind("count", step=1900)
    given += [step for step, _, _ in past]
    assert given == [*range(1, 1901)]
