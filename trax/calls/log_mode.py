"""The meaning of ``replay_log``: how increments become state, both live and in recovery.

A run is written in one of four modes: `Fold` (a function was given), `Replace` (left out: the
increment is the new state), `NoLog` (None: increments are not logged) or `Frames` (there is no
``create``: the loop's local variables are the state). A reader may ask for `AsStored`, whichever of
them it was. Code that depends on the mode asks this one object. A
checkpoint stores the mode's `word`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn

from trax.calls.in_place import InPlace, note_stored
from trax.calls.migration import note_new_attribute
from trax.display import show
from trax.errors import CodecError, TraxError, UsageError

if TYPE_CHECKING:
    from trax.storage.codec import Encoded

__all__ = [
    "REPLACE",
    "STORED",
    "AsStored",
    "Fold",
    "Frames",
    "LogMode",
    "NoLog",
    "Replace",
    "check_replay_log",
    "describe",
    "log_mode",
]

ReplayLog = Callable[[Any, Any], Any]


# These two are values, compared by identity.
def REPLACE(state: Any, increment: Any) -> Any:  # noqa: ARG001, N802
    """Return the increment, which is the new state: the default ``replay_log``."""
    return increment


def STORED(state: Any, increment: Any) -> Any:  # noqa: ARG001, N802
    """Stands for the ``replay_log`` that the run was written with."""
    raise AssertionError("this is a marker and is never called")


class LogMode:
    """The way in which the increments of a run become its state.

    Attributes
    ----------
    word : str
        The mode's name in a checkpoint.
    text : str
        The mode's description for a person.
    is_logged : bool
        Whether increments are logged, and so survive one by one.
    has_function : bool
        Whether the user gave a function; if so, its code and its RNGs matter.
    replaces_state : bool
        Whether an increment is the new state.
    asks_stored : bool
        Whether the mode is the one that the run was written in.
    stores_frames : bool
        Whether the state is the loop's own frame, and replaying is to run its steps again.
    fold : callable
        ``fold(state, increment) -> state``, which a step calls directly.
    """

    word: ClassVar[str]
    text: ClassVar[str]
    is_logged: ClassVar[bool] = True
    has_function: ClassVar[bool] = False
    replaces_state: ClassVar[bool] = False
    asks_stored: ClassVar[bool] = False
    stores_frames: ClassVar[bool] = False

    def __init__(self, fold: ReplayLog) -> None:
        self.fold = fold

    def replay(
        self,
        state: Any,
        increments: Iterator[bytes | Encoded],
        load: Callable[[Any], Any],
        place: Callable[[], str],
        loads: Callable[[bytes], Any] | None = None,
    ) -> Any:
        """Fold stored increments, which are read to their end, into the state of the checkpoint.

        `load` decodes an increment, and `place` names the one that was read last, for a message.
        `loads` is a quicker function for bytes, which may raise an error where `load` does not.
        """
        fold, loads = self.fold, loads or load
        for encoded in increments:
            if type(encoded) is bytes:
                try:
                    increment = loads(encoded)
                except Exception:  # noqa: BLE001  # `load` knows former names, and explains errors
                    increment = load(encoded)
            else:
                increment = load(encoded)
            try:
                state = fold(state, increment)
            except TraxError as error:
                note_stored(error)
                raise
            except Exception as error:
                error.add_note(f"trax: raised by replay_log at {place()}")
                note_new_attribute(error)
                raise
        return state


class Fold(LogMode):
    """``replay_log`` is a function: it folds each increment into the state."""

    word = "function"
    text = "a function"
    has_function = True


class Replace(LogMode):
    """``replay_log`` is left out: the newest increment is the state."""

    word = "replace"
    text = "left out"
    replaces_state = True

    def __init__(self) -> None:
        super().__init__(REPLACE)

    def replay(
        self,
        state: Any,
        increments: Iterator[bytes | Encoded],
        load: Callable[[Any], Any],
        place: Callable[[], str],  # noqa: ARG002  # nothing of the user's is called
        loads: Callable[[bytes], Any] | None = None,  # noqa: ARG002
    ) -> Any:
        newest = deque(increments, maxlen=1)
        return load(newest[0]) if newest else state


class NoLog(LogMode):
    """``replay_log`` is None: the loop changes its state itself; only checkpoints store it."""

    word = "none"
    text = "None"
    is_logged = False

    def __init__(self) -> None:
        super().__init__(_refuse)

    def replay(
        self,
        state: Any,
        increments: Iterator[bytes | Encoded],
        load: Callable[[Any], Any],  # noqa: ARG002  # nothing can be done with an increment
        place: Callable[[], str],
        loads: Callable[[bytes], Any] | None = None,  # noqa: ARG002
    ) -> Any:
        for _ in increments:
            raise CodecError(
                f"{place()} is an increment, but there is no replay_log to replay it with.\n"
                "Give replay_log=, the function that the run was written with."
            )
        return state


class Frames(LogMode):
    """There is no ``create``: the state is the frame of the loop, and only the loop replays."""

    word = "frames"
    text = "and create left out"
    stores_frames = True

    def __init__(self) -> None:
        super().__init__(REPLACE)


class AsStored(LogMode):
    """The mode that the run was written in, according to its checkpoint."""

    word = "unknown"
    text = "unknown"
    asks_stored = True


_MODES: tuple[type[LogMode], ...] = (Fold, Replace, NoLog, Frames)


def check_replay_log(replay_log: Any) -> Any:
    """Return a ``replay_log`` as a function, if it is the name of a method of the state."""
    if not isinstance(replay_log, str):
        return replay_log
    if not replay_log.isidentifier():
        raise UsageError(
            f"replay_log must be a function or the name of a method, not {show(replay_log)}.\n"
            'Write replay_log="append", if create=list.'
        )
    return InPlace(replay_log)


def log_mode(replay_log: ReplayLog | None) -> LogMode:
    """Return the mode that a ``replay_log`` argument means."""
    if replay_log is None:
        return NoLog()
    if replay_log is STORED:
        return AsStored(STORED)
    return Replace() if replay_log is REPLACE else Fold(replay_log)


def describe(word: str) -> str:
    """Return a description of ``replay_log`` for the word in a checkpoint."""
    return next(mode.text for mode in _MODES if mode.word == word)


def _refuse(state: Any, increment: Any) -> NoReturn:  # noqa: ARG001
    raise AssertionError("without a log, no increment is folded")
