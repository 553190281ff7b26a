"""Tracks the things whose positions are logged with each increment: RNGs and output files."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol

from trax.storage.context import Key, Kind, entry_head

__all__ = ["Item", "Parts", "Tracked", "Tracker"]

Parts = tuple[bytes, ...]


class Tracked(Protocol):
    """Something outside of the state that has a position, as a tuple of parts.

    Attributes
    ----------
    seen : object
        It equals `known` only if the position is the same; `parts` may replace it.
    known : object
        A copy of it from when `parts` was last called; None if that does not tell.
    """

    seen: Any
    known: Any

    def parts(self) -> Parts:
        """Return the present position."""


class _Heads(dict[int, bytes]):
    """The bytes before the value of one part, by its size; see `entry_head`."""

    def __init__(self, key: Key) -> None:
        super().__init__()
        self._key = key

    def __missing__(self, size: int) -> bytes:
        head = self[size] = entry_head(self._key, size)
        return head


class Item:
    """Something tracked: its key, and the position last stored.

    Attributes
    ----------
    seen : object
        It equals `known` only if the position is the one last stored.
    known : object
        A copy of it from when that position was read.
    has_changed : bool
        Whether another position was stored since this is tracked.
    """

    __slots__ = (
        "_before",
        "_heads",
        "_last",
        "_none",
        "_numbers",
        "has_changed",
        "key",
        "known",
        "seen",
        "stored",
        "tracked",
    )

    def __init__(self, key: Key, tracked: Tracked, stored: Parts | None) -> None:
        parts = tracked.parts()
        if stored:  # an older version may have stored fewer parts
            stored = (*stored, *[b""] * (len(parts) - len(stored)))
        self.key = key
        self.tracked = tracked
        self.stored = parts if stored is None else stored
        self.seen = tracked.seen
        self.known = tracked.known if parts == self.stored else None
        self.has_changed = False
        self._before = self.stored
        self._last = b""  # what `delta` returned
        self._numbers = tuple(range(len(parts)))
        self._heads = [_Heads(key.at(number)) for number in self._numbers]
        self._none = (None,) * len(parts)

    @property
    def is_stored(self) -> bool:
        """Whether the present position is the one last stored."""
        return self.tracked.parts() == self.stored

    def store(self, parts: Parts) -> None:
        """Take a position as the one last stored."""
        if parts != self.stored:
            self.stored = parts
            self.has_changed = True

    def delta(self) -> bytes:
        """Store the present position; return the encoded entries of the parts that differ."""
        tracked = self.tracked
        parts = tracked.parts()
        self.seen, self.known = tracked.seen, tracked.known
        self._before = self.stored
        stored = self.stored or self._none
        encoded = b""
        for number in self._numbers:  # `enumerate` takes longer
            if parts[number] != stored[number]:
                part = parts[number]
                encoded += self._heads[number][len(part)] + part
        if encoded:
            self.stored = parts
            self.has_changed = True
        self._last = encoded
        return encoded

    def undo(self, context: bytes) -> None:
        """Undo the last `delta` if it is in this context, which was not stored."""
        if self._last and self._last in context:
            self.stored = self._before


class Tracker:
    """The things that are tracked, with their positions last stored.

    Parameters
    ----------
    changed : set of Key
        The keys of things that have already changed in this run.

    Attributes
    ----------
    items : list of Item
        The things that are tracked.
    """

    def __init__(self, changed: set[Key]) -> None:
        self.items: list[Item] = []
        self._changed = changed

    @property
    def keys(self) -> list[Key]:
        """The keys of all tracked things."""
        return [item.key for item in self.items]

    @property
    def changed(self) -> set[Key]:
        """The keys of things that have ever changed in this run."""
        return self._changed | {item.key for item in self.items if item.has_changed}

    def of(self, kind: Kind) -> list[tuple[Key, Any]]:
        """Return the tracked things of one kind, with their keys."""
        return [(item.key, item.tracked) for item in self.items if item.key.kind is kind]

    def add(self, key: Key, tracked: Tracked, stored: Parts | None = None) -> None:
        """Start to track; `stored` is the stored position, if that is not the present one."""
        self.items.append(Item(key, tracked, stored))

    def drop(self, key: Key) -> None:
        """Stop tracking one thing."""
        self._changed = self.changed
        del self.items[self.keys.index(key)]

    def delta(self) -> bytes:
        """Return the parts that have changed since the last call, encoded as a context."""
        return b"".join([i.delta() for i in self.items if i.seen != i.known])

    def undo(self, context: bytes) -> None:
        """Undo the deltas in this context, which was not stored."""
        for item in self.items:
            item.undo(context)

    def moved(self, kind: Kind) -> Iterator[Key]:
        """Yield the keys of one kind whose position is not the one last stored."""
        for item in self.items:
            if item.seen != item.known and item.key.kind is kind and not item.is_stored:
                yield item.key

    def is_stored(self, key: Key) -> bool:
        """Return whether the present position of one thing is the one last stored."""
        return any(item.is_stored for item in self.items if item.key == key)

    def last(self, key: Key) -> Parts | None:
        """Return the position of one thing that was last stored; None if it is not tracked."""
        return next((item.stored for item in self.items if item.key == key), None)

    def snapshot(self) -> dict[Key, Parts]:
        """Return all present positions, for a checkpoint."""
        return {item.key: item.tracked.parts() for item in self.items}

    def changed_by(self, taken: dict[Key, Parts]) -> set[Key]:
        """Return `changed` as it will be once a checkpoint has stored the positions `taken`."""
        moved = {i.key for i in self.items if i.stored != taken[i.key]}
        return self.changed | moved

    def is_logged(self, taken: dict[Key, Parts]) -> bool:
        """Return whether a log has these positions; those in the state follow from replaying it."""
        return all(i.stored == taken[i.key] for i in self.items if i.key.kind is not Kind.INNER_RNG)

    def mark_stored(self, taken: dict[Key, Parts]) -> None:
        """Record that a checkpoint has stored the positions that `snapshot` returned."""
        for item in self.items:
            # A thing of which no log has all parts keeps its empty `stored`, so the next step logs
            # it in full: if this checkpoint is damaged one day, the one before does not have it.
            if item.stored:
                item.store(taken[item.key])
