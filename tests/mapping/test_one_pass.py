"""One pass through the items: which are computed, and how it ends."""

from __future__ import annotations

import gc
import itertools
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import pytest
from support import start_script

import trax


class Counted:
    """A function that counts its calls."""

    def __init__(self, failing: Iterable[Any] = ()) -> None:
        self.calls: list[Any] = []
        self.failing = {*failing}

    def __call__(self, item: Any) -> Any:
        self.calls.append(item)
        if item in self.failing:
            raise ConnectionError(item)
        return item * 2


def run(function: Callable[[Any], Any], items: Iterable[Any], **options: Any) -> trax.Map[Any, Any]:
    results: trax.Map[Any, Any] = trax.map(function, items, name="run", **options)
    return results


# -- which items are computed --------------------------------------------------------------


def test_the_stored_results_come_first_and_in_their_order() -> None:
    """Then the others."""
    double = Counted(failing=[1, 4])
    assert [key for key, _ in run(double, range(6))] == [*range(6)]
    double.calls.clear()
    double.failing.clear()
    assert [*run(double, range(8))] == [(n, 2 * n) for n in (0, 2, 3, 5, 1, 4, 6, 7)]
    assert double.calls == [1, 4, 6, 7]


def test_items_may_come_in_another_order_with_others_between_them() -> None:
    first, second = Counted(), Counted()
    run(first, "abc").result()
    assert run(second, "xcbya").result() == ["xx", "cc", "bb", "yy", "aa"]
    assert second.calls == ["x", "y"]


def test_equal_items_are_computed_once() -> None:
    """Their result is handed out once, and is in the list for each."""
    double = Counted()
    assert [*run(double, [3, 1, 3, 1, 2])] == [(3, 6), (1, 2), (2, 4)]
    assert run(double, [3, 1, 3, 1, 2]).result() == [6, 2, 6, 2, 4]
    assert double.calls == [3, 1, 2]


def test_an_endless_source_is_taken_no_faster_than_its_results_are() -> None:
    taken: list[int] = []

    def source() -> Iterator[int]:
        for number in itertools.count():
            taken.append(number)
            yield number

    with run(Counted(), source()) as results:
        for number in range(5):
            assert next(results) == (number, 2 * number)
            assert taken == [*range(number + 1)]
    taken.clear()
    with run(Counted(), source()) as results:
        assert [*itertools.islice(results, 7)] == [(n, 2 * n) for n in range(7)]
    assert taken == [*range(7)]


def test_key_tells_which_items_are_done() -> None:
    """The items themselves may be others, and are not stored."""
    double = Counted()
    assert [*run(double, [(1, 2), (3, 4)], key=lambda pair: pair[0])] == [
        (1, (1, 2, 1, 2)),
        (3, (3, 4, 3, 4)),
    ]
    assert dict(run(double, [(3, 9), (5, 6), (1, 9)], key=lambda pair: pair[0])) == {
        1: (1, 2, 1, 2),
        3: (3, 4, 3, 4),
        5: (5, 6, 5, 6),
    }
    assert len(double.calls) == 3


@pytest.mark.parametrize("items", [["ab", "ac"], ["x", "ab", "b", "ac"]])
def test_two_items_with_one_key_are_an_error(items: list[str]) -> None:
    """Only one of them would be computed, whether or not a result is stored."""
    for _ in range(2):
        with pytest.raises(trax.UsageError) as caught:
            run(Counted(), items, key=lambda item: item[0]).result()
        assert f"key() is 'a' for items[{len(items) - 1}]" in str(caught.value)
        assert "'ac'" in str(caught.value)


def test_done_items_that_do_not_come_are_an_error_at_the_end() -> None:
    """Their results were handed out, as if they were results of these items."""
    double = Counted()
    run(double, range(5)).result()
    results = run(double, [1, 2, 7])
    with pytest.raises(trax.ArgumentsChangedError, match=r"^3 stored results of 'run' are of") as e:
        list(results)
    assert not results.done
    assert "fresh=True" in str(e.value)
    assert trax.load("run")[-1] == (7, 14)
    assert run(double, range(8)).result()[-1] == 14
    with pytest.raises(trax.ArgumentsChangedError, match=r"^1 stored result of 'run' is of an it"):
        run(double, range(1, 8)).result()
    assert run(double, [1, 2], fresh=True).result() == [2, 4]
    assert trax.load("run") == [(1, 2), (2, 4)]


def test_an_iterator_that_is_used_up_is_named_as_such() -> None:
    items = iter(range(3))
    results = run(abs, items)
    assert results.result() == [0, 1, 2]
    with pytest.raises(trax.ArgumentsChangedError, match="An iterator gives its items once"):
        results.result()


# -- items that fail -----------------------------------------------------------------------


def test_a_failing_item_is_a_result_and_is_tried_again_by_the_next_call(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """It ends nothing, nothing is stored of it, and the number of them is said."""
    flaky = Counted(failing=[2, 3])
    results = run(flaky, range(5))
    pairs = dict(results)
    assert [type(result) for result in pairs.values()] == [int, int, *2 * [ConnectionError], int]
    assert not results.done
    line = (
        "run: 2 of 5 items failed and are not stored (first 2: ConnectionError: 2); the next call"
    )
    assert line in caplog.text
    (info,) = trax.runs()
    assert (info.state, info.reason) == ("failed", "2 failed: 2, 3")
    flaky.failing = {3}
    assert [type(one) for one in run(flaky, range(5)).result()] == 3 * [int] + [
        ConnectionError,
        int,
    ]
    flaky.failing = set()
    results = run(flaky, range(5))
    assert results.result() == [0, 2, 4, 6, 8]
    assert results.done
    assert trax.runs()[0].state == "done"
    assert flaky.calls == [0, 1, 2, 3, 4, 2, 3, 3]


def test_a_few_of_many_failed_items_are_named() -> None:
    run(Counted(failing=range(2, 20)), range(30)).result()
    assert trax.runs()[0].reason == "18 failed: 2, 3, 4, 5, 6, …"


def test_a_failing_item_ends_the_map_where_that_is_asked() -> None:
    flaky = Counted(failing=[2])
    results = run(flaky, range(5), return_exceptions=False)
    assert [next(results), next(results)] == [(0, 0), (1, 2)]
    with pytest.raises(ConnectionError) as caught:
        next(results)
    assert caught.value.__notes__ == ["trax: item 2 of 'run' is not stored"]
    with pytest.raises(trax.UsageError, match="ended with 2 results"):
        next(results)
    flaky.failing = set()
    assert results.result() == [0, 2, 4, 6, 8]
    assert flaky.calls == [0, 1, 2, 2, 3, 4]


def test_an_exception_that_is_returned_is_a_result() -> None:
    def value_error(n: int) -> ValueError:
        calls.append(n)
        return ValueError(n)

    calls: list[int] = []
    for _ in range(2):
        (result,) = run(value_error, [1], return_exceptions=False).result()
        assert isinstance(result, ValueError)
    assert calls == [1]


def test_an_exception_that_ends_the_program_is_no_result() -> None:
    def leave(n: int) -> int:
        if n == 2:
            raise SystemExit(3)
        return n

    results = run(leave, range(5))
    assert [next(results), next(results)] == [(0, 0), (1, 1)]
    with pytest.raises(SystemExit):
        next(results)
    assert trax.load("run") == [(0, 0), (1, 1)]


def test_an_error_of_the_source_is_passed_on() -> None:
    def source() -> Iterator[int]:
        yield 1
        raise OSError("no more")

    results = run(Counted(), source())
    assert next(results) == (1, 2)
    with pytest.raises(OSError, match="no more"):
        next(results)
    assert run(Counted(), range(3)).result() == [0, 2, 4]


# -- a run of its own ----------------------------------------------------------------------


def test_it_has_no_place_in_a_loop() -> None:
    """It would be no part of the loop's steps."""

    @trax.resumable(create=int)
    def loop(state: int) -> Iterator[int]:
        yield sum(run(Counted(), range(3)).result())

    with pytest.raises(trax.UsageError, match=r"'run' was used inside of the loop 'loop'"):
        loop().result()
    results = run(Counted(), range(3))

    @trax.resumable(create=int, check=False)
    def outer(state: int) -> Iterator[int]:
        for _, result in results:
            yield result

    with pytest.raises(trax.UsageError, match=r"'run' was used inside of the loop 'outer'"):
        outer().result()


def test_the_function_of_one_may_use_another() -> None:
    def double(n: int) -> Any:
        return 2 * n

    def total(n: int) -> int:
        results: trax.Map[int, int] = trax.map(double, range(n), name=f"inner-{n}")
        return sum(results.result())

    assert run(total, range(4)).result() == [0, 0, 2, 6]


def test_a_pass_that_was_left_open_gives_way_to_a_new_one() -> None:
    """A notebook or a traceback can keep it alive."""
    left = run(Counted(), range(5))
    assert next(left) == (0, 0)
    second = Counted()
    assert run(second, range(5)).result() == [0, 2, 4, 6, 8]
    assert second.calls == [1, 2, 3, 4]
    with pytest.raises(trax.UsageError, match="ended with 1 result"):
        next(left)


def begin_one_that_its_function_refers_to() -> None:
    held: list[Any] = []

    def compute(n: int) -> int:
        return n if held else 0

    held.append(run(compute, range(5)))
    assert next(held[0]) == (0, 0)


def test_a_map_that_its_function_refers_to_is_released_with_it() -> None:
    """The lock is not kept by a cycle."""
    begin_one_that_its_function_refers_to()
    gc.collect()
    with start_script(HOLD) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "(0, 0)\n"


HOLD = """
import trax
def double(n): return 2 * n
results = trax.map(double, range(5), name="run", varying=("function", "held", "self"))
print(next(results), flush=True)
input()
"""


def test_another_process_is_locked_out() -> None:
    """It may read what is stored."""
    with start_script(HOLD) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "(0, 0)\n"
        with pytest.raises(trax.LockedError):
            next(run(Counted(), range(5)))
        assert trax.load("run") == [(0, 0)]
    results = run(Counted(), range(5), varying=("function", "self"))
    assert results.result() == [0, 2, 4, 6, 8]


def test_it_says_once_that_it_resumed(caplog: pytest.LogCaptureFixture) -> None:
    for _ in range(3):
        run(Counted(), range(4)).result()
    assert caplog.text.count("run resumed with 4 stored results") == 1
