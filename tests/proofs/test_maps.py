"""Maps that are killed again and again: of many items, and of requests to a server that fails."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from support import run_script, write_script

import trax

KILLS = 20

# -- many trivial items --------------------------------------------------------------------

MANY = """
import asyncio, sys
from concurrent.futures import ThreadPoolExecutor
import trax

kind, count = sys.argv[1], int(sys.argv[2])

def work(n):
    return n + 1

async def awork(n):
    return n + 1

def report(number):
    if number % 1000 == 0:
        print(number, flush=True)

async def main():
    number = 0
    async for key, value in trax.map(awork, range(count), in_flight=50, name="work"):
        assert value == key + 1
        number += 1
        report(number)

if kind == "asyncio":
    asyncio.run(main())
else:
    pool = ThreadPoolExecutor(4) if kind == "threads" else None
    for number, (key, value) in enumerate(trax.map(work, range(count), executor=pool), 1):
        assert value == key + 1
        report(number)
print("end", flush=True)
"""


def kill_at(script: str, arguments: list[str], lines: int) -> list[str]:
    """Run a script, and kill it when it has printed so many lines; return them all."""
    with subprocess.Popen(
        [sys.executable, script, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
    ) as process:
        assert process.stdout is not None
        seen = [process.stdout.readline() for _ in range(lines)]
        os.killpg(process.pid, signal.SIGKILL)
        return [line for line in [*seen, *process.stdout] if line.endswith("\n")]


@pytest.mark.parametrize(
    ("kind", "total"),
    [("caller", 20_000), ("caller", 1_000_000), ("threads", 100_000), ("asyncio", 100_000)],
)
def test_many_items_are_done_once_however_often_it_is_killed(
    kind: str, total: int, count: Callable[[str, int], None]
) -> None:
    """Each result is there once, and none that was handed out is lost."""
    script = write_script(MANY)
    for turn in range(1, KILLS + 1):
        share = turn * total // (KILLS + 2) // 1000
        lines = kill_at(script, [kind, str(total)], max(1, share))
        assert "end\n" not in lines
        found = trax.verify("work")
        assert found.good
        assert found.step is not None
        assert found.step >= max(map(int, lines))
    assert run_script(MANY, kind, str(total)).stdout.endswith("end\n")
    pairs = trax.load("work")
    assert len(pairs) == total
    assert dict(pairs) == {n: n + 1 for n in range(total)}
    count("kills of maps survived", KILLS)


# -- a server ------------------------------------------------------------------------------

REQUESTS = """
import asyncio, http.client, sys
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import get_context
import trax

kind, port, count = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])

def fetch(number):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        connection.request("GET", f"/{number}")
        response = connection.getresponse()
        body = response.read().decode()
    finally:
        connection.close()
    if response.status != 200:
        raise ConnectionError(f"{response.status} for {number}")
    return body

async def afetch(number):
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(f"GET /{number} HTTP/1.0\\r\\n\\r\\n".encode())
        head, _, body = (await reader.read()).decode().partition("\\r\\n\\r\\n")
    finally:
        writer.close()
    if " 200 " not in head:
        raise ConnectionError(f"{head} for {number}")
    return body

def note(pairs):
    for number, page in pairs:
        if not isinstance(page, Exception):
            print(number, page, flush=True)

async def main():
    async for pair in trax.map(afetch, range(count), in_flight=50, name="pages"):
        note([pair])

if __name__ == "__main__":
    if kind == "asyncio":
        asyncio.run(main())
    else:
        pool = (
            ThreadPoolExecutor(50)
            if kind == "threads"
            else ProcessPoolExecutor(4, mp_context=get_context("forkserver"))
        )
        with pool:
            note(trax.map(fetch, range(count), executor=pool, in_flight=50, name="pages"))
"""


class Server(ThreadingHTTPServer):
    """Answers each request with a page of its own; the first for every seventh page fails."""

    request_queue_size = 200
    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.answered: Counter[int] = Counter()
        self.failed: set[int] = set()
        self.guard = threading.Lock()

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing of clients that were killed."""


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        assert isinstance(self.server, Server)
        number = int(self.path[1:])
        with self.server.guard:
            fails = number % 7 == 0 and number not in self.server.failed
            self.server.failed.add(number)
            self.server.answered[number] += not fails
        body = b"" if fails else f"page-{number}".encode()
        self.send_response(503 if fails else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments: object) -> None:
        """Say nothing."""


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.mark.parametrize("kind", ["threads", "asyncio", "processes"])
def test_a_request_is_answered_once_but_for_those_in_flight_at_a_kill(
    kind: str, server: Server, count: Callable[[str, int], None]
) -> None:
    """2,000 requests, 50 in flight, with failures; every result is that of its item."""
    total, in_flight, rng = 2_000, 50, random.Random(kind)
    arguments = [kind, str(server.server_port), str(total)]
    script = write_script(REQUESTS)
    handed: set[int] = set()
    for turn in range(KILLS):
        more = rng.randrange(10, total // KILLS)
        lines = kill_at(script, arguments, min(len(handed) + more, total - 10 * (KILLS - turn)))
        handed |= {int(line.split()[0]) for line in lines}
        stored = dict(trax.load("pages"))
        assert handed <= stored.keys()
    while len(trax.load("pages")) < total:  # what failed is tried again by the next call
        run_script(REQUESTS, *arguments)
    assert dict(trax.load("pages")) == {n: f"page-{n}" for n in range(total)}
    assert len(trax.load("pages")) == total
    assert {*server.answered} == {*range(total)}
    repeated = sum(server.answered.values()) - total
    assert repeated <= KILLS * in_flight
    count("kills of maps survived", KILLS)
    assert Path(".trax/runs/pages").exists()
