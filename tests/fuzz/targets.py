"""The readers, and what must hold whatever they are given.

A target gives what a recipe stands for to a reader, and returns what that made of it. `attempt`
calls it and checks what holds for all:

- Only the errors come out that are documented: those of trax, and inside of the storage its
  findings.
- Reading takes no more memory than a small multiple of what is read, and it ends.
- What is unpickled, every checksum of it holds, and every signature where there is a key.
- The same input gives the same answer.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import hashlib
import json
import os
import random
import re
import shutil
import signal
import sys
import tempfile
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

import trax
from fuzz.recipe import NAME, SECRET, Store, build, context_of, data_of, fold, songs
from trax.errors import CorruptionError, LockedError, TraxError, UsageError
from trax.storage.checkpoint import read_checkpoint, read_meta
from trax.storage.codec import Encoded, encode
from trax.storage.context import decode_context, encode_context
from trax.storage.filenames import REPAIR, FileName, decode_run, encode_run
from trax.storage.lock import Lock
from trax.storage.log import open_log
from trax.storage.process import process
from trax.storage.records import Damage, Forged, NewerVersion
from trax.storage.run_reader import RunReader
from trax.storage.run_writer import RunWriter
from trax.testing.memory import MemoryDirectory

__all__ = ["TARGETS", "Target", "attempt", "watch"]

_SECONDS = 10  # of the processor's time; what takes milliseconds, and nothing waits
_MULTIPLE = 64  # JSON takes up to 30 times its length
_BASE = 8 << 20  # bytes: what trax takes for itself, above all the first time


_ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+")


class Escape(BaseException):
    """What was read reaches for something that no reader may touch."""


# -- a log, a checkpoint -------------------------------------------------------------------


def log(store: Store) -> Any:
    """Read every file as a log."""
    directory = MemoryDirectory(store.files, key=store.key)
    return [_read_log(directory, name) for name in sorted(store.files)]


def _read_log(directory: MemoryDirectory, name: str) -> Any:
    size = directory.open(name).size
    try:
        with open_log(directory, name) as reader:
            found = [_plain(encoded) for encoded in reader]
            behind = [reader.valid_after(beginning=beginning) for beginning in (False, True)]
            assert 0 <= reader.offset <= reader.flaw_offset <= size
            assert behind[0] is None or reader.flaw_offset < behind[0] < size
            return found, reader.count, reader.chain, reader.flaw, reader.flaw_offset, behind
    except Damage as damage:
        return _place(damage, size)
    except (Forged, NewerVersion) as refused:
        return str(refused)


def _place(damage: Damage, size: int) -> str:
    assert 0 <= damage.offset <= size
    return f"{damage.reason} at {damage.offset}"


def _plain(encoded: Encoded) -> Any:
    """Return what there is of an object without unpickling it."""
    parts = [encoded.payload, *encoded.buffers, encoded.context]
    return encoded.kind, [bytes(part) for part in parts]


def checkpoint(store: Store) -> Any:
    """Read every file as a checkpoint."""
    directory = MemoryDirectory(store.files, key=store.key)
    found = [name for name in map(FileName.parse, sorted(store.files)) if name]
    return [_answer_of(read, directory, name) for name in found for read in (_whole, read_meta)]


def _answer_of(
    read: Callable[[MemoryDirectory, FileName], Any], directory: MemoryDirectory, name: FileName
) -> str:
    try:
        return repr(read(directory, name))
    except Damage as damage:
        return _place(damage, directory.open(str(name)).size)
    except (Forged, NewerVersion) as refused:
        return str(refused)


def _whole(directory: MemoryDirectory, name: FileName) -> Any:
    found = read_checkpoint(directory, name)
    return found.fields, found.meta, {key: _plain(part) for key, part in found.parts.items()}


# -- a run ---------------------------------------------------------------------------------


def run(store: Store) -> Any:
    """Recover a run, put it right, go on, and recover it again: nothing that was read is lost."""
    directory = MemoryDirectory(store.files, boot=store.boot, key=store.key)
    said: list[str] = []
    try:
        recovery, found = _recovered(directory)
    except TraxError as error:
        return _told(error)
    finally:
        assert directory.files() == store.files, "reading has changed something"
    generations = RunWriter(directory, NAME, sync="os", keep=2, report=said.append)
    try:
        generations.adopt(recovery)
        for _ in range(2):
            generations.append(encode("next", "increment"))
        again = _recovered(directory)[1]
        assert again[:2] == found[:2]
        assert again[2] == found[2] + [_plain(encode("next", "increment"))] * 2
        assert recovery.context.items() <= _recovered(directory)[0].context.items()
        generations.checkpoint({"step": 2}, {"state": encode("state", "state")}, derived=True)
        generations.append(encode("last", "increment"))
        generations.close()
    except TraxError as error:
        told = _told(error)
        assert not told.startswith("CorruptionError"), told
        return found, said, told
    last, behind = _recovered(directory)
    assert last.checkpoint is not None
    assert last.position.step == recovery.position.step + 3
    assert behind[2] == [_plain(encode("last", "increment"))]
    return found, said, recovery.position, recovery.torn, recovery.context


def _recovered(directory: MemoryDirectory) -> tuple[RunReader, Any]:
    recovery = RunReader(directory, NAME)
    base = recovery.checkpoint
    parts = {key: _plain(part) for key, part in base.parts.items()} if base else {}
    meta = repr(base.meta) if base else ""
    return recovery, [parts, meta, [_plain(encoded) for encoded in recovery.increments()]]


def _told(error: TraxError) -> str:
    assert str(error)
    if isinstance(error, CorruptionError):
        assert error.path
    return f"{type(error).__name__}: {error}"


# -- small things --------------------------------------------------------------------------


def context(data: bytes) -> Any:
    """Take a context apart."""
    try:
        found = decode_context(data)
    except Damage as damage:
        return _place(damage, len(data))
    again = encode_context(found.items())
    assert decode_context(again) == found
    assert again == data or len(again) < len(data)  # a key may be there twice
    return found


def lock(note: bytes) -> Any:
    """Be told who holds a lock whose file says anything."""
    with _sandbox() as directory:
        path = directory / "lock"
        held = Lock(str(path), "the run")
        try:
            path.write_bytes(note)
            Lock(str(path), "the run")
        except LockedError as error:
            return str(error)
        finally:
            held.release()
    raise AssertionError("two hold the lock")


def names(text: str) -> Any:
    """Take names of files and of runs apart."""
    found = FileName.parse(text)
    if found is not None:
        assert str(found) == text
        assert found.generation > 0
    decode_run(text)
    try:
        encoded = encode_run(text)
    except UsageError as error:
        return str(error)
    assert decode_run(encoded) == text
    assert not {"/", "\0"} & set(encoded)
    assert encoded not in ("", ".", "..")
    return found, encoded


# -- a store on the disk -------------------------------------------------------------------


def load(built: Store) -> Any:
    """Load a run in every way there is, without changing a byte."""
    with _sandbox() as directory:
        store = _put(built, directory)
        before = _tree(directory)
        ways: list[Callable[[], Any]] = [
            lambda: trax.load(NAME, traxdir=store),
            lambda: trax.load(NAME, traxdir=store, replay_log=fold),
            lambda: trax.Trax(store).recover(NAME, replay_log=fold),
        ]
        answers = [_answer(way) for way in ways]
        assert _tree(directory) == before, "reading has changed something"
        return answers


def core(built: Store) -> Any:
    """Go on with a run through `Trax`."""
    with _sandbox() as directory:
        store = _put(built, directory)

        def go_on() -> Any:
            with trax.Trax(store, sync="os") as opened:
                opened.log(run="more")
                opened.checkpoint(run="state")
                opened.log(run="most")
                return opened.recover(NAME, replay_log=fold)

        return _answer(go_on)


def resume(built: Store) -> Any:
    """Resume a loop from a run, and load what it has stored."""
    with _sandbox() as directory:
        store = _put(built, directory)
        before = _tree(store / "runs")
        with _states_of_random():
            answer = _answer(lambda: _loop(store))
        if "CorruptionError" in answer:
            assert _tree(store / "runs") == before, "an error has changed something"
        return answer


def verify(built: Store) -> Any:
    """Verify a run, without unpickling or changing anything."""
    with _sandbox() as directory:
        store = _put(built, directory)
        before = _tree(directory)
        answer, found = _kept(lambda: trax.verify(NAME, traxdir=store))
        assert _tree(directory) == before, "reading has changed something"
        assert not songs, "something was unpickled"
        if found:
            json.dumps(found.as_dict())
            assert found.good == (not found.problems)
            assert not (found.good and found.step is None)
        return answer


def repair(built: Store) -> Any:
    """Repair a run: nothing is changed, or it goes on at the step that is told."""
    with _sandbox() as directory:
        store = _put(built, directory)
        run = store / "runs" / NAME
        before = _tree(run)
        verified = _kept(lambda: trax.verify(NAME, traxdir=store))[1]
        answer, repaired = _kept(lambda: trax.repair(NAME, traxdir=store))
        assert not songs, "something was unpickled"
        if repaired is None or repaired.aside is None:
            assert _tree(run) == before, "something was changed, and none of it told"
        elif REPAIR not in before:  # else the copy was made when the repair was begun
            assert _tree(Path(repaired.aside)) == before, "what was there is not all kept"
        if repaired is None:
            assert verified is None or verified.step is None, "what goes on is not repaired"
            return answer
        json.dumps(repaired.as_dict())
        after = _kept(lambda: trax.verify(NAME, traxdir=store))[1]
        if after is None:  # it reads what is older, and nothing there is anybody's to trust
            assert (verified, repaired.aside) == (None, None)
        else:
            assert after.step == repaired.step or (REPAIR in before and after.step is None)
        if verified is not None and verified.step is not None:
            assert (repaired.step, repaired.aside) == (verified.step, None)
        if after is not None and after.step is None:  # output files were made shorter meanwhile
            return answer
        again = trax.repair(NAME, traxdir=store)
        assert (again.step, again.lost, again.aside) == (repaired.step, 0, None)
        return answer


def _kept(way: Callable[[], Any]) -> tuple[str, Any]:
    """Return what is told, and what was returned where that was no error."""
    try:
        returned = way()
    except TraxError as error:
        return _told(error), None
    return str(returned), returned


def _loop(store: Path) -> Any:
    @trax.resumable(
        create=list,
        replay_log=fold,
        name=NAME,
        traxdir=store,
        sync="os",
        varying="to",
        signals=None,
        check=False,
    )
    def loop(state: Any, generator: np.random.Generator, to: int) -> Iterator[Any]:
        with trax.open("out.txt", "a") as file:
            for number in range(to):
                print(number, file=file)
                yield [
                    number,
                    random.random(),
                    int(generator.integers(9)),
                    float(np.random.random()),
                ]

    return loop(np.random.default_rng(1), 2).result()


def _answer(way: Callable[[], Any]) -> str:
    try:
        with contextlib.redirect_stderr(None):
            return repr(way())
    except TraxError as error:
        return _told(error)


def _put(store: Store, directory: Path) -> Path:
    """Write the files of a run into a directory, as far as they have names that files have."""
    path = directory / ".trax" / "runs" / NAME
    path.mkdir(parents=True, mode=0o700)
    os.environ["TRAX_KEY"] = SECRET.hex() if store.key else ""
    (directory / "out.txt").write_text("0\n" * 50)
    for name, content in store.files.items():
        if name and not set(name) & {"/", "\0"} and name not in (".", ".."):
            with contextlib.suppress(OSError, UnicodeEncodeError):
                (path / name).write_bytes(content)
                (path / name).chmod(0o600)
    return directory / ".trax"


def _tree(directory: Path) -> dict[str, bytes]:
    found = (path for path in directory.rglob("*") if path.is_file())
    return {str(path.relative_to(directory)): path.read_bytes() for path in found}


@contextlib.contextmanager
def _states_of_random() -> Iterator[None]:
    """Put the global generators back: a run sets them to where it left them."""
    state, numpy = random.getstate(), np.random.get_state()
    try:
        yield
    finally:
        random.setstate(state)
        np.random.set_state(numpy)


# -- what holds for all --------------------------------------------------------------------


_here: list[str] = []  # the directory that alone may be written to; empty: nobody is watched
_MODULES = {"numpy", "random", "copyreg", "builtins", "nowhere", "fuzz", "_codecs", "cloudpickle"}
_MEMORY = "/dev/shm" if os.path.isdir("/dev/shm") else None  # where forcing costs nothing


@contextlib.contextmanager
def _sandbox() -> Iterator[Path]:
    """Give an empty directory, with the same name every time, and watch what is written."""
    directory = Path(_base(os.getpid()), "here")
    directory.mkdir(mode=0o700)
    _here.append(str(directory))
    try:
        with contextlib.chdir(directory):
            yield directory
    finally:
        _here.pop()
        shutil.rmtree(directory)


@functools.cache
def _base(pid: int) -> str:
    base = os.path.realpath(tempfile.mkdtemp(prefix="trax-fuzz-", dir=_MEMORY))
    atexit.register(shutil.rmtree, base, ignore_errors=True)
    return base


def _guard(event: str, arguments: tuple[Any, ...]) -> None:
    """Let nothing that was read write elsewhere, or reach for what no recipe has."""
    if not _here:
        return
    if event == "open" and isinstance(arguments[0], (str, bytes)):
        name = os.fsdecode(arguments[0])
        # A name alone is one in a directory that is open, or in the present one, the sandbox.
        is_inside = "/" not in name or os.path.realpath(name).startswith(_here[-1])
        writes = arguments[2] & (os.O_WRONLY | os.O_RDWR)
        if writes and not is_inside and name != os.devnull:
            raise PermissionError(1, "outside of the sandbox", name)
    if event == "pickle.find_class" and str(arguments[0]).partition(".")[0] not in _MODULES:
        raise Escape(arguments)


@functools.cache
def watch() -> None:
    """Watch from now on what is done in sandboxes."""
    sys.addaudithook(_guard)


def attempt(target: Target, recipe: Any, *, thorough: bool = True) -> None:
    """Call a target, and check what must hold for each.

    How much memory it takes, and whether it answers the same again, is checked where `thorough`.
    """
    watch()
    songs.clear()
    given = target.prepare(recipe)
    size = given.size if isinstance(given, Store) else len(given)
    if thorough:
        first, second = (_measured(target.read, given, size) for _ in range(2))
        assert _digest(first) == _digest(second), (first, second)
    else:
        with _in_time():
            target.read(given)
    allowed = given.allowed if isinstance(given, Store) else ()
    assert set(songs) <= set(allowed), "something was unpickled whose checksum does not hold"


def _measured(read: Callable[[Any], Any], given: Any, size: int) -> Any:
    tracemalloc.start()
    try:
        with _in_time():
            answer = read(given)
        taken = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert taken <= _BASE + _MULTIPLE * size, f"{taken} bytes were taken for {size}"
    return answer


def _digest(answer: Any) -> str:
    told = _ADDRESS.sub("", repr(answer))
    return hashlib.sha256(told.encode(errors="surrogatepass")).hexdigest()


@contextlib.contextmanager
def _in_time() -> Iterator[None]:
    """Raise where the processor is busy for too long."""

    def too_long(number: int, frame: Any) -> None:
        raise Escape("it takes too long")

    before = signal.signal(signal.SIGPROF, too_long)
    signal.setitimer(signal.ITIMER_PROF, _SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)


class Target(NamedTuple):
    """What makes of a recipe what is read, and what reads it."""

    prepare: Callable[[Any], Any]
    read: Callable[[Any], Any]


def _data(recipe: Any) -> bytes:
    """Return a text in JSON, or what a recipe of bytes stands for."""
    if isinstance(recipe, str) or (isinstance(recipe, dict) and "raw" in recipe):
        return data_of(recipe)
    return json.dumps(recipe).encode()


def _text(recipe: Any) -> str:
    return recipe if isinstance(recipe, str) else data_of(recipe).decode("latin-1")


def _here_and_now(recipe: Any) -> Store:
    return build(recipe, process.boot_id())


TARGETS = {
    "log": Target(build, log),
    "checkpoint": Target(build, checkpoint),
    "run": Target(build, run),
    "context": Target(context_of, context),
    "lock": Target(_data, lock),
    "names": Target(_text, names),
    "load": Target(_here_and_now, load),
    "core": Target(_here_and_now, core),
    "resume": Target(_here_and_now, resume),
    "verify": Target(_here_and_now, verify),
    "repair": Target(_here_and_now, repair),
}
