"""Memory for bytes that are read: a bytearray like any other, of which no page is touched."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from trax.storage.fresh_memory import fresh_memory

LARGE = 1 << 26


def resident() -> int:
    """Return the bytes of memory that this process has touched."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


@pytest.mark.parametrize("size", [0, 1, 1000, (1 << 22) - 1, 1 << 22, LARGE + 1])
def test_it_is_a_bytearray_of_its_size(size: int) -> None:
    """It can be filled, changed, made longer, and compared."""
    memory = fresh_memory(size)
    assert type(memory) is bytearray
    assert len(memory) == size
    memory[:] = b"x" * size
    memory += b"y"
    assert memory == b"x" * size + b"y"


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="only Linux tells")
def test_large_memory_is_not_cleared() -> None:
    """To clear it takes longer than to read a file into it."""
    before = resident()
    memory = fresh_memory(LARGE)
    assert resident() - before < LARGE // 8
    del memory


def test_it_can_be_had_without_ctypes(monkeypatch: pytest.MonkeyPatch) -> None:
    """A Python may be built without it; then the memory is cleared."""
    monkeypatch.setitem(sys.modules, "ctypes", None)
    assert fresh_memory(LARGE) == bytes(LARGE)


def test_memory_that_the_system_does_not_have_is_a_memory_error() -> None:
    """As with any bytearray."""
    with pytest.raises(MemoryError):
        fresh_memory(1 << 56)
