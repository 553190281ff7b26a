"""The pages that trax writes, in a real browser: light, dark and on a phone, asking for nothing."""

from __future__ import annotations

import json
import re
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from commands import FITS, in_pipe
from support import run_script

import trax

CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
if CHROMIUM is None:
    pytest.skip("chromium is not installed", allow_module_level=True)

TIMEOUT = 60
WIDTH, HEIGHT = 360, 740  # of a phone

# The texts that a person sees, with what colours and sizes they have on the screen.
TEXTS = """
(() => {
  const found = [];
  const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walk.nextNode()) {
    const text = walk.currentNode.data.trim(), parent = walk.currentNode.parentElement;
    if (!text || parent.closest("title, style")) continue;
    const style = getComputedStyle(parent), box = parent.getBoundingClientRect();
    if (!box.width) continue;
    const svg = parent.closest("text");
    found.push({
      text, left: box.left, right: box.right,
      colour: svg ? style.fill : style.color,
      size: parseFloat(style.fontSize) * (svg ? svg.getScreenCTM().a : 1),
    });
  }
  return found;
})()
"""
LINES = """
[...document.querySelectorAll("polyline")].map(line => {
  const box = line.getBoundingClientRect(), style = getComputedStyle(line);
  return {width: box.width, height: box.height, right: box.right, colour: style.stroke};
})
"""


class Browser:
    """A page of a browser without a screen, driven by its own protocol.

    Attributes
    ----------
    events : list of dict
        What the browser has told of.
    """

    def __init__(self, profile: Path) -> None:
        self._ours, theirs = socket.socketpair()
        self._ours.settimeout(TIMEOUT)
        self._received, self._asked, self._session = b"", 0, ""
        self.events: list[dict[str, Any]] = []
        end = theirs.fileno()
        self._process = subprocess.Popen(
            [
                *("bash", "-c", f'exec "$@" 3<&{end} 4>&{end}', "bash"),  # the ends that it uses
                *(str(CHROMIUM), "--headless=new", "--no-sandbox", "--disable-gpu"),
                *("--disable-dev-shm-usage", "--no-first-run", "--remote-debugging-pipe"),
                *(f"--user-data-dir={profile}", "about:blank"),
            ],
            pass_fds=[end],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        theirs.close()
        target = self("Target.createTarget", url="about:blank")["targetId"]
        attached = self("Target.attachToTarget", targetId=target, flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self(f"{domain}.enable")

    def __call__(self, method: str, **params: object) -> dict[str, Any]:
        """Call a method of the protocol, and return its result."""
        self._asked += 1
        call = {"id": self._asked, "method": method, "params": params}
        call |= {"sessionId": self._session} if self._session else {}
        self._ours.sendall(json.dumps(call).encode() + b"\0")
        while (message := self._receive()).get("id") != self._asked:
            self.events.append(message)
        assert "error" not in message, message
        result: dict[str, Any] = message["result"]
        return result

    def _receive(self) -> dict[str, Any]:
        while b"\0" not in self._received:
            piece = self._ours.recv(1 << 16)
            assert piece, "the browser has ended"
            self._received += piece
        message, _, self._received = self._received.partition(b"\0")
        found: dict[str, Any] = json.loads(message)
        return found

    def show(self, path: str, *, scheme: str = "light", phone: bool = False) -> None:
        """Show a page, and check that it asks for nothing else, and that nothing goes wrong."""
        self("Emulation.setEmulatedMedia",
             features=[{"name": "prefers-color-scheme", "value": scheme}])  # fmt: skip
        width, height = (WIDTH, HEIGHT) if phone else (1200, 900)
        self("Emulation.setDeviceMetricsOverride",
             width=width, height=height, deviceScaleFactor=2, mobile=phone)  # fmt: skip
        self.events.clear()
        url = Path(path).resolve().as_uri()
        self("Page.navigate", url=url)
        while not any(event["method"] == "Page.loadEventFired" for event in self.events):
            self.events.append(self._receive())
        self.value("document.fonts.ready.then(() => 0)")
        told = {event["method"]: event["params"] for event in self.events}
        for wrong in ("Runtime.exceptionThrown", "Runtime.consoleAPICalled", "Log.entryAdded"):
            assert wrong not in told
        requests = [
            event["params"]["request"]["url"]
            for event in self.events
            if event["method"] == "Network.requestWillBeSent"
        ]
        assert requests == [url]

    def value(self, expression: str) -> Any:
        """Return what a JavaScript expression gives on the page."""
        found = self(
            "Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True
        )
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    def close(self) -> None:
        self._session = ""
        self("Browser.close")
        self._ours.close()
        self._process.wait(TIMEOUT)


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    one = Browser(tmp_path_factory.mktemp("profile"))
    yield one
    one.close()


def luminance(colour: str) -> float:
    """Return how bright a colour is to an eye, as web standards reckon it."""
    found = re.fullmatch(r"rgb\((\d+), (\d+), (\d+)\)", colour)
    assert found, colour
    parts = (int(part) / 255 for part in found.groups())
    red, green, blue = (
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    low, high = sorted(map(luminance, (one, other)))
    return (high + 0.05) / (low + 0.05)


def check_colours(browser: Browser, path: str) -> None:
    """See that texts and lines can be told from the page, light as well as dark."""
    pages = []
    for scheme in ("light", "dark"):
        browser.show(path, scheme=scheme)
        page = browser.value("getComputedStyle(document.body).backgroundColor")
        seen = browser.value(TEXTS)
        assert seen
        for one in seen:
            assert contrast(one["colour"], page) >= 4.5, (scheme, one)
        for line in browser.value(LINES):
            assert contrast(line["colour"], page) >= 3, (scheme, line)
        pages.append((page, seen[0]["colour"]))
    (light, ink), (dark, chalk) = pages
    assert luminance(light) > 0.8 > 0.2 > luminance(dark)
    assert luminance(ink) < 0.2 < 0.6 < luminance(chalk)


def check_phone(browser: Browser, path: str) -> None:
    """See that texts are large enough, and that the page need not be moved to and fro."""
    browser.show(path, phone=True)
    assert browser.value("[innerWidth, document.documentElement.scrollWidth]") == [WIDTH, WIDTH]
    for one in browser.value(TEXTS):
        assert one["size"] >= 12, one
    lines = browser.value(LINES)
    assert max((line["right"] for line in lines), default=WIDTH) <= WIDTH
    assert max((line["width"] for line in lines), default=WIDTH) > WIDTH / 2


def seen(browser: Browser) -> str:
    """Return the texts on the page."""
    return "\n".join(one["text"] for one in browser.value(TEXTS))


def damage(name: str) -> None:
    """Change a byte of a log that others follow."""
    log = min(Path(".trax/runs", name).glob("log-*"))
    data = bytearray(log.read_bytes())
    data[-20] ^= 1
    log.write_bytes(data)


@pytest.fixture
def runs() -> None:
    """A run that was killed and is done, one that was killed, one that failed, one damaged."""
    run_script(FITS + "fit(0).result()", "--kill", check=False)
    run_script(FITS + "fit(0).result()")
    run_script(FITS + "fit(1).result()", "--kill", check=False)
    run_script(FITS + "fit(2, stop=41).result()", check=False)
    run_script(FITS + "fit(3).result()")
    damage("fit-3")


@pytest.mark.usefixtures("runs")
def test_a_report_light_dark_and_on_a_phone(browser: Browser) -> None:
    in_pipe("report")
    check_colours(browser, "trax-report.html")
    check_phone(browser, "trax-report.html")


@pytest.mark.usefixtures("runs")
def test_a_report_shows_plots_and_all_that_is_wrong(browser: Browser) -> None:
    in_pipe("report")
    browser.show("trax-report.html")
    assert len(browser.value(LINES)) >= 6
    assert all(line["height"] > 50 for line in browser.value(LINES))
    damaged = 'one => one.querySelector(".damaged") && one.textContent'
    headings = browser.value(f'[...document.querySelectorAll("h2")].map({damaged})')
    assert [text for text in headings if text] == ["fit-3 done damaged"]
    whole = seen(browser)
    for told in ("failed", "ValueError: loss is nan", "killed", "damaged", "done"):
        assert told in whole, whole
    states = browser.value('[...document.querySelectorAll("td span[class]:not(.bar)")].map('
                           "one => [one.textContent, getComputedStyle(one).color])")  # fmt: skip
    assert [state for state, _ in states][1:3] == ["killed", "failed"]
    assert len({colour for _, colour in states}) == 3


@pytest.mark.usefixtures("runs")
def test_a_plot_as_a_page(browser: Browser) -> None:
    in_pipe("plot", "fit-*", "-o", "plot.html")
    check_colours(browser, "plot.html")
    check_phone(browser, "plot.html")
    browser.show("plot.html")
    assert len(browser.value(LINES)) >= 6
    in_pipe("plot", "fit-*", "-o", "plot.svg")
    browser.show("plot.svg")
    assert len(browser.value(LINES)) >= 6


def test_long_names_and_names_like_html_are_texts(browser: Browser) -> None:
    odd = "<img src=x onerror=alert(1)>\"'&amp; "
    with trax.Trax() as store:
        for value in (1e-300, 1.5e300, 4.0):
            store.log(**{odd + "n" * 120: {odd + "field" * 20: -value}, "one": 1_000_000 + value})
    for command in (("report",), ("plot", "*", "-o", "plot.html")):
        in_pipe(*command)
    for path in ("trax-report.html", "plot.html"):
        check_phone(browser, path)
        assert browser.value('document.querySelectorAll("img").length') == 0
        assert odd in seen(browser)


def test_a_report_of_300_runs_and_of_none(browser: Browser) -> None:
    with trax.Trax() as store:
        for number in range(2):
            store.log(**{f"run-{n}": float(n + number) for n in range(300)})
    in_pipe("report")
    check_phone(browser, "trax-report.html")
    assert browser.value('document.querySelectorAll("tr").length') == 301
    assert 10 <= len(browser.value(LINES)) <= 100
    assert "have no plots" in seen(browser)
    Path("empty").mkdir(mode=0o700)
    in_pipe("report", "--dir", "empty")
    check_phone(browser, "trax-report.html")
    assert "0 runs" in seen(browser)
