"""Functions are called in the main thread, on behalf of another one."""

from __future__ import annotations

import threading

import pytest
from support import run_script

from trax.interrupts import main_thread


def in_thread(action: object) -> None:
    thread = threading.Thread(target=action)  # type: ignore[arg-type]
    thread.start()
    thread.join()


def test_a_function_is_called_in_the_main_thread() -> None:
    """While that one waits for a lock; and each is called once."""
    called: list[bool] = []
    in_thread(lambda: main_thread.call(lambda: called.append(main_thread.is_here())))
    assert called == [True]
    in_thread(lambda: main_thread.call_soon(lambda: called.append(main_thread.is_here())))
    assert called == [True, True]
    assert main_thread.is_here()


WAITS = """
import os, select, signal, threading, time
from trax.interrupts import main_thread

main_thread.listen()
before = signal.getsignal(signal.SIGURG)
main_thread.listen()
assert signal.getsignal(signal.SIGURG) is before
begun = threading.Event()

def work():
    begun.wait()
    while True:  # until it waits
        main_thread.call(lambda: print(main_thread.is_here(), flush=True) or os._exit(0))

threading.Thread(target=work, daemon=True).start()
begun.set()
{wait}
"""


@pytest.mark.parametrize(
    "wait",
    [
        "time.sleep(1000)",
        "select.select([], [], [])",
        "os.read(os.pipe()[0], 1)",
        "signal.pause()",
        "threading.Event().wait()",
    ],
)
def test_it_is_interrupted_wherever_it_waits(wait: str) -> None:
    assert run_script(WAITS.format(wait=wait)).stdout == "True\n"


def test_a_handler_of_the_user_stays() -> None:
    run_script("""
import signal
from trax.interrupts import main_thread

signal.signal(signal.SIGURG, print)
main_thread.listen()
assert signal.getsignal(signal.SIGURG) is print
""")
