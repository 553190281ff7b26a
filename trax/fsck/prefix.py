"""Finds the parts of a run that are provably right.

A prefix begins with a valid checkpoint, or with `create` if the run began so, and follows the logs
for as long as their records are valid and each log continues the one before it. Every byte of it
is proven by a checksum, and that by the one before it, back to the beginning of the prefix.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator, Mapping
from copy import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING

from trax.storage.context import Key, decode_context, has_outputs
from trax.storage.log import LogReader, open_log
from trax.storage.records import HEADER_SIZE, NOTE, Damage
from trax.storage.run_reader import LogPosition, is_log_of, may_lead

if TYPE_CHECKING:
    from trax.fsck.files import CheckpointFile, LogFile
    from trax.fsck.scan import Scan
    from trax.storage.filesystem import Directory

__all__ = ["Fits", "Prefix", "prefixes"]

Fits = Callable[[Mapping[Key, bytes]], bool]


@dataclass(frozen=True, slots=True)
class Prefix:
    """A part of a run that is provably right, from a checkpoint or from `create` on.

    Attributes
    ----------
    base : CheckpointFile or None
        The checkpoint that it begins with; None if it begins with `create`.
    path : list of int
        The generations of its logs.
    end : int
        The offset in the last of them at which it ends.
    position : LogPosition
        The position of the run at which it ends.
    has_outputs : bool
        Whether its context names output files.
    """

    base: CheckpointFile | None
    path: list[int]
    end: int
    position: LogPosition
    has_outputs: bool

    @property
    def generation(self) -> int:
        """The generation of its checkpoint; 0 if it begins with `create`."""
        return self.base.generation if self.base else 0

    @property
    def rank(self) -> tuple[int, int]:
        """The higher, the better: a higher step, then a newer checkpoint."""
        return self.position.step, self.generation


def prefixes(
    directory: Directory, scan: Scan, fits: Fits, last_step: int | None = None
) -> Iterator[Prefix]:
    """Yield the longest prefix from each beginning, by descending rank.

    A prefix ends only at positions whose context `fits`: the output files have at least their
    recorded lengths. And it ends at `last_step` of the run at the latest.
    """
    last = math.inf if last_step is None else last_step
    bases = [
        checkpoint
        for checkpoint in scan.checkpoints.values()
        if checkpoint.flaw is None and checkpoint.meta.get("step", 0) <= last
    ]
    follower = _Follower(directory, scan, fits, last)
    end = max(
        (log.position.step + log.count for log in scan.logs.values() if log.fields), default=0
    )
    found = []
    for base in [*sorted(bases, key=lambda one: one.generation, reverse=True), None]:
        prefix = follower.follow(base)
        if prefix is None:
            continue
        if prefix.position.step >= min(end, last - (base.shift or 0 if base else 0)):
            yield prefix  # none is longer, and those to come have older checkpoints
        else:
            found.append(prefix)
    yield from sorted(found, key=lambda prefix: prefix.rank, reverse=True)


class _Follower:
    """Follows the logs of a run from a beginning."""

    def __init__(self, directory: Directory, scan: Scan, fits: Fits, last: float) -> None:
        self._directory = directory
        self._fits = fits
        self._last = last
        self._heads = {number: log for number, log in scan.logs.items() if log.fields}
        self._newest = scan.newest
        self._tips = self._find_tips()

    def _find_tips(self) -> dict[int, int]:
        """Return for each log the newest log with content that builds on it, or 0."""
        # If two logs continue the same one, the log that leads to the newest log is the run's, as
        # in recovery. The other one belongs to a writer that had lost the run.
        tips = {number: number if log.has_content else 0 for number, log in self._heads.items()}
        for number, log in sorted(self._heads.items(), reverse=True):
            if log.after in tips and log.after < number:
                tips[log.after] = max(tips[log.after], tips[number])
        return tips

    def follow(self, base: CheckpointFile | None) -> Prefix | None:
        """Return the longest prefix from a checkpoint, or from `create`."""
        walk = _Walk(base, self._fits, self._last)
        log = self._first(base, walk.position)
        while log is not None:
            log, walk = self._read(log, walk)
        return walk.best

    def _first(self, base: CheckpointFile | None, position: LogPosition) -> LogFile | None:
        """Return the log that continues a checkpoint, or the first one of all."""
        if base is not None:
            log = self._heads.get(base.generation)
            if log is None or log.position != position:
                return None
            return log if is_log_of(base.fields, log.fields, log.chain) else None
        firsts = [
            number
            for number, log in self._heads.items()
            if log.after == 0 and log.position == position and log.fields["origin"] == "create"
        ]
        return self._heads[max(firsts, key=lambda n: (self._tips[n], n))] if firsts else None

    def _read(self, log: LogFile, walk: _Walk) -> tuple[LogFile | None, _Walk]:
        """Walk along a log; return the log that continues it, and the walk up to there."""
        number = log.generation
        named: dict[LogPosition, list[int]] = {}
        for generation, following in self._heads.items():
            if following.after == number and generation > number and self._tips[generation]:
                named.setdefault(following.position, []).append(generation)
        reached: dict[int, _Walk] = {}
        # A valid record that makes no sense ends the walk like one that is not valid.
        with open_log(self._directory, log.name) as reader, contextlib.suppress(Damage):
            for position in self._boundaries(reader, walk, number):
                for generation in named.get(position, ()):
                    reached[generation] = walk.fork()
        if not reached:
            return None, walk
        chosen = max(reached, key=lambda generation: self._tips[generation])
        following, walk = self._heads[chosen], reached[chosen]
        # Otherwise the logs before it do not lead to the state of its checkpoint.
        leads_on = following.fields["derived"] and not walk.is_past_last
        return following if leads_on else None, walk

    def _boundaries(self, reader: LogReader, walk: _Walk, number: int) -> Iterator[LogPosition]:
        """Yield each position at which the header block, an increment or a note ends."""
        begin = walk.position.step
        walk.enter(number, LogPosition(begin, reader.chain))
        yield walk.position
        for encoded in reader:
            if number == self._newest and may_lead(reader, walk.context, self._directory.boot):
                return
            payload = encoded.payload if encoded.kind == NOTE else encoded.context
            if payload:
                walk.merge(decode_context(payload))
            walk.advance(LogPosition(begin + reader.count, reader.chain), reader.offset)
            yield walk.position


class _Walk:
    """A walk along the logs, with the last position at which a prefix may end.

    Attributes
    ----------
    position : LogPosition
        The position that it has reached.
    context : dict of Key to bytes
        The positions tracked beside the state there.
    best : Prefix or None
        The prefix up to the last position at which the output files are long enough.
    """

    def __init__(self, base: CheckpointFile | None, fits: Fits, last: float) -> None:
        self.position = base.position if base else LogPosition(0, 0)
        # In the logs, which do not have every step that a run may count.
        self._last = last - (base.shift or 0) if base else last
        self.context = dict(base.context) if base else {}
        self._base = base
        self._fits = fits
        self._path: list[int] = []
        self._is_fit = fits(self.context)
        # A finished run needs no output file for its result; a run that resumes does.
        self._may_begin = self._is_fit or bool(base and base.meta.get("done"))
        self.best = self._here(HEADER_SIZE) if base and self._may_begin else None

    @property
    def is_past_last(self) -> bool:
        """Whether no prefix may end here, or later."""
        return self.position.step > self._last

    def enter(self, number: int, position: LogPosition) -> None:
        """Pass the header block of a log."""
        self.position = position
        self._path = [*self._path, number]
        # RunReader judges the end of the log before an empty one; so an empty log counts only if
        # there is none before it.
        if len(self._path) == 1 and self._may_begin:
            self.best = self._here(HEADER_SIZE)

    def merge(self, context: dict[Key, bytes]) -> None:
        """Pass a context."""
        self.context |= context
        if has_outputs(context):
            self._is_fit = self._fits(self.context)

    def advance(self, position: LogPosition, offset: int) -> None:
        """Pass the end of an increment or a note."""
        self.position = position
        if self._is_fit and position.step <= self._last:
            self.best = self._here(offset)

    def fork(self) -> _Walk:
        """Return an independent walk that continues from here."""
        walk = copy(self)
        walk.context = dict(self.context)
        return walk

    def _here(self, offset: int) -> Prefix:
        names_outputs = has_outputs(self.context)
        return Prefix(self._base, self._path, offset, self.position, names_outputs)
