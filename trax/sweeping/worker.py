"""Runs one case, here or in a worker, and brings back its result or its error.

Only bytes come back from a worker. They are encoded and decoded as a store does it, so that a
result is the same whether it comes from there or from the store, and no engine has to load an
exception whose class does not let itself be loaded.
"""

from __future__ import annotations

import inspect
import os
import socket
import traceback
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple

from trax.mapping.remote import portable, working
from trax.storage.codec import Encoded, Names, decode, encode
from trax.storage.store import Store
from trax.wrapper import call_of

if TYPE_CHECKING:
    from trax.calls.call import Call
    from trax.engine.async_driver import AsyncRun

__all__ = ["Sent", "Task", "identity", "received", "result_of", "run_case"]


class Sent(NamedTuple):
    """The outcome of a case.

    Attributes
    ----------
    encoded : Encoded
        The result, or the error.
    trace : str
        The traceback of the error; empty if it is the result.
    """

    encoded: Encoded
    trace: str


@dataclass(frozen=True, slots=True)
class Task:
    """A case to be run in a worker; engines do not look into it, as Dask does into tuples.

    Attributes
    ----------
    function : Resumable
        The decorated function.
    arguments : dict
        The arguments of the case.
    traxdir : str
        The store.
    replaced : str or None
        The identity of the stored run, if the case starts over unless another has replaced it.
    maker : int
        The id of the process that has made the sweep.
    key : str
        Tells it from an equal one, which Dask would not run again.
    """

    function: Any
    arguments: dict[str, Any]
    traxdir: str
    replaced: str | None
    maker: int
    key: str


def run_case(task: Task) -> Sent:
    """Run a case in a worker, unless that was asked to stop."""
    call = call_of(task.function, task.arguments)
    try:
        with working(call.name, task.maker):
            result = result_of(call, task.traxdir, task.replaced)
            return Sent(encode(result, f"the result of {call.name!r}", call.names).copied(), "")
    except BaseException as error:  # noqa: BLE001  # the worker belongs to an engine, and goes on
        where = f"process {os.getpid()} on {socket.gethostname()}"
        trace = "".join(traceback.format_exception(error))
        return Sent(_encode_error(error, call.names), f"in {where}:\n{trace.rstrip()}")


def identity(store: Store, name: str) -> str:
    """Return the identity of a stored run; empty if there is none."""
    return str(store.peek(name).get("run", ""))


def result_of(call: Call, traxdir: str, replaced: str | None = None) -> Any:
    """Run a call in a store, with arguments of its own and without a display; return its result.

    It starts over if the stored run is still `replaced`: an engine may try a case again.
    """
    from trax import ways  # with them comes the engine

    fresh = replaced is not None and identity(Store(traxdir), call.name) == replaced
    own = call.again(replace(call.options, traxdir=traxdir, progress=None))
    own.is_case = True
    run: Any = ways.run(own, fresh=fresh)
    if not inspect.isasyncgenfunction(call.function):
        return run.result()
    import asyncio

    return asyncio.run(_awaited(run))


async def _awaited(run: AsyncRun[Any, Any]) -> Any:
    return await run.result()


def received(sent: Sent, names: Names) -> tuple[Any, BaseException | None]:
    """Return the result that a worker has sent, and the error.

    Raises
    ------
    CodecError
        The result cannot be loaded.
    """
    value = decode(sent.encoded, "what a worker has sent", names)
    if not sent.trace:
        return value, None
    value.add_note(sent.trace)
    return None, value


def _encode_error(error: BaseException, names: Names) -> Encoded:
    def can_be_sent(value: Any) -> bool:
        try:
            decode(encode(value, "the error", names), "the error", names)
        except Exception:  # noqa: BLE001  # a __reduce__ may raise anything
            return False
        return True

    return encode(portable(error, can_be_sent), "the error", names).copied()
