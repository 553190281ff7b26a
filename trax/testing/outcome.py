"""The outcome of a run, and its comparison with that of the run that was not interrupted."""

from __future__ import annotations

from dataclasses import dataclass, field

from trax.comparing import frozen_difference
from trax.testing.causes import LATER, OUTPUT, RANDOM, STATE
from trax.testing.crashes import Image
from trax.testing.recording import common

__all__ = ["Differs", "Outcome", "compare_ends", "compare_step"]


class Differs(Exception):  # noqa: N818  # it becomes an AssertionError
    """A difference from the uninterrupted run, with advice about its cause, and a yield's line."""

    def __init__(self, difference: str, advice: str, line: int = 0) -> None:
        super().__init__(difference)
        self.advice = advice
        self.line = line


@dataclass
class Outcome:
    """The increments and states of a run by step, its first and last step, and its end.

    Of a plain loop that is broken off for good, the variables are there instead of a result. Of the
    reference also the order of items with keys, the warnings of trax, and the time that it took.
    """

    begun: int = 0
    last: int = 0
    increments: dict[int, bytes] = field(default_factory=dict)
    states: dict[int, bytes] = field(default_factory=dict)
    result: bytes = b""
    variables: dict[str, bytes] = field(default_factory=dict)
    files: Image = field(default_factory=dict)
    positions: dict[str, tuple[bytes, ...]] = field(default_factory=dict)
    order: list[bytes] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    seconds: float = 0.0


def compare_step(
    expected: Outcome, outcome: Outcome, step: int, line: int, *, is_logged: bool
) -> None:
    """Compare a step with the expected one; it ends at a yield in this line."""
    if step not in expected.states:
        raise Differs(f"step {step} exists only in the resumed run", LATER)
    for place, now, then, advice in (
        (f"increment {step}", outcome.increments, expected.increments, LATER),
        (f"the state at step {step}", outcome.states, expected.states, STATE),
    ):
        found = frozen_difference(then[step], now[step], place) if step in now else ""
        if found:
            raise Differs(found, advice if is_logged else LATER, line)


def compare_ends(expected: Outcome, outcome: Outcome, *, has_rngs: bool, is_again: bool) -> None:
    """Compare the end of a run with the expected one.

    `is_again` is true of a second uninterrupted run; see `_compare_variables`.
    """
    if outcome.last != expected.last:
        ends = f"live after step {expected.last}, resumed after step {outcome.last}"
        raise Differs(f"the end: {ends}", LATER)
    found = frozen_difference(expected.result, outcome.result, "the result")
    if found:
        raise Differs(found, LATER)
    _compare_variables(expected.variables, outcome.variables, is_again=is_again)
    for name in sorted(expected.files.keys() | outcome.files.keys()):
        then, now = expected.files.get(name), outcome.files.get(name)
        if then != now:
            raise Differs(_describe_file(name, then, now), OUTPUT)
    for name, parts in expected.positions.items():
        if has_rngs and outcome.positions.get(name) != parts:
            raise Differs(f"the RNG {name!r} has another position at the end", RANDOM)


def _compare_variables(then: dict[str, bytes], now: dict[str, bytes], *, is_again: bool) -> None:
    """Compare the variables with which plain loops are broken off for good.

    Those that differ from one uninterrupted run to the next, such as the time at which the loop
    was begun, need not be the same.
    """
    for name in sorted(then):
        found = ""
        if then[name] != now.get(name, then[name]):
            found = frozen_difference(then[name], now[name], f"the variable {name!r} at the end")
        if found and not is_again:
            raise Differs(found, LATER)
        if found or name not in now:
            del then[name]


def _describe_file(name: str, then: bytes | None, now: bytes | None) -> str:
    if then is None or now is None:
        return f"the file {name} exists only in the {'live' if now is None else 'resumed'} run"
    place = common(then, now)
    pieces = [repr(content[place : place + 20]) for content in (then, now)]
    return f"the file {name} at byte {place:,}: live {pieces[0]}, resumed {pieces[1]}"
