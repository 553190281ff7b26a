"""Finds the key that a store is signed with, if there is one, and makes new keys."""

from __future__ import annotations

import contextlib
import os
import secrets
import stat

from trax.errors import UntrustedError, UsageError
from trax.storage.filesystem import make_private, open_trusted, write_private
from trax.storage.signing import Key

__all__ = ["default_path", "draw_key", "find_key", "make_key"]

_SIZE = 32
_MAKE_ONE = "Make one with: trax keygen"


def default_path() -> str:
    """Return the path of the user's key if the environment names no other."""
    config = os.environ.get("XDG_CONFIG_HOME", "")
    if not os.path.isabs(config):  # the specification says to ignore it then
        config = os.path.expanduser("~/.config")
    return os.path.join(config, "trax", "key")


def find_key(store: str) -> Key | None:
    """Return the key from the environment or the user's configuration.

    Parameters
    ----------
    store : str
        The directory of the store, which must not contain its own key.

    Returns
    -------
    Key or None
        The key; None if there is none, or ``$TRAX_KEY`` is empty.

    Raises
    ------
    UsageError
        The key is malformed, or is there and cannot be read; or ``$TRAX_KEY_FILE`` names a file
        that does not exist.
    UntrustedError
        The key's file is in the store, or others could read or write it.
    """
    text = os.environ.get("TRAX_KEY")
    if text is not None:
        return _parse(text, "TRAX_KEY") if text.strip() else None
    named = os.environ.get("TRAX_KEY_FILE")
    place = named or default_path()
    path = os.path.realpath(place)
    if _lies_in(path, store):
        raise UntrustedError(
            f"the key {path} lies in the store that it protects: whoever can write there could "
            "sign.\n"
            "Move it elsewhere, and give its new path in TRAX_KEY_FILE."
        )
    try:
        return _parse(_read(path), path)
    except OSError as error:
        if isinstance(error, (FileNotFoundError, NotADirectoryError)):
            if named:
                raise UsageError(
                    f"TRAX_KEY_FILE names the file {named}, which does not exist.\n"
                    f"Put the key there, or make a new one with: trax keygen {named}"
                ) from None
            if not os.path.islink(place):
                return None
        # A key that is there and cannot be read must not make the run an unsigned one.
        raise UsageError(f"the key {path} cannot be read: {error}") from error


def _lies_in(path: str, store: str) -> bool:
    """Return whether a directory above `path` is the store, under whatever name."""
    with contextlib.suppress(OSError):  # nothing is loaded from a store that cannot be reached
        found = os.stat(store)
        while path != (path := os.path.dirname(path)):
            with contextlib.suppress(OSError):
                if os.path.samestat(os.stat(path), found):
                    return True
    return False


def _read(path: str) -> str:
    fd = open_trusted(path, os.O_RDONLY, accept=False)
    with open(fd, encoding="ascii", errors="replace") as file:
        if os.fstat(fd).st_mode & (stat.S_IRGRP | stat.S_IROTH):
            raise UntrustedError(
                f"others can read the key {path}, and could sign files that you would load.\n"
                f"Run chmod 600 {path}\n"
                "If they may have read it, make a new key."
            )
        return file.read(4096)


def _parse(text: str, source: str) -> Key:
    try:
        secret = bytes.fromhex(text.strip())
    except ValueError:
        secret = b""
    if len(secret) != _SIZE:
        raise UsageError(
            f"{source} must contain a key of {2 * _SIZE} hexadecimal digits.\n{_MAKE_ONE}"
        )
    return Key(secret, source)


def draw_key() -> str:
    """Return a new key as text."""
    return secrets.token_hex(_SIZE)


def make_key(path: str) -> Key:
    """Draw a key and store it in a new file that only the user can read.

    Missing directories are created.

    Raises
    ------
    FileExistsError
        The file exists. Without the key in it, files that it has signed could not be read any more.
    """
    path = os.path.abspath(path)
    text = draw_key()
    make_private(os.path.dirname(path))
    write_private(path, f"{text}\n")
    return _parse(text, path)
