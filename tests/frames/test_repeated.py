"""Which statements before a loop run again, when a variable that they make or use is made again."""

from __future__ import annotations

import ast
import linecache
import textwrap
from collections.abc import Collection
from types import FunctionType

import pytest

from trax.frames.program import Program, program_of
from trax.frames.repeated import needed_for, opens_to_write, repeated


def program(body: str, parameters: str) -> Program:
    """Return the program of a function with a body before a loop."""
    text = f"def f({parameters}):\n{textwrap.indent(textwrap.dedent(body), '    ')}\n"
    text += "    for i in range(3):\n        yield i\n"
    name = f"<{hash(text)}>"
    linecache.cache[name] = (len(text), None, text.splitlines(keepends=True), name)
    found: dict[str, FunctionType] = {}
    exec(compile(text, name, "exec"), {}, found)  # a function with this text
    return program_of(found["f"].__code__)


def again(body: str, names: Collection[str], parameters: str = "") -> list[str]:
    """Return the texts of what runs again to make variables."""
    made = program(body, parameters)
    found = repeated(made.source.code, made.sites[0], names)
    return [ast.unparse(part) for one in found for part in one.parts]


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("c.get('/login')", ["c.get('/login')"]),
        ("c.headers['x'] = 1", ["c.headers['x'] = 1"]),
        ("del c.headers['x']", ["del c.headers['x']"]),
        ("c.n += 1", ["c.n += 1"]),
        ("next(c)", ["next(c)"]),
        ("setup(c, 1)", ["setup(c, 1)"]),
        ("first, _ = c.reset(seed=1)", ["c.reset(seed=1)"]),
        ("n = c.n", []),
        ("token: str = c.token()", ["c.token()"]),
        ("rows = []\nrows.append(c.get('/a'))", ["c.get('/a')"]),
        ("rows = []\nrows += c.get('/a')", ["c.get('/a')"]),
        ("rows = {}\nrows[c.n] = len(c.get('/a'))", ["len(c.get('/a'))"]),
        ("print('as', c.get('/me'))", ["c.get('/me')"]),
        ("print('as', c)", []),
        ("for k in 'ab':\n    c.h[k] = k", ["for .k in 'ab':\n    c.h[.k] = .k"]),
        ("if c.is_new:\n    c.get('/')", ["if c.is_new:\n    c.get('/')"]),
        ("if not c.ok:\n    return", []),
        ("assert c.ok", []),
        ("x = 1", []),
        ("def use():\n    return c.get('/')", []),
    ],
)
def test_uses_run_again(text: str, parts: list[str]) -> None:
    """What they do to the variable is done to the new one, and nothing is done to others."""
    assert again(f"c = make()\n{text}", ["c"]) == ["c = make()", *parts]


@pytest.mark.parametrize(
    ("text", "made"),
    [
        ("c, n = make()", "c, .n = make()"),
        ("n = c = make()", ".n = c = make()"),
        ("c: Client = make()", "c: Client = make()"),
        ("with open(p) as f:\n    c = make(f)", "with open(p) as .f:\n    c = make(.f)"),
        (
            "if p:\n    c = make()\nelse:\n    c = None",
            "if p:\n    c = make()\nelse:\n    c = None",
        ),
    ],
)
def test_other_variables_of_its_statement_keep_their_values(text: str, made: str) -> None:
    """They get names that nobody sees."""
    assert again(text, ["c"], "p") == [made]


@pytest.mark.parametrize(
    ("text", "is_again"),
    [
        ("c.execute('PRAGMA foreign_keys = ON')", True),
        ("c.execute(f\"attach '{p}' as other\")", True),
        ("c.execute('CREATE TEMP TABLE t (a)')", True),
        ("c.execute('CREATE TABLE t (a)')", False),
        ("c.execute('DROP TABLE IF EXISTS t')", False),
        ("c.executemany('INSERT INTO t VALUES (?)', [])", False),
        ("c.executescript(p)", False),
        ("c.flushdb()", False),
        ("metadata.drop_all(c)", False),
        ("with c:\n    c.execute('DELETE FROM t')", False),
    ],
)
def test_changes_that_last_are_not_made_again(text: str, *, is_again: bool) -> None:
    """A table is not dropped, nor emptied, in the middle of a run."""
    assert len(again(f"c = make()\n{text}", ["c"], "p")) == 1 + is_again


def test_what_was_written_is_not_written_again() -> None:
    """A file for output finds its place again by itself, with the header in it."""
    body = """
    f = trax.open("out.csv", "w")
    w = csv.writer(f)
    w.writerow(["a", "b"])
    f.write("x")
    print("y", file=f)
    """
    assert again(body, ["f", "w"]) == ["f = trax.open('out.csv', 'w')", "w = csv.writer(f)"]


@pytest.mark.parametrize(
    ("text", "is_again"),
    [
        ("np.seterr(all='raise')", True),
        ("decimal.getcontext().prec = 50", True),
        ("getcontext().prec = p", True),
        ("os.environ['X'] = '1'", True),
        ("plt.style.use('dark')", True),
        ("jax.config.update('jax_enable_x64', True)", True),
        ("warnings.simplefilter('ignore')", True),
        ("n = 1\nnp.seterr(all=n)", False),
        ("model = p\nmodel.disable()", False),
        ("q = p\nq.level = 1", False),
        ("COUNTER['n'] = 0", False),
        ("d = {}\nd.update(a=1)", False),
        ("os.chdir('x')", False),
        ("setup()", False),
    ],
)
def test_settings_of_libraries_are_made_again(text: str, *, is_again: bool) -> None:
    """Even if no variable is; but not from what may have changed."""
    assert len(again(text, [], "p")) == is_again


def test_a_setting_that_fails_is_no_failure() -> None:
    """It may be there already, if the process is the same."""
    assert again("np.seterr(all='raise')", []) == [
        "try:\n    np.seterr(all='raise')\nexcept:\n    pass"
    ]


def test_statements_with_a_yield_never_run_again() -> None:
    """They are steps."""
    body = "c = make()\nfor j in range(3):\n    yield c.get(j)\nc.get('/')"
    made = program(body, "")
    found = repeated(made.source.code, made.sites[1], ["c"])
    assert [ast.unparse(one.node) for one in found] == ["c = make()", "c.get('/')"]


def test_needed_variables() -> None:
    """Those that the statements read, if they are not made again themselves."""
    made = program("url = base + '/x'\nc = make(url, [k for k in keys])\nc.get(n)", "base, keys, n")
    code, site = made.source.code, made.sites[0]
    assert needed_for(code, site, ["c"]) == {"url", "keys", "n"}
    assert needed_for(code, site, ["c", "url"]) == {"base", "keys", "n"}
    assert needed_for(code, site, []) == set()


@pytest.mark.parametrize(
    ("text", "opens", "empties"),
    [
        ("open(p, 'w')", True, True),
        ("open(p, mode='xb')", True, True),
        ("p.open('a')", True, False),
        ("open(p, 'r+')", True, False),
        ("h5py.File(p, 'w')", True, True),
        ("zarr.open_group(p, mode='w-')", True, True),
        ("open(p)", False, False),
        ("open(p, 'rb')", False, False),
        ("c.get('w')", False, False),
        ("make('x', 'a')", False, False),
    ],
)
def test_files_opened_for_writing(text: str, *, opens: bool, empties: bool) -> None:
    """Also those of libraries."""
    assert opens_to_write(ast.parse(text)) is opens
    assert opens_to_write(ast.parse(text), emptying=True) is empties
