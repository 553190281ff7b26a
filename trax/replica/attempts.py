"""Tries again what a store of objects did not answer, later each time, and tells of it once."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

from trax import notices
from trax.errors import LockedError, StorageError
from trax.replica.seam import Away, Refused
from trax.storage.mutex import Mutex
from trax.storage.process import process

__all__ = ["WAITS", "Attempts", "Notices", "patiently"]

T = TypeVar("T")

WAITS = "waits for"
"""How a run goes on that does nothing before its store of objects is there."""

_TRIES = 4  # at opening, of a store that is away
_PAUSE = 0.5  # seconds before the second try; each later one waits twice as long
_LONGEST = 60.0  # seconds between two tries
_SHORT = 1.0  # seconds between two tries while somebody waits
_GRACE = 20.0  # seconds without any success, after which the last round is given up


class Notices:
    """What the user is told of a replica, each thing once.

    `how` the run goes on while its store of objects is away is not told if it is empty.
    """

    def __init__(self, name: str, url: str, how: str) -> None:
        self.how = how
        self._name = name
        self._url = url
        self._given: set[str] = set()

    def away(self, cause: str) -> None:
        """Say that the store of objects is away."""
        if self.how and self._is_first("away"):
            cause = cause.removeprefix(f"{self._url} cannot be used: ")
            notices.warn(f"{self._name} {self.how} {self._url}: {cause}")
            if self.how == WAITS:
                self._given.add("waiting")

    def again(self) -> None:
        """Say that copying goes on, after it was said that it does not."""
        if "away" in self._given and self._is_first("again"):
            notices.info(f"{self._name} is copied to {self._url} again")

    def loss(self) -> None:
        """Say that objects were gone, when all is there again: nobody else has the run."""
        if self._is_first("loss"):
            notices.warn(
                f"{self._url} had lost objects of {self._name!r}, as if somebody had "
                "emptied it; all is copied there anew"
            )

    def waiting(self) -> None:
        """Say that the end takes long."""
        if self._is_first("waiting"):
            notices.warn(
                f"{self._name} waits for {self._url} to take its newest steps, for up to a "
                "minute without an answer; they are on this disk"
            )

    def _is_first(self, kind: str) -> bool:
        is_first = kind not in self._given
        self._given.add(kind)
        return is_first


class Attempts:
    """Does things with a store of objects, one at a time; after a failure, the next one waits.

    Attributes
    ----------
    notices : Notices
        What the user is told.
    pause : float
        The seconds before the next attempt; 0 unless the last one failed.
    cause : str
        The cause of the last failure.
    refuse : callable
        Called with the error if another writer has claimed the run; no attempt is due after that.
    """

    def __init__(self, notices: Notices) -> None:
        self.notices = notices
        self.pause = 0.0
        self.cause = ""
        self.refuse: Callable[[LockedError], object] = lambda error: None  # noqa: ARG005
        self._alone = Mutex()
        self._fence: LockedError | None = None
        self._retry_at = 0.0

    @property
    def is_due(self) -> bool:
        """Whether it is time for the next attempt."""
        return self._fence is None and process.monotonic() >= self._retry_at

    def make(self, action: Callable[[], bool]) -> bool:
        """Return what `action` returns; return False, too, if it fails."""
        try:
            with self._alone:
                result = action()
                self.pause = 0.0
                return result
        except LockedError as error:
            self._fence = error
            self.refuse(error)
        except Exception as error:  # noqa: BLE001  # nobody else would hear of it in the background
            self.pause = min(max(2 * self.pause, _PAUSE), _LONGEST)
            self._retry_at = process.monotonic() + self.pause
            self.cause = _cause(error)
            self.notices.away(self.cause)
        return False

    def check(self) -> None:
        """Raise the error if another writer has claimed the run."""
        if self._fence is not None:
            # Raised again and again, it would keep the frames of every time.
            raise self._fence.with_traceback(None)

    def is_late(self, since: float) -> bool:
        """Return whether a success has been waited for since a time that is too long ago."""
        return process.monotonic() - since > _GRACE

    def sleep(self) -> None:
        """Wait for the next attempt, but not for long: somebody waits."""
        time.sleep(min(self.pause, _SHORT))


def patiently(name: str, action: Callable[[], T]) -> T:
    """Return what `action` returns; if the store of objects is away, try again a few times."""
    for pause in (*(_PAUSE * 2**tries for tries in range(_TRIES - 1)), None):
        try:
            return action()
        except Refused as error:
            raise StorageError(str(error)) from error.__cause__
        except Away as error:
            if pause is None:
                raise StorageError(
                    f"the replica of {name!r} cannot be reached: {_cause(error)}\n"
                    "Nothing was run. Try again when the store of objects is there.\n"
                    "Or run it without a replica: TRAX_REPLICA= and no replica=."
                ) from error
            time.sleep(pause)
    raise AssertionError


def _cause(error: Exception) -> str:
    return str(error).partition("\n")[0]
