"""Output files are cut back to their stored lengths, and what is cut off is kept."""

from __future__ import annotations

import logging
import os
from collections.abc import Generator
from pathlib import Path

import pytest
from support import run_script
from test_output_files import WHOLE, Lines, looping

import trax
from trax.storage.context import Key
from trax.tracking.truncate import cut_back


def test_a_file_that_is_too_short_or_gone_is_an_error(store_here: Path) -> None:
    """It is named, nothing is changed, and put back the run goes on."""
    lines = Lines()
    loop = looping("function", lines)
    lines.stop = 6
    with pytest.raises(KeyboardInterrupt):
        loop().result()
    before = {path: path.read_bytes() for path in store_here.rglob("*") if path.is_file()}
    written = Path("out.txt").read_bytes()
    for is_gone in (False, True):
        if is_gone:
            Path("out.txt").unlink()
        else:
            os.truncate("out.txt", 20)
        reason = "it is missing" if is_gone else "it has 20 bytes"
        with pytest.raises(
            trax.CorruptionError, match=rf"out\.txt should have .* bytes, and {reason}:"
        ) as caught:
            loop().result()
        assert caught.value.path == os.path.abspath("out.txt")
        after = {path: path.read_bytes() for path in store_here.rglob("*") if path.is_file()}
        assert {k: v for k, v in after.items() if "locks" not in str(k)} == {
            k: v for k, v in before.items() if "locks" not in str(k)
        }
        Path("out.txt").write_bytes(written)
    lines.stop = -1
    loop().result()
    assert Path("out.txt").read_text() == WHOLE


def test_what_is_cut_off_is_said(caplog: pytest.LogCaptureFixture) -> None:
    """In one line, with both lengths."""
    caplog.set_level(logging.INFO)
    lines = Lines()
    loop = looping("function", lines)
    lines.stop = 6
    with pytest.raises(KeyboardInterrupt):
        loop().result()
    with open("out.txt", "a") as file:
        file.write("by hand\n")
    lines.stop = -1
    loop().result()
    assert "out.txt was cut back from 110 to 102 bytes" in caplog.text
    assert Path("out.txt").read_text() == WHOLE


def test_what_is_cut_off_is_kept(store_here: Path) -> None:
    """It may have been somebody else's."""
    lines = Lines()
    loop = looping("function", lines)
    lines.stop = 6
    with pytest.raises(KeyboardInterrupt):
        loop().result()
    with open("out.txt", "a") as file:
        file.write("by hand\n")
    loop().step  # noqa: B018  # it opens the run
    assert (store_here / "runs" / "loop" / "out.txt.cut").read_text() == "by hand\n"


def test_a_run_that_was_done_and_goes_on_checks_its_files() -> None:
    """They may have been changed in between."""

    @trax.resumable(create=int, varying="steps")
    def loop(n: int, steps: int) -> Generator[int, int, None]:
        with trax.open("out.txt") as file:
            for i in trax.steps(steps):
                file.write(f"{i}\n")
                yield i + 1

    loop(3).result()
    Path("out.txt").write_text("0\n")
    with pytest.raises(trax.CorruptionError, match=r"out\.txt"):
        loop(5).result()
    Path("out.txt").write_text("0\n1\n2\nmore\n")
    loop(5).result()
    assert Path("out.txt").read_text() == "0\n1\n2\n3\n4\n"


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("output out.txt", bytes(8)),
        ("output out.txt#1", bytes(8)),
        ("output #0", bytes(8)),
        ("output out\0.txt#0", bytes(8)),
        ("output ../out.txt#0", bytes(7)),
        ("output runs/loop/log-00000001#0", bytes(8)),
        ("output ../out.txt/../.trax/locks/loop#0", bytes(8)),
        ("output link#0", bytes(8)),
    ],
)
def test_what_cannot_be_said_of_an_output_file_is_damage(
    store_here: Path, key: str, value: bytes
) -> None:
    """A context that holds and was not stored by trax; above all it cuts nothing in the store."""
    log = store_here / "runs" / "loop" / "log-00000001"
    log.parent.mkdir(parents=True)
    log.write_bytes(b"increments")
    (store_here / "link").symlink_to(log)
    with pytest.raises(trax.CorruptionError, match="impossible entry"):
        cut_back(str(store_here), str(log.parent), {Key.parse(key): value}, {})
    assert log.read_bytes() == b"increments"


def test_what_may_not_have_reached_the_disk_is_written_again() -> None:
    """A failed sync of the process before is seen in nothing that the system reads or says."""
    script = """
import os, sys
import trax
from trax.storage import filesystem

@trax.resumable(create=int, every_steps=4, sync="os")
def lines(n):
    with trax.open("out.txt") as file:
        while n < 7:
            file.write("line\\n")
            n = yield n + 1

def look(fd, offset, write_again=filesystem.write_again):
    if os.path.samestat(os.fstat(fd), os.stat("out.txt")):
        print(offset, os.fstat(fd).st_size)
    write_again(fd, offset)

if sys.argv[1] == "die":
    run = lines()
    for _ in range(6):
        next(run)
    os._exit(0)
filesystem.write_again = look
lines().result()
"""
    run_script(script, "die")
    assert run_script(script, "go on").stdout == "20 30\n"  # a checkpoint has forced 4 lines
    assert Path("out.txt").read_text() == "line\n" * 7
