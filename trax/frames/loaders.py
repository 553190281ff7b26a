"""Loaders and iterators that tell where they are, and are put there again.

Pickles refer to the public class of this module by name.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from trax.calls.digest import digest_value
from trax.frames.loading import present_rngs

__all__ = ["Continued", "Way", "tell", "told", "way_of"]

Way = tuple[str, str, str]
"""Whose methods they are, the "loader" or its "iterator"; the one that tells, the one that sets."""

_METHODS: Final = (("state_dict", "load_state_dict"), ("tell", "seek"))


def way_of(source: Any, iterator: Any) -> Way | None:
    """Return the way in which a loader or its iterator tells where it is; None if in none."""
    for read, write in _METHODS:
        for owner, one in (("loader", source), ("iterator", iterator)):
            if all(callable(getattr(one, name, None)) for name in (read, write)):
                return owner, read, write
    return None


def tell(source: Any, iterator: Any, way: Way) -> Any:
    """Return where a loader is."""
    owner, read, _ = way
    return getattr(source if owner == "loader" else iterator, read)()


def told(source: Any, iterator: Any) -> str:
    """Return a digest of the state that a loader tells: some tell one that does not change."""
    way = None if iterator is None else way_of(source, iterator)
    try:
        return digest_value(tell(source, iterator, way)) if way else ""
    except Exception:  # noqa: BLE001  # it calls code of the user's
        return ""


class Continued:
    """An iterator over a loader that was put to a state that it had told.

    Parameters
    ----------
    source : iterable
        The loader.
    way : Way
        The way in which it, or its iterator, tells its state.
    state : object
        The state.
    """

    def __init__(self, source: Any, way: Way, state: Any) -> None:
        self._source = source
        self._way = way
        self._state = state
        self._rngs = present_rngs()
        self._iterator: Iterator[Any] | None = None

    def __iter__(self) -> Continued:
        return self

    def __next__(self) -> Any:
        if self._iterator is None:
            self._iterator = self._begin()
        return next(self._iterator)

    def _begin(self) -> Iterator[Any]:
        owner, _, write = self._way
        present = self._rngs.snapshot()
        try:
            if owner == "loader":
                getattr(self._source, write)(self._state)
            iterator: Iterator[Any] = iter(self._source)
            if owner == "iterator":
                getattr(iterator, write)(self._state)
        finally:
            self._rngs.restore(present)
        return iterator

    def __reduce__(self) -> tuple[Any, ...]:
        has_begun = self._iterator is not None
        state = tell(self._source, self._iterator, self._way) if has_begun else self._state
        return Continued, (self._source, self._way, state)
