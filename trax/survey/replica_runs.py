"""The runs in a store of objects: how far the replica of each is, and who writes it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

from trax.errors import CorruptionError, FormatVersionError, UntrustedError
from trax.fsck.prune import Pruned
from trax.fsck.replica_objects import prune_replicas, remove_replica, verify_replica
from trax.fsck.verify import Verification
from trax.replica.chain import Moved, beside_writer
from trax.replica.objects import open_objects
from trax.replica.reader import ReplicaDirectory
from trax.replica.stored_replicas import Replicas
from trax.storage.filenames import encode_run
from trax.storage.journal import RUNNING, Place, check_status
from trax.storage.process import process
from trax.storage.records import Damage, Forged, NewerVersion
from trax.survey.run_info import SILENT, RunInfo
from trax.survey.runs import Survey, eta, newest_log, told, unread
from trax.survey.steps import Counted, count_on, count_steps
from trax.survey.texts import natural

__all__ = ["ReplicaSurvey"]

_SOON = 60.0  # seconds without a copy, after which nobody knows if a run goes on


class ReplicaSurvey(Survey):
    """The replicas below a URL, as they are read for people and programs."""

    def __init__(self, url: str) -> None:
        self.path = url
        self._replicas = Replicas(open_objects(url, makes=False))
        self.key = self._replicas.key

    @property
    def opened(self) -> Replicas:
        return self._replicas

    @property
    def is_there(self) -> bool:
        return True

    def verify(self, name: str) -> Verification:
        return verify_replica(self._replicas, name)

    def is_held(self, name: str) -> bool:
        """Return whether it seems so: it was copied in the last minute, and has not ended."""
        info = self.run(name)
        return info is not None and info.state == RUNNING

    def remove(self, name: str) -> None:
        remove_replica(self._replicas, name)

    def prune(self, *, budget: float | None, dry_run: bool = False) -> Pruned:
        return prune_replicas(self._replicas, budget=budget, dry_run=dry_run)

    def names(self) -> list[str]:
        """Return the names of all runs that have data, or had some."""
        return sorted(self._replicas.listed(), key=natural)

    def path_of(self, name: str) -> str:
        return f"{self.path}/runs/{encode_run(name)}"

    def runs(self, names: Iterable[str] | None = None) -> Iterator[RunInfo]:
        """Yield what is known of runs: all are listed at once, and several are read at a time."""
        listed = self._replicas.listed()
        chosen = (
            sorted(listed, key=natural)
            if names is None
            else [name for name in names if name in listed]
        )
        found = self._replicas.each(self._read_replica, {name: listed[name] for name in chosen})
        return filter(None, [info for _, info in found])

    def run(self, name: str) -> RunInfo | None:
        return self._read_replica(name)

    def aside_bytes(self) -> int:
        return 0

    def events(self, name: str) -> list[dict[str, Any]]:  # noqa: ARG002  # they are not copied
        return []

    def _read_replica(self, name: str, sizes: Mapping[str, int] | None = None) -> RunInfo | None:
        listings = iter([sizes])  # it is listed anew after the first try
        try:
            return beside_writer(
                lambda: self._read_once(name, next(listings, None)), name, self.path
            )
        except Moved:
            return RunInfo(name, self.path_of(name), "damaged", problem="its objects come and go")

    def _read_once(self, name: str, sizes: Mapping[str, int] | None) -> RunInfo | None:
        info = partial(RunInfo, name, self.path_of(name))
        try:
            directory = self._replicas.open(name, sizes)
            if directory is None:
                return None
            info = partial(info, size=sum(directory.sizes.values()))
            directory.check_list()
            return _described(info, directory)
        except (
            Damage, Forged, NewerVersion, CorruptionError, UntrustedError, FormatVersionError
        ) as error:  # fmt: skip
            return unread(info, error)


def _described(info: partial[RunInfo], directory: ReplicaDirectory) -> RunInfo:
    head, claim = directory.head, directory.last_claim()
    status = check_status(head.status)
    status = status if status.get("run") == head.run else {}
    step, counted = _count(directory, status)
    found = told(info, {}, status, [], step, counted, "")
    found = replace(found, replica=None, lag=None, last=found.last or head.time)
    is_ended = status.get("state") == found.state and found.state != RUNNING
    if found.state == "done" or (
        claim is None and is_ended
    ):  # to open what is done changes nothing
        return found
    newest = max(head.time, claim.time if claim else 0.0)
    state = RUNNING if process.time() - newest < _SOON else SILENT
    return replace(
        found,
        state=state,
        last=newest,
        eta=eta(status, step) if state == RUNNING else None,
        resumes=None if found.resumes is None else found.resumes + bool(claim),
        host=claim.host if claim else found.host,
        pid=claim.pid if claim else found.pid,
        reason=None,
        error=None,
    )


def _count(directory: ReplicaDirectory, status: dict[str, Any]) -> tuple[int, Counted | None]:
    """Return the step to which a run would be recovered; with luck its status tells it."""
    files, known = directory.head.whole, None
    if status:
        place = Place(status["generation"], status["offset"], int(status["chain"], 16))
        known = status["step"], place
        if status["logged"] and place.generation and place.generation == newest_log(files):
            if place.offset == files[f"log-{place.generation:08d}"]:
                return status["step"], None
            if (step := count_on(directory, known)) is not None:
                return step, Counted(step, is_done=False, meta={})
    counted = count_steps(directory, directory.list(), known)
    return counted.step, counted
