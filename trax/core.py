"""Named states without a loop: one checkpoint and one log for each name."""

from __future__ import annotations

import os
import weakref
from collections.abc import Callable, Mapping
from datetime import timedelta
from functools import partial
from types import TracebackType
from typing import Any, Literal, NoReturn, Self, SupportsIndex, TypeVar

from trax import notices
from trax._public import public
from trax.calls.log_mode import REPLACE, STORED, check_replay_log, log_mode
from trax.calls.options import SyncOrReplica, check_option, on_disk
from trax.engine.replay import Replayed
from trax.engine.replay import load as load_run
from trax.engine.replicas import copying_of
from trax.errors import StorageError, UsageError
from trax.keep import Keep
from trax.storage.codec import Names, encode, encode_increment
from trax.storage.definitions import Definitions
from trax.storage.filenames import encode_run
from trax.storage.held_run import HeldRun
from trax.storage.lock import Patience
from trax.storage.messages import not_stored
from trax.storage.mutex import Mutex
from trax.storage.store import Store
from trax.whole_numbers import check_whole

__all__ = ["Trax", "load"]

S = TypeVar("S")


@public
class Trax:
    """A store of named states, each a checkpoint and a log of increments after it.

    One process at a time holds a name for writing, from its first `log` or `checkpoint` until
    `close`. Reading needs no lock and disturbs nobody.

    Parameters
    ----------
    traxdir : str or os.PathLike, optional
        The directory of the store; by default ``$TRAX_DIR``, or ``.trax`` if that is not set.
    sync : {"interval", "always", "os", "replica"}
        The time at which increments are forced to the disk: at most a second later, before `log`
        returns, or when the operating system chooses. With each of them, logged increments survive
        the death of the process; with ``"always"`` they survive a power cut too, and with
        ``"replica"`` the loss of the disk. Checkpoints are always forced.
    replica, replica_seconds
        A store of objects to which the states are copied, and how often; see `resumable`.
    keep : int, "all" or Keep
        The number of checkpoints to keep, or a policy; see `resumable`.
    renames : mapping of str to str, optional
        The new names of classes and functions that were moved, for `recover`; see `resumable`.
    wait : float or timedelta
        The time to wait for another process or thread that holds a name; see `resumable`.

    Examples
    --------
    >>> store = Trax()
    >>> store.checkpoint(existence="u")
    >>> for c in "niverse":
    ...     store.log(existence=c)
    >>> store.recover("existence", replay_log=lambda state, increment: state + increment)
    'universe'
    >>> store.close()
    """

    def __init__(
        self,
        traxdir: str | os.PathLike[str] | None = None,
        *,
        sync: SyncOrReplica = "interval",
        replica: str | os.PathLike[str] | None = None,
        replica_seconds: float | timedelta = 1.0,
        keep: int | Literal["all"] | Keep = 2,
        renames: Mapping[str, str] | None = None,
        wait: float | timedelta = 10.0,
    ) -> None:
        self._renames: dict[str, str] = check_option("renames", renames)
        self._wait: float = check_option("wait", wait)
        self._store = Store(traxdir)
        self._sync: SyncOrReplica = check_option("sync", sync)
        self._replica: str | os.PathLike[str] | None = check_option("replica", replica)
        self._replica_seconds: float = check_option("replica_seconds", replica_seconds)
        self._keep: int | Keep = check_option("keep", keep)
        self._held: dict[str, HeldRun] = {}
        self._guard = Mutex()  # other threads wait meanwhile
        self._closed = False
        self._busy = False  # in this thread: a signal handler is refused
        self._finalizer = weakref.finalize(self, _close_forgotten, self._held)

    def checkpoint(self, /, **values: Any) -> None:
        """Store the state of each name, and clear its log.

        The state need not follow from the log that it clears, so no older file can stand in for
        it. If its file is damaged or missing, reading the name raises a `CorruptionError`. The
        checkpoints that `resumable` stores for a logged loop do follow.

        Parameters
        ----------
        **values : object
            The states, by name. All are pickled before the first is stored; then they are stored
            one by one, each as a whole or not at all.

        Raises
        ------
        CodecError
            A state cannot be pickled; nothing was stored.
        LockedError
            A name is held elsewhere.
        StorageError
            The disk refused; the checkpoint and the log before are still valid.
        """
        for name in values:
            encode_run(name)
        encoded = {name: encode(value, name) for name, value in values.items()}
        with self._guard:
            if self._busy:
                raise _inside()
            self._busy = True
            try:
                for name, state in encoded.items():
                    self._hold(name).replace_state(state)
            finally:
                self._busy = False

    def log(self, /, **values: Any) -> None:
        """Append one increment to the log of each name.

        When this returns, the increments survive the death of the process.

        Parameters
        ----------
        **values : object
            The increments, by name. All are pickled before the first is appended; then they are
            appended one by one.

        Raises
        ------
        CodecError
            An increment cannot be pickled; nothing was stored.
        LockedError
            A name is held elsewhere.
        DurabilityError
            The disk refused; the increments logged before are still stored. If it was a sync that
            failed, `checkpoint` begins a new log.
        """
        held = self._held
        for name, value in values.items():
            if name not in held:
                encode_run(name)
            values[name] = encode_increment(value, name)
        # Not by a function of its own, which would take a tenth of the time.
        with self._guard:
            if self._busy:
                raise _inside()
            self._busy = True
            try:
                for name, increment in values.items():
                    (held.get(name) or self._hold(name)).append(increment)
            finally:
                self._busy = False

    def recover(
        self,
        name: str,
        create: Callable[[], S] | None = None,
        replay_log: Callable[[S, Any], S] | str = REPLACE,
    ) -> S:
        """Return the state of a name: its checkpoint, with its log replayed on top.

        Parameters
        ----------
        name : str
            The name.
        create : callable, optional
            Makes the first state if nothing is stored; it is then stored.
        replay_log : callable or str
            ``replay_log(state, increment) -> state``, or the name of a method of the state, which
            changes it in place, such as ``"append"``. By default the increment replaces the state;
            a run written by `resumable` is replayed with its own function.

        Returns
        -------
        object
            The state.

        Raises
        ------
        NotFoundError
            Nothing is stored and there is no `create`.
        CorruptionError
            The stored state is damaged, and no older checkpoint gives it.
        CodecError
            A class or function is no longer found under its name; `renames` can give the new one.
        """
        fold = check_replay_log(replay_log)
        with self._guard:
            replayed = self._load(name, create, fold)
            if create is not None and replayed is None:
                held = self._hold(name)
                # Another process may have stored a state before this one got the lock.
                replayed = self._load(name, create, fold)
                if replayed is None:
                    # It is stored, so that it is the same in every later process.
                    first = create()
                    held.replace_state(encode(first, name))
                    return first
            if replayed is None:
                way_on = "Give create= to begin, or check the name and the directory."
                raise not_stored(name, self._store.path, way_on)
            state: S = replayed.state
            return state

    def close(self) -> None:
        """Make everything durable and release the names; calling it again does nothing."""
        with self._guard:
            self._closed = True
            _close_all(self._held)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def __reduce_ex__(self, protocol: SupportsIndex) -> NoReturn:
        raise UsageError(
            f"{self!r} cannot be pickled: it holds names for this process alone.\n"
            "Send the path instead, and make a Trax there."
        )

    def __repr__(self) -> str:
        return f"Trax({self._store.path!r})"

    def _load(
        self, name: str, create: Callable[[], Any] | None, replay_log: Callable[[Any, Any], Any]
    ) -> Replayed[Any] | None:
        names = Names(self._renames, Definitions(lambda: (create, replay_log)))
        return load_run(self._store, name, create, log_mode(replay_log), names=names)

    def _hold(self, name: str) -> HeldRun:
        if self._closed:
            raise UsageError(f"{self!r} is closed.\nMake a new Trax(...) to continue.")
        held = self._held.get(name)
        if held is None:
            patience = Patience(name, self._wait)
            held = self._held[name] = patience.until(partial(self._open, name))
        return held

    def _open(self, name: str) -> HeldRun:
        copying = copying_of(
            self._store,
            name,
            self._replica,
            seconds=self._replica_seconds,
            sync=self._sync,
        )
        held = self._store.hold(
            name,
            sync=on_disk(self._sync),
            keep=self._keep,
            report=notices.warn,
            copying=copying,
        )
        try:
            reader = self._store.recover(name)
            if reader is not None:
                held.take_over(reader)
            else:
                held.begin(0, resumed=False)
        except BaseException:
            held.close()
            raise
        return held


def _inside() -> UsageError:
    return UsageError(
        "log() or checkpoint() was called inside another such call of this thread.\n"
        "A signal handler can do that: let it set a flag instead."
    )


def _close_all(held: dict[str, HeldRun]) -> None:
    while held:
        held.popitem()[1].close()


def _close_forgotten(held: dict[str, HeldRun]) -> None:
    """Close the runs of a store that nobody has closed: nobody would get the error."""
    try:
        _close_all(held)
    except StorageError as error:
        notices.warn(str(error).partition("\n")[0])


@public
def load(
    name: str,
    *,
    step: int | None = None,
    traxdir: str | os.PathLike[str] | None = None,
    replay_log: Callable[[Any, Any], Any] = STORED,
    renames: Mapping[str, str] | None = None,
) -> Any:
    """Return the stored state of a run, without running its code or taking a lock.

    Parameters
    ----------
    name : str
        The run's name.
    step : int, optional
        An earlier step, whose state is wanted: the log is replayed on the checkpoint before it. The
        option `keep` of a run says how far back that is possible.
    traxdir : str or os.PathLike, optional
        The directory of the store; by default ``$TRAX_DIR``, or ``.trax`` if that is not set.
    replay_log : callable, optional
        ``replay_log(state, increment) -> state``; by default the function that the run was
        written with.
    renames : mapping of str to str, optional
        The new names of classes and functions that were moved; see `resumable`.

    Returns
    -------
    object
        The state; of a loop without `create` the `Locals` that were stored last, at `step` or
        before: they know their own step.

    Raises
    ------
    NotFoundError
        Nothing is stored under this name, or nothing leads to the state of `step`.
    CodecError
        A class or function is no longer found under its name. Or the increments were logged
        through `Trax`, which does not know how to replay them.
    CorruptionError
        A file that the state needs is damaged; `repair` may help. Nothing was changed.
    UntrustedError
        Somebody else could have written one of the files. Nothing was loaded.

    Examples
    --------
    >>> import trax
    >>> @trax.resumable(create=int)
    ... def count(n, to):
    ...     while n < to:
    ...         n = yield n + 1
    >>> _ = count(to=3).result()
    >>> trax.load("count")
    3
    """
    store = Store(traxdir)
    mode = log_mode(replay_log)
    names = Names(check_option("renames", renames), Definitions(lambda: (replay_log,)))
    until = None if step is None else check_whole(step, "step", least=0)
    replayed = load_run(store, name, None, mode, names=names, step=until)
    if replayed is None:
        raise not_stored(name, store.path)
    return replayed.state
