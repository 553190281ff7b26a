"""The journal tells how a run is; and whatever becomes of it, the run goes on."""

from __future__ import annotations

import errno
import json
import os
import signal
import struct
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any

import pytest
from support import Writer, run_script, start_script
from xxhash import xxh3_64_hexdigest

import trax
from trax.storage import journal as module
from trax.storage.filesystem import LocalDirectory
from trax.storage.journal import NOWHERE, STATUS_SIZE, Journal, Place, read_events, read_status
from trax.storage.process import process
from trax.storage.signing import Key
from trax.testing.memory import MemoryDirectory, crash_images

KEY = Key(bytes(range(32)), "the test")
RUN = "0" * 32
FILE = Path(".trax/runs/count/journal")

LOOP = """
import os, signal, sys, time
import trax

@trax.resumable(create=int)
def count(n, to):
    for _ in trax.steps(to):
        n = yield n + 1
"""


def begun(directory: Any, step: int = 0, *, resumed: bool = False, **facts: Any) -> Journal:
    journal = Journal(directory)
    journal.begin(RUN, step, resumed=resumed, logged=True, **facts)
    return journal


def content(directory: MemoryDirectory) -> bytes:
    return directory.files()["journal"]


def status(path: Path = FILE) -> dict[str, Any]:
    return read_status(path.read_bytes(), None)


def events(path: Path = FILE) -> list[str]:
    return [event["event"] for event in read_events(path.read_bytes(), None)]


# -- the format ----------------------------------------------------------------------------


def test_a_person_can_read_it() -> None:
    """As docs/format.md says: a checksum of the rest of the line, and JSON."""
    directory = MemoryDirectory()
    begun(directory, file="/there/train.py").end("done", 7, Place(2, 1260, 0xABC))
    first, second = content(directory).splitlines(keepends=True)
    assert len(first) == STATUS_SIZE
    for line in (first, second):
        assert line[:16].decode() == xxh3_64_hexdigest(line[17:-1])
    found = json.loads(first[17:])
    assert (found["state"], found["step"], found["chain"]) == ("done", 7, f"{0xABC:016x}")
    assert (found["generation"], found["offset"], found["host"]) == (2, 1260, os.uname().nodename)
    event = json.loads(second[17:])
    assert (event["event"], event["pid"], event["file"]) == (
        "began",
        os.getpid(),
        "/there/train.py",
    )


def test_the_opening_is_one_write_and_so_is_the_end() -> None:
    directory = MemoryDirectory()
    begun(directory).end("stopped", 3, NOWHERE, reason="closed")
    assert [one.kind for one in directory.operations] == ["create", "write", "write"]
    begun(directory, 3, resumed=True).end("done", 4, NOWHERE)
    assert [one.kind for one in directory.operations[3:]] == ["write", "write"]


def test_the_way_in_which_a_process_has_left_is_an_event_later() -> None:
    directory = MemoryDirectory()
    begun(directory).end("failed", 3, NOWHERE, error={"type": "ValueError", "line": 33})
    begun(directory, 3, resumed=True).update(5, NOWHERE)
    begun(directory, 5, resumed=True)
    begun(directory, 5, resumed=True).end("done", 9, NOWHERE)
    found = read_events(content(directory), None)
    assert [(event["event"], event["step"]) for event in found] == [
        ("began", 0),
        ("failed", 3),
        ("resumed", 3),
        ("killed", 5),
        ("resumed", 5),
        ("killed", 5),
        ("resumed", 5),
    ]
    assert found[1]["error"] == {"type": "ValueError", "line": 33}
    assert read_status(content(directory), None)["resumes"] == 3


def test_texts_are_cut_so_that_each_line_fits() -> None:
    """Also where each character takes six bytes or more; and none ends a line."""
    directory = MemoryDirectory(key=KEY)
    error = {"type": "E" * 500, "message": "\x01\n\u2028ü" * 500, "file": "\udc80" * 500}
    begun(directory, command="\x1b" * 9000).end("failed", 3, NOWHERE, error=error)
    assert len(content(directory).splitlines(keepends=True)[0]) == STATUS_SIZE
    found = read_status(content(directory), KEY)
    assert found["error"]["message"].startswith("\x01\n\u2028ü")
    assert content(directory).count(b"\n") == 2
    assert [one["event"] for one in read_events(content(directory), KEY)] == ["began"]


def test_a_signed_journal_is_valid_with_its_key_alone() -> None:
    directory = MemoryDirectory(key=KEY)
    begun(directory).end("done", 3, NOWHERE)
    data = content(directory)
    assert read_status(data, KEY)["step"] == 3
    others = [None, Key(bytes(32), "another")]
    assert [(read_status(data, key), read_events(data, key)) for key in others] == [({}, [])] * 2
    unsigned = MemoryDirectory()
    begun(unsigned).end("done", 3, NOWHERE)
    assert read_status(content(unsigned), KEY) == {} == read_status(data.replace(b"3", b"4"), KEY)


@pytest.mark.parametrize(
    "change",
    [{"step": -1}, {"step": True}, {"step": None}, {"state": "odd"}, {"state": []}, {"time": "now"},
     {"chain": "g" * 16}, {"chain": 5}, {"total": 1.5}, {"pid": "x"}, {"logged": 1}],
)  # fmt: skip
def test_a_status_of_other_types_counts_as_none(change: dict[str, Any]) -> None:
    directory = MemoryDirectory()
    begun(directory).end("done", 3, NOWHERE)
    fields = read_status(content(directory), None)
    for changed, is_valid in (fields, True), (fields | change, False):
        text = json.dumps(changed).encode().ljust(STATUS_SIZE - 18)
        line = xxh3_64_hexdigest(text).encode() + b" " + text + b"\n"
        assert bool(read_status(line, None)) is is_valid


def test_a_long_journal_is_written_anew_with_its_first_event_and_the_newest() -> None:
    directory = MemoryDirectory()
    for number in range(400):
        begun(directory, number, resumed=bool(number)).end("stopped", number, NOWHERE)
    data = content(directory)
    found = [one["step"] for one in read_events(data, None) if one["event"] in ("began", "resumed")]
    assert len(data) < 1 << 17
    assert found[0] == 0
    assert found[1:] == list(range(found[1], 400))
    assert found[1] > 100
    assert read_status(data, None)["resumes"] == 399
    assert "journal.tmp" not in directory.files()


def test_the_rate_is_that_of_live_steps_of_late(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr(process, "monotonic", lambda: now[0])
    directory = MemoryDirectory()
    journal = begun(directory, 1000, resumed=True)
    step = 1000
    for rate, wanted in (10, 10.0), (20, 20.0):
        for _ in range(200):
            now[0] += 1
            step += rate
            journal.update(step, NOWHERE)
        assert read_status(content(directory), None)["rate"] == pytest.approx(wanted, rel=0.01)
    assert read_status(content(directory), None)["seconds"] == 400


# -- crashes and bad disks -----------------------------------------------------------------


def play(directory: MemoryDirectory) -> None:
    """Do all that a journal does: begin, go on, end, resume, be killed, become too long."""
    journal = begun(directory)
    journal.update(2, Place(1, 1100, 7))
    journal.end("stopped", 3, Place(1, 1200, 8), reason="closed")
    begun(directory, 3, resumed=True)
    begun(directory, 3, resumed=True, command="x" * 700).end("done", 5, NOWHERE)


@pytest.mark.parametrize("command", ["python train.py", "x" * 900])
def test_a_crash_at_each_write_shows_nothing_false(
    command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever a power cut leaves is read as what was, or not at all; and a run goes on with it."""
    monkeypatch.setattr(module, "_MOST", 2200)  # so that it is written anew
    monkeypatch.setattr(module, "_KEPT", 600)
    monkeypatch.setattr(module, "_command", lambda: command)
    directory = MemoryDirectory()
    play(directory)
    operations = directory.operations
    assert "rename" in [one.kind for one in operations]
    written = {0, 2, 3, 5}
    count = 0
    for length in range(len(operations) + 1):
        for image in crash_images(operations[:length]):
            data = image.get("journal", b"")
            found = read_status(data, None)
            assert found.get("step", 0) in written
            assert all(one["step"] in written for one in read_events(data, None))
            after = MemoryDirectory(dict(image))
            begun(after, 5, resumed=True).end("done", 9, NOWHERE)
            assert read_status(content(after), None)["step"] == 9
            assert read_events(content(after), None)[-1]["event"] == "resumed"
            count += 1
    assert count > 50


@pytest.mark.parametrize("kind", ["update", "read_at", "overwrite", "close", "create", "rename"])
def test_no_failure_of_it_matters(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that refuses: no error, no notice."""
    monkeypatch.setattr(module, "_MOST", 1)

    def refuse(*_: object) -> Any:
        raise OSError(errno.EIO, "broken")

    directory: Any = MemoryDirectory()
    begun(directory).end("stopped", 1, NOWHERE)
    owner = directory if hasattr(directory, kind) else type(directory.update("journal"))
    monkeypatch.setattr(owner, kind, refuse)
    journal = begun(directory, 1, resumed=True)
    journal.update(2, NOWHERE)
    journal.end("done", 3, NOWHERE)


@pytest.mark.parametrize(
    "kind", ["directory", "fifo", "link", "loop", "garbage", "empty", "unread"]
)
def test_a_run_goes_on_whatever_lies_in_its_place(kind: str) -> None:
    run_script(LOOP + "next(count(3))")
    FILE.unlink()
    outside = Path("outside")
    outside.write_text("precious")
    put: dict[str, Callable[[], object]] = {
        "directory": FILE.mkdir,
        "fifo": lambda: os.mkfifo(FILE),
        "link": lambda: FILE.hardlink_to(outside),
        "loop": lambda: FILE.symlink_to(outside.resolve()),
        "garbage": lambda: FILE.write_bytes(os.urandom(3000)),
        "empty": lambda: FILE.write_bytes(b""),
        "unread": lambda: FILE.write_bytes(b"x"),
    }
    put[kind]()
    assert run_script(LOOP + "print(count(3).result())").stdout == "3\n"
    assert outside.read_text() == "precious"
    if kind in ("garbage", "empty", "unread"):
        assert status()["state"] == "done"
        assert events() == ["resumed"]


# -- how loops end -------------------------------------------------------------------------


def test_a_loop_that_fails_tells_the_line_of_the_user() -> None:
    script = LOOP.replace("yield n + 1", "yield n + 1 if n < 4 else json.loads('nonsense')")
    done = run_script("import json\n" + script + "count(9).result()", check=False)
    assert done.returncode == 1
    found = status()
    assert (found["state"], found["step"], found["total"]) == ("failed", 4, 9)
    assert found["error"]["type"] == "JSONDecodeError"
    assert found["error"]["message"].startswith("Expecting value")
    line = ("import json\n" + script).splitlines().index("        n = yield n + 1 if n < 4 else "
                                                         "json.loads('nonsense')") + 1  # fmt: skip
    assert (Path(found["error"]["file"]).name, found["error"]["line"]) == ("script.py", line)


ENDS: dict[str, tuple[str, int | None, str | None]] = {
    "for n in (run := count(9)):\n    if n == 3: break\nrun.close()": ("stopped", 3, "closed"),
    "for n in count(9):\n    if n == 3: break": ("stopped", 3, "closed"),
    "for n in count(9):\n    if n == 3: os.kill(os.getpid(), 15)": ("stopped", 3, "SIGTERM"),
    "for n in count(9):\n    if n == 3: os.kill(os.getpid(), 2)": ("stopped", 3, "SIGINT"),
    "for n in count(9):\n    if n == 3: os.kill(os.getpid(), 9)": ("running", None, None),
    "count(9).result()": ("done", 9, None),
    "c = trax.resumable(create=int, time_limit=0.1, name='count')(count.__wrapped__)\n"
    "for n in c(9):\n    time.sleep(0.5)": ("stopped", None, "the time limit"),
}


@pytest.mark.parametrize("script", ENDS)
def test_a_loop_tells_how_it_ended(script: str) -> None:
    run_script(LOOP + script, check=False)
    found = status()
    state, step, reason = ENDS[script]
    assert (found["state"], found.get("reason")) == (state, reason)
    assert found["step"] == step or step is None
    assert run_script(LOOP + "print(count(9).result())").stdout == "9\n"
    assert status()["state"] == "done"
    if found["state"] != "done":
        left = "killed" if found["state"] == "running" else "stopped"
        assert events() == ["began", left, "resumed"]


def test_plain_and_async_loops_maps_and_stores_have_one_too() -> None:
    run_script(
        "import asyncio, trax\n"
        "@trax.resumable\ndef plain():\n    for n in range(5): yield n\n"
        "@trax.resumable(create=int)\nasync def later(n):\n"
        "    while n < 5: n = yield n + 1\n"
        "def square(n): return n * n\n"
        "def inverse(n): return 1 / n\n"
        "plain().result(); asyncio.run(later().result()); trax.map(square, range(5)).result()\n"
        "trax.map(inverse, [1, 2, 0], name='some', return_exceptions=True).result()\n"
        "try: trax.map(inverse, [1, 2, 0], return_exceptions=False).result()\n"
        "except ZeroDivisionError: pass\n"
        "with trax.Trax() as store: [store.log(word=n) for n in range(5)]\n"
    )
    found = {path.parent.name: status(path) for path in Path(".trax/runs").glob("*/journal")}
    told = {name: (one["state"], one["step"]) for name, one in found.items()}
    assert told == {
        "plain": ("done", 5),
        "later": ("done", 5),
        "square": ("done", 5),
        "inverse": ("failed", 2),
        "some": ("failed", 2),
        "word": ("stopped", 5),
    }
    assert found["inverse"]["error"]["line"] == 9
    assert found["some"]["reason"] == "1 failed: 0"
    assert found["square"]["total"] == 5


def test_the_total_is_known_from_before_until_there_is_another_step() -> None:
    """A process that fails before it, or is killed, does not forget it; another loop does."""
    script = (
        "import trax\n"
        "@trax.resumable\n"
        "def plain():\n"
        "    for n in range(5):\n"
        "        if n == 3: 1 / 0\n"
        "        yield n\n"
        "plain().result()\n"
    )
    for _ in range(2):
        run_script(script, check=False)
        found = status(Path(".trax/runs/plain/journal"))
        assert (found["state"], found["step"], found["total"]) == ("failed", 3, 5)
    endless = script.replace("range(5)", "__import__('itertools').count()")
    run_script(endless.replace("n == 3", "n == 4"), check=False)
    found = status(Path(".trax/runs/plain/journal"))
    assert (found["step"], found["total"]) == (4, None)


@pytest.mark.parametrize("now", ["running", "done"])
def test_the_status_in_a_replica_is_that_of_a_run_that_goes_on_nowhere_here(now: str) -> None:
    """Its events stay there; what is no status is not written."""
    run_script("import trax\n@trax.resumable\ndef plain(): yield 1\nplain().result()\n")
    there = status(Path(".trax/runs/plain/journal")) | {"state": now}
    for copied in (there, {**there, "step": "many"}):
        Journal(LocalDirectory(".")).copy(copied)
        found = status(Path("journal"))
        expected = {"state": "stopped" if now == "running" else now, "length": STATUS_SIZE}
        assert found == there | expected
        assert Path("journal").stat().st_size == STATUS_SIZE


def test_a_fork_of_the_process_writes_nothing() -> None:
    run_script(
        LOOP + "run = count(9)\nnext(run)\npath = '.trax/runs/count/journal'\n"
        "before = open(path, 'rb').read()\n"
        "if not os.fork():\n    run.close(); os._exit(0)\n"
        "os.wait()\nassert open(path, 'rb').read() == before\nrun.result()"
    )
    assert (status()["state"], status()["step"]) == ("done", 9)


def test_it_tells_of_a_run_while_it_is_going_on() -> None:
    loop = LOOP.replace("        n = yield", "        time.sleep(0.01); n = yield")
    with start_script(
        loop + "for n in count(10**6):\n    if n == 150: print(n, flush=True)"
    ) as run:
        assert run.stdout is not None
        assert run.stdout.readline() == "150\n"
        found = status()
        run.send_signal(signal.SIGKILL)
    assert (found["state"], found["pid"], found["total"]) == ("running", run.pid, 10**6)
    assert 0 < found["step"] <= 150
    assert 0 < found["rate"] < 110
    log = Path(".trax/runs/count") / f"log-{found['generation']:08d}"
    (chain,) = struct.unpack("<Q", log.read_bytes()[: found["offset"]][-8:])
    assert f"{chain:016x}" == found["chain"]


# -- the times of increments ---------------------------------------------------------------


@pytest.fixture
def at_each_step(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the time be noted before each increment."""
    monkeypatch.setattr(process, "pause", -1.0)
    monkeypatch.setattr("trax.storage.held_run._CHECK_SECONDS", -1)
    monkeypatch.setattr("trax.engine.pulse._PAUSE", -1)


@trax.resumable(create=int, every_steps=4)
def folded(n: int, to: int) -> Generator[int, int, None]:
    while n < to:
        n = yield n + 1


@trax.resumable(every_steps=1000)
def plain(to: int) -> Iterator[int]:
    total = 0
    for n in range(to):
        total += n
        yield total


def square(number: int) -> int:
    return number * number


@pytest.mark.usefixtures("at_each_step")
def test_times_are_noted_between_increments_and_all_reads_as_before() -> None:
    next(run := folded(10))
    assert [next(run) for _ in range(5)] == [2, 3, 4, 5, 6]
    run.close()
    assert trax.load("folded") == 6
    assert folded(10).result() == 10
    assert trax.verify("folded").good
    assert [n for n, _ in zip(plain(9), range(5), strict=False)] == [0, 1, 3, 6, 10]
    assert plain(9).result() == 36
    assert dict(trax.map(square, range(4))) == {0: 0, 1: 1, 2: 4, 3: 9}
    assert dict(trax.map(square, range(6))) == {n: n * n for n in range(6)}
    with trax.Trax() as store:
        for word in "abc":
            store.log(words=word)
        assert store.recover("words", list, lambda words, word: [*words, word]) == ["a", "b", "c"]
    for name in ("folded", "plain", "square", "words"):
        logs = Path(".trax/runs", name).glob("log-*")
        assert any(b"time" in log.read_bytes() for log in logs)
        assert trax.verify(name).good
    assert trax.repair("folded").step == 10


@pytest.mark.usefixtures("at_each_step")
def test_the_time_is_no_position_and_is_not_kept_in_checkpoints() -> None:
    run = folded(10)
    for _ in range(6):
        next(run)
    run.close()
    folded(10).result()
    for path in Path(".trax/runs/folded").glob("checkpoint-*"):
        assert b"time" not in path.read_bytes()


@pytest.mark.usefixtures("at_each_step")
def test_nothing_is_noted_where_nothing_is_logged() -> None:
    @trax.resumable(create=list, replay_log=None, name="unlogged")
    def loop(state: list[int]) -> Iterator[None]:
        while len(state) < 5:
            state.append(1)
            yield

    loop().result()
    assert {path.stat().st_size for path in Path(".trax/runs/unlogged").glob("log-*")} == {1024}
    assert status(Path(".trax/runs/unlogged/journal"))["logged"] is False


def test_a_time_that_the_disk_refuses_leaves_no_trace() -> None:
    directory = MemoryDirectory()
    writer = Writer(directory)
    writer.append()
    before = directory.files()
    log = writer.generations._log
    assert log is not None

    def refuse(_: object) -> int:
        raise OSError(errno.ENOSPC, "full")

    log._write = refuse
    writer.generations.note_time()
    log.trust()
    assert directory.files() == before
    writer.append()
    assert writer.acknowledged == 2


# -- changes -------------------------------------------------------------------------------


@pytest.mark.parametrize("key", [None, KEY])
def test_a_change_is_the_status_and_then_an_event(key: Key | None) -> None:
    """After the event that tells how the run was left before, and before that of the opening."""
    directory = MemoryDirectory(key=key)
    begun(directory).end("done", 7, Place(2, 1260, 0xABC), total=9)
    Journal(directory).mark("rewound", RUN, 3)
    found = read_status(content(directory), key)
    assert (found["state"], found["reason"], found["step"], found["total"]) == (
        "stopped",
        "rewound",
        3,
        9,
    )
    assert (found["generation"], found["length"]) == (0, len(content(directory)))
    begun(directory, 3, resumed=True).end("done", 8, NOWHERE)
    told = read_events(content(directory), key)
    assert [(one["event"], one["step"]) for one in told] == [
        ("began", 0),
        ("done", 7),
        ("rewound", 3),
        ("resumed", 3),
    ]
    found = read_status(content(directory), key)
    assert (found["state"], found["resumes"], "change" in found) == ("done", 1, False)


def test_a_run_that_was_made_so_has_its_origin_first() -> None:
    """Even if the process that opens it dies at once."""
    directory = MemoryDirectory()
    Journal(directory).mark("forked", RUN, 3, "forked from there")
    begun(directory, 3, resumed=True)
    begun(directory, 3, resumed=True)
    told = read_events(content(directory), None)
    assert [one["event"] for one in told] == ["forked", "resumed", "killed", "resumed"]
    assert told[0]["reason"] == "forked from there"


def test_a_change_of_another_run_is_not_that_of_this_one() -> None:
    directory = MemoryDirectory()
    begun(directory).end("done", 7, NOWHERE)
    Journal(directory).mark("rewound", "1" * 32, 3)
    found = read_status(content(directory), None)
    assert (found["run"], found["resumes"], found["began"]) == ("1" * 32, 0, None)
    assert [one["event"] for one in read_events(content(directory), None)] == ["began"]
