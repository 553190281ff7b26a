"""Whichever call of the disk fails, in whatever way: what was acknowledged is kept.

Somebody works on a disk one call of which fails, once or from then on. They go on where that is
possible, and start again where it is not. Then the disk is well again, and everything must go on.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import itertools
import os
import random
from collections.abc import Callable
from typing import Any, NamedTuple

import pytest
from faults import ERRORS, Fault, FaultyDirectory, Interrupt
from support import Writer, flipped, read, with_next_boot, write

from trax import DurabilityError, StorageError
from trax.storage.context import Key, encode_context
from trax.testing.memory import MemoryDirectory, crash_images

STRIDE = 7  # of the images that power cuts can leave, so many are passed over for one
SHARES = {"nothing happened": 0.0, "half of it happened": 0.5, "it happened": 1.0}


def torn() -> dict[str, bytes]:
    """Return a store whose last log ends in half an increment."""
    files = written("caca")
    files["log-00000002"] = files["log-00000002"][:-5]
    return files


def broken() -> dict[str, bytes]:
    """Return a store whose newest checkpoint is damaged."""
    files = written("caca")
    return {**files, "checkpoint-00000002": flipped(files["checkpoint-00000002"], 1100)}


def unborn() -> dict[str, bytes]:
    """Return a store that was left in the middle of a checkpoint."""
    files = written("caca")
    files["log-00000003"] = files["log-00000002"][:300]
    files["checkpoint-00000003.tmp"] = b"half of it"
    return files


def never_begun() -> dict[str, bytes]:
    """Return a store whose first checkpoint never came."""
    return {"log-00000001": written("c")["log-00000001"]}


def written(text: str) -> dict[str, bytes]:
    """Return the files of a store."""
    directory = MemoryDirectory()
    write(directory, text)
    return directory.files()


class Phase(NamedTuple):
    """What is done while the disk fails, what it begins with, and how many checkpoints stay."""

    text: str
    files: Callable[[], dict[str, bytes]] = dict
    keep: int = 2


PHASES = {
    "first log": Phase("aasca"),
    "checkpoints": Phase("caasaca|acaa"),
    "pruning": Phase("acacacaca"),
    "pruning to one": Phase("cacaca", keep=1),
    "closing": Phase("caaeaeca"),
    "background": Phase("cabaawabaeacabaca|aba"),
    "background to one": Phase("cabawabawaba", keep=1),
    "output": Phase("conaosaonacoa"),
    "torn": Phase("|aca", torn),
    "broken": Phase("|acaca", broken),
    "unborn": Phase("|aca", unborn),
    "never begun": Phase("|aca", never_begun),
}


class Person:
    """Somebody whose disk fails: goes on where that is possible, starts again where it is not.

    The letters are those of `support`, and two more: o, write to an output file; n, note where
    it ends.

    Attributes
    ----------
    acknowledged, attempted : int
        At least, and at most, so many steps are stored.
    promised : int
        So many steps survive a power cut.
    """

    def __init__(self, directory: FaultyDirectory, sync: str, keep: int) -> None:
        self.directory = directory
        self.sync = sync
        self.keep = keep
        self.acknowledged = self.attempted = read(MemoryDirectory(directory.inner.files()))
        self.promised = self.acknowledged
        self.writer: Writer | None = None
        self.output: BaseException | None = None
        self.is_forced = True

    def play(self, text: str) -> None:
        for letter in text:
            try:
                self.act(letter)
            except StorageError as error:
                said = str(error)
                is_caused = isinstance(error.__cause__, OSError)
                assert "again" in said and is_caused  # noqa: PT018  # whichever call it was
            except OSError:  # in reading, before anything is held; the store names it
                assert self.writer is None
            except (KeyboardInterrupt, MemoryError):
                pass
            if self.writer is not None:
                assert self.acknowledged <= self.writer.step <= self.attempted

    def act(self, letter: str) -> None:
        if letter == "|":
            self.writer = None
        if self.writer is None:
            self.begin()
        assert self.writer is not None
        generations = self.writer.generations
        self.attempted = max(self.attempted, self.writer.step + (letter == "a"))
        if letter == "o":
            self.is_forced = False
        elif letter == "n":
            generations.note(encode_context([(Key.parse("note#0"), bytes(8))]))
            self.promised = self.writer.step
        elif letter == "e":
            writer, self.writer = self.writer, None
            writer.close()
            self.promised = generations.position.step
        elif letter != "|":
            self.writer.play(letter)
            self.acknowledged = self.writer.acknowledged
            log = generations._log
            is_sure = log is not None and log.failure is None and not generations.suspect
            if letter in "bc" or (letter == "s" and is_sure):
                self.promised = self.writer.step
        if self.sync == "always":
            self.promised = max(self.promised, self.acknowledged)

    def begin(self) -> None:
        writer = Writer(self.directory, sync=self.sync, keep=self.keep)
        assert self.acknowledged <= writer.step <= self.attempted
        self.acknowledged = self.promised = self.attempted = writer.step
        writer.generations.before_sync = self.force_output
        self.output = None
        self.writer = writer

    def force_output(self) -> None:
        """Force the output file; after a failure it is never trusted again."""
        if self.output is not None:
            raise self.output
        if not self.is_forced:
            try:
                self.directory.call("sync output", lambda: None)
            except OSError as error:
                self.output = error
                raise
            self.is_forced = True

    def check(self, offset: int) -> None:
        """Look at what is stored, and at every `STRIDE`th of what power cuts would leave of it."""
        files = self.directory.inner.files()
        assert self.acknowledged <= read(MemoryDirectory(files)) <= self.attempted
        images = crash_images(self.directory.on_disk())
        for image in itertools.islice(images, offset % STRIDE, None, STRIDE):
            assert self.promised <= read(with_next_boot(image)) <= self.attempted

    def check_stand_in(self) -> None:
        """See whether the checkpoint before the newest one gives the same state."""
        files = self.directory.inner.files()
        found = sorted(name for name in files if "checkpoint" in name)
        if len(found) > 1 and self.keep > 1:
            newest = found[-1]
            files[newest] = flipped(files[newest], len(files[newest]) // 2)
            assert read(MemoryDirectory(files)) == self.acknowledged


class Failing(NamedTuple):
    """How the disk fails from some call on."""

    share: float
    lasting: bool
    kind: Callable[[int], BaseException]

    def begin(self, directory: FaultyDirectory, first: int) -> None:
        def fault(number: int, kind: str) -> Fault | int:
            if number == first or (self.lasting and number > first):
                return Fault(self.kind(first), self.share)
            return 0

        directory.fault = fault


def disk_error(number: int) -> OSError:
    """Return one of the errors in turn."""
    errors = [*ERRORS, errno.EINTR]
    error = errors[number % len(errors)]
    return OSError(error, os.strerror(error))


def interrupt(number: int) -> BaseException:
    """Return what may come between any two calls."""
    return KeyboardInterrupt() if number % 2 else MemoryError()


FAILINGS = {
    **{f"{how}, once": Failing(share, False, disk_error) for how, share in SHARES.items()},
    **{f"{how}, lasting": Failing(share, True, disk_error) for how, share in SHARES.items()},
    **{f"{how}, interrupted": Failing(share, False, interrupt) for how, share in SHARES.items()},
}


@pytest.mark.parametrize("sync", ["always", "interval"])
@pytest.mark.parametrize("failing", FAILINGS)
@pytest.mark.parametrize("phase", PHASES)
def test_whichever_call_of_the_disk_fails_what_was_acknowledged_is_kept(
    phase: str, failing: str, sync: str, count: Callable[[str, int], None]
) -> None:
    """The run goes on as soon as the disk is well again; power cuts cost nothing that is forced."""
    text, files, keep = PHASES[phase]
    for number in itertools.count(1):
        directory = FaultyDirectory(files())
        FAILINGS[failing].begin(directory, number)
        person = Person(directory, sync, keep)
        person.play(text)
        if len(directory.calls) < number:
            break
        directory.heal()
        person.check(number)
        same_process = (number + FAILINGS[failing].lasting) % 2
        person.play("aca" if same_process else "|a")
        person.check(number)
        # What could not be forced of an output file, only another process can take up again.
        if person.output is None:
            assert person.acknowledged == person.attempted
            person.check_stand_in()
        person.play("|acaca")
        assert read(MemoryDirectory(directory.inner.files())) == person.attempted
        person.check_stand_in()
    count("disk calls failed", number - 1)


@pytest.mark.parametrize("lasting", [False, True], ids=["once", "lasting"])
@pytest.mark.parametrize("sync", ["always", "interval"])
@pytest.mark.parametrize("phase", PHASES)
def test_a_disk_that_takes_little_at_once_is_no_error(
    phase: str, sync: str, lasting: bool, count: Callable[[str, int], None]
) -> None:
    """Whichever write it is of which only a part is taken."""
    text, files, keep = PHASES[phase]
    for number in itertools.count(1):
        directory = FaultyDirectory(files())

        def limit(call: int, kind: str, number: int = number, disk: Any = directory) -> int:
            disk.mouthful = 7 if call == number or (lasting and call > number) else None
            return 0

        directory.fault = limit
        person = Person(directory, sync, keep)
        for letter in text:
            person.act(letter)
        assert read(MemoryDirectory(directory.inner.files())) == person.attempted
        person.check(number)
        if len(directory.calls) < number:
            break
    count("disk calls failed", number - 1)


class Interrupted(Person):
    """Somebody who presses Ctrl-C somewhere in what the storage does."""

    def __init__(self, directory: FaultyDirectory, sync: str, keep: int, place: int) -> None:
        super().__init__(directory, sync, keep)
        self.interrupt: Any = Interrupt(place, KeyboardInterrupt(), f"{os.sep}storage{os.sep}")

    def act(self, letter: str) -> None:
        with self.interrupt:
            super().act(letter)

    def go_on(self, place: int) -> None:
        self.interrupt = contextlib.nullcontext()
        self.directory.heal()
        self.check(place)
        self.play("aca" if place % 4 < 2 else "|a")
        self.check(place)
        assert self.acknowledged == self.attempted
        self.check_stand_in()
        self.play("|acaca")
        assert self.acknowledged == self.attempted


@pytest.mark.parametrize("sync", ["always", "interval"])
@pytest.mark.parametrize("phase", PHASES)
def test_an_interrupt_that_comes_between_any_two_calls_loses_nothing(
    phase: str, sync: str, count: Callable[[str, int], None]
) -> None:
    """Every fifth place at which it can come; which ones, the seed of the tests decides."""
    text, files, keep = PHASES[phase]
    tried = 0
    for place in itertools.count(1 + random.randrange(5), 5):
        person = Interrupted(FaultyDirectory(files()), sync, keep, place)
        person.play(text)
        if person.interrupt.places < place:
            break
        person.go_on(place)
        tried += 1
    assert tried > 20
    count("interrupts", tried)


def fail_each_once(failing: list[str], number: int, kind: str) -> int:
    """Return the error of the first call of each of these kinds."""
    if kind not in failing:
        return 0
    failing.remove(kind)
    return errno.EIO


@pytest.mark.parametrize("happens", [0, 1])
@pytest.mark.parametrize("text", ["", "ca", "aa"])
def test_an_interrupt_while_a_failed_checkpoint_is_settled_loses_nothing(
    text: str, happens: float
) -> None:
    """A log that only its checkpoint leads to takes no increment before that is there."""
    for place in itertools.count(1):
        directory = FaultyDirectory()
        writer = write(directory, text)
        fault = Fault(OSError(errno.EIO, os.strerror(errno.EIO)), happens)
        directory.fault = functools.partial(_fails_at_rename, fault)
        interrupt = Interrupt(place, KeyboardInterrupt(), f"{os.sep}storage{os.sep}")
        with contextlib.suppress(StorageError, KeyboardInterrupt), interrupt:
            writer.checkpoint(derived=False)
        directory.heal()
        with contextlib.suppress(DurabilityError):
            writer.play("aa")
        assert read(directory) == writer.acknowledged
        writer.play("Ca")
        assert read(directory) == writer.acknowledged == writer.step
        if interrupt.places < place:
            break


def _fails_at_rename(fault: Fault, _: int, kind: str) -> int | Fault:
    return fault if kind == "rename" else 0


@pytest.mark.parametrize("letter", "ascen")
@pytest.mark.parametrize("sync", ["always", "interval"])
def test_an_interrupt_right_after_a_failed_sync_does_not_make_it_forgotten(
    sync: str, letter: str, count: Callable[[str, int], None]
) -> None:
    """A disk hangs, somebody presses Ctrl-C, and then it says that it cannot."""
    for number in itertools.count(2):
        place = number // 2
        directory = FaultyDirectory()
        person = Interrupted(directory, sync, 2, place)
        interrupt, person.interrupt = person.interrupt, contextlib.nullcontext()
        person.play("casaa")
        failing = ["sync", "rename"][: 1 + number % 2]
        directory.fault = functools.partial(fail_each_once, failing)
        person.interrupt = interrupt
        person.play(letter)
        if interrupt.places < place:
            break
        person.interrupt = contextlib.nullcontext()
        person.play("s")
        person.check(place)
        person.play("as")
        person.check(place)
        person.go_on(place)
    count("interrupts", number - 2)
