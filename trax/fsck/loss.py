"""Counts the steps that a repair loses."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from trax.fsck.prefix import Prefix
    from trax.fsck.scan import Scan

__all__ = ["count_lost"]


def count_lost(scan: Scan, prefix: Prefix) -> tuple[int, int, bool]:
    """Count the steps that are lost if only a prefix is kept.

    A run may count steps that are not logged; the meta record of a checkpoint gives their number.

    Returns
    -------
    step : int
        The step of the run that is kept.
    lost : int
        The number of steps after it that any file shows.
    is_exact : bool
        Whether those are all, as far as the files tell.
    """
    shift = (prefix.base.shift or 0) if prefix.base else 0
    step = prefix.position.step + shift
    highest, newest = step, 0
    for checkpoint in scan.checkpoints.values():
        if checkpoint.step is not None:
            highest = max(highest, checkpoint.step)
        if "step" in checkpoint.meta:
            newest = checkpoint.generation
    is_exact = False
    for number, log in scan.logs.items():
        base = scan.checkpoints.get(number)
        if base is not None and base.shift is not None:
            shift = base.shift
        reached = _start(scan, number) + log.count + log.salvaged + shift
        highest = max(highest, reached)
        is_exact = log.is_exact and reached == highest and _is_start_known(scan, number)
    is_exact = is_exact and max(scan.logs) >= max(scan.checkpoints, default=0)
    if prefix.base and prefix.base.meta.get("replay_log") == "none":
        is_exact = is_exact and newest == scan.newest
    return step, highest - step, is_exact


def _is_start_known(scan: Scan, generation: int) -> bool:
    checkpoint = scan.checkpoints.get(generation)
    return bool(scan.logs[generation].fields or (checkpoint and checkpoint.fields))


def _start(scan: Scan, generation: int) -> int:
    """Return the step, without shift, at which a log began at the earliest."""
    log = scan.logs[generation]
    if log.fields:
        return log.position.step
    checkpoint = scan.checkpoints.get(generation)
    if checkpoint is not None and checkpoint.fields:
        return checkpoint.position.step
    before = [number for number in scan.logs if number < generation]
    if not before:
        return 0
    return _start(scan, before[-1]) + scan.logs[before[-1]].count
