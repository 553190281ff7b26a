"""What the drivers of ordinary and of async loops share: how far the run has come."""

from __future__ import annotations

from typing import Generic, TypeVar

from trax.engine.lifecycle import Engine

__all__ = ["Driven"]

S = TypeVar("S")
E = TypeVar("E", bound=Engine)


class Driven(Generic[S, E]):
    """A run that a call drives: where it stands."""

    def __init__(self, engine: E) -> None:
        self._engine = engine

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

    def __repr__(self) -> str:
        engine = self._engine
        return f"<{type(self).__name__} {engine.name!r}, {engine.status}, step {engine.step:,}>"

    def _opened(self) -> E:
        if self._engine.status == "new":
            self._engine.open()
        return self._engine
