"""Digests of output files: kept while a run writes them, and compared when they are read again.

Strategy: a digest goes over blocks of 1 MiB, each seeded with the digest of the blocks before it.
So one number vouches for all content up to a length, and hashing can begin at any block of which
that number is known. With each length a run stores the digest, and the block in which the output
of the checkpoint before the newest one ended: a resume reads from there, and not the whole file.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Sequence
from typing import NamedTuple

from xxhash import xxh3_64, xxh3_64_intdigest

from trax.storage.mutex import Mutex

__all__ = ["BLOCK", "Extent", "RunningDigest", "difference"]

BLOCK = 1 << 20  # bytes

_PRESENT = struct.Struct("<QQ")  # length, digest: these change with every output
_START = struct.Struct("<QQQ")  # begin, since, chain
_LENGTH = struct.Struct("<Q")  # all that stores of earlier versions have
_EMPTY = xxh3_64_intdigest(b"")


class Extent(NamedTuple):
    """The length of an output file at a step, with a digest of its content.

    Attributes
    ----------
    length : int
        The length, in bytes.
    begin : int
        The offset from which on the digest covers the content. What a file had before the run
        opened it is not covered.
    since : int
        The offset of an earlier block, to hash from.
    chain : int
        The digest from `begin` to `since`; 0 if they are equal.
    digest : int
        The digest from `begin` to `length`.
    """

    length: int
    begin: int
    since: int
    chain: int
    digest: int

    @classmethod
    def uncovered(cls, length: int) -> Extent:
        """Return the extent of a file of whose content nothing is known."""
        return cls(length, length, length, 0, _EMPTY)

    @classmethod
    def decode(cls, parts: Sequence[bytes]) -> Extent | None:
        """Return an extent from its parts as they are stored; None if these are none."""
        sizes = list(map(len, parts))
        if sizes == [_LENGTH.size]:
            return cls.uncovered(*_LENGTH.unpack(parts[0]))
        if sizes != [_PRESENT.size, _START.size]:
            return None
        length, digest = _PRESENT.unpack(parts[0])
        begin, since, chain = _START.unpack(parts[1])
        return cls(length, begin, since, chain, digest) if begin <= since <= length else None

    def encode(self) -> tuple[bytes, bytes]:
        """Return the parts of the extent as they are stored."""
        length, begin, since, chain, digest = self
        return _PRESENT.pack(length, digest), _START.pack(begin, since, chain)


class RunningDigest:
    """The digest of a file that grows.

    `begin` is the offset from which on it covers the content, and `chain` the digest from there to
    `offset`, where a block begins.

    Attributes
    ----------
    lock : Mutex
        Held while the file is written and the digest follows.
    length : int
        The end of the content that was hashed, in bytes.
    """

    def __init__(self, begin: int, offset: int, chain: int) -> None:
        self.lock = Mutex()
        self.length = offset
        self._begin = begin
        self._block = offset
        self._chain = chain
        self._hasher = xxh3_64(seed=chain)
        self._known = offset, chain  # a block that is surely on the way to the next extent
        self._checkpointed = offset, chain
        self._stored: tuple[int, int] | None = None  # the length and the digest last stored
        self._start = _START.pack(begin, offset, chain)

    @classmethod
    def read(cls, fd: int, extent: Extent) -> RunningDigest | None:
        """Return the digest of a file's present content; None if it is not that of an extent."""
        found = cls(extent.begin, extent.since, extent.chain)
        found.follow(fd, extent.length)
        return found if found.is_at(extent.length, extent.digest) else None

    def is_at(self, length: int, digest: int) -> bool:
        """Return whether it has this length and this digest."""
        return (self.length, self._hasher.intdigest()) == (length, digest)

    def has_block(self, offset: int, chain: int) -> bool:
        """Return whether a block begins here after content with this digest."""
        return (self._block, self._chain) == (offset, chain)

    def update(self, data: memoryview) -> None:
        """Add bytes that were written at the end."""
        if data.nbytes >= self._block + BLOCK - self.length:
            data = self._end_blocks(data.cast("B"))
        self._hasher.update(data)
        self.length += data.nbytes

    def _end_blocks(self, data: memoryview) -> memoryview:
        """Add the bytes that end a block, and return those of the last one."""
        while (room := self._block + BLOCK - self.length) <= len(data):
            self._hasher.update(data[:room])
            self._chain = self._hasher.intdigest()
            self._hasher = xxh3_64(seed=self._chain)
            self.length = self._block = self._block + BLOCK
            data = data[room:]
        return data

    def follow(self, fd: int, length: int) -> None:
        """Add the bytes of a file up to a length, or to its end."""
        while data := os.pread(fd, min(BLOCK, length - self.length), self.length):
            self.update(memoryview(data))

    def parts(self, fd: int, length: int) -> tuple[bytes, bytes] | None:
        """Return the extent of the file, whose present length is given, as it is stored.

        None if the content of the extent before is no longer there: somebody else has changed it.
        """
        if length != self.length and not self._read_again(fd, length):
            return None
        self._known = self._block, self._chain
        self._stored = length, self._hasher.intdigest()
        return _PRESENT.pack(*self._stored), self._start

    def _read_again(self, fd: int, length: int) -> bool:
        """Hash what others have written to the end of the file as well, such as a child process."""
        offset, chain = self._known
        self.length = self._block = offset
        self._chain, self._hasher = chain, xxh3_64(seed=chain)
        if self._stored is not None:
            self.follow(fd, self._stored[0])
            if not self.is_at(*self._stored):
                return False
        self.follow(fd, length)
        return True

    def mark_checkpoint(self) -> None:
        """Let later extents name the block of the checkpoint before this one."""
        self._start = _START.pack(self._begin, *self._checkpointed)
        self._checkpointed = self._block, self._chain


def difference(fd: int, extents: list[Extent]) -> tuple[int, int] | None:
    """Read all that an extent of a file covers; return the range of the first difference.

    The last extent is the one to compare with; those of earlier steps only narrow the range.
    """
    last = extents[-1]
    alike = [one for one in extents if one.begin == last.begin and one.length <= last.length]
    found = RunningDigest(last.begin, last.begin, 0)
    right, wrong = last.begin, -1
    for offset in sorted({place for one in alike for place in (one.since, one.length)}):
        found.follow(fd, offset)
        is_right = all(
            found.has_block(one.since, one.chain)
            if offset == one.since
            else found.is_at(one.length, one.digest)
            for one in alike
            if offset in (one.since, one.length)
        )
        if is_right and wrong < 0:
            right = offset
        elif wrong < 0:
            wrong = offset
    return None if found.is_at(last.length, last.digest) else (right, wrong)
