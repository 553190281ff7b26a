"""Kinds of objects in variables: data, and what can be made again, or why it cannot be."""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import decimal
import fractions
import pathlib
import sys
import uuid
from collections import deque
from collections.abc import Callable
from typing import Any, Final

from trax.storage.definitions import full_name

__all__ = [
    "fault",
    "is_container",
    "is_data",
    "is_stack",
    "is_stateless",
    "is_writer",
]

_ATOMS: Final = (
    type(None),
    bool,
    int,
    float,
    complex,
    str,
    bytes,
    bytearray,
    range,
    slice,
    decimal.Decimal,
    fractions.Fraction,
    pathlib.PurePath,
    uuid.UUID,
    datetime.date,
    datetime.time,
    datetime.timedelta,
)
_CONTAINERS: Final = (list, tuple, set, frozenset, dict, deque)
_ITEMS: Final = 100  # of a container, looked at
_DEPTH: Final = 4

# Where the steps do not change what an object is: it leads to something outside of the process, or
# it shows something, or it runs what it is given.
_STATELESS: Final = frozenset(
    [
        *(
            "_csv",
            "_thread",
            "aiohttp",
            "alive_progress",
            "anthropic",
            "asyncio",
            "boto3",
            "botocore",
        ),
        *("concurrent", "duckdb", "ftplib", "google", "grpc", "h5py", "http", "httpx", "imaplib"),
        *("joblib", "logging", "matplotlib", "mlflow", "multiprocessing", "mysql", "openai"),
        *("paramiko", "playwright", "psycopg", "psycopg2", "pymongo", "pymysql", "pyarrow"),
        *("queue", "redis", "requests", "rich", "selenium", "smtplib", "socket", "sqlalchemy"),
        *("sqlite3", "ssl", "threading", "tqdm", "trax", "urllib", "urllib3", "wandb"),
        *("websocket", "websockets", "zarr"),
    ]
)

_IN_STEP: Final = "Start it inside the step, and let it end there."
_OWN_STATE: Final = (
    "Keep what it is made from, such as the data so far, and make it from that in the step.\n"
    "Or give its class __getstate__ and __setstate__, so that it can be stored."
)
_FUTURES: Final = (
    "The order of futures differs from run to run: loop over the items, and wait for the results\n"
    "inside the step, as with pool.map."
)
_FAULTS: Final = {
    "subprocess.Popen": ("its process ends with this one", _IN_STEP),
    "asyncio.subprocess.Process": ("its process ends with this one", _IN_STEP),
    "multiprocessing.process.BaseProcess": ("its process ends with this one", _IN_STEP),
    "threading.Thread": ("its thread ends with this process", _IN_STEP),
    "concurrent.futures._base.Future": ("its work ends with this process", _FUTURES),
    "_asyncio.Task": ("its work ends with this process", _FUTURES),
    "_asyncio.Future": ("its work ends with this process", _FUTURES),
    "multiprocessing.pool.ApplyResult": ("its work ends with this process", _FUTURES),
    "multiprocessing.pool.IMapIterator": ("its work ends with this process", _FUTURES),
    "_hashlib.HASH": ("its state cannot be read", _OWN_STATE),
    "_hashlib.HMAC": ("its state cannot be read", _OWN_STATE),
    "hmac.HMAC": ("its state cannot be read", _OWN_STATE),
    "tempfile._TemporaryFileWrapper": ("its file is gone", "Write files with trax.open."),
    "tempfile.SpooledTemporaryFile": ("its file is gone", "Write files with trax.open."),
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
        some = [*zip(range(_ITEMS), value, strict=False)]
        found = [one for _, one in some]
        if isinstance(value, dict):
            found += [value[one] for one in found]
        return all(is_data(one, depth - 1) for one in found)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        found = [getattr(value, field.name, None) for field in dataclasses.fields(value)]
        return all(is_data(one, depth - 1) for one in found)
    return False


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
    return type(value).__module__.partition(".")[0] == "trax"


def is_stack(value: Any) -> bool:
    """Whether a value closes what it is given in the loop."""
    return isinstance(value, contextlib.ExitStack | contextlib.AsyncExitStack)


def is_stateless(value: Any) -> bool:
    """Whether steps do not change what an object is, as far as its kind tells."""
    kinds = type(value).__mro__[:-1]
    return any(kind.__module__.partition(".")[0] in _STATELESS for kind in kinds)


def fault(value: Any) -> tuple[str, str] | None:
    """Return why an object cannot be made again, and what to do instead; None if it can."""
    for kind in type(value).__mro__[:-1]:
        name = full_name(kind)
        if name in _FAULTS:
            return _FAULTS[name]
        if kind.__module__.partition(".")[0] in _OPAQUE:
            return "its state cannot be read", _OWN_STATE
        if name in _CHECKS:
            found = _CHECKS[name](value)
            if found:
                return found
    if is_container(value):
        inner = value.values() if isinstance(value, dict) else value
        faults = (fault(one) for _, one in zip(range(_ITEMS), inner, strict=False))
        return next(filter(None, faults), None)
    return None


def _sqlite(connection: Any) -> tuple[str, str] | None:
    if connection.in_transaction:
        return "it has changes that are not committed", "Commit them before the yield."
    files = [row[-1] for row in connection.execute("PRAGMA database_list") if row[1] == "main"]
    if "" in files:
        return "its tables are in memory only", "Connect to a file, and commit before the yield."
    return None


def _queue(queue: Any) -> tuple[str, str] | None:
    if queue.empty():
        return None
    return "it has items", "Keep the items in a list or a deque, which is stored."


def _event(event: Any) -> tuple[str, str] | None:
    return ("it is set", "Keep it in a variable with True or False.") if event.is_set() else None


def _simpy(environment: Any) -> tuple[str, str] | None:
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


_CHECKS: Final[dict[str, Callable[[Any], tuple[str, str] | None]]] = {
    "sqlite3.Connection": _sqlite,
    "queue.Queue": _queue,
    "_queue.SimpleQueue": _queue,
    "asyncio.queues.Queue": _queue,
    "threading.Event": _event,
    "asyncio.locks.Event": _event,
    "simpy.core.Environment": _simpy,
}
