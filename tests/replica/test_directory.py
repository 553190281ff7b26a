"""Objects in a directory: never torn, never lost after a put, never in the wrong place."""

from __future__ import annotations

import errno
import os
import re
import signal
import stat
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from trax import UntrustedError
from trax.replica.directory import DirectoryObjects, open_directory
from trax.replica.seam import Away, Missing, Refused
from trax.storage.filesystem import LocalDirectory
from trax.storage.process import process


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "objects"


@pytest.fixture
def objects(root: Path) -> DirectoryObjects:
    return open_directory(str(root))


def files(root: Path) -> list[str]:
    return sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.is_file())


# -- a put is whole, durable and alone -----------------------------------------------------

PUT_FOREVER = """
import sys
from trax.replica.directory import open_directory
objects = open_directory("objects")
number = int(sys.argv[1])
print(number, flush=True)
while True:
    number += 1
    objects.put(f"a/{number}", [b"%d" % number] * 100_000)
"""


def test_one_that_is_killed_leaves_whole_objects(objects: DirectoryObjects, root: Path) -> None:
    number = 0
    for _ in range(5):
        with subprocess.Popen(
            [sys.executable, "-c", PUT_FOREVER, str(number)], stdout=subprocess.PIPE
        ) as killed:
            assert killed.stdout is not None
            killed.stdout.readline()
            while len(list(objects.list("a"))) <= number:
                pass
            killed.send_signal(signal.SIGKILL)
        found = [key for key, _ in objects.list("a")]
        number = len(found)
        assert sorted(found) == sorted(f"a/{each + 1}" for each in range(number))
        for each in range(number):
            assert objects.get(f"a/{each + 1}") == b"%d" % (each + 1) * 100_000


def calls_of(objects: DirectoryObjects, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return the list that the calls of the file system by the next puts will be in."""
    calls: list[str] = []

    def noted(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            calls.append(name)
            return function(*args, **kwargs)

        return call

    monkeypatch.setattr(process, "force", noted("sync file", process.force))
    for name in ("link", "remove", "sync"):
        monkeypatch.setattr(LocalDirectory, name, noted(name, getattr(LocalDirectory, name)))
    return calls


def test_the_content_is_on_the_disk_before_its_name(
    objects: DirectoryObjects, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where the object was there: whoever put it may have died before its name was durable."""
    objects.put("a/1", [b"x"])
    calls = calls_of(objects, monkeypatch)
    assert objects.put("a/2", [b"x"])
    assert calls == ["sync file", "link", "remove", "sync"]
    calls.clear()
    assert not objects.put("a/2", [b"x"])
    assert calls == ["sync file", "link", "remove", "sync"]


def test_a_link_whose_answer_was_lost_is_recognized(
    objects: DirectoryObjects, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file server did it, and the second try of the kernel finds the name taken."""
    link = os.link

    def link_twice(*args: Any, **kwargs: Any) -> None:
        link(*args, **kwargs)
        link(*args, **kwargs)

    monkeypatch.setattr(os, "link", link_twice)
    assert objects.put("a/1", [b"mine"])
    assert not objects.put("a/1", [b"other"])
    assert objects.get("a/1") == b"mine"


def test_nobody_else_can_read_it(objects: DirectoryObjects, root: Path) -> None:
    objects.put("runs/a/1", [b"x"])
    modes = {path: stat.S_IMODE(path.stat().st_mode) for path in [root, *root.rglob("*")]}
    assert {mode for path, mode in modes.items() if path.is_dir()} == {0o700}
    assert {mode for path, mode in modes.items() if path.is_file()} == {0o600}


def test_what_was_begun_long_ago_is_removed(objects: DirectoryObjects, root: Path) -> None:
    """By the first put beside it, and no sooner; a list does not show it."""
    objects.put("a/1", [b"x"])
    old, new = root / "a/.old.tmp", root / "a/.new.tmp"
    for path in (old, new):
        path.write_bytes(b"x")
    os.utime(old, (0, 0))
    assert list(objects.list("")) == [("a/1", 1)]
    objects.put("a/2", [b"x"])
    assert old.exists()
    open_directory(str(root)).put("a/3", [b"x"])
    assert not old.exists()
    assert new.exists()


def test_a_put_whose_file_was_swept_away_begins_again(
    objects: DirectoryObjects, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It had been stopped for a day."""
    link = os.link

    def link_later(old: str, new: str, **kwargs: Any) -> None:
        monkeypatch.setattr(os, "link", link)
        (root / "a" / old).unlink()
        link(old, new, **kwargs)

    monkeypatch.setattr(os, "link", link_later)
    assert objects.put("a/1", [b"x"])
    assert objects.get("a/1") == b"x"


def test_empty_directories_go_while_others_put(objects: DirectoryObjects, root: Path) -> None:
    other = open_directory(str(root))
    stop = threading.Event()

    def delete() -> None:
        while not stop.is_set():
            other.delete([key for key, _ in other.list("a")])

    thread = threading.Thread(target=delete)
    thread.start()
    try:
        for number in range(300):
            assert objects.put(f"a/b/c/{number}", [b"x"])
    finally:
        stop.set()
        thread.join()
    other.delete([key for key, _ in other.list("a")])
    assert os.listdir(root) == []


# -- the place -----------------------------------------------------------------------------


def test_it_is_made_if_its_parent_is_there(tmp_path: Path) -> None:
    open_directory(str(tmp_path / "new"))
    assert stat.S_IMODE((tmp_path / "new").stat().st_mode) == 0o700
    with pytest.raises(Refused, match="is not a directory, so no replica can be in it"):
        open_directory(str(tmp_path / "not mounted" / "new"))
    assert not (tmp_path / "not mounted").exists()


def test_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(Refused, match="is not a directory"):
        open_directory(str(tmp_path / "file" / "new"))
    with pytest.raises(UntrustedError, match="is not a directory"):
        open_directory(str(tmp_path / "file"))


@pytest.mark.parametrize("is_replaced", [False, True])
def test_one_that_is_no_longer_mounted_is_away(
    objects: DirectoryObjects, root: Path, *, is_replaced: bool
) -> None:
    """Nothing is missing then, nothing is put into what lies below it, and it can come back."""
    objects.put("a/1", [b"x"])
    root.rename(root.with_name("mounted elsewhere"))
    if is_replaced:
        root.mkdir(0o700)
    for use in (
        lambda: objects.put("a/2", [b"x"]),
        lambda: objects.get("a/1"),
        lambda: objects.read("a/1", 0, 1),
        lambda: objects.list(""),
        lambda: objects.delete(["a/1"]),
    ):
        with pytest.raises(Away, match="no longer mounted"):
            use()
    if is_replaced:
        assert os.listdir(root) == []
        root.rmdir()
    root.with_name("mounted elsewhere").rename(root)
    assert objects.put("a/2", [b"x"])
    assert files(root) == ["a/1", "a/2"]


def test_one_that_is_unmounted_in_the_middle_of_a_put_is_not_made_anew(
    objects: DirectoryObjects, root: Path
) -> None:
    """Else the next machine would find an empty replica there."""

    def parts() -> Iterator[bytes]:
        root.rename(root.with_name("mounted elsewhere"))
        yield b"x"

    objects.put("a/1", [b"x"])
    with pytest.raises(Away, match="no longer mounted"):
        objects.put("a/2", parts())  # type: ignore[arg-type]
    assert not root.exists()


def test_files_of_others_are_not_read(objects: DirectoryObjects, root: Path) -> None:
    objects.put("a/1", [b"x"])
    (root / "a/1").chmod(0o666)
    with pytest.raises(UntrustedError, match="can be written by other users"):
        objects.get("a/1")
    (root / "a/1").chmod(0o600)
    (root / "a").chmod(0o777)
    for use in (
        lambda: objects.get("a/1"),
        lambda: objects.put("a/2", []),
        lambda: objects.list("a"),
    ):
        with pytest.raises(UntrustedError, match="can be written by other users"):
            use()


def test_links_are_not_followed(objects: DirectoryObjects, root: Path, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir(0o700)
    (tmp_path / "other/1").write_bytes(b"secret")
    (root / "a").symlink_to(tmp_path / "other")
    (root / "b").symlink_to(tmp_path / "other/1")
    for use in (
        lambda: objects.get("a/1"),
        lambda: objects.get("b"),
        lambda: objects.put("a/2", [b"x"]),
        lambda: list(objects.list("a")),
        lambda: objects.delete(["a/1"]),
    ):
        with pytest.raises((UntrustedError, Refused, Missing)):
            use()
    assert files(tmp_path / "other") == ["1"]


# -- errors --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("number", "kind"),
    [
        (errno.ESTALE, Away),
        (errno.EIO, Away),
        (errno.ENOSPC, Away),
        (errno.EDQUOT, Away),
        (errno.ETIMEDOUT, Away),
        (errno.EACCES, Refused),
        (errno.EROFS, Refused),
        (errno.EPERM, Refused),  # no hard links
        (errno.EOPNOTSUPP, Refused),
    ],
)
@pytest.mark.parametrize("call", ["open", "link", "fsync"])
def test_errors_that_may_pass_are_told_from_those_that_will_not(
    objects: DirectoryObjects,
    root: Path,
    monkeypatch: pytest.MonkeyPatch,
    call: str,
    number: int,
    kind: type[Exception],
) -> None:
    """Nothing is left of the object, and the next try is like the first."""
    objects.put("a/1", [b"x"])
    with monkeypatch.context() as patch:

        def fail(*args: Any, **kwargs: Any) -> None:
            raise OSError(number, os.strerror(number))

        patch.setattr(os, call, fail)
        room = "; make room there" * (number in (errno.ENOSPC, errno.EDQUOT))
        with pytest.raises(kind, match=f"{re.escape(str(root))}.*{os.strerror(number)}{room}\n"):
            objects.put("a/2", [b"x"])
    if call != "fsync":
        assert files(root) == ["a/1"]
        assert objects.put("a/2", [b"x"])
    else:  # which failed for the directory: the object is there, and perhaps not durable
        assert not objects.put("a/2", [b"other"])
        assert objects.get("a/2") == b"x"


def test_a_disk_that_is_full_leaves_nothing(
    objects: DirectoryObjects, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    objects.put("a/1", [b"x"])

    def fail(fd: int) -> None:
        raise OSError(errno.ENOSPC, "full")

    monkeypatch.setattr(process, "force", fail)
    with pytest.raises(Away, match="full"):
        objects.put("a/2", [b"x"])
    assert files(root) == ["a/1"]


def test_no_replica_is_in_a_store(tmp_path: Path) -> None:
    """Whatever else is there; what is there already may be read."""
    (tmp_path / "store" / "locks").mkdir(parents=True)
    with pytest.raises(Refused, match="store is a store, so no replica can be in it"):
        open_directory(str(tmp_path / "store"))
    (tmp_path / "store" / "probe").touch()
    with pytest.raises(Refused, match="store is a store, so no replica can be in it"):
        open_directory(str(tmp_path / "store"))
    open_directory(str(tmp_path / "store"), makes=False)
