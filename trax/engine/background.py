"""Writes a checkpoint in a thread beside the loop, from a copy of its state.

The loop changes its arrays in place. So their memory is copied before it goes on, into memory that
is used again for each checkpoint. One checkpoint is written at a time, and what the loop's thread
then learns of it, it learns when it asks.
"""

from __future__ import annotations

import mmap
import os
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from trax.storage.mutex import Mutex
from trax.storage.process import process

if TYPE_CHECKING:
    from trax.storage.codec import Encoded

__all__ = ["Background"]

_MARGIN = 256 << 20  # bytes that are left free, or a quarter of the copy


class Job:
    """A checkpoint to be written, by whichever thread comes first.

    Attributes
    ----------
    is_done : bool
        Whether it is time to wait for its end.
    seconds : float
        The time that writing it has taken.
    """

    def __init__(self, write: Callable[[], int]) -> None:
        self.is_done = False
        self.seconds = 0.0
        self._todo = [write]
        self._working = Mutex()
        self._size = 0
        self._error: BaseException | None = None

    def work(self) -> None:
        """Write the checkpoint; if another thread has begun to, wait until it has ended."""
        with self._working:
            if not self._todo:
                return
            begun = process.monotonic()
            try:
                self._size = self._todo.pop()()
            except BaseException as error:  # noqa: BLE001  # raised by `result`
                self._error = error
            self.is_done = True  # no call before this: an interrupt could leave it out
            self.seconds = process.monotonic() - begun

    def result(self) -> int:
        """Return the size of the checkpoint in bytes, or raise the error of writing it, once."""
        error, self._error = self._error, None
        if error is not None:
            try:
                raise error
            finally:
                del error  # its traceback refers to this frame, and so to itself
        return self._size


class Background:
    """Room for one checkpoint that is being written.

    Attributes
    ----------
    job : Job or None
        The checkpoint, until `wait` was called for it.
    """

    def __init__(self) -> None:
        self.job: Job | None = None
        self._memory: mmap.mmap | None = None
        self._pid = os.getpid()

    def copied(self, parts: Mapping[str, Encoded]) -> dict[str, Encoded]:
        """Return parts of a checkpoint, with their buffers in memory that is used again.

        Raises
        ------
        MemoryError
            There is not enough memory; the message tells how much there is.
        """
        size = sum(part.buffer_bytes for part in parts.values())
        left = memoryview(self._room(size) if size else bytearray())
        copies = {}
        for name, part in parts.items():
            copies[name], left = part.copied_into(left)
        return copies

    def _room(self, size: int) -> mmap.mmap:
        """Return memory of at least this size: that of before, or else new memory."""
        memory = self._memory
        if memory is None or not size <= len(memory) <= 2 * size:
            self._memory = None
            self._memory = memory = _new_memory(size)
        return memory

    def begin(self, write: Callable[[], int]) -> None:
        """Call a function in a thread that writes a checkpoint and returns its size.

        Nothing else may be there that was not waited for. If no thread can be started, `wait` calls
        the function.
        """
        job = Job(write)
        try:
            self.job = job
            process.begin(job.work)
        except (RuntimeError, MemoryError):
            job.is_done = True
        except BaseException:  # nobody knows whether it was begun
            job.is_done = True
            raise

    def wait(self) -> Job | None:
        """Wait until the checkpoint is written; return the job, or None if there is none.

        A forked child has no such thread, and the job is its parent's.
        """
        job = self.job
        if job is not None and os.getpid() == self._pid:
            job.work()
        else:
            job = None
        self.job = None
        return job

    def end(self) -> None:
        """Release the memory."""
        self._memory = None


def _new_memory(size: int) -> mmap.mmap:
    from trax.engine.free_memory import free_memory

    free = free_memory()
    if free is not None and free < size + max(_MARGIN, size // 4):
        raise MemoryError(f"a copy takes {size:,} bytes, and {free:,} are free")
    try:
        return mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    except OSError as error:
        raise MemoryError(f"a copy takes {size:,} bytes: {error}") from error
