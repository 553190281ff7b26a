"""What a new machine gets: files as they were, whole and marked as forced."""

from __future__ import annotations

import errno
import threading
from pathlib import Path

import pytest
from replicas import NAME, Machine, Objects, by_hand  # noqa: F401

from trax import CorruptionError, StorageError
from trax.replica import restore as restoring
from trax.storage.process import process
from trax.storage.records import decode_durable

pytestmark = pytest.mark.usefixtures("by_hand")


def replicated(things: str) -> Objects:
    """Return a replica after things were done."""
    objects = Objects()
    machine = Machine(objects, "one")
    machine.do(things)
    machine.close()
    return objects


def restored(objects: Objects, place: str = "two") -> Path:
    """Return the directory of the run on a new machine."""
    Machine(objects, place).kill()
    return Path(place, ".trax", "runs", NAME)


def without_mark(path: Path) -> bytes:
    data = path.read_bytes()
    return data[:1000] + data[1016:]


def test_files_come_back_as_they_were() -> None:
    """All but the durable mark, which is the length: all was forced when it was restored."""
    objects = replicated("aatacaatlaat")
    found = restored(objects)
    before = Path("one", ".trax", "runs", NAME)
    logs = sorted(found.glob("log-*"))
    assert logs
    for log in logs:
        assert without_mark(log) == without_mark(before / log.name)
        assert decode_durable(log.read_bytes()[:1024]) == len(log.read_bytes())
    (checkpoint,) = found.glob("checkpoint-*")
    assert checkpoint.read_bytes() == (before / checkpoint.name).read_bytes()


def test_the_mark_of_an_empty_log_says_whether_its_checkpoint_counts() -> None:
    objects = Objects()
    machine = Machine(objects, "one")
    machine.do("at")
    machine.held.writer.begin_log()
    machine.do("t")
    found = restored(Objects(objects.contents))
    marks = [decode_durable(log.read_bytes()[:1024]) for log in sorted(found.glob("log-*"))]
    assert marks[-1] == 0 < marks[0]
    machine.do("cat")
    machine.close()


@pytest.mark.parametrize("change", ["removed", "changed", "cut"])
def test_damage_is_never_restored(change: str) -> None:
    """Of any object that is needed; nothing is changed on the disk then."""
    objects = replicated("oatalaotat")
    needed = [key for key in objects.contents if not key.endswith("000001")]
    assert len(needed) > 3
    for number, key in enumerate(needed):
        broken = Objects(objects.contents)
        content = broken.contents.pop(key)
        if change != "removed":
            half = len(content) // 2
            rest = bytes([content[half] ^ 1]) + content[half + 1 :] if change == "changed" else b""
            broken.contents[key] = content[:half] + rest
        if change == "removed" and key == max(k for k in needed if "piece" not in k):
            continue  # the state before is a state of the run
        with pytest.raises(CorruptionError, match="the replica of 'magnet' is damaged"):
            Machine(broken, f"other-{number}")
        assert not Path(f"other-{number}/.trax/runs/{NAME}").exists()
        assert not Path(f"other-{number}/out.txt").exists()


def test_a_disk_that_fails_once_is_not_trusted(monkeypatch: pytest.MonkeyPatch) -> None:
    """While a large file is still being written: the disk would not tell of it again at the end."""
    objects = replicated("oatalaotat")
    monkeypatch.setattr(restoring, "_UNFORCED", 1)
    failed: list[int] = []

    def fail_once(fd: int) -> None:
        if threading.current_thread() is not threading.main_thread() and not failed:
            failed.append(fd)
            raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(process, "force", fail_once)
        with pytest.raises(StorageError, match="Input/output error"):
            restored(objects)
    assert failed
    assert not Path("two/.trax/runs", NAME).exists()
    assert list(restored(objects).glob("checkpoint-*"))


def test_an_output_file_with_other_content_is_kept(caplog: pytest.LogCaptureFixture) -> None:
    objects = replicated("oot")
    Path("two").mkdir()
    Path("two/out.txt").write_text("mine\n")
    restored(objects)
    assert Path("two/out.txt").read_text() == "0o\n1o\n"
    assert Path("two/out.txt~1").read_text() == "mine\n"
    assert "out.txt had other content than in the replica; it is kept as" in caplog.text


def test_an_output_file_that_is_there_is_left() -> None:
    """It may be longer: it is cut back when the run goes on."""
    objects = replicated("oot")
    Path("two").mkdir()
    Path("two/out.txt").write_text("0o\n1o\n2o\n")
    inode = Path("two/out.txt").stat().st_ino
    restored(objects)
    assert Path("two/out.txt").read_text() == "0o\n1o\n"
    assert Path("two/out.txt").stat().st_ino == inode
    assert sorted(path.name for path in Path("two").iterdir()) == [".trax", "out.txt"]
