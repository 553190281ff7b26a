"""Marks on frames, by which the code that drives a loop is recognized as long as it runs."""

from __future__ import annotations

from types import FrameType

__all__ = ["FrameMark", "mark"]


class FrameMark:
    """A mark that at most one frame has; no frame gets it later.

    A frame cannot be referred to weakly, a strong reference keeps its variables alive after its
    end, and its address soon belongs to another frame. But ``f_trace`` can be set, belongs to one
    frame alone and ends with it. Without a tracer Python never reads it.
    """

    __slots__ = ()

    def __call__(self, *event: object) -> None:
        """Ignore an event; a tracer that is set while the frame runs sends them here."""

    def is_on_stack(self, frame: FrameType | None) -> bool:
        """Return whether the marked frame is this one or one of its callers."""
        while frame is not None:
            if frame.f_trace is self:
                return True
            frame = frame.f_back
        return False


def mark(frame: FrameType) -> FrameMark:
    """Return the mark of a frame; it gets one if it has none.

    A frame that a debugger traces is left alone: its mark is on no stack.
    """
    present = frame.f_trace
    if isinstance(present, FrameMark):
        return present
    new = FrameMark()
    if present is None:
        frame.f_trace = new
    return new
