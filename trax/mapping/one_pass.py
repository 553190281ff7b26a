"""One pass through the items of a map: the stored results, then those that are computed.

A driver, ordinary or async, takes the items, has the function called, and hands out what comes. All
that they have in common is here: which items are done, what is stored, and how a pass ends.
"""

from __future__ import annotations

import atexit
import contextlib
import pickle
import threading
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import BrokenExecutor, CancelledError
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn

from trax import notices
from trax.calls.content import Digests
from trax.display import count, same_code, short_error, show
from trax.engine.done_keys import Keys
from trax.engine.endings import outcome
from trax.engine.registry import innermost
from trax.engine.undriven import Undriven
from trax.errors import ArgumentsChangedError, UsageError
from trax.interrupts.stop_request import StopRequest
from trax.mapping.remote import outlook, received
from trax.mapping.results import Results, is_constant
from trax.storage.codec import PROTOCOL
from trax.storage.process import process
from trax.storage.store import Store

if TYPE_CHECKING:
    from trax.mapping.map_call import MapCall

__all__ = ["Came", "Pass"]

_SHOWN = 60  # characters of an error
_NAMED = 5  # failed items that the journal names

_open: weakref.WeakValueDictionary[str, Pass] = weakref.WeakValueDictionary()  # by their runs


class Came(NamedTuple):
    """The outcome of one item.

    Attributes
    ----------
    digest : bytes
        The digest of the item's key.
    key : object
        The key.
    value : object
        What the function returned; it is stored.
    error : BaseException or None
        What it raised instead.
    ends : bool
        Whether the error is not that of one item, so that the pass ends with it.
    """

    digest: bytes
    key: Any
    value: Any = None
    error: BaseException | None = None
    ends: bool = False


class Pass:
    """One pass through the items of one call.

    Parameters
    ----------
    call : MapCall
        The call.

    Attributes
    ----------
    status : {"new", "open", "closed", "done"}
        The stage of this pass.
    failed : int
        The number of items that failed in it.
    order : list of bytes or None
        The digests of the items as they come, if they are collected.
    last : bytes
        The digest of the item that was handed out last.
    flying : dict of bytes to object
        The futures of the items that were begun and have not yet come, by their digests. Only the
        thread that drives changes it.
    undriven : Undriven
        Whether the pass has begun.
    stop_request : StopRequest
        Whether a signal or the time limit asks to stop.
    is_running : callable
        Returns whether a step is running. The driver sets it.
    leave : callable or None
        Ends a pass that nobody goes on with. The driver sets it, if it can do more than `abandon`.
    """

    def __init__(self, call: MapCall) -> None:
        self.status = "new"
        self.failed = 0
        self._first_failure = ""
        self._outlook = ""  # after that failure
        self._failures: list[str] = []  # the first of them
        self.order: list[bytes] | None = None
        self.last = b""
        self.stop_request = StopRequest(
            call.name, call.signals, call.time_limit, ctrl_c=not call.is_async
        )
        self.undriven = Undriven(f"trax.map() of {call.name}", "map", is_async=call.is_async)
        self.flying: dict[bytes, Any] = {}
        self.is_running: Callable[[], bool] = lambda: True
        self.leave: Callable[[], object] | None = None
        self._thread = threading.get_ident()
        self._call = call
        self._store = Store(call.traxdir)
        self._key = self._store.run_path(call.name)
        self._digests = Digests("map()")
        self._keys = Keys()
        self._taken = 0
        self._has_copies = False
        self._begun: dict[bytes, float] = {}
        self._results: Results | None = None

    @property
    def step(self) -> int:
        """The number of items that are done, as far as this pass has come."""
        return len(self._keys)

    @property
    def is_driver(self) -> bool:
        """Whether this is the thread of the pass, and not that of a fork of its process."""
        is_forked = self._results is not None and self._results.is_forked
        return self._thread == threading.get_ident() and not is_forked

    def watch(self, wake: Callable[[], object]) -> None:
        """Start to watch for signals, in the thread that drives; `wake` ends the driver's wait.

        Raises
        ------
        UsageError
            It is in the body of a loop, and would be no part of that loop's steps.
        """
        self.undriven.use()
        session = innermost()
        if session is not None:
            raise UsageError(
                f"trax.map() of {self._call.name!r} was used inside of the loop {session.name!r}.\n"
                "It is a run of its own: use it outside of loops, before or after them."
            )
        self._thread = threading.get_ident()
        self.stop_request.watch(wake, self.is_running, restarts=True)
        left = _open.get(self._key)
        if left is not None and left.is_driver and not left.is_running() and left.leave:
            left.leave()  # a traceback or a notebook can keep it alive

    def open(self) -> None:
        """Lock the run, and find what is stored; this can be called in any thread."""
        self.stop_request.begin(process.monotonic())
        request = self.stop_request
        self._results = Results(self._call, self._store, lambda: bool(request.reason))
        self.status = "open"
        _open[self._key] = self

    def stored(self) -> Iterator[Came]:
        """Yield the stored results, in the order in which they were stored."""
        assert self._results is not None
        for digest, key, value in self._results.stored(self._digests.of):
            if self._keys.add(digest, came=False):
                yield Came(digest, key, value)

    def admit(self, item: Any) -> tuple[bytes, Any] | None:
        """Return the digest and the key of an item that is to be computed; None if it is done.

        Raises
        ------
        UsageError
            The item has a key that another one had; or it has no content, and there is no `key`.
        """
        number, self._taken = self._taken, self._taken + 1
        of_key = self._call.key
        key = item if of_key is None else of_key(item)
        digest = self._digests.of(key, item)
        if self.order is not None:
            self.order.append(digest)
        had_come = self._keys.meet(digest)
        if had_come is None:
            if digest not in self.flying:
                return digest, self._kept(key)
            had_come = True
        if had_come and of_key is not None:
            raise UsageError(
                f"key() is {show(key, 20)} for items[{number}], as for an item before it\n"
                f"Let it return another key than that for {show(item)}: of items with the same "
                "key only one is computed."
            )
        return None

    def _kept(self, key: Any) -> Any:
        """Return a key as it is now: a function may change its item."""
        if self._call.key is not None or self._call.is_remote or is_constant(key):
            return key
        with contextlib.suppress(Exception):  # else storing it tells
            key = pickle.loads(pickle.dumps(key, PROTOCOL))
            self._has_copies = True
        return key

    def begin(self, digest: bytes, future: Any) -> None:
        """Note that an item was begun."""
        self.flying[digest] = future
        self._begun[digest] = process.monotonic()

    def land(self, came: Came) -> None:
        """Count an item that has come, in the thread that drives."""
        del self.flying[came.digest]
        self.stop_request.begin_step(self._begun.pop(came.digest))
        self.stop_request.look(process.monotonic(), 0.0)
        if came.error is None:
            self._keys.add(came.digest, came=True)

    def settle(self, digest: bytes, key: Any, future: Any) -> Came:
        """Store the result of a future that is done, and return its outcome. It never raises."""
        if future.cancelled():
            return Came(digest, key, None, CancelledError())
        error = future.exception()
        if error is not None:
            is_of_item = isinstance(error, Exception) and not isinstance(error, BrokenExecutor)
            return Came(digest, key, None, error, ends=not is_of_item)
        results, value = self._results, future.result()
        try:
            if self._call.is_remote:
                value = received(value)
            if results is not None:
                value = results.append(digest, key, value)
        except BaseException as failure:  # noqa: BLE001  # the driver raises it
            return Came(digest, key, None, failure, ends=True)
        return Came(digest, key, value)

    @property
    def forces(self) -> bool:
        """Whether `force` must be called before a new result is handed out."""
        return self._call.is_async and self._call.sync in ("always", "replica")

    def force(self) -> None:
        """Make what is stored as durable as was asked for; this can be called in any thread."""
        if self._results is not None:
            self._results.force()

    def hand_out(self, came: Came) -> tuple[Any, Any]:
        """Return the pair for the caller, or raise the error that ends the pass."""
        self.last = came.digest
        if came.error is None:
            return came.key, came.value
        if came.ends or not self._call.return_exceptions:
            came.error.add_note(f"trax: item {show(came.key)} of {self._call.name!r} is not stored")
            raise came.error
        self.failed += 1
        self._first_failure = self._first_failure or _describe_failure(came)
        self._outlook = self._outlook or outlook(came.error, "the next call tries them again")
        if self.failed <= _NAMED + 1:
            self._failures.append(show(came.key, _SHOWN // 2) if self.failed <= _NAMED else "…")
        return came.key, came.error

    # -- the end ---------------------------------------------------------------------------

    def finish(self) -> None:
        """End a pass that has handed out everything.

        Raises
        ------
        ArgumentsChangedError
            Stored results are of items that did not come.
        """
        missing, name = self._keys.missing, self._call.name
        left = [f"{self.failed:,} failed: {', '.join(self._failures)}"] * bool(self.failed)
        left += [f"{missing:,} of other items"] * bool(missing)
        state = "failed" if self.failed else "stopped"
        self.close({"state": state, "reason": "; ".join(left)} if left else {"state": "done"})
        if missing:
            are, item = ("are", "items") if missing > 1 else ("is", "an item")
            raise ArgumentsChangedError(
                f"{count(missing, 'stored result')} of {name!r} {are} of {item} that map() did not "
                "get\n"
                f"Everything is stored. {self._way_to_all_items()}\n"
                "Or give these items a run of their own, as in name='pages-2'.\n"
                "Or start over with fresh=True."
            )
        self.status = "done"
        if self.failed:
            notices.warn(
                f"{name}: {self.failed:,} of {self._taken:,} items failed and are not stored "
                f"(first {self._first_failure}); {self._outlook}"
            )

    def _way_to_all_items(self) -> str:
        if isinstance(self._call.items, Iterator):
            return "An iterator gives its items once: give a list, or make the iterator anew."
        if self._has_copies:
            return "Give it all items, as they were: if the function changes its items, give key=."
        return "Give it all items, also the done ones, with the same key."

    def stop(self) -> NoReturn:
        """Close because of a signal or the time limit, and raise what ends the program."""
        done, reason = count(self.step, "result"), self.stop_request.reason
        self.close({"state": "stopped", "reason": reason})
        notices.info(
            f"{self._call.name} stopped with {done}: {reason}; all of them are stored, and "
            f"{same_code()} computes the others"
        )
        try:
            self.stop_request.end_program(self.step)
        except KeyboardInterrupt as error:
            raise error.with_traceback(None) from None

    def act(self, error: BaseException | None = None) -> None:
        """Let signals that have come take effect, at the end; see `StopRequest.act`."""
        self.stop_request.end_watch()  # again, since another thread may have closed
        self.stop_request.act(self.step, error)

    def fail(self, error: BaseException) -> None:
        """Release the run after an exception, or where the caller has left it."""
        ends = self.stop_request.ends_program(error)
        self.close(outcome(error, self.stop_request.reason if ends else ""))

    def close(self, ending: dict[str, Any] | None = None) -> None:
        """Release the run: what is stored stays, and what comes later is dropped."""
        self.undriven.use()
        self.status = "closed"
        self.stop_request.end_watch()
        if _open.get(self._key) is self:
            del _open[self._key]
        results, self._results = self._results, None
        if results is not None:
            results.close(ending)

    def abandon(self) -> None:
        """Release a pass that nobody goes on with."""
        if self.status == "open":
            self.close()
            self.stop_request.pass_on()

    def running_error(self) -> UsageError:
        """Return the error for closing a pass while it is asked for a pair."""
        return UsageError(
            f"{self._call.name!r} is just computing, and cannot be closed there.\n"
            "Close it in the body of the loop that iterates over it."
        )

    def closed_error(self) -> UsageError:
        """Return the error for asking a pass that has ended early for more."""
        return UsageError(
            f"this pass of {self._call.name!r} ended with {count(self.step, 'result')}.\n"
            "Iterate over it again: it gives the stored results first, and goes on."
        )


def _describe_failure(came: Came) -> str:
    """Return the item that has failed and its error, for a line."""
    assert came.error is not None
    return f"{show(came.key, _SHOWN // 2)}: {short_error(came.error, _SHOWN)}"


@atexit.register
def _leave_all() -> None:
    """End what the program leaves open, while all modules are still there."""
    for one in [*_open.values()]:
        (one.leave or one.abandon)()
