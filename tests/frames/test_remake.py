"""Variables that cannot be stored are made again when a loop is resumed, or are refused by name."""

from __future__ import annotations

import csv
import hashlib
import io
import logging
import mmap
import queue
import re
import sqlite3
import subprocess
import threading
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace
from typing import Any, Self

import pytest
from remaking import runs, stored_after

from trax.errors import CodecError

Increments = Iterator[Any]


class Client:
    """A client that cannot be stored, since it has a lock, and that leads out of the process."""

    def __init__(self, url: str, headers: dict[str, str] | None = None) -> None:
        self.url = url
        self.headers = dict(headers or {})
        self.log: list[Any] = []
        self._lock = threading.Lock()
        self._connection = HTTPConnection("localhost")

    def get(self, path: str) -> str:
        """Pretend to load a page."""
        self.log.append(path)
        return f"{self.url}{path}"

    def __enter__(self) -> Self:
        self.log.append("entered")
        return self

    def __exit__(self, *error: object) -> None:
        self.log.append("left")


class Gate:
    """A context manager that does not give itself."""

    def __init__(self, client: Client) -> None:
        self.client = client

    def __enter__(self) -> Client:
        return self.client

    def __exit__(self, *error: object) -> None:
        pass


def with_lines(loop: Any, text: str) -> str:
    """Return a text with lines such as ``+2`` counted from the `def` of a loop."""
    first = loop.__code__.co_firstlineno
    return re.sub(r"\+(\d)", lambda found: str(first + int(found[1])), text)


# -- loops that go on as if nothing had happened -------------------------------------------


def made_from_a_parameter(base: str) -> Increments:
    url = base + "/api"
    options = {"lang": "en"}
    client = Client(url, options)
    for i in range(4):
        yield i, client.url, client.headers


def used_before_the_loop(base: str) -> Increments:
    client = Client(base)
    client.get("/login")
    client.headers["token"] = client.get("/token")
    for key in ("a", "b"):
        client.headers[key] = key.upper()
    for i in range(4):
        yield i, [*client.log], dict(client.headers)


def used_in_a_with(base: str) -> Increments:
    with Client(base) as client:
        client.get("/login")
        for i in range(4):
            yield i, [*client.log]


def wrapped(base: str) -> Increments:
    client: Any = Client(base)
    client = SimpleNamespace(inner=client, lock=threading.Lock())
    for i in range(4):
        yield i, client.inner.url


def chosen(base: str) -> Increments:
    if not base:
        client = Client("http://none")
    else:
        client = Client(base)
        client.get("/")
    for i in range(4):
        yield i, client.url, [*client.log]


def rows_of_texts(base: str) -> Increments:
    client = Client(base)
    file = io.StringIO()
    rows = csv.writer(file)
    fields = csv.DictWriter(file, ["i"])
    for i in range(4):
        rows.writerow([i])
        fields.writerow({"i": i})
        yield client.url, file.getvalue()


def two_names(base: str) -> Increments:
    one = other = Client(base)
    first, lock = Client("first"), threading.Lock()
    for i in range(4):
        with lock:
            number = i
        yield number, one is other, first.url


def many(base: str) -> Increments:
    clients = {name: [Client(base + name)] for name in ("a", "b")}
    for i in range(4):
        yield i, [client.url for found in clients.values() for client in found]


def seen_by_a_function(base: str) -> Increments:
    client = Client(base)
    count = 0

    def fetch(page: int) -> tuple[str, int]:
        nonlocal count
        count += 1
        return client.get(f"/{page}"), count

    for i in range(4):
        yield i, fetch(i), client.log[-1]


def first_observation(base: str) -> Increments:
    env = Client(base)
    seen, _ = env.get("/reset"), 0
    for i in range(4):
        yield i, seen, [*env.log]
        seen = f"{seen}, {i}"


def other_rows(base: str) -> Increments:
    rows: list[str] = []
    client = Client(base)
    rows.append(client.get("/login"))
    for i in range(4):
        rows.append(str(i))
        yield i, list(rows), [*client.log]


def pool(base: str) -> Increments:
    workers = ThreadPoolExecutor(2)
    logger = logging.getLogger("some")
    for i in range(4):
        yield i, [*workers.map(str.upper, base)], logger.name
    workers.shutdown()


def entered_stack(base: str) -> Increments:
    with ExitStack() as stack:
        client = stack.enter_context(Client(base))
        for i in range(4):
            yield i, [*client.log]


def in_try(base: str) -> Increments:
    try:
        client = Client(base)
        client.get("/login")
        for i in range(4):
            yield i, [*client.log]
    finally:
        print(end="")


def temporary(base: str) -> Increments:
    for i in range(4):
        client = Client(base)
        url = client.get(f"/{i}")
        del client
        yield url


def from_what_is_forgotten(base: str) -> Increments:
    page = 7
    client = Client(f"{base}/{page}")
    for page in range(4):
        yield client.url, page


class Crawler:
    """A loop that is a method, and makes a client from what its object has."""

    def __init__(self) -> None:
        self.url = "http://here"
        self.pages = 0

    def crawl(self) -> Increments:
        """Count pages."""
        client = Client(self.url)
        for i in range(4):
            self.pages += 1
            yield i, client.url


LOOPS = [
    *(made_from_a_parameter, used_before_the_loop, used_in_a_with, wrapped, chosen, two_names),
    *(many, seen_by_a_function, first_observation, other_rows, pool, entered_stack, in_try),
    *(temporary, from_what_is_forgotten),
]


@pytest.mark.parametrize("loop", LOOPS)
def test_loops_go_on_as_if_nothing_had_happened(loop: Any) -> None:
    """Wherever they are resumed."""
    undisturbed, *resumed = runs(loop, 4, "http://here")
    assert len(undisturbed) == 4
    assert resumed == [undisturbed] * 3


def test_methods_that_change_their_object_elsewhere() -> None:
    """Only what is read to make the variable must not change."""
    undisturbed, *resumed = runs(Crawler.crawl, 4, Crawler())
    assert resumed == [undisturbed] * 3


@pytest.mark.parametrize(
    ("loop", "notice"),
    [
        (made_from_a_parameter, "loop: 'client' is made again (line +3)"),
        (used_before_the_loop, "loop: 'client' is made again (lines +1 to +4)"),
        (used_in_a_with, "loop: 'client' is made again (lines +1 to +2)"),
        (two_names, "loop: 'one', 'other', 'first' and 'lock' are made again (lines +1 to +2)"),
        (temporary, ""),
        (rows_of_texts, "loop: 'client' is made again (line +1)"),
    ],
)
def test_one_line_is_said_of_it(loop: Any, notice: str) -> None:
    """With the names and the lines."""
    said = stored_after(loop, 1, "http://here").notice
    assert said == with_lines(loop, notice)


def test_what_it_is_made_from_is_stored() -> None:
    """Even if the rest of the loop does not need it."""
    plan = stored_after(made_from_a_parameter, 1, "http://here").plan
    assert plan.names == {"client"}
    assert {"url", "options"} <= plan.needs


# -- databases and servers -----------------------------------------------------------------


def inserts(path: str) -> Increments:
    connection = sqlite3.connect(path)
    cursor = connection.cursor()
    cursor.execute("DROP TABLE IF EXISTS items")
    cursor.execute("CREATE TABLE items (number)")
    connection.execute("PRAGMA foreign_keys = ON")
    for i in range(5):
        with connection:
            cursor.execute("INSERT INTO items VALUES (?)", [i])
        yield (
            connection.execute("SELECT count(*) FROM items").fetchone(),
            connection.execute("PRAGMA foreign_keys").fetchone(),
        )


def test_a_database_keeps_its_rows_and_its_session() -> None:
    """Tables are neither dropped nor created again, but pragmas are set again."""
    undisturbed, *resumed = runs(inserts, 5, "rows.db")
    assert undisturbed == [((n,), (1,)) for n in range(1, 6)]
    assert resumed == [undisturbed] * 4


class Members(BaseHTTPRequestHandler):
    """Shows its pages to who has logged in."""

    def do_GET(self) -> None:
        """Answer."""
        self.send_response(200)
        if self.path == "/login":
            self.send_header("Set-Cookie", "member=yes")
        self.end_headers()
        is_member = "member=yes" in self.headers.get("Cookie", "")
        self.wfile.write(self.path.encode() if is_member else b"please log in")

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def server() -> Iterator[str]:
    """Serve pages on the loopback; give the address."""
    served = ThreadingHTTPServer(("127.0.0.1", 0), Members)
    thread = threading.Thread(target=served.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{served.server_port}"
    served.shutdown()
    thread.join()
    served.server_close()


def pages(base: str) -> Increments:
    opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor())
    opener.open(f"{base}/login").close()
    for i in range(3):
        with opener.open(f"{base}/{i}") as answer:
            text = answer.read().decode()
        del answer
        yield text


def test_a_client_logs_in_again(server: str) -> None:
    """Or it would store the pages that ask for that."""
    undisturbed, *resumed = runs(pages, 3, server)
    assert undisturbed == ["/0", "/1", "/2"]
    assert resumed == [undisturbed] * 2


# -- refusals ------------------------------------------------------------------------------


def bound_in_the_loop() -> Increments:
    for i in range(3):
        client = Client(str(i))
        yield i
        client.get("/")


def bound_again() -> Increments:
    client = Client("a")
    for i in range(3):
        yield client.url
        client = Client(client.get(str(i)))


def from_what_changes() -> Increments:
    page = 0
    client = Client(str(page))
    while page < 3:
        yield client.url, page
        page += 1


def from_what_is_filled() -> Increments:
    headers: dict[str, str] = {}
    client = Client("a", headers)
    for i in range(3):
        headers[str(i)] = "x"
        yield client.url, headers


def grown() -> Increments:
    clients: list[Client] = []
    for i in range(3):
        clients.append(Client(str(i)))
        yield len(clients)


def fills_rows() -> Increments:
    rows: list[str] = []
    client = Client("a")
    extend(client, rows)
    for i in range(3):
        yield i, client.url, rows


def extend(client: Client, rows: list[str]) -> None:
    """Change a list with the help of a client."""
    rows.append(client.get("/"))


def hashed() -> Increments:
    digest = hashlib.sha256()
    for i in range(3):
        digest.update(b"x")
        yield i, digest.hexdigest()


def started() -> Increments:
    process = subprocess.Popen(["true"])
    process.wait()
    for i in range(3):
        yield i, process.returncode


def futures() -> Increments:
    with ThreadPoolExecutor(1) as workers:
        waiting = [workers.submit(len, "ab") for _ in range(3)]
        for i in range(3):
            yield waiting[i].result()


def in_memory() -> Increments:
    connection = sqlite3.connect(":memory:")
    connection.execute("CREATE TABLE items (number)")
    for i in range(3):
        yield i, connection.execute("SELECT * FROM items").fetchall()


def not_committed() -> Increments:
    connection = sqlite3.connect("open.db")
    connection.execute("CREATE TABLE IF NOT EXISTS items (number)")
    for i in range(3):
        connection.execute("INSERT INTO items VALUES (1)")
        yield i


def reads_on() -> Increments:
    connection = sqlite3.connect("rows.db")
    rows = connection.execute("VALUES (1), (2), (3)")
    for _ in range(3):
        yield rows.fetchone()


def waiting_items() -> Increments:
    waiting: queue.Queue[int] = queue.Queue()
    waiting.put(1)
    for i in range(3):
        yield i, waiting.qsize()


class Report:
    def __init__(self, path: str) -> None:
        self.file = open(path, "a")  # noqa: SIM115


def keeps_a_file() -> Increments:
    report = Report("out.txt")
    for i in range(3):
        report.file.write("x")
        yield i


def writes_a_file() -> Increments:
    file = open("out.txt", "w")  # noqa: SIM115
    for i in range(3):
        file.write("x")
        yield i


def stack_in_the_loop() -> Increments:
    with ExitStack() as stack:
        for i in range(3):
            client = stack.enter_context(Client(str(i)))
            url = client.url
            del client
            yield url


def mapped() -> Increments:
    memory = mmap.mmap(-1, 16)
    for i in range(3):
        memory[i] = i
        yield i


REFUSED = {
    bound_in_the_loop: ("client", "line +2 makes it, in the loop"),
    bound_again: ("client", "line +4 binds it as well, in the loop"),
    from_what_changes: ("client", "line +2 reads page, which line +5 changes"),
    from_what_is_filled: ("client", "line +2 reads headers, which line +4 changes"),
    grown: ("clients", "line +3 changes it"),
    fills_rows: ("client", "line +3 changes rows as well"),
    hashed: ("digest", "its state cannot be read"),
    started: ("process", "its process ends with this one"),
    futures: ("waiting", "its work ends with this process"),
    in_memory: ("connection", "its tables are in memory only"),
    not_committed: ("connection", "it has changes that are not committed"),
    reads_on: ("rows", "line +4 reads on in it"),
    waiting_items: ("waiting", "it has items"),
    keeps_a_file: ("report", "report.file is open for writing"),
    writes_a_file: ("file", "its file would be emptied"),
    mapped: ("memory", "its memory is gone then"),
    stack_in_the_loop: ("stack", "line +3 gives it more to close"),
}


@pytest.mark.parametrize("loop", REFUSED)
def test_what_cannot_be_made_again_is_refused_at_the_first_frame(loop: Any) -> None:
    """By its name, with the line and the reason, and with a way on."""
    name, reason = REFUSED[loop]
    with pytest.raises(CodecError) as caught:
        stored_after(loop, 1)
    cause, kind, *ways = str(caught.value).splitlines()
    assert cause.startswith(f"loop: {name} ")
    because = with_lines(loop, reason)
    assert cause.endswith((f" cannot be made again: {because}.", f" cannot be kept: {because}."))
    assert len(cause) <= 100
    assert kind.startswith("It cannot be stored (")
    assert ways


# -- what steps change ---------------------------------------------------------------------


def called_in_the_loop() -> Increments:
    env = Client("a")
    for i in range(3):
        env.get(str(i))
        yield i, env.url


def changed_in_the_loop() -> Increments:
    client = Client("a")
    for i in range(3):
        client.headers["n"] = str(i)
        yield i, client.url


def only_connected(path: str = "rows.db") -> Increments:
    connection = sqlite3.connect(path)
    for i in range(3):
        connection.execute("SELECT 1")
        yield i


@pytest.mark.parametrize("loop", [called_in_the_loop, changed_in_the_loop])
def test_what_steps_change_in_it_is_told(loop: Any) -> None:
    """It is not there after a crash."""
    first = loop.__code__.co_firstlineno
    (line,) = stored_after(loop, 1).plan.warnings("loop")
    name = loop.__code__.co_varnames[0]
    assert line.startswith(f"loop: {name} cannot be stored; after a crash it is made again as in")
    assert f"line {first + 1}" in line
    assert f"(line {first + 3})" in line


def test_nothing_is_told_of_connections() -> None:
    """What steps do to them is outside of the process."""
    assert [*stored_after(only_connected, 1).plan.warnings("loop")] == []
