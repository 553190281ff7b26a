"""The directory in memory: everything that a power cut could leave, and nothing that it could not.

That it behaves as the local disk does is in test_files.
"""

from __future__ import annotations

from trax.testing.memory import MemoryDirectory, crash_images


def images(directory: MemoryDirectory) -> list[dict[str, bytes]]:
    """Return what a power cut could leave now."""
    return list(crash_images(directory.operations))


def test_what_is_forced_is_there() -> None:
    """A file whose content and name were forced has one image."""
    directory = MemoryDirectory()
    output = directory.create("file")
    output.write(b"content")
    output.sync()
    directory.sync()
    assert images(directory) == [{"file": b"content"}]


def test_a_name_that_is_not_forced_may_be_missing() -> None:
    """Forcing a file does not force the directory that it is in."""
    directory = MemoryDirectory()
    output = directory.create("file")
    output.write(b"content")
    output.sync()
    assert {} in images(directory)
    assert {"file": b"content"} in images(directory)


def test_writes_that_are_not_forced_may_be_missing_torn_or_reordered() -> None:
    """The name without the bytes, the second write without the first, the length without both."""
    directory = MemoryDirectory()
    output = directory.create("file")
    directory.sync()
    output.write(b"aaaa")
    output.write(b"bbbb")
    found = {image["file"] for image in images(directory)}
    assert found == {
        *(b"", b"aa", b"aaaa", b"aaaabb", b"aaaabbbb", b"aa\0\0bbbb", b"\0\0\0\0bbbb"),
        *(b"\0\0\0\0", b"aa\0\0", b"aaaabb\0\0", b"aaaa\0\0\0\0"),
    }


def test_a_large_write_is_torn_at_every_sector() -> None:
    """Of 512 bytes, behind which nothing of it has arrived."""
    directory = MemoryDirectory()
    output = directory.create("file")
    directory.sync()
    output.write(b"x" * 2000)
    assert {len(image["file"]) for image in images(directory)} == {0, 512, 1000, 1024, 1536, 2000}


def test_a_rename_without_a_sync_can_leave_an_empty_file() -> None:
    """The mistake that so many savers make, and that the images must show."""
    directory = MemoryDirectory({})
    old = directory.create("state")
    old.write(b"old")
    old.sync()
    directory.sync()
    new = directory.create("state.tmp")
    new.write(b"new")
    directory.rename("state.tmp", "state")
    assert {"state": b""} in images(directory)
    assert {"state": b"old"} in images(directory)
    assert {"state": b"new"} in images(directory)


def test_a_removed_file_can_come_back() -> None:
    """Until the directory is forced."""
    directory = MemoryDirectory()
    output = directory.create("file")
    output.write(b"content")
    output.sync()
    directory.sync()
    directory.remove("file")
    assert {image.get("file") for image in images(directory)} == {b"content", None}
    directory.sync()
    assert images(directory) == [{}]


def test_names_change_in_order() -> None:
    """A later rename is not on the disk without an earlier one."""
    directory = MemoryDirectory()
    directory.create("a")
    directory.sync()
    directory.rename("a", "b")
    directory.rename("b", "c")
    assert {name for image in images(directory) for name in image} == {"a", "b", "c"}
    assert all(len(image) == 1 for image in images(directory))


def test_a_cut_that_is_not_forced_may_not_have_happened() -> None:
    """The bytes come back."""
    directory = MemoryDirectory()
    output = directory.create("file")
    output.write(b"whole|torn")
    output.sync()
    directory.sync()
    output.truncate(6)
    assert {image["file"] for image in images(directory)} == {b"whole|", b"whole|torn"}
    directory.cut("file", 6)
    assert images(directory) == [{"file": b"whole|"}]


def test_a_directory_can_be_begun_with_files() -> None:
    """These are there, and durable."""
    directory = MemoryDirectory({"one": b"1", "two": b"2"}, boot="another")
    assert directory.files() == {"one": b"1", "two": b"2"}
    assert directory.boot == "another"
    assert directory.operations == []
