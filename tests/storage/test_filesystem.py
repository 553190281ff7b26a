"""The seam to the disk: what a directory promises, on disk and in memory, and whom it trusts."""

from __future__ import annotations

import errno
import os
import re
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from faults import FaultyDirectory
from hypothesis import given
from hypothesis import strategies as st
from support import run_script

from trax import StorageError, UntrustedError
from trax.storage import filesystem
from trax.storage.filesystem import (
    Directory,
    LocalDirectory,
    closing_quietly,
    make_directory,
    sync_directory,
    write_all,
)
from trax.storage.process import process
from trax.testing.memory import MemoryDirectory


@pytest.fixture(params=["local", "held", "memory"])
def directory(request: pytest.FixtureRequest, tmp_path: Path) -> Directory:
    """An empty directory of each kind; every test with it is a clause of the contract."""
    if request.param == "memory":
        return MemoryDirectory()
    make_directory(str(tmp_path / "run"))
    return LocalDirectory(str(tmp_path / "run"), holds=request.param == "held")


def put(directory: Directory, name: str, content: bytes) -> None:
    """Write a whole file."""
    output = directory.create(name)
    write_all(output, content)
    output.close()


def get(directory: Directory, name: str) -> bytes:
    """Read a whole file."""
    source = directory.open(name)
    with closing_quietly(source):
        return bytes(source.read_at(0, 1 << 20))


# -- the contract --------------------------------------------------------------------------


def test_a_new_file_is_empty_and_listed(directory: Directory) -> None:
    """Before anything is written to it."""
    assert directory.list() == []
    directory.create("file").close()
    assert directory.list() == ["file"]
    assert get(directory, "file") == b""


def test_what_is_written_is_read(directory: Directory) -> None:
    """Write by write, and each says how many bytes it took."""
    output = directory.create("file")
    assert output.write(b"one") == 3
    assert output.write(memoryview(b"two")) == 3
    assert output.write(b"") == 0
    output.sync()
    output.close()
    assert get(directory, "file") == b"onetwo"


def test_what_is_written_can_be_read_at_once(directory: Directory) -> None:
    """Without a sync and without closing: so it survives the death of the process."""
    output = directory.create("file")
    output.write(b"one")
    assert get(directory, "file") == b"one"
    output.close()


def test_an_open_file_is_seen_to_grow(directory: Directory) -> None:
    """The log of a live writer is read while it is written."""
    output = directory.create("file")
    output.write(b"one")
    source = directory.open("file")
    assert source.size == 3
    output.write(b"two")
    assert source.size == 6
    assert source.read_at(2, 9) == b"etwo"
    source.close()
    output.close()


def test_a_file_is_created_only_once(directory: Directory) -> None:
    """Creating is exclusive: it is the fence between two writers."""
    put(directory, "file", b"mine")
    with pytest.raises(FileExistsError):
        directory.create("file")
    assert get(directory, "file") == b"mine"


@pytest.mark.parametrize(
    "action",
    [
        lambda directory: directory.open("missing"),
        lambda directory: directory.cut("missing", 0),
        lambda directory: directory.rename("missing", "other"),
        lambda directory: directory.remove("missing"),
    ],
    ids=["open", "cut", "rename", "remove"],
)
def test_a_missing_file_is_an_error(
    directory: Directory, action: Callable[[Directory], Any]
) -> None:
    """The same one for whatever is done to it."""
    with pytest.raises(FileNotFoundError) as caught:
        action(directory)
    assert caught.value.errno == errno.ENOENT


def test_reading_stops_at_the_end_of_the_file(directory: Directory) -> None:
    """A size of any magnitude is cut to what is there, and nothing is allocated for the rest."""
    put(directory, "file", b"0123456789")
    source = directory.open("file")
    assert source.size == 10
    assert source.read_at(3, 4) == b"3456"
    assert source.read_at(8, 1 << 60) == b"89"
    assert source.read_at(10, 5) == b""
    assert source.read_at(1 << 40, 5) == b""
    source.close()


def test_what_is_read_is_memory_of_its_own(directory: Directory) -> None:
    """It can be written to without changing the file."""
    put(directory, "file", b"content")
    source = directory.open("file")
    source.read_at(0, 7)[:] = b"xxxxxxx"
    assert source.read_at(0, 7) == b"content"
    source.close()


def test_a_writer_cuts_and_goes_on_there(directory: Directory) -> None:
    """So a record that failed leaves no trace."""
    output = directory.create("file")
    write_all(output, b"whole|torn")
    output.truncate(6)
    write_all(output, b"next")
    output.close()
    assert get(directory, "file") == b"whole|next"


def test_overwriting_does_not_move_the_end(directory: Directory) -> None:
    """Bytes are replaced in place; what is written next still goes to the end."""
    output = directory.create("file")
    write_all(output, b"mark=0;one")
    output.overwrite(5, b"7")
    write_all(output, b"two")
    output.close()
    assert get(directory, "file") == b"mark=7;onetwo"


def test_cutting_only_ever_shortens(directory: Directory) -> None:
    """A length beyond the end leaves the file as it is."""
    put(directory, "file", b"0123456789")
    directory.cut("file", 1 << 62)
    assert get(directory, "file") == b"0123456789"
    directory.cut("file", 4)
    assert get(directory, "file") == b"0123"


def test_what_is_not_known_to_be_forced_is_written_again_when_a_file_is_cut(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a sync that failed, forcing it once more would not bring it to the disk."""
    directory = LocalDirectory(str(tmp_path))
    put(directory, "file", b"0123456789")
    written: list[tuple[bytes, int]] = []
    pwrite = os.pwrite

    def watch(fd: int, data: bytes, offset: int) -> int:
        written.append((data, offset))
        return pwrite(fd, data[:4], offset)  # the disk is slow to take it

    monkeypatch.setattr("os.pwrite", watch)
    directory.cut("file", 9, 3)
    assert written == [(b"345678", 3), (b"78", 7)]
    assert get(directory, "file") == b"012345678"
    directory.cut("file", 9, 9)
    assert len(written) == 2


def test_renaming_replaces_in_one_step(directory: Directory) -> None:
    """The file that had the name is gone, its bytes are not mixed with the new ones."""
    put(directory, "new", b"new")
    put(directory, "old", b"older")
    directory.rename("new", "old")
    directory.sync()
    assert directory.list() == ["old"]
    assert get(directory, "old") == b"new"


def test_a_removed_name_can_be_used_again(directory: Directory) -> None:
    """For a new and empty file."""
    put(directory, "file", b"content")
    directory.remove("file")
    assert directory.list() == []
    put(directory, "file", b"x")
    assert get(directory, "file") == b"x"


def test_an_open_file_outlives_its_name(directory: Directory) -> None:
    """A reader is not disturbed when a writer prunes."""
    put(directory, "file", b"content")
    source = directory.open("file")
    directory.remove("file")
    assert source.read_at(0, 7) == b"content"
    source.close()


NAMES = st.sampled_from(["a", "b"])
STEPS = st.lists(
    st.tuples(st.just("create"), NAMES)
    | st.tuples(st.just("write"), NAMES, st.binary(max_size=9))
    | st.tuples(st.just("truncate"), NAMES, st.integers(0, 12))
    | st.tuples(st.just("overwrite"), NAMES, st.integers(0, 3), st.binary(max_size=2))
    | st.tuples(st.just("cut"), NAMES, st.integers(0, 12))
    | st.tuples(st.just("rename"), NAMES, NAMES)
    | st.tuples(st.just("remove"), NAMES),
    max_size=12,
)


def play(directory: Directory, steps: list[tuple[Any, ...]]) -> list[Any]:
    """Do all the steps; return what each of them said, and all the files at the end."""
    said: list[Any] = []
    outputs: dict[str, Any] = {}
    lengths: dict[str, int] = {}
    for kind, name, *rest in steps:
        try:
            if kind == "create":
                outputs[name] = directory.create(name)
                lengths[name] = 0
            elif kind in ("cut", "rename", "remove"):
                getattr(directory, kind)(name, *rest)
                for gone in (name, *rest) if kind == "rename" else (name,):
                    if isinstance(gone, str) and gone in outputs:
                        outputs.pop(gone).close()  # writers only ever write to files they name
            elif name in outputs and kind == "write":
                said.append(outputs[name].write(rest[0]))
                lengths[name] += len(rest[0])
            elif name in outputs and kind == "truncate":
                lengths[name] = min(lengths[name], rest[0])
                outputs[name].truncate(lengths[name])
            elif name in outputs:
                offset = min(rest[0], max(0, lengths[name] - len(rest[1])))
                if offset + len(rest[1]) <= lengths[name]:
                    outputs[name].overwrite(offset, rest[1])
        except OSError as error:
            said.append((kind, error.errno))
    for output in outputs.values():
        output.close()
    return [*said, {name: get(directory, name) for name in sorted(directory.list())}]


@given(STEPS)
def test_memory_behaves_as_the_disk_does(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[Any, ...]]
) -> None:
    """Whatever is done to both, they say the same and hold the same."""
    local = LocalDirectory(str(tmp_path_factory.mktemp("run", numbered=True)))
    assert play(MemoryDirectory(), steps) == play(local, steps)


# -- helpers on top of it ------------------------------------------------------------------


@pytest.mark.parametrize("mouthful", [1, 3, 7, 100])
def test_everything_is_written_however_little_the_disk_takes_at_once(mouthful: int) -> None:
    """A short write is not an error and not the end."""
    directory = FaultyDirectory()
    directory.mouthful = mouthful
    output = directory.create("file")
    write_all(output, memoryview(bytearray(b"0123456789")).cast("H"))
    assert directory.inner.files() == {"file": b"0123456789"}


def test_an_error_of_the_body_wins_over_one_of_closing() -> None:
    """Closing happens in any case; its error is heard where it is the only one."""
    directory = FaultyDirectory()
    directory.fail("close", errno.EIO)
    with pytest.raises(ZeroDivisionError), closing_quietly(directory.create("one")):
        raise ZeroDivisionError
    with pytest.raises(OSError, match="Input/output error"), closing_quietly(directory.create("2")):
        pass
    assert directory.calls.count("close") == 2


# -- the local disk ------------------------------------------------------------------------


def test_files_and_directories_are_private(tmp_path: Path) -> None:
    """Nobody else can write them, or read them, whatever the umask."""
    old = os.umask(0)
    try:
        make_directory(str(tmp_path / "run"))
        make_directory(str(tmp_path / "far" / "away" / "store"))
        put(LocalDirectory(str(tmp_path / "run")), "file", b"")
    finally:
        os.umask(old)
    for path in (tmp_path / "far").rglob(""):
        assert stat.S_IMODE(path.stat().st_mode) == 0o700
    assert stat.S_IMODE(os.stat(tmp_path / "run").st_mode) == 0o700
    assert stat.S_IMODE(os.stat(tmp_path / "run" / "file").st_mode) == 0o600


def test_a_directory_is_made_with_its_parents(tmp_path: Path) -> None:
    """And one that is there already stays as it is."""
    path = tmp_path / "far" / "away" / "store"
    make_directory(str(path))
    (path / "file").touch()
    make_directory(str(path))
    assert list(path.iterdir()) == [path / "file"]


def test_no_descriptor_is_left_open(tmp_path: Path) -> None:
    """Whether things go well or not."""
    script = """
import os
from trax.storage.filesystem import LocalDirectory, make_directory
before = os.listdir("/dev/fd")
make_directory(os.path.abspath("run"))
directory = LocalDirectory(os.path.abspath("run"))
output = directory.create("file")
output.write(b"content")
output.sync()
output.close()
source = directory.open("file")
source.read_at(0, 7)
source.close()
directory.cut("file", 3)
directory.sync()
os.chmod("run/file", 0o666)
os.mkfifo("run/fifo")
for action in (directory.open, directory.create, lambda name: directory.cut(name, 0)):
    for name in ("file", "fifo", "missing/file"):
        try:
            action(name)
            print("no error")
        except Exception:
            pass
print(len(os.listdir("/dev/fd")) - len(before))
"""
    assert run_script(script).stdout == "0\n"


def test_descriptors_are_not_passed_on_to_other_programs(tmp_path: Path) -> None:
    """A child that outlives its parent holds nothing of the store."""
    script = """
import os, subprocess, sys
from trax.storage.filesystem import LocalDirectory
directory = LocalDirectory(os.getcwd())
output = directory.create("one")
source = directory.open("one")
list_mine = ["sh", "-c", "ls -l /dev/fd/ | grep -c /one"]
print(subprocess.run(list_mine, close_fds=False, capture_output=True, text=True).stdout)
"""
    assert run_script(script).stdout.strip() == "0"


def test_a_full_disk_takes_what_fits_and_then_refuses() -> None:
    """A real file system at a real limit: a short write, an error, and a cut that helps."""
    script = """
import os, resource
from trax.storage.filesystem import LocalDirectory, write_all
directory = LocalDirectory(os.getcwd())
output = directory.create("file")
write_all(output, b"whole|")
limits = resource.getrlimit(resource.RLIMIT_FSIZE)
resource.setrlimit(resource.RLIMIT_FSIZE, (10, limits[1]))
try:
    write_all(output, b"too long for it")
except OSError:
    size = os.path.getsize("file")
    resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    print("refused at", size)
output.truncate(6)
write_all(output, b"next")
output.close()
print(open("file").read())
"""
    assert run_script(script).stdout == "refused at 10\nwhole|next\n"


def test_a_directory_that_took_the_place_of_another_is_left_alone(tmp_path: Path) -> None:
    """A writer whose run was moved aside must not write among the files of the new one."""
    for path in (tmp_path / "run", tmp_path / "new"):
        make_directory(str(path))
        put(LocalDirectory(str(path)), "old", b"content")
    directory = LocalDirectory(str(tmp_path / "run"))
    (tmp_path / "run").rename(tmp_path / "aside")
    (tmp_path / "new").rename(tmp_path / "run")
    acts: list[Callable[[], object]] = [
        directory.list,
        directory.sync,
        lambda: directory.create("old"),
        lambda: directory.open("old"),
        lambda: directory.remove("old"),
        lambda: directory.cut("old", 0),
        lambda: directory.rename("old", "new"),
    ]
    for act in acts:
        with pytest.raises(OSError, match="moved or replaced") as caught:
            act()
        assert caught.value.errno == errno.ESTALE
    assert get(LocalDirectory(str(tmp_path / "run")), "old") == b"content"
    assert LocalDirectory(str(tmp_path / "run")).list() == ["old"]


def test_a_held_directory_that_was_replaced_gets_no_new_files(tmp_path: Path) -> None:
    """What else a writer does goes to its own files, wherever they are now."""
    for path in (tmp_path / "run", tmp_path / "new"):
        make_directory(str(path))
        put(LocalDirectory(str(path)), "old", b"content")
    directory = LocalDirectory(str(tmp_path / "run"), holds=True)
    (tmp_path / "run").rename(tmp_path / "aside")
    (tmp_path / "new").rename(tmp_path / "run")
    acts: list[Callable[[], object]] = [directory.list, lambda: directory.create("other")]
    for act in acts:
        with pytest.raises(OSError, match="moved or replaced"):
            act()
    directory.rename("old", "renamed")
    directory.sync()
    assert get(directory, "renamed") == b"content"
    directory.remove("renamed")
    assert os.listdir(tmp_path / "aside") == []
    assert os.listdir(tmp_path / "run") == ["old"]
    directory.close()
    with pytest.raises(OSError, match="moved or replaced"):
        directory.remove("old")


def test_a_held_directory_that_others_can_write_to_gets_no_new_files(tmp_path: Path) -> None:
    """As one that is opened for each call."""
    make_directory(str(tmp_path / "run"))
    directory = LocalDirectory(str(tmp_path / "run"), holds=True)
    (tmp_path / "run").chmod(0o777)
    with pytest.raises(UntrustedError, match="can be written by other users"):
        directory.create("new")
    with pytest.raises(UntrustedError, match="can be written by other users"):
        LocalDirectory(str(tmp_path / "run"), holds=True)


def test_a_held_directory_is_released_by_closing_and_in_a_fork() -> None:
    """Or with its last reference; it can be used after that."""
    script = """
import os
from trax.storage.filesystem import LocalDirectory

def count():
    return len(os.listdir("/dev/fd"))

before = count()
directory = LocalDirectory(".", holds=True)
print(count() - before, flush=True)
if not os.fork():
    print("child", count() - before, flush=True)
    os._exit(0)
os.wait()
directory.sync()
directory.close()
directory.close()
print(count() - before, len(directory.list()))
other = LocalDirectory(".", holds=True)
del other
print(count() - before)
"""
    done = run_script(script)
    assert done.stdout == "1\nchild 0\n0 1\n0\n"


def test_a_held_directory_is_released_once_no_thread_uses_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its descriptor may be that of another directory next, in which nothing must be renamed."""
    make_directory(str(tmp_path / "run"))
    directory = LocalDirectory(str(tmp_path / "run"), holds=True)
    used: list[int] = []
    sync = os.fsync

    def closing(fd: int) -> None:
        directory.close()
        used.append(fd)
        sync(fd)

    monkeypatch.setattr(os, "fsync", closing)
    directory.sync()
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(used[0])


class Syncs(list[str]):
    """The paths that were really forced to the disk, in order."""

    def watch(self, function: Callable[[int], None]) -> Callable[[int], None]:
        def watched(fd: int) -> None:
            function(fd)
            self.append(os.readlink(f"/proc/self/fd/{fd}"))

        return watched


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="needs /proc to name a descriptor")
def test_a_sync_reaches_the_kernel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each of them forces the one file or directory that it is about."""
    path = str(tmp_path / "store" / "run")
    syncs = Syncs()
    monkeypatch.setattr(process, "force", syncs.watch(os.fsync))
    monkeypatch.setattr("os.fsync", syncs.watch(os.fsync))
    make_directory(str(tmp_path / "store"))
    make_directory(path)
    assert syncs == [str(tmp_path), str(tmp_path / "store")]
    syncs.clear()
    directory = LocalDirectory(path)
    output = directory.create("file")
    output.sync()
    directory.cut("file", 5)
    directory.sync()
    sync_directory(path)
    output.close()
    assert syncs == [f"{path}/file"] * 2 + [path] * 2


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="needs /proc to name a descriptor")
def test_a_directory_is_durable_with_all_its_parents_whoever_made_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also one that a process has made that was killed before its name was on the disk."""
    syncs = Syncs()
    monkeypatch.setattr("os.fsync", syncs.watch(os.fsync))
    make_directory(str(tmp_path / "a" / "b" / "store"))
    assert syncs == [str(tmp_path), str(tmp_path / "a"), str(tmp_path / "a" / "b")]
    syncs.clear()
    (tmp_path / "left").mkdir(0o700)
    make_directory(str(tmp_path / "left"))
    assert syncs == [str(tmp_path)]
    syncs.clear()
    (tmp_path / "left" / "what came later").touch()
    make_directory(str(tmp_path / "left"))
    assert syncs == []


def test_a_directory_on_the_local_disk_is_of_this_boot() -> None:
    """A log says in which boot it was written."""
    assert LocalDirectory("/tmp").boot == process.boot_id()


def test_no_other_module_of_the_storage_opens_or_renames_files() -> None:
    """What is done to the disk, and in which order, can be seen in one place."""
    calls = re.compile(r"\bos\.(open|link|rename|replace|truncate|fsync|fdatasync)\(")
    package = Path(filesystem.__file__).parent
    found = {path.name for path in package.glob("*.py") if calls.search(path.read_text())}
    assert found == {"filesystem.py"}


# -- trust ---------------------------------------------------------------------------------


def give_away(path: Path) -> None:
    """Make another user the owner of a file, where that is possible."""
    try:
        os.chown(path, 54321, 54321)
    except PermissionError:
        pytest.skip("only root can give a file to another user")


@pytest.fixture
def run_directory(tmp_path: Path) -> Path:
    """A directory with a file that can be trusted."""
    path = tmp_path / "run"
    make_directory(str(path))
    put(LocalDirectory(str(path)), "file", b"content")
    return path


def open_it(path: Path) -> None:
    LocalDirectory(str(path)).open("file").close()


def cut_it(path: Path) -> None:
    LocalDirectory(str(path)).cut("file", 3)


def list_it(path: Path) -> None:
    LocalDirectory(str(path)).list()


def make_it(path: Path) -> None:
    make_directory(str(path))


@pytest.mark.parametrize("use", [open_it, cut_it])
@pytest.mark.parametrize("mode", [0o620, 0o602, 0o666, 0o777])
def test_a_file_that_others_can_write_is_not_trusted(
    run_directory: Path, use: Callable[[Path], None], mode: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Loading a pickle runs code; the person can accept it by an explicit word."""
    (run_directory / "file").chmod(mode)
    with pytest.raises(
        UntrustedError, match=rf"file can be written by other users \(mode {mode:o}"
    ):
        use(run_directory)
    assert (run_directory / "file").read_bytes() == b"content"
    monkeypatch.setenv("TRAX_TRUST", "1")
    use(run_directory)


@pytest.mark.parametrize("use", [list_it, make_it])
@pytest.mark.parametrize("mode", [0o720, 0o702, 0o777])
def test_a_directory_that_others_can_write_is_not_trusted(
    run_directory: Path, use: Callable[[Path], None], mode: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They could put any file into it."""
    run_directory.chmod(mode)
    with pytest.raises(UntrustedError, match="run can be written by other users"):
        use(run_directory)
    monkeypatch.setenv("TRAX_TRUST", "1")
    use(run_directory)


@pytest.mark.parametrize(
    ("use", "whose"),
    [(open_it, "run/file"), (cut_it, "run/file"), (list_it, "run"), (make_it, "run")],
)
def test_what_belongs_to_somebody_else_is_not_trusted(
    run_directory: Path, use: Callable[[Path], None], whose: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file or a directory of another user, unless that is root."""
    give_away(run_directory.parent / whose)
    with pytest.raises(UntrustedError, match=rf"{whose} belongs to user 54321, not to you"):
        use(run_directory)
    monkeypatch.setenv("TRAX_TRUST", "1")
    use(run_directory)


def symlink(path: Path) -> None:
    """Put a link to a trustworthy file."""
    put(LocalDirectory(str(path.parent)), "other", b"content")
    path.symlink_to("other")


KINDS: dict[str, Callable[[Path], None]] = {
    "link": symlink,
    "dangling link": lambda path: path.symlink_to("nowhere"),
    "FIFO": lambda path: os.mkfifo(path, 0o600),
    "directory": lambda path: path.mkdir(0o700),
}


@pytest.mark.parametrize("put_there", KINDS.values(), ids=KINDS)
@pytest.mark.parametrize("trust", ["0", "1"])
def test_only_a_regular_file_is_opened(
    run_directory: Path,
    put_there: Callable[[Path], None],
    trust: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A link could lead anywhere, a FIFO would wait forever; no word makes them files."""
    monkeypatch.setenv("TRAX_TRUST", trust)
    (run_directory / "file").unlink()
    put_there(run_directory / "file")
    with pytest.raises(UntrustedError, match="file is not a regular file"):
        open_it(run_directory)


@pytest.mark.parametrize("put_there", [KINDS["link"], KINDS["FIFO"]], ids=["link", "FIFO"])
def test_only_a_regular_file_is_cut(run_directory: Path, put_there: Callable[[Path], None]) -> None:
    """What a link leads to stays as it is."""
    (run_directory / "file").unlink()
    put_there(run_directory / "file")
    with pytest.raises(UntrustedError, match="file is not a regular file"):
        cut_it(run_directory)
    assert (
        not (run_directory / "other").exists()
        or get(LocalDirectory(str(run_directory)), "other") == b"content"
    )


@pytest.mark.parametrize("use", [list_it, make_it])
def test_a_directory_is_not_reached_through_a_link(
    run_directory: Path, use: Callable[[Path], None]
) -> None:
    """Nor is a file one."""
    link = run_directory.with_name("link")
    link.symlink_to("run")
    for path in (link, run_directory / "file"):
        with pytest.raises(UntrustedError, match="is not a directory"):
            use(path)


def test_a_new_file_is_not_written_through_a_link(run_directory: Path) -> None:
    """Creating is exclusive also where a dangling link has the name."""
    (run_directory / "new").symlink_to("elsewhere")
    with pytest.raises(FileExistsError):
        LocalDirectory(str(run_directory)).create("new")
    assert not (run_directory / "elsewhere").exists()


@pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="there is no /proc")
@pytest.mark.parametrize("path", ["/proc/x", "/proc/x/y"])
def test_a_directory_that_takes_no_others_is_named(path: str) -> None:
    """With another place as the way on, and not only that something is not found."""
    with pytest.raises(
        StorageError, match=f"{path} cannot be made: its file system takes none"
    ) as caught:
        filesystem.make_directory(path)
    assert "traxdir=" in str(caught.value)
