"""Generators of helper functions and libraries go on where they were."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import gc
import os
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from types import CellType
from typing import Any, ClassVar

import pytest
from copying import check_copies, copy, refusal
from support import run_script

from trax.errors import CodecError
from trax.frames.iterators import reductions
from trax.frames.loading import end_of_loading, loading
from trax.storage.codec import decode, encode


def count(stop: int, step: int = 1, *more: int, key: int = 2, **options: int) -> Iterator[Any]:
    for number in range(0, stop, step):
        sent = yield number, more, key, options
        while sent:
            sent = yield "sent", sent


def around(stop: int) -> Iterator[Any]:
    found = [0]

    def add() -> int:
        found[0] += 1
        return found[0]

    yield from count(stop)
    yield from (add() * number for number in range(stop) if number % 2)
    for one, other in zip(count(3), (letter for letter in "abc"), strict=True):
        yield one, other, add()
    yield from ((x, y) for x in range(2) for y in (z * z for z in range(3)) if x != y)


class Walk:
    """Keeps a generator that refers to it."""

    def __init__(self) -> None:
        self.place = 0
        self.steps = self._steps()

    def _steps(self) -> Iterator[int]:
        while self.place < 5:
            self.place += 1
            yield self.place

    @property
    def twice(self) -> Iterator[int]:
        yield 1
        yield 2

    @classmethod
    def named(cls) -> Iterator[str]:
        yield from cls.__name__

    @staticmethod
    def fixed() -> Iterator[int]:
        yield 3
        yield 4


def decorated(function: Callable[..., Any]) -> Callable[..., Any]:
    def wrapper(*args: Any) -> Any:
        return function(*args)

    return wrapper


@decorated
def wrapped(stop: int) -> Iterator[int]:
    yield from range(stop)


@functools.lru_cache
def cached(stop: int) -> Iterator[int]:
    yield from range(stop)


def countdown(number: int) -> Iterator[int]:
    if number:
        yield number
        yield from countdown(number - 1)


CASES: dict[str, Callable[[], Iterator[Any]]] = {
    "arguments": lambda: count(5, 2, 7, 8, key=9, z=3),
    "delegates": lambda: around(4),
    "property": lambda: Walk().twice,
    "class_method": Walk.named,
    "static_method": Walk.fixed,
    "method": lambda: Walk().steps,
    "decorated": lambda: wrapped(3),
    "cached": lambda: cached.__wrapped__(3),
    "recursive": lambda: countdown(4),
    "library": lambda: os.walk("."),
    "expression": lambda: (a * b for a in range(3) for b in range(2) if a),
}


@pytest.mark.parametrize("name", CASES)
def test_generators_go_on(name: str) -> None:
    Path("a", "b").mkdir(parents=True)
    check_copies(CASES[name])


def test_names_stay() -> None:
    generator: Any = count(3)
    generator.__qualname__ = "mine"
    for _ in range(5):
        assert (copy(generator).__name__, copy(generator).__qualname__) == ("count", "mine")
        next(generator, None)


def test_values_can_still_be_sent() -> None:
    generator: Any = count(3)
    next(generator)
    generator = copy(generator)
    assert generator.send("x") == ("sent", "x")
    generator = copy(generator)
    assert generator.send(None)[0] == 1


@pytest.mark.parametrize("is_first", [True, False])
def test_objects_that_lead_to_each_other(is_first: bool) -> None:
    """Whichever of them is pickled first."""
    walk = Walk()
    next(walk.steps)
    if is_first:
        steps, walk = copy((walk.steps, walk))
    else:
        walk, steps = copy((walk, walk.steps))
    assert walk.steps is steps
    assert next(steps) == 2
    assert walk.place == 2


def test_shared_variables_stay_shared() -> None:
    """With a function that is stored beside the generator."""
    total = 0

    def numbers() -> Iterator[int]:
        nonlocal total
        while True:
            total += 1
            yield total

    generator = numbers()
    next(generator)
    (cell,) = numbers.__closure__ or ()
    generator, cell = copy((generator, cell))
    assert isinstance(cell, CellType)
    assert next(generator) == cell.cell_contents == 2
    assert total == 1


class Guard:
    """Notes when it is entered and left."""

    log: ClassVar[list[str]] = []

    def __init__(self, name: str) -> None:
        self.name = name

    def __enter__(self) -> None:
        self.log.append(f"+{self.name}")

    def __exit__(self, *error: object) -> None:
        self.log.append(f"-{self.name}")


def guarded(name: str, inner: Iterator[int] | None = None) -> Iterator[int]:
    with Guard(name):
        yield from inner or [1, 2]


def test_blocks_are_entered_from_the_outermost_to_the_innermost() -> None:
    """At the end of loading, once for each generator, and never if nothing is to run."""
    generator = guarded("out", guarded("in"))
    next(generator)
    encoded = encode({"it": generator}, "frame", shared=reductions()).copied()
    Guard.log.clear()
    with loading(enters=False):
        decode(encoded, "frame")
    gc.collect()
    assert Guard.log == []
    with loading():
        copied = decode(encoded, "frame")["it"]
        assert Guard.log == []
    assert Guard.log == ["+out", "+in"]
    assert [*copied] == [2]
    assert Guard.log == ["+out", "+in", "-in", "-out"]


def test_without_a_loading_block_everything_is_done_at_once() -> None:
    done: list[int] = []
    end_of_loading(lambda: done.append(1))
    assert done == [1]


def holding(thing: Any) -> Iterator[int]:
    for number in range(3):
        yield number
        assert thing


def test_the_variable_to_blame_is_named() -> None:
    generator = holding(threading.Lock())
    next(generator)
    text = refusal([enumerate("ab"), {"it": generator}])
    assert text.startswith("frame[1]['it'].thing (_thread.lock) cannot be stored: ")


def running(found: list[str]) -> Iterator[int]:
    found.append(refusal(me[0]))
    yield 1


me: list[Any] = []


def test_a_running_generator_is_refused() -> None:
    found: list[str] = []
    me[:] = [running(found)]
    next(me.pop(0)) if False else next(me[0])
    assert ": it is running\n" in found[0]
    assert "running, line " in found[0]


def test_code_without_a_source_is_refused() -> None:
    names: dict[str, Any] = {"__name__": __name__}
    exec("def secret():\n    yield 1\n    yield 2\n", names)
    generator = names["secret"]()
    next(generator)
    text = refusal(generator)
    assert text.startswith("frame (builtins.generator) cannot be stored: secret, line 2: ")
    assert text.endswith("Or let it end before the yield, as in list(...).")


def following(numbers: AsyncIterator[int]) -> int | None:
    """Return the next item of an async generator that awaits nothing; None at its end."""
    try:
        anext(numbers, None).send(None)
    except StopIteration as stop:
        return stop.value  # type: ignore[no-any-return]
    raise AssertionError


async def counted(done: list[str]) -> AsyncIterator[int]:
    for number in range(4):
        done.append(f"number {number}")
        yield number


@pytest.mark.parametrize("begun", range(6))
def test_an_async_generator_goes_on_where_it_stood(begun: int) -> None:
    """Also one that has not begun, or has ended."""
    done: list[str] = []
    numbers = counted(done)
    assert [following(numbers) for _ in range(begun)] == [0, 1, 2, 3, None][:begun]
    loaded, log = copy([numbers, done])
    assert [following(loaded) for _ in range(begun, 5)] == [0, 1, 2, 3, None][begun:]
    assert following(loaded) is None
    assert log == [f"number {number}" for number in range(4)]


async def locked(lock: asyncio.Lock) -> AsyncIterator[int]:
    async with lock:
        yield 1


def test_an_async_generator_in_a_block_that_must_be_entered_again_is_refused() -> None:
    """Only its event loop could enter it."""
    numbers = locked(asyncio.Lock())
    following(numbers)
    text = refusal(numbers)
    assert "line " in text
    assert "only an event loop can enter its `async with` again" in text
    assert "[item async for item in ...]" in text


SCRIPT = """
import pathlib, sys
from trax.frames.loading import loading
from trax.frames.iterators import reductions
from trax.storage.codec import Encoded, decode, encode

def helper(items):
    for item in items:
        yield item * 10
{other}
def make(items):
    yield from (item + 1 for item in helper(items))

if sys.argv[1] == "store":
    iterator = make([1, 2, 3])
    print(next(iterator))
    encoded = encode(iterator, "frame", shared=reductions())
    pathlib.Path("kind").write_text(str(encoded.kind))
    pathlib.Path("frame").write_bytes(encoded.payload)
else:
    kind = int(pathlib.Path("kind").read_text())
    with loading():
        iterator = decode(Encoded(kind, pathlib.Path("frame").read_bytes(), []), "frame")
    print(list(iterator))
"""


def test_another_process_continues_with_the_code_that_it_has() -> None:
    """A mistake that was corrected is no longer made."""
    script = SCRIPT.replace("{other}", "")
    assert run_script(script, "store").stdout == "11\n"
    assert run_script(script, "load").stdout == "[21, 31]\n"
    fixed = script.replace("item * 10", "item * 100")
    assert run_script(fixed, "load").stdout == "[201, 301]\n"
    moved = script.replace("def helper", "\n\nOTHER = (x for x in ())\n\ndef helper")
    assert run_script(moved, "load").stdout == "[21, 31]\n"


@pytest.mark.parametrize(
    ("old", "new", "text"),
    [
        (
            "        yield item * 10",
            "        pass\n    yield 1",
            "helper of __main__ was at `yield",
        ),
        ("def helper(", "helper = print\ndef renamed(", "helper of __main__ is not there any more"),
        ("item * 10", "item * n", "now needs n"),
    ],
)
def test_edits_that_do_not_fit_are_told(old: str, new: str, text: str) -> None:
    script = SCRIPT.replace("{other}", "").replace("    for item", "    n = 10\n    for item", 1)
    assert run_script(script, "store").stdout == "11\n"
    done = run_script(script.replace(old, new), "load", check=False)
    assert text in done.stderr
    assert "CodecError" in done.stderr


def test_the_same_expression_is_found_among_several() -> None:
    """Also if others were written before it."""

    def two() -> Any:
        return [(x for x in "abc"), (x * 2 for x in "abc"), (x for x in "abc")]

    for number, expected in enumerate([["b", "c"], ["bb", "cc"], ["b", "c"]]):
        iterator = two()[number]
        next(iterator)
        assert [*copy(iterator)] == expected


@contextlib.contextmanager
def resource(log: list[str]) -> Iterator[str]:
    log.append("begin")
    yield "resource"
    log.append("end")


def test_a_context_manager_made_of_a_generator_goes_on() -> None:
    log: list[str] = []
    manager = resource(log)
    manager.__enter__()
    log, manager = copy((log, manager))
    manager.__exit__(None, None, None)
    assert log == ["begin", "end"]


def test_an_edit_that_removes_a_generator_names_it() -> None:
    generator = count(3)
    next(generator)
    encoded = encode(generator, "frame", shared=reductions()).copied()
    saved = globals().pop("count")
    try:
        with pytest.raises(CodecError) as error, loading():
            decode(encoded._replace(payload=encoded.payload.replace(b"count", b"c0unt")), "frame")
    finally:
        globals()["count"] = saved
    assert "c0unt" in str(error.value)


def test_functions_and_generators_of_a_script_are_found_in_another(store_here: Path) -> None:
    """By `renames`: of the module, and of the function; without it a way to find them is told."""
    script = """
import sys, trax

def letters(text):
    for letter in text:
        yield letter

@trax.resumable
def spell(text):
    def twice(letter):
        return 2 * letter
    for letter in letters(text):
        yield twice(letter)

if __name__ == "__main__":
    for spelt in spell("abcd"):
        if spelt == "bb":
            break
"""
    Path("wordy.py").write_text(script.replace("letters", "signs"))
    run_script(script)
    look = "import trax\nvariables = trax.load('spell', renames={renames})\nprint([*variables])"
    missing = run_script(look.format(renames={}), check=False).stderr
    assert "the function " in missing
    assert "generator function" not in missing
    assert "of __main__ is not there any more.\nNames in __main__ are those of the" in missing
    assert "If it was moved or renamed, give renames={'__main__." in missing
    moved = {"__main__": "wordy", "__main__.letters": "wordy.signs"}
    assert run_script(look.format(renames=moved)).stdout == "['twice']\n"
    given = f"@trax.resumable(name='spell', renames={moved})"
    other = Path("wordy.py").read_text().replace("@trax.resumable", given)
    Path("wordy.py").write_text(other)
    goes_on = "import wordy\nrun = wordy.spell('abcd')\nprint(*run)\nprint(run.resumed_at)"
    assert run_script(goes_on).stdout == "cc dd\n2\n"
