"""Effects and values that a resumed run cannot have as they were."""

from __future__ import annotations

import pytest
from read_loops import found, kinds

TURN = """
import random, time
def loop(state, n):
    {before}
    for i in trax.steps(n):
        {body}
        state = yield {value}
        {after}
"""


@pytest.mark.parametrize(
    ("before", "body", "value", "after", "kind"),
    [
        ("out = trax.open('a')", "out.write('b')", "i", "pass", []),
        ("out = trax.open('a'); out.write('b')", "pass", "i", "pass", ["header"]),
        ("out = trax.open('a')", "pass", "i", "out.write('b')", ["late"]),
        ("out = trax.open('a')", "pass", "i", "print(i, file=out)", ["late"]),
        ("pass", "pass", "i", "print(i)", []),
        ("out = open('a', 'w')", "out.write('b')", "i", "pass", ["file"]),
        ("out = open('a')", "pass", "len(out.name)", "pass", []),
        ("pass", "open('a', 'a').write('b')", "i", "pass", ["file"]),
        ("pass", "open(f'{i}', 'w').write('b')", "i", "pass", []),
        ("random.seed(1)", "pass", "random.random()", "pass", ["seed"]),
        ("if not state: random.seed(1)", "pass", "random.random()", "pass", []),
        ("pass", "pass", "time.time()", "pass", ["clock"]),
        ("begun = time.time()", "print(time.time() - begun)", "i", "pass", []),
    ],
)
def test_effects(before: str, body: str, value: str, after: str, kind: list[str]) -> None:
    """Each is found where it is one, and not where it is none."""
    text = TURN.format(before=before, body=body, value=value, after=after)
    assert [one for one, _ in kinds(text)] == kind


MOVING = """
import os
from pathlib import Path
def loop(state, n):
    for name in sorted(os.listdir("inbox")):
        {guard}
        {body}
        state = yield {value}
        {after}
"""


@pytest.mark.parametrize(
    ("guard", "body", "value", "is_told"),
    [
        ("if name in state: continue", "os.rename(name, 'done')", "name", True),
        ("if name in state: continue", "os.remove(name)", "open(name).read()", True),
        ("if name in state: os.remove(name); continue", "pass", "name", False),
        ("if name in state: continue", "os.replace('new', 'whole')", "name", False),
        (
            "if name in state: continue",
            "new = name + '.new'; open(new, 'w'); os.replace(new, name + '.out')",
            "name",
            False,
        ),
        (
            "if name in state: continue",
            "size = len(open(f'a/{name}').read()); os.rename(f'a/{name}', f'b/{name}')",
            "size",
            True,
        ),
        ("if name in state: continue", "name.replace('a', 'b')", "name", False),
        ("if name in state: continue", "names = [name]; names.remove(name)", "name", False),
        ("if name in state: continue", "table = read(name); table.rename('a')", "table", False),
    ],
)
def test_input_that_is_taken_away_too_early(
    guard: str, body: str, value: str, is_told: bool
) -> None:
    """It is missed, if the process ends before the yield has stored its increment."""
    text = MOVING.format(guard=guard, body=body, value=value, after="pass")
    assert ("moved" in [kind for kind, _ in kinds(text)]) == is_told


@pytest.mark.parametrize(
    ("before", "after", "is_told"),
    [
        ("a = tempfile.mkdtemp()", "return os.listdir(a)", True),
        ("a = Path(tempfile.mkdtemp())", "return list(a.iterdir())", True),
        ("a = tempfile.mkdtemp()", "shutil.rmtree(a)", False),
        ("a = str(n)", "return os.listdir(a)", False),
    ],
)
def test_scratch_files_that_are_read_at_the_end(before: str, after: str, is_told: bool) -> None:
    """Those of the steps before a crash are in another directory."""
    text = f"""
        def loop(state, n):
            {before}
            for i in trax.steps(n):
                keep(a, i)
                state = yield i
            {after}
        """
    assert [kind for kind, _ in kinds(text)] == ["scratch"] * is_told


@pytest.mark.parametrize(
    ("value", "is_told"),
    [("random.random()", True), ("x * x", False), ("time.sleep(x)", False)],
)
@pytest.mark.parametrize("is_cached", [True, False])
def test_random_numbers_that_a_helper_remembers(value: str, is_told: bool, is_cached: bool) -> None:
    """They are drawn again when its memory is empty."""
    by_hand = "def f(x):\n    if x not in MEMO: MEMO[x] = {}\n    return MEMO[x]"
    cached = "@functools.cache\ndef f(x): return {}"
    helper = (cached if is_cached else by_hand).format(value)
    head = f"import functools, random, time\nMEMO = {{}}\n{helper}\n"
    text = head + TURN.format(before="pass", body="pass", value="f(i)", after="pass")
    assert [kind for kind, _ in kinds(text)] == ["memo"] * is_told


@pytest.mark.parametrize(
    ("value", "is_told"),
    [
        *(("hash(state)", True), ("id(state)", True), ("hash('a')", True)),
        *(("hash(i)", False), ("hash((i, 1.5))", False), ("hash(int(state))", False)),
    ],
)
def test_hashes_of_what_may_be_a_text(value: str, is_told: bool) -> None:
    """They are others in every process; those of numbers are not."""
    text = TURN.format(before="pass", body="pass", value=value, after="pass")
    assert [kind for kind, _ in kinds(text)] == ["clock"] * is_told


STAMPED = """
import time, uuid
def now(): return time.time()
def loop(state, n):
    begun = now()
    for i in trax.steps(n):
        started = time.monotonic()
        {body}
        state = yield {value}
"""


@pytest.mark.parametrize(
    ("body", "value", "is_told"),
    [
        ("pass", "{'i': i, 'at': now()}", False),
        ("pass", "(i, str(uuid.uuid4()))", False),
        ("pass", "Row(i, at=now())", False),
        ("took = time.monotonic() - started", "{'i': i, 'took': took}", False),
        ("row = {'i': i, 'at': now()}", "row", False),
        ("pass", "now()", True),
        ("pass", "uuid.uuid4().hex", True),
        ("pass", "(i, now() - begun)", True),
        ("x = 1 if now() > n else 2", "(i, x)", True),
        ("pass", "(i, id(state))", True),
    ],
)
def test_a_time_that_is_only_noted(body: str, value: str, is_told: bool) -> None:
    """It is stored beside other things; what is computed or decided by the time is not."""
    found = kinds(STAMPED.format(body=body, value=value))
    assert [kind for kind, _ in found] == ["clock"] * is_told


@pytest.mark.parametrize(
    ("source", "after", "is_told"),
    [
        ("trax.remaining(paths)", "path.rename('done')", False),
        ("trax.remaining(paths)", "os.remove(path)", False),
        ("trax.remaining(paths)", "os.replace('new', 'whole')", True),
        ("trax.remaining(paths)", "send(path)", True),
    ],
)
def test_an_input_may_be_taken_away_after_the_yield(source: str, after: str, is_told: bool) -> None:
    """Before it, a crash would lose it; after it, a file is left at the most."""
    text = f"""
        import os
        def loop(state, paths):
            for path in {source}:
                state = yield path.read_text()
                {after}
        """
    assert [kind for kind, _ in kinds(text)] == ["late"] * is_told


@pytest.mark.parametrize(
    ("opening", "is_told"),
    [
        ("out = csv.writer(open('a', 'w'))", True),
        ("out = csv.DictWriter(file, ['a'])", True),
        ("out = file.write", True),
        ("out = file.write('head')", False),
        ("out = csv.writer(trax.open('a'))", False),
    ],
)
def test_what_writes_into_an_ordinary_file(opening: str, is_told: bool) -> None:
    """A writer of rows, or a method of the file."""
    text = f"""
        import csv
        def loop(state, n):
            file = open("a", "w")
            {opening}
            for i in trax.steps(n):
                use(out)
                state = yield i
        """
    assert ("file" in [kind for kind, _ in kinds(text)]) == is_told


def test_a_file_is_named_by_the_text_that_opens_it() -> None:
    """As the loop has it."""
    text = TURN.format(
        before="out = Path('a').open('w')", body="out.write('b')", value="i", after="pass"
    )
    (finding,) = found(text)
    assert "Path('a').open() opens" in finding.cause
