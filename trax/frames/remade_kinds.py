"""Kinds of objects in variables: data, and what can be made again, or why it cannot be."""

from __future__ import annotations

import abc
import contextlib
import dataclasses
import datetime
import decimal
import fractions
import itertools
import pathlib
import sys
import uuid
from collections import deque
from collections.abc import Callable
from typing import Any, Final

from trax.storage.definitions import full_name
from trax.storage.refusals import ADVICE

__all__ = [
    "CONSTANTS",
    "Stateless",
    "fault",
    "is_container",
    "is_data",
    "is_stack",
    "is_stateless",
    "is_writer",
]

CONSTANTS: Final = (type(None), bool, int, float, complex, str, bytes)
"""The types of values that consist of nothing else, and that nobody can change."""

_ATOMS: Final = (
    *(*CONSTANTS, bytearray, range, slice, pathlib.PurePath, uuid.UUID),
    *(decimal.Decimal, fractions.Fraction, datetime.date, datetime.time, datetime.timedelta),
)
_Fault = tuple[str, str]

_CONTAINERS: Final = (list, tuple, set, frozenset, dict, deque)
_ITEMS: Final = 100  # of a container, looked at
_DEPTH: Final = 4

# Where the steps do not change what an object is: it leads to something outside of the process, or
# it shows something, or it runs what it is given.
_STATELESS: Final = frozenset(
    [
        *("_csv", "_thread", "aiohttp", "alive_progress", "anthropic", "asyncio", "boto3"),
        *("botocore", "concurrent", "csv", "duckdb", "ftplib", "google", "grpc", "h5py", "http"),
        *("httpx", "imaplib", "joblib", "logging", "loguru", "matplotlib", "mlflow"),
        *("multiprocessing", "mysql", "openai", "paramiko", "playwright", "psycopg", "psycopg2"),
        *("pyarrow", "pymongo", "pymysql", "queue", "redis", "requests", "rich", "selenium"),
        *("smtplib", "socket", "sqlalchemy", "sqlite3", "ssl", "threading", "tqdm", "trax"),
        *("urllib", "urllib3", "wandb", "websocket", "websockets", "zarr"),
    ]
)

_IN_STEP: Final = "Start it inside the step, and let it end there."
_OWN_STATE: Final = (
    "Keep what it is made from, such as the data so far, and make it from that in the step.\n"
    "Or give its class __getstate__ and __setstate__, so that it can be stored."
)
_FUTURES: Final = (
    "Loop over executor.map(function, items), which keeps the order of the items.\n"
    "Or loop over the items, and wait for the result of each inside the step."
)
_PROCESS: Final = "its process ends with this one", _IN_STEP
_WORK: Final = "its work ends with this process", _FUTURES
_STATE: Final = "its state cannot be read", _OWN_STATE
_RUN: Final = "it hands out only the steps that are new", ADVICE["trax.Run"]
_FILE: Final = "its file is gone", "Write files with trax.open."
_GRAPH: Final = (
    "it is part of a graph of gradients",
    "Yield after backward(), and keep its item() or detach() instead.",
)
_FAULTS: Final = {
    "trax.AsyncRun": _RUN,
    "trax.Run": _RUN,
    "subprocess.Popen": _PROCESS,
    "asyncio.subprocess.Process": _PROCESS,
    "multiprocessing.process.BaseProcess": _PROCESS,
    "threading.Thread": ("its thread ends with this process", _IN_STEP),
    "concurrent.futures._base.Future": _WORK,
    "_asyncio.Task": _WORK,
    "_asyncio.Future": _WORK,
    "multiprocessing.pool.ApplyResult": _WORK,
    "multiprocessing.pool.IMapIterator": _WORK,
    "xml.etree.ElementTree.XMLParser": _STATE,
    "xml.etree.ElementTree.XMLPullParser": _STATE,
    "_hashlib.HASH": _STATE,
    "_hashlib.HMAC": _STATE,
    "hmac.HMAC": _STATE,
    "tempfile._TemporaryFileWrapper": _FILE,
    "tempfile.SpooledTemporaryFile": _FILE,
}
_OPAQUE: Final = frozenset(
    [
        *("_blake2", "_bz2", "_lzma", "_md5", "_sha1", "_sha2", "_sha256", "_sha3", "_sha512"),
        *("encodings", "pyexpat", "zlib"),
    ]
)


def is_data(value: Any, depth: int = _DEPTH) -> bool:
    """Whether a value is data: numbers, texts, arrays, and containers and dataclasses of these.

    Of large containers the first items decide.
    """
    if isinstance(value, _ATOMS) or _is_array(value):
        return True
    if not depth:
        return False
    if isinstance(value, _CONTAINERS):
        found = [*itertools.islice(value, _ITEMS)]
        if isinstance(value, dict):
            found += [value[one] for one in found]
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        found = [getattr(value, field.name, None) for field in dataclasses.fields(value)]
    else:
        return False
    return all(is_data(one, depth - 1) for one in found)


def _is_array(value: Any) -> bool:
    numpy = sys.modules.get("numpy")
    if numpy and isinstance(value, (numpy.ndarray, numpy.generic)):
        return not value.dtype.hasobject
    torch = sys.modules.get("torch")
    return torch is not None and type(value) is torch.Tensor


def is_container(value: Any) -> bool:
    """Whether a value holds others, so that what is put into it in the loop counts."""
    return isinstance(value, _CONTAINERS)


def is_writer(value: Any) -> bool:
    """Whether a value is an output file of trax, which finds its place again by itself."""
    return _package(type(value)) == "trax"


def _package(kind: type) -> str:
    """Return the package of a class; some have another `__module__` than a text."""
    return str(kind.__module__).partition(".")[0]


def is_stack(value: Any) -> bool:
    """Whether a value closes what it is given in the loop."""
    return isinstance(value, contextlib.ExitStack | contextlib.AsyncExitStack)


class Stateless(abc.ABC):  # noqa: B024  # what its subclasses are is said below
    """Objects that steps do not change, as far as their kinds tell."""

    @classmethod
    def __subclasshook__(cls, kind: type) -> bool:
        kinds = kind.__mro__[:-1]
        return any(_package(k) in _STATELESS or "tensorboard" in str(k.__module__) for k in kinds)


def is_stateless(value: Any) -> bool:
    """Whether steps do not change what an object is, as far as its kind tells."""
    return issubclass(type(value), Stateless)


def is_opaque(kind: type) -> bool:
    """Whether the state of the objects of a class cannot be read."""
    known = (_FAULTS.get(full_name(one)) for one in kind.__mro__)
    return _package(kind) in _OPAQUE or _STATE in known


def fault(value: Any) -> _Fault | None:
    """Return why an object cannot be made again, and what to do instead; None if it can."""
    for kind in type(value).__mro__[:-1]:
        name = full_name(kind)
        if name in _FAULTS:
            return _FAULTS[name]
        if _package(kind) in _OPAQUE:
            return _STATE
        if name in _CHECKS:
            found = _CHECKS[name](value)
            if found:
                return found
    if is_container(value):
        inner = value.values() if isinstance(value, dict) else value
        return next(filter(None, map(fault, itertools.islice(inner, _ITEMS))), None)
    return None


def _sqlite(connection: Any) -> _Fault | None:
    if connection.in_transaction:
        return "it has changes that are not committed", "Commit them before the yield."
    files = [row[-1] for row in connection.execute("PRAGMA database_list") if row[1] == "main"]
    if "" in files:
        return "its tables are in memory only", "Connect to a file, and commit before the yield."
    return None


def _queue(queue: Any) -> _Fault | None:
    if queue.empty():
        return None
    return "it has items", "Keep the items in a list or a deque, which is stored."


def _event(event: Any) -> _Fault | None:
    return ("it is set", "Keep it in a variable with True or False.") if event.is_set() else None


def _simpy(environment: Any) -> _Fault | None:
    names = {
        process._generator.__name__  # noqa: SLF001  # simpy shows it nowhere else
        for *_, event in environment._queue  # noqa: SLF001
        for callback in event.callbacks or ()
        if (process := getattr(callback, "__self__", None)) and hasattr(process, "_generator")
    }
    return (
        f"it runs generators ({', '.join(sorted(names)) or 'none now'})",
        "Run the simulation inside the step, or yield only its results when it is over.",
    )


def _tensor(tensor: Any) -> _Fault | None:
    return None if tensor.is_leaf else _GRAPH


_CHECKS: Final[dict[str, Callable[[Any], _Fault | None]]] = {
    "sqlite3.Connection": _sqlite,
    "queue.Queue": _queue,
    "_queue.SimpleQueue": _queue,
    "asyncio.queues.Queue": _queue,
    "threading.Event": _event,
    "asyncio.locks.Event": _event,
    "simpy.core.Environment": _simpy,
    "torch.Tensor": _tensor,
}
