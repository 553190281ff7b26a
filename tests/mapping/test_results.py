"""The stored results of a map: what is in the files, what readers find, and what damage does."""

from __future__ import annotations

import itertools
import logging
import shutil
import threading
import time
import tracemalloc
from collections import deque
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support import flipped, run_script

import trax


def square(n: int) -> int:
    return n * n


def files(store: Path, name: str = "square") -> dict[str, int]:
    return {path.name: path.stat().st_size for path in sorted((store / "runs" / name).glob("*-*"))}


def test_what_is_stored_is_never_written_again_or_removed(store_here: Path) -> None:
    """Each call adds a log, and there is one checkpoint, of a fixed size."""
    trax.map(square, range(200)).result()
    before = files(store_here)
    for count in (400, 600, 800):
        trax.map(square, range(count)).result()
        after = files(store_here)
        assert {name: after.get(name) for name in before} == before
        assert len(after) == len(before) + 1
        before = after
    assert [name for name in before if name.startswith("checkpoint")] == ["checkpoint-00000001"]
    trax.map(square, range(800)).result()
    assert files(store_here) == before


def test_a_pair_takes_as_many_bytes_whatever_is_stored_before(store_here: Path) -> None:
    def size() -> int:
        return sum(files(store_here).values())

    trax.map(square, range(1000, 1100)).result()
    first = size()
    trax.map(square, range(1000, 1200)).result()
    second = size()
    trax.map(square, range(1000, 1300)).result()
    # A slow machine also logs what time it is; the digests of the former pairs are 1,600 bytes.
    assert size() - second == pytest.approx(second - first, abs=500)


def test_an_item_that_is_done_takes_less_than_32_bytes_of_memory() -> None:
    """Its result is read from the log, and not kept."""
    trax.map(square, range(20_000)).result()
    results = iter(trax.map(square, range(20_000)))
    tracemalloc.start()
    try:
        deque(itertools.islice(results, 5_000), maxlen=0)
        before, _ = tracemalloc.get_traced_memory()
        deque(itertools.islice(results, 14_000), maxlen=0)
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
        results.close()  # type: ignore[attr-defined]  # it is a generator
    assert (after - before) / 14_000 < 32


def test_files_that_are_gone_end_the_map(store_here: Path) -> None:
    """What it would store there, nobody would find."""

    def remove(n: int) -> int:
        if n == 3:
            shutil.rmtree(store_here / "runs/remove")
            time.sleep(0.11)  # it looks ten times a second
        return n

    results = trax.map(remove, range(10))
    assert [next(results)[0] for _ in range(3)] == [0, 1, 2]
    with pytest.raises(trax.DurabilityError, match="is gone at step 3"):
        next(results)


def test_every_reader_of_the_store_knows_the_pairs() -> None:
    """In the order in which they were completed."""
    with trax.map(square, range(5)) as results:
        for _ in range(3):
            next(results)
    pairs = [(0, 0), (1, 1), (2, 4)]
    assert trax.load("square") == pairs
    assert trax.Trax().recover("square") == pairs
    found = trax.verify("square")
    assert found.good
    assert found.step == 3
    assert not found.done


def test_keys_and_results_of_all_kinds_come_back() -> None:
    """Items that cannot be hashed as well."""
    items = [{"lr": 0.1}, [1, [2]], np.arange(3), "text", b"bytes", None, 1.5, (1, "two"), {3, 4}]
    calls: list[Any] = []

    def pass_on(item: Any) -> Any:
        calls.append(item)
        return item

    first = [*trax.map(pass_on, items, name="all")]
    again = [*trax.map(pass_on, items[::-1], name="all")]
    assert len(calls) == len(items)
    assert list(map(repr, first)) == list(map(repr, again))


@pytest.mark.parametrize("in_flight", [1, 2])
@pytest.mark.parametrize("kind", ["list", "array", "object"])
def test_a_result_is_handed_out_as_it_is_stored(kind: str, in_flight: int) -> None:
    """The function may use the same buffer for the next item."""
    buffer: Any = {"list": [0], "array": np.zeros(1), "object": {"inner": [0]}}[kind]

    def fill(n: int) -> Any:
        target = buffer["inner"] if kind == "object" else buffer
        target[0] = n
        return buffer

    options: dict[str, Any] = {"name": "fill", "varying": "buffer", "in_flight": in_flight}
    found = trax.map(fill, range(4), **options).result()
    assert [*map(repr, found)] == [repr(result) for _, result in sorted(trax.load("fill"))]
    if in_flight == 1:
        assert len({*map(repr, found)}) == 4
        for result in found:
            (result["inner"] if kind == "object" else result)[0] = 9  # it is the caller's own


def test_an_item_that_the_function_changes_is_the_key_as_it_was() -> None:
    """In a later process the items are as they were."""

    def enrich(item: dict[str, int]) -> dict[str, int]:
        item["more"] = 1
        return item

    items = [{"n": 1}, {"n": 2}]
    for _ in range(2):
        items = [{"n": 1}, {"n": 2}]
        pairs = [({"n": n}, {"n": n, "more": 1}) for n in (1, 2)]
        assert [*trax.map(enrich, items)] == pairs
        assert trax.load("enrich") == pairs
    changed = [{"n": 3}]
    trax.map(enrich, changed, name="again").result()
    with pytest.raises(trax.ArgumentsChangedError, match="if the function changes its items, give"):
        trax.map(enrich, changed, name="again").result()


def test_numbers_of_other_types_are_other_items() -> None:
    assert len([*trax.map(repr, [1, 1.0, True, "1", b"1", (1,), [1]])]) == 7


def test_items_without_content_need_a_key() -> None:
    """Two of a type would be one item."""
    items = [threading.Lock(), threading.Lock()]
    with pytest.raises(trax.UsageError, match=r"(?s)apart by their content.*Give key="):
        next(trax.map(str, items, name="objects"))
    numbers = {id(item): number for number, item in enumerate(items)}
    assert (
        len(trax.map(type, items, name="types", key=lambda item: numbers[id(item)]).result()) == 2
    )


SCRIPT = """
import sys
import trax

class Point:
    def __init__(self, x):
        self.x = x

{function}

for key, point in trax.map(move, map(Point, range(3))):
    print(key.x, point.x, isinstance(point, Point))
"""


def test_the_classes_of_a_script_come_back_as_its_present_ones() -> None:
    """And changed code of the function is a line, no error."""
    first = run_script(SCRIPT.format(function="def move(point): return Point(point.x + 1)"))
    assert first.stdout == "0 1 True\n1 2 True\n2 3 True\n"
    again = run_script(SCRIPT.format(function="def move(point): return Point(point.x + 2)"))
    assert again.stdout == first.stdout
    assert "square" not in again.stderr
    assert "the code of move has changed" in again.stderr
    assert "the present code computes what is left" in again.stderr
    assert "move resumed with 3 stored results" in again.stderr


def test_a_result_that_cannot_be_stored_ends_the_map_and_says_which() -> None:
    """Nothing is handed out that is not stored."""

    def opened(n: int) -> Any:
        return (n for _ in ()) if n == 2 else n

    results = trax.map(opened, range(4))
    assert [next(results), next(results)] == [(0, 0), (1, 1)]
    with pytest.raises(trax.CodecError, match=r"result\[1\]") as caught:
        next(results)
    assert caught.value.__notes__ == ["trax: item 2 of 'opened' is not stored"]
    assert trax.load("opened") == [(0, 0), (1, 1)]


def test_a_run_of_something_else_is_refused_and_left_alone(store_here: Path) -> None:
    """Either way round."""

    @trax.resumable(create=int, name="count")
    def count(n: int) -> Generator[int, int, None]:
        while n < 3:
            n = yield n + 1

    assert count().result() == 3
    with trax.Trax() as store:
        store.log(logged=1)
        store.checkpoint(stored=2)
    trax.map(square, range(3), name="mapped").result()
    for name in ("count", "logged", "stored"):
        with pytest.raises((trax.UsageError, trax.CorruptionError)):
            next(trax.map(square, range(3), name=name))

    @trax.resumable(create=list, replay_log=lambda state, pair: [*state, pair], name="mapped")
    def loop(state: list[Any]) -> Iterator[int]:
        yield 1

    with pytest.raises(trax.ArgumentsChangedError):
        next(loop())
    assert trax.load("mapped") == [(0, 0), (1, 1), (2, 4)]
    assert count().result() == 3


def test_a_state_that_was_stored_over_the_results_is_no_map() -> None:
    """The results before it would be missing without a word."""
    trax.map(square, range(3)).result()
    with trax.Trax() as store:
        store.checkpoint(square=[])
    with pytest.raises(trax.UsageError, match=r"was not stored by trax\.map, or was changed since"):
        next(trax.map(square, range(3)))


@pytest.mark.parametrize("loss", ["emptied", "removed"])
def test_the_loss_of_the_checkpoint_loses_nothing(
    loss: str, store_here: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A call makes it again."""
    caplog.set_level(logging.INFO)
    trax.map(square, range(3)).result()
    checkpoint = store_here / "runs/square/checkpoint-00000001"
    checkpoint.write_bytes(b"") if loss == "emptied" else checkpoint.unlink()
    with pytest.raises(trax.CorruptionError, match="Call the function with the same arguments"):
        trax.load("square")
    caplog.clear()
    assert trax.map(square, range(5)).result() == [0, 1, 4, 9, 16]
    assert "square resumed with 3 stored results" in caplog.text
    assert trax.map(square, range(6)).result() == [0, 1, 4, 9, 16, 25]


KILLED = """
import os, signal, sys
import trax

def square(n):
    return n * n

for n, _ in trax.map(square, range(10)):
    if n == 5:
        os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_torn_end_is_cut_and_its_item_computed_again(
    store_here: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """As of any run: the item had not been handed out."""
    run_script(KILLED, check=False)
    assert len(trax.load("square")) == 6
    log = store_here / "runs/square/log-00000001"
    log.write_bytes(log.read_bytes()[:-5])
    calls = [n for n, _ in trax.map(square, range(10), name="square")]  # from another file
    assert calls == [*range(10)]
    assert "was torn at offset" in caplog.text
    assert len(trax.load("square")) == 10


def test_damage_is_an_error_and_after_a_repair_the_lost_items_are_computed(
    store_here: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Nothing is skipped in silence."""
    calls: list[int] = []

    def counted(n: int) -> int:
        calls.append(n)
        return n * n

    trax.map(counted, range(50)).result()
    log = store_here / "runs/counted/log-00000001"
    data = log.read_bytes()
    log.write_bytes(flipped(data, len(data) // 2))
    with pytest.raises(trax.CorruptionError, match="log-00000001"):
        trax.map(counted, range(50)).result()
    assert not trax.verify("counted").good
    kept = trax.repair("counted").step
    assert 0 < kept < 50
    calls.clear()
    assert trax.map(counted, range(50)).result() == [n * n for n in range(50)]
    assert len(calls) == 50 - kept
    assert trax.verify("counted").good


def test_the_results_are_signed_like_all_runs(
    store_here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRAX_KEY", "0" * 64)
    trax.map(square, range(3)).result()
    assert trax.map(square, range(4)).result() == [0, 1, 4, 9]
    monkeypatch.setenv("TRAX_KEY", "")
    with pytest.raises(trax.UntrustedError):
        next(trax.map(square, range(3)))
