"""Objects as the files of a directory that outlives the machine, such as one on a file server."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Iterator, Sequence
from typing import Any

from trax.replica.seam import Away, Content, Missing, Refused, check_key
from trax.storage.filenames import LOCKS, has_replicas, store_path
from trax.storage.filesystem import (
    LocalDirectory,
    add_file,
    closing_quietly,
    is_begun,
    make_directory,
    sync_directory,
)
from trax.storage.process import process

__all__ = ["DirectoryObjects", "in_store", "open_directory"]

_TRIES = 9
_DAY = 86400.0  # seconds after which nobody is writing a file any more

# Errors that the next try meets as well. All others, such as a full disk, may pass.
_LASTING = {
    errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EISDIR, errno.ELOOP,
    errno.ENAMETOOLONG, errno.EMLINK, errno.EXDEV, errno.ENOSYS, errno.EOPNOTSUPP,
}  # fmt: skip


class DirectoryObjects:
    """The objects below a directory, which exists.

    Parameters
    ----------
    path : str
        The directory.

    Attributes
    ----------
    url : str
        The directory.
    """

    def __init__(self, path: str) -> None:
        self.url = path
        self._root = LocalDirectory(path)
        self._swept: set[str] = set()

    def put(self, key: str, parts: Sequence[Any]) -> bool:
        path, name = self._place(key)
        with self._errors(key):
            for _ in range(_TRIES):
                self._check_root()
                try:
                    directory = LocalDirectory(path)
                    self._sweep(directory)
                    return add_file(directory, name, parts)
                except FileNotFoundError:  # the first object in it, or the last was just deleted
                    self._make(path)
            raise OSError(errno.ESTALE, f"{path} is removed again and again")

    def get(self, key: str) -> Content:
        return self._read(key, 0, None)

    def read(self, key: str, start: int, length: int) -> Content:
        return self._read(key, start, length)

    def list(self, prefix: str, after: str = "") -> Iterator[tuple[str, int]]:
        if prefix:
            check_key(prefix)
        with self._errors(prefix):
            self._check_root()
            found = sorted(self._walk(prefix))
        return (one for one in found if one[0] > after)

    def delete(self, keys: Sequence[str]) -> None:
        for key in keys:
            path, name = self._place(key)
            with self._errors(key):
                self._check_root()
                with contextlib.suppress(FileNotFoundError, NotADirectoryError):
                    LocalDirectory(path).remove(name)
            self._remove_empty(path)

    def _read(self, key: str, start: int, length: int | None) -> Content:
        path, name = self._place(key)
        with self._errors(key):
            self._check_root()
            file = LocalDirectory(path).open(name)
            with closing_quietly(file):
                return file.read_at(start, file.size if length is None else length)

    def _place(self, key: str) -> tuple[str, str]:
        check_key(key)
        path, _, name = f"{self.url}/{key}".rpartition("/")
        return path, name

    def _check_root(self) -> None:
        """Raise an error if another directory is there, such as the one that was mounted over."""
        if not self._root.is_in_place():
            raise OSError(errno.ESTALE, "the directory was moved, or is no longer mounted")

    def _make(self, path: str) -> None:
        """Make a directory below the root, but never the root: its disk may be unmounted."""
        if path == self.url:
            return
        parent = os.path.dirname(path)
        self._make(parent)
        with contextlib.suppress(FileNotFoundError, FileExistsError):
            os.mkdir(path, 0o700)
            sync_directory(parent)

    def _walk(self, prefix: str) -> Iterator[tuple[str, int]]:
        path = f"{self.url}/{prefix}" if prefix else self.url
        try:
            names = LocalDirectory(path).list()
        except (FileNotFoundError, NotADirectoryError):
            return
        for name in names:
            if is_begun(name):
                continue
            key = f"{prefix}/{name}" if prefix else name
            with contextlib.suppress(FileNotFoundError):  # it was deleted meanwhile
                found = os.lstat(f"{path}/{name}")
                if stat.S_ISDIR(found.st_mode):
                    yield from self._walk(key)
                else:
                    yield key, found.st_size

    def _sweep(self, directory: LocalDirectory) -> None:
        """Remove, once, the files that were begun long ago by processes that were killed."""
        if directory.path in self._swept:
            return
        for name in filter(is_begun, directory.list()):
            with contextlib.suppress(FileNotFoundError):
                if process.time() - os.lstat(f"{directory.path}/{name}").st_mtime > _DAY:
                    directory.remove(name)
        self._swept.add(directory.path)

    def _remove_empty(self, path: str) -> None:
        with contextlib.suppress(OSError):  # until one is not empty
            while path != self.url:
                os.rmdir(path)
                path = os.path.dirname(path)

    @contextlib.contextmanager
    def _errors(self, key: str) -> Iterator[None]:
        try:
            yield
        except FileNotFoundError as error:
            raise Missing(f"there is no object {key} in {self.url}") from error
        except OSError as error:
            reason = f"{self.url} cannot be used: {error.strerror or error}"
            if error.errno in _LASTING:
                raise Refused(
                    f"{reason}\n"
                    f"Check that you may write there ({key}), and that it knows hard links."
                ) from error
            room = "; make room there" * (error.errno in (errno.ENOSPC, errno.EDQUOT))
            raise Away(f"{reason}{room}\nCheck that it is mounted and has room.") from error


def open_directory(path: str, *, makes: bool = True) -> DirectoryObjects:
    """Return the objects in a directory; it `makes` one if the parent exists.

    Raises
    ------
    Refused
        Its parent does not exist, as if a disk is not mounted; or it does not, and is not made.
        Or it would be made in a store.
    """
    path = store_path(path)
    if not (makes or os.path.isdir(path)):
        raise Refused(f"{path} is not a directory\nCheck the URL, and that the disk is mounted.")
    if makes and os.path.lexists(f"{path}/{LOCKS}") and not has_replicas(path):
        raise in_store(path)
    parent = os.path.dirname(path)
    try:
        if not os.path.isdir(parent):
            raise Refused(
                f"{parent} is not a directory, so no replica can be in it\n"
                f"Mount the disk that it is on, or run mkdir -p {parent}."
            )
        make_directory(path)
        return DirectoryObjects(path)
    except OSError as error:
        raise Refused(
            f"{path} cannot be used for a replica: {error.strerror or error}\n"
            "Check that it is a directory, and that you may write there."
        ) from error


def in_store(path: str) -> Refused:
    """Return the error for replicas that would be among the files of a store."""
    return Refused(
        f"{path} is a store, so no replica can be in it\n"
        "Give a directory beside it, best on another disk."
    )
