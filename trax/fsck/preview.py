"""Shows the files of a run as a repair will leave them, before any is touched."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from trax.errors import CorruptionError
from trax.storage.filenames import REPAIR
from trax.storage.records import (
    DURABLE_OFFSET,
    HEADER_SIZE,
    decode_header,
    encode_durable,
    encode_header,
)
from trax.storage.run_reader import RunReader

if TYPE_CHECKING:
    from trax.fsck.prefix import Prefix
    from trax.fsck.repair_plan import Plan
    from trax.storage.filesystem import Directory, Input

__all__ = ["KeptLog", "Preview", "leads_to", "recover", "still_leads"]


def recover(directory: Directory, name: str) -> RunReader | None:
    """Return the findings of ordinary recovery, read to the end; None if it fails."""
    try:
        recovery = RunReader(directory, name)
        recovery.read()
    except CorruptionError:
        return None
    return recovery


def leads_to(directory: Directory, name: str, plan: Plan, prefix: Prefix) -> bool:
    """Return whether recovery will find exactly the prefix that a plan keeps."""
    recovery = recover(Preview(directory, plan), name)
    if recovery is None:
        return False
    # A log with a new header block has another checksum.
    found, wanted = recovery.position, prefix.position
    is_reached = found == wanted or (bool(plan.fields) and found.step == wanted.step)
    return is_reached and _needs_nothing(recovery)


def still_leads(directory: Directory, name: str, plan: Plan) -> bool:
    """Return whether a plan that was begun still leads to its step, despite later damage."""
    if plan.log and plan.fields is None and plan.log not in directory.list():
        return False
    recovery = recover(Preview(directory, plan), name)
    return recovery is not None and recovery.step == plan.step and _needs_nothing(recovery)


def _needs_nothing(recovery: RunReader) -> bool:
    return recovery.torn is None and not recovery.broken


class Preview:
    """A directory as a plan will leave it, for reading only."""

    def __init__(self, directory: Directory, plan: Plan) -> None:
        self.path = directory.path
        self.boot = directory.boot
        self.key = directory.key
        self._directory = directory
        self._plan = plan

    def list(self) -> list[str]:
        names = {*self._directory.list(), self._plan.log} - {*self._plan.remove, "", REPAIR}
        return sorted(names)

    def open(self, name: str) -> Input:
        if name == self._plan.log:
            return KeptLog(self._directory, self._plan)
        return self._directory.open(name)

    def _refuse(self, *_: object) -> Any:
        raise AssertionError("a preview is only read")

    create = update = cut = rename = remove = sync = is_in_place = close = _refuse


class KeptLog:
    """The log that a plan rewrites: a header block, old or new, and the bytes that are kept."""

    def __init__(self, directory: Directory, plan: Plan) -> None:
        self._old: Input | None = None
        self.size = HEADER_SIZE
        if plan.fields is not None:
            block = encode_header("log", plan.fields, directory.key).block
        else:
            self._old = directory.open(plan.log)
            self.size = min(plan.end, self._old.size)
            block = bytes(self._old.read_at(0, HEADER_SIZE))
        mark = encode_durable(plan.durable)
        self._block = block[:DURABLE_OFFSET] + mark + block[DURABLE_OFFSET + len(mark) :]
        decode_header("log", self._block, directory.key)

    def read_at(self, offset: int, size: int) -> bytearray:
        end = min(offset + size, self.size)
        data = bytearray(self._block[offset:end])
        begin = max(offset, HEADER_SIZE)
        if self._old is not None and begin < end:
            data += self._old.read_at(begin, end - begin)
        return data

    def read_into(self, offset: int, memory: memoryview) -> int:
        data = self.read_at(offset, len(memory))
        memory[: len(data)] = data
        return len(data)

    def close(self) -> None:
        if self._old is not None:
            self._old.close()
