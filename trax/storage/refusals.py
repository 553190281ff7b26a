"""Objects that no later process could use, by their types, with the advice for each."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

__all__ = ["ADVICE", "RefusedError"]

_SHARED = "Keep an array of its own in the state, and copy it to shared memory inside the loop."
_PARALLEL = "Start it inside the loop, and keep in the state only the results that it has sent."
_POOL = "Make it in the loop's function, before the loop, and give it a name of its own."
_FILE = "Open it inside the loop, for output with trax.open; keep its path in the state."
_CONNECTION = "Connect inside the loop; keep the address in the state."
_PENDING = "Await its result inside the step, and keep that in the state."
_RUN = "Run it to its end inside the step, as in loop(...).result(): its own store keeps its steps."
_SWEEP = "Take its cases inside one step, as in list(trax.sweep(...)): the store has each run."
_GENERATOR = "Create it inside the loop; keep in the state how many items were taken from it."
_ITERTOOLS = (
    "An iterator of itertools does not tell its position: create it inside the loop.\n"
    "Keep the number of items taken from it in the state, and skip these with itertools.islice."
)

_TYPES = {
    _SHARED: (
        "mmap.mmap",
        "multiprocessing.shared_memory: SharedMemory ShareableList",
        "multiprocessing.sharedctypes: SynchronizedBase",
        "multiprocessing.managers.SharedMemoryManager",
    ),
    _PARALLEL: (
        "asyncio.subprocess.Process",
        "multiprocessing.connection: _ConnectionBase Listener",
        "multiprocessing.managers: BaseManager BaseProxy",
        "multiprocessing.process.BaseProcess",
        "multiprocessing.queues: Queue SimpleQueue",
        "multiprocessing.synchronize: SemLock Condition Event",
        "subprocess.Popen",
        "threading.Thread",
    ),
    _POOL: ("concurrent.futures._base.Executor", "multiprocessing.pool.Pool"),
    _FILE: (
        "_io: FileIO TextIOWrapper BufferedReader BufferedWriter BufferedRandom BufferedRWPair",
    ),
    _CONNECTION: (
        "socket.socket",
        "select.epoll",
        "sqlite3: Connection Cursor",
    ),
    _PENDING: (
        "_asyncio: Future Task",
        "asyncio.events.AbstractEventLoop",
        "asyncio.futures.Future",
        "builtins.coroutine",
        "concurrent.futures._base.Future",
    ),
    _RUN: ("trax: AsyncRun Run",),
    _SWEEP: ("trax.Sweep",),
    _GENERATOR: ("builtins: generator async_generator",),
    "Keep the object that it shows the memory of.": ("builtins.memoryview",),
    _ITERTOOLS: (
        "itertools: accumulate batched chain combinations combinations_with_replacement compress",
        "itertools: cycle dropwhile filterfalse groupby _grouper islice pairwise permutations",
        "itertools: product starmap takewhile _tee _tee_dataobject zip_longest",
    ),
}


class RefusedError(TypeError):
    """An object that is not stored, although it could be pickled, or with better advice.

    Attributes
    ----------
    refused : object
        The object.
    advice : str
        What to do instead.
    """

    def __init__(self, refused: Any, advice: str, reason: str = "") -> None:
        super().__init__(reason or f"cannot pickle {type(refused).__name__!r} object")
        self.refused = refused
        self.advice = advice


def _by_name() -> Iterator[tuple[str, str]]:
    for advice, lines in _TYPES.items():
        for line in lines:
            module, found, names = line.partition(": ")
            if found:
                yield from ((f"{module}.{name}", advice) for name in names.split())
            else:
                yield line, advice


ADVICE = dict(_by_name())
"""The advice for each type that is refused, by the type's full name."""
