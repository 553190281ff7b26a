"""The checkpoints and logs of a run as they were found, valid or not."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field, replace
from typing import Any

from trax._public import public
from trax.storage.context import Key
from trax.storage.filenames import FileName
from trax.storage.records import HEADER_SIZE
from trax.storage.run_reader import LogPosition

__all__ = ["CheckpointFile", "Generation", "LogFile"]


@dataclass(frozen=True, slots=True)
class _File:
    """The common part: the attributes that both classes below describe."""

    name: str
    size: int

    @property
    def file(self) -> FileName:
        """The kind and the generation in the name."""
        return FileName.of(self.name)

    @property
    def generation(self) -> int:
        return self.file.generation

    def as_dict(self) -> dict[str, Any]:
        """Return plain values."""
        return {
            one.name: getattr(self, one.name) for one in dataclasses.fields(self) if one.compare
        }


@public
@dataclass(frozen=True, slots=True)
class CheckpointFile(_File):
    """A checkpoint as it was found.

    The attributes from `fields` on are details for a repair; they do not count for equality, and
    `as_dict` and `without_details` leave them out.

    Attributes
    ----------
    name : str
        The file's name.
    size : int
        Its length, in bytes.
    step : int or None
        The step of the run at which it was taken; None if that can no longer be read.
    flaw : str or None
        The reason why it is not valid; None if every byte of it is valid.
    offset : int or None
        The offset of the flaw, in bytes.
    fields : dict
        The fields of the header block; empty if the block is not valid.
    meta : dict
        The meta record; empty if it is not valid.
    context : dict of Key to bytes
        The positions tracked beside the state at that step; empty if the checkpoint is not valid.
    """

    step: int | None
    flaw: str | None
    offset: int | None
    fields: dict[str, Any] = field(repr=False, compare=False)
    meta: dict[str, Any] = field(repr=False, compare=False)
    context: dict[Key, bytes] = field(repr=False, compare=False)

    @property
    def position(self) -> LogPosition:
        """The position in the logs at which it was taken; its header block must be valid."""
        return LogPosition.of(self.fields["step"], self.fields["chain"])

    @property
    def shift(self) -> int | None:
        """The number of steps before it that are not logged; None if it does not tell."""
        if not self.fields or "step" not in self.meta:
            return None
        shift: int = self.meta["step"] - self.fields["step"]
        return shift

    def without_details(self) -> CheckpointFile:
        """Return a copy without the details for a repair."""
        return replace(self, fields={}, meta={}, context={})


@public
@dataclass(frozen=True, slots=True)
class LogFile(_File):
    """A log as it was found.

    The attributes from `fields` on are details for a repair; they do not count for equality, and
    `as_dict` and `without_details` leave them out.

    Attributes
    ----------
    name : str
        The file's name.
    size : int
        Its length, in bytes.
    durable : int
        The number of these bytes that are known to have been forced to the disk.
    begins : int or None
        The step after which it begins; None if that can no longer be read.
    count : int
        The number of valid increments at its beginning.
    is_needed : bool
        Whether recovery reads it, after the newest valid checkpoint.
    is_torn : bool
        Whether a crash tore its end. That is not damage: the next run cuts the end off.
    flaw : str or None
        The reason why it is not valid, or was torn; None if every byte of it is valid.
    offset : int or None
        The offset of the flaw, in bytes.
    fields : dict
        The fields of the header block; empty if the block is not valid.
    chain : int
        The checksum of the header block.
    salvaged : int
        The number of increments that can be counted after the flaw.
    is_exact : bool
        Whether `count` and `salvaged` are all increments that there ever were, as far as the files
        tell.
    reached : set of LogPosition
        The positions in it that other logs name as their beginning.
    """

    durable: int
    begins: int | None
    count: int
    is_needed: bool
    is_torn: bool
    flaw: str | None
    offset: int | None
    fields: dict[str, Any] = field(repr=False, compare=False)
    chain: int = field(repr=False, compare=False)
    salvaged: int = field(repr=False, compare=False)
    is_exact: bool = field(repr=False, compare=False)
    reached: frozenset[LogPosition] = field(repr=False, compare=False)

    @property
    def after(self) -> int:
        """The generation that it continues; its header block must be valid."""
        after: int = self.fields["after"][0]
        return after

    @property
    def position(self) -> LogPosition:
        """The position that it continues; its header block must be valid."""
        _, *position = self.fields["after"]
        return LogPosition.of(*position)

    @property
    def has_content(self) -> bool:
        """Whether there is, or was, anything after the header block; see `LogWriter.attest`."""
        is_attested = self.durable == HEADER_SIZE and self.fields.get("derived") is False
        return is_attested or max(self.size, self.durable) > HEADER_SIZE

    def without_details(self) -> LogFile:
        """Return a copy without the details for a repair."""
        return replace(self, fields={}, reached=frozenset())


@public
@dataclass(frozen=True, slots=True)
class Generation:
    """A checkpoint, if one was taken, and the log that continues it.

    Attributes
    ----------
    number : int
        The number in the names of both.
    checkpoint : CheckpointFile or None
        The checkpoint.
    log : LogFile or None
        The log.
    """

    number: int
    checkpoint: CheckpointFile | None
    log: LogFile | None

    def as_dict(self) -> dict[str, Any]:
        """Return dictionaries and plain values."""
        return {
            "number": self.number,
            "checkpoint": self.checkpoint and self.checkpoint.as_dict(),
            "log": self.log and self.log.as_dict(),
        }
