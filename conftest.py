"""What all tests and doctests share: each runs in an empty directory of its own."""

from __future__ import annotations

import gc
import os
import shutil
import signal
import sys
import warnings
from collections.abc import Callable, Iterator
from multiprocessing import resource_tracker
from pathlib import Path
from typing import Any

import hypothesis
import pytest

import trax
from trax.interrupts import signals
from trax.storage import codec, culprit

for _name in trax.__all__:  # a docstring is found in the attributes that the package has by now
    getattr(trax, _name)

# A shell starts what it runs in the background with Ctrl-C ignored, and then nothing can be tested
# of it. Processes that the tests start inherit this.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# Python's process that tracks shared memory starts here, and not in the directory of the first test
# that needs it: under Python 3.13.0 it fails if that is removed meanwhile.
resource_tracker.ensure_running()

# A search that a machine cuts short since it is busy names another part than it would else.
for _module in (codec, culprit):
    vars(_module).update(SECONDS=1000.0)

# Most tests force files to the disk. In memory that costs nothing, and shows as much.
MEMORY = Path("/dev/shm")
if os.access(MEMORY, os.W_OK) and shutil.disk_usage(MEMORY).free > 2**30:
    os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(MEMORY))


def _explores(config: pytest.Config) -> bool:
    """Return whether all proofs run: they try other examples and places each time, tests do not."""
    return "not proof" not in config.option.markexpr


def pytest_configure(config: pytest.Config) -> None:
    """Configure Hypothesis: a slow machine is no failure; nothing is written beside the tests."""
    given = {"max_examples": 1000} if _explores(config) else {"derandomize": True}
    hypothesis.settings.register_profile("trax", deadline=None, database=None, **given)
    hypothesis.settings.load_profile("trax")
    # Newer versions try constants of all modules that are imported by then, in whichever order.
    providers: Any = sys.modules.get("hypothesis.internal.conjecture.providers")
    if not _explores(config) and providers is not None:
        providers._get_local_constants = lambda: providers._local_constants


@pytest.fixture(autouse=True)
def store_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Run in an empty directory, with the default store in it; return that store's path."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("TRAX_DIR", raising=False)
    monkeypatch.delenv("TRAX_REPLICA", raising=False)
    monkeypatch.delenv("TRAX_TRUST", raising=False)
    monkeypatch.setenv("TRAX_KEY", "")  # no key, whoever runs the tests
    monkeypatch.delenv("SLURM_JOB_END_TIME", raising=False)
    return tmp_path / ".trax"


@pytest.fixture(autouse=True)
def handler_of_before() -> Iterator[None]:
    """Whatever a test does, behind it a signal means what it meant before."""
    before = signal.getsignal(signal.SIGTERM)
    signals._ending.clear()  # the program was to end, which a test before has caught
    yield
    if signal.getsignal(signal.SIGTERM) is not before:
        gc.collect()  # a test that has failed keeps its run
    after = signal.getsignal(signal.SIGTERM)
    signal.signal(signal.SIGTERM, before)
    assert after is before


@pytest.fixture
def count(record_property: Callable[[str, object], None]) -> Callable[[str, int], None]:
    """Say how many faults of a kind a test has tried; ``tests/proof.py`` adds them up."""
    return lambda kind, number: record_property(f"proof: {kind}", number)


@pytest.hookimpl(wrapper=True, tryfirst=True)  # before the order becomes random
def pytest_collection_modifyitems(
    config: pytest.Config, items: list[pytest.Item]
) -> Iterator[None]:
    """Mark a test that counts faults as a proof, and the first case of each proof as quick.

    Each of Hypothesis is both. RNGs begin each test alike, in random order, unless proofs run.
    """
    begun = set()
    for item in items:
        if getattr(getattr(item, "obj", None), "is_hypothesis_test", False):
            item.add_marker("proof")
            item.add_marker("quick")
        if "count" in getattr(item, "fixturenames", ()):
            item.add_marker("proof")
        function = item.nodeid.partition("[")[0]
        if item.get_closest_marker("proof") and function not in begun:
            begun.add(function)
            item.add_marker("quick")
    yield
    if not _explores(config):
        config.option.randomly_seed = 0
    # Hypothesis makes its own RNG at its first example; later it would not find what refers to it,
    # frozen below.
    hypothesis.given(hypothesis.strategies.none())(lambda _: None)()


@pytest.fixture(autouse=True)
def _collected(request: pytest.FixtureRequest, store_here: Path) -> Iterator[None]:
    """Collect what loops that are left in their middle keep open, and only then remove files."""
    yield
    with warnings.catch_warnings():
        if request.path.parent.name == "frames" or "plain" in request.path.name:
            warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()
    gc.freeze()  # the next collection need not look through all modules and tests again
