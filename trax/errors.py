"""The errors that trax raises on purpose.

::

    TraxError
    ├── UsageError              trax was called in a way that cannot work (also a ValueError)
    │   └── CallError           the arguments of a call do not fit (also a TypeError)
    ├── NotFoundError           nothing is stored under this name (also a LookupError)
    ├── ArgumentsChangedError   a stored run is called again with other arguments
    ├── CodecError              an object cannot be pickled, or not be loaded again
    ├── DivergedError           a step that was run again gave something else
    ├── LockedError             another process, or another part of this one, holds the run
    ├── UntrustedError          somebody else could have written these files
    ├── CorruptionError         stored bytes are not the bytes that were written
    ├── FormatVersionError      a newer trax wrote this file
    └── StorageError            the disk or the file system refused
        └── DurabilityError     data could not be made to survive

    SystemExit
    └── Preempted               a signal or a time limit has stopped a loop; it can be resumed

    UserWarning
    └── ResumeWarning           a loop with a declared state would not resume exactly

`Preempted` is not an error and not an `Exception`: code that catches every `Exception` does not
keep it from ending the program.

The first line of a message gives the cause and the place (file, offset); each line after it gives a
way to proceed.
"""

from __future__ import annotations

import re

UNFINISHED = 75  # EX_TEMPFAIL of sysexits.h: not finished, and worth another try

__all__ = [
    "ArgumentsChangedError",
    "CallError",
    "CodecError",
    "CorruptionError",
    "DivergedError",
    "DurabilityError",
    "FormatVersionError",
    "LockedError",
    "NotFoundError",
    "Preempted",
    "ResumeWarning",
    "StorageError",
    "TraxError",
    "UntrustedError",
    "UsageError",
]


# Control characters but tab and newline, those that change the direction of text or end a line, and
# what is no character. Joiners stay: emoji and many scripts need them.
_UNPRINTABLE = re.compile(
    r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]"
)


def printable(text: str) -> str:
    """Return a text in which nothing can steer a terminal; such characters are shown as escapes.

    Names, paths and the texts in files may come from other people. Every error and notice goes
    through this, so newlines are kept; see `one_line` for a text inside of a message.
    """
    return text if text.isprintable() else _UNPRINTABLE.sub(_escape, text)


def one_line(text: str) -> str:
    """Return a printable text in which newlines and tabs are escaped as well."""
    return printable(text).replace("\n", r"\n").replace("\t", r"\t")


def _escape(found: re.Match[str]) -> str:
    return found[0].encode("unicode_escape").decode("ascii")


class TraxError(Exception):
    """The base class of the errors that trax raises on purpose; its message is printable."""

    def __init__(self, *args: object) -> None:
        super().__init__(*(printable(one) if isinstance(one, str) else one for one in args))


class UsageError(TraxError, ValueError):
    """trax was called in a way that cannot work; the step that raised it was not stored."""


class CallError(UsageError, TypeError):
    """A function was called with arguments that do not fit it; also a `TypeError`, as in Python."""


class NotFoundError(TraxError, LookupError):
    """Nothing is stored under this name, and there is no ``create`` to make a first state."""


class ArgumentsChangedError(TraxError):
    """A stored run was called with other arguments than before."""


class CodecError(TraxError):
    """An object cannot be pickled, or a pickle cannot be loaded."""


class DivergedError(TraxError):
    """A step of a plain loop was run again and gave something else; nothing stored was changed.

    Attributes
    ----------
    step : int or None
        The step, counted from 1 as in `Run.step`.
    stored, present : object
        The increment in the log, and the one that the loop has yielded now; None if something else
        differs, such as what it writes.
    """

    def __init__(
        self, message: str, step: int | None = None, stored: object = None, present: object = None
    ) -> None:
        super().__init__(message)
        self.step = step
        self.stored = stored
        self.present = present

    def __reduce__(self) -> tuple[type[DivergedError], tuple[str, int | None, object, object]]:
        return type(self), (str(self), self.step, self.stored, self.present)


class LockedError(TraxError):
    """The run is locked for writing elsewhere.

    Parameters
    ----------
    message : str
        The message.
    holder : str
        Names the process that holds the run; empty if there is no use in waiting for it.

    Attributes
    ----------
    holder : str
        As above.
    """

    def __init__(self, message: str, holder: str = "") -> None:
        super().__init__(message)
        self.holder = holder


class UntrustedError(TraxError):
    """A file of the store could have been written by somebody else, and pickles run code."""


class _FileError(TraxError):
    """An error about one file.

    Attributes
    ----------
    path : str
        The file.
    offset : int or None
        The place in it, in bytes.
    """

    def __init__(self, message: str, path: str, offset: int | None = None) -> None:
        super().__init__(message)
        self.path = path
        self.offset = offset

    def __reduce__(self) -> tuple[type[_FileError], tuple[str, str, int | None]]:
        return type(self), (str(self), self.path, self.offset)


class CorruptionError(_FileError):
    """Stored bytes are not the bytes that were written, and no other copy gives the state."""


class FormatVersionError(_FileError):
    """The file was written by a newer version of trax; nothing was changed."""


class StorageError(TraxError):
    """The disk or the file system refused; the `OSError` is the ``__cause__``."""


class DurabilityError(StorageError):
    """Data could not be made to survive; everything acknowledged before is still stored."""


class ResumeWarning(UserWarning):
    """A loop with a declared state would not resume exactly; it is given when it is decorated."""


class Preempted(SystemExit):
    """A loop has stopped on request; run the same script again and it resumes.

    It is raised at a `yield`, after everything is stored and the run is closed. If it is not
    caught, the program ends with the exit status 75, ``EX_TEMPFAIL``: not finished, and worth
    another try.

    Parameters
    ----------
    run : str
        The run's name.
    step : int
        The step at which it has stopped; 0 if it was not opened, whatever is stored.
    reason : str
        The cause: the name of a signal, ``"the time limit"`` or ``"trax.stop()"``.

    Attributes
    ----------
    run, step, reason
        As above.
    code : int
        The exit status, 75.

    Examples
    --------
    >>> import trax
    >>> trax.Preempted("simulate", 1200, "SIGTERM").code
    75
    """

    def __init__(self, run: str, step: int, reason: str) -> None:
        super().__init__(UNFINISHED)
        self.run = run
        self.step = step
        self.reason = reason

    def __str__(self) -> str:
        from trax.display import same_code

        moment = f"at step {self.step:,}" if self.step else "before its first step here"
        return one_line(
            f"{self.run} was stopped {moment} by {self.reason}; "
            f"run {same_code()} again and it resumes"
        )

    def __reduce__(self) -> tuple[type[Preempted], tuple[str, int, str]]:
        return type(self), (self.run, self.step, self.reason)
