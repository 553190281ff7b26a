"""The common part of the drivers of ordinary and async maps: a map's name, and how far it is."""

from __future__ import annotations

import contextlib
from collections.abc import Sized
from typing import TYPE_CHECKING, Generic, NoReturn, SupportsIndex, TypeVar

from trax.display import as_html, count
from trax.errors import UsageError

if TYPE_CHECKING:
    from trax.mapping.map_call import MapCall
    from trax.mapping.one_pass import Pass

__all__ = ["MapDriver"]

K = TypeVar("K")
V = TypeVar("V")


class MapDriver(Generic[K, V]):
    """A map that a call drives.

    Parameters
    ----------
    call : MapCall
        The call.
    one_pass : Pass
        Its first pass through the items.
    """

    def __init__(self, call: MapCall, one_pass: Pass) -> None:
        self._call = call
        self._pass = one_pass

    @property
    def name(self) -> str:
        """The run's name in the store."""
        return self._call.name

    @property
    def step(self) -> int:
        """The number of items that are done, as far as this pass has come: 0 before it begins."""
        return self._pass.step

    @property
    def done(self) -> bool:
        """Whether all items are done: the pass came to its end, and none has failed."""
        return self._pass.status == "done" and not self._pass.failed

    def __len__(self) -> int:
        """Return the number of items, for progress bars, if they have a length."""
        items = self._call.items
        with contextlib.suppress(Exception):  # `list` asks, too, and expects none but a TypeError
            return len(items)
        raise TypeError(
            f"the number of items of {self.name!r} is not known: they have no length.\n"
            "Give a list, or give the bar its total=."
        )

    def __bool__(self) -> bool:
        return True

    def __reduce_ex__(self, protocol: SupportsIndex) -> NoReturn:
        raise UsageError(
            f"the map {self.name!r} cannot be pickled: it is driven where it was called.\n"
            "Send the function and the items instead, and call trax.map() there."
        )

    def __repr__(self) -> str:
        kind, status = type(self).__name__, self._pass.status
        done = f", {count(self.step, 'result')}" * (status != "new")
        failed = f", {self._pass.failed:,} failed" * bool(self._pass.failed)
        return f"<{kind} {self.name!r}, {status}{done}{failed}>"

    def _repr_html_(self) -> str:
        facts = {"state": self._pass.status}
        if self._pass.status != "new":
            items = self._call.items
            total = f" of {len(items):,}" if isinstance(items, Sized) else ""
            facts["results"] = f"{self.step:,}{total}"
        return as_html(f"{type(self).__name__} {self.name}", facts)
