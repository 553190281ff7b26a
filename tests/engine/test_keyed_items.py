"""Items of `remaining` with `key`: each is done once, whatever order they come in."""

from __future__ import annotations

import os
import random
import signal
import tracemalloc
from collections.abc import AsyncIterator, Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import Any, assert_type

import anyio
import pytest
from support import start_script

import trax
from trax.calls.content import DONE
from trax.engine.keyed_items import KeyedItems
from trax.storage.context import Key, Kind
from trax.storage.store import Store

Steps = Generator[Any, list[Any], None]


@trax.resumable(create=list, replay_log="append", varying=("of", "key"))
def work(done: list[Any], of: Any, key: Callable[[Any], Any] = str) -> Iterator[Any]:
    for item in trax.remaining(of() if callable(of) else of, key=key):
        yield item


def do(number: int, of: Any, key: Callable[[Any], Any] = str) -> list[Any]:
    """Do some more items, and leave the loop; return them."""
    with work(of=of, key=key) as run:
        return [next(run) for _ in range(number)]


def first(item: Any) -> Any:
    return item[0]


# -- in whatever order they come -----------------------------------------------------------


@pytest.mark.parametrize(
    ("of", "left"),
    [
        ("abcd", "cd"),
        ("dcba", "dc"),
        ("xaybzcd", "xyzcd"),
        ("cd", "cd"),
        ("d", "d"),
        ("bxa", "x"),
        ("ab", ""),
        ("", ""),
    ],
)
def test_each_item_is_done_once(of: str, left: str) -> None:
    """In another order, with others between them, and without those that are done."""
    assert do(2, "abcd") == ["a", "b"]
    assert list(work(of=of)) == [*left]
    assert work.load() == ["a", "b", *left]
    assert list(work(of=[*of, "new"])) == ["new"]


@pytest.mark.parametrize("every_steps", [1, 7, 10_000])
@pytest.mark.parametrize("mode", ["append", "replace", None])
def test_what_is_done_is_found_in_checkpoints_and_logs(every_steps: int, mode: Any) -> None:
    """In the newest checkpoint, in the log after it, and in both."""
    given: Any = {} if mode == "replace" else {"replay_log": mode}

    @trax.resumable(create=list, every_steps=every_steps, varying="of", **given)
    def loop(done: list[int], of: list[int]) -> Steps:
        for item in trax.remaining(of, key=int):
            if mode is None:
                done.append(item)
            done = yield [*done, item] if mode == "replace" else item

    rng, items = random.Random(1), [*range(40)]
    for _ in range(12):
        rng.shuffle(items)
        with loop(of=items) as run:
            for _ in range(3):
                next(run)
    rng.shuffle(items)
    found: Any = loop(of=items).result()
    assert sorted(found) == [*range(40)]


def test_the_items_of_a_generator_or_a_set() -> None:
    """They need no order, and no length."""
    assert len({*do(2, {"a", "b", "c"})}) == 2
    assert len([*work(of=lambda: iter("cabd"))]) == 2
    assert sorted(work.load()) == ["a", "b", "c", "d"]


KILLED = """
import os, sys
import trax

def items(round):
    return {f"item {n}" for n in range(20 + 20 * round)}

@trax.resumable(create=list, replay_log="append", every_steps=7, varying="round")
def work(done, round):
    for item in trax.remaining(items(round), key=str):
        done = yield item

for item in work(round=int(sys.argv[1])):
    print(item, flush=True)
    sys.stdin.readline()
"""


def test_sets_are_done_by_processes_that_are_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each process has another order of its set, and more items than the one before."""
    rng, done, orders = random.Random(2), list[str](), set[str]()
    for attempt in range(5):
        monkeypatch.setenv("PYTHONHASHSEED", str(attempt))
        with start_script(KILLED, str(attempt)) as process:
            assert process.stdin is not None
            assert process.stdout is not None
            for number in range(rng.randrange(3, 18)):
                done.append(process.stdout.readline().strip())
                if not number:
                    orders.add(done[-1])
                process.stdin.write("\n")
                process.stdin.flush()
            done.append(process.stdout.readline().strip())
            os.kill(process.pid, signal.SIGKILL)
    monkeypatch.setenv("PYTHONHASHSEED", "99")
    with start_script(KILLED, "4") as process:
        done += process.communicate("\n" * 200)[0].splitlines()
    assert len(orders) > 1
    assert sorted(done) == sorted({f"item {n}" for n in range(100)})


def damage_newest_checkpoint(name: str) -> None:
    newest = max(Path(".trax/runs", name).glob("checkpoint*"))
    newest.write_bytes(newest.read_bytes()[:-20])


def test_a_damaged_checkpoint_takes_no_item_with_it() -> None:
    """The one before and the logs since have all keys."""

    @trax.resumable(create=list, replay_log="append", every_steps=5, varying="of")
    def loop(done: list[int], of: Iterable[int]) -> Iterator[int]:
        for item in trax.remaining(of, key=int):
            yield item

    with loop(of=range(30)) as run:
        while run.step < 13:
            next(run)
    damage_newest_checkpoint("loop")
    assert [*loop(of=[*range(29, -1, -1)])] == [*range(29, 12, -1)]


def test_after_a_repair_the_items_of_later_steps_are_not_done() -> None:
    """The keys are those of the step to which the run goes back."""
    with work(of="abcdef") as run:
        while run.step < 5:
            next(run)
    trax.repair("work", step=3)
    assert [*work(of="fedcba")] == ["f", "e", "d"]


def test_items_of_an_async_loop() -> None:
    """They are the same."""

    @trax.resumable(create=list, replay_log="append", varying="of")
    async def loop(done: list[str], of: str) -> AsyncIterator[str]:
        for item in trax.remaining(of, key=str):
            yield item

    async def main() -> list[str]:
        async with loop(of="abc") as run:
            await anext(run)
        return await loop(of="xcba").result()

    assert anyio.run(main) == ["a", "x", "c", "b"]


def test_results_in_the_order_in_which_they_are_completed() -> None:
    """Each future has the key of its item, so the order is free."""

    @trax.resumable(create=dict, replay_log="update", varying="of")
    def sizes(found: dict[str, int], of: list[str]) -> Generator[Any, dict[str, int], None]:
        with ThreadPoolExecutor(2) as pool:
            tasks = {pool.submit(len, item): item for item in of if item not in found}
            for task in trax.remaining(as_completed(tasks), key=tasks.__getitem__):
                assert_type(task, Future[int])
                found = yield {tasks[task]: task.result()}

    with sizes(of=["a", "bb", "ccc"]) as run:
        next(run)
    assert sizes(of=["ccc", "a", "dd", "bb"]).result() == {"a": 1, "bb": 2, "ccc": 3, "dd": 2}


def test_keys_may_be_anything_with_a_content() -> None:
    """Numbers and texts that are equal to each other have keys of their own."""
    items = [1, 1.0, True, "1", b"1", (1,), (1, 2), Path("1"), None, ("a", (1, b"c"))]
    key: Callable[[Any], Any] = list.copy
    boxes = [[item] for item in items]
    do(5, boxes, key)
    rest = [*work(of=boxes[::-1], key=key)]
    assert rest == boxes[:4:-1]


# -- items that come twice -----------------------------------------------------------------


@pytest.mark.parametrize("number", [0, 1, 2])
def test_an_item_that_comes_twice_is_done_once(number: int) -> None:
    """If it is its own key."""
    do(number, "abacab")
    assert work(of="abacab").result() == ["a", "b", "c"]


@pytest.mark.parametrize("number", [0, 1, 2])
def test_two_items_with_one_key_are_an_error(number: int) -> None:
    """One of them would be left out; the same in every process."""
    items = [("a", 1), ("b", 2), ("a", 3), ("c", 4)]
    do(number, items, first)
    with pytest.raises(trax.UsageError, match=r"the key 'a' for items\[2\]") as caught:
        work(of=items, key=first).result()
    assert "('a', 3)" in str(caught.value)
    assert work.load() == items[:2]


def test_an_item_may_come_again_in_a_later_process() -> None:
    """It is done, whatever else is in it."""
    do(1, [("a", 1), ("b", 2)], first)
    assert [*work(of=[("b", 3), ("a", 4)], key=first)] == [("b", 3)]


# -- one increment for each ----------------------------------------------------------------


def ahead(of: Iterable[int]) -> list[int]:
    return list(trax.remaining(of, key=int))


def passed_over(of: Iterable[int]) -> Iterator[int]:
    return (item for item in trax.remaining(of, key=int) if item > 2)


def in_threads(of: Iterable[int]) -> Iterator[int]:
    with ThreadPoolExecutor(1) as pool:
        return pool.map(int, trax.remaining(of, key=int))


@pytest.mark.parametrize("taken", [ahead, passed_over, in_threads])
def test_an_item_before_the_increment_of_the_last_is_an_error(taken: Any) -> None:
    """It would not be certain which of them is done."""

    @trax.resumable(create=list, replay_log="append", check=False)
    def loop(done: list[int]) -> Iterator[int]:
        for item in taken([1, 2, 3, 4]):
            yield item

    with pytest.raises(trax.UsageError, match="asked for an item before 1 had") as caught:
        loop().result()
    assert "Yield once" in str(caught.value)
    assert loop.load() == []


def test_a_second_increment_for_an_item_is_an_error() -> None:
    """With the first it counts as done, and a resumed run would leave out the second."""

    @trax.resumable(create=list, replay_log="append", check=False)
    def twice(done: list[int]) -> Iterator[int]:
        for item in trax.remaining([1, 2], key=int):
            yield item
            yield item

    with pytest.raises(trax.UsageError, match="handed out no item"):
        twice().result()
    assert twice.load() == [1]


@pytest.mark.parametrize("left_at", [2, 4])
def test_steps_after_the_last_item_have_no_key(left_at: int) -> None:
    """Items that have come meanwhile are done before the other steps."""

    @trax.resumable(create=list, replay_log="append", varying="of")
    def epilogue(done: Any, of: str) -> Steps:
        for item in trax.remaining(of, key=str):
            done = yield item
        while done.count("end") < 2:
            done = yield "end"

    with epilogue(of="abc") as run:
        while run.step < left_at:
            next(run)
    before = ["a", "b", "c", "end"][:left_at]
    left = [item for item in "dcba" if item not in before]
    ends = ["end"] * (2 - before.count("end"))
    assert epilogue(of="dcba").result() == before + left + ends


def test_there_may_be_no_items_yet() -> None:
    """Steps without one store that the items have keys."""

    @trax.resumable(create=list, replay_log="append", varying="of")
    def loop(done: Any, of: str) -> Steps:
        for item in trax.remaining(of, key=str):
            done = yield item
        while done.count("end") < 2:
            done = yield "end"

    with loop(of="") as run:
        next(run)
    damage_newest_checkpoint("loop")
    assert loop(of="ab").result() == ["end", "a", "b", "end"]


def test_a_second_pass_has_the_items_that_are_not_done() -> None:
    """Of a source that can be gone through again, and has got more."""
    items = {("a", 1): None, ("b", 2): None}

    @trax.resumable(create=list, replay_log="append")
    def passes(done: list[Any]) -> Iterator[Any]:
        left = trax.remaining(items, key=first)
        for item in left:
            yield item
        items[("c", 3)] = None
        for item in left:
            yield item

    assert passes().result() == [("a", 1), ("b", 2), ("c", 3)]


# -- keys that are none --------------------------------------------------------------------


class Opaque:
    def __reduce__(self) -> str:
        raise TypeError


@pytest.mark.parametrize(
    ("key", "found"),
    [
        ("name", "must be callable"),
        (id, "another key in every process"),
        (hash, "another key in every process"),
        (repr, "another in every process"),
        (lambda item: f"{item!r} of 3", "another in every process"),
        (lambda item: item, "cannot tell items like"),
    ],
)
def test_keys_that_are_not_the_same_in_every_process_are_refused(key: Any, found: str) -> None:
    """All items would be done again."""
    with pytest.raises(trax.UsageError, match=found) as caught:
        next(work(of=[Opaque()], key=key))
    assert len(str(caught.value).splitlines()[0]) <= 100


def test_a_text_may_have_an_address_in_it() -> None:
    """It is the item itself, and the same in every process."""
    lines = ["<a at 0x7f00>", "<b at 0x7f01>"]
    do(1, lines)
    assert [*work(of=lines[::-1])] == lines[1:]


def test_an_error_of_key_ends_the_loop() -> None:
    """As any error of the loop, with all that is stored."""
    with pytest.raises(IndexError):
        work(of=["a", "", "b"], key=first).result()
    assert work.load() == ["a"]


def test_a_plain_loop_has_no_keys() -> None:
    """Its variables come back, and with them the position in its items."""

    @trax.resumable
    def plain(of: str) -> Iterator[str]:
        for item in trax.remaining(of, key=str):
            yield item

    with pytest.raises(trax.UsageError, match="a plain loop") as caught:
        plain(of="abc").result()
    assert "create=" in str(caught.value)


# -- runs that were begun otherwise --------------------------------------------------------


@trax.resumable(create=list, replay_log="append", varying="key", name="run")
def either(done: list[int], key: Any = None) -> Iterator[int]:
    for item in trax.remaining([1, 2, 3], key=key):
        yield item


@pytest.mark.parametrize("number", [1, 2])
def test_a_run_that_was_begun_without_key_stays_so(number: int) -> None:
    """The keys of its items are not known."""
    with either() as run:
        for _ in range(number):
            next(run)
    with pytest.raises(trax.UsageError, match=f"at step {number}, and has not stored") as caught:
        either(key=int).result()
    assert "without key=" in str(caught.value)
    assert len(str(caught.value).splitlines()[0]) <= 100
    assert either().result() == [1, 2, 3]


@pytest.mark.parametrize("number", [1, 2])
def test_a_run_that_was_begun_with_key_stays_so(number: int) -> None:
    """The order of its items is not known."""
    with either(key=int) as run:
        for _ in range(number):
            next(run)
    with pytest.raises(trax.UsageError, match="by their keys") as caught:
        either().result()
    assert "the same key=" in str(caught.value)
    assert len(str(caught.value).splitlines()[0]) <= 100
    assert either(key=int).result() == [1, 2, 3]


def test_a_run_without_steps_may_get_a_key() -> None:
    """Nothing is done yet."""
    with either() as run:
        assert run.step == 0
    assert either(key=int).result() == [1, 2, 3]


# -- what is stored ------------------------------------------------------------------------


def stored(name: str) -> dict[Key, bytes]:
    reader = Store(None).recover(name)
    assert reader is not None
    reader.read()
    return {key: value for key, value in reader.context.items() if key.kind is Kind.ITEMS}


def test_a_step_stores_one_digest_and_a_checkpoint_all() -> None:
    """Of 16 bytes each."""
    do(3, "abcd")
    ((key, value),) = stored("work").items()
    assert (key, len(value)) == (DONE, 16)
    work(of="abcd").result()
    assert [len(value) for value in stored("work").values()] == [64]


def test_a_run_that_stores_before_it_asks_for_items_keeps_the_keys() -> None:
    """Also those in the log before that checkpoint."""
    do(3, "abcd")
    with work(of="abcd") as run:
        assert run.step == 3  # opens it
        run._lifecycle.session.checkpoint()
    assert [*work(of="dcba")] == ["d"]


def test_an_item_that_is_done_takes_few_bytes() -> None:
    """While they are counted, and when the run is resumed."""

    class Recovered:
        recovered: dict[Key, bytes]

    tracking: Any = Recovered()
    tracking.recovered = {}
    count = 50_000
    tracemalloc.start()
    try:
        items = KeyedItems("run", tracking, int, 0)
        for _ in items.begin(range(count), 0):
            items.step()
        assert tracemalloc.get_traced_memory()[1] / count < 24
        tracking.recovered = items.entries()
        del items
        tracemalloc.reset_peak()
        KeyedItems("run", tracking, int, count)
        assert tracemalloc.get_traced_memory()[1] / count < 40
    finally:
        tracemalloc.stop()
