"""`trax report` writes one page that is whole, asks nobody, and shows texts as texts."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

from commands import FITS, in_pipe
from support import run_script

import trax


class Page(HTMLParser):
    """Takes a page apart, and sees that each element is closed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: set[str] = set()
        self.attributes: list[tuple[str, str | None]] = []
        self.texts: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes += attrs
        if tag != "meta":
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes += attrs

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def test_a_page_about_all_runs() -> None:
    run_script(FITS + "fit(0).result()", "--kill", check=False)
    run_script(FITS + "fit(0).result()")
    run_script(FITS + "fit(1).result()", "--kill", check=False)
    run_script(FITS + "fit(2, stop=41).result()", check=False)
    done = in_pipe("report")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("trax-report.html: 3 runs, ")
    text = Path("trax-report.html").read_text()
    page = Page(text)
    whole = " ".join(page.texts)
    for told in (
        "ValueError: loss is nan",
        "k=2",
        "verified",
        "fit-1",
        "1 done, 1 failed",
        "1 time",
    ):
        assert told in whole
    assert text.count("<figure>") == 6
    assert "prefers-color-scheme: dark" in text
    assert "width=device-width" in text
    assert "script" not in page.tags
    links = [
        value or "" for name, value in page.attributes if name in ("href", "src", "xlink:href")
    ]
    assert links
    assert all(value.startswith("#") for value in links)
    assert not re.search(r"url\(|@import|https?:", text)
    assert "default-src 'none'" in text


def test_texts_of_the_user_are_no_tags() -> None:
    run_script(
        "import trax\n"
        "@trax.resumable(create=int, name='<b>\"{text}')\n"
        "def loop(n, text):\n    yield 1\n    raise ValueError('<script>x</script>\\x1b\\u202e')\n"
        "loop('<td>').result()",
        check=False,
    )
    with trax.Trax() as store:
        store.log(word={"<i>": 1.0})
    done = in_pipe("report", "-o", "-")
    page = Page(done.stdout)
    assert not {"b", "script", "i"} & page.tags
    assert done.stdout.replace("\n", "").isprintable()
    assert "<script>x</script>" in "".join(page.texts)


def test_some_runs_and_none() -> None:
    run_script(FITS + "fit(0).result()\nfit(1).result()")
    found = json.loads(in_pipe("report", "fit-1", "-o", "one.html", "--json").stdout)
    assert found == {"path": str(Path("one.html").resolve()), "runs": 1}
    assert "fit-0" not in Path("one.html").read_text()
    assert in_pipe("report", "other").returncode == 1
    (Path(".trax/runs/fit-0") / "log-00000001").write_bytes(b"")
    assert in_pipe("report").returncode in (0, 1)
    Page(Path("trax-report.html").read_text())
    Path("empty").mkdir(mode=0o700)
    assert in_pipe("report", "--dir", "empty").returncode == 0


def test_a_page_is_replaced_when_the_next_one_is_whole() -> None:
    run_script(FITS + "fit(0).result()")
    assert in_pipe("report").returncode == 0
    before = Path("trax-report.html").read_text()
    shell = f"ulimit -f 1; exec {shlex.quote(sys.executable)} -m trax report"
    done = subprocess.run(["sh", "-c", shell], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert "File too large" in done.stderr
    assert Path("trax-report.html").read_text() == before
    assert [path.name for path in Path().glob("trax-report*")] == ["trax-report.html"]


def test_a_run_that_cannot_be_read_leaves_the_others_their_place() -> None:
    run_script(FITS + "fit(0).result()\nfit(1).result()\nfit(2).result()")
    newest = max(Path(".trax/runs/fit-1").glob("checkpoint-*"))
    newest.unlink()
    os.mkfifo(newest)
    done = in_pipe("report", "-o", "-")
    assert done.returncode == 1
    assert done.stdout.endswith("</html>\n")
    assert done.stdout.count("<h2") == 3
    assert "is not a regular file" in done.stdout
