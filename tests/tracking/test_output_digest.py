"""Digests of output files: one number for all content, continued and compared from any block."""

from __future__ import annotations

import os
import random
from array import array
from pathlib import Path

import pytest

from trax.tracking.output_digest import BLOCK, Extent, RunningDigest, difference


def opened(content: bytes) -> int:
    """Write a file and return a descriptor to read it."""
    Path("out").write_bytes(content)
    return os.open("out", os.O_RDWR)


def extent_at(digest: RunningDigest, length: int, fd: int = -1) -> Extent:
    """Return the extent at a length."""
    found = Extent.decode(digest.parts(fd, length) or ())
    assert found is not None
    return found


def extent_of(content: bytes, begin: int = 0) -> Extent:
    """Return the extent of some content, written in one piece."""
    digest = RunningDigest(begin, begin, 0)
    digest.update(memoryview(content)[begin:])
    return extent_at(digest, len(content))


SIZES = (0, 1, 100, BLOCK - 1, BLOCK, BLOCK + 1, 2 * BLOCK, 3 * BLOCK + 7)


@pytest.mark.parametrize("size", SIZES)
def test_the_pieces_do_not_matter(size: int) -> None:
    """Nor how often an extent is taken, nor whether checkpoints come between."""
    rng = random.Random(size)
    content = rng.randbytes(size)
    digest = RunningDigest(0, 0, 0)
    done = 0
    while done < size:
        count = min(rng.choice([1, 100, 5000, BLOCK - 1, BLOCK, 2 * BLOCK]), size - done)
        digest.update(memoryview(content)[done : done + count])
        done += count
        extent_at(digest, done)
    assert extent_at(digest, size) == extent_of(content)
    digest.mark_checkpoint()
    digest.mark_checkpoint()
    extent = extent_at(digest, size)
    assert extent.since == size // BLOCK * BLOCK
    fd = opened(content)
    found = RunningDigest.read(fd, extent)
    assert found is not None
    assert found.is_at(size, extent.digest)
    assert difference(fd, [extent]) is None
    os.close(fd)


def test_numbers_are_digested_as_their_bytes() -> None:
    """A file without a buffer passes on what it is given, such as an array."""
    numbers = array("d", range(BLOCK // 8 - 10))
    digest = RunningDigest(0, 0, 0)
    for _ in range(3):
        digest.update(memoryview(numbers))
    content = numbers.tobytes() * 3
    assert extent_at(digest, len(content)) == extent_of(content)


@pytest.mark.parametrize("at", [0, 5, BLOCK - 1, BLOCK, 2 * BLOCK + 3, 3 * BLOCK + 6])
def test_every_changed_byte_is_found(at: int) -> None:
    """All of it by reading all, and what was written since a checkpoint by reading that."""
    content = bytearray(random.Random(1).randbytes(3 * BLOCK + 7))
    digest = RunningDigest(0, 0, 0)
    digest.update(memoryview(content)[: 2 * BLOCK])
    earlier = extent_at(digest, 2 * BLOCK)
    digest.mark_checkpoint()
    digest.mark_checkpoint()
    digest.update(memoryview(content)[2 * BLOCK :])
    extent = extent_at(digest, len(content))
    content[at] ^= 1
    fd = opened(bytes(content))
    assert (RunningDigest.read(fd, extent) is None) == (at >= 2 * BLOCK)
    wrong = (0, 2 * BLOCK) if at < 2 * BLOCK else (2 * BLOCK, len(content))
    assert difference(fd, [earlier, extent]) == wrong
    assert difference(fd, [extent]) == wrong
    os.close(fd)


def test_what_was_there_before_is_not_covered() -> None:
    """The digest begins where the run began to write."""
    content = b"before" + b"of the run"
    extent = extent_of(content, 6)
    fd = opened(b"BEFORE" + content[6:])
    assert RunningDigest.read(fd, extent) is not None
    assert difference(fd, [extent]) is None
    os.pwrite(fd, b"!", 6)
    assert RunningDigest.read(fd, extent) is None
    assert difference(fd, [extent]) == (6, 16)
    os.close(fd)


def test_what_others_write_is_read(tmp_path: Path) -> None:
    """Such as a child process that has the file as its standard output; and after a cut."""
    digest = RunningDigest(0, 0, 0)
    digest.update(memoryview(b"mine, "))
    extent_at(digest, 6)
    digest.update(memoryview(b"mine again"))
    content = b"mine, theirs, mine again"
    fd = opened(content)
    assert extent_at(digest, len(content), fd) == extent_of(content)
    large = content + bytes(2 * BLOCK)
    os.pwrite(fd, large, 0)
    assert extent_at(digest, len(large), fd) == extent_of(large)
    os.ftruncate(fd, 4)
    assert digest.parts(fd, 4) is None  # it was cut
    os.close(fd)


@pytest.mark.parametrize("size", [0, 7, 10, BLOCK + 10])
def test_an_extent_is_stored_and_decoded(size: int) -> None:
    """Of an earlier version there is a length alone, which covers nothing."""
    extent = extent_of(bytes(size))
    assert Extent.decode(extent.encode()) == extent
    fd = opened(b"x" * size)
    old = Extent.decode([size.to_bytes(8, "little")])
    assert old == Extent.uncovered(size)
    assert RunningDigest.read(fd, old) is not None
    os.close(fd)


@pytest.mark.parametrize(
    "parts", [[], [b"7 bytes"], [bytes(8), bytes(24)], [bytes(16)], [bytes(16), bytes(16)]]
)
def test_impossible_parts_are_none(parts: list[bytes]) -> None:
    """Whatever is in them."""
    assert Extent.decode(parts) is None
    length, start = Extent(5, 6, 7, 0, 0).encode()
    assert Extent.decode([length, start]) is None
