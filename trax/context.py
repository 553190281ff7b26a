"""What else stands where when an increment is logged: random generators, output files.

A context is a mapping of keys to bytes. With each increment those entries are stored that have
changed since the one before; a checkpoint stores all. So the newest values, merged, say
where everything stood at the step that a run is recovered to.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Protocol

from trax.storage.frames import encode_context

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


class Context:
    """Follows what is tracked, by name.

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
        self.tracked: dict[str, Tracked] = {}
        self._stored: dict[str, Parts] = {}

    def add(self, name: str, tracked: Tracked, *, stored: bool = True) -> None:
        """Follow one more; `stored` says whether a checkpoint will have its present position."""
        parts = tracked.parts()
        self.tracked[name] = tracked
        self._stored[name] = parts if stored else ()
        self.watched.append((tracked.seen, tracked.word if stored else -1))

    def drop(self, name: str) -> None:
        """Follow one less."""
        place = list(self.tracked).index(name)
        del self.watched[place], self.tracked[name], self._stored[name]

    def delta(self) -> bytes:
        """Return what has changed since the last time, encoded."""
        entries = []
        for place, (name, tracked) in enumerate(self.tracked.items()):
            if tracked.seen[0] == self.watched[place][1]:
                continue
            parts = tracked.parts()
            self.watched[place] = tracked.seen, tracked.word
            entries += self._compare(name, parts)
            self._stored[name] = parts
        return encode_context(entries)

    def moved(self, prefix: str) -> bool:
        """Return whether one whose name begins so is not where it was when last stored."""
        return any(
            tracked.parts() != self._stored[name]
            for name, tracked in self.tracked.items()
            if name.startswith(prefix)
        )

    def last(self) -> dict[str, Parts]:
        """Return where everything stood when it was last stored."""
        return dict(self._stored)

    def take(self) -> dict[str, Parts]:
        """Return where everything stands, for a checkpoint."""
        taken = {}
        for name, tracked in self.tracked.items():
            taken[name] = tracked.parts()
            self._compare(name, taken[name])
        return taken

    def keep(self, taken: dict[str, Parts]) -> None:
        """Remember that a checkpoint has what `take` returned."""
        self._stored |= taken

    def _compare(self, name: str, parts: Parts) -> list[tuple[str, bytes]]:
        """Return the entries of a context for those parts that are not what was stored."""
        stored = self._stored[name]
        if stored and parts != stored:
            self.changed.add(name)
        return [
            (f"{name}#{number}", part)
            for number, part in enumerate(parts)
            if stored[number : number + 1] != (part,)
        ]
