"""How much of a run is provably right: from a checkpoint on, and from the beginning.

A prefix begins with a checkpoint that holds, or with `create` where the run began so, and goes on
along the logs for as long as their records hold and each log continues the one before it. Every
byte of it is proven by a checksum, and that by the one before it, back to where the prefix begins.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from copy import copy
from dataclasses import dataclass

from trax.fsck.scan import FoundCheckpoint, FoundLog, Survey
from trax.storage.context import Key, decode_context, has_outputs
from trax.storage.filesystem import Directory
from trax.storage.log import LogReader, open_log
from trax.storage.records import HEADER_SIZE, NOTE, Damage
from trax.storage.run_reader import Position, is_log_of, may_lead

__all__ = ["Fits", "Prefix", "prefixes"]

Fits = Callable[[Mapping[Key, bytes]], bool]


@dataclass(frozen=True, slots=True)
class Prefix:
    """A part of a run that is provably right, from its beginning or a checkpoint on.

    Attributes
    ----------
    base : FoundCheckpoint or None
        The checkpoint that it begins with; None where it begins with `create`.
    path : list of int
        The generations of its logs.
    end : int
        Where it ends in the last of them.
    position : Position
        Where it ends.
    has_outputs : bool
        Whether it speaks of files outside of the store.
    """

    base: FoundCheckpoint | None
    path: list[int]
    end: int
    position: Position
    has_outputs: bool

    @property
    def rank(self) -> tuple[int, int]:
        """Farther is better, and then a newer checkpoint."""
        return self.position.step, self.base.name.generation if self.base else 0


def prefixes(directory: Directory, survey: Survey, fits: Fits) -> list[Prefix]:
    """Return how far each beginning leads, the best one first.

    Parameters
    ----------
    directory : Directory
        The run's files.
    survey : Survey
        What they hold.
    fits : callable
        Takes a context, and returns whether the files outside of the store that it speaks of
        are as long as it says. A prefix ends where they are.
    """
    bases = [found for found in survey.checkpoints.values() if found.flaw is None]
    follower = _Follower(directory, survey, fits)
    found = filter(None, map(follower.follow, [None, *bases]))
    return sorted(found, key=lambda prefix: prefix.rank, reverse=True)


class _Follower:
    """Follows the logs of a run from each place where it can begin."""

    def __init__(self, directory: Directory, survey: Survey, fits: Fits) -> None:
        self._directory = directory
        self._survey = survey
        self._fits = fits
        self._heads = {number: log for number, log in survey.logs.items() if log.fields}
        self._newest = survey.newest
        self._tips = self._find_tips()

    def _find_tips(self) -> dict[int, int]:
        """Return for each log the newest one that holds something and builds on it, or 0.

        Where two logs continue the same one, the newest such log is the run's, as in recovery;
        the other one belongs to a writer that had lost the run.
        """
        tips = {number: number if log.holds_something else 0 for number, log in self._heads.items()}
        for number, log in sorted(self._heads.items(), reverse=True):
            if log.after in tips and log.after < number:
                tips[log.after] = max(tips[log.after], tips[number])
        return tips

    def follow(self, base: FoundCheckpoint | None) -> Prefix | None:
        """Return how far the logs lead from a checkpoint, or from `create`."""
        walk = _Walk(base, self._fits)
        log = self._first(base, walk.position)
        while log is not None:
            log = self._read(log, walk)
        return walk.best

    def _first(self, base: FoundCheckpoint | None, position: Position) -> FoundLog | None:
        """Return the log that continues a checkpoint, or the first one of all."""
        if base is not None:
            log = self._heads.get(base.name.generation)
            if log is None or log.position != position:
                return None
            return log if is_log_of(base.fields, log.fields, log.chain) else None
        firsts = [
            number
            for number, log in self._heads.items()
            if log.after == 0 and log.position == position and log.fields["origin"] == "create"
        ]
        return self._heads[max(firsts, key=lambda n: (self._tips[n], n))] if firsts else None

    def _read(self, log: FoundLog, walk: _Walk) -> FoundLog | None:
        """Walk along a log to where the next one continues it, which is returned, or to its end."""
        number = log.name.generation
        named: dict[Position, list[int]] = {}
        for generation, following in self._heads.items():
            if following.after == number and generation > number and self._tips[generation]:
                named.setdefault(following.position, []).append(generation)
        reached: dict[int, _Walk] = {}
        # What holds and makes no sense ends the walk like what does not hold.
        with open_log(self._directory, str(log.name)) as reader, contextlib.suppress(Damage):
            for position in self._boundaries(reader, walk, number):
                for generation in named.get(position, ()):
                    reached[generation] = walk.remember()
        if not reached:
            return None
        chosen = max(reached, key=lambda generation: self._tips[generation])
        walk.go_back_to(reached[chosen])
        following = self._heads[chosen]
        # Otherwise what is before it does not lead to the state that its checkpoint had.
        return following if following.fields["derived"] else None

    def _boundaries(self, reader: LogReader, walk: _Walk, number: int) -> Iterator[Position]:
        """Yield wherever an increment or a note ends, the end of the header block included."""
        begin = walk.position.step
        walk.enter(number, Position(begin, reader.chain))
        yield walk.position
        for encoded in reader:
            if number == self._newest and may_lead(reader, walk.context, self._directory.boot):
                return
            payload = encoded.payload if encoded.kind == NOTE else encoded.context
            if payload:
                walk.merge(decode_context(payload))
            walk.stand_at(Position(begin + reader.count, reader.chain), reader.offset)
            yield walk.position


class _Walk:
    """How far a walk along the logs has come, and the last place on its way that it may end at.

    Attributes
    ----------
    position : Position
        Where it is.
    context : dict of Key to bytes
        The positions of RNGs and output files there.
    best : Prefix or None
        The way to the last place where the output files are as long as they were.
    """

    def __init__(self, base: FoundCheckpoint | None, fits: Fits) -> None:
        self.position = base.position if base else Position(0, 0)
        self.context = dict(base.context) if base else {}
        self._base = base
        self._fits = fits
        self._path: list[int] = []
        self._is_fit = fits(self.context)
        # Whoever asks for the result of a run that is done needs no output file; who goes on does.
        self._may_begin = self._is_fit or bool(base and base.meta.get("done"))
        self.best = self._here(HEADER_SIZE) if base and self._may_begin else None

    def enter(self, number: int, position: Position) -> None:
        """Go over the header block of a log."""
        self.position = position
        self._path = [*self._path, number]
        # An empty log at the end is a reason to look at the end of the one before it; so it
        # counts only where there is none before it.
        if len(self._path) == 1 and self._may_begin:
            self.best = self._here(HEADER_SIZE)

    def merge(self, context: dict[Key, bytes]) -> None:
        """Go over a context."""
        self.context |= context
        if has_outputs(context):
            self._is_fit = self._fits(self.context)

    def stand_at(self, position: Position, offset: int) -> None:
        """Be where an increment or a note ends."""
        self.position = position
        if self._is_fit:
            self.best = self._here(offset)

    def remember(self) -> _Walk:
        """Return this place, to go back to."""
        place = copy(self)
        place.context = dict(self.context)
        return place

    def go_back_to(self, place: _Walk) -> None:
        self.__dict__.update(place.__dict__)

    def _here(self, offset: int) -> Prefix:
        speaks = has_outputs(self.context)
        return Prefix(self._base, self._path, offset, self.position, has_outputs=speaks)
