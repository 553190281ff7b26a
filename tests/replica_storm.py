"""A storm over replicas: nodes that are killed and lose their disks, and stores that are away.

::

    python tests/replica_storm.py [--kills N] [--place directory|moto|azurite] [--seed S]

A node is a process with a directory and a boot of its own, which runs a loop of `replica_loops`. It
is killed at a random moment; the next one has no disk, the same one, or an older copy of it. Or it
is stopped while the next one runs, and wakes up later. The store of objects is away, fails, or is
slow now and then. An oracle outside of the nodes knows each step that was handed out, and when. It
demands that

- each step leads to the state that an undisturbed run has, in whichever node;
- nothing is missing on a disk that stayed, and nothing in the replica that is older than the time
  between two copies and `GRACE`, an outage of the store aside; with ``sync="replica"`` nothing;
- nothing enters that a node has done after another one took over, and it hears of that;
- the output files are, in the end, those of the steps.

The same seed draws the same storm. The directory of a round that fails is kept.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, Protocol
from unittest import mock

import replica_loops
from object_stores import (
    Behaviour,
    Emulator,
    Proxy,
    answer,
    answer_late,
    azurite,
    azurite_environment,
    cut_answer,
    forward,
    hang_up,
    lose_answers,
    moto,
    moto_environment,
)
from replica_loops import BIG, KINDS, OUTPUT, WAITING, WITH_OUTPUT

from trax.replica.entry import number_of
from trax.replica.objects import open_objects

NODE = Path(replica_loops.__file__)
LIMIT = 120.0  # seconds without a word after which a node hangs
GRACE = 2.0  # seconds that an upload may take on a machine that is busy
SECONDS = 0.05  # between two copies
LIVES = 10  # of a round, at most
STOPPED = 75  # the status after SIGTERM
SIZES = [(64, 8 << 20, 4 << 20), (8, 64 << 10, 2 << 10)]  # as they are, and small

LOCKED = re.compile(r"^trax\.LockedError: the run .* was taken over by", re.MULTILINE)
AWAY = re.compile(r"^trax\.StorageError: the replica of 'storm' cannot be reached", re.MULTILINE)
TOLD = "goes on, but is not copied for now to"


# -- stores of objects ---------------------------------------------------------------------


Happening = Callable[[], AbstractContextManager[None]]


class Place(Protocol):
    """A store of objects, and what can happen to it.

    Attributes
    ----------
    url : str
        Its URL.
    environment : dict of str to str
        What it needs.
    outages : dict of str to callable
        Make the store useless for a ``with`` block.
    troubles : dict of str to callable
        Make it slow, or let a part of the requests fail, for a ``with`` block.
    """

    url: str
    environment: dict[str, str]
    outages: dict[str, Happening]
    troubles: dict[str, Happening]


class DirectoryPlace:
    """A directory, which can be unmounted."""

    def __init__(self, path: Path) -> None:
        path.mkdir()
        self.url = str(path)
        self.environment: dict[str, str] = {}
        self.outages: dict[str, Happening] = {"unmounted": self._unmounted}
        self.troubles: dict[str, Happening] = {}

    @contextlib.contextmanager
    def _unmounted(self) -> Iterator[None]:
        path = Path(self.url)
        path.rename(f"{path}.away")
        yield
        Path(f"{path}.away").rename(path)


class EmulatorPlace:
    """An emulator behind a proxy."""

    def __init__(self, url: str, environment: dict[str, str], emulator: Emulator, proxy: Proxy):
        self.url = url
        self.environment = environment
        self._emulator = emulator
        self._proxy = proxy
        faults = {
            "hanging up": hang_up,
            "500": answer(500),
            "503": answer(503),
            "no answers": lose_answers,
            "half answers": cut_answer,
        }
        self.outages: dict[str, Happening] = {
            name: partial(self._behaves, behaviour) for name, behaviour in faults.items()
        }
        self.outages["stopped"] = self._stopped
        self.troubles: dict[str, Happening] = {
            "late": partial(self._behaves, answer_late),
            "some fail": partial(self._behaves, _some_fail),
        }

    @contextlib.contextmanager
    def _stopped(self) -> Iterator[None]:
        os.kill(self._emulator.pid, signal.SIGSTOP)
        yield
        os.kill(self._emulator.pid, signal.SIGCONT)

    @contextlib.contextmanager
    def _behaves(self, behaviour: Behaviour) -> Iterator[None]:
        self._proxy.behave = behaviour
        yield
        self._proxy.behave = forward


def _some_fail(proxy: Proxy, client: Any) -> None:
    """Let most exchanges pass; the others fail in one of several ways."""
    faults = [hang_up, answer(503), answer(500), lose_answers, cut_answer]
    (random.choice(faults) if random.random() < 0.2 else forward)(proxy, client)


class AzuritePlace(EmulatorPlace):
    """Azurite, which can be ended and started again."""

    def __init__(self, directory: Path, stack: ExitStack) -> None:
        self._directory = directory
        self._stack = stack
        emulator = self._begin()
        proxy = Proxy(emulator.port)
        super().__init__("az://bucket/storm", azurite_environment(proxy.port), emulator, proxy)
        self.outages["restarted"] = self._restarted

    def _begin(self, port: int = 0) -> Emulator:
        self._running = self._stack.enter_context(ExitStack())
        return self._running.enter_context(azurite(self._directory, port, lasts=True))

    @contextlib.contextmanager
    def _restarted(self) -> Iterator[None]:
        self._running.close()
        yield
        self._emulator = self._begin(self._emulator.port)


@contextlib.contextmanager
def place_of(kind: str, directory: Path) -> Iterator[Place]:
    """Run a store of objects for a ``with`` block."""
    with ExitStack() as stack:
        if kind == "moto":
            emulator = stack.enter_context(moto())
            proxy = Proxy(emulator.port)
            environment = moto_environment(proxy.port)
            yield EmulatorPlace("s3://bucket/storm", environment, emulator, proxy)
        elif kind == "azurite":
            directory.mkdir()
            yield AzuritePlace(directory, stack)
        else:
            yield DirectoryPlace(directory)


# -- nodes ---------------------------------------------------------------------------------


class Told(NamedTuple):
    """What a node tells of a step."""

    time: float
    step: int
    digest: int
    nodes: list[list[int]]


class Node:
    """A process that runs the loop in a directory; a thread reads what it tells.

    Attributes
    ----------
    number : int
        Its number.
    told : list of Told
        What it has told so far.
    """

    def __init__(self, number: int, directory: Path, setting: dict[str, Any], env: dict[str, str]):
        self.number = number
        self.directory = directory
        self.told: list[Told] = []
        self.is_done = False
        self._errors = directory.with_name(f"errors-{number}")
        self._changed = threading.Condition()
        with self._errors.open("w") as errors:
            self.process = subprocess.Popen(
                [sys.executable, str(NODE), json.dumps(setting)],
                cwd=directory,
                env={**os.environ, **env, "STORM_NODE": str(number)},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
            )
        self._thread = threading.Thread(target=self._read)
        self._thread.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for text in self.process.stdout:
            with self._changed:
                if text.startswith("["):
                    with contextlib.suppress(ValueError):  # cut by a kill
                        self.told.append(Told(*json.loads(text)))
                self.is_done = self.is_done or text == "end\n"
                self._changed.notify_all()
        with self._changed:
            self._changed.notify_all()

    def wait_for(self, count: int) -> bool:
        """Wait until it has told of so many steps in all; return False if it ends before."""
        with self._changed:
            found = self._changed.wait_for(
                lambda: len(self.told) >= count or not self._thread.is_alive() or self._has_ended(),
                LIMIT,
            )
            assert found, f"node {self.number} hangs at {len(self.told)} of {count}: {self.errors}"
            return len(self.told) >= count

    def _has_ended(self) -> bool:
        return self.process.poll() is not None

    def send(self, number: int) -> None:
        """Send a signal."""
        self.process.send_signal(number)

    def end(self) -> int:
        """Wait for its end; return the status."""
        status = self.process.wait(LIMIT)
        self._thread.join()
        assert self.process.stdout is not None
        self.process.stdout.close()
        return status

    @property
    def errors(self) -> str:
        """What it has written to the standard error."""
        return self._errors.read_text()


# -- what must come of it ------------------------------------------------------------------


class Oracle:
    """Knows the steps that were handed out, and by whom.

    Attributes
    ----------
    step : int
        The last step that the node told which has the run.
    nodes : list
        Who has done the steps until then.
    in_replica : int
        The step that the replica must have by now.
    needed : int
        The step at which the next node must not begin before.
    missing : list of float
        The ages of the oldest steps that were missing, when the node was killed.
    """

    def __init__(self, kind: str, grace: float) -> None:
        self.kind = kind
        self.grace = grace
        self.step = self.in_replica = self.needed = 0
        self.nodes: list[list[int]] = []
        self.missing: list[float] = []
        self._times: list[float] = []  # when a step was told by the node that has the run
        self._killed_at = 0.0
        self._read: Counter[int] = Counter()
        size = replica_loops.LARGE if kind in BIG else 0
        self._state = replica_loops.begin(size)
        self._digests = [replica_loops.digest(self._state)]

    def expected(self, step: int) -> int:
        """Return the digest of the state after a step."""
        while len(self._digests) <= step:
            self._state = replica_loops.advance(self._state, 0)
            self._digests.append(replica_loops.digest(self._state))
        return self._digests[step]

    def read(self, node: Node, until: float = float("inf")) -> None:
        """Take note of what a node has told since, before a time."""
        for told in node.told[self._read[node.number] :]:
            if told.time >= until:
                break
            self._read[node.number] += 1
            self._check(node, told)

    def unread(self, node: Node) -> list[Told]:
        """Return what a node has told after another one had the run."""
        return node.told[self._read[node.number] :]

    def _check(self, node: Node, told: Told) -> None:
        assert told.digest == self.expected(told.step), f"another state after step {told.step}"
        if self._read[node.number] == 1:
            self._take_over(node, told)
        else:
            assert told.step == self.step + 1, f"{told.step} after {self.step}"
            assert told.nodes == self.nodes, f"{told.nodes}, not {self.nodes}"
        self.step, self.nodes = told.step, told.nodes
        self._times.append(told.time)

    def _take_over(self, node: Node, told: Told) -> None:
        begin, by = told.step - 1, 0 if self.kind == "plain" else node.number
        if by:
            assert told.nodes[-1] == [by, begin], f"{told.nodes} is told by {by} at {begin}"
        for step in range(min(self.step, begin)):
            known, found = who(self.nodes, step), who(told.nodes, step)
            assert known == found, f"step {step} is of {found}, and was told by {known}"
        numbers = [number for number, _ in told.nodes]
        assert numbers == sorted(numbers), f"a former node has written: {told.nodes}"
        assert begin >= self.needed, f"it resumed at {begin}, and {self.needed} is needed"
        if begin < self.step:
            self.missing.append(self._killed_at - self._times[begin])
        # All that it has found is copied from now on.
        self._times = [told.time] * begin

    def end_life(self, now: float, *, keeps_disk: bool, is_complete: bool = False) -> None:
        """Take note of the end of a node: what must be there for the next one.

        The loop without a log has stored a checkpoint within the last ten steps.
        """
        self._killed_at = now
        unlogged = 9 if self.kind == "unlogged" and not is_complete else 0
        old = now - SECONDS - self.grace
        is_copied = is_complete or self.kind in WAITING
        copied = self.step if is_copied else sum(time < old for time in self._times)
        self.in_replica = max(self.in_replica, copied - unlogged)
        self.needed = self.step - unlogged if keeps_disk else self.in_replica


def who(nodes: list[list[int]], step: int) -> int:
    """Return who has done a step."""
    return max(number for number, begin in nodes if begin <= step)


def output_of(nodes: list[list[int]], to: int) -> str:
    """Return the output of the steps up to a number."""
    state, lines = replica_loops.begin(), []
    for step in range(to):
        lines.append(replica_loops.line(state, who(nodes, step)))
        replica_loops.advance(state, 0)
    return "".join(lines)


# -- a round -------------------------------------------------------------------------------


class Round:
    """One run with its replica, whose nodes are killed.

    Parameters
    ----------
    directory : Path
        A directory for all its nodes, which does not exist.
    place : Place
        The store of objects.
    kind : str
        The loop.
    rng : random.Random
        Draws what happens.
    grace : float
        See `GRACE`.

    Attributes
    ----------
    counts : Counter
        What has happened.
    late : list of float
        How long nodes that had lost the run have told of steps.
    """

    def __init__(
        self, directory: Path, place: Place, kind: str, rng: random.Random, grace: float = GRACE
    ) -> None:
        directory.mkdir(parents=True)
        self.counts: Counter[str] = Counter()
        self.late: list[float] = []
        self.oracle = Oracle(kind, grace)
        self._directory = directory
        self._place = place
        self._kind = kind
        self._rng = rng
        self._sizes = SIZES[0] if kind in BIG else rng.choice(SIZES)
        self._numbers = 0
        self._nodes: list[Node] = []
        self._sleepers: list[tuple[Node, float]] = []
        self._copy: Path | None = None
        self._disk = self._new_disk()
        self._trouble_at: float | None = None  # since then the replica may lag

    # -- nodes ---------------------------------------------------------------------------

    def _new_disk(self) -> Path:
        self._numbers += 1
        made = self._directory / f"disk-{self._numbers}"
        made.mkdir()
        return made

    def start(self, to: int = 10**9) -> Node:
        """Start a node on the present disk."""
        self._numbers += 1
        setting = {
            "kind": self._kind,
            "to": to,
            "pause": 0.002,
            "boot": self._disk.name,
            "sizes": self._sizes,
            "url": f"{self._place.url}/{self._directory.name}",
            "seconds": SECONDS,
        }
        key = {"TRAX_KEY": "ab" * 32} if self._kind == "signed" else {"TRAX_KEY": ""}
        node = Node(self._numbers, self._disk, setting, self._place.environment | key)
        self._nodes.append(node)
        return node

    def end(self) -> None:
        """Kill what is left."""
        for node in self._nodes:
            if node.process.poll() is None:
                node.process.kill()
            node.end()

    # -- what happens ----------------------------------------------------------------------

    def run(self, kills: int) -> None:
        """Disturb the run as often as that, then let it end; `AssertionError` if it is wrong."""
        while kills > 0:
            node = self.start()
            happens = self._happening()
            if not node.wait_for(1):
                self._unreachable(node)
                continue
            kills -= happens in ("kill", "lose", "lose store", "old", "sleep", "overtake")
            self.counts[happens] += 1
            self._live(node, happens)
        self.finish()

    def _happening(self) -> str:
        kinds = {"lose": 6, "kill": 2, "lose store": 1, "old": 2, "stop": 1, "sleep": 2}
        kinds |= {"overtake": 1}
        return self._rng.choices([*kinds], [*kinds.values()])[0]

    def _live(self, node: Node, happens: str) -> None:
        """Let a node go on, with its troubles, until it is killed."""
        rng = self._rng
        node.wait_for(round(2 ** rng.uniform(0, 9.5)))
        with ExitStack() as stack:
            trouble = rng.choice(["", "", "", "outage", "trouble"])
            if trouble and getattr(self._place, f"{trouble}s"):
                name, begin = rng.choice([*getattr(self._place, f"{trouble}s").items()])
                self.counts[name] += 1
                is_outage = trouble == "outage"
                stack.enter_context(begin())
                self._trouble_at = begun = time.monotonic()
                self._endure(node, begun, is_outage=is_outage)
                if (is_outage and happens in ("stop", "sleep", "overtake")) or rng.random() < 0.7:
                    stack.close()
                    if happens != "stop" and rng.random() < 0.7:
                        self._catch_up(node)
                        self._trouble_at = None
            getattr(self, happens.replace(" ", "_"))(node)
        self._trouble_at = None

    def _endure(self, node: Node, begun: float, *, is_outage: bool) -> None:
        """See that the loop goes on while the store is away, or waits."""
        if self._kind in WAITING and is_outage:
            time.sleep(self._rng.uniform(0.2, 1.0))
            late = [told for told in node.told if told.time > begun]
            assert len(late) <= 2, f"it does not wait: {late}"  # a put was on its way
        else:
            assert node.wait_for(len(node.told) + self._rng.randrange(10, 200)), node.errors
        assert node.errors.count(TOLD) <= 1, node.errors

    def _catch_up(self, node: Node) -> None:
        """Wait until all that was stored by now is in the replica."""
        now, end = time.time(), time.monotonic() + LIMIT
        path = self._disk / ".trax" / "runs" / "storm" / "journal"
        while True:
            found = re.search(r'"time":([0-9.]+).*"lag":([0-9.]+)', path.read_text("latin-1"))
            if found and float(found[1]) - float(found[2]) > now:
                return
            assert time.monotonic() < end, f"it does not catch up: {found}"
            assert node.process.poll() is None, node.errors
            time.sleep(0.02)

    def _killed(self, node: Node, *, keeps_disk: bool) -> None:
        node.send(signal.SIGKILL)
        now = self._trouble_at or time.monotonic()
        status = node.end()
        assert status == -signal.SIGKILL, node.errors
        self.oracle.read(node)
        self.oracle.end_life(now, keeps_disk=keeps_disk)

    def kill(self, node: Node) -> None:
        """Kill it; the disk stays."""
        self._killed(node, keeps_disk=True)
        self._copy_now_and_then(node)

    def _copy_now_and_then(self, node: Node) -> None:
        """Copy the disk of a node that was killed, which may have what the replica lacks."""
        if self._rng.random() < 0.5:
            self._copy = self._directory / f"copy-{node.number}"
            shutil.copytree(self._disk, self._copy)

    def lose(self, node: Node) -> None:
        """Kill it, and lose its disk."""
        self._killed(node, keeps_disk=False)
        self._copy_now_and_then(node)
        shutil.rmtree(self._disk)
        self._disk = self._new_disk()

    def lose_store(self, node: Node) -> None:
        """Lose the store, while the output file is on another disk."""
        self._killed(node, keeps_disk=False)
        shutil.rmtree(self._disk / ".trax")

    def old(self, node: Node) -> None:
        """Lose the disk, and get back an older copy of it, or that of a former node."""
        self._killed(node, keeps_disk=False)
        copy = self._copy
        if copy is None:
            copy = self._directory / f"copy-{node.number}"
            shutil.copytree(self._disk, copy)
        shutil.rmtree(self._disk)
        self._disk = self._new_disk()
        shutil.copytree(copy, self._disk, dirs_exist_ok=True)

    def stop(self, node: Node) -> None:
        """Stop it in order; then all is in the replica."""
        node.send(signal.SIGTERM)
        assert node.end() == STOPPED, node.errors
        self.oracle.read(node)
        self.oracle.end_life(time.monotonic(), keeps_disk=False, is_complete=True)
        shutil.rmtree(self._disk)
        self._disk = self._new_disk()

    def sleep(self, node: Node) -> None:
        """Stop it for a while, in which others have the run, and make images."""
        node.send(signal.SIGSTOP)
        self.overtake(node, self._deleted())

    def _deleted(self) -> int:
        """Return how many of the numbered objects were deleted."""
        with mock.patch.dict(os.environ, self._place.environment):
            found = open_objects(f"{self._place.url}/{self._directory.name}").list("")
            numbers = {*filter(None, (number_of(key) for key, _ in found))}
        return max(numbers) - len(numbers)

    def _wait_for_image(self, node: Node, deleted: int) -> None:
        """Wait until a node has deleted objects, since there is an image."""
        while self._deleted() == deleted:
            assert node.wait_for(len(node.told) + 10), node.errors
        self.counts["slept over an image"] += 1

    def overtake(self, node: Node, deleted: int | None = None) -> None:
        """Let another one take over, which is lost a while later; see what the first one does."""
        now = self._trouble_at or time.monotonic()
        self.oracle.read(node)
        self.oracle.end_life(now, keeps_disk=False)
        self._disk = self._new_disk()
        other = self.start()
        if not other.wait_for(1):
            self._unreachable(other)
            node.send(signal.SIGKILL)
            node.send(signal.SIGCONT)
            self.counts["of them killed asleep"] += 1
            return
        begun = other.told[0].time
        self.oracle.read(node, begun)
        other.wait_for(self._rng.randrange(1, 400))
        if deleted is not None and (self._sizes is not SIZES[0] or self._kind in BIG):
            self._wait_for_image(other, deleted)
        woken = time.monotonic()
        node.send(signal.SIGCONT)
        status = node.end()
        assert status == 1, f"{status}: {node.errors}"
        assert LOCKED.search(node.errors), node.errors
        since = begun if deleted is None else woken
        late = [told.time - since for told in self.oracle.unread(node)]
        self.late.append(max([0.0, *late]))
        self.counts["refused"] += 1
        self.counts["steps of these that do not count"] += len(late)
        if self._kind in WAITING:
            assert len(late) <= 1, late
        self.lose(other)

    def _unreachable(self, node: Node) -> None:
        """Check why a node could not begin."""
        node.end()
        assert AWAY.search(node.errors), node.errors
        self.counts["unreachable"] += 1

    def finish(self) -> None:
        """Let the run come to its end, and see it on another node."""
        to = self.oracle.step + 50
        for _ in range(2):
            node = self.start(to)
            node.wait_for(10**9)
            assert node.end() == 0, node.errors
            assert node.is_done, node.errors
            self.oracle.read(node)
            assert self.oracle.step == to
            if self._kind in WITH_OUTPUT:
                written = (self._disk / OUTPUT).read_text()
                assert written == output_of(self.oracle.nodes, to), "another output"
            self.oracle.end_life(time.monotonic(), keeps_disk=False, is_complete=True)
            self._disk = self._new_disk()


# -- the script ----------------------------------------------------------------------------


def storm(kind: str, kills: int, seed: int, directory: Path) -> None:
    """Run rounds until so many nodes were killed, and print the figures."""
    total: Counter[str] = Counter()
    missing: list[float] = []
    late: list[float] = []
    with place_of(kind, directory / "place") as place:
        for number in range(-(-kills // LIVES)):
            loop = [*KINDS][number % len(KINDS)]
            nodes = directory / f"round-{number}"
            one = Round(nodes, place, loop, random.Random(f"{seed}/{number}"))
            try:
                one.run(min(LIVES, kills - number * LIVES))
            except BaseException:
                print(f"round {number} of seed {seed} FAILED: {loop}; see {directory}", flush=True)
                raise
            finally:
                one.end()
            total += one.counts
            missing += one.oracle.missing
            late += one.late
            print(f"{loop}: {listed(one.counts)}", flush=True)
            shutil.rmtree(nodes)
    print(f"{kills} kills: {listed(total)}")
    print(f"steps missing: {len(missing)} times, {max(missing, default=0):.2f} s old at most")
    print(f"refused nodes told of steps for {max(late, default=0):.2f} s at most")


def listed(counts: Counter[str]) -> str:
    """Return what has happened as a text."""
    return ", ".join(f"{number} {what}" for what, number in counts.most_common())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--place", choices=["directory", "moto", "azurite"], default="directory")
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 32))
    given = parser.parse_args()
    print(f"seed {given.seed}", flush=True)
    directory = Path(tempfile.mkdtemp(prefix="replica-storm-"))
    storm(given.place, given.kills, given.seed, directory)
    shutil.rmtree(directory)


if __name__ == "__main__":
    main()
