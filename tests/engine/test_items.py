"""The items of `remaining`: those that are done are recognised, or the difference is said."""

from __future__ import annotations

import random
import struct
from collections.abc import Generator, Iterable, Iterator
from itertools import pairwise
from typing import Any, TypeVar

import numpy as np
import pytest
from support import run_script

import trax
from trax.calls.content import CONTENT_VERSION
from trax.engine.items import _end_of_block
from trax.storage.codec import encode
from trax.storage.context import Key, Kind, decode_context, encode_context
from trax.storage.store import Store

T = TypeVar("T")
Steps = Generator[T, T, None]


def fold(done: list[Any], item: Any) -> list[Any]:
    return [*done, item]


@trax.resumable(create=list, replay_log=fold, varying="of")
def work(done: list[Any], of: Any) -> Iterator[Any]:
    for item in trax.remaining(of() if callable(of) else of):
        yield item


def do(number: int, of: Any) -> None:
    """Do the first items, and leave the loop."""
    with work(of=of) as run:
        for _ in range(number):
            next(run)


OTHERS: dict[str, tuple[Any, Any, str]] = {
    "another order": ([1, 2, 3, 4], [2, 1, 3, 4], r"items\[0\] of 'work' is 2,"),
    "one more at the front": (
        ["b", "c", "d"],
        ["a", "b", "c", "d"],
        r"items\[0\] of .* is 'a'",
    ),
    "one less": ([1, 2, 3, 4], [1, 3, 4], r"items\[1\] of 'work' is 3,"),
    "another type": ([1, 2, 3], [1.0, 2, 3], r"items\[0\] of 'work' is 1\.0"),
    "tuples": ([(1, "a"), (2, "b")], [(1, "a"), (2, "c")], r"items\[1\]"),
    "dictionaries": ([{"a": 1}, {"b": 2}], [{"a": 1}, {"b": 3}], r"items\[1\]"),
    "arrays": (list(np.eye(2)), list(2 * np.eye(2)), r"items\[0\]"),
    "the keys of a dict": ({"a": 1, "b": 2}, {"b": 2, "a": 1}, r"items\[0\] of 'work' is 'b'"),
    "an iterator": (lambda: iter("abc"), lambda: iter("xbc"), r"items\[0\] of 'work' is 'x'"),
}


@pytest.mark.parametrize("case", OTHERS)
def test_other_items_are_an_error_that_names_the_first(case: str) -> None:
    """Skipping by number would leave some out and repeat others."""
    before, after, named = OTHERS[case]
    do(2, before)
    with pytest.raises(trax.ArgumentsChangedError, match=named) as caught:
        work(of=after).result()
    lines = str(caught.value).splitlines()
    assert len(lines[0]) <= 100
    assert "sort" in lines[1]
    assert "start over with key=" in lines[2]
    assert "fresh(...)" in lines[-1]
    assert len(work.load()) == 2


def test_a_source_that_shrinks_as_it_is_worked_off_is_an_error() -> None:
    """A queue of pending items: those that are done no longer come."""
    pending = list(range(10))

    def take() -> Iterator[int]:
        yield from list(pending)

    with work(of=take) as run:
        for item in run:
            pending.remove(item)
            if item == 5:
                break
    with pytest.raises(trax.ArgumentsChangedError, match=r"items\[0\] of 'work' is 6"):
        work(of=take).result()


@pytest.mark.parametrize("kind", [list, iter])
def test_a_source_that_ends_before_the_done_items_is_an_error(kind: Any) -> None:
    """Then the loop would be done, and the rest never."""
    do(3, lambda: kind([1, 2, 3, 4]))
    with pytest.raises(
        trax.ArgumentsChangedError, match="2 items, and 3 of 'work' are done"
    ) as caught:
        work(of=lambda: kind([1, 2])).result()
    assert "Give it all items" in str(caught.value)


@pytest.mark.parametrize("kind", [list, iter, dict.fromkeys])
def test_a_source_may_grow_at_the_end(kind: Any) -> None:
    """The new items are done after the others, also by a run that was done."""
    do(2, lambda: kind([1, 2, 3]))
    assert work(of=lambda: kind([1, 2, 3, 4])).result() == [1, 2, 3, 4]
    assert work(of=[1, 2, 3, 4, 5]).result() == [1, 2, 3, 4, 5]


@pytest.mark.parametrize("checkpoints", [1, 7, 10_000])
def test_among_many_items_a_block_is_named(checkpoints: int) -> None:
    """With the digests from checkpoints, from the log, and from both."""

    @trax.resumable(create=int, every_steps=checkpoints, varying="of")
    def count(n: int, of: Any) -> Steps[int]:
        for _ in trax.remaining(of):
            n = yield n + 1

    with count(of=range(2000)) as run:
        while run.step < 1500:
            next(run)
    other = [*range(1100), -1, *range(1101, 2000)]
    with pytest.raises(trax.ArgumentsChangedError, match=r"\[1088:1120\] of .* are others"):
        count(of=other).result()
    other[1100], other[1499] = 1100, -1  # the last one that is done, in the middle of its block
    with pytest.raises(trax.ArgumentsChangedError, match=r"\[1472:1504\] of .* are others"):
        count(of=other).result()
    other[1499], other[1500] = 1499, -1
    assert count(of=other).result() == 2000


def test_a_checkpoint_has_a_bounded_number_of_digests() -> None:
    """And each item is in one block."""
    ends = [0]
    while ends[-1] < 10**9:
        ends.append(_end_of_block(ends[-1]))
    assert len(ends) < 1300
    for begin, end in pairwise(ends):
        assert _end_of_block(begin) == _end_of_block(end - 1) == end
        assert end - begin <= max(1, begin // 32)


def test_a_list_may_change_while_the_loop_goes_through_it() -> None:
    """It is copied before."""
    items = [1, 2, 3]
    with work(of=items) as run:
        for item in run:
            items.remove(item)
            items.append(10 * item)
        assert run.state == [1, 2, 3]


def test_what_remains_has_a_length_if_the_source_has() -> None:
    """A progress bar draws its total from that."""
    lengths: list[Any] = []

    @trax.resumable(create=int, varying="of")
    def loop(n: Any, of: Any) -> Steps[int]:
        left: Any = trax.remaining(of())
        lengths.append(len(left) if hasattr(left, "__len__") else None)
        for _ in left:
            n = yield n + 1

    for of in (lambda: "abc", lambda: {1: 2, 3: 4, 5: 6}, lambda: np.zeros(3), lambda: iter("abc")):
        with loop.fresh(of=of) as run:
            next(run)
        assert list(loop(of=of)) == [2, 3]
    assert lengths == [3, 2, 3, 2, 3, 2, None, None]


def test_items_may_be_taken_ahead_of_their_steps() -> None:
    """As by a list, or by an executor: the digest of each goes with its own step."""

    @trax.resumable(create=list, replay_log=fold, varying="of")
    def ahead(done: list[int], of: list[int]) -> Iterator[int]:
        for item in list(trax.remaining(of)):
            yield item

    with ahead(of=[1, 2, 3, 4]) as run:
        next(run), next(run)
    assert ahead(of=[1, 2, 30, 40]).result() == [1, 2, 30, 40]


def test_a_second_pass_goes_on_after_the_items_that_are_done() -> None:
    """Counting them before, or a loop that was left by break, loses none and repeats none."""

    @trax.resumable(create=list, replay_log=fold)
    def passes(done: Any) -> Steps[Any]:
        items = trax.remaining([1, 2, 3])
        assert sum(1 for _ in items) == 3 - len(done)
        for item in items:
            done = yield item
            if item == 2:
                break
        for item in items:
            done = yield item

    with passes() as run:
        next(run)
    assert passes().result() == [1, 2, 3]


def test_a_step_without_an_item_is_an_error() -> None:
    """The next call would skip an item that was never handed out."""

    @trax.resumable(create=int, check=False)
    def twice(n: int) -> Steps[int]:
        for _ in trax.remaining([1, 2, 3]):
            n = yield n + 1
            n = yield n + 1

    with pytest.raises(trax.UsageError, match="Yield once for each item"):
        twice().result()
    assert twice.load() == 1


def test_remaining_after_a_step_is_an_error() -> None:
    """It would leave out an item."""

    @trax.resumable(create=int, check=False)
    def late(n: int) -> Steps[int]:
        n = yield 1
        for _ in trax.remaining([1, 2, 3]):
            n = yield n + 1

    with pytest.raises(trax.UsageError, match="called after step 1 of 'late'"):
        late().result()


@pytest.mark.parametrize("left_at", [2, 4])
def test_steps_after_the_last_item_are_no_items(left_at: int) -> None:
    """A source that has grown meanwhile loses none."""

    @trax.resumable(create=list, replay_log=fold, varying="of")
    def epilogue(done: Any, of: list[int]) -> Steps[Any]:
        for item in trax.remaining(of):
            done = yield item
        while done.count("end") < 2:
            done = yield "end"

    with epilogue(of=[1, 2, 3]) as run:
        while run.step < left_at:
            next(run)
    ends = max(0, left_at - 3)
    expected = [1, 2, 3][:left_at] + ["end"] * ends + [1, 2, 3, 4][min(left_at, 3) :]
    assert epilogue(of=[1, 2, 3, 4]).result() == expected + ["end"] * (2 - ends)


# -- random sources ------------------------------------------------------------------------

SHUFFLED = """
import os, random, signal, sys
import numpy as np
import trax

def batches(epochs):
    for _ in range(epochs):
        order = list(range(20))
        LIBRARY.shuffle(order)
        yield from order

def train(seen, epochs):
    for number in trax.remaining(batches(epochs)):
        if len(seen) == killed_at:
            os.kill(os.getpid(), signal.SIGKILL)
        BODY

def named(name):
    options = {"replay_log": REPLAY_LOG, "rng": RNG, "every_steps": EVERY}
    return trax.resumable(create=list, name=name, **options)(train)

def run(loop, stop, seed):
    global killed_at
    killed_at = stop
    LIBRARY.seed(seed)
    seen = loop(epochs=3).result()
    print(seen, LIBRARY.random())
"""
ALONE = "run(named('train'), *map(int, sys.argv[1:]))\n"
FORKED = """
first, again = named("train"), named("again")
for arguments in [(first, 7, 7), (first, 26, 26), (first, -1, 1), (again, -1, 7)]:
    if not os.fork():
        run(*arguments)
        sys.exit()
    os.wait()
"""
FOLDED = "lambda seen, number: [*seen, number]"


@pytest.mark.parametrize("library", ["random", "np.random"])
@pytest.mark.parametrize(("replay_log", "every"), [(FOLDED, 1), (FOLDED, 1000), ("None", 1)])
def test_a_source_that_shuffles_comes_in_the_same_order(
    library: str, replay_log: str, every: int
) -> None:
    """It starts from the RNGs' positions of the first time, and the loop goes on with its own."""
    script = SHUFFLED.replace("LIBRARY", library).replace("REPLAY_LOG", replay_log)
    script = script.replace("EVERY", str(every)).replace("RNG", "()")
    body = "seen = yield number" if replay_log == FOLDED else "seen.append(number); yield"
    done = run_script(script.replace("BODY", body) + FORKED)
    resumed, undisturbed = done.stdout.splitlines()
    assert resumed == undisturbed
    assert "train resumed at step 7" in done.stderr
    assert "train resumed at step 26" in done.stderr


def test_draws_of_the_loop_between_those_of_the_source_are_an_error() -> None:
    """Then the source cannot be brought to give the same items, and the digests show that."""
    script = SHUFFLED.replace("LIBRARY", "random").replace("REPLAY_LOG", FOLDED)
    script = script.replace("EVERY", "1000").replace("RNG", "()")
    script = script.replace("BODY", "random.random(); seen = yield number") + ALONE
    assert run_script(script, "30", "1", check=False).returncode == -9
    resumed = run_script(script, "-1", "1", check=False)
    assert resumed.returncode == 1
    assert "ArgumentsChangedError: remaining() got other items: items[2" in resumed.stderr


def test_without_tracking_a_source_that_shuffles_is_an_error() -> None:
    """With rng=None no position is known."""
    script = SHUFFLED.replace("LIBRARY", "random").replace("REPLAY_LOG", FOLDED)
    script = script.replace("EVERY", "5").replace("RNG", "None")
    script = script.replace("BODY", "seen = yield number") + ALONE
    assert run_script(script, "9", "1", check=False).returncode == -9
    resumed = run_script(script, "-1", "2", check=False)
    assert "ArgumentsChangedError: remaining() got other items: items[0]" in resumed.stderr


def test_a_source_that_draws_leaves_the_loop_its_numbers() -> None:
    """What it draws while the done items are skipped does not move the RNG for the loop."""

    def shuffled() -> Iterator[int]:
        order = list(range(5))
        random.shuffle(order)
        yield from order

    @trax.resumable(create=list, replay_log=fold)
    def draw(done: list[float]) -> Iterator[float]:
        for item in trax.remaining(shuffled()):
            yield item + random.random()

    random.seed(5)
    expected = draw().result()
    random.seed(5)
    for step in range(1, 5):
        with draw.fresh() if step == 1 else draw() as run:
            next(run)
            assert run.step == step
        random.seed(step)
    assert draw().result() == expected


# -- what is stored ------------------------------------------------------------------------


def contexts(name: str) -> dict[Key, bytes]:
    reader = Store(None).recover(name)
    assert reader is not None
    for _ in reader.increments():
        pass
    return {key: value for key, value in reader.context.items() if key.kind is Kind.ITEMS}


def test_each_step_stores_the_digest_of_its_item() -> None:
    """So none is left out by a kill; the first one is in the checkpoint after the first step."""
    do(3, [1, 2, 3, 4])
    found = contexts("work")
    names = {f"{CONTENT_VERSION}", f"{CONTENT_VERSION} 1", f"{CONTENT_VERSION} 2"}
    assert {key.name for key in found} == names
    assert [struct.unpack("<QQ", value)[0] for value in found.values()] == [1, 2, 3]


def test_a_checkpoint_stores_all_digests_at_once() -> None:
    """A number for each and one for their count."""
    work(of=[1, 2, 3]).result()
    (value,) = contexts("work").values()
    assert value[:8] == struct.pack("<Q", 3)
    assert len(value) == 32


def strip_items(name: str) -> None:
    """Take the digests out of the newest checkpoint, as a store of an older trax has none."""
    store = Store(None)
    reader = store.recover(name)
    assert reader is not None
    assert reader.checkpoint is not None
    checkpoint = reader.checkpoint
    hold = store.hold(name, sync="os", keep=1, report=print)
    try:
        hold.writer.adopt(reader)
        entries = decode_context(checkpoint.parts["context"].payload)
        kept = [(key, value) for key, value in entries.items() if key.kind is not Kind.ITEMS]
        context = checkpoint.parts["context"]._replace(payload=encode_context(kept))
        parts = {**checkpoint.parts, "context": context, "state": encode([1, 2], "state")}
        hold.writer.checkpoint({**checkpoint.meta, "step": 2}, parts, derived=False)
    finally:
        hold.close()


@pytest.mark.parametrize("of", [[7, 8, 3, 4], range(1, 5)])
def test_without_digests_the_items_of_all_steps_are_skipped(of: Iterable[int]) -> None:
    """As they were before there were digests; from then on they have some."""
    with work(of=[1, 2, 3, 4]) as run:
        next(run), next(run)
    strip_items("work")
    with work(of=of) as run:
        assert next(run) == 3
    with work(of=of) as run:
        assert next(run) == 4


def test_a_run_that_stores_before_it_asks_for_items_keeps_the_digests() -> None:
    """A new RNG in the state makes a checkpoint at the beginning, before the loop runs."""
    do(2, [1, 2, 3])
    with work(of=[1, 2, 3]) as run:
        assert run.step == 2  # opens it
        run._lifecycle.session.checkpoint()
    with pytest.raises(trax.ArgumentsChangedError, match=r"items\[1\]"):
        work(of=[1, 9, 3]).result()


def test_items_that_are_passed_over_without_a_yield_are_told(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Those that are fetched all at once are not."""

    @trax.resumable(create=list, replay_log=lambda done, item: [*done, item], check=False)
    def odd(done: list[int]) -> Iterator[int]:
        for item in trax.remaining(range(9)):
            if item % 2:
                yield item

    @trax.resumable(create=list, replay_log=lambda done, item: [*done, item])
    def listed(done: list[int]) -> Iterator[int]:
        for item in list(trax.remaining(range(9))):
            yield item

    listed().result()
    assert caplog.messages == []
    odd().result()
    (told,) = caplog.messages
    assert told.startswith("odd: remaining() has handed out more items than there are increments")
