"""Notebooks: cells that are run, interrupted, edited and run again, in a real kernel."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

if importlib.util.find_spec("ipykernel") is None or importlib.util.find_spec("zmq") is None:
    pytest.skip("ipykernel and jupyter_client are not installed", allow_module_level=True)

LOOP = """
import time
import trax

@trax.resumable(total="n", progress=True)
def simulate(n):
    x = 0.4
    for i in range(n):
        x = 3.9 * x * (1 - x)
        time.sleep(0.01)
        if i == 20:
            print("twenty", flush=True)
        yield x

run = simulate(n=60)
for x in run:
    pass
"""
TIMEOUT = 60


class Kernel:
    """A kernel, and what its cells show."""

    def __init__(self) -> None:
        from jupyter_client.manager import start_new_kernel

        self.manager, self.client = start_new_kernel(kernel_name="python3")

    def run(self, cell: str, *, interrupt_at: str = "") -> Cell:
        """Run a cell; interrupt the kernel when it prints a text."""
        request, shown = self.client.execute(cell), Cell()
        while True:
            message = self.client.get_iopub_msg(timeout=TIMEOUT)
            kind, content = message["msg_type"], message["content"]
            if message["parent_header"].get("msg_id") != request:
                continue
            if kind == "stream":
                shown.text[content["name"]] += content["text"]
                if interrupt_at and interrupt_at in content["text"]:
                    self.manager.interrupt_kernel()
            elif kind == "execute_result":
                shown.result = content["data"]
            elif kind == "error":
                shown.error = content["ename"], content["evalue"]
            elif kind == "status" and content["execution_state"] == "idle":
                return shown

    def restart(self) -> None:
        self.manager.restart_kernel(now=True)
        self.client.wait_for_ready(timeout=TIMEOUT)


class Cell:
    """What a cell shows: its streams, its result by format, and its error."""

    def __init__(self) -> None:
        self.text = {"stdout": "", "stderr": ""}
        self.result: dict[str, Any] = {}
        self.error: tuple[str, str] | None = None

    @property
    def html(self) -> str:
        html: str = self.result["text/html"]
        return html


@pytest.fixture
def kernel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Kernel]:
    for name in ("IPYTHONDIR", "JUPYTER_RUNTIME_DIR", "JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR"):
        monkeypatch.setenv(name, str(tmp_path / name.lower()))
    monkeypatch.setenv("JUPYTER_PLATFORM_DIRS", "1")
    one = Kernel()
    try:
        yield one
    finally:
        one.client.stop_channels()
        one.manager.shutdown_kernel(now=True)


def test_a_cell_is_interrupted_and_run_again(kernel: Kernel) -> None:
    """It goes on where it was, the bar as well, and the messages speak of cells."""
    broken = kernel.run(LOOP, interrupt_at="twenty")
    assert broken.error == ("KeyboardInterrupt", "")
    assert "SIGINT; that step is stored, and the same cell resumes there" in broken.text["stderr"]
    assert "Warning" not in broken.text["stderr"]
    step = kernel.run("run.step").result["text/plain"]
    assert 20 < int(step) < 60

    again = kernel.run(LOOP + "x")
    assert again.error is None
    assert f"trax: simulate resumed at step {step}" in again.text["stderr"]
    assert "twenty" not in again.text["stdout"]
    expected = 0.4
    for _ in range(60):
        expected = 3.9 * expected * (1 - expected)
    assert again.result["text/plain"] == repr(expected)


def test_a_kernel_is_restarted_and_the_cell_is_run_again(kernel: Kernel) -> None:
    """As a script that was killed."""
    broken = kernel.run(
        LOOP.replace("yield x", 'yield x\n        if i == 30: print("30", flush=True)'),
        interrupt_at="30",
    )
    assert broken.error is not None
    kernel.restart()
    again = kernel.run(LOOP + "run")
    assert again.error is None
    assert "trax: simulate resumed at step " in again.text["stderr"]
    assert "done" in again.html
    assert "60 of 60" in again.html


def test_a_function_is_edited_in_its_cell_and_goes_on(kernel: Kernel) -> None:
    """The steps that are left run the present code, and a line says so."""
    kernel.run(LOOP, interrupt_at="twenty")
    edited = kernel.run(LOOP.replace('print("twenty", flush=True)', "pass") + "x")
    assert edited.error is None
    assert "the code of simulate has changed" in edited.text["stderr"]
    again = kernel.run("simulate(n=60).result()")
    assert again.result["text/plain"] == edited.result["text/plain"]


def test_a_run_and_its_state_are_shown_as_tables(kernel: Kernel) -> None:
    """A run that is not open is not opened for that; texts are escaped, without any script."""
    kernel.run("""
import trax
@trax.resumable(name="a & b", total="n")
def count(n):
    text = "<script>alert(1)</script>"
    for i in range(n):
        yield i
    print(text)
run = count(n=3)
    """)
    new = kernel.run("run").html
    assert "new" in new
    assert "step" not in new
    kernel.run("next(run); next(run); run.close()")
    assert "2 of 3" in kernel.run("run").html
    resumed = kernel.run("run = count(n=3); next(run); run").html
    assert "resumed at" in resumed
    assert "a &amp; b" in resumed
    state = kernel.run("run.state").html
    assert "<td>&#x27;&lt;script&gt;" in state
    for html in (new, resumed, state):
        assert "<script" not in html
        assert "style" not in html  # the colours are those of the page, light or dark


def test_an_async_loop_is_driven_by_a_cell(kernel: Kernel) -> None:
    """With the event loop of the kernel."""
    kernel.run("""
import trax
@trax.resumable(create=int)
async def count(n):
    while n < 9:
        n = yield n + 1
async with count() as run:
    async for n in run:
        if n == 4: break
""")
    assert "closed" in kernel.run("run").html
    rest = kernel.run("[n async for n in count()]")
    assert rest.result["text/plain"] == "[5, 6, 7, 8, 9]"


def test_a_preempted_cell_speaks_of_cells(kernel: Kernel) -> None:
    """The kernel survives, and the cell can be run again."""
    cell = """
import os, signal, trax
@trax.resumable(create=int)
def count(n):
    while n < 9:
        if n == 4: os.kill(os.getpid(), signal.SIGTERM)
        n = yield n + 1
list(count())
"""
    stopped = kernel.run(cell)
    assert stopped.error is not None
    assert (
        stopped.error[1]
        == "count was stopped at step 5 by SIGTERM; run the same cell again and it resumes"
    )
    assert kernel.run(cell).result["text/plain"] == "[6, 7, 8, 9]"
