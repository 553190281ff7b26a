"""Finds files outside of a plain loop's variables to which its steps write.

A resumed run gets them as the script opens them: emptied, or with the lines of steps that are run
again. So the arguments, and the variables of modules that the loop refers to, are searched after
its first step, and told after the second if it has written to such a file.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from trax import notices
from trax.frames.written_files import Written, written_file
from trax.storage.process import process
from trax.tracking.references import references

if TYPE_CHECKING:
    from trax.calls.call import Call

__all__ = ["OuterFiles"]


class OuterFiles:
    """The files of one call that are open for writing outside of its loop's variables."""

    def __init__(self, call: Call, run_id: str) -> None:
        self._call = call
        self._run_id = run_id
        self._found: list[tuple[Written, Any]] | None = None

    def check(self) -> None:
        """Find the files; at the next call, tell of the first that was written since."""
        if self._found is None:
            self._found = [(file, _position(file)) for file in self._files()]
            return
        for file, position in self._found:
            if _position(file) != position and (self._run_id, file.name) not in process.said:
                process.said.add((self._run_id, file.name))
                notices.warn(
                    f"{self._call.name} writes to {file.path} ({file.name!r}): after a crash lines "
                    "are lost, or are there twice. Open it with trax.open"
                )

    def _files(self) -> Iterator[Written]:
        call = self._call
        outer = references([call.function, *call.helpers]).variables
        for name, value in (outer | call.arguments).items():
            if file := written_file(value, name):
                yield file


def _position(file: Written) -> Any:
    try:
        return file.file.tell()
    except (OSError, ValueError):  # it was closed
        return None
