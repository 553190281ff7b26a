"""Suspended generators are read without a trace, or not at all."""

from __future__ import annotations

import gc
import sys
import types
import weakref
from collections.abc import AsyncGenerator, Generator, Iterator
from typing import Any

import pytest

from trax.errors import CodecError
from trax.frames.program import START, program_of
from trax.frames.suspended import function_of, layout


class Thing:
    pass


def snapshot(loop: Any) -> Any:
    code = loop.gi_code if hasattr(loop, "gi_code") else loop.ag_code
    return program_of(code).snapshot(loop)


def test_a_value_that_is_bound_anew_is_released() -> None:
    """Until Python 3.12 a frame keeps the dict of variables that it was asked for."""

    def loop() -> Iterator[Any]:
        for _ in range(3):
            thing = Thing()
            yield weakref.ref(thing)

    running = loop()
    first = next(running)
    snapshot(running)
    next(running)
    assert first() is None


def test_what_locals_has_returned_stays_as_it_was() -> None:
    def loop() -> Iterator[Any]:
        number = 1
        seen = locals()
        yield seen
        number = 2
        yield seen
        yield number

    running = loop()
    seen = next(running)
    before = {**seen}
    assert snapshot(running).values["number"] == 1
    assert seen == before
    next(running)
    snapshot(running)
    assert seen == before
    assert snapshot(running).values["number"] == 2


def test_generators_that_have_not_begun_have_their_arguments() -> None:
    def loop(a: int, *rest: int, **more: int) -> Iterator[Any]:
        yield a, rest, more

    frame = snapshot(loop(1, 2, b=3))
    assert (frame.site, frame.values) == (START, {"a": 1, "rest": (2,), "more": {"b": 3}})
    numbers = (x for x in [1])  # not in the assert, which pytest rewrites
    assert snapshot(numbers).site == START


def test_generators_that_run_or_have_ended_are_refused() -> None:
    def loop() -> Iterator[Any]:
        with pytest.raises(CodecError, match=r"loop: the generator is running\.$"):
            snapshot(running)
        yield 1

    running = loop()
    assert [*running] == [1]
    with pytest.raises(CodecError, match=r"loop: the generator has ended\.$"):
        snapshot(running)


def test_an_async_generator_that_awaits_is_refused() -> None:
    @types.coroutine
    def pause() -> Iterator[None]:
        yield

    async def loop() -> AsyncGenerator[int, None]:
        yield 1
        await pause()
        yield 2

    running = loop()
    with pytest.raises(StopIteration):
        running.asend(None).send(None)
    assert snapshot(running).site == 0
    awaited = running.asend(None)
    awaited.send(None)
    with pytest.raises(CodecError, match="the generator"):
        snapshot(running)
    awaited.close()


def test_a_yield_in_finally_is_refused_with_its_line() -> None:
    def loop() -> Iterator[int]:
        try:
            yield 1
        finally:
            yield 2

    running = loop()
    next(running)
    assert snapshot(running).site == 0
    next(running)
    with pytest.raises(CodecError) as caught:
        snapshot(running)
    line = loop.__code__.co_firstlineno + 4
    assert str(caught.value) == (
        f"loop, line {line} of test_suspended.py: the generator cannot be stored at a yield in "
        "`finally`."
    )


def test_an_order_that_is_not_understood_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    def loop() -> Iterator[int]:
        a, b = [1], [2]
        for _ in a:
            yield 1
        print(b)

    running = loop()
    next(running)
    referents = gc.get_referents(running)
    a = next(number for number, one in enumerate(referents) if one == [1])
    for changed in (
        [*referents[:a], referents[a + 1], referents[a], *referents[a + 2 :]],
        referents[: a + 1],
        [*referents[:-1], 5, referents[-1]],
        [*referents, 5],
        referents[:-2],
        [],
    ):
        monkeypatch.setattr(gc, "get_referents", lambda _, changed=changed: [*changed])
        with pytest.raises(
            CodecError, match=r"loop, line \d+ of .*: the generator cannot be taken"
        ):
            snapshot(running)


def test_managers_are_found_by_what_ends_their_block() -> None:
    class Static:
        __enter__ = staticmethod(lambda: 1)
        __exit__ = staticmethod(lambda *error: None)

    class Other:
        def end(self, *error: object) -> None: ...

    class Borrowed:
        __exit__ = Other().end

        def __enter__(self) -> None: ...

    class Usual(Borrowed):
        def __exit__(self, *error: object) -> None: ...

    def loop(usual: Any) -> Iterator[int]:
        with usual, Static(), Borrowed(), usual:
            for _ in [1]:
                yield 1

    usual = Usual()
    running = loop(usual)
    next(running)
    first, static, borrowed, second, _ = snapshot(running).slots
    assert first is second is usual
    assert static is borrowed is None  # these are entered again


def test_the_function_of_a_generator() -> None:
    def loop() -> Generator[int, None, None]:
        yield 1

    running = loop()
    assert function_of(running) is loop
    next(running)
    assert function_of(running) is loop


def test_variables_of_comprehensions_are_no_variables_of_the_frame() -> None:
    x = 1

    def loop() -> Iterator[Any]:
        made = [lambda: x for x in range(2)]  # noqa: B023
        yield made
        yield x

    names = [name for name, _ in layout(loop.__code__)]
    assert names[-1] == "x"
    assert (".x" in names) == (sys.version_info >= (3, 12))
    running = loop()
    next(running)
    assert snapshot(running).cells == {}
    assert x == 1
