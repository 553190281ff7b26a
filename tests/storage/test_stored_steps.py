"""The steps whose states can be had."""

from __future__ import annotations

import pytest
from support import NAME, flipped, write

from trax.keep import Keep, keep_every
from trax.storage.run_reader import RunReader
from trax.storage.stored_steps import describe_steps, no_state, stored_steps
from trax.testing.memory import MemoryDirectory


@pytest.mark.parametrize(
    ("text", "keep", "steps"),
    [
        ("", 2, []),
        ("caaa", 2, [range(4)]),
        ("cacacac", 2, [range(2, 4)]),
        ("cacacac", 9, [range(4)]),
        ("caaCaaCa", 9, [range(6)]),
        ("caaCCCCaaCa", 9, [range(6)]),
        ("caaCaCaaCaCa", keep_every(steps=4), [range(3), range(5, 8)]),
        ("ca|a|aca|a", 1, [range(3, 6)]),
    ],
)
def test_they_go_from_the_oldest_checkpoint_on(
    text: str, keep: int | Keep, steps: list[range]
) -> None:
    """To the last increment."""
    directory = MemoryDirectory()
    write(directory, text, keep=keep)
    assert stored_steps(directory, RunReader(directory, NAME)) == steps


def test_damage_makes_them_fewer() -> None:
    """What cannot be read does not count, and is no error here."""
    directory = MemoryDirectory()
    write(directory, "cacaca", keep=9)
    files = directory.files()
    files["checkpoint-00000001"] = files["checkpoint-00000001"][:10]
    files["log-00000003"] = flipped(files["log-00000003"], -1)
    directory = MemoryDirectory(files)
    assert stored_steps(directory, RunReader(directory, NAME)) == [range(1, 3)]


@pytest.mark.parametrize(
    ("ranges", "text"),
    [
        ([], ""),
        ([range(3, 4)], "3"),
        ([range(3, 4000)], "3 to 3,999"),
        ([range(2), range(3, 4)], "0 to 1 and 3"),
        ([range(n, n + 1) for n in range(0, 90, 10)], "0, 10, ..., 70 and 80"),
    ],
)
def test_they_are_told_in_a_line(ranges: list[range], text: str) -> None:
    """However many there are."""
    assert describe_steps(ranges) == text


def test_the_error_says_what_to_do() -> None:
    """A way on where there is one."""
    assert (
        str(no_state("run", "/store", 7, [])) == "no state of step 7 of 'run' is stored in /store."
    )
    lines = str(no_state("run", "/store", 7, [range(8, 10)])).splitlines()
    assert lines[1] == "Give one of these steps: 8 to 9."
    assert "keep='all'" in lines[2]
    assert len(str(no_state("run", "/store", 10, [range(8, 10)])).splitlines()) == 2
