"""What type checkers know of decorated functions: this file is one that they must agree with.

Nothing of it is run but the definitions; an error that is expected stands beside its line, and one
that does not come is an error as well.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import AsyncGenerator, AsyncIterator, Generator, Iterator, Mapping
from pathlib import Path
from typing import Any, Generic, TypeVar, assert_type

import pytest

import trax
import trax.testing

W = TypeVar("W")
ROOT = Path(__file__).parents[1]


def test_mypy_agrees_with_every_line(tmp_path: Path) -> None:
    """In strict mode, as the whole of this repository is checked."""
    pytest.importorskip("mypy")
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--cache-dir", str(tmp_path), __file__],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


# -- the loop's local variables are the state ----------------------------------------------


@trax.resumable
def returning(n: int, *, key: str = "") -> Generator[float, None, str]:
    yield 1.0
    return "the end"


@trax.resumable(every_steps=10, name="named")
def iterating(n: int) -> Iterator[float]:
    yield 1.0


@trax.resumable()
def returning_none(n: int) -> Generator[float, None, None]:
    yield 1.0


@trax.resumable
def returning_perhaps(n: int) -> Generator[float, None, int | None]:
    yield 1.0
    return None


@trax.resumable
def returning_anything(n: int) -> Generator[float, None, Any]:
    yield 1.0


@trax.resumable
def taking_anything(n: Any, **more: Any) -> Generator[float, Any, str]:
    yield 1.0
    return ""


@trax.resumable
def generic(n: W) -> Iterator[W]:
    yield n


@trax.resumable
async def awaiting(n: int) -> AsyncIterator[float]:
    yield 1.0


@trax.resumable(every_steps=10)
async def awaiting_more(n: int) -> AsyncGenerator[float, None]:
    yield 1.0


@trax.resumable
def unknown(n: int) -> Any:
    yield 1.0


often = trax.resumable(every_steps=10)


@often
def sharing(n: int) -> Iterator[float]:
    yield 1.0


@often
def sharing_as_well(name: str) -> Generator[int, None, bytes]:
    yield 1
    return b""


def check_plain() -> None:
    assert_type(returning(3, key="b"), trax.Run[trax.Locals, float, str])
    assert_type(returning.fresh(3), trax.Run[trax.Locals, float, str])
    assert_type(returning.load(), trax.Locals)
    assert_type(returning.check(3, key="b"), trax.testing.Checked)
    returning.check()  # type: ignore[call-arg]
    assert_type(returning(3).state, trax.Locals)
    assert_type(returning(3).result(), str)
    assert_type(next(returning(3)), float)
    assert_type(list(returning(3)), list[float])
    assert_type(returning.__name__, str)
    assert_type(iterating(3), trax.Run[trax.Locals, float, None])
    assert_type(iterating.fresh(n=3), trax.Run[trax.Locals, float, None])
    assert_type(iterating(3).result(), float)
    assert_type(returning_none(3), trax.Run[trax.Locals, float, None])
    assert_type(returning_none(3).result(), float)
    assert_type(returning_perhaps(3), trax.Run[trax.Locals, float, int | None])
    assert_type(returning_perhaps(3).result(), int | float)
    assert_type(returning_anything(3).result(), Any)
    assert_type(taking_anything(3, key=5), trax.Run[trax.Locals, float, str])
    assert_type(generic("n"), trax.Run[trax.Locals, str, None])
    assert_type(unknown(3), Any)
    assert_type(unknown.fresh(3), Any)
    assert_type(sharing(3).result(), float)
    assert_type(sharing_as_well("a").result(), bytes)
    as_mapping: Mapping[str, Any] = returning.load()
    assert_type(as_mapping["n"], Any)
    assert_type(returning.load().step, int)


async def check_plain_async() -> None:
    assert_type(awaiting(3), trax.AsyncRun[trax.Locals, float])
    assert_type(awaiting.fresh(3), trax.AsyncRun[trax.Locals, float])
    assert_type(await awaiting(3).result(), float)
    assert_type(awaiting_more(3), trax.AsyncRun[trax.Locals, float])
    assert_type([increment async for increment in awaiting_more(3)], list[float])


def check_plain_mistakes() -> None:
    returning("x")  # type: ignore[call-overload]
    returning()  # type: ignore[call-overload]
    returning.fresh()  # type: ignore[call-overload]
    returning(3, "b")  # type: ignore[call-overload]
    iterating(m=3)  # type: ignore[call-arg]
    returning.load()["n"] = 3  # type: ignore[index]


# -- the state is declared -----------------------------------------------------------------


def begin(n: int) -> list[float]:
    return []


def fold(state: list[float], increment: float) -> list[float]:
    return [*state, increment]


@trax.resumable(create=begin, replay_log=fold)
def folding(state: list[float], n: int) -> Generator[float, list[float], str]:
    state = yield 1.0
    return f"{state}"


@trax.resumable(create=begin, replay_log=fold)
def folding_only(state: list[float], n: int) -> Iterator[float]:
    yield 1.0


@trax.resumable(create=list, replay_log=lambda state, increment: [*state, increment])
def by_lambda(state: list[float], n: int) -> Generator[float, list[float], None]:
    yield 1.0


@trax.resumable(create=list, replay_log=None)
def unlogged(state: list[float], n: int) -> Generator[float, list[float], None]:
    yield 1.0


@trax.resumable(create=int)
def replacing(state: int, n: int) -> Generator[int, int, None]:
    yield 1


@trax.resumable(create=lambda: {"x": 0.0}, replay_log=lambda s, increment: {**s, "x": increment})
def with_dict(state: dict[str, float], n: int) -> Generator[float, Any, None]:
    yield 1.0


@trax.resumable(create=dict)
def with_mapping(state: Mapping[str, Any], n: int) -> Iterator[Mapping[str, Any]]:
    yield {}


@trax.resumable(create=begin)
def with_anything(state: Any, n: int) -> Generator[float, Any, None]:
    yield 1.0


@trax.resumable(create=begin)
def folding_perhaps(state: list[float], n: int) -> Generator[float, Any, int | None]:
    yield 1.0
    return None


@trax.resumable(create=begin)
async def folding_async(state: list[float], n: int) -> AsyncIterator[float]:
    yield 1.0


async def check_declared() -> None:
    assert_type(folding(3), trax.Run[list[float], float, str])
    assert_type(folding.fresh(n=3), trax.Run[list[float], float, str])
    assert_type(folding.load(), list[float])
    assert_type(folding(3).state, list[float])
    assert_type(folding(3).result(), str)
    assert_type(folding_only(3), trax.Run[list[float], float, None])
    assert_type(folding_only(3).result(), list[float])
    assert_type(by_lambda(3), trax.Run[list[float], float, None])
    assert_type(unlogged(3), trax.Run[list[float], float, None])
    assert_type(replacing(3), trax.Run[int, int, None])
    assert_type(with_dict(3), trax.Run[dict[str, float], float, None])
    assert_type(with_mapping(3).result(), Mapping[str, Any])
    assert_type(with_anything(3).result(), Any)
    assert_type(folding_perhaps(3).result(), int | list[float])
    assert_type(folding_async(3), trax.AsyncRun[list[float], float])
    assert_type(await folding_async(3).result(), list[float])


def check_declared_mistakes() -> None:
    folding([], 3)  # type: ignore[call-overload]

    @trax.resumable(replay_log=fold)  # type: ignore[call-overload, untyped-decorator]
    def without_create(state: list[float], n: int) -> Iterator[float]:
        yield 1.0

    @trax.resumable(create=None)  # type: ignore[call-overload, untyped-decorator]
    def created_by_none(state: list[float], n: int) -> Iterator[float]:
        yield 1.0

    @trax.resumable(create=begin)  # type: ignore[arg-type]
    def without_state() -> Iterator[int]:
        yield 3

    @trax.resumable  # type: ignore[type-var]
    def no_generator(n: int) -> int:
        return n


# -- methods -------------------------------------------------------------------------------


class Holder:
    """Has methods of all kinds."""

    @trax.resumable
    def method(self, n: int) -> Generator[float, None, str]:
        yield 1.0
        return ""

    @trax.resumable(every_steps=3)
    def iterating(self, n: int) -> Iterator[float]:
        yield 1.0

    @trax.resumable
    @classmethod
    def of_class(cls, n: int) -> Generator[float, None, str]:
        yield 1.0
        return ""

    @trax.resumable
    @staticmethod
    def of_nothing(n: int) -> Generator[float, None, str]:
        yield 1.0
        return ""

    @trax.resumable
    @staticmethod
    def of_no_argument() -> Generator[float, None, str]:
        yield 1.0
        return ""

    @trax.resumable
    async def awaiting(self, n: int) -> AsyncIterator[float]:
        yield 1.0

    @trax.resumable(create=begin, replay_log=fold)
    def declared(self, state: list[float], n: int) -> Generator[float, Any, str]:
        yield 1.0
        return ""

    @trax.resumable(create=begin, replay_log=fold)
    @classmethod
    def declared_of_class(cls, state: list[float], n: int) -> Generator[float, Any, str]:
        yield 1.0
        return ""

    @trax.resumable(create=begin, replay_log=fold)
    @staticmethod
    def declared_of_nothing(state: list[float], n: int) -> Generator[float, Any, str]:
        yield 1.0
        return ""

    @trax.resumable(create=begin)
    async def declared_awaiting(self, state: list[float], n: int) -> AsyncIterator[float]:
        yield 1.0

    def call_others(self) -> None:
        assert_type(self.method(1), trax.Run[trax.Locals, float, str])
        assert_type(self.declared(1), trax.Run[list[float], float, str])
        assert_type(self.of_no_argument(), trax.Run[trax.Locals, float, str])


class Heir(Holder):
    """Inherits them."""


class Boxed(Generic[W]):
    """Has methods with a type of its own."""

    @trax.resumable
    def method(self, n: W) -> Iterator[W]:
        yield n

    @trax.resumable(create=list)
    def declared(self, state: list[W], n: W) -> Iterator[W]:
        yield n


def check_methods() -> None:
    assert_type(Holder().method(3), trax.Run[trax.Locals, float, str])
    assert_type(Holder().method.fresh(3), trax.Run[trax.Locals, float, str])
    assert_type(Holder().method.load(), trax.Locals)
    assert_type(Holder.method(Holder(), 3), trax.Run[trax.Locals, float, str])
    assert_type(Holder().iterating(3), trax.Run[trax.Locals, float, None])
    assert_type(Holder.of_class(3), trax.Run[trax.Locals, float, str])
    assert_type(Holder().of_class(3), trax.Run[trax.Locals, float, str])
    assert_type(Holder.of_nothing(3), trax.Run[trax.Locals, float, str])
    assert_type(Holder().of_nothing(3), trax.Run[trax.Locals, float, str])
    assert_type(Holder().of_no_argument(), trax.Run[trax.Locals, float, str])
    assert_type(Holder().awaiting(3), trax.AsyncRun[trax.Locals, float])
    assert_type(Heir().method(3), trax.Run[trax.Locals, float, str])
    assert_type(Heir.of_class(3), trax.Run[trax.Locals, float, str])
    assert_type(Boxed[int]().method(3), trax.Run[trax.Locals, int, None])
    Holder().method("x")  # type: ignore[call-overload]


def check_declared_methods() -> None:
    assert_type(Holder().declared(3), trax.Run[list[float], float, str])
    assert_type(Holder().declared.load(), list[float])
    assert_type(Holder.declared(Holder(), 3), trax.Run[list[float], float, str])
    assert_type(Holder.declared_of_class(3), trax.Run[list[float], float, str])
    assert_type(Holder().declared_of_class(3), trax.Run[list[float], float, str])
    assert_type(Holder.declared_of_nothing(3), trax.Run[list[float], float, str])
    assert_type(Holder().declared_of_nothing(3), trax.Run[list[float], float, str])
    assert_type(Holder().declared_awaiting(3), trax.AsyncRun[list[float], float])
    assert_type(Heir().declared(3), trax.Run[list[float], float, str])
    assert_type(Heir.declared_of_class(3), trax.Run[list[float], float, str])
    assert_type(Boxed[int]().declared(3), trax.Run[list[int], int, None])
    Holder().declared([], 3)  # type: ignore[call-overload]


# -- annotations with the types themselves -------------------------------------------------


def check_annotations() -> None:
    first: trax.Resumable[[int], trax.Locals, Iterator[float]] = iterating
    second: trax.Resumable[[int], list[float], Generator[float, Any, str]] = folding
    third: trax.AsyncResumable[[int], trax.Locals, float] = awaiting
    assert_type(first(3).result(), float)
    assert_type(second(3).result(), str)
    assert_type(third(3), trax.AsyncRun[trax.Locals, float])
    assert isinstance(awaiting, trax.Resumable)
