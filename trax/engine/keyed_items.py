"""The items of `remaining` with `key`: known as done by their keys, in whatever order they come.

Strategy: each step stores the digest of its item's key, and a checkpoint those of all items that
are done. A resumed run goes through the items and leaves out those with one of these digests. So it
must be certain which item an increment belongs to: the next one is handed out only after it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any, TypeVar

from trax.calls.content import DIGEST_SIZE, DONE, Digests
from trax.display import show
from trax.engine.done_keys import Keys
from trax.errors import UsageError
from trax.storage.context import Key, entry_head

if TYPE_CHECKING:
    from trax.tracking.rng_tracking import RngTracking

__all__ = ["KeyedItems", "check_has_no_keys"]

T = TypeVar("T")

_HEAD = entry_head(DONE, DIGEST_SIZE)
_NONE = entry_head(DONE, 0)  # of a step without an item
_SHOWN = 30  # characters of an item


class KeyedItems:
    """The items of one run; each goes with one step, and is known by its key.

    Parameters
    ----------
    run : str
        The run's name.
    tracking : RngTracking
        What was recovered.
    key : callable
        Returns the key of an item.
    step : int
        The step of the run.

    Attributes
    ----------
    is_over : bool
        Whether no more items will be handed out.

    Raises
    ------
    UsageError
        The run has steps that were stored without keys.
    """

    def __init__(
        self, run: str, tracking: RngTracking, key: Callable[[Any], Any], step: int
    ) -> None:
        self.is_over = False
        self._run = run
        self._key = key
        self._digest_of = Digests("remaining()").of
        self._ahead = b""  # the digest of the item that is handed out and not yet done
        stored = tracking.recovered.pop(DONE, None)  # from now on, `entries` has them
        if stored is None and step:
            raise UsageError(
                f"{run!r} is at step {step:,}, and has not stored the keys of the items done so far"
                "\nCall remaining() without key=, as before.\n"
                "Or start over with the function's fresh(...)."
            )
        self._keys = Keys(stored or b"")

    def begin(self, source: Iterable[T], step: int) -> Iterator[T]:  # noqa: ARG002  # as of `Items`
        """Return an iterator over the items that are not yet done."""
        if self.is_over:  # the loop goes through a sequence once more
            self._keys = Keys(self._keys.digests())
        self.is_over = False
        return self._hand_out(source)

    def step(self) -> bytes:
        """Count the item that was handed out as done, and return the entry that its step stores."""
        digest, self._ahead = self._ahead, b""
        if digest:
            self._keys.add(digest, came=True)
            return _HEAD + digest
        if self.is_over:  # the loop goes on without items
            return _NONE
        raise UsageError(
            f"{self._run!r} yielded an increment for which remaining() has handed out no item.\n"
            "Yield once for each item: with the first increment it counts as done."
        )

    def entries(self) -> dict[Key, bytes]:
        """Return the entries that a checkpoint stores."""
        return {DONE: self._keys.digests()}

    def _hand_out(self, source: Iterable[T]) -> Iterator[T]:
        try:
            for number, item in enumerate(source):
                key = self._key(item)
                digest = self._digest_of(key, item)
                has_come = self._keys.meet(digest)
                if has_come is None:
                    self._ahead = digest
                    yield item
                    if self._ahead:
                        raise self._ahead_error(item)
                elif has_come and digest != self._digest_or_none(item):
                    raise self._repeated_error(number, item, key)
        finally:
            self.is_over = True

    def _digest_or_none(self, item: Any) -> bytes | None:
        try:
            return self._digest_of(item, item)
        except UsageError:  # it cannot be its own key
            return None

    def _repeated_error(self, number: int, item: Any, key: Any) -> UsageError:
        return UsageError(
            f"remaining() got the key {show(key, 20)} for items[{number}], as for one before it\n"
            f"Let key= return another key than that for {show(item, _SHOWN)}: of items with the "
            "same key only one is handed out."
        )

    def _ahead_error(self, item: Any) -> UsageError:
        return UsageError(
            f"remaining() was asked for an item before {show(item, _SHOWN)} had its increment\n"
            "Yield once for each item, such as None if there is nothing to add.\n"
            "Leave items out before: remaining((i for i in items if ...), key=...).\n"
            "Take one at a time, not list(remaining(...)), and no executor around it: put that "
            "inside, or use trax.map."
        )


def check_has_no_keys(run: str, tracking: RngTracking) -> None:
    """Refuse to take items by their order if the items that are done are known by their keys.

    Raises
    ------
    UsageError
        They are.
    """
    if DONE in tracking.recovered:
        raise UsageError(
            f"{run!r} knows its items that are done by their keys, and remaining() got no key=.\n"
            "Give it the same key= as before.\nOr start over with the function's fresh(...)."
        )
