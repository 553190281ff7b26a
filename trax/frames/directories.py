"""Temporary directories of ``with`` blocks, which come back with what steps have put there."""

from __future__ import annotations

import os
import shutil

from trax.notices import warn

__all__ = ["StoredDirectory"]


class StoredDirectory:
    """A `tempfile.TemporaryDirectory` that another process has entered, to be entered again.

    Parameters
    ----------
    path : str
        Its path.
    is_kept : bool
        Whether it stays when the block is left.
    """

    def __init__(self, path: str, *, is_kept: bool) -> None:
        self.path = path
        self.is_kept = is_kept

    def __enter__(self) -> str:
        if not os.path.isdir(self.path):
            os.makedirs(self.path, mode=0o700)
            warn(f"{self.path} was removed when its loop was stopped: it is empty now")
        return self.path

    def __exit__(self, *error: object) -> None:
        if not self.is_kept:
            shutil.rmtree(self.path, ignore_errors=True)
