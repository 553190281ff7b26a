"""The moments at which a recorded run may crash: kills and power cuts, all of them or a sample."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import NamedTuple

from trax.testing.crashes import Disk, Image
from trax.testing.recording import Recorder

__all__ = ["Crash", "Promise", "crashes", "kills"]


class Promise(NamedTuple):
    """The number of increments handed out, and the number of those that survive a power cut."""

    handed_out: int
    durable: int


class Crash(NamedTuple):
    """The files that a crash leaves, the number of operations before it, and the promise then."""

    image: Image
    operations: int
    promise: Promise


def kills(recorder: Recorder, limit: int | None, rng: random.Random) -> Iterator[Crash]:
    """Yield the crashes by a kill of the process, after every operation or a sample of these."""
    for disk, count, _ in _moments(recorder, limit, rng):
        yield Crash(disk.live.image(), count, _promised(recorder, count))


def crashes(recorder: Recorder, limit: int | None, rng: random.Random) -> Iterator[Crash]:
    """Yield the crashes by a power cut, no image twice, at most `limit` of them."""
    seen: set[int] = set()
    for disk, count, share in _moments(recorder, limit, rng):
        promise = _promised(recorder, count)
        for image in disk.images(share, rng):
            key = hash((tuple(sorted(image.items())), promise.durable))
            if key not in seen:
                seen.add(key)
                yield Crash(image, count, promise)


def _moments(
    recorder: Recorder, limit: int | None, rng: random.Random
) -> Iterator[tuple[Disk, int, int | None]]:
    """Yield the disk after each operation or a sample, its number, and how many images to take."""
    moments = range(recorder.begun, len(recorder.operations) + 1)
    chosen, share = set(moments), None
    if limit is not None:
        chosen = set(rng.sample(moments, min(limit, len(moments))))
        share = -(-limit // len(moments))
    disk = Disk()
    for count, operation in enumerate([None, *recorder.operations]):
        if operation is not None:
            disk.apply(operation)
        if count in chosen:
            yield disk, count, share


def _promised(recorder: Recorder, count: int) -> Promise:
    promises = [promise for mark, promise in recorder.marks if mark <= count]
    return promises[-1] if promises else Promise(0, 0)
