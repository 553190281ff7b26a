"""The core: one checkpoint and one log for every name."""

from __future__ import annotations

import contextlib
import os
import threading
import weakref
from collections.abc import Callable, Iterator, Mapping
from types import TracebackType
from typing import Any, Self, TypeVar

from trax import notices
from trax.calls.log_mode import REPLACE, STORED, log_mode
from trax.calls.options import check_option
from trax.engine.replay import Replayed
from trax.engine.replay import load as load_run
from trax.errors import NotFoundError, UsageError
from trax.storage.codec import encode
from trax.storage.filenames import encode_run
from trax.storage.held_run import HeldRun
from trax.storage.schema import Sync
from trax.storage.store import Store

__all__ = ["Trax", "load"]

S = TypeVar("S")


class Trax:
    """A store of named states, each a checkpoint and a log of increments behind it.

    A name is held for writing from its first `log` or `checkpoint` until `close`, by one process
    at a time. Reading holds nothing and disturbs nobody.

    Parameters
    ----------
    traxdir : str or os.PathLike, optional
        The directory of the store; by default ``$TRAX_DIR``, or ``.trax`` where that is not set.
    sync : {"interval", "always", "os"}
        When increments are forced to the disk: at most a second later, before `log` returns, or
        when the operating system likes. Whatever it is, what `log` has stored survives the death
        of the process; ``"always"`` survives a power cut too. Checkpoints are always forced.
    keep : int
        How many checkpoints are kept.
    renames : mapping of str to str, optional
        Where classes and functions are now, for `recover`; see `resumable`.

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
        sync: Sync = "interval",
        keep: int = 2,
        renames: Mapping[str, str] | None = None,
    ) -> None:
        self._renames: dict[str, str] = check_option("renames", renames)
        self._store = Store(traxdir)
        self._sync: Sync = check_option("sync", sync)
        self._keep: int = check_option("keep", keep)
        self._held: dict[str, HeldRun] = {}
        self._guard = threading.RLock()
        self._closed = False
        self._busy = False
        self._finalizer = weakref.finalize(self, _close_all, self._held)

    def checkpoint(self, /, **values: Any) -> None:
        """Store the state of each name, and clear its log.

        What is stored need not follow from the log that it clears, so nothing older can stand in
        for it should the file be damaged: that is a `CorruptionError` then. A loop's checkpoints,
        which `resumable` stores, do follow.

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
            The disk refused; the checkpoint and the log that were there are still the truth.
        """
        for name in values:
            encode_run(name)
        encoded = {name: encode(value, name) for name, value in values.items()}
        with self._alone():
            for name, state in encoded.items():
                self._hold(name).replace_state(state)

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
            The disk refused; what was logged before is still stored. Where it was a sync that
            failed, `checkpoint` begins a new log.
        """
        for name in values:
            encode_run(name)
        encoded = {name: encode(value, name) for name, value in values.items()}
        with self._alone():
            for name, increment in encoded.items():
                self._hold(name).writer.append(increment)

    def recover(
        self,
        name: str,
        create: Callable[[], S] | None = None,
        replay_log: Callable[[S, Any], S] = REPLACE,
    ) -> S:
        """Return the state of a name: its checkpoint, with its log replayed on top.

        Parameters
        ----------
        name : str
            The name.
        create : callable, optional
            Makes the first state, where nothing is stored; that is stored then.
        replay_log : callable
            ``replay_log(state, increment) -> state``. By default the increment replaces the state;
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
            What is stored is damaged, and no older checkpoint gives the state.
        CodecError
            A class or function is not where it was; `renames` can say where it is.
        """
        with self._guard:
            replayed = self._load(name, create, replay_log)
            if create is not None and replayed is None:
                held = self._hold(name)
                # Another process may have been first, until this one held the name.
                replayed = self._load(name, create, replay_log)
                if replayed is None:
                    # Stored, it is the same in every later process, whatever create() gives.
                    first = create()
                    held.replace_state(encode(first, name))
                    return first
            if replayed is None:
                raise NotFoundError(
                    f"nothing is stored as {name!r} in {self._store.path}. Give create= to begin, "
                    "or check the name and the directory."
                )
            state: S = replayed.state
            return state

    def close(self) -> None:
        """Make everything durable and let others hold the names; calling it again does nothing."""
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

    def __repr__(self) -> str:
        return f"Trax({self._store.path!r})"

    def _load(
        self, name: str, create: Callable[[], Any] | None, replay_log: Callable[[Any, Any], Any]
    ) -> Replayed[Any] | None:
        return load_run(self._store, name, create, log_mode(replay_log), renames=self._renames)

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        """Keep other threads waiting, and a signal handler in this one out."""
        with self._guard:
            if self._busy:
                raise UsageError(
                    "log() or checkpoint() was called while one of them was under way in this very "
                    "thread, as by a signal handler. Let the handler set a flag instead."
                )
            self._busy = True
            try:
                yield
            finally:
                self._busy = False

    def _hold(self, name: str) -> HeldRun:
        if self._closed:
            raise UsageError(f"{self!r} is closed: make a new Trax(...) to go on")
        held = self._held.get(name)
        if held is None:
            held = self._open(name)
            self._held[name] = held
        return held

    def _open(self, name: str) -> HeldRun:
        held = self._store.hold(name, sync=self._sync, keep=self._keep, report=notices.warn)
        try:
            reader = self._store.recover(name)
            if reader is not None:
                held.take_over(reader)
        except BaseException:
            held.close()
            raise
        return held


def _close_all(held: dict[str, HeldRun]) -> None:
    while held:
        held.popitem()[1].close()


def load(
    name: str,
    *,
    traxdir: str | os.PathLike[str] | None = None,
    replay_log: Callable[[Any, Any], Any] = STORED,
    renames: Mapping[str, str] | None = None,
) -> Any:
    """Return the stored state of a run, without running or holding anything.

    Parameters
    ----------
    name : str
        The run's name.
    traxdir : str or os.PathLike, optional
        The directory of the store; by default ``$TRAX_DIR``, or ``.trax`` where that is not set.
    replay_log : callable, optional
        ``replay_log(state, increment) -> state``; by default the function that the run was
        written with.
    renames : mapping of str to str, optional
        Where classes and functions are now; see `resumable`.

    Returns
    -------
    object
        The state.

    Raises
    ------
    NotFoundError
        Nothing is stored under this name.
    CodecError
        A class or function is not where it was, or increments were logged through `Trax`, which
        does not know how they are to be replayed.
    CorruptionError
        A file that is needed is damaged; `repair` may help. Nothing was changed.
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
    replayed = load_run(store, name, None, mode, renames=check_option("renames", renames))
    if replayed is None:
        raise NotFoundError(
            f"nothing is stored as {name!r} in {store.path}. Check the name and the directory."
        )
    return replayed.state
