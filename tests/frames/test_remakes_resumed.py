"""Loops with objects that cannot be stored are killed, and go on in another process."""

from __future__ import annotations

import shutil

import pytest
from support import run_script

HEAD = """
import csv, decimal, os, sqlite3, sys, tempfile, threading
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


@pytest.mark.parametrize("name", LOOPS)
def test_a_killed_loop_goes_on_as_if_nothing_had_happened(name: str) -> None:
    """What was handed out before and after is what an undisturbed run hands out."""
    script = HEAD + LOOPS[name]
    undisturbed = run_script(script, "live").stdout.splitlines()
    shutil.rmtree(".trax")
    died = run_script(script, "die", check=False)
    assert died.returncode == -9
    begun = died.stdout.splitlines()
    assert begun == undisturbed[:13]
    resumed = run_script(script, "live")
    assert resumed.stdout.splitlines() == undisturbed[13:]
    if name in ("client", "entered", "database", "rows"):
        assert "made again (line" in resumed.stderr
    if name == "settings":
        assert "runs only when the run begins: set_up()" in resumed.stderr
