"""Files in which each pickle leaves a trace where it is loaded, for tests that none is."""

from __future__ import annotations

import os
import struct
from collections.abc import Callable, Iterator
from pathlib import Path

from support import flipped

from trax.storage.codec import encode
from trax.storage.records import END, HEADER_SIZE, OVERHEAD, PICKLE, pieces

__all__ = ["Canary", "records", "restore", "with_canaries", "with_records"]


class Canary:
    """A pickle that leaves a trace where it is loaded."""

    def __reduce__(self) -> tuple[Callable[[str], None], tuple[str]]:
        return os.mkdir, ("loaded",)


def records(content: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield the kind and the payload of each record."""
    begin = HEADER_SIZE
    while begin < len(content):
        (word,) = struct.unpack_from("<Q", content, begin)
        yield word & 0xFF, content[begin + 8 : begin + 8 + (word >> 8)]
        begin += OVERHEAD + (word >> 8)


def with_records(content: bytes, those: list[tuple[int, bytes]], spoilt: int = -1) -> bytes:
    """Return a file with other records behind its header block; all checksums right but one."""
    chain = struct.unpack("<Q", content[HEADER_SIZE - 8 : HEADER_SIZE])[0]
    content = content[:HEADER_SIZE]
    for index, (kind, payload) in enumerate(those):
        head, check, chain = pieces(kind, payload, chain)
        content += head + payload + (flipped(check, 0) if index == spoilt else check)
    return content


def with_canaries(content: bytes, *, right: bool = True) -> Iterator[bytes]:
    """Yield the file with each pickle in it replaced, and all checksums right, or that one not."""
    those = list(records(content))
    for index, (kind, payload) in enumerate(those):
        if kind & 0x7F == PICKLE:
            canary = bytes(encode(Canary(), "canary").payload)
            forged = [*those]
            forged[index] = kind, canary
            for at, (other, end) in enumerate(forged):
                if other == END:
                    size = struct.unpack("<Q", end)[0] + len(canary) - len(payload)
                    forged[at] = END, struct.pack("<Q", size)
            yield with_records(content, forged, -1 if right else index)


def restore(directory: Path, files: dict[str, bytes]) -> None:
    """Make these the files of a run."""
    for path in directory.iterdir():
        path.unlink()
    for name, content in files.items():
        directory.joinpath(name).touch(0o600)
        directory.joinpath(name).write_bytes(content)
