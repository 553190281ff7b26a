"""The runs of a store: how far each is, how fast, since when, and how it ended."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Any

from trax._public import public
from trax.errors import StorageError, TraxError, UntrustedError, one_line
from trax.storage.filenames import (
    JOURNAL,
    LOCKS,
    REPAIR,
    FileName,
    encode_run,
    is_leftover,
    local_store,
    run_of,
)
from trax.storage.filesystem import LocalDirectory, check_trust
from trax.storage.journal import KILLED, RUNNING, Place, as_event, read_events, read_status
from trax.storage.keys import find_key
from trax.storage.lock import SUSPENDED, holder_state
from trax.storage.records import Damage, Forged, NewerVersion
from trax.storage.signing import Key
from trax.survey.run_info import PAUSED, Failure, RunInfo, Runs
from trax.survey.steps import Counted, count_steps
from trax.survey.texts import natural

if TYPE_CHECKING:
    from trax.fsck.prune import Pruned
    from trax.fsck.verify import Verification
    from trax.storage.store import Stored

__all__ = ["Survey", "eta", "newest_log", "runs", "told", "unread"]

STOPPED = "stopped"
_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_LONGEST = 1 << 20  # bytes of a journal that are read
_OWN = ("log-", "checkpoint-", JOURNAL)  # how the names of files begin that are read
_TRIES = 30  # while files come and go

_Listed = dict[str, tuple[int, float]]  # the size and the time of the last change, by name


@public
def runs(traxdir: str | os.PathLike[str] | None = None) -> Runs:
    """Return what is known of each run in a store, in the order of their names.

    No run is disturbed, no code of a run is called, and nothing is unpickled. A run that cannot be
    read is among them, and its `RunInfo` says why. A notebook shows the list as a table.

    Parameters
    ----------
    traxdir : str or os.PathLike, optional
        The directory of the store; by default ``$TRAX_DIR``, or ``.trax`` if that is not set.

    Returns
    -------
    list of RunInfo
        The runs; none if there is no such directory.

    Raises
    ------
    UsageError
        No store can have this path.
    StorageError
        The directory cannot be read.

    Examples
    --------
    >>> import trax
    >>> @trax.resumable(create=int, total="to")
    ... def count(n, to):
    ...     while n < to:
    ...         n = yield n + 1
    >>> _ = count(to=3).result()
    >>> [(run.name, run.state, run.step) for run in trax.runs()]
    [('count', 'done', 3)]
    """
    return Runs(Survey(traxdir).runs())


class Survey:
    """A store as it is read for people and programs.

    Attributes
    ----------
    path : str
        Its directory.
    key : Key or None
        The key that it is signed with.
    """

    def __init__(self, traxdir: str | os.PathLike[str] | None = None) -> None:
        self.path = local_store(traxdir)
        self._runs = os.path.join(self.path, "runs")
        self.key: Key | None = find_key(self.path)

    @property
    def opened(self) -> Stored:
        """The same store, to read the files of its runs."""
        from trax.storage.store import Store  # seldom needed, as all that is below

        return Store(self.path)

    def verify(self, name: str) -> Verification:
        """Read every byte of a run; see `trax.verify`."""
        from trax.fsck.verify import verify

        return verify(name, traxdir=self.path)

    def is_held(self, name: str) -> bool:
        """Return whether a process holds a run for writing, as far as can be told."""
        return bool(self._holder(name))

    def remove(self, name: str) -> None:
        """Remove all files of a run."""
        from trax.storage.store import Store

        Store(self.path).remove(name)

    def prune(self, *, budget: float | None, dry_run: bool = False) -> Pruned:
        """Make room; see `trax.prune`."""
        from trax.fsck.prune import prune

        return prune(budget=budget, traxdir=self.path, dry_run=dry_run)

    @property
    def is_there(self) -> bool:
        """Whether there is a store at all."""
        return os.path.isdir(self.path)

    def names(self) -> list[str]:
        """Return the names of all runs, sorted; numbers in them by their values."""
        try:
            entries = os.listdir(self._runs)
        except (FileNotFoundError, NotADirectoryError):
            return []
        except OSError as error:
            raise StorageError(
                f"the store cannot be read: {error}\nCheck that you may read {self._runs}."
            ) from error
        return sorted(filter(None, map(run_of, entries)), key=natural)

    def path_of(self, name: str) -> str:
        """Return the directory of a run's files."""
        return os.path.join(self._runs, encode_run(name))

    def runs(self, names: Iterable[str] | None = None) -> Iterator[RunInfo]:
        """Yield what is known of runs, by default of all, in the order of their names."""
        return filter(None, map(self.run, self.names() if names is None else names))

    def run(self, name: str) -> RunInfo | None:
        """Return what is known of a run; None if nothing is stored, or it is removed meanwhile."""
        path = self.path_of(name)
        for left in reversed(range(_TRIES)):
            try:
                return self._read(name, path, is_last=not left)
            except FileNotFoundError:  # pruned, or removed with the whole run
                if not os.path.isdir(path):
                    return None
            except NotADirectoryError:  # a stray file
                return None
            except (OSError, UntrustedError) as error:
                return unread(partial(RunInfo, name, path), error)
        return RunInfo(name, path, "damaged", problem="its files come and go")

    def aside_bytes(self) -> int:
        """Return the bytes of what lies aside: runs that were started over, and copies."""
        aside = os.path.join(self.path, "aside")
        total = 0
        for parent, _, names in os.walk(aside):
            for name in names:
                try:
                    total += os.lstat(os.path.join(parent, name)).st_size
                except OSError:
                    continue
        return total

    def events(self, name: str) -> list[dict[str, Any]]:
        """Return the events in the journal of a run, oldest first."""
        data = _read(os.path.join(self.path_of(name), JOURNAL), _LONGEST)
        status, events = read_status(data, self.key), read_events(data, self.key)
        # A change becomes an event when the run is opened, as each status does.
        is_newest = status.get("change") and not read_events(data, self.key, status["length"])
        return [*events, as_event(status)] if is_newest else events

    def _read(self, name: str, path: str, *, is_last: bool) -> RunInfo | None:
        """Read one run; if files come and go all the time, the last try believes the journal.

        The lock comes first: whoever releases it has written the status.
        """
        holder = self._holder(name)
        files = _list(path)
        if not any(FileName.parse(text) for text in files):
            return None
        data = _journal(path, files)
        status = read_status(data, self.key)
        if data and not status:  # it may have been read while it was written
            status = read_status(data := _journal(path, files), self.key)
        since = read_events(data, self.key, status.get("length", len(data)))
        if not holder and (since or status.get("state", RUNNING) == RUNNING):
            # It was killed, unless it has begun or ended just now.
            holder = self._holder(name)
            again = _list(path)
            if not (holder or is_last) and (again, _journal(path, again)) != (files, data):
                raise FileNotFoundError(path)  # so that it is read again
        if status.get("lag") and not (holder or self._is_behind(path, status)):
            status["lag"] = 0.0  # it was copied after it had ended
        size, prunable = _sizes(files)
        info = partial(RunInfo, name, path, size=size, prunable=prunable)
        try:
            if is_last and status:
                return told(info, files, status, since, status["step"], None, holder)
            step, counted = self._count(path, files, status, bool(holder))
            return told(info, files, status, since, step, counted, holder)
        except (Damage, Forged, NewerVersion, TraxError) as error:
            if not is_last and _list(path).keys() != files.keys():
                # A listing may lack a file that came while it was made, and have a later one.
                raise FileNotFoundError(path) from error
            return unread(info, error)

    def _is_behind(self, path: str, status: dict[str, Any]) -> bool:
        from trax.replica.marker import is_behind  # seldom needed

        return is_behind(LocalDirectory(path, self.key), status.get("replica", ""))

    def _holder(self, name: str) -> str:
        return holder_state(os.path.join(self.path, LOCKS, encode_run(name)))

    def _count(
        self, path: str, files: _Listed, status: dict[str, Any], held: bool
    ) -> tuple[int, Counted | None]:
        """Return the step, and what was read of the files, unless the journal tells enough."""
        if REPAIR in files:
            if held:  # it is being repaired or rewound
                return status.get("step", 0), None
            raise Damage("its repair was interrupted", 0)
        known = None
        if status and (status["logged"] or held):
            place = Place(status["generation"], status["offset"], int(status["chain"], 16))
            known = status["step"], place
            size = files.get(str(FileName("log", place.generation)), (-1, 0.0))[0]
            is_at_end = place.generation == newest_log(files) and place.offset == size
            if is_at_end or not status["logged"]:
                return status["step"], None
        counted = count_steps(LocalDirectory(path, self.key), files, known)
        return counted.step, counted


def unread(info: Callable[..., RunInfo], error: BaseException) -> RunInfo:
    """Return what is known of a run that cannot be read."""
    state, problem = "damaged", str(error).partition("\n")[0]
    if isinstance(error, Damage):
        problem = f"{error.reason} (offset {error.offset})"
    elif isinstance(error, Forged):
        state = "signed"
        way_on, *_ = error.remedy.splitlines()
        problem = f"its file {error.reason}: {way_on.rstrip('.')}"
    elif isinstance(error, UntrustedError):
        state = "untrusted"
    return info(state, problem=one_line(problem))


def _list(path: str) -> _Listed:
    """Return the regular files in a directory."""
    files = {}
    with os.scandir(path) as entries:
        check_trust(os.lstat(path), path, stat.S_ISDIR)
        for entry in entries:
            found = entry.stat(follow_symlinks=False)
            if entry.name.startswith(_OWN):
                check_trust(found, entry.path, stat.S_ISREG)
            if stat.S_ISREG(found.st_mode):
                files[entry.name] = found.st_size, found.st_mtime
    return files


def _journal(path: str, files: _Listed) -> bytes:
    size = files[JOURNAL][0] if JOURNAL in files else 0
    return _read(os.path.join(path, JOURNAL), min(size, _LONGEST)) if size else b""


def _read(path: str, most: int) -> bytes:
    """Return the beginning of a file; nothing if it cannot be read."""
    try:
        fd = os.open(path, _FLAGS)
    except OSError:
        return b""
    try:
        return os.read(fd, most)
    except OSError:
        return b""
    finally:
        os.close(fd)


def newest_log(files: Iterable[str]) -> int:
    """Return the generation of the newest log; 0 if there is none."""
    found = filter(None, map(FileName.parse, files))
    return max((name.generation for name in found if name.kind == "log"), default=0)


def _sizes(files: _Listed) -> tuple[int, int]:
    """Return the bytes of all files, and of those that were set aside."""
    leftovers = filter(is_leftover, files)
    return sum(size for size, _ in files.values()), sum(files[text][0] for text in leftovers)


def told(
    info: Callable[..., RunInfo],
    files: _Listed,
    status: dict[str, Any],
    since: list[dict[str, Any]],
    step: int,
    counted: Counted | None,
    holder: str,
) -> RunInfo:
    """Return what the files tell of a run that can be read, and its journal.

    `since` are the events of processes that have written no status.
    """
    newest = since[-1] if since else {}
    resumed = sum(event["event"] == "resumed" for event in since)
    changed = max((when for text, (_, when) in files.items() if text.startswith("log-")), default=0)
    is_current = counted is None or counted.step == status.get("step")
    state = PAUSED if holder == SUSPENDED else RUNNING
    if not holder:
        state = _state(status, bool(newest), counted, is_current=is_current)
    is_ended = status.get("state") == state and is_current
    return info(
        state,
        step=step,
        total=status.get("total"),
        rate=status.get("rate"),
        eta=eta(status, step) if state == RUNNING else None,
        began=status.get("began"),
        last=status["time"] if is_ended else max(changed, status.get("time", 0.0)) or None,
        seconds=status.get("seconds"),
        resumes=None if not status else status["resumes"] + resumed,
        host=_text(newest.get("host", status.get("host"))),
        pid=pid if type(pid := newest.get("pid", status.get("pid"))) is int else None,
        reason=_text(status.get("reason")) if is_ended else None,
        error=_failure(status.get("error")) if is_ended else None,
        replica=_text(status.get("replica")),
        lag=lag if type(lag := status.get("lag")) in (int, float) else None,
    )


def _state(
    status: dict[str, Any], is_newer: bool, counted: Counted | None, *, is_current: bool
) -> str:
    """Return the state of a run that nobody holds.

    `is_newer` tells if a process has written no status, and `is_current` if the status is that of
    the files.
    """
    if counted is not None and counted.is_done:
        return "done"
    if is_newer or status.get("state") == RUNNING:
        return KILLED
    # Without a journal, or if somebody has changed the files since, nobody knows how it ended.
    return str(status["state"]) if status and is_current else STOPPED


def eta(status: dict[str, Any], step: int) -> float | None:
    """Return the seconds until all steps are done; None if nobody knows."""
    total, rate = status.get("total"), status.get("rate")
    return max(0, total - step) / rate if total is not None and rate else None


def _text(value: Any) -> str | None:
    return one_line(value) if isinstance(value, str) else None


def _failure(error: Any) -> Failure | None:
    if not isinstance(error, dict):
        return None
    line = error.get("line")
    return Failure(
        _text(error.get("type")) or "",
        _text(error.get("message")) or "",
        _text(error.get("file")),
        line if type(line) is int else None,
    )
