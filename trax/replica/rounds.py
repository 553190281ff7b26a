"""Copies a run to its replica in rounds, and images now and then, though its store may be away."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import replace
from functools import partial

from trax.replica.attempts import Attempts
from trax.replica.copier import Copier
from trax.replica.entry import Data
from trax.replica.local_files import LocalFiles
from trax.replica.marker import Marker, read_marker, write_marker
from trax.replica.takeover import Inherited
from trax.storage.filenames import FileName
from trax.storage.filesystem import storage_errors
from trax.storage.process import process

__all__ = ["Rounds"]


class Rounds:
    """Copies the files of a run by attempts, and marks in its directory what the replica has.

    If it is not `is_own`, the run has another replica, and the marker stays as it is.

    Attributes
    ----------
    copied_at : float
        All that was stored at this time is in the replica.
    """

    def __init__(
        self, inherited: Inherited, files: LocalFiles, attempts: Attempts, *, is_own: bool = True
    ) -> None:
        found, chain = inherited.cut_to(files), inherited.chain
        self.copied_at = process.monotonic()
        self._copier = Copier(chain, files, found.head, found.pieces)
        self._directory = files.directory
        self._attempts = attempts
        self._is_own = is_own
        self._has_looked = False  # at the end, if all is there
        with storage_errors("writing to", files.directory.path):
            before, url = read_marker(files.directory), chain.objects.url
            self._marker = before.begun(url, chain.writer, found.outputs, rewound=found.rewound)
            self._mark(self._marker)

    @property
    def head(self) -> Data | None:
        """The newest data that is known to be in the replica."""
        return self._copier.head

    def may_remove(self, name: FileName) -> bool:
        """Return whether a file is superseded in the replica, or is never copied."""
        return name.kind == "checkpoint" or name.generation < self._copier.base

    def round(self) -> bool:
        """Put what is forced; return whether that succeeded."""
        return self._try(lambda: self._round() or True)

    def build(self) -> bool:
        """Put the next piece of the image that is due, if any; return whether there is more."""
        return self._try(self._copier.build)

    def complete(self) -> bool:
        """Copy what is missing, at the end; return whether all is there, or the store stays away.

        Raises
        ------
        LockedError
            Another writer has claimed the run.
        """
        attempts, succeeded = self._attempts, process.monotonic()
        action: Callable[[], bool] = self._finish
        with contextlib.closing(self._copier):
            attempts.check()
            while self._try(action) or attempts.pause:
                attempts.check()
                if not attempts.pause:
                    succeeded, action = process.monotonic(), self._advance
                elif attempts.is_late(succeeded):
                    break
                else:
                    attempts.sleep()
            attempts.check()
        with contextlib.suppress(OSError):
            self._mark(self._marker if attempts.pause else self._marker.complete(self.head))
        return not attempts.pause

    def _round(self) -> bool:
        """Put what is forced; return whether an image is in the making."""
        begun, copier = process.monotonic(), self._copier
        copier.round()
        while not copier.is_begun and copier.build():
            pass
        self.copied_at = begun
        if self._marker.rewound and copier.is_begun:
            self._mark(replace(self._marker, rewound=False))
        return copier.is_making

    def _advance(self) -> bool:
        """Do the next thing of the last round; return whether there is more."""
        return self._copier.build() or self._finish()

    def _finish(self) -> bool:
        """Do a round, and look once if all is there; return whether there is more to be copied."""
        if self._round():
            return True
        looks, self._has_looked = not self._has_looked, True
        return looks and self._copier.renew()

    def _try(self, action: Callable[[], bool]) -> bool:
        return self._attempts.make(partial(self._do, action))

    def _do(self, action: Callable[[], bool]) -> bool:
        """Do something, and tell what it has put right."""
        more, copier = action(), self._copier
        if self._attempts.pause:
            self._attempts.notices.again()
        if copier.has_lost and copier.is_begun and not copier.is_making:
            self._attempts.notices.loss()
        return more

    def _mark(self, marker: Marker) -> None:
        self._marker = marker
        if self._is_own:
            write_marker(self._directory, marker)
