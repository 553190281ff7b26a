"""The names of files and directories in a store; no other module makes or parses them."""

from __future__ import annotations

import contextlib
import os
import re
from functools import lru_cache
from typing import NamedTuple
from urllib.parse import quote, unquote

from trax.display import show
from trax.errors import UsageError

__all__ = [
    "GENERATIONS",
    "JOURNAL",
    "LOCKS",
    "PROBE",
    "REPAIR",
    "REPLICA",
    "FileName",
    "decode_run",
    "encode_run",
    "given_path",
    "has_replicas",
    "is_default",
    "is_leftover",
    "local_store",
    "store_path",
    "temporary",
]

REPAIR = "repair"  # the plan of a repair that has begun
JOURNAL = "journal"  # what people may want to know of the run; nothing depends on it

REPLICA = "replica"  # the writers of the directory in the replica of the run

LOCKS = "locks"  # in the directory of each store, and in no place of replicas
PROBE = "probe"  # in each place of replicas, and in the directory of no store

GENERATIONS = 10**18  # each is at least 1 and below this
_FILE = re.compile(r"(checkpoint|log)-(?!0{8})([0-9]{8}|[1-9][0-9]{8,17})")
_ANY_FILE = re.compile(_FILE.pattern + r"(\..*)?")
_LONGEST = 200
_WINDOWS = re.compile(r"[A-Za-z]:[\\/]|.*\\")
_URL = re.compile(r"[A-Za-z][\w+.-]+:/")  # one slash is left by pathlib


def store_path(traxdir: str | os.PathLike[str] | None = None) -> str:
    """Return the path of a store; None means ``$TRAX_DIR``, or ``.trax`` if that is not set.

    Raises
    ------
    UsageError
        It cannot be a path, is a URL or a path of Windows, or begins with the home of an unknown
        user.
    """
    return os.path.realpath(given_path(traxdir))


def local_store(traxdir: str | os.PathLike[str] | None = None) -> str:
    """Return the same for a directory that is a store, or can become one.

    Raises
    ------
    UsageError
        As in `store_path`; or replicas are there: objects, which no store knows, and would remove.
    """
    path = store_path(traxdir)
    if has_replicas(path):
        raise UsageError(
            f"{path} has replicas of runs, so it is no store.\n"
            f"Choose another directory for the store; replica={path!r} copies its runs here.\n"
            f"Commands take replicas by their URL, as trax ls file://{path} does.\n"
            f"To bring the runs from here to a store: trax pull file://{path}"
        )
    return path


def has_replicas(path: str) -> bool:
    """Return whether a directory is a place of replicas."""
    return os.path.isfile(f"{path}/{PROBE}") and not os.path.lexists(f"{path}/{LOCKS}")


def is_default(path: str) -> bool:
    """Return whether a store is the one that is taken if none is named."""
    with contextlib.suppress(OSError, UsageError):  # the current directory may be gone
        return path == store_path()
    return False


def given_path(traxdir: str | os.PathLike[str] | None = None) -> str:
    """Return the same as it was given, with its links."""
    if traxdir is None:
        traxdir = os.environ.get("TRAX_DIR") or ".trax"
    path = os.fspath(traxdir) if isinstance(traxdir, os.PathLike) else traxdir
    if not isinstance(path, str) or not path or "\0" in path:
        raise UsageError(
            f"{show(path)} cannot be the directory of a store.\nGive its path as a str."
        )
    expanded = os.path.expanduser(path)
    if expanded.startswith("~"):
        raise UsageError(
            f"the store's directory {path!r} begins with the home of an unknown user.\n"
            f"Give the whole path, or './{path}' for a directory of that name here."
        )
    if _URL.match(path) and not os.path.lexists(path):
        raise UsageError(
            f"the store cannot be at the URL {path!r}: it is a directory of this machine.\n"
            "To copy its runs to a URL, give that as replica=, or in TRAX_REPLICA.\n"
            "To see what is there, give it to a command, as in: trax ls URL\n"
            f"For a directory of that name here give './{path}'."
        )
    if _WINDOWS.match(path) and not os.path.lexists(path):
        raise UsageError(
            f"the store's directory {path!r} is a path of Windows.\n"
            "Give its path on this system, with / between its parts."
        )
    return os.path.abspath(expanded)


class FileName(NamedTuple):
    """The name of a checkpoint or a log; only files with such a name count.

    Attributes
    ----------
    kind : {"checkpoint", "log"}
        The kind of file.
    generation : int
        The number of its generation.
    """

    kind: str
    generation: int

    def __str__(self) -> str:
        return f"{self.kind}-{self.generation:08d}"

    @property
    def broken(self) -> str:
        """The name under which the file is set aside if it is damaged."""
        return f"{self}.broken"

    def torn(self, offset: int) -> str:
        """Return the name under which the bytes cut off at `offset` are kept."""
        return f"{self}.torn-{offset}"

    @classmethod
    def is_temporary(cls, text: str) -> bool:
        """Return whether this is the name of a file that was never finished."""
        return text.endswith(".tmp") and cls.parse(text[:-4]) is not None

    @classmethod
    @lru_cache(maxsize=1024)  # the files of most runs have the same names
    def parse(cls, text: str) -> FileName | None:
        """Return the name of a checkpoint or a log; None if this is any other name."""
        match = _FILE.fullmatch(text)
        return cls(match[1], int(match[2])) if match else None

    @classmethod
    def of(cls, text: str) -> FileName:
        """Return the name of a checkpoint or a log, without checking that it is one."""
        kind, _, generation = text.partition("-")
        return cls(kind, int(generation))

    @classmethod
    def generation_of(cls, text: str) -> int:
        """Return the generation of any file of a run, even if set aside; 0 for other files."""
        match = _ANY_FILE.fullmatch(text)
        return int(match[2]) if match else 0


def is_leftover(name: str) -> bool:
    """Return whether trax has set a file of a run aside, or never made it whole."""
    is_ours = FileName.generation_of(name) or name.endswith(temporary(""))
    return bool(is_ours) and FileName.parse(name) is None


def temporary(name: str) -> str:
    """Return the name that a file has until it is whole."""
    return f"{name}.tmp"


def encode_run(name: str) -> str:
    """Return the directory name of a run.

    Letters, digits and ``_.-~`` are kept, except a dot at the beginning or the end. Everything else
    is percent-encoded as UTF-8. So two names never share a directory, however a file system treats
    Unicode.

    Parameters
    ----------
    name : str
        The run's name.

    Raises
    ------
    UsageError
        The name is no str, is empty or too long, looks like a path, has control characters, or is
        not valid Unicode.
    """
    if not isinstance(name, str):
        raise UsageError(
            f"a run's name must be a str, not {name!r}\n"
            "Give the name that `trax ls` shows, or call load(...) of the decorated function."
        )
    return _encode(name)


@lru_cache(maxsize=1024)
def _encode(name: str) -> str:
    if not name.strip():
        raise UsageError(
            f"a run's name must not be empty: {name!r}\nGive the run a name such as 'run'."
        )
    if re.search(r"[/\\\x00-\x1f\x7f]", name) or name in {".", ".."}:
        raise UsageError(
            f"{name!r} cannot be a run's name: it looks like a path or has control characters.\n"
            "Give the run a plain name, and choose the directory with traxdir=.\n"
            "If an argument is a pathlib.Path, use a part of it in name=, as in 'run-{path.stem}'."
        )
    try:
        encoded = quote(name, safe="")
    except UnicodeEncodeError:
        raise UsageError(f"{name!r} cannot be a run's name: it is not valid Unicode") from None
    encoded = re.sub(r"^\.|\.$", "%2E", encoded)  # at the end, some file systems drop it
    if len(encoded) > _LONGEST:
        raise UsageError(
            f"{name!r} is too long for a run's name: it takes {len(encoded)} bytes as a directory "
            f"name, at most {_LONGEST}.\n"
            "Shorten it."
        )
    return encoded


def run_of(entry: str) -> str | None:
    """Return the name of the run that an entry of a directory of runs belongs to, if to any."""
    name = decode_run(entry)
    try:
        return name if encode_run(name) == entry else None
    except UsageError:
        return None


def decode_run(encoded: str) -> str:
    """Return the name of the run in a directory made by `encode_run`."""
    return unquote(encoded)
