"""Output files hold what the stored steps have written, exactly once."""

from __future__ import annotations

import contextlib
import errno
import io
import itertools
import os
import random
import re
import resource
import shutil
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any

import pytest
from faults import Interrupt
from support import run_script

import trax
from trax.storage import filesystem
from trax.storage.context import Kind
from trax.storage.process import process
from trax.tracking import output_files

STEPS = 10
MODES: dict[str, dict[str, Any]] = {
    "function": {"replay_log": lambda n, increment: n + 1, "create": int},
    "replace": {"create": int},
    "none": {"create": lambda: [0], "replay_log": None},
}


def looping(mode: str, body: Callable[[int], None], **options: Any) -> Any:
    """Return a decorated loop that calls `body` with the number of each step."""

    def loop(state: Any) -> Generator[Any, Any, None]:
        for n in trax.steps(STEPS):
            body(n)
            if mode == "none":
                state[0] = n + 1
            yield n + 1

    return trax.resumable(**MODES[mode], **{"every_steps": 4, **options})(loop)


class Lines:
    """Writes two lines a step to a file that it opens at the first, and can stop in between."""

    def __init__(self, mode: str = "w") -> None:
        self.mode = mode
        self.stop = -1
        self.file: Any = None

    def __call__(self, n: int) -> None:
        if self.file is None or self.file.closed:
            self.file = trax.open("out.txt", self.mode)
        self.file.write(f"{n} first\n")
        if n == self.stop:
            self.file.flush()
            raise KeyboardInterrupt
        self.file.write(f"{n} second\n")


WHOLE = "".join(f"{n} first\n{n} second\n" for n in range(STEPS))


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("stop", range(STEPS))
@pytest.mark.parametrize("how", ["w", "a", "x"])
def test_an_exception_leaves_what_the_stored_steps_have_written(
    mode: str, stop: int, how: str
) -> None:
    """Nothing of the step that was broken off is left, and it is written once when done again."""
    lines = Lines(how)
    loop = looping(mode, lines)
    lines.stop = stop
    with pytest.raises(KeyboardInterrupt):
        loop().result()
    stored = loop().step
    assert Path("out.txt").read_text() == "".join(WHOLE.splitlines(True)[: 2 * stored])
    lines.stop = -1
    loop().result()
    assert Path("out.txt").read_text() == WHOLE


KILLED = """
import os, shutil, sys
from pathlib import Path
import trax
from trax.storage.context import Kind

mode, how, sync, stride = sys.argv[1:]
place = count = 0
real = {name: getattr(os, name) for name in ("ftruncate", "fstat", "open", "write")}


def here():
    global count
    count += 1
    if count == place:
        os.kill(os.getpid(), 9)


def around(name):
    def call(*args, **kwargs):
        here()
        result = real[name](*args, **kwargs)
        here()
        return result
    return call


for name in real:
    setattr(os, name, around(name))


def add(n, increment):
    return n + 1


OPTIONS = {
    "function": {"create": int, "replay_log": add},
    "none": {"create": lambda: [0], "replay_log": None},
}[mode]


@trax.resumable(every_steps=2, sync=sync, **OPTIONS)
def loop(state):
    with trax.open("a.txt", how) as text, trax.open("b.bin", how + "b") as binary:
        here()
        for n in trax.steps(4):
            text.write(f"{n} one\\n")
            text.flush()
            here()
            text.write(f"{n} two\\n")
            binary.write(bytes([n]) * n)
            here()
            yield n
            here()
        text.write("end\\n")


def run(at):
    global place, count
    pid = os.fork()
    if pid == 0:
        place, count = at, 0
        loop().result()
        real["write"](1, f"{count}\\n".encode())
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


text = "before\\n" * (how == "a") + "".join(f"{n} one\\n{n} two\\n" for n in range(4)) + "end\\n"
binary = b"".join(bytes([n]) * n for n in range(4))
at, killed = 1 - int(stride), True
while killed:
    shutil.rmtree(".trax", ignore_errors=True)
    Path("a.txt").write_text("before\\n")
    Path("b.bin").unlink(missing_ok=True)
    at += int(stride)
    killed = run(at) == -9
    assert run(0) == 0, at
    assert Path("a.txt").read_text() == text, (at, Path("a.txt").read_text())
    assert Path("b.bin").read_bytes() == binary, at
assert at > 60, at
"""


@pytest.mark.proof
@pytest.mark.parametrize(
    ("mode", "how", "sync", "stride"),
    [
        ("function", "a", "always", "10"),
        ("function", "a", "always", "1"),
        ("function", "w", "os", "1"),
        ("none", "a", "os", "1"),
    ],
)
def test_a_kill_at_every_place_leaves_every_line_once(
    mode: str, how: str, sync: str, stride: str
) -> None:
    """Before and behind whatever touches the files, and in the middle of a step."""
    run_script(KILLED, mode, how, sync, stride)


def test_the_consumer_reads_what_was_handed_out() -> None:
    """Whatever the caller has seen is in the file when it sees it."""
    loop = looping("function", Lines())
    for n in loop():
        assert Path("out.txt").read_text() == "".join(WHOLE.splitlines(True)[: 2 * n])


def test_what_is_written_behind_the_last_yield_is_kept() -> None:
    """It belongs to the end of the loop."""

    @trax.resumable(create=int)
    def loop(n: int) -> Generator[int, int, None]:
        with trax.open("out.txt") as file:
            while n < 3:
                file.write(f"{n}\n")
                n = yield n + 1
            file.write("end\n")

    assert loop().result() == 3
    assert loop().result() == 3
    assert Path("out.txt").read_text() == "0\n1\n2\nend\n"


def test_store_and_files_can_be_moved_together(tmp_path: Path, monkeypatch: Any) -> None:
    """A relative path is relative to the store."""
    lines = Lines()
    loop = looping("function", lines)
    lines.stop = 6
    (tmp_path / "old").mkdir()
    monkeypatch.chdir(tmp_path / "old")
    with pytest.raises(KeyboardInterrupt):
        loop().result()
    os.rename(tmp_path / "old", tmp_path / "new")
    monkeypatch.chdir(tmp_path / "new")
    lines.stop = -1
    # A loop remembers its store from the moment that it is called.
    loop().result()
    assert (tmp_path / "new" / "out.txt").read_text() == WHOLE


def test_a_file_that_is_opened_every_step_is_gone_on_with() -> None:
    """With mode a, also from code that the loop calls."""

    def body(n: int) -> None:
        with trax.open("out.txt", "a") as file:
            file.write(f"{n}\n")

    looping("function", body)().result()
    assert Path("out.txt").read_text().split() == [str(n) for n in range(STEPS)]


def test_a_file_that_a_resumed_loop_opens_late_is_still_known() -> None:
    """Also when a checkpoint has been stored since."""

    def body(n: int) -> None:
        if n in (1, 9):
            with trax.open("out.txt", "w" if n == 1 or resumed else "a") as file:
                file.write(f"{n}\n")

    resumed = False
    loop = looping("function", body, every_steps=2)
    with loop() as run:
        next(run)
        next(run)
        next(run)
    resumed = True
    with loop() as run:
        while run.step < 7:
            next(run)
    loop().result()
    assert Path("out.txt").read_text() == "1\n9\n"


def test_fresh_begins_the_files_anew_or_goes_on_as_the_mode_says() -> None:
    """A fresh run is another run."""
    looping("function", Lines("w"))().result()
    looping("function", Lines("w")).fresh().result()
    assert Path("out.txt").read_text() == WHOLE
    looping("function", Lines("a")).fresh().result()
    assert Path("out.txt").read_text() == WHOLE * 2
    with pytest.raises(FileExistsError):
        looping("function", Lines("x")).fresh().result()


def test_fresh_keeps_what_the_files_had(caplog: pytest.LogCaptureFixture) -> None:
    """Moved back with its output, the old run goes on where it was."""

    caplog.set_level("INFO", "trax")

    @trax.resumable
    def loop(n: int) -> Generator[int, None, None]:
        with trax.open("out.txt") as file:
            for i in range(n):
                print(i, file=file)
                yield i

    with loop(8) as run:
        while run.step < 5:
            next(run)
    loop.fresh(2).result()
    path, aside = Path("out.txt").resolve(), Path(".trax/aside/loop~1").resolve()
    assert path.read_text() == "0\n1\n"
    kept = aside / "out.txt.cut"
    line = f"{path} is written anew; the 10 bytes that it had are in {kept}"
    assert caplog.messages[-1] == line
    shutil.rmtree(".trax/runs/loop")
    shutil.copy(kept, path)
    aside.rename(".trax/runs/loop")
    assert loop(8).result() == 7
    assert path.read_text() == "".join(f"{i}\n" for i in range(8))


def test_a_fresh_run_needs_not_what_was_set_aside() -> None:
    """It may have been pruned while the loop had not yet opened its file."""
    Path("out.txt").write_text("of another\n")
    looping("function", lambda n: None)().result()

    def body(n: int) -> None:
        if n == 0:
            trax.prune()
            trax.open("out.txt").close()

    looping("function", body).fresh().result()
    assert Path("out.txt").read_text() == ""


def test_what_a_new_run_overwrites_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    """Another run may have written it: each would leave nothing of those before it."""

    caplog.set_level("INFO", "trax")

    @trax.resumable(name="loop-{k}")
    def loop(k: int) -> Generator[int, None, None]:
        with trax.open("same.txt") as file:
            for i in range(2):
                print(k, i, file=file)
                yield i

    for k in range(3):
        loop(k).result()
    told = [line.partition(". If ")[0] for line in caplog.messages]
    assert told == [f"{Path('same.txt').resolve()} is overwritten; it had 8 bytes"]


def test_text_is_written_as_it_was_asked_for() -> None:
    """Encoding and line ends are those of the built-in open."""

    @trax.resumable(create=int)
    def loop(n: int) -> Generator[int, int, None]:
        with trax.open("out.txt", encoding="utf-16", newline="\r\n") as file:
            assert isinstance(file, io.TextIOWrapper)
            while n < 3:
                file.write(f"ä{n}\n")
                n = yield n + 1

    with loop() as run:
        next(run)
    loop().result()
    assert Path("out.txt").read_bytes().decode("utf-16") == "ä0\r\nä1\r\nä2\r\n"


@pytest.mark.parametrize("mode", ["r", "r+", "w+", "", "rb", 5, "wbt"])
def test_other_modes_are_refused(mode: Any) -> None:
    """An output file is written to at its end."""
    with pytest.raises(trax.UsageError, match="mode is one of"):
        looping("function", lambda n: trax.open("out.txt", mode).close())().result()
    assert not Path("out.txt").exists()


def test_misuse_is_said() -> None:
    """Outside of a loop, twice at once, emptied in the middle, and what cannot be cut back."""
    with pytest.raises(trax.UsageError, match="outside of a loop"):
        trax.open("out.txt")

    def twice(n: int) -> None:
        trax.open("out.txt")
        trax.open("out.txt")

    def again(n: int) -> None:
        trax.open("out.txt").close()

    def device(n: int) -> None:
        trax.open("/dev/null", "a")

    def nowhere(n: int) -> None:
        trax.open("no/out.txt")

    def octets(n: int) -> None:
        trax.open(b"out.txt", "a")  # type: ignore[call-overload]

    for body, reason in (
        (twice, "is open already"),
        (again, "only grows"),
        (device, "not a regular file"),
        (octets, "path as text"),
    ):
        with pytest.raises(trax.UsageError, match=reason):
            looping("function", body).fresh().result()
    with pytest.raises(FileNotFoundError):
        looping("function", nowhere).fresh().result()


@pytest.mark.parametrize("second", ["out.txt", "link.txt"])
def test_one_file_under_two_names_is_refused(second: str) -> None:
    """Each name would be cut back to a length of its own."""

    def body(n: int) -> None:
        trax.open("out.txt", "a").write(f"{n}\n")
        trax.open(os.path.abspath(second))

    os.symlink("out.txt", "link.txt")
    with pytest.raises(trax.UsageError, match="under one name only"):
        looping("function", body)().result()


@pytest.mark.parametrize("is_moved", [True, False])
def test_a_file_that_the_loop_has_moved_is_not_gone_on_with(is_moved: bool) -> None:
    """What is written to another one in its place would not be followed."""

    def body(n: int) -> None:
        with trax.open("out.txt", "a") as file:
            file.write(f"{n}\n")
        if n == 2 and is_moved:
            os.rename("out.txt", "old.txt")
        elif n == 2:
            os.unlink("out.txt")

    with pytest.raises(trax.UsageError, match="must stay in its place"):
        looping("function", body)().result()


def test_a_path_that_cannot_be_opened_does_not_bind_the_run() -> None:
    """It is mended in the script, and the run goes on."""
    os.mkdir("directory")
    paths = iter(["directory", "out.txt"])

    def body(n: int) -> None:
        if n == 2:
            with trax.open(next(paths), "a") as file:
                file.write("written")

    loop = looping("function", body)
    with pytest.raises(trax.UsageError, match="not a regular file"):
        loop().result()
    loop().result()
    assert Path("out.txt").read_text() == "written"


def test_a_path_may_be_of_any_bytes() -> None:
    """Of a Latin-1 file system, or with marks that trax uses itself."""
    names = ["#1", "a#0", "a", "two\nlines", os.fsdecode(b"\xff")]

    def body(n: int) -> None:
        for name in names:
            with trax.open(name, "a") as file:
                file.write(f"{n} ")

    loop = looping("function", body)
    with loop() as run:
        while run.step < 6:
            next(run)
    loop().result()
    for name in names:
        assert Path(name).read_text().split() == [str(n) for n in range(STEPS)]


@pytest.mark.parametrize(
    ("size", "error"), [(10 * io.DEFAULT_BUFFER_SIZE, OSError), (100, trax.DurabilityError)]
)
def test_a_full_disk_is_said_and_the_step_done_again(size: int, error: type[Exception]) -> None:
    """Where it is written, or at the end of the step if it is buffered until then.

    What the refused step wrote is not there twice; a limit of file sizes stands for the disk.
    """
    large = "x" * size
    lines = Lines()

    def body(n: int) -> None:
        lines(n)
        lines.file.write(large)

    loop = looping("function", body)
    run = loop()
    while run.step < 5:
        next(run)
    written = Path("out.txt").read_text()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(written) + 10, hard))
    try:
        with pytest.raises(error, match="File too large"):
            next(run)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert Path("out.txt").read_text() == written
    loop().result()
    text = Path("out.txt").read_text()
    assert text.replace(large, "") == WHOLE


@pytest.mark.parametrize("mode", ["function", "none"])
@pytest.mark.parametrize("sync", ["always", "interval", "os"])
def test_files_are_forced_before_the_log_that_speaks_of_them(
    mode: str, sync: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whenever a log or a checkpoint is forced, every length in it is that of a forced file."""
    forced: list[str] = []

    real = process.force

    def force(fd: int) -> None:
        real(fd)
        status = os.fstat(fd)
        is_output = Path("out.txt").exists() and os.path.samestat(status, os.stat("out.txt"))
        forced.append(f"{'file' if is_output else 'log'} {status.st_size}")

    monkeypatch.setattr(process, "force", force)
    run = looping(mode, Lines(), sync=sync)()
    for _ in run:
        if run.step % 4 == 0 or (sync == "always" and mode == "function"):
            sizes = [int(line.split()[1]) for line in forced if line.startswith("file")]
            assert sizes[-1] == Path("out.txt").stat().st_size
            assert forced[-1].startswith("log")
    assert forced[-1].startswith("log")


def test_a_file_that_could_not_be_forced_is_never_trusted_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The kernel says so once, and the second time that all is well."""
    loop = looping("function", Lines(), every_steps=1000)
    run = loop()
    while run.step < 5:
        next(run)

    def fail(fd: int) -> None:
        if os.path.samestat(os.fstat(fd), os.stat("out.txt")):
            raise OSError(errno.EIO, os.strerror(errno.EIO))

    with monkeypatch.context() as patch:
        patch.setattr(process, "force", fail)
        run._lifecycle.session._writer.sync()
    with pytest.raises(trax.DurabilityError, match=r"out\.txt"):
        next(run)


def test_a_file_that_cannot_be_forced_when_it_is_opened_does_not_bind_the_run(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The error is that of the disk, and nothing is left of the file that was not opened."""
    loop = looping("replace", Lines(), sync="always")
    with monkeypatch.context() as patch:
        patch.setattr(process, "force", refuse)
        with pytest.raises(trax.DurabilityError, match=r"out\.txt could not be stored"):
            loop().result()
    loop().result()
    assert Path("out.txt").read_text() == WHOLE


def refuse(fd: int, force: Callable[[int], None] = process.force) -> None:
    """Force all but the output file, as a disk that is broken in one place."""
    if Path("out.txt").exists() and os.path.samestat(os.fstat(fd), os.stat("out.txt")):
        raise OSError(errno.EIO, os.strerror(errno.EIO))
    force(fd)


def test_a_forked_child_leaves_the_files_alone() -> None:
    """When it ends, it neither cuts them back nor writes to them."""
    script = """
import os
import trax
from trax.storage.context import Kind

@trax.resumable(create=int)
def loop(n):
    file = trax.open("out.txt")
    while n < 3:
        file.write(f"{n}\\n")
        if n == 1:
            file.flush()
            pid = os.fork()
            if pid == 0:
                raise SystemExit
            os.waitpid(pid, 0)
            file.write("after the fork\\n")
        n = yield n + 1

for n in loop():
    pass
"""
    run_script(script)
    assert Path("out.txt").read_text() == "0\n1\nafter the fork\n2\n"


FORKING = """
import multiprocessing, os, sys, warnings
warnings.simplefilter("ignore")  # of Python 3.12, about threads
import trax

def leave_at_once(file): os._exit(0)
def leave(file): sys.exit(0)
def flush(file): file.flush()
def close(file): file.close()
def write(file): file.write("of the child" if mode == "w" else b"of the child")
def open_another(file): trax.open("other.txt")

child = globals()[sys.argv[1]]
mode = sys.argv[2]

def forked(file):
    if not (pid := os.fork()):
        try:
            child(file)
        except (ValueError, trax.LockedError) as error:
            print(type(error).__name__, flush=True)
            sys.exit(0)
        sys.exit(0)
    os.waitpid(pid, 0)

@trax.resumable(create=int)
def loop(n):
    with trax.open("out.txt", mode) as file:
        for i in trax.steps(4):
            file.write(f"{i}\\n" if mode == "w" else b"%d\\n" % i)
            if i == 1:
                forked(file)
            if i == 2:
                run = multiprocessing.get_context("fork").Process(target=child, args=[file])
                run.start()
                run.join()
            yield i

loop().result()
"""


@pytest.mark.parametrize("mode", ["w", "wb"])
@pytest.mark.parametrize(
    ("child", "refused"),
    [
        ("leave_at_once", ""),
        ("leave", ""),
        ("flush", "ValueError\n"),
        ("close", ""),
        ("write", "ValueError\n"),
        ("open_another", "LockedError\n"),
    ],
)
def test_what_is_buffered_at_a_fork_is_written_once(child: str, refused: str, mode: str) -> None:
    """By the parent; the child can neither write it nor anything else, however it ends."""
    done = run_script(FORKING, child, mode)
    assert Path("out.txt").read_text() == "0\n1\n2\n3\n"
    assert not Path("other.txt").exists()
    assert done.stdout == refused
    if not refused:
        assert done.stderr == ""


@pytest.mark.parametrize(
    ("mode", "options"),
    [
        ("w", {}),
        ("w", {"encoding": "utf-16"}),
        ("w", {"buffering": 1, "newline": "\r\n"}),
        ("a", {"errors": "replace", "encoding": "ascii"}),
        ("wb", {}),
        ("ab", {"buffering": 0}),
        ("xb", {"buffering": 100_000}),
    ],
)
def test_a_file_is_as_from_the_builtin_open(mode: str, options: dict[str, Any]) -> None:
    """The same classes, attributes and content."""
    told: list[Any] = []

    def use(file: Any) -> None:
        data = "añ\n" * 3
        file.write(data.encode() if "b" in mode else data)
        names = ("encoding", "errors", "newlines", "line_buffering", "mode", "closed")
        told.append([type(file), *(getattr(file, name, None) for name in names)])
        told[-1].append((file.seekable(), file.readable(), file.writable(), file.tell()))
        file.close()

    def body(n: int) -> None:
        if n == 0:
            use(trax.open("out.txt", mode, **options))

    looping("function", body)().result()
    with open("plain.txt", "a" + mode[1:], **options) as file:
        use(file)
    ours, plain = told
    ours[5] = ours[5].replace(mode[0], "a", 1)
    assert Path("out.txt").read_bytes() == Path("plain.txt").read_bytes()
    if options.get("buffering") != 0:
        assert ours == plain


@pytest.mark.parametrize(
    "options", [{"mode": "wb", "encoding": "utf-8"}, {"buffering": 0}, {"colour": "red"}]
)
def test_options_that_open_refuses_are_refused(options: dict[str, Any]) -> None:
    """Before anything is made."""

    def body(n: int) -> None:
        trax.open("out.txt", **options)

    with pytest.raises((ValueError, TypeError)):
        looping("function", body)().result()


def test_a_loop_that_opens_nothing_pays_nothing() -> None:
    """Nothing is looked at closer in its steps."""
    run = looping("function", lambda n: None)()
    next(run)
    session = run._lifecycle.session
    assert all(item.known is not None for item in session._watched)
    assert not any(key.kind is Kind.OUTPUT for key in session._tracking._tracker.keys)
    run.close()


def test_two_runs_do_not_write_to_one_file() -> None:
    """While one of them has it open; in this process or in another."""
    one = looping("function", Lines(), name="one")()
    next(one)
    with pytest.raises(trax.LockedError, match=r"out\.txt is an output file of another run"):
        looping("function", Lines(), name="two")().result()
    one.close()
    looping("function", Lines("a"), name="two")().result()
    assert Path("out.txt").read_text() == "0 first\n0 second\n" + WHOLE


def test_a_file_that_is_closed_is_known_until_its_length_is_stored() -> None:
    """Without a log only a checkpoint stores it, and the file may be on the disk long before."""

    def body(n: int) -> None:
        if n == 0:
            with trax.open("first.txt") as file:
                file.write("first")

    loop = looping("none", body, every_steps=4, sync="os")
    with loop() as run:
        for _ in range(5):
            next(run)
            run._lifecycle.session._outputs.sync()
    assert not run._lifecycle.session._outputs._outputs
    loop().result()
    assert Path("first.txt").read_text() == "first"


@pytest.mark.parametrize("mode", ["function", "none"])
def test_a_file_for_every_step_costs_no_descriptor(mode: str) -> None:
    """What is closed and on the disk is let go of, and is still known when the run resumes."""

    def body(n: int) -> None:
        with trax.open(f"{n}.txt") as file:
            file.write(str(n))

    loop = looping(mode, body, every_steps=2)
    with loop() as run:
        while run.step < 8:
            next(run)
            assert len(run._lifecycle.session._outputs._outputs) <= 3
    Path("7.txt").write_text("7 and more")
    Path("0.txt").write_text("")
    with pytest.raises(trax.CorruptionError, match=r"0\.txt"):
        loop().result()
    Path("0.txt").write_text("0")
    loop().result()
    assert [Path(f"{n}.txt").read_text() for n in range(STEPS)] == [str(n) for n in range(STEPS)]


def test_a_child_does_not_keep_a_file_locked() -> None:
    """It may outlive the run."""
    script = """
import os
import trax
from trax.storage.context import Kind

@trax.resumable(create=int)
def loop(n):
    with trax.open("out.txt", "a") as file:
        while n < 3:
            file.write(f"{n}\\n")
            if n == 1 and not os.path.exists("forked"):
                open("forked", "w").close()
                read, write = os.pipe()
                if os.fork() == 0:
                    os.close(write)
                    os.read(read, 1)  # until the end of the file, when nobody can write any more
                    os._exit(0)
                os.close(read)
                file.flush()
                os.set_inheritable(write, True)
                os.execv(sys.executable, [sys.executable, sys.argv[0]])
            n = yield n + 1

import sys
loop().result()
"""
    run_script(script)
    assert Path("out.txt").read_text() == "0\n1\n2\n"


@pytest.mark.parametrize("steps", [5, STEPS])
@pytest.mark.parametrize("error", [OSError(errno.EIO, "broken"), KeyboardInterrupt()])
def test_a_checkpoint_that_failed_and_is_there_finds_its_output(
    steps: int, error: BaseException, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has its name already, and only the directory could not be forced."""
    loop = looping("none", Lines(), every_steps=1000)
    rename, sync = filesystem.LocalDirectory.rename, filesystem.LocalDirectory.sync
    renamed: list[str] = []

    def watch(directory: filesystem.LocalDirectory, old: str, new: str) -> None:
        rename(directory, old, new)
        renamed.append(new)

    def fail(directory: filesystem.LocalDirectory) -> None:
        if renamed:
            raise error
        sync(directory)

    run = loop()
    while run.step < steps:
        next(run)
    with monkeypatch.context() as patch:
        patch.setattr(filesystem.LocalDirectory, "rename", watch)
        patch.setattr(filesystem.LocalDirectory, "sync", fail)
        with pytest.raises((trax.StorageError, KeyboardInterrupt)):
            run.close() if steps < STEPS else run.result()
    assert loop().step == steps
    loop().result()
    assert Path("out.txt").read_text() == WHOLE


def test_an_output_file_cannot_be_one_of_the_store(store_here: Path) -> None:
    """It would be cut back by one run while another one counts on it."""

    @trax.resumable(create=int)
    def loop(n: int) -> Generator[int]:
        with trax.open(store_here / "runs" / "loop" / "mine.txt"):
            yield 1

    with pytest.raises(trax.UsageError, match="Choose another place"):
        loop().result()
    assert not (store_here / "runs" / "loop" / "mine.txt").exists()


def test_a_step_that_the_log_refuses_leaves_nothing_in_the_file(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The file ends where it did after the step before, without waiting for the next call."""
    loop = looping("function", Lines())
    run = loop()
    while run.step < 5:
        next(run)
    written = Path("out.txt").read_text()

    def refuse(data: bytes) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    log = run._lifecycle.session._writer._log
    assert log is not None
    monkeypatch.setattr(log, "_write", refuse)
    with pytest.raises(trax.DurabilityError):
        next(run)
    assert Path("out.txt").read_text() == written
    loop().result()
    assert Path("out.txt").read_text() == WHOLE


@pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning")  # nobody has it yet
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_an_interrupt_while_a_file_is_being_opened_does_not_get_in_the_way(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Wherever it comes, the run is let go and the next call goes on."""

    def loop(n: int) -> Generator[int, int, None]:
        while n < 3:
            with trax.open("out.txt", "a") as file:
                file.write(f"{n}\n")
            n = yield n + 1

    decorated: Any = trax.resumable(create=int)(loop)
    for place in itertools.count(1):
        names = ("output_files", "output_digest", "truncate", "mutex")
        modules = [f"{os.sep}{name}.py" for name in names]
        interrupt = Interrupt(place, KeyboardInterrupt(), *modules)
        run = decorated.fresh()
        Path("out.txt").unlink(missing_ok=True)
        with contextlib.suppress(KeyboardInterrupt), interrupt:
            next(run)
        run = decorated() if run._lifecycle.status != "open" else run
        run.result()
        assert Path("out.txt").read_text() == "0\n1\n2\n", place
        if interrupt.places < place:
            break
    assert place > 20


def test_a_signal_handler_that_writes_in_the_middle_of_a_write_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Otherwise the digest would follow the two in another order than the file."""
    refused: list[trax.UsageError] = []

    @trax.resumable(create=int)
    def loop(n: int) -> Generator[int, int, None]:
        with trax.open("out.txt", "ab", buffering=0) as file:

            def handle(*_: Any) -> None:
                try:
                    file.write(b"from the handler\n")
                except trax.UsageError as error:
                    refused.append(error)

            monkeypatch.setitem(handlers, "now", handle)
            while n < 5:
                file.write(b"%d\n" % n)
                n = yield n + 1

    handlers: dict[str, Callable[[], None]] = {}
    write = output_files._write

    def interrupted(raw: Any, data: Any) -> int:
        done = write(raw, data)
        if data != b"from the handler\n":
            handlers["now"]()
        return done

    with monkeypatch.context() as patch:
        patch.setattr(output_files, "_write", interrupted)
        with loop() as run:
            next(run)
            next(run)
    assert len(refused) == 2
    assert loop().result() == 5
    assert Path("out.txt").read_text() == "0\n1\n2\n3\n4\n"


# -- content -------------------------------------------------------------------------------


def lines(n: int) -> str:
    return f"{n} and more\n" * (1 + n % 3)


@pytest.fixture
def stopped() -> Callable[[], Any]:
    """Stop a loop after 9 steps, with checkpoints at 4 and 8; return a function to go on."""

    @trax.resumable(create=int, every_steps=4, name="loop")
    def loop(n: int) -> Iterator[int]:
        with trax.open("out.txt") as file:
            for i in trax.steps(20):
                file.write(lines(i))
                yield i + 1

    with loop() as run:
        while run.step < 9:
            next(run)
    return lambda: loop().result()


WRITTEN = "".join(map(lines, range(20)))


def flip(path: str, offset: int) -> None:
    content = bytearray(Path(path).read_bytes())
    content[offset] ^= 1
    Path(path).write_bytes(content)


@pytest.mark.parametrize("offset", [0, 40, -1])
def test_a_changed_byte_in_an_output_file_is_noticed(
    stopped: Callable[[], Any], offset: int
) -> None:
    """By a resume and by verify; put back, the run goes on."""
    flip("out.txt", offset)
    before = Path("out.txt").read_bytes()
    with pytest.raises(trax.CorruptionError, match=r"out\.txt was changed .* between offset 0 and"):
        stopped()
    found = trax.verify("loop")
    assert (found.good, found.step) == (False, None)
    [problem] = found.problems
    assert re.search(r"out\.txt was changed between offset \d+ and \d+$", problem)
    assert found.outputs[0].changed is not None
    assert Path("out.txt").read_bytes() == before
    flip("out.txt", offset)
    assert trax.verify("loop").good
    stopped()
    assert Path("out.txt").read_text() == WRITTEN


def test_a_repair_goes_back_before_the_changed_byte(stopped: Callable[[], Any]) -> None:
    """The output of later steps is written again."""
    flip("out.txt", -1)
    assert trax.repair("loop").step == 8
    stopped()
    assert Path("out.txt").read_text() == WRITTEN


def test_a_changed_file_can_be_accepted(
    stopped: Callable[[], Any], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """For one call; what is written from then on is covered again."""
    flip("out.txt", 0)
    monkeypatch.setenv("TRAX_ACCEPT_OUTPUT", "1")
    stopped()
    monkeypatch.delenv("TRAX_ACCEPT_OUTPUT")
    assert "is accepted as it is" in caplog.text
    assert Path("out.txt").read_text()[1:] == WRITTEN[1:]
    assert trax.verify("loop").outputs[0].changed is None
    flip("out.txt", -1)
    assert trax.verify("loop").outputs[0].changed is not None


def test_what_a_child_process_writes_into_the_file_counts() -> None:
    """It has the same descriptor; a resume and verify find it as it was."""
    script = """
import os, subprocess, sys
import trax

@trax.resumable(create=int, every_steps=3)
def loop(n):
    with trax.open("out.txt") as file:
        for i in trax.steps(8):
            file.write(f"{i}\\n")
            file.flush()
            subprocess.run(["echo", "of a child"], stdout=file, check=True)
            file.write("after it\\n")
            yield i
            if i == int(sys.argv[1]):
                os.kill(os.getpid(), 9)

loop().result()
"""
    run_script(script, "4", check=False)
    assert trax.verify("loop").good
    run_script(script, "9")
    assert trax.verify("loop").outputs[0].changed is None
    assert Path("out.txt").read_text() == "".join(f"{i}\nof a child\nafter it\n" for i in range(8))


@pytest.mark.parametrize("flipped_at", [3, 1 << 20, 5 << 19])
def test_an_early_byte_of_a_large_file_is_found_by_verify(flipped_at: int) -> None:
    """A resume reads what was written since the checkpoint before the newest one."""
    block = random.Random(0).randbytes(1 << 19)

    @trax.resumable(create=int, every_steps=2)
    def loop(n: int) -> Iterator[int]:
        with trax.open("out.bin", "ab") as file:
            for i in trax.steps(12):
                file.write(block)
                yield i

    with loop() as run:
        while run.step < 9:
            next(run)
    flip("out.bin", flipped_at)
    found = trax.verify("loop")
    assert (found.good, found.step) == (False, 9)
    changed = found.outputs[0].changed
    assert changed is not None
    assert changed[0] <= flipped_at < changed[1] <= 3 << 20
    flip("out.bin", flipped_at)
    flip("out.bin", 7 << 19)
    with pytest.raises(trax.CorruptionError, match=r"between offset \d{7} and 4718592"):
        loop().result()
    flip("out.bin", 7 << 19)
    loop().result()
    assert Path("out.bin").read_bytes() == block * 12


@pytest.mark.parametrize("harm", ["cut", "changed and longer"])
def test_a_file_that_others_cut_while_it_is_open_is_an_error_at_once(
    harm: str, tmp_path: Path
) -> None:
    """Output of stored steps is gone; a line that others add is not, and stays."""
    path = tmp_path / "out.txt"

    @trax.resumable(create=lambda: [0], replay_log=None, every_steps=1)
    def loop(state: list[int]) -> Iterator[int]:
        with trax.open(path) as file:
            for i in trax.steps(9):
                file.write(f"line {i}\n")
                yield i

    def drive() -> None:
        with loop() as run:
            for i in run:
                if i == 1:
                    with path.open("a") as other:
                        other.write("a note\n")
                if i == 4:
                    content = path.read_bytes()
                    assert content.count(b"note") == 1
                    harmed = content[:9] if harm == "cut" else b"x" + content[1:] + b"more\n"
                    path.write_bytes(harmed)

    with pytest.raises(trax.DurabilityError, match="was cut or changed by others"):
        drive()
    assert not trax.verify("loop").good
