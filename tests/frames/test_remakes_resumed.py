"""Loops with objects that cannot be stored are killed, and go on in another process."""

from __future__ import annotations

import shutil

import pytest
from support import run_script

HEAD = """
import csv, decimal, itertools, os, sqlite3, sys, tempfile, threading, weakref
from concurrent.futures import ThreadPoolExecutor
from contextvars import ContextVar
import numpy as np
import trax
from trax.engine import plain_session

class Client:
    def __init__(self, base):
        self.base = base
        self.token = ""
        self.lock = threading.Lock()

    def get(self, page):
        return f"{self.base}{page} for {self.token}" if self.token else "please log in"

    def login(self, name):
        self.token = name

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.token = ""

depth = ContextVar("depth", default=0)

plain_session._SHARE = 1e9  # a frame at each step: some of these steps must not be repeated

def run(loop, *arguments):
    items = []
    for k, item in enumerate(loop(*arguments)):
        print(item, flush=True)
        if sys.argv[1] == "die" and k == 12:
            os.kill(os.getpid(), 9)
"""

LOOPS = {
    "client": """
@trax.resumable
def loop(base):
    client = Client(base)
    client.login("me")
    for page in range(30):
        yield client.get(page)

run(loop, "http://here/")
""",
    "entered": """
@trax.resumable
def loop(base):
    with Client(base) as client:
        client.login("me")
        get = client.get
        for page in range(30):
            yield get(page)

run(loop, "http://here/")
""",
    "database": """
@trax.resumable
def loop(path):
    connection = sqlite3.connect(path)
    connection.execute("DROP TABLE IF EXISTS pages")
    connection.execute("CREATE TABLE pages (number UNIQUE)")
    connection.execute("PRAGMA cache_size = 77")
    for page in range(30):
        with connection:
            connection.execute("INSERT OR IGNORE INTO pages VALUES (?)", [page])
        number = connection.execute("SELECT number FROM pages ORDER BY 1 DESC").fetchone()
        yield number, connection.execute("PRAGMA cache_size").fetchone()
    connection.close()

run(loop, "pages.db")
""",
    "rows": """
@trax.resumable
def loop(path):
    file = trax.open("rows.csv", "w")
    writer = csv.writer(file)
    writer.writerow(["square"])
    with sqlite3.connect(path) as connection:
        connection.executescript(
            "CREATE TABLE IF NOT EXISTS numbers (n UNIQUE);"
            + "".join(f"INSERT OR IGNORE INTO numbers VALUES ({n});" for n in range(30))
        )
    for row in connection.execute("SELECT n, n * n FROM numbers ORDER BY n"):
        writer.writerow(row[1:])
        yield row
    connection.close()

run(loop, "rows.db")
file = open("rows.csv").read().split()
assert file == ["square", *(str(n * n) for n in range(30))], file
""",
    "headers": """
import io

class Report:
    def __init__(self, out):
        self.out, self.lock = out, threading.Lock()
        out.write("report")

class Rows:
    def __init__(self):
        self.said = []

    def write(self, text):
        self.said.append(text)

@trax.resumable
def loop(client, given):
    own, rows = io.StringIO(), Rows()
    for buffer in own, given:
        buffer.write("# ")
    writer = csv.DictWriter(own, ["n", "square"])
    writer.writeheader()
    other = csv.writer(given)
    other.writerow(["cube"])
    report = Report(rows)
    api = csv.writer(client)
    api.writerow("hi")
    for n in range(30):
        writer.writerow({"n": n, "square": n * n})
        other.writerow([n ** 3])
        rows.write((n, report.lock.locked()))
        yield own.getvalue(), given.getvalue(), [*rows.said], [*client.said]

class Greeted(Rows):
    def __init__(self):
        super().__init__()
        self.lock = threading.Lock()

run(loop, Greeted(), io.StringIO())
""",
    "settings": """
@trax.resumable
def loop(n):
    set_up()
    decimal.getcontext().prec = 40
    os.makedirs("inner", exist_ok=True)
    os.chdir("inner")
    with np.errstate(over="ignore"):
        for i in range(n):
            yield i, str(1 / decimal.Decimal(3)), np.geterr(), os.path.basename(os.getcwd())
    yield np.geterr()

def set_up():
    np.seterr(divide="raise")

run(loop, 30)
""",
    "jobs": """
@trax.resumable
def loop(n):
    total = 0
    for i in range(n):
        lock = threading.Lock()
        def add(number):
            nonlocal total
            with lock:
                total += number
        with ThreadPoolExecutor(2) as pool:
            jobs = list(job for job in [pool.submit(pow, k, 2) for k in range(i)])
        for job in jobs:
            add(job.result())
        yield total, sum(k.result() for k in jobs), pool is None

run(loop, 30)
""",
    "context": """
@trax.resumable
def loop(n):
    depth.set(3)
    for i in range(n):
        depth.set(depth.get() + i)
        yield depth.get()

run(loop, 30)
""",
    "weak": """
class Node:
    pass

@trax.resumable
def loop(n):
    nodes, seen = [], weakref.WeakSet()
    by_number, numbers = weakref.WeakValueDictionary(), weakref.WeakKeyDictionary()
    for i in range(n):
        node = Node()
        nodes.append(node)
        seen.add(node)
        by_number[i], numbers[node] = node, i
        yield len(seen), sorted(by_number), sorted(numbers.values()), nodes[0] in seen

run(loop, 30)
""",
    "nested": """
@trax.resumable
def loop(n):
    def counter():
        count = 0
        class Counter:
            def count(self):
                nonlocal count
                count += 1
                return count
        return Counter().count
    one = counter()
    for i in range(n):
        one()
        yield one()

run(loop, 30)
""",
    "tee": """
@trax.resumable
def loop(n):
    one, other = itertools.tee(iter(range(100)))
    next(other)
    for i in range(n):
        yield next(one), next(other)

run(loop, 30)
""",
    "directory": """
@trax.resumable
def loop(n):
    with tempfile.TemporaryDirectory() as path:
        for i in range(n):
            with open(os.path.join(path, f"{i}.txt"), "w") as file:
                file.write("x")
            yield [os.path.exists(os.path.join(path, f"{k}.txt")) for k in range(i + 1)]
    yield os.path.exists(path)

run(loop, 30)
""",
}


_TELLING = ("client", "entered", "database", "rows", "settings")


@pytest.mark.parametrize("name", LOOPS)
def test_a_killed_loop_goes_on_as_if_nothing_had_happened(name: str) -> None:
    """What was handed out before and after is what an undisturbed run hands out."""
    script = HEAD + LOOPS[name]
    whole = run_script(script, "live")
    undisturbed = whole.stdout.splitlines()
    assert name in _TELLING or "trax" not in whole.stderr
    shutil.rmtree(".trax")
    died = run_script(script, "die", check=False)
    assert died.returncode == -9
    begun = died.stdout.splitlines()
    assert begun == undisturbed[:13]
    resumed = run_script(script, "live")
    assert resumed.stdout.splitlines() == undisturbed[13:]
    assert "'writer'" not in resumed.stderr  # a csv.writer is nothing but its file
    if name in ("client", "entered", "database", "rows", "headers"):
        assert "made again (line" in resumed.stderr
    if name == "settings":
        assert "runs only when the run begins: set_up()" in resumed.stderr


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("for item in other(): yield item", "cannot be stored: it drives another run"),
        ("yield from other()", "cannot be stored: it drives another run"),
        (
            "run = other()\n    while True: yield next(run)",
            "loop: run (line +1) cannot be kept: it hands out only the steps that are new.",
        ),
    ],
)
def test_another_run_that_goes_on_from_step_to_step_is_refused(body: str, reason: str) -> None:
    """A step of it may be stored that the loop around it has not: it would not come again."""
    other = "@trax.resumable\ndef other():\n    yield 1\n    yield 2\n\n"
    text = f"{HEAD}\n{other}@trax.resumable\ndef loop():\n    {body}\n\nrun(loop)\n"
    line = text[: text.index("def loop")].count("\n") + 2
    failed = run_script(text, "live", check=False)
    assert failed.returncode == 1
    assert failed.stdout == ""
    assert reason.replace("+1", str(line)) in failed.stderr
    assert "Run it to its end inside the step, as in loop(...).result()" in failed.stderr


def test_a_sweep_that_goes_on_from_step_to_step_is_refused() -> None:
    """Its cases may come in another order."""
    other = "@trax.resumable(name='other-{n}')\ndef other(n):\n    yield n\n\n"
    body = "for case in trax.sweep(other, {'n': [1, 2]}):\n        yield case.result"
    text = f"{HEAD}\n{other}@trax.resumable\ndef loop():\n    {body}\n\nrun(loop)\n"
    failed = run_script(text, "live", check=False)
    assert failed.returncode == 1
    assert "cannot be stored: it drives a sweep\nTake its cases inside one step" in failed.stderr
    at_once = text.replace(
        "trax.sweep(other, {'n': [1, 2]})", "list(trax.sweep(other, {'n': [1, 2]}))"
    )
    assert run_script(at_once, "live").stdout == "1\n2\n"
