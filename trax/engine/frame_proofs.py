"""Proves in the first steps of a plain loop that its frame comes back from the disk as it is.

What cannot come back must be said before the crash. So the first frames are loaded into a copy, in
which nothing is run, and the variables are compared with those of the loop. What the loop changes
in variables of the module, and the files there that it writes to, are looked for as well.
"""

from __future__ import annotations

import contextlib
import io
import re
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Final

from trax import notices
from trax.engine.fidelity import ORDER, flaws
from trax.engine.outer_files import OuterFiles
from trax.engine.sharing import landmarks
from trax.frames.remade_kinds import Stateless
from trax.frames.state import LoopState
from trax.storage.process import process

if TYPE_CHECKING:
    from trax.calls.call import Call
    from trax.engine.surroundings import Surroundings
    from trax.storage.codec import Encoded

__all__ = ["FrameProofs", "name_variable"]

_CHECKS: Final = 2  # the second step shows whether a variable of the module changes
_LARGE: Final = 64 << 20  # bytes; a frame of this size is not copied
_SECONDS: Final = 0.3  # that a comparison may take
_PLACES: Final = re.compile(r"variables\['(\w+)'\]")
_DIRECT: Final = re.compile(r"the set variables\['\w+'\] iterates")
_SLOTS: Final = re.compile(r"^state\[3\]\[\d+\](?: \(trax\.[\w.]+\))?")
_STORED: Final = re.compile(r"^state\[[12]\]\['(\w+)'\](?:\.cell_contents)?")


def name_variable(text: str) -> str:
    """Return a text in which variables have their names, not their places in a state."""
    text = _SLOTS.sub("the iterable", text)
    return _PLACES.sub(r"\1", _STORED.sub(r"\1", text))


class FrameProofs:
    """The proofs of one run of a plain loop.

    Parameters
    ----------
    call : Call
        The call.
    run_id : str
        The identity of the run.
    copy : callable
        Loads a state into a copy for the length of a block, in which nothing of it is used.
    surroundings : Surroundings
        The variables outside of it.

    Attributes
    ----------
    checks_left : int
        The number of frames that are still to be checked.
    """

    def __init__(
        self,
        call: Call,
        run_id: str,
        copy: Callable[[Encoded], contextlib.AbstractContextManager[LoopState]],
        surroundings: Surroundings,
    ) -> None:
        self.checks_left = _CHECKS
        self._call = call
        self._run_id = run_id
        self._copy = copy
        self._surroundings = surroundings
        self._files = OuterFiles(call, run_id)

    def check(self, encoded: Encoded, live: LoopState, caches: dict[str, Any]) -> None:
        """Compare a frame with its copy; `caches` are functions that may be made again.

        Raises
        ------
        CodecError
            It does not load again.
        """
        self.checks_left -= 1
        self._surroundings.check(None, live.variables | caches)
        with contextlib.suppress(Exception):  # an object may raise anything when it is read
            self._files.check()
        if encoded.nbytes > _LARGE:
            return
        # An object may not be comparable.
        with self._copy(encoded) as loaded, contextlib.suppress(Exception):
            self._compare(live, loaded)

    def _compare(self, live: LoopState, loaded: LoopState) -> None:
        ours, theirs = live.variables, loaded.variables
        names = ours.keys() & theirs.keys()
        one, two = ({name: each[name] for name in sorted(names)} for each in (ours, theirs))
        known = landmarks(self._call)
        for kind, line in flaws(one, two, "variables", known, _SECONDS, ignored=_OPEN):
            if kind == ORDER and _DIRECT.search(line):  # the loop itself tells of its own sets
                continue
            if (self._run_id, kind) not in process.said:
                process.said.add((self._run_id, kind))
                notices.warn(f"{self._call.name}: {name_variable(line)}")


# Files and iterators are compared when they go on; a figure or a progress bar only shows something.
_OPEN: Final = (io.IOBase, Iterator, Stateless)
