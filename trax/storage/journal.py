"""The journal of a run: its status and its events, as lines of text that nothing depends on.

Strategy: the first line is the *status*, of a fixed length, overwritten in place about once a
second. Each later line is an *event*, appended when a process opens the run; how a process has left
the run is the status until then. So an opening costs one write, and the end of a process another.
Nothing is forced, no failure matters, and no recovery reads the file: it tells people how a run is,
and a reader where to begin to count.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import platform
import re
import socket
import sys
from collections.abc import Mapping
from hmac import compare_digest
from typing import Any, NamedTuple

from xxhash import xxh3_64_intdigest

from trax.storage.filenames import JOURNAL, temporary
from trax.storage.filesystem import Directory, Update, write_all
from trax.storage.process import process
from trax.storage.signing import SIGNATURE_SIZE, Key

__all__ = [
    "KILLED",
    "NOWHERE",
    "RUNNING",
    "STATUS_SIZE",
    "Journal",
    "Place",
    "as_event",
    "check_status",
    "read_events",
    "read_status",
]

STATUS_SIZE = 1024  # bytes, with the end of the line
RUNNING, KILLED = "running", "killed"
_STATES = (RUNNING, "stopped", "failed", "done")

_MOST = 1 << 16  # bytes; a longer journal is written anew
_KEPT = 1 << 15  # bytes of the newest events, then
_LONGEST = 1024  # bytes of an event
_SUM = 17  # bytes: 16 hexadecimal digits and a space
_SIGNED = 2 * SIGNATURE_SIZE
_WINDOW = 30.0  # seconds over which the rate is taken
_OF_ENDING = ("time", "step", "run", "reason", "error")
_CHAIN = re.compile("[0-9a-f]{16}")
_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode
_SHORTEST = 8  # characters to which a text is cut, if a line is too long


class Place(NamedTuple):
    """The end of the log that is being written: where a reader goes on counting.

    Attributes
    ----------
    generation, offset : int
        The number of the log, and its length in bytes; 0 if there is no log.
    chain : int
        The checksum of its last record.
    """

    generation: int
    offset: int
    chain: int


NOWHERE = Place(0, 0, 0)


class Journal:
    """Writes the journal of a run that is held; it is closed until it begins.

    Attributes
    ----------
    due : float
        The time on the monotonic clock from which on a status is due.
    total : int or None
        The total number of steps, if it is known.
    """

    def __init__(self, directory: Directory) -> None:
        self.due = math.inf
        self.total: int | None = None
        self._directory = directory
        self._file: Update | None = None
        self._end = 0
        self._status: dict[str, Any] = {}
        self._before = 0.0  # seconds that earlier processes have spent
        self._opened = self._seen = 0.0
        self._step = 0
        self._begun: tuple[int, int | None] = 0, None  # this process: its first step, and the total
        self._steps = self._seconds = 0.0  # of the last while, the older ones weighing less

    def begin(self, run: str, step: int, *, resumed: bool, logged: bool, **facts: Any) -> None:
        """Note that this process goes on with the run at a step, or begins it.

        `logged` tells whether the steps are in the logs, and `facts` are what else is known.
        """
        with contextlib.suppress(Exception):
            self._begin({"run": run, "logged": logged}, step, resumed, facts)

    def _begin(
        self,
        base: dict[str, Any],
        step: int,
        resumed: bool,
        facts: Mapping[str, Any],
    ) -> None:
        run, now = base["run"], process.time()
        data, status, lines = self._open(run)
        about = _process()
        self._status = {
            **base,
            "began": status.get("began") if resumed else now,
            "resumes": status.get("resumes", 0) + 1 if resumed else 0,
            **about,
        }
        self._measure_from(step, status)
        event = {"event": "resumed" if resumed else "began", "time": now, "step": step, "run": run}
        about |= {"python": platform.python_version(), "command": _command()}
        lines += self._line(event | about | dict(facts))
        self._append(data, lines)
        self.due = self._opened + process.pause / 10

    def _open(self, run: str) -> tuple[bytes, dict[str, Any], bytes]:
        """Open the file; return its content, and its status if it is that of the run.

        With them is the event that tells how the process before has left the run, in a line.
        """
        self._file = self._directory.update(JOURNAL)
        data = bytes(self._file.read_at(0, _MOST + 1))
        status = read_status(data, self._directory.key)
        status = status if status.get("run") == run else {}
        since = read_events(data, self._directory.key, status.get("length", len(data)))
        left = {**status, **since[-1], "state": RUNNING, "change": None} if since else status
        resumes = status.get("resumes", 0) + sum(map(_is_resumed, since))
        lines = self._line(as_event(left)) if left else b""
        return data, status and {**status, "resumes": resumes}, lines

    def _measure_from(self, step: int, status: Mapping[str, Any]) -> None:
        """Measure from here on, at a step."""
        self._before = status.get("seconds", 0.0)
        self._opened = self._seen = process.monotonic()
        self._step = step
        self._begun = step, status.get("total")

    def mark(self, change: str, run: str, step: int, reason: str = "") -> None:
        """Note that somebody has made the run, or changed it, so that it is at another step now.

        `change` is the event of that, such as "rewound".
        """
        with contextlib.suppress(Exception):
            data, status, lines = self._open(run)
            known = {"run": run, "logged": True, "began": None, "resumes": 0}
            self._status = {
                key: status.get(key, value) for key, value in known.items()
            } | _process()
            self.total = status.get("total")
            self._measure_from(step, status)
            self._append(data, lines)
            self.end("stopped", step, NOWHERE, change=change, reason=reason or change)

    def copy(self, status: Mapping[str, Any]) -> None:
        """Store the status that the run has in a replica; what goes on there has stopped here."""
        with contextlib.suppress(Exception):
            self._status = check_status({**status, "length": STATUS_SIZE})
            if self._status.get("state") == RUNNING:
                self._status["state"] = "stopped"
            if self._status:
                self._file = self._directory.update(JOURNAL)
                self._file.overwrite(0, self._line(self._status, STATUS_SIZE))
                self._file.close()

    def _append(self, data: bytes, lines: bytes) -> None:
        """Append events; write the file anew if it has become long, or has no status."""
        assert self._file is not None
        self._end = len(data) + len(lines)
        if len(data) < STATUS_SIZE:  # new, or its first write was torn
            self._end = STATUS_SIZE + len(lines)
            self._file.overwrite(0, self._encoded(RUNNING) + lines)
        elif self._end > _MOST:
            self._rewrite(data, lines)
        else:
            # A line that was torn stays one, and is not valid.
            lines = lines if data.endswith(b"\n") else b"\n" + lines
            self._end = len(data) + len(lines)
            self._file.overwrite(len(data), lines)

    def _rewrite(self, data: bytes, lines: bytes) -> None:
        """Write the file anew, with the first event and the newest ones."""
        assert self._file is not None
        directory, begun = self._directory, temporary(JOURNAL)
        first, _, others = data[STATUS_SIZE:].partition(b"\n")
        newest = others[-_KEPT : others.rfind(b"\n") + 1].partition(b"\n")[2]
        events = first + b"\n" + newest + lines
        self._end = STATUS_SIZE + len(events)
        content = self._encoded(RUNNING) + events
        with contextlib.suppress(FileNotFoundError):  # left by a process that was killed
            directory.remove(begun)
        output = directory.create(begun)
        try:
            write_all(output, content)
        finally:
            output.close()
        directory.rename(begun, JOURNAL)
        self._file.close()
        self._file = directory.update(JOURNAL)

    def update(self, step: int, place: Place, state: str = RUNNING, **facts: Any) -> None:
        """Store the status at a step, with what else is known."""
        self._write(state, step, place, **facts)

    def end(self, state: str, step: int, place: Place, **facts: Any) -> None:
        """Store the status at the end of this process, and close the file."""
        try:
            self._write(state, step, place, **facts)
        finally:
            with contextlib.suppress(Exception):
                if self._file is not None:
                    self._file.close()
            self._file, self.due = None, math.inf

    def _write(self, state: str, step: int, place: Place, **facts: Any) -> None:
        if self._file is None:
            return
        now = process.monotonic()
        self.due = now + process.pause
        self._measure(step, now)
        with contextlib.suppress(Exception):
            self._file.overwrite(0, self._encoded(state, place, **facts))

    def _measure(self, step: int, now: float) -> None:
        """Take the steps since the last status into account."""
        seconds = max(0.0, now - self._seen)
        weight = math.exp(-seconds / _WINDOW)
        self._steps = self._steps * weight + (step - self._step)
        self._seconds = self._seconds * weight + seconds
        self._step, self._seen = step, now

    def _encoded(self, state: str, place: Place = NOWHERE, **facts: Any) -> bytes:
        step, total = self._begun  # which is known from before until there is another step
        status = {
            "state": state,
            **self._status,
            "step": self._step,
            "total": total if self.total is None and self._step == step else self.total,
            "rate": round(self._steps / self._seconds, 6) if self._seconds else None,
            "time": process.time(),
            "seconds": round(self._before + self._seen - self._opened, 3),
            "generation": place.generation,
            "offset": place.offset,
            "chain": f"{place.chain:016x}",
            "length": self._end,
            **facts,
        }
        return self._line(status, STATUS_SIZE)

    def _line(self, fields: Mapping[str, Any], size: int = 0) -> bytes:
        """Return a line; `size` is its length, or 0 if it is no longer than its text."""
        key = self._directory.key
        text = _text(fields, (size or _LONGEST) - 1 - _SUM - (_SIGNED + 1) * (key is not None))
        if key is not None:
            text = key.sign(text).hex().encode() + b" " + text
        text = text.ljust(size - 1 - _SUM)
        return b"%016x %b\n" % (xxh3_64_intdigest(text), text)


def as_event(status: dict[str, Any]) -> dict[str, Any]:
    """Return the event of how a process has left the run, or has changed it."""
    state, change = status["state"], status.get("change")
    event = change if isinstance(change, str) else KILLED if state == RUNNING else state
    return {"event": event} | {key: status[key] for key in _OF_ENDING if key in status}


def _is_resumed(event: dict[str, Any]) -> bool:
    return bool(event["event"] == "resumed")


def _process() -> dict[str, Any]:
    return {"host": socket.gethostname(), "pid": os.getpid()}


def _command() -> str:
    return " ".join([os.path.basename(sys.executable), *sys.argv])


def _text(fields: Mapping[str, Any], room: int) -> bytes:
    """Return fields as JSON; the longest texts are cut until it fits."""
    fields = dict(fields)
    while True:
        text = _encode(fields)
        encoded = text.encode(errors="replace")
        if len(encoded) <= room:
            return encoded
        nested = [one for one in (fields, *fields.values()) if isinstance(one, dict)]
        _, key, owner = max(
            ((len(value), key, owner) for owner in nested for key, value in owner.items()
             if isinstance(value, str)),
            key=lambda found: found[0],
        )  # fmt: skip
        if len(owner[key]) <= _SHORTEST:
            raise ValueError("the journal has no room for a line")
        owner[key] = owner[key][: len(owner[key]) * 3 // 4] + "…"


# -- reading -------------------------------------------------------------------------------


def read_status(data: bytes, key: Key | None) -> dict[str, Any]:
    """Return the status in a journal; it is empty if that is not valid, or of another key."""
    return check_status(_read_line(data[: STATUS_SIZE - 1], key))


def check_status(status: dict[str, Any]) -> dict[str, Any]:
    """Return a status, or nothing if its fields are not those of one."""
    is_valid = status.get("state") in _STATES and _has_types(status, _STATUS)
    return status if is_valid else {}


def read_events(data: bytes, key: Key | None, begin: int = STATUS_SIZE) -> list[dict[str, Any]]:
    """Return the valid events in a journal from an offset on, oldest first.

    From the `length` in a status on, these are the openings of processes that died within a second.
    """
    found = [_read_line(line, key) for line in data[max(begin, STATUS_SIZE) :].split(b"\n") if line]
    return [event for event in found if _has_types(event, _EVENT)]


def _read_line(line: bytes, key: Key | None) -> dict[str, Any]:
    """Return the fields of a line; none if it is not valid."""
    text = line[_SUM:]
    try:
        if line[:_SUM] != b"%016x " % xxh3_64_intdigest(text):
            return {}
        if key is not None:
            signature, text = text[:_SIGNED], text[_SIGNED + 1 :]
            if not compare_digest(signature, key.sign(text.rstrip(b" ")).hex().encode()):
                return {}
        fields = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return fields if isinstance(fields, dict) else {}


def _is_number(value: Any) -> bool:
    return type(value) in (int, float) and abs(value) < 1e18  # false for NaN


def _is_count(value: Any) -> bool:
    return type(value) is int and 0 <= value < 10**18


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _or_none(check: Any) -> Any:
    return lambda value: value is None or check(value)


_BOTH = {"time": _is_number, "step": _is_count, "run": _is_text}
_EVENT = _BOTH | {"event": _is_text}
_STATUS = _BOTH | {
    "began": _or_none(_is_number),
    "logged": lambda value: isinstance(value, bool),
    "resumes": _is_count,
    "host": _is_text,
    "pid": _is_count,
    "total": _or_none(_is_count),
    "rate": _or_none(_is_number),
    "seconds": _is_number,
    "generation": _is_count,
    "offset": _is_count,
    "chain": lambda value: isinstance(value, str) and _CHAIN.fullmatch(value) is not None,
    "length": _is_count,
}


def _has_types(fields: dict[str, Any], types: Mapping[str, Any]) -> bool:
    return all(key in fields and check(fields[key]) for key, check in types.items())
