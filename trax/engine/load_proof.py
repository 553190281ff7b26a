"""Proves of each class that is new in a pickle that it loads again, before the pickle is stored.

An exception with an ``__init__`` of its own often pickles and does not load, and then no later call
could replay the log. So a pickle that names a class which no earlier pickle has named is loaded
once. The names stand before the opcode ``STACK_GLOBAL``. Numbers, strings and containers have none,
so of most increments only one byte is looked for. A large increment is searched in full as long as
that takes less than 1 % of the time; else at its beginning and its end.
"""

from __future__ import annotations

import re
from typing import Any

from trax import notices
from trax.comparing import difference
from trax.errors import CodecError
from trax.storage.codec import GLOBAL, Encoded, Names, decode, encode, find_unloadable
from trax.storage.culprit import find_part
from trax.storage.definitions import full_name
from trax.storage.process import process

__all__ = ["GLOBAL", "LoadProof"]

_SMALL = 1 << 10  # bytes
_LARGE = 1 << 12
_WINDOW = 1 << 8
_SHARE = 0.01  # of the time
_TOO_LARGE = 64 << 20  # to be loaded beside the object itself
_KNOWN = 10_000  # names, and beginnings of pickles
_START = 11  # after the version of the protocol and the length of the first frame

_NAMED = re.compile(rb"\x94\x93")  # a name, memoized, before the opcode
_AGAIN = re.compile(rb"h.\x93", re.DOTALL)  # a name that is a string met before


class LoadProof:
    """Proves the pickles of one run.

    Parameters
    ----------
    run : str
        The run's name, for notices.
    names : Names
        The meaning of the names in its pickles.
    """

    def __init__(self, run: str, names: Names) -> None:
        self._run = run
        self._names = names
        self._met = 0
        self._begun = process.monotonic()
        self._spent = 0.0
        self._known: set[bytes] = set()

    def prove(self, obj: Any, encoded: bytes | Encoded, label: str, step: int) -> None:
        """Prove an increment whose pickle has the opcode of a name.

        `label` is the increment's name in a message.

        Raises
        ------
        CodecError
            It does not load again. The error names the part to blame.
        """
        payload = encoded if isinstance(encoded, bytes) else encoded.payload
        end = payload.rfind(GLOBAL)
        start = payload[_START:end] if end < _SMALL else b""  # of most pickles
        if start in self._known and not self._has_met():
            return
        new = self._find_new(payload, start)
        if new - {start} or self._has_met():
            self._load(obj, encoded, label, step)
        self._remember(new)

    def trust(self, loaded: Encoded) -> None:
        """Take the names in a pickle as proved: it has just been loaded."""
        self._remember(_names_in(loaded.payload))

    def prove_state(self, state: Any, encoded: Encoded, step: int, *, loads: bool) -> None:
        """Prove a state, unless `loads` tells that another proof loads it anyway.

        Raises
        ------
        CodecError
            It does not load again.
        """
        new = _names_in(encoded.payload) - self._known
        if (new or self._has_met()) and loads and encoded.nbytes <= _TOO_LARGE:
            try:
                decode(encoded.copied(), "state", self._names.for_copy())
            except CodecError as error:
                raise self.refusal(state, error, "state", step) from error
        self._remember(new)

    def _has_met(self) -> bool:
        """Whether a class or a function that no name leads to is new."""
        return len(self._names.definitions.met) > self._met

    def _remember(self, proved: set[bytes]) -> None:
        self._known |= proved
        self._met = len(self._names.definitions.met)

    def _find_new(self, payload: bytes, start: bytes) -> set[bytes]:
        """Return the new names in a pickle, and its beginning."""
        if len(self._known) > _KNOWN:
            return set()
        begun = process.monotonic()
        if len(payload) > _LARGE and self._spent > _SHARE * (begun - self._begun):
            payload = payload[:_WINDOW] + payload[-_WINDOW:]
        names = _names_in(payload)
        names |= {payload[_START : one.end()] for one in _AGAIN.finditer(payload)}
        self._spent += process.monotonic() - begun
        return (names | {start}) - self._known

    def _load(self, obj: Any, encoded: bytes | Encoded, label: str, step: int) -> None:
        size = len(encoded) if isinstance(encoded, bytes) else encoded.nbytes
        if size > _TOO_LARGE:
            return
        if isinstance(encoded, bytes):  # plain pickle drops what trax refuses, such as a graph
            encode(obj, label, self._names)
        try:
            own = encoded if isinstance(encoded, bytes) else encoded.copied()
            loaded = decode(own, label, self._names.for_copy())
        except CodecError as error:
            raise self.refusal(obj, error, label, step) from error
        found = _difference(obj, loaded, label)
        if found:
            notices.warn(
                f"{self._run}: the increment of step {step:,} comes back from its pickle as "
                f"something else: {found}"
            )

    def refusal(self, obj: Any, error: CodecError, label: str, step: int) -> CodecError:
        """Return the error that names the part to blame of an object that does not load again."""
        part, reason = find_unloadable(obj, label, error, self._names)
        return CodecError(
            f"{part} pickles, but does not load again, at step {step:,}.\n"
            f"{reason}.\n"
            "Let its class pass all arguments to super().__init__(...), or give it a __reduce__.\n"
            "Or keep its text instead, such as repr(error).\n"
            "It was not stored: corrected code resumes before it."
        )


def _difference(obj: Any, loaded: Any, label: str) -> str:
    """Return the difference of the types, or of the nearest exceptions in both objects."""
    if type(obj) is not type(loaded):
        return f"now {full_name(type(obj))}, loaded {full_name(type(loaded))}"
    ours, theirs = (find_part(one, label, _is_exception) for one in (obj, loaded))
    if ours is None or theirs is None:
        return ""
    return difference(ours[1], theirs[1], ours[0], sides=("now", "loaded"))


def _is_exception(part: Any) -> bool:
    return isinstance(part, BaseException)


def _names_in(payload: bytes | bytearray) -> set[bytes]:
    """Return the names in a pickle that stand before the opcode; some bytes of data look alike."""
    ends = (one.start() for one in _NAMED.finditer(payload))
    return {bytes(payload[max(0, end - _WINDOW) : end]).rpartition(b"\x8c")[2] for end in ends}
