"""What a process does to real files is recorded, in the words of the model of a disk."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from trax.storage.filesystem import LocalDirectory
from trax.testing.crashes import Disk, Image
from trax.testing.recording import Recorder, common, snapshot, write_image

BEFORE: Image = {"kept": b"old", "moved": b"moved", "within/": b"", "within/one": b"1"}


def change(root: Path) -> None:
    """Do something of each kind: by trax's own directory, and beside it."""
    directory = LocalDirectory(str(root))
    with contextlib.closing(directory.create("new")) as output:
        output.write(b"forced")
        output.sync()
        output.write(b", and not")
    (root / "moved").rename(root / "within" / "moved")
    (root / "within" / "one").unlink()
    (root / "kept").write_bytes(b"new and longer")
    os.link(root / "kept", root / "linked")
    (root / "empty").mkdir()


def recorded(root: Path) -> Recorder:
    """Record that, beginning with the files of `BEFORE`."""
    root.mkdir(mode=0o700)
    write_image(BEFORE, str(root))
    recorder = Recorder(str(root))
    with recorder.recording():
        recorder.mark("begun")
        change(root)
    recorder.close()
    return recorder


def test_the_operations_lead_to_the_files_that_are_there(tmp_path: Path) -> None:
    """And those until the beginning to the files that were there."""
    recorder = recorded(tmp_path / "root")
    disk = Disk()
    for number, operation in enumerate(recorder.operations):
        if number == recorder.begun:
            assert disk.live.image() == BEFORE
        disk.apply(operation)
    assert disk.live.image() == snapshot(str(tmp_path / "root"))


def test_what_was_forced_is_told_from_what_was_not(tmp_path: Path) -> None:
    """Of the new file the first bytes were forced, and then more were written."""
    recorder = recorded(tmp_path / "root")
    new = next(
        operation.file
        for operation in recorder.operations[recorder.begun :]
        if operation.name == "new"
    )
    kinds = [operation.kind for operation in recorder.operations if operation.file == new]
    assert kinds == ["create", "write", "sync", "write"]


def test_a_mark_stands_between_what_came_before_it_and_after(tmp_path: Path) -> None:
    """It has the number of the operations until then."""
    recorder = recorded(tmp_path / "root")
    assert recorder.marks == [(recorder.begun, "begun")]


def test_an_image_is_written_and_read(tmp_path: Path) -> None:
    """With empty files and directories, for the owner alone."""
    image: Image = {"a": b"", "b/": b"", "b/c": b"1", "d/": b""}
    write_image(image, str(tmp_path))
    assert snapshot(str(tmp_path)) == image
    assert {path.stat().st_mode & 0o77 for path in tmp_path.rglob("*")} == {0}


def test_how_much_two_files_have_in_common() -> None:
    """That is how a write is told from what was there."""
    assert common(b"", b"abc") == 0
    assert common(b"abd", b"abc") == 2
    assert common(bytearray(b"ab"), b"abc") == 2
    assert common(b"abc", b"abc") == 3
