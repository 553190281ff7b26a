"""The errors for files that cannot be read."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest
from support import Writer, changed, flipped, of_version, read
from test_run_reader import LAST_LOG, NEW_CHECKPOINT, NEW_LOG, store

from trax import CorruptionError, FormatVersionError
from trax.storage.messages import not_stored
from trax.storage.records import HEADER_SIZE
from trax.testing.memory import MemoryDirectory


def test_the_error_says_what_where_and_what_next() -> None:
    """The file, the offset, the reason, that nothing was changed, and the ways on."""
    files = store("interval", False)
    damaged = flipped(files[NEW_LOG], HEADER_SIZE + 3)
    with pytest.raises(CorruptionError) as caught:
        read(MemoryDirectory(changed(files, NEW_LOG, damaged)))
    message = str(caught.value)
    assert message.startswith(f"<memory>/{NEW_LOG} is damaged at offset {HEADER_SIZE}: ")
    assert "Nothing was changed" in message
    assert "copy of the store" in message
    again = pickle.loads(pickle.dumps(caught.value))
    assert (str(again), again.path, again.offset) == (message, caught.value.path, HEADER_SIZE)


@pytest.mark.parametrize("name", [NEW_CHECKPOINT, NEW_LOG, LAST_LOG])
def test_a_file_of_a_newer_version_is_left_alone(name: str, tmp_path: Path) -> None:
    """It is not damage: the error names the version, and neither reader nor writer touches it."""
    files = store("interval", False)
    files = changed(files, name, of_version(files[name], 2))
    directory = MemoryDirectory(files)
    for begin in (read, Writer):
        with pytest.raises(FormatVersionError, match=f"{name} is of format version 2") as caught:
            begin(directory)
        assert caught.value.path == f"<memory>/{name}"
        assert "Install the trax that wrote it" in str(caught.value)
    assert directory.operations == []
    assert directory.files() == files


def test_a_name_that_is_nearly_one_of_a_run_is_told(tmp_path: Path) -> None:
    """As the command does."""
    (tmp_path / "runs" / "s-1").mkdir(parents=True)
    path = str(tmp_path)
    assert "\nDid you mean 's-1'?\nCheck the name" in str(not_stored("s-11", path))
    assert "Did you mean" not in str(not_stored("else", path))
    assert "Did you mean" not in str(not_stored("s-11", path, "Give create= to begin."))
    assert "Did you mean" not in str(not_stored("s-11", "s3://bucket/sweep"))
