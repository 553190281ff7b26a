"""The common part of the drivers of ordinary and async loops: a run's name, state and step."""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, NoReturn, SupportsIndex, TypeVar

from trax.display import as_html
from trax.errors import UsageError

if TYPE_CHECKING:
    from trax.engine.lifecycle import Lifecycle

__all__ = ["Driver", "Unknown"]

S = TypeVar("S")


class Unknown:
    """No type of the user's, so what fits this is Any; an overload for it gives Any again."""


class Driver(Generic[S]):
    """A run that a call drives.

    Parameters
    ----------
    lifecycle : Lifecycle
        The lifecycle of the run.
    """

    def __init__(self, lifecycle: Lifecycle) -> None:
        self._lifecycle = lifecycle

    @property
    def name(self) -> str:
        """The run's name in the store."""
        return self._lifecycle.name

    @property
    def state(self) -> S:
        """The state, with every increment so far folded in.

        Without `create` it is a `trax.Locals`: the local variables that the loop needs to go on.
        """
        state: S = self._opened().state
        return state

    @property
    def step(self) -> int:
        """Increments since the run began, in this process and in earlier ones."""
        return self._opened().step

    @property
    def resumed_at(self) -> int | None:
        """The step at which this call resumed a stored run; None if it began one."""
        return self._opened().resumed_at

    @property
    def done(self) -> bool:
        """Whether the loop has ended by itself."""
        return self._opened().status == "done"

    def __len__(self) -> int:
        """Return the number of steps that are left, for progress bars, if the total is known."""
        total = self._lifecycle.total
        if total is not None or self._lifecycle.status != "new":
            run = self._opened()
            total = run.step if run.status == "done" else run.total
        if total is None:
            raise TypeError(
                f"the number of steps of {self.name!r} is not known before its loop tells it.\n"
                "Give it to resumable, as a number or as an argument's name: total='epochs'."
            )
        return max(0, total - self._lifecycle.step)

    def __reduce_ex__(self, protocol: SupportsIndex) -> NoReturn:
        raise UsageError(
            f"the run {self.name!r} cannot be pickled: it is driven where it was called.\n"
            "Send the function and the arguments instead, and call it there."
        )

    def __bool__(self) -> bool:
        return True

    def __repr__(self) -> str:
        run = self._lifecycle
        return f"<{type(self).__name__} {run.name!r}, {run.status}, step {run.step:,}>"

    def _repr_html_(self) -> str:
        run = self._lifecycle
        facts = {"state": run.status}
        if run.status != "new":
            facts["step"] = f"{run.step:,}" + (f" of {run.total:,}" if run.total else "")
        if run.resumed_at is not None and run.status != "done":
            facts["resumed at"] = f"{run.resumed_at:,}"
        return as_html(f"{type(self).__name__} {run.name}", facts)

    def _opened(self) -> Lifecycle:
        if self._lifecycle.status == "new":
            self._lifecycle.open()
        return self._lifecycle
