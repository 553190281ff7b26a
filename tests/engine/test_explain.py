"""Exceptions of a loop that arise from how trax runs it are explained."""

from __future__ import annotations

import itertools
import traceback
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from support import run_script

import trax
from trax.storage.lock import Lock


def notes(error: pytest.ExceptionInfo[BaseException]) -> str:
    return "\n".join(getattr(error.value, "__notes__", ()))


# -- yield from ----------------------------------------------------------------------------


def from_range(state: int) -> Any:
    yield from range(3)


def from_list(state: int) -> Any:
    yield from [1, 2, 3]


def from_itertools(state: int) -> Any:
    yield from itertools.count()


def from_below(state: int) -> Any:
    yield from from_range(state)


@pytest.mark.parametrize("function", [from_range, from_list, from_itertools, from_below])
def test_yield_from_an_iterator_that_takes_no_state_is_explained(function: Any) -> None:
    """With the line of the loop, and not by the name of a method that the loop never mentions."""
    with pytest.raises(trax.UsageError, match="cannot take the state") as caught:
        trax.resumable(create=int, check=False)(function)().result()
    first, second, third = str(caught.value).splitlines()
    inner = from_range if function is from_below else function
    line = inner.__code__.co_firstlineno + 1
    assert first.startswith(f"{inner.__name__}(), line {line}: yield from a ")
    assert "one by one" in second
    assert "trax.remaining" in third
    assert isinstance(caught.value.__cause__, AttributeError)


def test_yield_from_a_generator_that_takes_the_state_is_none_of_these() -> None:
    """It gets the state like any part of the loop."""

    def part(n: int) -> Generator[int, int, int]:
        while n < 3:
            n = yield n + 1
        return n

    @trax.resumable(create=int)
    def whole(n: int) -> Generator[int, int, None]:
        yield from part(n)

    assert whole().result() == 3


def test_an_attribute_that_the_loop_lacks_by_itself_stays_as_it_is() -> None:
    """Although it has the same name."""

    @trax.resumable(create=int)
    def loop(n: int) -> Iterator[int]:
        yield 1
        object().send  # type: ignore[attr-defined]  # noqa: B018

    with pytest.raises(AttributeError, match="no attribute 'send'"):
        loop().result()


# -- the state -----------------------------------------------------------------------------


def test_a_replay_log_that_returns_something_else_is_explained() -> None:
    """If the loop then fails with it; a type may change without a word, and other errors too."""

    @trax.resumable(create=list, replay_log=lambda state, increment: increment)
    def loop(state: Any) -> Iterator[int]:
        while len(state) < 3:
            state = yield 1

    with pytest.raises(TypeError) as caught:
        loop().result()
    assert "of type 'int', and was of type 'list'" in notes(caught)

    @trax.resumable(create=int, replay_log=lambda state, increment: state + increment)
    def fine(state: float) -> Iterator[float]:
        yield 0.5

    assert fine().result() == 0.5

    @trax.resumable(create=int)
    def other(state: int) -> Iterator[Any]:
        yield len(5)  # type: ignore[arg-type]

    with pytest.raises(TypeError) as caught:
        other().result()
    assert not notes(caught)


def test_an_exception_of_replay_log_shows_how_it_was_called() -> None:
    """Its parameters may be the wrong way round."""

    @trax.resumable(create=list, replay_log=lambda increment, state: [*state, increment])
    def loop(state: Any) -> Iterator[int]:
        yield 1

    with pytest.raises(TypeError) as caught:
        loop().result()
    assert "replay_log(state, increment), called with the types 'list' and 'int'" in notes(caught)


# -- classes that have changed -------------------------------------------------------------

OLD = """
import dataclasses, sys
import trax

CLASS

def grow(world, increment):
    world.x += increment
    GROWN
    return world

@trax.resumable(create=World, replay_log=MODE, varying="n")
def loop(world, n):
    while world.x < n:
        BODY

loop(n=int(sys.argv[1])).result() if len(sys.argv) > 1 else next(loop(n=9))
"""
INIT = """
class World:
    __slots__ = SLOTS
    def __init__(self):
        self.x = 0
"""
DATA = """
@dataclasses.dataclass
class World:
    x: int = 0
"""
CLASSES = {
    "dataclass": (DATA, "    y: list = dataclasses.field(default_factory=list)"),
    "init": (INIT.replace("__slots__ = SLOTS", ""), "        self.y = []"),
    "slots": (INIT, "        self.y = []"),
}


@pytest.mark.parametrize("kind", CLASSES)
@pytest.mark.parametrize("where", ["replay_log", "body"])
def test_a_field_that_stored_objects_lack_is_explained(kind: str, where: str) -> None:
    """Wherever it is missed first: the way on is `migrate=`."""
    old, new = CLASSES[kind]
    mode = "grow" if where == "replay_log" else "None"
    script = OLD.replace("MODE", mode)
    before = script.replace("CLASS", old.replace("SLOTS", "('x',)"))
    before = before.replace("GROWN", "pass").replace("BODY", "world.x += MODE; world = yield 1")
    before = before.replace("world.x += MODE; ", "" if where == "replay_log" else "world.x += 1; ")
    after = script.replace("CLASS", old.replace("SLOTS", "('x', 'y')") + new)
    after = after.replace("GROWN", "world.y").replace("BODY", "world.y; world.x += 1; yield 1")
    run_script(before)
    failed = run_script(after, "9", check=False)
    assert "AttributeError" in failed.stderr
    assert "trax: the stored World has no 'y', which the class has by now" in failed.stderr
    assert "migrate=" in failed.stderr


def test_an_attribute_that_the_class_never_sets_gets_no_note() -> None:
    """A slip of the pen is one."""

    @dataclass
    class World:
        x: int = 0

    @trax.resumable(create=World, replay_log=lambda world, increment: world)
    def loop(world: Any) -> Iterator[int]:
        yield 1
        world.z  # noqa: B018

    with pytest.raises(AttributeError):
        loop().result()
    with pytest.raises(AttributeError) as caught:
        loop().result()
    assert not notes(caught)


def frames_of(error: BaseException) -> list[str]:
    """Return the files of a traceback, those of trax by its name."""
    own = str(Path(trax.__file__).parent)
    found = [frame.filename for frame in traceback.extract_tb(error.__traceback__)]
    return ["trax" if file.startswith(own) else Path(file).name for file in found]


def test_the_traceback_of_a_refused_call_is_short() -> None:
    """The user's line, the method that it calls, and one more."""

    @trax.resumable(wait=0)
    def count(to: int):  # type: ignore[no-untyped-def]
        yield from range(to)

    run = count(5)
    next(run)
    run.close()
    with pytest.raises(trax.ArgumentsChangedError) as changed:
        count(6).result()
    lock = Lock(".trax/locks/count", "the run")
    with pytest.raises(trax.LockedError) as locked:
        count(5).result()
    lock.release()
    for caught in (changed, locked):
        assert frames_of(caught.value) == [Path(__file__).name, "trax", "trax"]


def test_a_traceback_with_a_line_of_the_user_is_whole() -> None:
    """Even if the error is one of trax."""

    @trax.resumable
    def count(items: Any):  # type: ignore[no-untyped-def]
        for item in trax.remaining(items):
            yield item

    with pytest.raises(trax.UsageError) as caught:
        count({1, 2}).result()
    assert frames_of(caught.value).count(Path(__file__).name) == 2
