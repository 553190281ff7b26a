"""Proofs of the first frames of a plain loop."""

from __future__ import annotations

import gzip
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest

import trax
from trax.engine.frame_proofs import name_variable

# ruff: noqa: SIM115

counts = [0]


class Agent:
    """It has an attribute."""

    age = 0


def test_places_in_a_state_become_names() -> None:
    """In errors and in notices."""
    assert name_variable("state[1]['a'].b[0] (T) cannot be stored") == "a.b[0] (T) cannot be stored"
    assert name_variable("state[2]['a'].cell_contents.b: x") == "a.b: x"
    assert name_variable("state[3][0] (trax.frames.iterables.Again) is x") == "the iterable is x"
    assert name_variable("variables['a'] and variables['b'].c") == "a and b.c"


def test_a_variable_of_the_module_that_the_loop_changes_is_told(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A resumed run finds it as it was."""

    @trax.resumable
    def loop(n: int) -> Iterator[int]:
        for i in range(n):
            counts[0] += 1
            yield i

    list(loop(3))
    (line,) = [line for line in caplog.messages if "changes counts" in line]
    assert "outside of its variables" in line


def test_variables_of_functions_around_the_loop_are_not_told(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """They come back, those of functions that it calls too."""
    seen: list[int] = []
    count = 0

    def tick() -> int:
        nonlocal count
        count += 1
        return count

    @trax.resumable
    def loop(n: int) -> Iterator[int]:
        for _ in range(n):
            seen.append(tick())
            yield len(seen)

    list(loop(3))
    assert caplog.messages == []


def test_an_argument_is_no_variable_of_the_module(caplog: pytest.LogCaptureFixture) -> None:
    """Even if the module has it as well, and a function inside shares the parameter."""

    @trax.resumable
    def loop(found: list[int], n: int) -> Iterator[int]:
        for i in range(n):
            found[0] += 1 + sum(found[0] for _ in range(i))
            yield len(counts)

    loop(counts, 4).result()
    assert caplog.messages == []


def test_files_and_iterators_are_no_flaws(caplog: pytest.LogCaptureFixture) -> None:
    """Nor are arguments that the loop changes."""
    Path("in.txt").write_text("a\nb\nc\n")

    @trax.resumable
    def loop(found: list[str], holder: dict[str, Any]) -> Iterator[str]:
        letters = iter("xyz")
        with open("in.txt") as lines, trax.open("out.txt") as out:
            holder["out"] = 1
            for line in lines:
                found.append(line)
                out.write(line)
                yield line + next(letters)

    assert list(loop([], {})) == ["a\nx", "b\ny", "c\nz"]
    assert caplog.messages == []


def test_progress_bars_are_no_flaws(caplog: pytest.LogCaptureFixture) -> None:
    """The copy of one is not drawn, and so has not all of its attributes."""
    tqdm = pytest.importorskip("tqdm").tqdm

    @trax.resumable
    def loop(n: int) -> Iterator[int]:
        with tqdm(total=n) as bar:
            for i in range(n):
                bar.update()
                yield i

    loop(4).result()
    assert caplog.messages == []


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # an old matplotlib and its parser
def test_figures_are_no_flaws(caplog: pytest.LogCaptureFixture) -> None:
    """Also where there are several of them: they only show something, and are the loop's affair."""
    pytest.importorskip("matplotlib").use("Agg")
    from matplotlib.figure import Figure

    @trax.resumable
    def loop(n: int) -> Iterator[int]:
        figure = Figure()
        axes = list(figure.subplots(2))
        for i in range(n):
            axes[i % 2].plot([i])
            yield i

    loop(4).result()
    assert caplog.messages == []


class Order:
    """An order, with a count of all."""

    made: ClassVar[list[int]] = []

    @trax.resumable(name="orders")
    @classmethod
    def several(cls, n: int) -> Iterator[int]:
        for i in range(n):
            cls.made.append(i)
            yield len(cls.made)


def test_an_attribute_of_the_class_that_the_loop_changes_is_told(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Like a variable of the module, although the class is an argument."""
    list(Order.several(3))
    assert [line for line in caplog.messages if "changes Order.made, outside" in line]


@pytest.mark.parametrize(
    "opened",
    [
        lambda: gzip.open("in.gz"),
        lambda: gzip.open("in.gz", "rt"),
        lambda: open("in.txt", "rb", buffering=0),
        lambda: open("in.txt"),
    ],
)
def test_the_copy_of_a_file_is_closed(opened: Callable[[], Any]) -> None:
    """The loop's own stays open."""
    Path("in.txt").write_text("a\nb\nc\n")
    Path("in.gz").write_bytes(gzip.compress(b"a\nb\nc\n"))

    @trax.resumable
    def loop() -> Iterator[str]:
        with opened() as file:
            for line in file:
                yield str(line)

    assert len(list(loop())) == 3


def test_attributes_that_are_a_variable_as_well_are_told(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Their copy would be another dict."""

    @trax.resumable
    def loop(n: int) -> Iterator[int]:
        agent = Agent()
        known = vars(agent)
        for i in range(n):
            known["age"] = i
            yield agent.age

    assert list(loop(3)) == [0, 1, 2]
    (line,) = caplog.messages
    assert "agent.__dict__ and known do not come back as they are" in line


def test_the_copy_of_a_class_leaves_the_class_as_it_is() -> None:
    """Its methods share variables with the loop, and not with the copy; nor do its attributes."""

    @trax.resumable(every_steps=1)
    def loop(n: int) -> Iterator[tuple[list[int], int]]:
        log: list[int] = []

        class Noted:
            made: list[int] = []  # noqa: RUF012  # it is changed in place

            def note(self, number: int) -> None:
                log.append(number)
                self.made.append(number)

        noted = Noted()
        made = Noted.made
        for i in range(n):
            noted.note(i)
            yield log[:], len(made)

    assert list(loop(3)) == [([0], 1), ([0, 1], 2), ([0, 1, 2], 3)]


class Walker:
    """Draws a number when it is made, also from its pickle."""

    def __init__(self) -> None:
        self.place = random.random()

    def __reduce__(self) -> Any:
        return Walker, (), self.__dict__


def test_a_copy_that_draws_leaves_the_random_numbers_of_the_loop() -> None:
    def walk() -> Iterator[float]:
        walker = Walker()
        for _ in range(5):
            walker.place += random.random()
            yield walker.place

    random.seed(1)
    expected = list(walk())
    random.seed(1)
    assert list(trax.resumable(walk)()) == expected


class Exploding(dict[str, int]):
    def items(self) -> Any:
        raise RuntimeError


exploding = Exploding(a=1)


def test_a_variable_that_cannot_be_read_does_not_end_the_loop() -> None:
    @trax.resumable
    def loop(n: int) -> Iterator[int]:
        for i in range(n):
            yield i + len(exploding)

    assert list(loop(3)) == [1, 2, 3]
