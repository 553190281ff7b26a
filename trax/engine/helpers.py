"""Helpers inside a loop."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterable, Sequence
from itertools import islice
from typing import IO, Any, BinaryIO, Literal, Self, TextIO, TypeVar, overload

from trax import notices
from trax.engine.registry import current
from trax.engine.session import Session
from trax.errors import UsageError

__all__ = ["Step", "open", "remaining", "step", "steps"]

T = TypeVar("T")


def steps(total: int) -> range:
    """Return the numbers of the steps still to do, from 0 to `total` in all.

    The progress bar is told the total. One increment must be yielded for each number.

    Parameters
    ----------
    total : int
        How many steps the loop has in all, not how many more.

    Raises
    ------
    UsageError
        Outside of a loop that trax runs, or if `total` is not a whole number of at least 0.

    Examples
    --------
    >>> import trax
    >>> @trax.resumable(create=int, replay_log=lambda total, square: total + square)
    ... def sum_of_squares(total, n):
    ...     for i in trax.steps(n):
    ...         total = yield i * i
    >>> sum_of_squares(n=4).result()
    14
    """
    if isinstance(total, bool) or not hasattr(total, "__index__") or total.__index__() < 0:
        raise UsageError(f"steps() takes a whole number of at least 0, not {total!r}")
    total = total.__index__()
    session = _counting("trax.steps()")
    session.expect(total)
    if session.step > total:
        notices.info(f"{session.name} is at step {session.step:,}, past the {total:,} asked for")
    return range(min(session.step, total), total)


def remaining(items: Iterable[T]) -> Iterable[T]:
    """Return the items that are not yet done, counting one increment for each that is.

    A sequence is sliced; of any other iterable the first ones are skipped. The items must come
    in the same order every time.

    Parameters
    ----------
    items : iterable
        All items, those done included.

    Raises
    ------
    UsageError
        Outside of a loop that trax runs.

    Examples
    --------
    >>> import trax
    >>> @trax.resumable(create=int, replay_log=lambda total, length: total + length)
    ... def total_length(total, words):
    ...     for word in trax.remaining(words):
    ...         total = yield len(word)
    >>> total_length(words=["to", "be", "or"]).result()
    6
    """
    if isinstance(items, (set, frozenset)):
        raise UsageError(
            "remaining() needs items in an order that is the same every time: sort them"
        )
    session = _counting("trax.remaining()")
    if isinstance(items, Sequence):
        session.expect(len(items))
        return items[session.step :]
    return islice(items, session.step, None)


class Step(int):
    """The number of a step, and a key for what is done in it elsewhere.

    It is the whole number in everything, and stored as what it is, so that a state that holds one
    comes back the same; ``int(step)`` takes less room.

    Attributes
    ----------
    key : str
        A UUID: the same whenever this step of this run is done, and for no other step or run.
    """

    key: str

    def __new__(cls, number: int, key: str) -> Self:
        step = super().__new__(cls, number)
        step.key = key
        return step

    def __reduce__(self) -> tuple[type[Self], tuple[int, str]]:
        return type(self), (int(self), self.key)


def step() -> Step:
    """Return the number of the step that is being done, with a key for calls to the outside.

    A step that was interrupted is done again, and what it did elsewhere is then done twice. Whoever
    is called can tell the second time by the key, for it is the same in every process that does
    this step of this run. After ``fresh(...)`` it is another run, with other keys.

    Returns
    -------
    Step
        A whole number, 0 for the first step: the increments before it. Its `key` is a UUID.

    Raises
    ------
    UsageError
        Outside of a loop that trax runs.

    Examples
    --------
    >>> import trax
    >>> paid = {}  # stands for a server that ignores a key that it has seen
    >>> @trax.resumable(create=int, replay_log=lambda total, amount: total + amount)
    ... def pay(total, amounts):
    ...     for amount in trax.remaining(amounts):
    ...         paid.setdefault(trax.step().key, amount)
    ...         total = yield amount
    >>> pay(amounts=[10, 20]).result()
    30
    >>> list(paid.values())
    [10, 20]
    """
    session = current("trax.step()")
    return Step(session.step, str(uuid.uuid5(uuid.UUID(session.run_id), str(session.step))))


@overload
def open(
    path: str | os.PathLike[str],
    mode: Literal["w", "a", "x", "wt", "at", "xt"] = "w",
    *,
    encoding: str | None = None,
    errors: str | None = None,
    newline: str | None = None,
) -> TextIO: ...
@overload
def open(path: str | os.PathLike[str], mode: Literal["wb", "ab", "xb"]) -> BinaryIO: ...
@overload
def open(path: str | os.PathLike[str], mode: str, **options: Any) -> IO[Any]: ...


def open(path: str | os.PathLike[str], mode: str = "w", **options: Any) -> IO[Any]:
    """Open an output file that is part of the run: it holds what the stored steps have written.

    What a step writes to it counts when its increment does. After a crash the file is cut back to
    what the steps that are stored had written, and the loop goes on writing there: nothing is
    missing and nothing is there twice. So the file only grows; the loop opens it again when it
    resumes, and goes on at its end whatever the mode is.

    Parameters
    ----------
    path : str or os.PathLike
        The file. A relative path is stored relative to the store, so that both can be moved.
    mode : {"w", "a", "x"}, with "t" or "b"
        What happens to a file that is there when the run opens it for the first time: it is
        emptied, gone on with, or an error. Opened again in the same process it must be ``"a"``.
    encoding, errors, newline : str, optional
        As for the built-in function `open`.

    Returns
    -------
    file object
        What the built-in `open` returns. What it has buffered is flushed at every step.

    Raises
    ------
    UsageError
        Outside of a loop that trax runs, or where the file is open already.
    OSError
        As from the built-in `open`.

    Examples
    --------
    >>> import trax
    >>> @trax.resumable(create=int)
    ... def squares(n, below):
    ...     with trax.open("squares.txt") as file:
    ...         while n < below:
    ...             print(n * n, file=file)
    ...             n = yield n + 1
    >>> squares(below=4).result()
    4
    >>> from pathlib import Path
    >>> Path("squares.txt").read_text().split()
    ['0', '1', '4', '9']
    """
    return current("trax.open()").open_output(path, mode, **options)


def _counting(what: str) -> Session:
    """Return the open run of the loop, for the one call that counts its steps."""
    session = current(what)
    if session.is_counted:
        raise UsageError(
            f"{what} was called a second time in {session.name!r}. It counts the increments of the "
            "whole run: call it once, and make one loop of nested ones, as in "
            "remaining(itertools.product(a, b))."
        )
    session.is_counted = True
    return session
