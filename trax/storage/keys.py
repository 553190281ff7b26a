"""Where the key is that a store is signed with, if there is one."""

from __future__ import annotations

import contextlib
import os
import secrets
import stat

from trax.errors import UntrustedError, UsageError
from trax.storage.filesystem import open_trusted, write_private
from trax.storage.signing import Key

__all__ = ["default_path", "draw_key", "find_key", "make_key"]

_SIZE = 32
_HOW = "Make one with: trax keygen"


def default_path() -> str:
    """Return where the user's key is looked for where nothing else says so."""
    config = os.environ.get("XDG_CONFIG_HOME", "")
    if not os.path.isabs(config):  # it is to be ignored then, says the specification
        config = os.path.expanduser("~/.config")
    return os.path.join(config, "trax", "key")


def find_key(store: str) -> Key | None:
    """Return the key that the environment or the user's configuration gives, or None.

    Parameters
    ----------
    store : str
        The directory of the store, which must not hold its own key.

    Raises
    ------
    UsageError
        What is given is no key, or cannot be read.
    UntrustedError
        Others could read or write the key's file.
    """
    text = os.environ.get("TRAX_KEY")
    if text is not None:
        return _parse(text, "TRAX_KEY") if text.strip() else None
    named = os.environ.get("TRAX_KEY_FILE")
    place = named or default_path()
    path = os.path.realpath(place)
    if _lies_in(path, store):
        raise UntrustedError(
            f"the key {path} lies in the store that it is to protect: whoever can write there "
            "could sign. Move it elsewhere, and let TRAX_KEY_FILE say where."
        )
    try:
        return _parse(_read(path), path)
    except OSError as error:
        if isinstance(error, (FileNotFoundError, NotADirectoryError)):
            if named:
                raise UsageError(
                    f"TRAX_KEY_FILE says that the key is in {named}, and there is no such file. "
                    f"Put it there, or make a new one with: trax keygen {named}"
                ) from None
            if not os.path.islink(place):
                return None
        # A key that is there and cannot be had is no reason to go on without.
        raise UsageError(f"the key {path} cannot be read: {error}") from error


def _lies_in(path: str, store: str) -> bool:
    """Return whether a directory above `path` is the store, whatever name it has there."""
    with contextlib.suppress(OSError):  # of a store that cannot be reached nothing is loaded
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
                f"others can read the key {path}, and could sign what you would load. Run "
                f"chmod 600 {path}; if they may have read it, make a new key."
            )
        return file.read(4096)


def _parse(text: str, source: str) -> Key:
    try:
        secret = bytes.fromhex(text.strip())
    except ValueError:
        secret = b""
    if len(secret) != _SIZE:
        raise UsageError(f"{source} must hold a key of {2 * _SIZE} hexadecimal digits. {_HOW}")
    return Key(secret, source)


def draw_key() -> str:
    """Return a new key as text."""
    return secrets.token_hex(_SIZE)


def make_key(path: str) -> Key:
    """Draw a key and store it in a new file that only the user can read.

    Raises
    ------
    FileExistsError
        There is one already: what it has signed could not be read any more.
    """
    path = os.path.abspath(path)
    text = draw_key()
    os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
    write_private(path, f"{text}\n")
    return _parse(text, path)
