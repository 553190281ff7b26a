"""Calls a function in another process, and sends back what it returns or raises.

An executor of processes breaks when it gets an object that cannot be loaded, such as an exception
whose class has an ``__init__`` of its own. So results are sent as bytes, and such an exception as
its class, its arguments and its attributes.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import re
import signal
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

from trax.display import text_of
from trax.errors import CodecError, LockedError, Preempted, StorageError, TraxError
from trax.interrupts import main_thread
from trax.storage.codec import PROTOCOL
from trax.storage.definitions import full_name

__all__ = ["Remote", "outlook", "portable", "received", "working"]

_stopped: list[str] = []  # the reasons for which this worker was asked to stop
_interrupts: list[int] = []  # not empty if a Ctrl-C has come in the present call


def outlook(error: BaseException, otherwise: str) -> str:
    """Return what is to be said of the next call after a failure: `otherwise`, if it may help."""
    is_refusal = isinstance(error, TraxError) and not isinstance(error, (LockedError, StorageError))
    if is_refusal:
        return "the next call fails likewise: its error says what to do first"
    is_pickling = isinstance(error, (pickle.PicklingError, AttributeError, TypeError))
    if is_pickling and re.search("pickle|get local object", text_of(error)):
        return (
            "what goes to another process and back must be pickled: define functions and classes "
            "in a module, outside of functions, and use no lambda"
        )
    return otherwise


class Remote:
    """A function that is called in another process; `received` loads its results.

    Parameters
    ----------
    function : callable
        The function.
    name : str
        The name of the map.
    """

    def __init__(self, function: Callable[[Any], Any], name: str) -> None:
        self._function = function
        self._name = name
        self._maker = os.getpid()

    def __call__(self, item: Any) -> bytes:
        """Call the function, and return its result as bytes."""
        try:
            with working(self._name, self._maker):
                return pickle.dumps(self._function(item), PROTOCOL)
        except BaseException as error:
            sent = portable(error)
            if sent is error:
                raise
            raise sent from error


@contextlib.contextmanager
def working(name: str, maker: int) -> Iterator[None]:
    """Call something in a worker, unless an earlier call was ended since the worker is to stop.

    It may be given what is left nevertheless. `name` is that of the run, and `maker` the process
    that has sent the call.

    Raises
    ------
    Preempted
        The worker was asked to stop.
    """
    if _stopped and os.getpid() != maker:
        raise Preempted(name, 0, _stopped[0])
    _interrupts.clear()
    is_default = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    is_watching = is_default and main_thread.is_here()
    if is_watching:
        signal.signal(signal.SIGINT, _on_ctrl_c)
    try:
        yield
    except BaseException as error:
        _note_stop(error)
        raise
    finally:
        if is_watching and signal.getsignal(signal.SIGINT) is _on_ctrl_c:
            signal.signal(signal.SIGINT, signal.default_int_handler)


def _on_ctrl_c(number: int, frame: FrameType | None) -> None:
    _interrupts.append(number)
    signal.default_int_handler(number, frame)


def _note_stop(error: BaseException) -> None:
    """Note if an error of a call asks this worker to stop.

    A call can raise a `KeyboardInterrupt` by itself, and then does not. A worker of a pool ends
    here if that has terminated it and waits for its end: its run is stored.
    """
    if isinstance(error, KeyboardInterrupt) and _interrupts:
        _stopped.append("SIGINT")
    elif isinstance(error, Preempted) and error.reason != "the time limit":  # it is the run's
        _stopped.append(error.reason)
        from multiprocessing import parent_process  # seldom needed

        is_default = signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
        if error.reason == "SIGTERM" and is_default and parent_process() is not None:
            signal.raise_signal(signal.SIGTERM)


def received(sent: bytes) -> Any:
    """Return a result that `Remote` has sent.

    Raises
    ------
    CodecError
        It cannot be loaded.
    """
    try:
        return pickle.loads(sent)
    except Exception as error:
        raise CodecError(
            f"a result came from its process, and cannot be loaded: {error}\n"
            "Let its class pass all arguments to super().__init__(...), or give it a __reduce__."
        ) from error


def portable(
    error: BaseException, can_be_sent: Callable[[Any], bool] | None = None
) -> BaseException:
    """Return an exception, or one that carries it if it cannot be sent (plainly, by default)."""
    can_be_sent = can_be_sent or _can_be_sent
    return error if can_be_sent(error) else _Carried(error, can_be_sent)


class _Carried(Exception):  # noqa: N818  # it becomes the exception that it carries
    """Carries an exception whose own pickle does not load."""

    def __init__(self, error: BaseException, can_be_sent: Callable[[Any], bool]) -> None:
        super().__init__(text_of(error))
        kind = type(error)
        attributes = {name: one for name, one in vars(error).items() if can_be_sent(one)}
        args = tuple(one if can_be_sent(one) else str(one) for one in error.args)
        self._parts: tuple[Any, ...] = kind, args, attributes
        if not can_be_sent(self):
            self._parts = RuntimeError, (f"{full_name(kind)}: {text_of(error)}",), {}

    def __reduce__(self) -> tuple[Any, ...]:
        return _unpack, self._parts


def _unpack(
    kind: type[BaseException], args: tuple[Any, ...], attributes: dict[str, Any]
) -> BaseException:
    """Return an exception of a class, without a call of its ``__init__``."""
    error = kind.__new__(kind, *args)
    vars(error).update(attributes)
    return error


def _can_be_sent(value: Any) -> bool:
    try:
        pickle.loads(pickle.dumps(value, PROTOCOL))
    except Exception:  # noqa: BLE001  # a __reduce__ may raise anything
        return False
    return True
