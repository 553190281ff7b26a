"""Runs the stored steps of a run again, under the present code, and compares them with its log."""

from __future__ import annotations

import contextlib
import os
import pickle
import shutil
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, TypeVar

from trax.calls.content import DONE
from trax.calls.fingerprint import changed_names
from trax.comparing import difference, freeze
from trax.engine.async_driver import AsyncRun
from trax.engine.sync_driver import Run
from trax.errors import (
    CorruptionError,
    DivergedError,
    LockedError,
    NotFoundError,
    TraxError,
    UsageError,
)
from trax.frames.edition import Edition
from trax.frames.program import program_of
from trax.fsck.repair import repair
from trax.storage.codec import Encoded, decode
from trax.storage.context import EDITION, Key, Kind, decode_context, parts_of
from trax.storage.filenames import FileName
from trax.storage.filesystem import copy_directory, make_directory
from trax.storage.messages import not_stored
from trax.storage.run_reader import RunReader
from trax.storage.store import Store
from trax.testing.causes import ELSEWHERE
from trax.testing.recording import common
from trax.testing.trials import (
    END,
    Checked,
    Driver,
    Trials,
    outer_rngs,
    temporary_directory,
    trials_of,
)
from trax.tracking.truncate import extents

__all__ = ["check_stored"]

T = TypeVar("T")

_SIDES = "stored", "now"


def check_stored(
    run: Run[Any, Any, Any] | AsyncRun[Any, Any],
    *,
    steps: int | None = None,
    prepare: Callable[[], object] | None = None,
) -> Checked:
    """Check that the present code goes the way that a stored run went.

    The run is resumed from the oldest checkpoint that is stored, and from the step before its last
    one. Each time the steps after that are run again: every increment must be the same as in the
    log, to the last bit. So must the state at the end, the result of a run that is done, the
    positions of RNGs, and the output files.

    That is done in copies of the run and its output files, in temporary directories, one of which
    is the current directory while the loop runs. So nothing stored is changed, and nothing is
    written to it. But the loop's body runs: what it does to the outside, it does again.

    Parameters
    ----------
    run : Run or AsyncRun
        A call of the decorated function, with the arguments of the stored run, from which no
        increment was requested yet.
    steps : int or None
        The largest number of steps to run again, the last ones, if there is a checkpoint before
        them. None: all that are stored.
    prepare : callable, optional
        A function that does the work of a script before the call; see `check_resume`.

    Returns
    -------
    Checked
        The number of steps that were run again, and of the places from which the loop was resumed.

    Raises
    ------
    DivergedError
        The present code goes another way. The message gives the step, both values, and the function
        whose code has changed; `step`, `stored` and `present` have them too.
    NotFoundError
        Nothing is stored, or no step that could be run again.
    TraxError
        The run cannot be resumed, as when it is called: with other arguments, for example.

    Examples
    --------
    >>> import trax
    >>> from trax.testing import check_stored
    >>> factor = 2
    >>> @trax.resumable(create=lambda: 1)
    ... def powers(n, below):
    ...     while n < below:
    ...         n = yield n * factor
    >>> powers(below=100).result()
    128
    >>> check_stored(powers(below=100)).steps  # the first checkpoint is not needed any more
    6
    >>> factor = 3
    >>> check_stored(powers(below=100))  # doctest: +ELLIPSIS
    Traceback (most recent call last):
        ...
    trax.DivergedError: 'powers' goes another way at step 1: increment: stored 4, now 6
    ...
    """
    with trials_of(run, None, 0, prepare, (), steps) as trials:
        stored = _StoredRun(trials)
        oldest = stored.first if steps is None else max(stored.first, stored.last - steps)
        places = sorted({oldest, stored.last - 1})
        done = max([stored.run_from(place) for place in places])
        return Checked(done, len(places))


class _End(NamedTuple):
    """The run at its last stored step, as a call that resumes it finds it."""

    step: int
    is_done: bool
    state: bytes
    result: bytes
    files: dict[str, bytes] = {}  # noqa: RUF012  # it is replaced, and never changed


class _StoredRun:
    """A stored run, of which copies are resumed.

    Attributes
    ----------
    first, last : int
        The oldest step from which it can be resumed, and its newest step.
    """

    def __init__(self, trials: Trials) -> None:
        self._trials = trials
        self._call = trials.call
        self._name = trials.name
        self._path = trials.store.path
        self._here = os.path.realpath(os.getcwd())
        if not trials.store.files(self._name):
            raise not_stored(self._name, self._path, "Check the arguments and the directory.")
        if trials.store.is_held(self._name):
            raise LockedError(
                f"the run {self._name!r} is open in a process, and its files change meanwhile.\n"
                "Check it when it is closed."
            )
        self._newest = self._read(trials.store)
        self._outputs = self._find_outputs()
        self._log: dict[int, Encoded] = {}
        self.first = self._find_increments()
        self._end = self._find_end()
        self.last = self._end.step
        if self.first >= self.last:
            raise NotFoundError(
                f"no step of {self._name!r} is stored with a checkpoint before it.\n"
                "Keep more checkpoints, as in keep=5."
            )

    # -- what is stored --------------------------------------------------------------------

    def _read(self, store: Store) -> RunReader:
        reader = store.recover(self._name)
        assert reader is not None  # it has files
        return reader

    def _find_outputs(self) -> list[str]:
        """Return the paths of the output files at the end; all must be relative."""
        self._newest.read()
        found = [*extents(self._path, self._newest.context)]
        names = [key.name for key in self._newest.context]
        for path in found:
            if path in names:
                raise UsageError(
                    f"{self._name!r} writes to {path}, which a copy of the run would share.\n"
                    "Only a loop that gives trax.open() relative paths can be checked."
                )
        return found

    def _find_increments(self) -> int:
        """Read all increments that are stored; return the step of the checkpoint before them."""
        names = sorted(filter(None, map(FileName.parse, self._trials.store.files(self._name))))
        for base in [name.generation for name in names if name.kind == "checkpoint"]:
            newer = [name for name in names if name.generation > base]
            if self._call.log_mode.is_logged:
                newer = [name for name in newer if name.kind == "checkpoint"]
            # Without the newer checkpoints the log is read from this one on, unless that does not
            # lead to them, as after a migration.
            with self._copied() as store, contextlib.suppress(CorruptionError):
                for name in newer:
                    os.remove(os.path.join(store.run_path(self._name), str(name)))
                reader = self._read(store)
                first = reader.step
                increments = [*reader.increments()]
                self._log = dict(enumerate(increments, first + 1))
                self._trials.order = [*filter(None, map(_key_digest, increments))]
                return first
        raise self._newest.damaged_base("no checkpoint is valid")

    def _find_end(self) -> _End:
        def look(driver: Driver) -> _End:
            run, is_plain = driver.run, self._call.is_plain
            return _End(
                run.step,
                run.done,
                b"" if is_plain else freeze(run.state),
                freeze(run._lifecycle.result),  # noqa: SLF001
            )

        end, files = self._resume(None, look)
        return end._replace(files=files)

    # -- copies ----------------------------------------------------------------------------

    @contextlib.contextmanager
    def _copied(self) -> Iterator[Store]:
        """Copy the run for the length of a block, into a store of its own.

        That lies below a temporary directory as the run's store lies below the root.
        """
        with temporary_directory() as root:
            store = Store(root + self._path)
            make_directory(os.path.dirname(store.run_path(self._name)))
            copy_directory(self._trials.store.run_path(self._name), store.run_path(self._name))
            yield store

    def _resume(self, step: int | None, play: Callable[[Driver], T]) -> tuple[T, dict[str, bytes]]:
        """Resume a copy that is taken back to a step; also return the output files after that."""
        with self._copied() as store:
            # The output files lie likewise, so that relative paths lead from one to the other.
            root = store.path.removesuffix(self._path)
            for path in self._outputs:
                os.makedirs(os.path.dirname(root + path), exist_ok=True)
                with contextlib.suppress(FileNotFoundError):  # recovery tells
                    shutil.copyfile(path, root + path)
            os.makedirs(root + self._here, exist_ok=True)
            if step is not None:
                repair(self._name, step=step, traxdir=store.path)
            with self._trials.process(root + self._here, "first"):
                run = self._trials.new_run(keeps_first_state=True, traxdir=store.path)
                with contextlib.closing(Driver(run)) as driver:
                    played = play(driver)
            return played, {path: _content(root + path) for path in self._outputs}

    # -- comparisons -----------------------------------------------------------------------

    def run_from(self, step: int) -> int:
        """Resume a copy at a step, run it to the last stored one; return the number of steps."""
        done, files = self._resume(step, self._run_again)
        for path, then in self._end.files.items():
            if files[path] != then:
                place = common(then, files[path])
                raise self._diverged(None, f"other output, from offset {place:,} of {path} on")
        return done

    def _run_again(self, driver: Driver) -> int:
        run, begun = driver.run, driver.run.step
        while run.step < self.last:
            step = run.step
            increment = self._next(driver)
            if increment is END:
                self._check_items(step)
                raise self._diverged(step, "the loop has ended there", self._stored(step))
            if step + 1 in self._log:  # without a log only the state is stored
                stored = self._stored(step)
                found = difference(stored, increment, "increment", sides=_SIDES)
                if found:
                    raise self._diverged(step, found, stored, increment)
        end = self._end
        if end.is_done and (increment := self._next(driver)) is not END:
            raise self._diverged(self.last, "the loop goes on there", None, increment)
        self._compare_end("state", end.state, b"" if self._call.is_plain else freeze(run.state))
        if end.is_done:
            self._compare_end("result", end.result, freeze(run._lifecycle.result))  # noqa: SLF001
        self._compare_rngs(driver)
        return self.last - begun

    def _check_items(self, step: int) -> None:
        """Refuse a call without the item of a step, counted from 0, which a call may leave out."""
        if step + 1 in self._log and _key_digest(self._log[step + 1]):
            raise UsageError(
                f"check_stored() of {self._name!r} needs the items of all stored steps, and got "
                f"none for step {step + 1:,}\n"
                "Give it those with which the run was stored, in any order."
            )

    def _next(self, driver: Driver) -> Any:
        step = driver.run.step
        try:
            return driver.next()
        except TraxError:
            raise
        except FileNotFoundError as error:
            error.add_note(ELSEWHERE)
            raise
        except Exception as error:
            found = f"the loop raises {type(error).__name__}: {error}"
            raise self._diverged(step, found, self._stored(step)) from error

    def _stored(self, step: int) -> Any:
        """Return the increment of a step, counted from 0; None if it is not in the log."""
        encoded = self._log.get(step + 1)
        label = f"the increment of step {step + 1:,} of {self._name!r}"
        return None if encoded is None else decode(encoded, label, self._call.names)

    def _compare_end(self, what: str, then: bytes, now: bytes) -> None:
        if then == now:
            return
        stored, present = pickle.loads(then), pickle.loads(now)
        found = difference(stored, present, what, sides=_SIDES)
        if found:
            raise self._diverged(self.last, found, stored, present)

    def _compare_rngs(self, driver: Driver) -> None:
        call = driver.run._lifecycle._call  # noqa: SLF001
        now = {name: rng.parts() for name, rng in outer_rngs(call).items()}
        for name, rng in outer_rngs(call).items():
            stored = tuple(parts_of(self._newest.context, Key(Kind.OUTER_RNG, name)))
            if stored:
                rng.restore(stored)
        # The same position can be described in several ways, but not by RNGs that are tracked anew.
        for name, rng in outer_rngs(call).items():
            if rng.parts() != now[name]:
                raise self._diverged(self.last, f"{name} has drawn other numbers")

    def _diverged(
        self, step: int | None, found: str, stored: Any = None, present: Any = None
    ) -> DivergedError:
        place = "" if step is None else f" at step {step:,}"
        lines = [f"{self._name!r} goes another way{place}: {found}", "Nothing stored was changed."]
        edits = self._edits()
        if edits:
            lines.append(f"The code was changed ({', '.join(edits)}): put it back for this run.")
        else:
            lines.append("Look at the functions that it calls, what it reads, and the time.")
        lines.append("Or start over with fresh(...).")
        return DivergedError("\n".join(lines), step, stored, present)

    def _edits(self) -> list[str]:
        """Return the functions that were changed; of a plain loop the first line."""
        call, stored = self._call, self._newest.context.get(EDITION)
        if stored is not None:
            present = Edition.of(program_of(call.function.__code__))
            return [line for line in [Edition.decode(stored).first_change(present)] if line]
        return changed_names(self._newest.meta.get("code", {}), call.code)


def _key_digest(encoded: Encoded) -> bytes | None:
    """Return the digest of the key of an increment's item, if it has one."""
    return decode_context(encoded.context).get(DONE) if encoded.context else None


def _content(path: str) -> bytes:
    with contextlib.suppress(FileNotFoundError), open(path, "rb") as file:
        return file.read()
    return b""
