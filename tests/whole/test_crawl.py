"""A plain loop that crawls, killed again and again, against a server that counts the requests."""

from __future__ import annotations

import http.server
import signal
import threading
from collections import Counter
from collections.abc import Iterator

import pytest
from support import run_script

PAGES = 60
KILLS = 5

CRAWL = """
import os, signal, sys
import urllib.request
import trax

base, kill_at = sys.argv[1], int(sys.argv[2])
fetched = 0

def fetch(url):
    global fetched
    with urllib.request.urlopen(url) as response:
        text = response.read().decode()
    fetched += 1
    if fetched == kill_at:  # the server has answered, and nothing of it is stored
        os.kill(os.getpid(), signal.SIGKILL)
    return text

@trax.resumable(varying=("base",))
def crawl(base):
    seen, waiting = {"/0"}, ["/0"]
    while waiting:
        path = waiting.pop(0)
        text = fetch(base + path)
        for link in text.split():
            if link not in seen:
                seen.add(link)
                waiting.append(link)
        yield path
    return len(seen)

print(crawl(base=base).result())
"""


class Site(http.server.BaseHTTPRequestHandler):
    """Pages that lead to two others each."""

    def do_GET(self) -> None:
        number = int(self.path[1:])
        self.server.counts[self.path] += 1  # type: ignore[attr-defined]
        links = (f"/{2 * number + k}" for k in (1, 2) if 2 * number + k < PAGES)
        text = " ".join(links).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def site() -> Iterator[http.server.ThreadingHTTPServer]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Site) as server:
        server.counts = Counter()  # type: ignore[attr-defined]
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def test_a_crawl_fetches_no_page_more_than_once_for_each_kill(
    site: http.server.ThreadingHTTPServer,
) -> None:
    """Only the page of the kill, and those behind the newest stored variables, are asked again."""
    base, counts = f"http://127.0.0.1:{site.server_port}", site.counts  # type: ignore[attr-defined]
    for number in range(KILLS):
        before = Counter(counts)
        killed = run_script(CRAWL, base, str(7 + number), check=False)
        assert killed.returncode == -signal.SIGKILL
        assert max((counts - before).values()) == 1
    ended = run_script(CRAWL, base, "0")
    assert ended.stdout.split() == [str(PAGES)]
    assert " resumed at step " in ended.stderr
    assert len(counts) == PAGES
    assert max(counts.values()) <= 1 + KILLS
