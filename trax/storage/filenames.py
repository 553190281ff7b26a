"""What files and directories are called; nobody else makes or reads such a name."""

from __future__ import annotations

import os
import re
from typing import NamedTuple
from urllib.parse import quote, unquote

from trax.errors import UsageError

__all__ = [
    "GENERATIONS",
    "REPAIR",
    "FileName",
    "decode_run",
    "encode_run",
    "store_path",
    "temporary",
]

REPAIR = "repair"  # what a repair that is under way is going to do

GENERATIONS = 10**18  # a generation is at least 1 and below this
_FILE = re.compile(r"(checkpoint|log)-(?!0{8})([0-9]{8}|[1-9][0-9]{8,17})")
_ANY_FILE = re.compile(_FILE.pattern + r"(\..*)?")
_LONGEST = 200


def store_path(traxdir: str | os.PathLike[str] | None = None) -> str:
    """Return where a store is; None means ``$TRAX_DIR``, and ``.trax`` where that is not set."""
    if traxdir is None:
        traxdir = os.environ.get("TRAX_DIR") or ".trax"
    return os.path.realpath(os.path.expanduser(os.fspath(traxdir)))


class FileName(NamedTuple):
    """A file of a run: its kind (``"checkpoint"`` or ``"log"``) and its generation."""

    kind: str
    generation: int

    def __str__(self) -> str:
        return f"{self.kind}-{self.generation:08d}"

    @property
    def broken(self) -> str:
        """What a damaged file is called once it is set aside."""
        return f"{self}.broken"

    def torn(self, offset: int) -> str:
        """Return what the bytes cut from a file at `offset` are kept as."""
        return f"{self}.torn-{offset}"

    @classmethod
    def is_temporary(cls, text: str) -> bool:
        """Return whether this is a file that was never finished."""
        return text.endswith(".tmp") and cls.parse(text[:-4]) is not None

    @classmethod
    def parse(cls, text: str) -> FileName | None:
        """Return the name of a file that counts, or None for any other file."""
        match = _FILE.fullmatch(text)
        return cls(match[1], int(match[2])) if match else None

    @classmethod
    def of(cls, text: str) -> FileName:
        """Return the name of a file that counts."""
        kind, _, generation = text.partition("-")
        return cls(kind, int(generation))

    @classmethod
    def generation_of(cls, text: str) -> int:
        """Return the generation of any file of a run, also one set aside; 0 for other files."""
        match = _ANY_FILE.fullmatch(text)
        return int(match[2]) if match else 0


def temporary(name: str) -> str:
    """Return what a file is called until it is whole."""
    return f"{name}.tmp"


def encode_run(name: str) -> str:
    """Return the directory name of a run.

    Letters, digits and ``_.-~`` stand for themselves, everything else is percent-encoded as
    UTF-8, so that two names never share a directory, whatever a file system makes of Unicode.

    Raises
    ------
    UsageError
        Where the name is empty, too long, or looks like a path.
    """
    if not isinstance(name, str):
        raise UsageError(f"a run's name must be a str, not {name!r}")
    if not name.strip():
        raise UsageError(f"a run's name must not be empty: {name!r}. Give it a name such as 'run'.")
    if re.search(r"[/\\\x00-\x1f\x7f]", name) or name in {".", ".."}:
        raise UsageError(
            f"{name!r} cannot be a run's name: it looks like a path or has control characters. "
            "Choose the directory with traxdir= and give the run a plain name; of an argument that "
            "is a pathlib.Path, name= can take a part, as in 'run-{path.stem}'."
        )
    try:
        encoded = quote(name, safe="")
    except UnicodeEncodeError:
        raise UsageError(f"{name!r} cannot be a run's name: it is not valid Unicode") from None
    encoded = re.sub(r"^\.|\.$", "%2E", encoded)  # at the end, some file systems drop it
    if len(encoded) > _LONGEST:
        raise UsageError(
            f"{name!r} is too long for a run's name: {len(encoded)} bytes as a directory name, "
            f"at most {_LONGEST} are allowed. Shorten it."
        )
    return encoded


def decode_run(encoded: str) -> str:
    """Return the name of the run in a directory made by `encode_run`."""
    return unquote(encoded)
