"""A few random plain loops; ``python tests/plain_storm.py --seconds 3600`` tries many."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import plain_storm
import pytest

EACH = 8  # programs


@pytest.mark.parametrize("first", range(0, 80, EACH))
def test_a_plain_loop_that_is_killed_again_and_again_ends_as_if_it_had_not_been(
    first: int, tmp_path: Path, count: Callable[[str, int], None]
) -> None:
    """Also while steps are run again; what cannot be resumed is refused before the first step."""
    done = subprocess.run(
        [
            *(sys.executable, plain_storm.__file__, "--jobs", "1"),
            *("--first", str(first), "--count", str(EACH), "--place", str(tmp_path)),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    counts = plain_storm.counts_in(done.stdout)
    assert counts["programs"] == EACH
    assert counts["catch-ups"]
    count("kills of plain loops survived", counts["kills"])
    count("files of plain loops damaged between kills", counts["damages"])
