"""Tracks the things whose positions are logged with each increment: RNGs and output files."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from trax.storage.context import Key, Kind, entry_head

__all__ = ["Parts", "Tracked", "Tracker"]

Parts = tuple[bytes, ...]


class Tracked(Protocol):
    """Something outside of the state that has a position, as a tuple of parts.

    Attributes
    ----------
    seen : memoryview
        Its first item is `word` for as long as the position is surely the same.
    word : int
        What it was when `parts` was last asked for.
    """

    seen: memoryview
    word: int

    def parts(self) -> Parts:
        """Return the position as it is now."""


class _Item:
    """Something tracked: its key, those of its parts, and the position that was last stored."""

    __slots__ = ("key", "keys", "stored", "tracked")

    def __init__(self, key: Key, tracked: Tracked, count: int, stored: Parts) -> None:
        self.key = key
        self.keys = [key.at(number) for number in range(count)]
        self.tracked = tracked
        self.stored = stored

    def changes(self, parts: Parts) -> list[bytes]:
        """Return the encoded entries for those parts that are not what was stored."""
        encoded: list[bytes] = []
        for number, part in enumerate(parts):
            if self.stored[number : number + 1] != (part,):
                encoded += (entry_head(self.keys[number], len(part)), part)
        return encoded


class Tracker:
    """The things that are tracked, and what of them was stored.

    Parameters
    ----------
    changed : set of Key
        Those that have changed in this run already.

    Attributes
    ----------
    watched : list
        For each, what is looked at after every step, and the word that it was.
    changed : set of Key
        Those that have ever changed in this run.
    """

    def __init__(self, changed: set[Key]) -> None:
        self.watched: list[tuple[memoryview, int]] = []
        self.changed = changed
        self._items: list[_Item] = []
        self._undo: tuple[bytes, list[tuple[_Item, Parts]]] = b"", []

    @property
    def keys(self) -> list[Key]:
        """The keys of all that is tracked."""
        return [item.key for item in self._items]

    def add(self, key: Key, tracked: Tracked, stored: Parts | None = None) -> None:
        """Track one more; `stored` is its position as it is stored, if not the present one."""
        parts = tracked.parts()
        if stored is None:
            stored = parts
        self._items.append(_Item(key, tracked, len(parts), stored))
        self.watched.append((tracked.seen, tracked.word if parts == stored else -1))

    def drop(self, key: Key) -> None:
        """Track one less."""
        place = self.keys.index(key)
        del self._items[place], self.watched[place]

    def delta(self) -> bytes:
        """Return what has changed since the last time, encoded."""
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
        """Take back what `delta` has noted, if this context begins with what it returned."""
        delta, before = self._undo
        if delta and context.startswith(delta):
            for item, stored in before:
                item.stored = stored

    def moved(self, kind: Kind) -> Iterator[Key]:
        """Yield those of a kind whose position is not the one that was last stored."""
        for item, (seen, word) in zip(self._items, self.watched, strict=True):
            if seen[0] != word and item.key.kind is kind and item.tracked.parts() != item.stored:
                yield item.key

    def is_stored(self, key: Key) -> bool:
        """Return whether the present position of one is the one that was last stored."""
        return any(item.tracked.parts() == item.stored for item in self._items if item.key == key)

    def last(self, key: Key) -> Parts | None:
        """Return the position that was last stored of one; None if it is not tracked."""
        return next((item.stored for item in self._items if item.key == key), None)

    def snapshot(self) -> dict[Key, Parts]:
        """Return all positions, for a checkpoint."""
        return {item.key: item.tracked.parts() for item in self._items}

    def changed_by(self, taken: dict[Key, Parts]) -> set[Key]:
        """Return what will have ever changed once a checkpoint has what was taken."""
        moved = {i.key for i in self._items if i.stored and i.stored != taken[i.key]}
        return self.changed | moved

    def mark_stored(self, taken: dict[Key, Parts]) -> None:
        """Note that a checkpoint has what `snapshot` returned."""
        for item in self._items:
            parts = taken[item.key]
            # What no log has in full is stored in full by the next step, too: the checkpoint may be
            # damaged one day, and the one before it does not know of it.
            if item.stored and parts != item.stored:
                self._store(item, parts)

    def _store(self, item: _Item, parts: Parts) -> None:
        if item.stored:
            self.changed.add(item.key)
        item.stored = parts
