"""What else stands where when an increment is logged: random generators, output files.

A context is a mapping of keys to bytes. With each increment those entries are stored that have
changed since the one before; a checkpoint stores all. So the newest values, merged, say
where everything stood at the step that a run is recovered to.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Protocol

from trax.storage.records import entry_head

__all__ = ["FOLDED", "Context", "Tracked", "values"]

# In the context of an increment: folding it into the state drew from generators in the state.
FOLDED = "folded"

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


def values(context: Mapping[str, bytes], name: str) -> Iterator[bytes]:
    """Yield the parts that a context has of one tracked thing."""
    number = 0
    while (key := f"{name}#{number}") in context:
        yield context[key]
        number += 1


class _Item:
    """Something tracked: what it is called, and where it stood when that was last stored."""

    __slots__ = ("name", "stored", "tracked")

    def __init__(self, name: str, tracked: Tracked, stored: Parts) -> None:
        self.name = name
        self.tracked = tracked
        self.stored = stored

    def changes(self, parts: Parts) -> list[bytes]:
        """Return the encoded entries for those parts that are not what was stored."""
        encoded: list[bytes] = []
        for number, part in enumerate(parts):
            if self.stored[number : number + 1] != (part,):
                encoded += (entry_head(f"{self.name}#{number}", len(part)), part)
        return encoded


class Context:
    """Follows what is tracked, by name.

    Parameters
    ----------
    changed : set of str
        The names of those that have changed in this run already.

    Attributes
    ----------
    watched : list
        For each, what is looked at after every step, and the word that it was.
    changed : set of str
        The names of those that have ever changed in this run.
    """

    def __init__(self, changed: set[str]) -> None:
        self.watched: list[tuple[memoryview, int]] = []
        self.changed = changed
        self._items: list[_Item] = []
        self._undo: tuple[bytes, list[tuple[_Item, Parts]]] = b"", []

    @property
    def names(self) -> list[str]:
        """What is followed."""
        return [item.name for item in self._items]

    def add(self, name: str, tracked: Tracked, stored: Parts | None = None) -> None:
        """Follow one more; `stored` is its position as it is stored, if not the present one."""
        parts = tracked.parts()
        if stored is None:
            stored = parts
        self._items.append(_Item(name, tracked, stored))
        self.watched.append((tracked.seen, tracked.word if parts == stored else -1))

    def drop(self, name: str) -> None:
        """Follow one less."""
        place = self.names.index(name)
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

    def moved(self, prefix: str) -> bool:
        """Return whether one whose name begins so is not where it was when last stored."""
        return any(
            item.tracked.parts() != item.stored
            for item, (seen, word) in zip(self._items, self.watched, strict=True)
            if seen[0] != word and item.name.startswith(prefix)
        )

    def last(self) -> dict[str, Parts]:
        """Return where everything stood when it was last stored."""
        return {item.name: item.stored for item in self._items}

    def take(self) -> dict[str, Parts]:
        """Return where everything stands, for a checkpoint."""
        return {item.name: item.tracked.parts() for item in self._items}

    def changed_by(self, taken: dict[str, Parts]) -> set[str]:
        """Return what will have ever changed once a checkpoint has what was taken."""
        moved = {i.name for i in self._items if i.stored and i.stored != taken[i.name]}
        return self.changed | moved

    def keep(self, taken: dict[str, Parts]) -> None:
        """Remember that a checkpoint has what `take` returned."""
        for item in self._items:
            parts = taken[item.name]
            # What no log has in full is stored in full by the next step, too: the checkpoint may be
            # damaged one day, and the one before it does not know of it.
            if item.stored and parts != item.stored:
                self._store(item, parts)

    def _store(self, item: _Item, parts: Parts) -> None:
        if item.stored:
            self.changed.add(item.name)
        item.stored = parts
