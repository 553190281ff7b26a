"""Marks on frames: whose they are, how long, and what a debugger has of them."""

from __future__ import annotations

import sys
import weakref
from types import FrameType
from typing import Any

from trax.interrupts.frame_marks import FrameMark, mark


def here() -> FrameType:
    """Return the frame of the caller."""
    return sys._getframe(1)


def marked() -> FrameMark:
    return mark(here())


def is_on_stack(of: FrameMark) -> bool:
    return of.is_on_stack(here())


def test_a_frame_has_one_mark_as_long_as_it_runs() -> None:
    """It is found from the functions that the frame calls, however deep."""
    mine = mark(here())
    assert mark(here()) is mine
    assert mine.is_on_stack(here())
    assert is_on_stack(mine)


def test_no_frame_has_the_mark_of_one_that_has_ended() -> None:
    """Also the next frame of the same function, which usually gets the same address."""
    ended = [marked() for _ in range(100)]
    assert len({*ended}) == 100
    assert not any(is_on_stack(one) for one in ended)
    assert not FrameMark().is_on_stack(None)


def test_a_mark_keeps_no_variables() -> None:
    """They go with the frame."""

    class Large:
        pass

    def function() -> tuple[FrameMark, weakref.ref[Large]]:
        large = Large()
        return mark(here()), weakref.ref(large)

    kept, large = function()
    assert large() is None
    assert not is_on_stack(kept)


def test_a_frame_that_is_traced_is_left_alone() -> None:
    """Its debugger finds its own function there."""

    def tracer(frame: FrameType, event: str, argument: Any) -> Any:
        return tracer

    frame = here()
    frame.f_trace = tracer
    try:
        assert not mark(frame).is_on_stack(frame)
        assert frame.f_trace is tracer
    finally:
        frame.f_trace = None


def test_a_debugger_that_comes_later_is_not_disturbed() -> None:
    """Events of a marked frame go to nobody, until the debugger takes the frame for itself."""
    seen: list[str] = []

    def tracer(frame: FrameType, event: str, argument: Any) -> Any:
        seen.append(event)
        return tracer

    frame = here()
    mine = mark(frame)
    before = sys.gettrace()
    try:
        sys.settrace(tracer)
        assert isinstance(frame.f_trace, FrameMark)
        frame.f_trace = tracer
        assert "line" in seen
    finally:
        sys.settrace(before)
        frame.f_trace = None
    assert not mine.is_on_stack(frame)
