"""The items that are done, known by the digests of their keys, in some 20 bytes each."""

from __future__ import annotations

__all__ = ["Keys"]

_DIGEST = 16  # bytes
_SIZE = _DIGEST + 1  # of an entry: a digest, and whether its item has come
_FULL = 16  # entries on a shelf, on the average
_CAME, _EXPECTED = b"\x01", b"\x00"


class Keys:
    """A set of digests of 16 bytes, each with the mark whether its item has come in this pass.

    Digests with the same last bits lie on one shelf: one object of bytes, in which they follow one
    another. A set of Python takes five times as much memory. When the shelves are full, there are
    twice as many.

    Parameters
    ----------
    digests : bytes
        Those that it begins with, one after the other; their items have not come.

    Attributes
    ----------
    missing : int
        The number of digests whose items have not come.
    """

    def __init__(self, digests: bytes = b"") -> None:
        self.missing = 0
        self._count = 0
        self._shelves = [b""]
        for at in range(0, len(digests), _DIGEST):
            self.add(digests[at : at + _DIGEST], came=False)

    def __len__(self) -> int:
        return self._count

    def add(self, digest: bytes, *, came: bool) -> bool:
        """Add a digest, unless it is there; return whether it was added."""
        number, at = self._find(digest)
        if at >= 0:
            return False
        self._shelves[number] += digest + (_CAME if came else _EXPECTED)
        self._count += 1
        self.missing += not came
        if self._count > _FULL * len(self._shelves):
            self._split()
        return True

    def meet(self, digest: bytes) -> bool | None:
        """Mark that the item has come; return whether it had before, or None if it is not there."""
        number, at = self._find(digest)
        if at < 0:
            return None
        shelf, mark = self._shelves[number], at + _SIZE - 1
        if shelf[mark : mark + 1] == _CAME:
            return True
        self._shelves[number] = shelf[:mark] + _CAME + shelf[mark + 1 :]
        self.missing -= 1
        return False

    def digests(self) -> bytes:
        """Return all digests, one after the other."""
        joined = bytearray().join(self._shelves)
        del joined[_DIGEST::_SIZE]
        return bytes(joined)

    def _find(self, digest: bytes) -> tuple[int, int]:
        """Return the number of the shelf of a digest, and the place of its entry there, or -1."""
        number = _number(digest) & (len(self._shelves) - 1)
        shelf = self._shelves[number]
        at = shelf.find(digest)
        while at > 0 and at % _SIZE:  # parts of two entries
            at = shelf.find(digest, at + 1)
        return number, at

    def _split(self) -> None:
        """Move the entries whose next bit is set to as many new shelves."""
        bit = len(self._shelves)
        for number in range(bit):
            shelf, stay, move = self._shelves[number], list[bytes](), list[bytes]()
            for at in range(0, len(shelf), _SIZE):
                entry = shelf[at : at + _SIZE]
                (move if _number(entry[:-1]) & bit else stay).append(entry)
            self._shelves[number] = b"".join(stay)
            self._shelves.append(b"".join(move))


def _number(digest: bytes) -> int:
    return int.from_bytes(digest[-4:], "little")
