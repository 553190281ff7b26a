"""Plain loops: frames in the log, steps that are run again, and what is compared."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import math
import random
import signal
import threading
import time
from collections.abc import AsyncIterator, Generator, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support import run_script

import trax
from trax.engine import plain_session
from trax.engine.frame_proofs import FrameProofs
from trax.storage.context import FRAME, decode_context
from trax.storage.process import process
from trax.storage.store import Store

NEVER = 1e9  # seconds, after which a frame is due
calls: list[Any] = []  # what steps have done outside of the state


@pytest.fixture(autouse=True)
def _no_calls() -> None:
    calls.clear()


@contextlib.contextmanager
def few_frames(run: trax.Run[Any, Any, Any]) -> Iterator[None]:
    """Let a run that is open store no frame but in checkpoints."""
    session = run._lifecycle.session
    assert run.step
    session._frame_at = NEVER  # type: ignore[attr-defined]
    yield


def frames_of(name: str) -> list[int]:
    """Return the steps of a stored run with a frame in the log."""
    reader = Store(None).recover(name)
    assert reader is not None
    return [
        reader.position.step
        for increment in reader.increments()
        if FRAME in decode_context(increment.context)
    ]


def drive(run: Iterator[Any], number: int) -> list[Any]:
    """Return so many increments, the last of them without a frame in the log."""
    first = next(run)
    with few_frames(run):  # type: ignore[arg-type]
        return [first, *itertools.islice(run, number - 1)]


@trax.resumable(every_steps=1000)
def walk(n: int) -> Iterator[tuple[int, float]]:
    """Walk at random."""
    place = 0.0
    for i in range(n):
        place += random.gauss(0, 1)
        yield i, place


def test_a_loop_goes_on_in_its_middle_after_it_was_left() -> None:
    """Its variables, its place in the loop and the random numbers are those of before."""
    random.seed(1)
    expected = list(walk.fresh(n=20))
    random.seed(1)
    run = walk.fresh(n=20)
    found = drive(run, 9)
    run.close()
    random.seed(2)
    again = walk(n=20)
    assert again.resumed_at == 9
    found += again
    assert found == expected
    assert again.result() == expected[-1]


def test_a_slow_loop_has_a_frame_at_every_step(monkeypatch: pytest.MonkeyPatch) -> None:
    """Then no step is run again."""
    hours = itertools.count()
    monkeypatch.setattr(process, "monotonic", lambda: 3600.0 * (len(calls) + next(hours) * 1e-9))

    @trax.resumable
    def slow(n: int) -> Iterator[int]:
        for i in range(n):
            calls.append(i)
            yield i

    run = slow(n=6)
    for _ in range(4):
        next(run)
    run.close()
    list(slow(n=6))
    assert calls == [0, 1, 2, 3, 4, 5]


def test_the_time_of_the_proofs_puts_off_no_frame(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the first frames have proofs; each step here takes an hour, and each proof a year."""
    clock = {"hours": 0.0}
    check = FrameProofs.check

    def slow_check(*args: Any) -> None:
        clock["hours"] += 24 * 365
        check(*args)

    monkeypatch.setattr(FrameProofs, "check", slow_check)
    monkeypatch.setattr(process, "monotonic", lambda: 3600 * clock["hours"])

    @trax.resumable(policy=lambda since: False)
    def slow(n: int) -> Iterator[int]:
        for i in range(n):
            calls.append(i)
            clock["hours"] += 1
            yield i

    with slow(n=6) as run:
        assert [next(run) for _ in range(4)] == [0, 1, 2, 3]
    list(slow(n=6))
    assert calls == [0, 1, 2, 3, 4, 5]


def test_steps_behind_the_newest_frame_are_run_again_and_not_handed_out_twice() -> None:
    """Each is compared with the log."""

    @trax.resumable(every_steps=1000)
    def loop(n: int) -> Iterator[int]:
        for i in range(n):
            calls.append(i)
            yield i

    run = loop(n=6)
    found = drive(run, 4)
    run.close()
    found += loop(n=6)
    assert found == [0, 1, 2, 3, 4, 5]
    assert calls == [0, 1, 2, 3, 1, 2, 3, 4, 5]


def test_a_loop_that_goes_another_way_is_refused_with_both_values() -> None:
    """Nothing is changed by that: it can be put right."""
    wrong = 0

    @trax.resumable(every_steps=1000)
    def loop(n: int) -> Iterator[int]:
        for i in range(n):
            yield i + wrong

    run = loop(n=6)
    drive(run, 4)
    run.close()
    wrong = 10
    with pytest.raises(trax.DivergedError, match=r"step 2 .*increment: stored 1, now 11") as caught:
        list(loop(n=6))
    assert (caught.value.step, caught.value.stored, caught.value.present) == (2, 1, 11)
    wrong = 0
    assert list(loop(n=6)) == [4, 5]


def test_the_ways_on_tell_this_run_from_later_ones(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """All places count the steps alike, and the way back leads to the newest stored variables."""
    wrong = 0

    @trax.resumable(every_steps=1000)
    def loop(n: int) -> Iterator[int]:
        for i in range(n):
            yield i + wrong * (i > 2)

    run = loop(n=6)
    next(run), next(run)
    with few_frames(run):
        next(run), next(run)
    run.close()
    wrong = 10
    with pytest.raises(trax.DivergedError) as caught:
        list(loop(n=6))
    assert "resumed at step 4; steps 3 to 4 are run again with the present code" in caplog.text
    *ways, last = str(caught.value).splitlines()
    assert ways == [
        "'loop' went another way when step 4 was run again: increment: stored 3, now 13",
        "Nothing stored was changed.",
        "The steps after the newest stored variables are run again, and must do the same.",
        "If code that it calls was changed: put it back for these steps.",
        "Or go back to step 2 with trax.repair('loop', step=2), which keeps a copy of all files.",
        "Or start over with fresh(...).",
    ]
    assert last.startswith("A step may depend on the time, uuid4(), id(), hash() of a text, ")
    # Without a step that is run again, a wrong variable would come unnoticed into later steps.
    assert last.endswith("In later runs leave that out, or hand it in as an argument.")
    trax.repair("loop", step=2)
    assert list(loop(n=6)) == [2, 13, 14, 15]


@pytest.mark.parametrize(("stored", "now"), [(1, True), (0.0, -0.0), ((1, 2), [1, 2]), (1, 1.0)])
def test_increments_are_compared_by_structure_to_the_bit(stored: Any, now: Any) -> None:
    """Equal is not enough."""
    value = stored

    @trax.resumable(every_steps=1000)
    def loop() -> Iterator[Any]:
        for _ in range(5):
            yield value

    run = loop()
    drive(run, 3)
    run.close()
    value = now
    with pytest.raises(trax.DivergedError):
        next(loop())


def test_increments_that_pickle_differently_may_be_the_same() -> None:
    """Equal parts may be one object or two."""

    @trax.resumable(every_steps=1000)
    def loop() -> Iterator[Any]:
        parts: list[Any] = []
        for i in range(5):
            parts.append(np.arange(3) + i)
            yield (parts[0], parts[0]) if len(parts) > 3 else (parts[0], parts[0].copy())

    run = loop()
    drive(run, 4)
    run.close()
    assert len(list(loop())) == 1


def test_a_loop_that_ends_early_when_it_is_run_again_is_refused() -> None:
    """The steps in the log were handed out."""
    last = 6

    @trax.resumable(every_steps=1000)
    def loop() -> Iterator[int]:
        for i in range(6):
            if i == last:
                return
            yield i

    run = loop()
    drive(run, 4)
    run.close()
    last = 2
    with pytest.raises(trax.DivergedError, match="the loop has ended there"):
        next(loop())


def test_numbers_that_the_caller_draws_between_the_steps_are_noticed() -> None:
    """The steps that are run again would draw others."""

    @trax.resumable(every_steps=1000)
    def loop() -> Iterator[int]:
        for i in range(6):
            random.random()
            yield i

    run = loop()
    next(run)
    with few_frames(run):
        for _ in range(3):
            next(run)
            random.random()
    run.close()
    with pytest.raises(trax.DivergedError, match="has drawn other numbers"):
        next(loop())


def test_output_is_compared_when_steps_are_run_again(store_here: Path) -> None:
    """It is neither cut nor written twice; also where the file is opened in such a step."""

    @trax.resumable(every_steps=1000)
    def loop(n: int) -> Iterator[int]:
        for i in range(n):
            if i == 2:
                out = trax.open("out.txt")
            if i >= 2:
                out.write(f"{i}\n" * 3)
            yield i

    run = loop(n=8)
    drive(run, 6)
    run.close()
    before = Path("out.txt").read_text()
    assert before == "".join(f"{i}\n" * 3 for i in range(2, 6))
    again = loop(n=8)
    assert again.resumed_at == 6
    assert list(again) == [6, 7]
    assert Path("out.txt").read_text() == "".join(f"{i}\n" * 3 for i in range(2, 8))


def test_other_output_of_a_step_that_is_run_again_is_refused() -> None:
    """The file stays as it is."""
    text = "a"

    @trax.resumable(every_steps=1000)
    def loop() -> Iterator[int]:
        with trax.open("out.txt") as out:
            for i in range(6):
                out.write(text)
                yield i

    run = loop()
    drive(run, 4)
    run.close()
    text = "b"
    with pytest.raises(trax.DivergedError) as caught:
        next(loop())
    first, *ways = str(caught.value).splitlines()
    path = Path("out.txt").resolve()
    other = f"other output to {path} from offset 1 on"
    assert first == f"'loop' went another way when step 2 was run again: {other}"
    assert "Or go back to step 1 with trax.repair('loop', step=1)" in "\n".join(ways)
    assert (caught.value.step, caught.value.__context__) == (2, None)
    assert path.read_text() == "aaaa"
    text = "a"
    assert list(loop()) == [4, 5]
    assert Path("out.txt").read_text() == "aaaaaa"


@pytest.mark.parametrize("also", ["increment", "output"])
def test_of_all_that_a_step_does_differently_the_first_is_told(also: str) -> None:
    """What is written to a file later, or when the loop closes it, changes neither."""
    wrong = 0

    @trax.resumable(every_steps=1000)
    def loop() -> Iterator[int]:
        with trax.open("a.txt") as a, trax.open("b.txt", "wb", buffering=0) as b:
            for i in range(6):
                a.write(f"{wrong}")
                with contextlib.suppress(trax.DivergedError):
                    b.write(b"%d" % (wrong if also == "output" else 0))
                yield i + wrong * (also == "increment")

    run = loop()
    drive(run, 4)
    run.close()
    wrong = 1
    found = {"increment": "increment: stored 1, now 2", "output": "other output to .*b.txt"}
    with pytest.raises(trax.DivergedError, match=found[also]) as caught:
        next(loop())
    assert caught.value.__context__ is None
    assert (Path("a.txt").read_text(), Path("b.txt").read_text()) == ("0000", "0000")


def test_output_of_a_step_that_had_none_is_refused_when_it_is_run_again() -> None:
    """All that the log knows of is there again, and it writes more."""
    more = ""

    @trax.resumable(every_steps=1000)
    def loop() -> Iterator[int]:
        with trax.open("out.txt") as out:
            for i in range(6):
                out.write("a" if i < 2 else more)
                yield i

    run = loop()
    drive(run, 4)
    run.close()
    more = "b"
    with pytest.raises(trax.DivergedError, match=r"step 3 .*out\.txt from offset 2 on"):
        next(loop())
    assert Path("out.txt").read_text() == "aa"


def test_less_output_of_steps_that_are_run_again_is_refused() -> None:
    """The rest of the file would belong to no step."""
    writes = True

    @trax.resumable(every_steps=1000)
    def loop() -> Iterator[int]:
        with trax.open("out.txt") as out:
            for i in range(6):
                if writes:
                    out.write("a")
                yield i

    run = loop()
    drive(run, 4)
    run.close()
    writes = False
    with pytest.raises(trax.DivergedError, match=r"less was written to .*out\.txt"):
        next(loop())


def test_a_kill_while_steps_are_run_again_loses_nothing(store_here: Path) -> None:
    """The store and the output are as before."""
    script = """
import os, signal, sys
import trax

@trax.resumable(every_steps=1000)
def loop(n):
    with trax.open("out.txt") as out:
        for i in range(n):
            out.write(f"{i} ")
            if trax.step() == int(sys.argv[1]):
                os.kill(os.getpid(), signal.SIGKILL)
            yield i

run = loop(n=9)
if not run.step:
    next(run)
    run._lifecycle.session._frame_at = 1e9
print(list(run), file=open("found.txt", "w"))
"""
    run_script(script, "6", check=False)
    for step in ("3", "1", "5"):
        run_script(script, step, check=False)
        assert Path("out.txt").read_text() == "0 1 2 3 4 5 "
    run_script(script, "-1")
    assert Path("found.txt").read_text() == "[6, 7, 8]\n"
    assert Path("out.txt").read_text() == "0 1 2 3 4 5 6 7 8 "


def test_a_step_that_is_run_again_has_its_number_and_its_key() -> None:
    """So the system on the other side recognises it."""

    @trax.resumable(every_steps=1000)
    def loop(n: int) -> Iterator[int]:
        for i in range(n):
            calls.append((int(trax.step()), trax.step().key))
            yield i

    run = loop(n=5)
    drive(run, 3)
    run.close()
    list(loop(n=5))
    assert [number for number, _ in calls] == [0, 1, 2, 1, 2, 3, 4]
    assert calls[1:3] == calls[3:5]


def test_the_state_is_a_mapping_of_the_variables() -> None:
    """It knows its step, and says which names it does not have."""

    @trax.resumable
    def loop(n: int) -> Iterator[int]:
        forgotten = 0
        total = forgotten
        for i in range(n):
            total += i
            yield total
        return

    run = loop(n=5)
    assert dict(run.state) == {}
    for _ in range(3):
        next(run)
    state = run.state
    assert isinstance(state, trax.Locals)
    assert (state.step, state["total"], state.get("n", 5)) == (3, 3, 5)
    with pytest.raises(KeyError, match="forgotten"):
        state["forgotten"]
    run.close()
    assert (run.state.step, run.state["total"]) == (3, 3)
    assert loop.load()["total"] in (0, 1, 3)
    assert trax.load("loop")["total"] == loop.load()["total"]
    assert trax.Trax().recover("loop")["total"] == loop.load()["total"]


def test_the_state_of_a_loop_that_is_left() -> None:
    """It is that of the yield; a step that has failed leaves none, and says where there is one."""

    @trax.resumable
    def loop(fails: bool) -> Iterator[int]:
        total = 0
        for i in range(9):
            total += i
            if fails and i == 5:
                raise ZeroDivisionError
            yield total
        del total
        return

    with loop(fails=False) as run:
        for _ in run:
            if run.step == 3:
                break
    assert (run.state.step, run.state["total"]) == (3, 3)
    with loop(fails=False) as run:
        next(run)
        signal.raise_signal(signal.SIGTERM)
        with pytest.raises(trax.Preempted):
            next(run)
    assert (run.state.step, run.state["total"]) == (4, 6)
    run = loop(fails=False)
    assert list(run)[-1] == 36
    assert (run.state.step, {**run.state}) == (9, {})
    with pytest.raises(KeyError, match=r"the loop has ended\. Let it return what is needed"):
        run.state["total"]
    failed = loop.fresh(fails=True)
    with pytest.raises(ZeroDivisionError):
        list(failed)
    with pytest.raises(KeyError, match=r"an exception ended the loop\. load\(\) has those stored"):
        failed.state["total"]
    assert loop.load()["total"] in (0, 1, 3, 6, 10)


def test_a_loop_without_a_return_value_gives_its_last_increment() -> None:
    """In this call and in later ones, and where no step was left to do."""

    @trax.resumable
    def loop(n: int) -> Iterator[int]:
        for i in range(n):
            yield i * i

    run = loop(n=3)
    assert list(run) == [0, 1, 4]
    assert run.result() == 4
    assert loop(n=3).result() == 4
    again = loop.fresh(n=3)
    for _ in range(3):
        next(again)
    again.close()
    assert loop(n=3).result() == 4


def test_a_return_value_is_kept() -> None:
    """Of a run that is done as well."""

    @trax.resumable
    def loop(n: int) -> Generator[int, None, list[int]]:
        found = []
        for i in range(n):
            found.append(i)
            yield i
        return found

    assert loop(n=3).result() == [0, 1, 2]
    assert loop(n=3).result() == [0, 1, 2]


def test_large_frames_are_stored_in_checkpoints_only() -> None:
    """The log would grow by a megabyte with every step."""

    @trax.resumable
    def loop(n: int) -> Generator[int, None, Any]:
        large = np.zeros(300_000)
        for i in range(n):
            large[i] = i
            yield i
        return large

    run = loop(n=30)
    for _ in range(20):
        next(run)
    run.close()
    assert frames_of("loop") == []
    assert loop(n=30).result()[:30].tolist() == list(range(30))


def test_frames_between_two_checkpoints_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the policy says: a log of frames must not fill the disk."""
    monkeypatch.setattr(plain_session, "_MOST", 200_000)
    monkeypatch.setattr(plain_session, "_SHARE", math.inf)  # a frame at each step

    @trax.resumable(every_steps=10**9)
    def loop(n: int) -> Iterator[int]:
        some = np.zeros(5000)
        for i in range(n):
            some[i] = i
            yield i

    run = loop(n=100)
    for _ in range(48):
        next(run)
    run.close()
    assert 0 < len(frames_of("loop")) <= 6


def test_a_loop_that_is_behind_stores_no_checkpoint_of_the_step_of_its_run() -> None:
    """Not even where the log has failed in the background: it would be that of another step."""

    @trax.resumable(every_steps=1000)
    def loop(n: int) -> Iterator[int]:
        total = 0
        for i in range(n):
            total += i
            yield total

    run = loop(n=8)
    drive(run, 5)
    run.close()
    again = loop(n=8)
    assert again.resumed_at == 5
    again._lifecycle.session._writer.suspect = True
    again.close()
    assert list(loop(n=8)) == [15, 21, 28]


def test_an_async_loop_goes_on_in_its_middle() -> None:
    """With output files and steps that are run again."""

    @trax.resumable(every_steps=1000)
    async def loop(n: int) -> AsyncIterator[int]:
        with trax.open("out.txt") as out:
            total = 0
            for i in range(n):
                await asyncio.sleep(0)
                total += i
                out.write(f"{i} ")
                yield total

    async def first() -> None:
        async with loop(n=8) as run:
            await anext(run)
            run._lifecycle.session._frame_at = NEVER  # type: ignore[attr-defined]
            for _ in range(4):
                await anext(run)

    async def second() -> Any:
        run = loop(n=8)
        return [total async for total in run], run.resumed_at

    asyncio.run(first())
    assert asyncio.run(second()) == ([15, 21, 28], 5)
    assert Path("out.txt").read_text() == "0 1 2 3 4 5 6 7 "


def test_helpers_work_anywhere_in_a_plain_loop() -> None:
    """Nested, repeated and after a step; they are simply the numbers and the items."""

    @trax.resumable(every_steps=1000)
    def loop() -> Iterator[tuple[int, str]]:
        yield -1, ""
        for i in trax.steps(3):
            for letter in trax.remaining("ab"):
                yield i, letter

    expected = [(-1, ""), *itertools.product(range(3), "ab")]
    run = loop()
    found = drive(run, 4)
    run.close()
    assert [*found, *loop()] == expected


def test_a_run_with_a_declared_state_is_not_taken_for_a_plain_loop() -> None:
    """Nor the other way round, also where no increment is in the log."""

    @trax.resumable(name="one", create=int)
    def declared(n: int) -> Generator[int, int, None]:
        while n < 3:
            n = yield n + 1

    @trax.resumable(name="one")
    def plain() -> Iterator[int]:
        for i in range(3):
            yield i

    next(declared())
    with pytest.raises(trax.UsageError, match="create left out"):
        next(plain())
    next(plain.fresh())
    with pytest.raises(trax.UsageError, match="create left out"):
        next(declared())


DRAWING = """
import os, random, sys, threading
import trax
from trax.engine import plain_session

plain_session._SHARE = 1e9  # a frame at each step: no step is run again

class Client:
    def __init__(self, rng):
        self.lock = threading.Lock()
        self.rng = rng
        self.key = rng.random()

    def __enter__(self):
        self.key = self.rng.random()
        return self

    def __exit__(self, *error):
        pass

def numbers(rng):
    with Client(rng):
        for i in range(99):
            yield i

def own_numbers():
    rng = random.Random(5)
    with Client(rng):
        while True:
            yield rng.random()

@trax.resumable
def loop():
    random.seed(3)
    rng = random.Random(4)
    {make}
    for i in range(8):
        yield i, random.random(), rng.random()

for i, *drawn in loop():
    print(i, *drawn, flush=True)
    if i == 4 and sys.argv[1] == "die":
        os.kill(os.getpid(), 9)
"""


@pytest.mark.parametrize(
    ("make", "told"),
    [
        ("client = Client(random); random.random()", "client drew from random"),
        ("random.random(); client = Client(random)", "client drew from random"),
        ("rng.random(); client = Client(rng)", "client drew from rng "),
        ("client = Client(rng); rng.random()", "client drew from rng "),
        ("client = Client(random.Random(5))", ""),
        ("with Client(rng) as client:", "client drew from rng "),
        ("held = numbers(rng); next(held)", ""),
        ("held = own_numbers(); next(held)", ""),
    ],
)
def test_what_is_made_again_draws_no_numbers_of_the_loop(make: str, told: str) -> None:
    """And it is said if it has drawn any, since it may be another one."""
    text = DRAWING.replace("{make}", make)
    used = "next(held)" if "held" in make else "bool(client)"
    ending = f"        yield i, random.random(), rng.random(), {used}\n"
    begin, _, end = text.partition("    for i in range(8):\n        yield i, random")
    rest = end.partition("\n")[2]
    depth = "    " if make.startswith("with") else ""
    text = f"{begin}{depth}    for i in range(8):\n{depth}{ending}{rest}"
    undisturbed = run_script(text, "live").stdout.splitlines()
    for file in Path(".trax").glob("*"):
        file.rename(f"{file.name}.before")
    died = run_script(text, "die", check=False)
    again = run_script(text, "live")
    assert died.stdout.splitlines() + again.stdout.splitlines() == undisturbed
    assert (" drew from " in again.stderr) == bool(told)
    assert told in again.stderr


class ApiError(Exception):
    def __init__(self, code: int, *, detail: str) -> None:
        super().__init__(f"{code}: {detail}")


def test_a_variable_that_does_not_load_again_is_named() -> None:
    """With the remedy, as for an increment."""

    @trax.resumable
    def loop() -> Iterator[int]:
        errors = []
        for i in range(3):
            errors.append(ApiError(i, detail="none"))
            yield len(errors)

    with pytest.raises(trax.CodecError) as caught:
        list(loop())
    first, cause, *ways = str(caught.value).splitlines()
    assert first.startswith("errors[0] (")
    assert first.endswith("ApiError) pickles, but does not load again, at step 1.")
    assert "'detail'" in cause
    assert "Or keep its text instead, such as repr(error)." in ways


class Counted:
    """Data with a lock."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.count = 0

    def seen(self) -> int:
        """Count one more."""
        with self.lock:
            self.count += 1
        return self.count


@pytest.mark.parametrize("every", [None, 1, 2])
def test_data_that_would_be_lost_is_told(
    every: int | None, caplog: pytest.LogCaptureFixture
) -> None:
    """In the second step; it may be no more than a cache."""

    @trax.resumable(every_steps=every)
    def loop() -> Iterator[int]:
        counted = Counted()
        for i in range(8):
            yield i + counted.seen()

    list(loop())
    assert "steps change counted" in caplog.text
    assert "counted.lock is a lock" in caplog.text


def test_a_resumed_loop_whose_variables_cannot_be_stored_now_goes_on(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Nothing was lost: the run has a frame, from which the steps can be run again."""

    @trax.resumable
    def loop() -> Iterator[int]:
        part = None
        for i in range(8):
            if i == 4:
                part = threading.Lock()
            elif i == 6:
                part = None
            yield i
            assert part is None or i in (4, 5)

    assert list(itertools.islice(loop(), 4)) == [0, 1, 2, 3]
    with loop() as run:
        assert next(run) == 4
    assert caplog.text.count("continues without storing its variables: loop: part ") == 1
    assert caplog.text.count("continues without a checkpoint for now: loop: part ") == 1
    assert list(loop()) == [5, 6, 7]


def test_an_increment_with_the_time_is_told_before_a_crash(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Only where there are steps that are run again."""

    @trax.resumable
    def loop(n: int) -> Iterator[Any]:
        for i in range(n):
            yield i, time.time()

    loop(n=20_000).result()
    (line,) = caplog.messages
    number = loop.__wrapped__.__code__.co_firstlineno + 3
    assert line.startswith(f"loop: line {number} yields the time, or what is unique; after a crash")
    caplog.clear()
    each = trax.resumable(every_steps=1, name="each")(loop.__wrapped__)
    each(n=200).result()
    assert caplog.messages == []


def test_the_first_step_without_variables_tells_of_the_time(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """It is the first that is run again; the error for that begins with the cause."""

    @trax.resumable
    def loop(n: int) -> Iterator[float]:
        begun = time.time()
        for _ in range(n):
            yield time.time() - begun

    run = loop(n=5)
    next(run)
    assert caplog.messages == []
    with few_frames(run):
        run._lifecycle.session.wake()
        next(run)
    number = loop.__wrapped__.__code__.co_firstlineno + 4
    (line,) = caplog.messages
    assert line.startswith(f"loop: line {number} yields the time, or what is unique; after a crash")
    run.close()
    with pytest.raises(trax.DivergedError) as caught:
        list(loop(n=5))
    first, _, _, cause, *_ = str(caught.value).splitlines()
    assert first.startswith("'loop' went another way when step 2 was run again")
    assert cause.startswith(f"Line {number} yields the time, or what is unique. In later runs")


def test_a_large_frame_is_not_stored_at_each_step(caplog: pytest.LogCaptureFixture) -> None:
    """So an increment with the time is told at once."""

    @trax.resumable
    def loop(n: int) -> Iterator[float]:
        large = np.zeros(1 << 18)
        for i in range(n):
            large[i] = 1
            yield time.time()

    next(loop(n=5))
    assert "yields the time" in caplog.text


def test_what_a_step_of_before_has_used_up_is_explained() -> None:
    """The step is run again, and does not find it."""
    script = """
import os, signal, sys
import trax

@trax.resumable
def loop(n):
    for i in range(n):
        if i == 5 and "die" in sys.argv:
            os.kill(os.getpid(), signal.SIGKILL)
        os.unlink(f"{i}.txt")
        yield i

loop(n=9).result()
"""
    for i in range(9):
        Path(f"{i}.txt").touch()
    assert run_script(script, "die", check=False).returncode == -9
    failed = run_script(script, check=False)
    _, error, note = failed.stderr.rpartition("FileNotFoundError")
    assert error
    assert "was done before the crash and is run again, since the newest stored" in note
    assert "give every_steps=1" in note


# -- the number of steps -------------------------------------------------------------------


@trax.resumable(varying="n")
def in_turns(n: int, start: int = 0):  # type: ignore[no-untyped-def]
    for k in range(start, n, 2):
        yield k


@trax.resumable
def in_two_places(n: int):  # type: ignore[no-untyped-def]
    yield -1
    for k in range(n):
        yield k


def test_the_total_of_a_loop_over_a_range_is_known() -> None:
    """From its first step on, also of a call that resumes it with another range."""
    run = in_turns(10)
    with pytest.raises(TypeError, match="not known before its loop tells it"):
        len(run)
    next(run)
    assert (len(run), run.step) == (4, 1)
    next(run)
    run.close()
    assert trax.runs()[0].total == 5
    run = in_turns(20)
    next(run)
    assert len(run) == 7
    assert (len(list(run)), run.step, trax.runs()[0].total) == (7, 10, 10)


def test_the_total_that_is_given_counts() -> None:
    run = trax.resumable(total=7, name="given")(in_turns.__wrapped__)(10)
    next(run)
    assert len(run) == 6
    run.close()


def test_of_another_loop_nobody_knows_the_total() -> None:
    run = in_two_places(10)
    next(run)
    next(run)
    with pytest.raises(TypeError, match="not known"):
        len(run)
    assert trax.runs()[0].total is None
    run.close()


# -- arguments that may vary ---------------------------------------------------------------


def summed(n: int, by: float):  # type: ignore[no-untyped-def]
    total = 0.0
    for _ in range(n):
        total += by
        yield total
    return total


@pytest.mark.parametrize("before", [(), "n", ("n", "by")], ids=str)
@pytest.mark.parametrize("now", [(), "by", ("n", "by")], ids=str)
def test_what_may_vary_may_be_declared_later(before: Any, now: Any) -> None:
    """An ended run has its result for the same values, whichever of them might have varied."""
    assert trax.resumable(varying=before)(summed)(4, by=0.5).result() == 2.0
    again = trax.resumable(varying=now)(summed)
    assert again(4, by=0.5).result() == 2.0
    with pytest.raises(trax.TraxError, match=r"another value of by|by: 0\.5 -> 1\.5"):
        again(4, by=1.5).result()


def test_steps_that_were_made_with_another_argument_are_told_from_edits() -> None:
    script = """
import os, sys, trax
@trax.resumable(varying="by")
def summed(n, by):
    total = 0
    for k in range(n):
        total += by
        if k == n - 9 and by == 1: os.kill(os.getpid(), 9)
        yield total
summed(5000, int(sys.argv[1])).result()
"""
    assert run_script(script, "1", check=False).returncode == -9
    failed = run_script(script, "2", check=False).stderr
    assert "They were made with another value of by: call it with that until it is past" in failed
    assert "code" not in failed.partition("DivergedError: ")[2]
    assert "An increment may depend" not in failed
    run_script(script.replace("and by == 1", "and False"), "1")
