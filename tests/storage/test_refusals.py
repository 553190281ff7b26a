"""Objects that belong to one process are refused with the advice for their kind."""

from __future__ import annotations

import asyncio
import concurrent.futures
import gzip
import itertools
import mmap
import multiprocessing
import socket
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import ExitStack, closing
from functools import partial
from multiprocessing import shared_memory
from pathlib import Path
from typing import Any

import pytest
from support import run_script

from trax import CodecError
from trax.storage.codec import encode
from trax.storage.refusals import ADVICE

Close = Callable[[Any], Any]


def shared(make: Any) -> Any:
    def build(stack: ExitStack) -> Any:
        made = make()
        memory = getattr(made, "shm", made)
        stack.callback(memory.unlink)
        stack.callback(memory.close)
        return made

    return build


def entered(make: Callable[[], Any]) -> Any:
    return lambda stack: stack.enter_context(make())


def closed(make: Callable[[], Any]) -> Any:
    return lambda stack: stack.enter_context(closing(make()))


def future(stack: ExitStack) -> Any:
    loop = stack.enter_context(closing(asyncio.new_event_loop()))
    return loop.create_future()


async def _nothing() -> None:
    pass


KINDS: dict[str, tuple[Any, str]] = {
    "shared memory": (
        shared(lambda: shared_memory.SharedMemory(create=True, size=8)),
        "copy it to shared memory inside the loop",
    ),
    "shareable list": (shared(lambda: shared_memory.ShareableList([1, 2])), "copy it to shared"),
    "map": (closed(lambda: mmap.mmap(-1, 8)), "copy it to shared"),
    "value": (lambda _: multiprocessing.Value("i"), "copy it to shared"),
    "queue": (closed(multiprocessing.Queue), "Start it inside the loop"),
    "lock": (lambda _: multiprocessing.Lock(), "Start it inside the loop"),
    "process": (lambda _: multiprocessing.Process(target=print), "Start it inside the loop"),
    "pipe": (entered(lambda: multiprocessing.Pipe()[0]), "Start it inside"),
    "command": (
        entered(lambda: subprocess.Popen([sys.executable, "-c", ""])),
        "Start it inside the loop",
    ),
    "thread": (lambda _: threading.Thread(), "Start it inside the loop"),
    "executor": (entered(concurrent.futures.ThreadPoolExecutor), "Make it in the loop's function"),
    "future": (lambda _: concurrent.futures.Future(), "Await its result inside the step"),
    "async future": (future, "Await its result inside the step"),
    "coroutine": (closed(_nothing), "Await its result inside the step"),
    "loop": (closed(asyncio.new_event_loop), "Await its result inside the step"),
    "socket": (entered(socket.socket), "Connect inside the loop; keep the address"),
    "database": (closed(lambda: sqlite3.connect(":memory:")), "Connect inside the loop"),
    "text file": (entered(partial(open, "file")), "Open it inside the loop, for output with trax"),
    "binary file": (entered(partial(open, "file", "rb")), "Open it inside the loop"),
    "written file": (entered(partial(open, "file", "wb")), "Open it inside the loop"),
    "both ways": (entered(partial(open, "file", "r+b")), "Open it inside the loop"),
    "unbuffered file": (entered(partial(open, "file", "rb", 0)), "Open it inside the loop"),
    "compressed file": (entered(partial(gzip.open, "file", "wb")), "Open it inside the loop"),
    "generator": (lambda _: (n for n in range(3)), "how many items were taken from it"),
    "memoryview": (lambda _: memoryview(b"text"), "Keep the object that it shows"),
}


@pytest.mark.parametrize(("make", "advice"), KINDS.values(), ids=KINDS)
def test_what_belongs_to_a_process_is_refused_with_advice(make: Any, advice: str) -> None:
    """The error names the path, and says what to keep in the state instead."""
    Path("file").write_text("text")
    with ExitStack() as stack:
        part = make(stack)
        with pytest.raises(CodecError) as caught:
            encode({"a": [1, part]}, "state")
        del part
    first, second = str(caught.value).split("\n")
    assert first.startswith("state['a'][1]")
    assert "cannot be stored: cannot pickle" in first
    assert second.startswith(advice) or advice in second


def test_a_manager_and_its_proxies_are_refused() -> None:
    """A proxy pickles, and no later process can load it."""
    script = """
import multiprocessing
from trax import CodecError
from trax.storage.codec import encode
if __name__ == "__main__":
    with multiprocessing.Manager() as manager, multiprocessing.Pool(1) as pool:
        for part in (manager, manager.dict(), manager.Queue(), pool, manager.Namespace()):
            try:
                encode([part], "state")
            except CodecError as error:
                way = "Make it in" if part is pool else "Start it inside the loop"
                assert way in str(error), error
                print(str(error).split(" ")[0])
"""
    assert run_script(script).stdout == "state[0]\n" * 5


def test_iterators_without_a_position_are_refused() -> None:
    """On every Python, although some of them would pickle here."""
    for iterator in (itertools.cycle("ab"), itertools.chain("a", "b"), itertools.product("ab")):
        with pytest.raises(CodecError) as caught:
            encode(iterator, "state")
        assert "does not tell its position: create it inside the loop" in str(caught.value)
    with pytest.raises(CodecError, match=r"skip these with itertools\.islice"):
        encode([itertools.groupby("aab"), itertools.tee("ab")], "state")


def test_all_iterators_of_itertools_are_known() -> None:
    """Also those of later versions."""
    kinds = [kind for kind in vars(itertools).values() if isinstance(kind, type)]
    names = {f"itertools.{kind.__name__}" for kind in kinds if kind.__module__ == "itertools"}
    assert names - ADVICE.keys() == {"itertools.count", "itertools.repeat"}


def test_a_class_that_leaves_out_the_rest_is_stored() -> None:
    """It decides for itself how it is pickled."""
    back = encode(Worker(), "state")
    assert b"Worker" in back.payload


class Worker(threading.Thread):
    """A thread that is pickled without what pickle cannot store."""

    def __getstate__(self) -> Any:
        return {"name": "worker"}


class Silent(threading.Thread):
    """A thread that is pickled as any other one."""


def test_a_class_derived_from_a_refused_one_is_refused() -> None:
    """It is named by its own name."""
    with pytest.raises(
        CodecError, match=r"^state \(test_refusals.Silent\) .*'Silent' object\nStart"
    ):
        encode(Silent(), "state")
