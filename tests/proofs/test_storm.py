"""A short storm; ``python tests/storm.py --hours 8`` is a long one."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import pytest
from storm import MODES, Files, Round, shorten_output, write_behind


@pytest.mark.parametrize("number", range(12))
def test_a_loop_that_is_killed_and_damaged_again_and_again_ends_in_the_same_state(
    number: int, tmp_path: Path, count: Callable[[str, int], None]
) -> None:
    """No step is lost, hardly one is done twice, and damage is put right or has a name."""
    seed = f"{random.randrange(1 << 32)}/{number}"
    one = Round(tmp_path, seed, MODES[number % len(MODES)])
    try:
        one.run()
    except BaseException as error:
        error.add_note(f"seed {seed}\n{one.describe()}")
        raise
    count("kills survived", one.counts["kills"])
    count("files damaged between kills", one.counts["damages"])


def test_an_output_file_that_was_made_shorter_is_not_made_longer(tmp_path: Path) -> None:
    """As long as it was, nobody could tell it from the right one, and it could not be put back."""
    path = tmp_path / "out.txt"
    path.write_bytes(bytes(100))
    files = Files(tmp_path)
    rng = random.Random(1)
    assert shorten_output(files, rng)
    assert not write_behind(files, rng)
    files.restore()
    assert path.read_bytes() == bytes(100)
    assert write_behind(files, rng)


def test_damage_that_a_process_put_right_before_it_was_killed_counts(tmp_path: Path) -> None:
    """The next one tells a step that is lower, and by then no file differs any more."""
    one = Round(tmp_path, "1/0", "function")
    log = tmp_path / "log"
    log.write_bytes(bytes(100))
    one._next = 9
    one._files.change(log, bytes(90))
    log.write_bytes(bytes(80))
    one._files.forget()
    one._said = "the end of the log was torn"
    one._check_resumed(7, "")
    one._next = 9
    one._said = "the end of the log was torn"
    with pytest.raises(AssertionError, match="nothing was damaged"):
        one._check_resumed(7, "")
