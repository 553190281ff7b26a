"""Who holds a run: one process at a time, and nothing to clean up after it, however it ends."""

from __future__ import annotations

import contextlib
import gc
import itertools
import json
import os
import re
import signal
import socket
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from faults import Interrupt
from support import run_script, start_script

from trax import LockedError, UntrustedError
from trax.storage.lock import ALIVE, SUSPENDED, Lock, holder_state

HOLD = """
import sys
from trax.storage.lock import Lock
lock = Lock("lock", "the run 'x'")
print("held", flush=True)
sys.stdin.read()
"""


def take() -> Lock:
    """Take the lock of this test."""
    return Lock("lock", "the run 'x'")


@contextlib.contextmanager
def hold(*arguments: str) -> Iterator[subprocess.Popen[str]]:
    """Have another process hold the lock for the length of a block."""
    with start_script(HOLD, *arguments) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield process


def test_a_lock_is_held_until_it_is_released() -> None:
    """Then somebody else can have it; releasing it again does nothing."""
    first = take()
    with pytest.raises(LockedError):
        take()
    first.release()
    second = take()
    first.release()
    with pytest.raises(LockedError):
        take()
    second.release()


def test_the_error_says_who_holds_it_since_when() -> None:
    """Process, host, time and command of another one; and what can be done."""
    with hold("--with", "an argument") as holder, pytest.raises(LockedError) as caught:
        take()
    message = str(caught.value)
    assert f"the run 'x' is held by process {holder.pid} on {socket.gethostname()} (" in message
    assert re.search(r"\(since \d{4}-\d\d-\d\d \d\d:\d\d:\d\d [+-]\d{4}", message)
    assert re.search(r"\nIts command: python\S* \S*script.py --with an argument\n", message)
    assert "Wait until it ends, or end it" in message
    assert "trax.load()" in message


def test_the_error_says_where_it_is_this_very_process() -> None:
    """Then there is nobody to wait for."""
    lock = take()
    with pytest.raises(LockedError, match=r"(?s)very process .*Close the other one first"):
        take()
    lock.release()


@pytest.mark.parametrize("note", [b"", b"{", b"\xff", b"[]", b"null", b"x" * 10_000, b"[" * 4096])
def test_a_note_that_cannot_be_read_does_not_hide_the_error(note: bytes) -> None:
    """It may be being written at this moment."""
    lock = take()
    Path("lock").write_bytes(note)
    with pytest.raises(LockedError, match="the run 'x' is held by another process"):
        take()
    lock.release()


def test_a_note_cannot_steer_the_terminal() -> None:
    """Nor add lines to the message: whoever hands over a store has written it."""
    lock = take()
    forged = {
        "pid": 1,
        "host": "\x1b]0;owned\x07\x9b2Jhost",
        "command": "rm\r\n\u202eOr run this\n",
    }
    Path("lock").write_text(json.dumps({"since": "x", **forged}))
    with pytest.raises(LockedError) as caught:
        take()
    assert str(caught.value).splitlines() == [
        r"the run 'x' is held by process 1 on \x1b]0;owned\x07\x9b2Jhost (since x).",
        r"Its command: rm\r\n\u202eOr run this\n",
        "Wait until it ends, or end it.",
        "You can read the run with trax.load() at any time.",
    ]
    lock.release()


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGTERM, None], ids=str)
def test_a_holder_that_ends_leaves_nothing_to_clean_up(end: signal.Signals | None) -> None:
    """Whether it is killed or not, the next one has the lock at once."""
    with hold() as holder:
        with pytest.raises(LockedError):
            take()
        if end is None:
            holder.communicate("")
        else:
            holder.send_signal(end)
        holder.wait()
        take().release()


CHILDREN = {
    "fork": """
if not os.fork():
    print("child", flush=True)
    sys.stdin.read()
    print("child ends", flush=True)
    os._exit(0)
""",
    "two forks": """
if not os.fork():
    if not os.fork():
        print("child", flush=True)
        sys.stdin.read()
        print("child ends", flush=True)
    os._exit(0)
""",
    "another program": """
text = "print('child', flush=True); input(); print('child ends', flush=True)"
subprocess.Popen([sys.executable, "-c", text], close_fds=False)
""",
}


@pytest.mark.parametrize("child", CHILDREN.values(), ids=CHILDREN)
def test_a_child_that_outlives_the_holder_does_not_keep_the_lock(child: str) -> None:
    """A pool of workers is no reason to call a run held whose process is dead."""
    script = f"""
import os, signal, subprocess, sys
from trax.storage.lock import Lock
lock = Lock("lock", "the run 'x'")
{child}
sys.stdout.flush()
signal.pause()
"""
    with start_script(script) as holder:
        assert holder.stdin is not None
        assert holder.stdout is not None
        assert holder.stdout.readline() == "child\n"
        with pytest.raises(LockedError, match=f"process {holder.pid} on"):
            take()
        holder.kill()
        holder.wait()
        lock = take()
        holder.stdin.write("\n")
        holder.stdin.close()
        assert holder.stdout.readline() == "child ends\n"  # it has lived until now
        lock.release()


def test_a_forked_child_does_not_release_the_lock_of_its_parent() -> None:
    """Neither by releasing it, nor by ending."""
    script = """
import os
from trax import LockedError
from trax.storage.lock import Lock
lock = Lock("lock", "the run 'x'")
child = os.fork()
if not child:
    lock.release()
    try:
        Lock("lock", "the run 'x'")
    except LockedError:
        os._exit(7)
    os._exit(1)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
try:
    Lock("lock", "the run 'x'")
except LockedError as error:
    print("this very process" in str(error))
"""
    assert run_script(script).stdout == "7\nTrue\n"


def test_other_descriptors_of_the_file_do_not_matter() -> None:
    """Closing one, as a look into the file does, releases nothing."""
    lock = take()
    Path("lock").read_bytes()
    with pytest.raises(LockedError):
        take()
    lock.release()


def test_a_rank_is_told_to_have_a_run_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """Several processes of one program open the same run; a job of one task is none of them."""
    with hold():
        monkeypatch.setenv("PMI_RANK", "3")
        monkeypatch.setenv("PMI_SIZE", "8")
        with pytest.raises(LockedError) as caught:
            take()
        assert "This process is rank 3 of 8 (PMI_RANK)" in str(caught.value)
        assert "name='train-{rank}'" in str(caught.value)
        assert "trax.rank()" in str(caught.value)
        monkeypatch.setenv("PMI_SIZE", "1")
        with pytest.raises(LockedError, match="Wait until it ends, or end it"):
            take()


WITHOUT_GUARD = """
from multiprocessing import get_context
import trax

@trax.resumable
def loop(n):
    for i in range(n):
        process = get_context("spawn").Process(target=print)
        process.start()
        process.join()
        yield process.exitcode

print([*loop(1)])
"""


def test_a_spawned_process_that_runs_the_script_again_is_told_of_the_guard() -> None:
    """It does not wait for its parent, which waits for it."""
    done = run_script(WITHOUT_GUARD)
    assert done.stdout == "[1]\n"
    assert "runs the script in it once more.\nPut the code that begins the run under" in done.stderr
    assert "waits for" not in done.stderr


def test_a_lock_that_could_not_be_noted_is_not_held() -> None:
    """On a full disk there is an error; with room again, the same process gets the lock."""
    script = """
import os, resource
from trax.storage.lock import Lock
limits = resource.getrlimit(resource.RLIMIT_FSIZE)
resource.setrlimit(resource.RLIMIT_FSIZE, (0, limits[1]))
try:
    lock = Lock("lock", "the run 'x'")
except OSError:
    print("no room")
else:
    lock.release()
    print("held all the same")
resource.setrlimit(resource.RLIMIT_FSIZE, limits)
Lock("lock", "the run 'x'").release()
print("held")
"""
    assert run_script(script).stdout in ("no room\nheld\n", "held all the same\nheld\n")


@pytest.mark.parametrize(
    "put_there",
    [
        lambda path: path.symlink_to("elsewhere"),
        lambda path: os.mkfifo(path, 0o600),
        lambda path: path.touch(0o666) or path.chmod(0o666),
    ],
    ids=["link", "FIFO", "writable by all"],
)
def test_a_lock_file_is_trusted_as_any_other(put_there: Callable[[Path], None]) -> None:
    """Nothing is followed, nothing waits, nothing is written."""
    put_there(Path("lock"))
    with pytest.raises(UntrustedError):
        take()
    assert not Path("elsewhere").exists()


def test_a_lock_file_is_private_and_emptied() -> None:
    """Only its owner can read who holds a run, and after the release nobody does."""
    lock = take()
    assert os.stat("lock").st_mode & 0o777 == 0o600
    assert f'"pid": {os.getpid()}' in Path("lock").read_text()
    lock.release()
    assert Path("lock").read_bytes() == b""


@pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning")  # nobody has it yet
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_an_interrupt_while_it_is_locked_leaves_no_lock() -> None:
    """Between the locking and the noting of it, nobody else knows of it yet."""
    for place in itertools.count(1):
        interrupt = Interrupt(place, KeyboardInterrupt(), f"storage{os.sep}lock.py")
        with contextlib.suppress(KeyboardInterrupt):
            with interrupt:
                lock = Lock("lock", "the run")
            lock.release()
            break
        Lock("lock", "the run").release()
    assert place > 10
    # Its traceback refers to the file that it left open. So the warning belongs to this test.
    del interrupt
    gc.collect()


@pytest.mark.parametrize(
    "end", ["os._exit(0)", "os.kill(os.getpid(), signal.SIGKILL)", "lock.release()"]
)
def test_a_reader_learns_from_the_note_whether_a_lock_holder_state(
    tmp_path: Path, end: str
) -> None:
    """Without locking, which would get into the way of a writer."""
    path = str(tmp_path / "lock")
    assert not holder_state(path)
    script = f"""
import os, signal, sys
from trax.storage.lock import Lock
lock = Lock({path!r}, "the run")
print("locked", flush=True)
sys.stdin.readline()
{end}
"""
    with start_script(script) as other:
        assert other.stdin
        assert other.stdout
        assert other.stdout.readline() == "locked\n"
        assert holder_state(path)
        other.stdin.write("end\n")
        other.stdin.flush()
        os.waitid(os.P_PID, other.pid, os.WEXITED | os.WNOWAIT)
        assert not holder_state(path)  # though nobody has waited for it
    mine = Lock(path, "the run")
    assert holder_state(path)
    mine.release()
    assert not holder_state(path)


def test_a_holder_that_cannot_be_asked_counts_as_alive(tmp_path: Path) -> None:
    """It is on another machine, or the note cannot be read; after a reboot it is dead."""
    path = tmp_path / "lock"
    lock = Lock(str(path), "the run")
    note = json.loads(path.read_text())
    for changed, held in (
        ({"host": "elsewhere"}, True),
        ({"boot": "before"}, False),
        ({"started": "1"}, False),
        ({"pid": 1 << 22 | 1}, False),
        ({"pid": "none"}, False),
    ):
        path.write_text(json.dumps({**note, **changed}))
        assert bool(holder_state(str(path))) is held
    path.chmod(0o666)
    assert holder_state(str(path))
    lock.release()


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="the system does not tell")
def test_a_holder_that_is_suspended_is_told_from_one_that_goes_on(tmp_path: Path) -> None:
    """As by Ctrl-Z; on another machine nobody can tell."""
    path = tmp_path / "lock"
    script = HOLD.replace('"lock"', repr(str(path)))
    with start_script(script) as other:
        assert other.stdout
        assert other.stdout.readline() == "held\n"
        assert holder_state(str(path)) == ALIVE
        other.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, other.pid, os.WSTOPPED | os.WNOWAIT)
        assert holder_state(str(path)) == SUSPENDED
        elsewhere = tmp_path / "elsewhere"
        elsewhere.write_text(json.dumps(json.loads(path.read_text()) | {"host": "elsewhere"}))
        elsewhere.chmod(0o600)
        assert holder_state(str(elsewhere)) == ALIVE
        other.send_signal(signal.SIGCONT)
        os.waitid(os.P_PID, other.pid, os.WCONTINUED | os.WNOWAIT)
        assert holder_state(str(path)) == ALIVE
