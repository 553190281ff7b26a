"""A call of a decorated generator function: the driver of the engine for ordinary loops."""

from __future__ import annotations

import weakref
from collections import deque
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Any, Generic, TypeVar

from trax.engine import Engine

__all__ = ["Run"]

S = TypeVar("S")
I = TypeVar("I")  # noqa: E741  # increment, beside S(tate) and R(esult)
R = TypeVar("R")


class Run(Iterator[I], Generic[S, I, R]):
    """A run that is driven by iterating over its increments.

    Nothing of the loop runs before the first `next`. The stored state is brought back, and the
    run is held for writing, at the first `next` or when `state`, `step`, `resumed_at` or `done`
    is asked for. It is let go when the loop ends, however it ends, at `close`, and when the `Run`
    itself is gone.

    Examples
    --------
    >>> import trax
    >>> @trax.resumable(create=int, name="halves")
    ... def halves(n):
    ...     while n < 3:
    ...         n = yield n + 1
    >>> with halves() as run:
    ...     first = next(run)
    >>> halves().step, list(halves())
    (1, [2, 3])
    """

    def __init__(self, engine: Engine, start: Callable[[Any], Any]) -> None:
        self._engine = engine
        self._start = start
        self._send: Callable[[Any], I] = self._first
        self._value: Any = None
        self._accept: Callable[[I], S]
        self._finalizer: Any = None

    def __iter__(self) -> Run[S, I, R]:
        return self

    def __next__(self) -> I:
        try:
            increment = self._send(self._value)
        except StopIteration as stop:
            if self._engine.status == "closed":  # and with it the generator
                raise self._engine.closed_error() from None
            if self._engine.status == "open":
                self._engine.finish(stop.value)
            self._send = self._refuse
            raise StopIteration from None
        except BaseException:
            self._abort()
            raise
        try:
            self._value = self._accept(increment)
        except BaseException as error:
            self._abort()
            if isinstance(error, StopIteration):  # it would look like the loop's end
                raise RuntimeError("replay_log or policy raised StopIteration") from error
            raise
        return increment

    @property
    def name(self) -> str:
        """The run's name in the store."""
        return self._engine.name

    @property
    def state(self) -> S:
        """The state, with every increment up to now folded in."""
        state: S = self._opened().state
        return state

    @property
    def step(self) -> int:
        """Increments since the run began, in this process and in earlier ones."""
        return self._opened().step

    @property
    def resumed_at(self) -> int | None:
        """The step at which this call took up a stored run; None if it began one."""
        return self._opened().resumed_at

    @property
    def done(self) -> bool:
        """Whether the loop has ended by itself."""
        return self._opened().status == "done"

    def result(self) -> R:
        """Drive the loop to its end.

        Returns
        -------
        object
            What the generator returned, or the final state where it returned None.
        """
        deque(self, maxlen=0)
        result: R = self._engine.result
        return result

    def close(self) -> None:
        """End the loop here and let go of the run; the next call resumes it."""
        self._send = self._refuse
        self._engine.close()

    def __enter__(self) -> Run[S, I, R]:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        engine = self._engine
        return f"<Run {engine.name!r}, {engine.status}, step {engine.step:,}>"

    def _opened(self) -> Engine:
        if self._engine.status == "new":
            self._finalizer = weakref.finalize(self, self._engine.close)
            self._engine.open()
        return self._engine

    def _first(self, value: Any) -> I:
        engine = self._opened()
        if engine.status != "open":
            return self._refuse(value)
        generator = self._start(engine.state)
        engine.drive(generator.gi_frame, generator.close)
        self._accept = engine.accept
        self._send = generator.send
        first: I = next(generator)
        return first

    def _refuse(self, value: Any) -> I:  # noqa: ARG002  # stands in for send
        if self._engine.status == "done":
            raise StopIteration
        raise self._engine.closed_error()

    def _abort(self) -> None:
        if self._engine.status == "open":
            self._engine.abort()
            self._send = self._refuse
