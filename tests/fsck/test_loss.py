"""How many steps a repair loses, and whether that is known."""

from __future__ import annotations

import pytest
from harm import always, store
from support import NAME, changed, flipped

from trax.fsck.loss import count_lost
from trax.fsck.prefix import prefixes
from trax.fsck.scan import Scan
from trax.storage.codec import encode
from trax.storage.run_reader import RunReader
from trax.storage.run_writer import RunWriter
from trax.testing.memory import MemoryDirectory


def lost(files: dict[str, bytes]) -> tuple[int, int, bool]:
    """Return what the best prefix of a store loses."""
    directory = MemoryDirectory(files)
    scan = Scan(directory, NAME)
    return count_lost(scan, next(prefixes(directory, scan, always)))


def test_without_damage_nothing_is_lost() -> None:
    """And that is known."""
    assert lost(store("aacaaca|aasaa")) == (9, 0, True)


@pytest.mark.parametrize(
    ("name", "offset", "expected"),
    [
        ("log-00000004", 1033, (5, 4, True)),  # its records are counted
        ("log-00000004", 10, (5, 4, False)),  # without its header block it may begin later
        ("log-00000003", 1033, (4, 5, True)),  # with those of the log after it
    ],
)
def test_steps_after_a_flaw_are_counted(
    name: str, offset: int, expected: tuple[int, int, bool]
) -> None:
    """Whatever of a log is damaged."""
    files = store("aacaaca|aasaa")
    assert lost(changed(files, name, flipped(files[name], offset))) == expected


def test_where_a_file_is_gone_there_may_have_been_more() -> None:
    """Nothing tells how many steps the last log had."""
    files = store("aacaaca|aasaa")
    kept = {name: files[name] for name in files if not name.startswith("log-")}
    assert lost(kept) == (4, 0, False)
    cut = changed(files, "log-00000004", files["log-00000004"][:500])
    assert lost(cut) == (5, 0, False)


def test_steps_that_are_not_logged_are_counted_as_the_checkpoint_says() -> None:
    """The run counts them, the logs do not."""
    directory = MemoryDirectory()
    generations = RunWriter(directory, NAME, sync="interval", keep=2, report=print)
    generations.adopt(RunReader(directory, NAME))
    generations.checkpoint({"step": 100}, {"state": encode(0, "state")}, derived=True)
    for number in range(3):
        generations.append(encode(number, "increment"))
    generations.close()
    files = directory.files()
    [name] = [name for name in files if name.startswith("log-")]
    assert lost(files) == (103, 0, True)
    assert lost(changed(files, name, flipped(files[name], 1033))) == (100, 3, True)
