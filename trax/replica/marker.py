"""The file ``replica`` of a run's directory: who has written its replica from there."""

from __future__ import annotations

import contextlib
import json
from dataclasses import asdict, dataclass, field, replace
from itertools import chain
from typing import TYPE_CHECKING

from trax.storage.filenames import REPLICA, FileName
from trax.storage.filesystem import Directory, closing_quietly, new_file, write_all

if TYPE_CHECKING:
    from trax.replica.entry import Data
    from trax.storage.store import Store

__all__ = ["Marker", "is_behind", "mark_rewound", "read_marker", "replica_of", "write_marker"]

_MOST = 1 << 16  # bytes
_TYPES = {"writers": list, "outputs": dict, "seen": dict, "pushed": dict}


@dataclass(frozen=True, slots=True)
class Marker:
    """What a directory knows of its replica.

    `writers`, `seen` and `pushed` tell if the files here may go on, as nobody else has written
    there; `behind`, `copied` and `history`, if all of them is there; `outputs` and `rewound`, what
    is there and not part of the run.

    Attributes
    ----------
    url : str
        The store of objects.
    writers : list of str
        The last writer from this directory, and those announced since: they may have claimed it.
    behind : bool
        Whether the replica may lack something that is stored here.
    outputs : dict of str to int
        The lengths of output files when the writer began, after what no step had written was cut
        off. Until it has put data, the replica may have other bytes after these.
    rewound : bool
        Whether a person has taken the run back to an earlier step, so that the replica is to lose
        what comes after it.
    seen : dict of str to int
        Writers elsewhere whose newest data is here, and the number of that data.
    pushed : dict of str to list of str
        The URLs of other stores of objects that the run was copied to, and the writers there.
    copied : int
        The newest generation that was here when the replica had all of it.
    history : str
        The `Data.lineage` of the replica at that time.
    """

    url: str = ""
    writers: list[str] = field(default_factory=list)
    behind: bool = False
    outputs: dict[str, int] = field(default_factory=dict)
    rewound: bool = False
    seen: dict[str, int] = field(default_factory=dict)
    pushed: dict[str, list[str]] = field(default_factory=dict)
    copied: int = 0
    history: str = ""

    def trusts(self, last: str, data: Data) -> bool:
        """Return whether nobody has written since, given who wrote last and the newest data."""
        known = {*self.writers, *self.seen, *chain(*self.pushed.values())}
        return last in known and self.seen.get(data.writer, data.number) == data.number

    def seeing(self, last: str, data: Data) -> Marker:
        """Return the marker of a directory that has the newest data, whoever wrote it."""
        return replace(self, seen={last: data.number, data.writer: data.number})

    def announcing(self, writer: str) -> Marker:
        """Return the marker once a writer is about to claim the run."""
        return replace(self, writers=[*self.writers, writer], behind=True)

    def pushing(self, url: str, writers: list[str]) -> Marker:
        """Return the marker once writers may have copied the run to another store of objects."""
        return replace(self, pushed={**self.pushed, url: writers})

    def begun(self, url: str, writer: str, outputs: dict[str, int], *, rewound: bool) -> Marker:
        """Return the marker once a writer goes on from here: it has the run alone."""
        other = {self.url: self.writers} if self.url not in ("", url) else {}
        return Marker(url, [writer], True, outputs, rewound, pushed=self.pushed | other)

    def complete(self, head: Data | None) -> Marker:
        """Return the marker once the replica, whose newest data is given, has all that is here."""
        copied, history = (head.newest, head.lineage) if head else (0, "")
        return replace(self, behind=False, copied=copied, history=history)


def read_marker(directory: Directory) -> Marker:
    """Return the marker of a directory; an empty one if there is none, or not a valid one."""
    with contextlib.suppress(FileNotFoundError, ValueError, TypeError):
        source = directory.open(REPLICA)
        with closing_quietly(source):
            found = Marker(**json.loads(bytes(source.read_at(0, _MOST))))
        if all(isinstance(getattr(found, name), kind) for name, kind in _TYPES.items()):
            return found
    return Marker()


def is_behind(directory: Directory, url: str) -> bool:
    """Return whether the replica at a URL may lack something that is stored in a directory.

    A process that goes on without a replica leaves the marker alone, and begins a generation.
    """
    marker = read_marker(directory)
    names = filter(None, map(FileName.parse, directory.list()))
    newest = max((name.generation for name in names), default=0)
    return marker.behind or (marker.url, marker.copied) != (url, newest)


def replica_of(store: Store, name: str) -> str:
    """Return the URL of the replica that a run was last copied to or pulled from, if any."""
    if REPLICA not in store.files(name):
        return ""
    with store.reading(name) as directory:
        return read_marker(directory).url


def write_marker(directory: Directory, marker: Marker) -> None:
    """Store a marker, durably."""
    with new_file(directory, REPLICA) as output:
        write_all(output, json.dumps(asdict(marker)).encode())


def mark_rewound(directory: Directory) -> None:
    """Let the next opening trust the files here, although the replica has more, if there is one."""
    if REPLICA in directory.list():
        write_marker(directory, replace(read_marker(directory), rewound=True))
