"""Generators are taken apart and go on: alone, and as debuggers and tracers see them."""

from __future__ import annotations

import inspect
import linecache
import sys
import traceback
from collections.abc import Callable, Iterator
from itertools import groupby
from types import FrameType
from typing import Any

import pytest
from replaced import Running

from trax.errors import CodecError
from trax.frames.program import ITER, START, Frame, program_of


def loop(to: int) -> Iterator[Any]:
    total = 0
    for number in range(to):
        total += number
        yield total
        if total == 3:
            raise ValueError(total)
    yield "end"


def resumed(steps: int) -> Any:
    running = Running(loop, 5)
    for _ in range(steps):
        running.next()
    running.replace()
    return running.loop


@pytest.mark.parametrize("make", [lambda: Running(loop, 5).loop, lambda: resumed(2)])
def test_tracebacks_have_the_lines_of_the_user(make: Callable[[], Any]) -> None:
    with pytest.raises(ValueError, match="3") as caught:
        [*make()]
    last = traceback.extract_tb(caught.value.__traceback__)[-1]
    assert (last.name, last.filename, last.line) == ("loop", __file__, "raise ValueError(total)")


def test_tracers_see_the_lines_that_run() -> None:
    """So coverage and debuggers do."""
    first = loop.__code__.co_firstlineno
    seen: list[int] = []

    def trace(frame: FrameType, event: str, argument: object) -> Any:
        if frame.f_code.co_name != "loop":
            return None
        if event == "line":
            seen.append(frame.f_lineno - first)
        return trace

    begun = resumed(1)
    for running, expected in ((Running(loop, 2).loop, [1, 2, 3, 4]), (begun, [5, 2, 3, 4])):
        seen.clear()
        before = sys.gettrace()
        sys.settrace(trace)
        try:
            next(running)
        finally:
            sys.settrace(before)
        assert [line for line, _ in groupby(seen)] == expected


def test_frames_have_the_variables_of_the_user() -> None:
    running = resumed(2)
    next(running)
    local = {n: v for n, v in running.gi_frame.f_locals.items() if not n.startswith(".")}
    assert local == {"total": 3, "number": 2}
    assert running.__name__ == "loop"
    assert inspect.getsource(running.gi_code) == inspect.getsource(loop)
    assert inspect.getsource(Running(loop, 1).loop.gi_code) == inspect.getsource(loop)


def test_a_generator_goes_on_while_it_is_taken_apart() -> None:
    running = Running(loop, 2).loop
    program = program_of(loop.__code__, provides_iterators=True)
    frames = [program.snapshot(running)]
    frames += [program.snapshot(running) for _ in running]
    assert [frame.site for frame in frames] == [START, 0, 0, 1]
    assert [frame.values for frame in frames] == [{"to": 2}, {"total": 0}, {"total": 1}, {}]


def test_variables_are_taken_in_the_order_of_the_function() -> None:
    """A set of texts has another order in every process."""

    def loop(first: int, second: int) -> Iterator[int]:
        third, fourth, fifth, sixth = range(4)
        while True:
            yield first + second + third + fourth + fifth + sixth
            sixth += 1

    running = loop(1, 2)
    next(running)
    frame = program_of(loop.__code__).snapshot(running)  # type: ignore[arg-type]
    assert [*frame.values] == ["first", "second", "third", "fourth", "fifth", "sixth"]


def test_inner_generators_are_sent_values_when_they_go_on() -> None:
    def echo() -> Iterator[Any]:
        got = yield 1
        while True:
            got = yield f"got {got}"

    running: Any = echo()
    next(running)
    program = program_of(echo.__code__)
    for value in ("a", "b"):
        running = program.resume(program.snapshot(running), echo, {})  # type: ignore[arg-type]
        next(running)
        assert running.send(value) == f"got {value}"


def test_equal_functions_of_different_files_are_different_programs() -> None:
    codes = []
    for name in ("<one>", "<other>"):
        text = "def loop():\n yield 1\n"
        linecache.cache[name] = len(text), None, text.splitlines(keepends=True), name
        variables: dict[str, Any] = {}
        exec(compile(text, name, "exec"), variables)
        codes.append(variables["loop"].__code__)
    one, other = codes
    assert one == other
    assert program_of(one).source.code.co_filename == "<one>"
    assert program_of(other).source.code.co_filename == "<other>"
    assert program_of(one) is program_of(one)
    assert program_of(one, provides_iterators=True) is not program_of(one)


def test_what_is_provided_is_asked_for_the_iterators_of_loops_around_a_yield() -> None:
    asked: list[Any] = []

    class Provider:
        def __call__(self, source: Any) -> Any:
            asked.append(source)
            return iter(source)

        def call(self, function: Any, *args: Any) -> Any:
            return self(function(*args))

    running = Running(loop, 1)
    program = program_of(loop.__code__, provides_iterators=True)
    frame = Frame(START, {"to": 2}, {}, [])
    resumed_loop: Any = program.resume(frame, loop, {ITER: Provider()})  # type: ignore[arg-type]
    assert [*resumed_loop] == [None, 0, 1, "end"]
    assert asked == [range(2)]
    running.close()


def test_another_generator_is_refused() -> None:
    def other() -> Iterator[int]:
        yield 1

    running = other()
    next(running)
    with pytest.raises(CodecError, match="cannot be stored: it is not at a yield"):
        program_of(loop.__code__).snapshot(running)  # type: ignore[arg-type]
