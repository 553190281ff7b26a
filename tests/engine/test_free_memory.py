"""The memory that a process can still get: the machine's, or what its control groups leave."""

from __future__ import annotations

from pathlib import Path

import pytest

from trax.engine.free_memory import free_memory

GIB = 1 << 30
MACHINE = {"proc/meminfo": "MemTotal: 9 kB\nMemAvailable:   4194304 kB\n"}
V1 = "sys/fs/cgroup/memory"
V2 = "sys/fs/cgroup"


def group(place: str, limit: str, use: str, cached: str = "") -> dict[str, str]:
    """Return the files of a control group."""
    names = ("memory.max", "memory.current")
    if place.startswith(V1):
        names = ("memory.limit_in_bytes", "memory.usage_in_bytes")
    return {
        f"{place}/{names[0]}": limit,
        f"{place}/{names[1]}": use,
        f"{place}/memory.stat": f"file 7\n{cached}\n",
    }


@pytest.mark.parametrize(
    ("files", "free"),
    [
        ({}, None),
        ({"proc/meminfo": "MemTotal: 9 kB\n"}, None),
        (MACHINE, 4 * GIB),
        (
            {"proc/self/cgroup": "0::/job\n"}
            | MACHINE
            | group(f"{V2}/job", f"{3 * GIB}\n", f"{2 * GIB}\n", f"inactive_file {GIB // 2}"),
            3 * GIB // 2,
        ),
        # No limit of its own, but one above it.
        (
            {"proc/self/cgroup": "0::/job/step\n"}
            | MACHINE
            | group(f"{V2}/job/step", "max\n", f"{GIB}\n")
            | group(f"{V2}/job", f"{3 * GIB}\n", f"{2 * GIB}\n"),
            GIB,
        ),
        # In a container, the path is that on the host.
        (
            {"proc/self/cgroup": "4:memory:/docker/1\n0::/\n"}
            | MACHINE
            | group(V1, f"{2 * GIB}\n", f"{GIB}\n", f"total_inactive_file {GIB // 4}"),
            5 * GIB // 4,
        ),
        (
            {"proc/self/cgroup": "9:cpu,memory:/job\n1:name=systemd:/\n"}
            | MACHINE
            | group(f"{V1}/job", f"{(1 << 63) - 4096}\n", f"{GIB}\n"),
            4 * GIB,
        ),
        ({"proc/self/cgroup": "0::/../x\n"} | MACHINE | group(V2, f"{GIB}\n", f"{2 * GIB}\n"), 0),
    ],
    ids=["unknown", "no number", "machine", "group", "above", "container", "no limit", "too much"],
)
def test_what_is_free_is_the_least_that_anybody_leaves(
    files: dict[str, str], free: int | None, tmp_path: Path
) -> None:
    """Cached files count as free: the system drops them when memory is needed."""
    for name, content in files.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    assert free_memory(str(tmp_path)) == free


def test_it_is_known_on_linux() -> None:
    """And elsewhere it need not be."""
    free = free_memory()
    if Path("/proc/meminfo").exists():
        assert free is not None
        assert 0 < free < 1 << 50
