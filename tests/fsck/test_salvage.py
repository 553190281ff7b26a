"""Counting the increments after a flaw: never too many, and exact where that is said."""

from __future__ import annotations

import pytest
from harm import Truth, mend, store
from support import changed, flipped

from trax.fsck.salvage import count_increments
from trax.storage.records import HEADER_SIZE
from trax.testing.memory import MemoryDirectory


@pytest.mark.parametrize(("byte", "is_exact"), [(8, True), (1, False), (6, False)])
def test_steps_between_damaged_records_are_counted_where_their_lengths_hold(
    byte: int, is_exact: bool
) -> None:
    """Two records do not hold, and one does behind them."""
    files = store("caaaaae")
    name = "log-00000001"
    [_, first, second, *_] = [HEADER_SIZE, *Truth(files).logs[1].ends]
    log = flipped(flipped(files[name], first + byte), second + 9)
    plan = mend(MemoryDirectory(changed(files, name, log)))
    assert (plan.step, plan.is_exact) == (1, is_exact)
    assert plan.lost == (4 if is_exact else 2)


@pytest.mark.parametrize("number", range(5))
def test_whole_records_after_a_damaged_one_are_found(number: int) -> None:
    """Each is seeded with the checksum before it, whichever record is damaged."""
    files = store("caaaaae")
    [begin, *_] = [HEADER_SIZE, *Truth(files).logs[1].ends][number:]
    log = flipped(files["log-00000001"], begin + 9)
    source = MemoryDirectory({"log": log}).open("log")
    assert count_increments(source, begin, len(log), inside=False) == (5 - number, True)


def test_a_log_that_is_cut_within_a_record_does_not_say_how_many_there_were() -> None:
    """What is there is counted, and more may be gone."""
    files = store("caaaaae")
    [first, second, *_] = Truth(files).logs[1].ends
    log = files["log-00000001"][: second - 3]
    source = MemoryDirectory({"log": log}).open("log")
    assert count_increments(source, first, len(log), inside=False) == (0, False)
