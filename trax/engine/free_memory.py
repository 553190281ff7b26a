"""Finds out how much memory this process can still get."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator

__all__ = ["free_memory"]

# By the version of control groups: limit, use, and the part of it that is cached files.
_V1 = "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"
_V2 = "memory.max", "memory.current", "inactive_file"


def free_memory(root: str = "/") -> int | None:
    """Return the bytes that are free on this machine and in its control groups; None if unknown.

    `root` is the directory in which ``proc`` and ``sys`` are.
    """
    found = _first_number(os.path.join(root, "proc/meminfo"), r"MemAvailable: +(\d+) kB")
    free = [] if found is None else [found << 10]
    for directory, (limit, use, cached) in _groups(root):
        most = _first_number(os.path.join(directory, limit), r"(\d+)")
        used = _first_number(os.path.join(directory, use), r"(\d+)")
        if most is not None and used is not None:
            stat = os.path.join(directory, "memory.stat")
            free.append(most - used + (_first_number(stat, rf"(?m)^{cached} (\d+)") or 0))
    return max(0, min(free)) if free else None


def _groups(root: str) -> Iterator[tuple[str, tuple[str, str, str]]]:
    """Yield the directories of the control groups of this process, with their files.

    In a container their paths can be those outside of it; the last one is the top, which is there.
    """
    mount = os.path.join(root, "sys/fs/cgroup")
    for line in _read(os.path.join(root, "proc/self/cgroup")).splitlines():
        number, controllers, path = line.split(":", 2)
        if number == "0":
            top, files = mount, _V2
        elif "memory" in controllers.split(","):
            top, files = os.path.join(mount, "memory"), _V1
        else:
            continue
        names = [name for name in path.split("/") if name and name != ".."]
        for depth in range(len(names), -1, -1):
            yield os.path.join(top, *names[:depth]), files


def _first_number(path: str, pattern: str) -> int | None:
    found = re.search(pattern, _read(path))
    return int(found[1]) if found else None


def _read(path: str) -> str:
    with contextlib.suppress(OSError, ValueError), open(path, encoding="ascii") as file:
        return file.read()
    return ""
