"""Each construct of the language, live across a yield at which the generator is replaced."""

# These are as people write them, not as checkers would.
# mypy: ignore-errors
# ruff: noqa: A001, B023, C416, C420, E731, F842, N806, PLC3002, PLW0603, PLW2901, RUF015

from __future__ import annotations

import contextlib
import linecache
import sys
import types
from collections.abc import AsyncIterator, Callable, Generator, Iterator
from dataclasses import dataclass
from typing import Any, Self

import pytest
from replaced import Running, run

CASES: list[Callable[..., Any]] = []


def case(function: Callable[..., Any]) -> Callable[..., Any]:
    CASES.append(function)
    return function


class Manager:
    """Notes in a list when it is entered and left; may suppress an error."""

    def __init__(self, log: list[Any], name: str, suppressed: tuple[type, ...] = ()) -> None:
        self.log, self.name, self.suppressed = log, name, suppressed

    def __enter__(self) -> Self:
        self.log.append(f"enter {self.name}")
        return self

    def __exit__(self, kind: type[BaseException] | None, *error: object) -> bool:
        self.log.append(f"exit {self.name} {kind and kind.__name__}")
        return kind in self.suppressed

    async def __aenter__(self) -> Self:
        await pause()
        return self.__enter__()

    async def __aexit__(self, kind: type[BaseException] | None, *error: object) -> bool:
        await pause()
        return self.__exit__(kind, *error)


@contextlib.contextmanager
def managed(log: list[Any]) -> Iterator[list[Any]]:
    log.append("enter")
    try:
        yield log
    except KeyError:
        log.append("key error")
    finally:
        log.append("exit")


def count(log: list[Any], to: int) -> Generator[int, Any, str]:
    try:
        for number in range(to):
            got = yield number
            log.append(got)
    finally:
        log.append("counted")
    return f"to {to}"


@types.coroutine
def pause() -> Iterator[None]:
    yield


@dataclass
class Point:
    x: int
    y: int


# -- loops -----------------------------------------------------------------------------------


@case
def for_with_targets_of_all_kinds() -> Iterator[Any]:
    point, cell = Point(0, 0), [0]
    for point.x in range(2):
        for cell[0] in "ab":
            for number, (first, *rest) in enumerate([(1, 2, 3), (4,)]):
                for [last] in [[5]]:
                    yield point.x, cell, number, first, rest, last


@case
def for_over_what_grows() -> Iterator[Any]:
    found = [1, 2]
    for one in found:
        yield one, len(found)
        if one < 6:
            found.append(one + 2)
    return found


@case
def for_with_else() -> Iterator[Any]:
    for stop in (1, 9):
        for number in range(3):
            yield stop, number
            if number == stop:
                break
        else:
            yield "else", number


@case
def for_with_continue() -> Iterator[Any]:
    for number in range(6):
        if number % 2:
            continue
        yield number
        if number == 2:
            continue
        yield -number


@case
def while_with_else() -> Iterator[Any]:
    number = 0
    while number < 3:
        number += 1
        yield number
        if number == 2:
            continue
        yield "odd", number
    yield "else"
    while True:
        number += 1
        yield number
        if number > 5:
            break
    return number


@case
def for_that_breaks_ends_its_generator_at_once() -> Iterator[Any]:
    log: list[Any] = []
    for number in count(log, 5):
        yield number, [*log]
        if number == 2:
            break
    yield log
    try:
        for number in count(log, 5):
            yield number, [*log]
            raise ValueError
    except ValueError:
        yield log


@case
def for_over_iterators_in_iterators() -> Iterator[Any]:
    log: list[Any] = []
    for one in zip(map(str, count(log, 3)), (x * x for x in count(log, 3)), strict=False):
        yield one, [*log]
    yield log


@case
def an_iterator_that_is_a_variable_too() -> Iterator[Any]:
    numbers = iter(range(10))
    for number in numbers:
        yield number, next(numbers)


@case
def return_in_a_loop() -> Iterator[Any]:
    log = []
    for number in range(5):
        try:
            yield number
            if number == 2:
                return log
        finally:
            log.append(number)


# -- exceptions ------------------------------------------------------------------------------


@case
def try_with_else_and_finally() -> Iterator[Any]:
    log = []
    for number in range(3):
        try:
            yield "body", number
            if number == 1:
                raise ValueError(number)
        except ValueError as error:
            yield "handler", str(error)
        else:
            yield "else"
        finally:
            log.append(number)
        yield "after", [*log]


@case
def handlers_in_handlers_raise_again() -> Iterator[Any]:
    log: list[Any] = []
    try:
        try:
            raise KeyError("outer")
        except KeyError as outer:
            yield 1, str(outer), repr(sys.exc_info()[1])
            try:
                raise ValueError("inner")
            except ValueError as inner:
                yield 2, str(inner), repr(sys.exc_info()[1]), repr(outer)
                log.append(repr(inner))
            yield 3, repr(sys.exc_info()[1]), "inner" in locals()
            raise
    except KeyError as error:
        yield 4, repr(error), log
    yield 5, sys.exc_info()[1], "error" in locals()


@case
def handler_whose_name_is_bound_again() -> Iterator[Any]:
    for number in range(2):
        try:
            raise ValueError(number)
        except ValueError as error:
            error = f"{error}!"
            yield error
            yield error, repr(sys.exc_info()[1])
        try:
            yield error
        except NameError:
            yield "no error"


@case
def handler_whose_name_is_deleted() -> Iterator[Any]:
    try:
        raise ValueError(1)
    except ValueError as error:
        del error
        yield repr(sys.exc_info()[1])
        try:
            yield error
        except NameError:
            yield "deleted"


@case
def handler_whose_name_is_shared() -> Iterator[Any]:
    try:
        raise ValueError(1)
    except ValueError:
        kept = lambda: error
        yield repr(kept())
        error = 3
        yield kept()


@case
def names_of_builtins_are_variables() -> Iterator[Any]:
    BaseException, iter, next, list = 1, 2, 3, 4
    for number in range(2):
        try:
            raise ValueError(number)
        except ValueError:
            yield BaseException, iter, next, list


@case
def contexts_of_exceptions() -> Iterator[Any]:
    try:
        raise KeyError("first")
    except KeyError as first:
        try:
            raise ValueError("second") from first
        except ValueError as second:
            kept = second
            yield repr(second.__cause__), repr(second.__context__)
            yield second.__context__ is first, second.__suppress_context__
    yield repr(kept.__context__)
    raise kept


@case
def raise_from() -> Iterator[Any]:
    try:
        raise KeyError(1)
    except KeyError as error:
        yield 1
        raise ValueError(2) from error


@case
def raise_from_a_generator_inside() -> Iterator[Any]:
    def fails() -> Iterator[int]:
        yield 1
        raise ValueError("inside")

    for number in fails():
        yield number


@case
def return_through_two_finally() -> Iterator[Any]:
    log = []
    for number in range(2):
        try:
            try:
                yield number
                if number:
                    return log
            finally:
                log.append("inner")
        finally:
            log.append("outer")


# -- with ------------------------------------------------------------------------------------


@case
def with_several_managers() -> Iterator[Any]:
    log: list[Any] = []
    for number in range(2):
        with Manager(log, "a") as first, Manager(log, "b", (ValueError,)):
            yield number, first.name, [*log]
            with managed(log) as same:
                yield same is log
                raise KeyError
            yield [*log]
            raise ValueError
        yield [*log]
    with Manager(log, "c"):
        yield 1
        raise OSError("left")


@case
def with_a_target_that_is_bound_again() -> Iterator[Any]:
    log: list[Any] = []
    with Manager(log, "a") as name:
        name = 3
        yield name
        del name
        yield "name" in locals()
    return log


@case
def with_an_end_that_is_no_method() -> Iterator[Any]:
    class Loose:
        __enter__ = staticmethod(lambda: 1)
        __exit__ = staticmethod(lambda *error: None)

    for _ in range(2):
        with contextlib.suppress(ValueError):
            yield 1
            raise ValueError


# -- match, walrus, comprehensions -------------------------------------------------------------


@case
def match_with_patterns_of_all_kinds() -> Iterator[Any]:
    for subject in (Point(1, 2), {"a": 1, "b": 2}, [1, 2, 3], 5, "x", None, (7,)):
        match subject:
            case Point(x=1, y=y):
                yield "point", y
            case {"a": a, **rest}:
                yield "mapping", a, rest
            case [first, *others] if len(others) > 1:
                yield "sequence", first, others
            case int() | str() as value:
                yield "value", value
            case None:
                yield "none"
            case _:
                yield "other", subject
        yield "after", subject


@case
def walrus_and_comprehensions() -> Iterator[Any]:
    total = 0
    while (total := total + 1) < 4:
        found = [last := x * total for x in range(3)]
        yield found, last, total
        makers = [lambda: (x, total) for x in range(2)]
        yield [make() for make in makers], {x: total for x in "ab"}
    return sum(x for x in found)


@case
def comprehension_with_the_name_of_a_variable() -> Iterator[Any]:
    x = 10
    made = [lambda: x for x in range(2)]
    yield x, [one() for one in made]
    get = lambda: x
    x = 11
    yield get(), [x for x in "ab"], x
    yield {x: (lambda: x)() for x in (x, 3)}, {(lambda: x)() for x in [x] for y in [x]}, get()
    x += 1
    yield [(lambda: (x, y))() for y in (1, 2) for x in [y] if x], x, get()


# -- functions inside ----------------------------------------------------------------------------


@case
def variables_shared_with_functions_inside(start: int = 3) -> Iterator[Any]:
    total = 0

    def add(number: int) -> int:
        nonlocal total, start
        total += number
        start -= 1
        return total

    def get() -> int:
        return total

    for number in range(4):
        yield add(number), get(), start
        total += 10
    return get(), start


def _closed(outside: list[int]) -> Callable[..., Any]:
    count = 0

    def closure() -> Iterator[Any]:
        nonlocal count
        for x in [x for x in (1, 2)]:
            outside.append(x)
            count += 1
            yield [*outside], count, [(lambda: x)() for x in "ab"]

    return closure


CASES.append(_closed([]))


@case
def functions_classes_and_imports_inside() -> Iterator[Any]:
    import math

    class Local:
        size = 3

        def double(self) -> int:
            return 2 * self.size

    def twice(x: int, by: int = 2) -> int:
        return by * x

    for number in range(2):
        yield math.gcd(number, 4), Local.size, twice(number)
    return Local().double()


@case
def parameters_of_all_kinds(
    a: int = 1, /, b: int = 2, *rest: int, c: int = 3, **more: int
) -> Iterator[Any]:
    for number in range(2):
        yield a, b, rest, c, more, number


@case
def annotated_variables() -> Iterator[Any]:
    total: int = 0
    unset: int

    def get() -> int:
        return total

    for number in range(2):
        total: int = number  # type: ignore[no-redef]
        yield total, get()
    return "unset" in locals()


@case
def variables_without_a_value() -> Iterator[Any]:
    for number in range(3):
        if number == 1:
            late = number
        yield number
        try:
            yield late
        except UnboundLocalError as error:
            yield str(error)
        if number == 2:
            del late
    yield "late" in locals()


@case
def star_expressions() -> Iterator[Any]:
    first, *rest = range(4)
    for number in (*rest, first):
        yield *rest, number


GLOBAL = 0


@case
def global_variables() -> Iterator[Any]:
    global GLOBAL
    GLOBAL = 0
    for number in range(3):
        yield GLOBAL
        GLOBAL += number


# -- generators inside -----------------------------------------------------------------------------


@case
def yield_from_generators_and_lists() -> Iterator[Any]:
    log: list[Any] = []
    yield from [1, 2]
    result = yield from count(log, 2)
    yield result, log
    return (yield from count(log, 1))


@case
def generators_in_variables() -> Iterator[Any]:
    log: list[Any] = []
    fresh, begun, ended = count(log, 3), count(log, 3), count(log, 0)
    next(begun)
    list(ended)
    squares = (x * x for x in range(9) if x % 2)
    for number in range(2):
        yield number, next(begun), next(squares), list(ended)
    yield [*fresh], log


@case
def generators_that_are_sent_values() -> Iterator[Any]:
    log: list[Any] = []
    inside = count(log, 9)
    next(inside)
    for number in range(3):
        yield inside.send(f"sent {number}")
    return log


@case
def generators_of_generators() -> Iterator[Any]:
    numbers = range(3)
    pairs = ((x, y) for x in (z + 1 for z in numbers) for y in numbers if y != x)
    for pair in pairs:
        yield pair


# -- async -----------------------------------------------------------------------------------------


@case
async def asynchronous() -> AsyncIterator[Any]:
    log: list[Any] = []
    async with Manager(log, "a") as manager, Manager(log, "b"):
        for number in range(3):
            await pause()
            yield number, manager.name
            try:
                await pause()
                raise ValueError
            except ValueError:
                yield "handler"
                await pause()
    yield log, [x async for x in _numbers()]


async def _numbers() -> AsyncIterator[int]:
    for number in range(2):
        await pause()
        yield number


# -- all of them ----------------------------------------------------------------------------


@pytest.mark.parametrize("often", [1, 2])
@pytest.mark.parametrize("function", CASES, ids=lambda function: function.__name__)
def test_construct(function: Callable[..., Any], often: int) -> None:
    expected = run(_start(function))
    assert run(_start(function), lambda step: often) == expected


def _start(function: Any) -> Running:
    if function.__closure__:  # its variables are outside of the frame
        count, outside = function.__closure__
        count.cell_contents = 0
        outside.cell_contents.clear()
    return Running(function)


class Base:
    def steps(self) -> Iterator[Any]:
        yield "base"


class _Counter(Base):
    def __init__(self) -> None:
        self.__hidden = 1

    def __step(self) -> int:
        self.__hidden += 1
        return self.__hidden

    def steps(self) -> Iterator[Any]:
        __private = 5
        name = "?"
        for number in range(2):
            yield number, __private, self.__step(), __class__.__name__  # type: ignore[name-defined]
            yield from super().steps()
            name = [one for one in super().steps()][0] if sys.version_info >= (3, 12) else "base"
        yield name, self.__hidden

    def shared(self) -> Iterator[Any]:
        get = lambda: self
        for _ in range(2):
            yield get() is self
            yield from super().steps()


@pytest.mark.parametrize("method", ["steps", "shared"])
def test_methods_with_private_names_and_super(method: str) -> None:
    function = getattr(_Counter, method)
    expected = run(Running(function, _Counter()))
    assert run(Running(function, _Counter()), lambda step: 1) == expected
    assert expected[-1][0] == "return"


def _function(text: str, name: str) -> Any:
    linecache.cache[name] = len(text), None, text.splitlines(keepends=True), name
    variables: dict[str, Any] = {"__name__": __name__}
    exec(compile(text, name, "exec"), variables)
    return variables["loop"]


@pytest.mark.skipif(sys.version_info < (3, 12), reason="the syntax is that of Python 3.12")
def test_functions_with_type_parameters() -> None:
    loop = _function("def loop[T](x: T):\n for i in range(2):\n  yield i, x, T.__name__\n", "<T>")
    assert run(Running(loop, 5), lambda step: 1) == run(Running(loop, 5))


_HEADS = {
    "for": ["for v{0} in range(1):"],
    "while": ["while True:"],
    "with": ["with contextlib.nullcontext({0}) as v{0}:"],
    "try": ["try:"],
}
_HEADS["mixed"] = [head for heads in _HEADS.values() for head in heads]
_TAILS = {"try:": "except ValueError: pass", "while True:": " break"}


def _nested(kind: str, depth: int) -> str:
    """Return a function with a number of blocks in one another, and two yields in the last."""
    heads, tails = [], []
    for number in range(depth):
        head = _HEADS[kind][number % len(_HEADS[kind])]
        space = " " * (number + 1)
        heads.append(space + head.format(number))
        tails.append(space + _TAILS.get(head, " pass"))
    body = " " * (depth + 1)
    lines = ["import contextlib", "def loop():", *heads, f"{body}yield 1", f"{body}yield 2"]
    return "\n".join([*lines, *reversed(tails)])


@pytest.mark.parametrize("kind", _HEADS)
def test_as_many_blocks_in_one_another_as_python_allows(kind: str) -> None:
    """To go on in the innermost one needs no more."""
    most = 19 if kind == "with" else 21  # the compiler of Python 3.12 crashes at 20
    for depth in range(most, 0, -1):
        with contextlib.suppress(SyntaxError):
            loop = _function(_nested(kind, depth), f"<{depth} {kind}>")
            break
    assert depth > 15
    expected = run(Running(loop))
    assert expected[:2] == [("yield", "1"), ("yield", "2")]
    assert run(Running(loop), lambda step: 1) == expected


def test_a_handler_in_nineteen_loops() -> None:
    lines = [f"{' ' * (n + 1)}for v{n} in [1]:" for n in range(18)]
    space = " " * 19
    lines += [f"{space}try: 1/0", f"{space}except ZeroDivisionError as e:", f"{space} yield str(e)"]
    loop = _function("\n".join(["def loop():", *lines, f"{space} yield v0, v17"]), "<handler>")
    assert run(Running(loop), lambda step: 1) == run(Running(loop))


def test_very_long_functions() -> None:
    lines = [f"  x{n} = i + {n}\n  yield x{n}" for n in range(500)]
    loop = _function("def loop():\n for i in range(2):\n" + "\n".join(lines), "<long>")
    running, expected = Running(loop), Running(loop)
    for step in range(1000):
        if step % 97 == 0:
            running.replace()
        assert running.next() == expected.next()
