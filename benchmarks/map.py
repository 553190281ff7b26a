"""What an item of `trax.map` costs: computed, and when a later call finds it done.

    python benchmarks/map.py [--items N] [--kind caller|threads|asyncio]

The items are numbers, and the function adds one. The memory is that of the process, in addition to
that before the call.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import trax


def work(number: int) -> int:
    return number + 1


async def awork(number: int) -> int:
    return number + 1


def memory() -> int:
    """Return the resident memory of this process, in bytes."""
    found = re.search(r"VmRSS:\s+(\d+)", Path("/proc/self/status").read_text())
    return int(found[1]) * 1024 if found else 0


def one_pass(kind: str, items: int) -> None:
    """Go through all items, and print what each costs."""
    before, begun = memory(), time.perf_counter()
    if kind == "asyncio":
        asyncio.run(go_through(trax.map(awork, range(items), name="map")))
    else:
        pool = ThreadPoolExecutor(4) if kind == "threads" else None
        results: Iterator[Any] = trax.map(work, range(items), executor=pool, name="map")
        for _ in results:
            pass
    seconds = time.perf_counter() - begun
    grown = (memory() - before) / items
    print(f"{seconds / items * 1e6:6.1f} µs and {grown:5.1f} bytes of memory for an item")


async def go_through(results: Any) -> None:
    async for _ in results:
        pass


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--items", type=int, default=1_000_000)
    parser.add_argument("--kind", choices=["caller", "threads", "asyncio"], default="caller")
    parser.add_argument("--once", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.once:
        one_pass(given.kind, given.items)
        return
    again = [sys.executable, os.path.abspath(__file__), "--once"]
    again += ["--items", str(given.items), "--kind", given.kind]
    with tempfile.TemporaryDirectory() as place:
        for what in ("computed", "found done"):
            print(f"{what:>10}: ", end="", flush=True)
            subprocess.run(again, cwd=place, check=True, stderr=subprocess.DEVNULL)


if __name__ == "__main__":
    main()
