"""Tests of getting several objects at a time."""

from __future__ import annotations

from collections.abc import Iterator

from trax.replica.ahead import ahead


def test_few_objects_are_in_memory_at_a_time() -> None:
    """Eight, however many there are; these are got by threads, since answers take long."""
    begun = 0

    def keys() -> Iterator[int]:
        nonlocal begun
        for begun in range(1, 101):
            yield begun

    most = 0
    for number, got in enumerate(ahead(str, keys()), 1):
        assert got == str(number)
        most = max(most, begun - number + 1)
    assert number == 100
    assert most == 8
