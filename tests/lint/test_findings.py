"""Findings have a place, a rank and ways."""

from __future__ import annotations

from read_loops import found


def test_the_most_certain_come_first() -> None:
    """Then those of earlier lines."""
    text = """
        def loop(state, n):
            total = 0
            for i in range(n):
                total += 1
                state = yield total
        """
    first, second = found(text)
    assert (first.kind, first.line, second.kind, second.line) == ("restart", 4, "carried", 5)
    assert first.rank < second.rank
    assert all(one.ways and one.cause for one in (first, second))
