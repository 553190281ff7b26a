"""Functions that begin after a yield."""

from __future__ import annotations

import weakref
from collections.abc import Iterator
from types import FunctionType
from typing import Any

import pytest
from replaced import Running

from trax.frames.program import Frame, program_of
from trax.frames.reentry import UNBOUND


def entry(function: Any, number: int = 0) -> Any:
    program = program_of(function.__code__)
    return program.entry(program.site(number))


def test_an_entry_takes_the_variables_that_are_needed_and_what_the_blocks_keep() -> None:
    def loop(a: int, b: int, c: int) -> Iterator[Any]:
        for _ in range(b):
            with open(str(a)) as file:
                yield c
                print(b, file)

    code, names = entry(loop)
    assert names == ["a", "b", "c", "file"]
    assert code.co_varnames[: code.co_argcount] == (
        "a", "b", "c", ".kept.file", ".slot0", ".slot1", UNBOUND,
    )  # fmt: skip
    assert code.co_name == "loop"
    assert code.co_qualname == loop.__code__.co_qualname
    assert code.co_filename == __file__
    assert code.co_firstlineno == loop.__code__.co_firstlineno


def test_an_entry_at_the_start_runs_everything() -> None:
    def loop(a: int) -> Iterator[Any]:
        a += 1
        yield a

    program = program_of(loop.__code__)
    running: Any = program.resume(Frame(-1, {"a": 3}, {}, []), loop, {})  # type: ignore[arg-type]
    assert [*running] == [None, 4]


def test_the_code_of_an_entry_belongs_to_the_same_program() -> None:
    def loop() -> Iterator[Any]:
        yield 1
        yield 2

    code, _ = entry(loop)
    assert program_of(code) is program_of(loop.__code__)


def test_functions_inside_have_their_names() -> None:
    def loop() -> Iterator[Any]:
        yield 1

        class Local:
            def method(self) -> None: ...

        yield Local, lambda: 1

    program = program_of(loop.__code__)
    running: Any = program.resume(Frame(0, {}, {}, []), loop, {})  # type: ignore[arg-type]
    _, (local, function) = next(running), next(running)
    within = f"{loop.__qualname__}.<locals>"
    assert local.__qualname__ == f"{within}.Local"
    assert local.method.__qualname__ == f"{within}.Local.method"
    assert function.__qualname__ == f"{within}.<lambda>"


def test_an_exception_that_was_handled_is_released() -> None:
    class SpecialError(Exception):
        pass

    def loop() -> Iterator[Any]:
        try:
            raise SpecialError
        except SpecialError:
            yield 1
        yield 2

    running = Running(loop)
    running.next()
    program = program_of(loop.__code__, provides_iterators=True)
    frame = program.snapshot(running.loop)
    error = weakref.ref(frame.slots[0])
    running.close()
    resumed: Any = program.resume(frame, loop, {".iter": iter})  # type: ignore[arg-type]
    del frame
    next(resumed)
    assert error() is not None
    next(resumed)
    del running
    assert error() is None


def test_names_declared_global_before_the_yield() -> None:
    variables: dict[str, Any] = {"__name__": "declared", "seen": 0}

    def loop() -> Iterator[Any]:
        global seen  # noqa: PLW0603
        yield 1
        seen += 1  # type: ignore[name-defined]
        yield seen  # type: ignore[name-defined]

    program = program_of(loop.__code__)
    function = FunctionType(loop.__code__, variables)
    running: Any = program.resume(Frame(0, {}, {}, []), function, {})
    assert [*running] == [None, 1]
    assert variables["seen"] == 1


def _noted(log: list[Any], name: str) -> Iterator[int]:
    try:
        yield 1
        yield 2
    except BaseException as error:
        log.append((name, type(error)))
        raise


@pytest.mark.parametrize("error", [GeneratorExit, KeyError])
@pytest.mark.parametrize("is_replaced", [False, True])
def test_an_exception_comes_to_the_innermost_generator_first(
    error: type[BaseException], is_replaced: bool
) -> None:
    """Also before the loop has gone on."""
    log: list[Any] = []

    def inner() -> Iterator[int]:
        try:
            yield from _noted(log, "inner")
        except BaseException as error:
            log.append(("outer", type(error)))
            raise

    loop: Any = inner
    generator: Any = loop()
    next(generator)
    before = generator  # it would close the one inside
    if is_replaced:
        program = program_of(loop.__code__)
        generator = program.resume(program.snapshot(before), loop, {})
        next(generator)
    if error is GeneratorExit:
        generator.close()
    else:
        with pytest.raises(error):
            generator.throw(error())
    assert log == [("inner", error), ("outer", error)]


def test_an_exception_comes_to_an_iterator_that_does_not_take_it() -> None:
    def numbers() -> Iterator[int]:
        yield from [1, 2, 3]

    loop: Any = numbers
    generator: Any = loop()
    next(generator)
    program = program_of(loop.__code__)
    again: Any = program.resume(program.snapshot(generator), loop, {})
    next(again)
    with pytest.raises(KeyError):
        again.throw(KeyError())
