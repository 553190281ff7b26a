"""Copies what is forced to numbered objects, one after the other, and images of all now and then.

Strategy: a round puts the bytes that the replica lacks. An image lists everything, so that all
objects before it can be deleted. The bytes of large files are put as pieces before; between two of
them there can be rounds, which continue the image before. Every object that is composed is put
until it is known to be there: another one of its number could hide that the first has arrived.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any

from trax.errors import StorageError
from trax.replica.chain import Chain
from trax.replica.entry import Data, Part, Piece
from trax.replica.local_files import LocalFiles, Look
from trax.storage.filenames import FileName
from trax.storage.journal import RUNNING
from trax.storage.process import process

__all__ = ["Copier"]

PIECE = 8 << 20  # bytes
SMALL = 4 << 20  # bytes of a file that need no piece
LONG = 64  # objects, after which a new image is made
_TRIES = 5  # of a round, while files are pruned


class _Making:
    """An image in the making: the checkpoint to begin with, and the pieces that are put."""

    def __init__(self, look: Look, pieces: list[Piece]) -> None:
        self.checkpoint, self.size = look.checkpoint, look.size
        self.generation = look.generation
        self.pieces = [one for one in pieces if one.file in self.files(look)]

    def files(self, look: Look) -> dict[str, int]:
        """Return the files of the image, with the lengths that they have now."""
        found = _later(look.files, self.checkpoint)
        return {**found, str(self.checkpoint): self.size} if self.checkpoint else found

    def tails(self, files: Mapping[str, int]) -> list[Part]:
        """Return the bytes that are not in pieces."""
        covered: dict[str, int] = {}
        for one in self.pieces:
            covered[one.file] = max(covered.get(one.file, 0), one.offset + one.length)
        begins = {file: covered.get(file, 0) for file in files}
        return [Part(file, at, files[file] - at) for file, at in begins.items() if at < files[file]]

    def next_piece(self, files: Mapping[str, int]) -> Part | None:
        """Return the bytes to be put as the next piece; None if the rest is small."""
        tails = self.tails(files)
        largest = max(tails, key=lambda part: part.length, default=None)
        is_small = sum(part.length for part in tails) <= 2 * PIECE
        if largest is None or (is_small and largest.length <= SMALL):
            return None
        return largest._replace(length=min(largest.length, PIECE))


class Copier:
    """Copies the files of a run to its chain of objects.

    Parameters
    ----------
    chain : Chain
        The objects, which were claimed.
    files : LocalFiles
        The files.
    head : Data or None
        The newest data in the replica; its files have the lengths to which they are as here.
    pieces : list of Piece
        The pieces of the image there.

    Attributes
    ----------
    base : int
        The generation of the newest checkpoint that the replica has; 0 if there is none.
    has_lost : bool
        Whether objects that the replica needs were found to be gone, so that an image has all anew.
    """

    def __init__(
        self, chain: Chain, files: LocalFiles, head: Data | None, pieces: list[Piece]
    ) -> None:
        self._chain = chain
        self._files = files
        self.has_lost = False
        self._litter: tuple[list[int], list[str]] = [], []
        self._sent: tuple[list[Any], Data] | None = None
        self._making: _Making | None = None
        self._head = head
        self._pieces = [one for one in pieces if head and _is_valid(one, head)]
        self._litter[1].extend(one.key for one in pieces if one not in self._pieces)
        self.base = head.base if head and self.is_begun else 0

    @property
    def is_making(self) -> bool:
        """Whether there is an image in the making."""
        return self._making is not None

    @property
    def head(self) -> Data | None:
        """The newest data that is known to be in the replica."""
        return self._head

    @property
    def is_begun(self) -> bool:
        """Whether the replica has a state of the run."""
        return self._head is not None and self._head.run == self._files.run

    # -- rounds ----------------------------------------------------------------------------

    def round(self) -> None:
        """Put all that is forced now and that the replica lacks.

        Large checkpoints, and all of a run of which the replica has nothing yet, need an image:
        see `build`.
        """
        self._settle()
        for tries in range(_TRIES):
            try:
                self._put_all()
                break
            except FileNotFoundError:  # a checkpoint was pruned while it was read
                if tries == _TRIES - 1:
                    raise

    def _put_all(self) -> None:
        look = self._files.look()
        if self._head is None or not self.is_begun:
            if self._making is None and look.files:
                self._make(look, [])
            return
        while self._put_next(look, self._head):
            pass
        is_new = look.generation > self._head.base
        is_long = self._chain.number - self._head.since >= LONG
        # Only an image lets go of the pieces of files that a small checkpoint has superseded.
        is_heavy = any(one.file not in self._head.files for one in self._pieces)
        if self._making is None and (is_new or is_long or is_heavy):
            self._make(look, self._present_pieces(self._head))

    def _put_next(self, look: Look, head: Data) -> bool:
        """Put the next bytes that are missing; return whether there were any."""
        files, parts, room = dict(head.files), [], PIECE
        cut: dict[str, int | None] = {}
        whole = head.whole
        for file, length in _later(look.files, FileName("log", head.base)).items():
            have = files.get(file, 0)
            if have < length:
                size = min(room, length - have)
                parts += [Part(file, have, size)] if size else []
                files[file] = have + size
                room -= size
                if files[file] < length:  # what comes after needs all of it
                    cut = {one: whole.get(one) for one in files if files[one] != whole.get(one)}
                    break
        else:
            if look.checkpoint and look.generation > head.base and look.size <= SMALL:
                parts.append(Part(str(look.checkpoint), 0, look.size))
                files = {**_later(files, look.checkpoint), str(look.checkpoint): look.size}
        has_ended = look.status.get("state", RUNNING) != RUNNING and look.status != head.status
        if parts or has_ended:
            self._send(look, files, parts, cut=cut)
        return bool(parts)

    def renew(self) -> bool:
        """Let the next round copy all anew if any object is gone; return whether one is."""
        if self._head is None or not self.is_begun:
            return False
        keys = map(self._chain.key_of, self._head.needed)
        if self._chain.lists([*keys, *(one.key for one in self._pieces)]):
            return False
        self.has_lost = True
        self._head = replace(self._head, run="")
        return True

    def close(self) -> None:
        """Release what was not put: the files that were kept open, and the memory of an object."""
        self._sent = None
        self._end_making()

    # -- images ----------------------------------------------------------------------------

    def build(self) -> bool:
        """Put one piece of the image that is being made, or the image; return if more is to do."""
        self._settle()
        making = self._making
        if making is None:
            return False
        if making.generation < self.base:  # its logs may be pruned by now
            self._end_making()
            return False
        look = self._files.look()
        files = making.files(look)
        part = making.next_piece(files)
        if part is None:
            self._send(look, files, making.tails(files), making)
            return False
        content = self._files.read(*part)
        key = self._chain.next_piece()
        self._litter[1].append(key)  # unless it becomes a part of an image
        self._chain.objects.put(key, [content])
        making.pieces.append(Piece(*part, key, hashlib.sha256(content).hexdigest()))
        return True

    def _present_pieces(self, head: Data) -> list[Piece]:
        """Return the pieces for a new image; none if objects are gone.

        Somebody may have emptied the bucket, or a rule that deletes what is old. So the image
        before is asked for, and the oldest piece.
        """
        keys = [self._chain.key_of(head.since), *(one.key for one in self._pieces[:1])]
        if all(map(self._chain.is_there, keys)):
            return self._pieces
        self.has_lost = True
        return []

    def _make(self, look: Look, pieces: list[Piece]) -> None:
        """Begin to make an image."""
        if look.checkpoint:
            try:
                self._files.keep(look.checkpoint)
            except FileNotFoundError:  # it was pruned, since there is a newer one
                return
        self._making = _Making(look, pieces)

    def _end_making(self) -> None:
        self._making = None
        self._files.release()

    # -- objects ---------------------------------------------------------------------------

    def _send(
        self,
        look: Look,
        files: dict[str, int],
        parts: list[Part],
        image: _Making | None = None,
        cut: Mapping[str, int | None] = MappingProxyType({}),
    ) -> None:
        """Put the next object: bytes that were missing, or an image."""
        head, number = self._head, self._chain.number + 1
        data = Data(
            name=self._chain.name,
            number=number,
            writer=self._chain.writer,
            time=process.time(),
            epoch=self._chain.epoch,
            run=self._files.run,
            since=number if head is None or image else head.since,
            swept=head.swept if head else 0,
            history=self._history(number),
            claims=[] if head is None or image else head.claims,
            files=files,
            cut=dict(cut),
            rewritten={} if head is None or image else head.rewritten,
            checks=self._checks(files),
            parts=parts,
            pieces=image.pieces if image else [],
            status=look.status,
        )
        content = [self._files.read(*part) for part in parts]
        self._sent = self._chain.encode(data, content), data
        self._settle()

    def _history(self, number: int) -> int:
        """Return since which number the run was only added to, if the next one is `number`."""
        head = self._head
        is_same = head is not None and head.run in ("", self._files.run)
        return head.history if head is not None and is_same and head.history else number

    def _checks(self, files: Mapping[str, int]) -> dict[str, str]:
        known = self._head.checks if self._head and self.is_begun else {}
        logs = [file for file in files if file.startswith("log-")]
        return {log: known.get(log) or self._files.check_of(log) for log in logs}

    def _settle(self) -> None:
        """Put the object that was composed, until it is known to be there."""
        if self._sent is None:
            return
        data, sent = self._sent
        self._chain.put(data)
        before, self._head, self._sent = self._head, sent, None
        self.base = sent.base
        if sent.since == sent.number:
            self._end_making()
            self._drop(before, sent)
            self._clean()

    def _drop(self, before: Data | None, image: Data) -> None:
        """Take note of what an image makes superfluous; claims stay forever."""
        numbers, pieces = self._litter
        if before is not None:
            numbers += {*range(before.since, image.number)} - {*before.claims}
        kept = {one.key for one in image.pieces}
        pieces += [one.key for one in self._pieces]
        pieces[:] = [key for key in pieces if key not in kept]
        self._pieces = image.pieces

    def _clean(self) -> None:
        """Delete what is superfluous; if the store refuses, the next image tries again."""
        numbers, pieces = self._litter
        with contextlib.suppress(StorageError):
            self._chain.delete(numbers, pieces)
            numbers.clear()
            pieces.clear()
            assert self._head is not None
            self._head = replace(self._head, swept=self._head.since)


def _is_valid(piece: Piece, head: Data) -> bool:
    """Return whether a piece of the image has the bytes that its file has now."""
    length = head.files.get(piece.file, 0)
    return piece.offset + piece.length <= min(length, head.rewritten.get(piece.file, length))


def _later(files: Mapping[str, int], first: FileName | None) -> dict[str, int]:
    """Return output files, and files of the run of the generation of `first` or later."""
    begin = first.generation if first else 0
    return {
        file: length
        for file, length in files.items()
        if (name := FileName.parse(file)) is None or name.generation >= begin
    }
