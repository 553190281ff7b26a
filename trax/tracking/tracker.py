"""Tracks the things whose positions are logged with each increment: RNGs and output files."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol

from trax.storage.context import Key, Kind, entry_head

__all__ = ["Parts", "Tracked", "Tracker"]

Parts = tuple[bytes, ...]


class Tracked(Protocol):
    """Something outside of the state that has a position, as a tuple of parts.

    Attributes
    ----------
    seen : memoryview
        Its first item equals `word` only if the position is the same.
    word : int
        The value of that item when `parts` was last called.
    """

    seen: memoryview
    word: int

    def parts(self) -> Parts:
        """Return the present position."""


class _Item:
    """Something tracked: its key, the keys of its parts, and the position last stored."""

    __slots__ = ("key", "keys", "stored", "tracked")

    def __init__(self, key: Key, tracked: Tracked, count: int, stored: Parts) -> None:
        self.key = key
        self.keys = [key.at(number) for number in range(count)]
        self.tracked = tracked
        self.stored = stored

    def changes(self, parts: Parts) -> list[bytes]:
        """Return the encoded entries of the parts that differ from the stored ones."""
        encoded: list[bytes] = []
        for number, part in enumerate(parts):
            if self.stored[number : number + 1] != (part,):
                encoded += (entry_head(self.keys[number], len(part)), part)
        return encoded


class Tracker:
    """The things that are tracked, with their positions last stored.

    Parameters
    ----------
    changed : set of Key
        The keys of things that have already changed in this run.

    Attributes
    ----------
    watched : list
        For each thing, the memory to compare after every step, and the word it had.
    changed : set of Key
        The keys of things that have ever changed in this run.
    """

    def __init__(self, changed: set[Key]) -> None:
        self.watched: list[tuple[memoryview, int]] = []
        self.changed = changed
        self._items: list[_Item] = []
        self._undo: tuple[bytes, list[tuple[_Item, Parts]]] = b"", []

    @property
    def keys(self) -> list[Key]:
        """The keys of all tracked things."""
        return [item.key for item in self._items]

    def of(self, kind: Kind) -> list[tuple[Key, Any]]:
        """Return the tracked things of one kind, with their keys."""
        return [(item.key, item.tracked) for item in self._items if item.key.kind is kind]

    def add(self, key: Key, tracked: Tracked, stored: Parts | None = None) -> None:
        """Start to track; `stored` is the stored position, if that is not the present one."""
        parts = tracked.parts()
        if stored is None:
            stored = parts
        self._items.append(_Item(key, tracked, len(parts), stored))
        self.watched.append((tracked.seen, tracked.word if parts == stored else -1))

    def drop(self, key: Key) -> None:
        """Stop tracking one thing."""
        place = self.keys.index(key)
        del self._items[place], self.watched[place]

    def delta(self) -> bytes:
        """Return the parts that have changed since the last call, encoded as a context."""
        encoded = []
        before = []
        for place, (seen, word) in enumerate(self.watched):
            if seen[0] != word:
                item = self._items[place]
                parts = item.tracked.parts()
                self.watched[place] = seen, item.tracked.word
                if parts != item.stored:
                    encoded += item.changes(parts)
                    before.append((item, item.stored))
                    self._store(item, parts)
        context = b"".join(encoded)
        self._undo = context, before
        return context

    def undo(self, context: bytes) -> None:
        """Undo the last `delta`, if this context begins with the one that it returned."""
        delta, before = self._undo
        if delta and context.startswith(delta):
            for item, stored in before:
                item.stored = stored

    def moved(self, kind: Kind) -> Iterator[Key]:
        """Yield the keys of one kind whose position is not the one last stored."""
        for item, (seen, word) in zip(self._items, self.watched, strict=True):
            if seen[0] != word and item.key.kind is kind and item.tracked.parts() != item.stored:
                yield item.key

    def is_stored(self, key: Key) -> bool:
        """Return whether the present position of one thing is the one last stored."""
        return any(item.tracked.parts() == item.stored for item in self._items if item.key == key)

    def last(self, key: Key) -> Parts | None:
        """Return the position of one thing that was last stored; None if it is not tracked."""
        return next((item.stored for item in self._items if item.key == key), None)

    def snapshot(self) -> dict[Key, Parts]:
        """Return all present positions, for a checkpoint."""
        return {item.key: item.tracked.parts() for item in self._items}

    def changed_by(self, taken: dict[Key, Parts]) -> set[Key]:
        """Return `changed` as it will be once a checkpoint has stored the positions `taken`."""
        moved = {i.key for i in self._items if i.stored != taken[i.key]}
        return self.changed | moved

    def mark_stored(self, taken: dict[Key, Parts]) -> None:
        """Record that a checkpoint has stored the positions that `snapshot` returned."""
        for item in self._items:
            parts = taken[item.key]
            # A thing of which no log has all parts keeps its empty `stored`, so the next step logs
            # it in full: if this checkpoint is damaged one day, the one before does not have it.
            if item.stored and parts != item.stored:
                self._store(item, parts)

    def _store(self, item: _Item, parts: Parts) -> None:
        self.changed.add(item.key)
        item.stored = parts
