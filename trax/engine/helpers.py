"""Functions to call inside a loop: `steps`, `remaining`, `step` and `open`."""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable, Iterable
from typing import IO, TYPE_CHECKING, Any, BinaryIO, Literal, Self, TextIO, TypeVar, overload

from trax import notices
from trax.display import show
from trax.engine.registry import current
from trax.errors import UsageError
from trax.whole_numbers import as_whole

if TYPE_CHECKING:
    from trax.engine.session import Session

__all__ = ["Step", "open", "remaining", "step", "steps"]

T = TypeVar("T")


def steps(total: int) -> range:
    """Return the numbers of the remaining steps; a whole run has those from 0 to `total` - 1.

    With a declared state, one increment must be yielded for each number. In a plain loop, whose
    local variables come back, these are simply the numbers, and it can be called anywhere. The
    progress bar shows the total.

    Parameters
    ----------
    total : int
        The number of steps of the whole run, not of those that remain.

    Returns
    -------
    range
        The numbers of the steps that are not yet done.

    Raises
    ------
    UsageError
        This is called outside of a loop that trax runs, or for a second time in a loop with a
        declared state; or `total` is not a whole number of at least 0.

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
    session = current("trax.steps()")
    number = as_whole(total, 0)
    if number is None:
        cause = f"steps() takes a whole number of at least 0, not {show(total)}"
        is_state = not session.is_plain and type(total) is type(session.state)
        way = "\nDo not pass the state: trax supplies the function's first parameter." * is_state
        raise UsageError(cause + way)
    total = number
    if session.is_plain:
        session.expect(total)
        return range(total)
    _count(session, "trax.steps()")
    session.expect(total)
    if session.step > total:
        notices.info(f"{session.name} is at step {session.step:,}, past its total of {total:,}")
    return range(min(session.step, total), total)


def remaining(items: Iterable[T], *, key: Callable[[T], Any] | None = None) -> Iterable[T]:
    """Return the items that are not yet done; one increment must be yielded for each item.

    In a plain loop, whose local variables come back, these are simply the items; what follows is
    about loops with a declared state.

    The items must come in the same order every time, the done ones included; new ones may follow
    at the end. A digest of each item is stored with its step. When the run is resumed, the done
    items are looked at once more, compared and skipped. While the source is iterated over for that,
    the RNGs outside of the state stand where they stood when it began. Items are compared by their
    content at the moment when they are handed out. Those that cannot be pickled are compared by
    their types alone.

    With `key` the items may come in any order, others may come between them, and those that are
    done may be missing. A digest of its key is stored with each step, and a resumed run leaves out
    the items with these keys. A done item takes some 30 bytes of memory, and 16 in a checkpoint.

    Parameters
    ----------
    items : iterable
        All items, including those that are done.
    key : callable, optional
        Returns the key of an item, by which it is known as done: a name or a number that no other
        item has, the same in every process. An item that is its own key, such as a text with
        ``key=str``, may come twice, and is handed out once.

    Returns
    -------
    iterable
        The items that are not yet done. It has a length if `items` has, unless there is a `key`.

    Raises
    ------
    UsageError
        This is called outside of a loop that trax runs; or, with a declared state, for a second
        time or after a step; or the items have no fixed order, as those of a set or of
        `as_completed`, and no `key`. With `key`: in a plain loop; or, while it is iterated over,
        two items have the same key, or the next one is taken before the increment of the last.
    ArgumentsChangedError
        While it is iterated over without `key`: the items that are done do not come again.

    Examples
    --------
    >>> import trax
    >>> @trax.resumable(create=int, replay_log=lambda total, length: total + length)
    ... def total_length(total, words):
    ...     for word in trax.remaining(words):
    ...         total = yield len(word)
    >>> total_length(words=["to", "be", "or"]).result()
    6

    Items that come in any order are known by a key:

    >>> @trax.resumable(create=dict, replay_log="update", varying="words")
    ... def lengths(found, words):
    ...     for word in trax.remaining(words, key=str):
    ...         found = yield {word: len(word)}
    >>> lengths(words=["not", "to"]).result()
    {'not': 3, 'to': 2}
    >>> lengths(words={"to", "be", "or"}).result() == {"not": 3, "to": 2, "be": 2, "or": 2}
    True
    """
    from trax.calls.content import check_key  # importing trax is faster without them
    from trax.engine.item_sources import check_order, check_source

    check_source(items)
    if key is None:
        check_order(items)
    else:
        check_key(key)
    session = current("trax.remaining()")
    if session.is_plain:
        if key is not None:
            raise _key_without_state(session.name)
        session.expect_items(items)
        return items
    _count(session, "trax.remaining()")
    # The loop may change its list while it goes through the items.
    return session.remaining([*items] if isinstance(items, list) else items, key)


class Step(int):
    """The number of a step, with a key for its effects outside of the run.

    It behaves as a whole number in every way. It is pickled with its key, so that a state which
    contains one comes back the same; ``int(step)`` takes less room.

    Attributes
    ----------
    key : str
        A UUID. It is the same whenever this step of this run is computed, and different for every
        other step and run.
    """

    key: str

    def __new__(cls, number: int, key: str) -> Self:
        step = super().__new__(cls, number)
        step.key = key
        return step

    def __reduce__(self) -> tuple[type[Self], tuple[int, str]]:
        return type(self), (int(self), self.key)


def step() -> Step:
    """Return the number of the present step, with a key for calls to other systems.

    An interrupted step is repeated, and so are its effects outside of the run. The system that
    receives a call can recognise the repetition by the key: it is the same in every process that
    computes this step of this run. After ``fresh(...)`` it is another run, with other keys.

    Returns
    -------
    Step
        The number of increments before this step: 0 in the first step. Its `key` is a UUID.

    Raises
    ------
    UsageError
        This is called outside of a loop that trax runs.

    Examples
    --------
    >>> import trax
    >>> paid = {}  # stands for a server that ignores keys it has seen before
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
    number = session.loop_step
    return Step(number, str(uuid.uuid5(uuid.UUID(session.run_id), str(number))))


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
    """Open an output file that is part of the run: it has exactly the output of the stored steps.

    The output of a step counts as soon as its increment does. After a crash the file is cut back
    to the output of the stored steps, and the resumed loop writes on from there: nothing is missing
    and nothing is there twice. So the file only grows. The loop opens it again when it resumes,
    and writes at its end whatever the mode is.

    A digest of what the run writes is stored with each step. If a byte changes later, `verify`
    tells, and so does the next call if it was written since the checkpoint before the newest one.
    In a forked child the file is closed.

    Parameters
    ----------
    path : str or os.PathLike
        The file. A relative path is stored relative to the store, so that both can be moved.
    mode : {"w", "a", "x"}, with "t" or "b"
        If the file exists when the run opens it for the first time, ``"w"`` empties it, ``"a"``
        appends to it (no digest covers what was there), and ``"x"`` raises an error. What ``"w"``
        removes is told in one line, and kept with the old run after ``fresh(...)``. To open the
        file again in the same process, the mode must be ``"a"``.
    encoding, errors, newline : str, optional
        As for the built-in function `open`.

    Returns
    -------
    file object
        An open file, as from the built-in `open`. Its buffer is flushed at every step.

    Raises
    ------
    UsageError
        This is called outside of a loop that trax runs; or the file is already open, is not a
        regular file, or is one of the store's own; or the mode is none of the above.
    LockedError
        Another run has the file open.
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


def _count(session: Session, caller: str) -> None:
    """Refuse a second call that counts the steps of a loop with a declared state."""
    if session.is_counted:
        raise UsageError(
            f"{caller} was called a second time in {session.name!r}.\n"
            "It counts the increments of the whole run, so call it once.\n"
            "Replace nested loops by one, as in remaining(itertools.product(a, b))."
        )
    session.is_counted = True


def _key_without_state(run: str) -> UsageError:
    return UsageError(
        f"remaining() got key= in {run!r}, a plain loop, whose position in the items comes back.\n"
        "Leave it out: the items are then those with which the loop began.\n"
        "Or declare the state with create=, so that others may come, in any order."
    )
