"""Takes over a run that has a replica: claims it there, and brings its files if those here are old.

Strategy: whatever can refuse the run is asked before the claim, which fences the writer of before.
That one may go on until then, so its newest data is read once more after it.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from trax import notices
from trax.errors import StorageError
from trax.replica.attempts import patiently
from trax.replica.chain import Chain, Moved
from trax.replica.entry import Data, Piece, output_name
from trax.replica.local_files import LocalFiles, contains, newest_log, output_path
from trax.replica.marker import Marker, read_marker, write_marker
from trax.replica.restore import bring, bring_output
from trax.replica.seam import Refused
from trax.storage.filenames import FileName
from trax.storage.store import Store

__all__ = ["Inherited", "Takeover"]


@dataclass(frozen=True, slots=True)
class Inherited:
    """What a writer has found in the replica that it has claimed.

    Attributes
    ----------
    chain : Chain
        The objects there.
    head : Data or None
        The newest data. Its `run` is empty if the replica needs an image of what is here.
    pieces : list of Piece
        The pieces of its image.
    outputs : dict of str to int
        Output files of which the replica may have other bytes than the run after these lengths.
    rewound : bool
        Whether it has later steps, since a person has taken the run back here.
    brought : dict of str to int or None
        The paths of output files that came from there with the run, and their lengths; None if the
        files here go on.
    """

    chain: Chain
    head: Data | None = None
    pieces: list[Piece] = field(default_factory=list)
    outputs: dict[str, int] = field(default_factory=dict)
    rewound: bool = False
    brought: dict[str, int] | None = None

    def bring_outputs(self, store: str, lengths: Mapping[str, int]) -> None:
        """Bring output files that were lost here, if what the replica has of them is right.

        Those that came with the run have no more than these lengths then.
        """
        for path, length in (self.brought or {}).items():
            with contextlib.suppress(OSError):  # whoever cuts output files back tells of it
                if os.stat(path).st_size == length > lengths.get(path, length):
                    os.truncate(path, lengths[path])
        if self.head is None or not self.head.run:
            return
        for file, there in self.head.whole.items():
            path = output_path(store, output_name(file) or "")
            length = lengths.get(path, 0)
            present = os.stat(path).st_size if os.path.exists(path) else 0
            if output_name(file) and present < length <= min(there, self.outputs.get(file, there)):
                bring_output(self.chain, self.head, file, store)
                url = self.chain.objects.url
                notices.warn(f"{path} lacked output of the run, which came from {url}")

    def cut_to(self, files: LocalFiles) -> Inherited:
        """Return the same without bytes that recovery has cut off the output files here."""
        head, outputs = self.head, dict(self.outputs)
        if head is None:
            return self
        for file in filter(output_name, head.files):
            size = files.size_of(file)
            outputs[file] = min(size, outputs.get(file, size))
        lengths = {
            file: min(length, outputs.get(file, length)) for file, length in head.files.items()
        }
        rewritten = dict(head.rewritten)
        for file, length in lengths.items():
            if length < head.files[file]:
                rewritten[file] = min(length, rewritten.get(file, length))
        return replace(
            self, head=replace(head, files=lengths, rewritten=rewritten), outputs=outputs
        )


class Takeover:
    """Takes over a run that is locked here.

    `admit` is called with the newest files here, before the claim, which it prevents if it raises.
    """

    def __init__(self, chain: Chain, store: Store, admit: Callable[[], object]) -> None:
        self._chain = chain
        self._store = store
        self._admit = admit
        self._brought: dict[str, int] | None = None

    def run(self) -> Inherited:
        """Claim the run; restore its files unless those here have all that the replica has.

        Raises
        ------
        StorageError
            The store of objects cannot be used.
        CorruptionError, UntrustedError
            The replica is damaged, or somebody else has written it.
        """
        return patiently(self._chain.name, self._run)

    def _run(self) -> Inherited:
        self._prepare()
        self._announce()
        self._chain.claim()
        last, data, claims = self._chain.look_back()
        if data is None:
            return Inherited(self._chain, brought=self._brought)
        head, pieces = self._sweep(replace(data, claims=[*data.claims, *claims, self._chain.epoch]))
        self._update(last, data)
        marker = self._marker()
        is_own = data.writer in {*marker.writers, *marker.seen}
        outputs = {} if is_own else dict(marker.outputs)
        if marker.rewound:
            head = replace(head, run="", history=0)
        if data.cut or (not outputs and self._has_later_outputs(data)):
            # It gets an image of what is here. Names of logs that were cut off are used again.
            head = replace(head, run="")
        return Inherited(self._chain, head, pieces, outputs, marker.rewound, self._brought)

    def _prepare(self) -> None:
        """Bring the newest files, and raise if the run must not be claimed."""
        with contextlib.suppress(Moved):  # then only a claim lets it be read
            last, data, _ = self._chain.peek()
            if not self._chain.before:
                self._check_place()
            if data is not None:
                self._update(last, data)
            self._admit()

    def _sweep(self, head: Data) -> tuple[Data, list[Piece]]:
        """Delete what a writer that was killed has left; return the pieces of the image, too."""
        image, _ = self._chain.read(head.since)
        pieces = image.pieces if isinstance(image, Data) else []
        with contextlib.suppress(StorageError):  # what a kill has left can stay
            self._chain.sweep(head.swept, head.since, [one.key for one in pieces])
            head = replace(head, swept=head.since)
        return head, pieces

    def _update(self, last: str, data: Data) -> None:
        """Replace the files here, unless they go on from what the replica has."""
        marker = self._marker()
        goes_on = marker.trusts(last, data) and (marker.rewound or self._contains(data))
        if not goes_on:
            self._bring(last, data)

    def _contains(self, data: Data) -> bool:
        with self._store.reading(self._chain.name) as directory:
            return contains(directory, data)

    def _has_files(self) -> bool:
        return any(map(FileName.parse, self._store.files(self._chain.name)))

    def _has_later_outputs(self, data: Data) -> bool:
        """Return whether output files there may end with what was cut off here since.

        There is a log here that they do not have, so another process may have written to them.
        """
        if not any(map(output_name, data.files)):
            return False
        with self._store.reading(self._chain.name) as directory:
            log = newest_log(directory)
        return log is not None and log.generation > data.newest

    # -- what a push does otherwise --------------------------------------------------------

    def _marker(self) -> Marker:
        """Return what the directory here knows of the replica."""
        if not self._has_files():
            return Marker()
        with self._store.reading(self._chain.name) as directory:
            return read_marker(directory)

    def _check_place(self) -> None:
        """Refuse a place that is empty although the run was copied there."""
        url, name = self._chain.objects.url, self._chain.name
        if self._marker().url == url:
            raise Refused(
                f"{url} has nothing of {name!r}, which was copied there\n"
                "Is its disk not mounted, or was the bucket emptied? Nothing was run.\n"
                f"To begin the replica anew, call trax push {url}."
            )

    def _bring(self, last: str, data: Data) -> None:
        """Replace the files here; those that were brought before the claim are not kept."""
        name, url = self._chain.name, self._chain.objects.url
        marker = self._marker()
        keeps = self._has_files() and self._brought is None
        found = bring(self._chain, last, data, self._store, keeps=keeps)
        self._brought = {**(self._brought or {}), **found}
        if keeps:
            is_own = last in marker.writers
            why = "lack steps that it has" if is_own else "were not the last to write there"
            notices.warn(
                f"{name}: the files here {why}, so it goes on from {url}; they "
                f"are kept in {self._store.path}/aside"
            )

    def _announce(self) -> None:
        """Store who will write from here, before it does."""
        if self._has_files():
            with self._store.reading(self._chain.name) as directory:
                write_marker(directory, read_marker(directory).announcing(self._chain.writer))
