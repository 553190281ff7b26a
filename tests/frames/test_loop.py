"""Plain loops of all kinds of functions."""

from __future__ import annotations

import contextlib
import math
import random
import shutil
from collections.abc import Generator, Iterator
from typing import Any, Self

import pytest
from support import run_script

import trax
from trax.testing import check_resume


class Sum:
    """A sum with loops."""

    def __init__(self, start: int) -> None:
        self.total = start

    @trax.resumable(name="add")
    def add(self, n: int, *more: int, by: int = 1, **others: int) -> Iterator[int]:
        """Add numbers."""
        for i in range(n):
            self.total += i * by + sum(more) + sum(others.values())
            yield self.total

    @trax.resumable
    @classmethod
    def of(cls, n: int) -> Generator[int, None, Self]:
        """Make a sum."""
        made = cls(0)
        for i in range(n):
            made.total += i
            yield i
        return made

    @trax.resumable
    @staticmethod
    def alone(n: int) -> Iterator[int]:
        """Count."""
        yield from range(n)


def test_methods_get_their_object_back_in_place() -> None:
    """And all kinds of arguments."""
    one = Sum(5)
    with one.add(6, 1, 2, by=3, other=4) as run:
        found = [next(run) for _ in range(3)]
    other = Sum(5)
    found += other.add(6, 1, 2, by=3, other=4)
    expected = Sum(5)
    assert found == list(expected.add.fresh(6, 1, 2, by=3, other=4))
    assert other.total == expected.total


def test_class_and_static_methods() -> None:
    """They have no object."""
    with Sum.of(5) as run:
        next(run)
    assert Sum.of(5).result().total == 10
    with Sum.alone(5) as run:
        next(run)
    assert list(Sum.alone(5)) == [1, 2, 3, 4]


def loops() -> dict[str, Any]:
    """Return calls of loops of all kinds."""
    offset = 3

    @trax.resumable
    def closure(n: int) -> Iterator[int]:
        total = offset

        def add(x: int) -> int:
            nonlocal total
            total += x
            return total

        for i in range(n):
            yield add(i)

    @trax.resumable
    def generators(n: int) -> Iterator[Any]:
        def produce() -> Iterator[float]:
            for _ in range(n):
                yield random.random()

        pairs = ((a, b) for a in range(2) for b in range(n))
        for value in produce():
            yield value, next(pairs)
        yield from produce()

    @trax.resumable
    def blocks(n: int) -> Iterator[Any]:
        done = []
        with trax.open("out.txt") as out:
            for i in range(n):
                try:
                    if i % 2:
                        raise ValueError(i)
                except ValueError as error:
                    yield "error", str(error)
                else:
                    match i:
                        case 0:
                            yield "none"
                        case _ if j := i + 1:
                            yield j
                finally:
                    done.append(i)
                    print(i, file=out)
        yield done

    @trax.resumable
    def shared(n: int) -> Iterator[Any]:
        numbers = iter(range(n))
        kept = {"numbers": numbers}
        for a in numbers:
            b = next(kept["numbers"], None)
            for c in numbers:
                yield a, b, c
                if c % 2:
                    break

    @trax.resumable
    def named(n: int) -> Iterator[Any]:
        given = {**locals()}
        for i in range(n):
            with contextlib.suppress(ValueError):
                yield sorted(locals()), sorted(vars()), given, i

    return {
        "shared": shared(20),
        "named": named(3),
        "closure": closure(4),
        "generators": generators(3),
        "blocks": blocks(4),
    }


@pytest.mark.parametrize("name", ["closure", "generators", "blocks", "shared", "named"])
def test_loops_resume_exactly_wherever_they_are_killed(name: str) -> None:
    """At each operation on the disk, and in new processes."""
    assert check_resume(loops()[name], limit=30).steps


def count_twice(n: int) -> Iterator[int]:
    """Two yields for one number."""
    for i in range(n):
        yield i
        yield -i


def keep_best(n: int) -> Iterator[float]:
    """A best value, patience, and a buffer that is used again."""
    best, patience, buffer = float("inf"), 0, [0.0]
    while patience < n:
        buffer[0] = random.random()
        if buffer[0] < best:
            best, patience = buffer[0], 0
        else:
            patience += 1
        yield best


def skip_some(n: int) -> Iterator[tuple[int, int]]:
    """An accumulator, `enumerate`, `continue` and statements after the yield."""
    total = 0
    for number, i in enumerate(range(10, 10 + 3 * n)):
        total += i
        if i % 3:
            continue
        yield number, total
        total *= 2


def pages(n: int) -> Iterator[list[int]]:
    """A queue and a set of those that are done."""
    waiting, done = [0], set[int]()
    while waiting and len(done) < n:
        page = waiting.pop(0)
        done.add(page)
        waiting += [page * 2 + 1, page * 2 + 2]
        yield sorted(done)


@pytest.mark.parametrize("loop", [count_twice, keep_best, skip_some, pages])
def test_what_is_lost_where_a_state_is_declared_comes_back(loop: Any) -> None:
    """Written as one always does: with local variables, and numbers from 0 on."""
    assert check_resume(trax.resumable(loop)(4), limit=20).steps


def test_an_iterator_over_a_range_may_have_several_names() -> None:
    """Loops and `next` go on in the same one, also in a resumed run."""

    @trax.resumable
    def shared(n: int) -> Iterator[tuple[int, int]]:
        numbers = iter(range(n))
        for a in numbers:
            yield a, next(numbers)

    with shared(10) as run:
        found = [next(run), next(run)]
    assert found + list(shared(10)) == [(0, 1), (2, 3), (4, 5), (6, 7), (8, 9)]


def test_locals_shows_the_variables_that_the_function_has() -> None:
    """And nothing of trax, before and after a resume."""

    @trax.resumable
    def named(n: int) -> Iterator[Any]:
        given = {**locals()}
        for i in range(n):
            with contextlib.suppress(ValueError) as nothing:
                yield given, i, sorted(locals()), sorted(vars())

    names = ["given", "i", "n", "nothing"]
    with named(4) as run:
        found = [next(run), next(run)]
    assert found + list(named(4)) == [({"n": 4}, i, names, names) for i in range(4)]


def test_functions_inside_may_call_what_the_module_imports(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """They come back as they are, so nothing is told."""

    @trax.resumable
    def inside(n: int) -> Iterator[float]:
        def root(x: int) -> float:
            return math.sqrt(x) + random.random() * 0

        for i in range(n):
            yield root(i)

    with inside(3) as run:
        next(run)
    assert list(inside(3)) == [1.0, math.sqrt(2)]
    assert "comes back" not in caplog.text


def test_a_variable_that_does_not_come_back_is_told_by_its_name(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """And so is one of the module that the loop changes."""

    class Forgetful:
        def __init__(self) -> None:
            self.kept, self.lost = 1, [2]

        def __getstate__(self) -> dict[str, int]:
            return {"kept": self.kept}

    @trax.resumable
    def loop(n: int) -> Iterator[int]:
        part = Forgetful()
        for i in range(n):
            part.lost.append(i)
            yield len(part.lost)

    list(loop(3))
    assert any(line.startswith("loop: part.lost does not come back") for line in caplog.messages)


def test_what_can_be_neither_stored_nor_made_again_is_refused_at_the_first_step() -> None:
    """By its name and line."""

    @trax.resumable
    def loop(n: int) -> Iterator[int]:
        for i in range(n):
            lock = __import__("threading").Lock()
            yield i
            lock.acquire()

    with pytest.raises(trax.CodecError, match="loop: lock cannot be made again"):
        next(loop(3))
    assert trax.load("loop").step == 0


AROUND = """
import os, signal, sys
import trax

def main(kill):
    seen, numbers, squares, count = [], iter(range(100)), (x * x for x in range(100)), 0
    marked = {}

    def tick():
        nonlocal count
        count += 1

    @trax.resumable
    def loop(queue, n):
        for i in range(n):
            tick()
            seen.append(i)
            mark = id(queue)
            marked[mark] = queue
            queue.append(next(numbers))
            yield i, [*queue], count, next(squares)
            del marked[mark]

    run = loop(seen, 6)
    for increment in run:
        print(increment)
        if increment[0] == kill:
            sys.stdout.flush()
            os.kill(os.getpid(), signal.SIGKILL)
    print(run.result(), seen, count, next(numbers), next(squares), marked)

main(int(sys.argv[1]))
"""


def test_variables_of_functions_around_the_loop_come_back() -> None:
    """In place, with iterators, shared with other functions and with arguments; when done, too."""
    undisturbed = run_script(AROUND, "-1").stdout.splitlines()
    assert undisturbed[-1].endswith("6 6 36 {}")
    shutil.rmtree(".trax")
    found = run_script(AROUND, "2", check=False).stdout.splitlines()
    found += run_script(AROUND, "-1").stdout.splitlines()
    assert found == undisturbed
    assert run_script(AROUND, "-1").stdout.splitlines() == undisturbed[-1:]
