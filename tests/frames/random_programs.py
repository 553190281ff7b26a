"""Random generator functions, run to the end and run again with all of their frames replaced.

A frame is replaced by one from a pickle, at some of the yields or at all of them. What a program
hands out, returns or raises must be the same. To try many programs, and see the first that fails::

    python tests/frames/random_programs.py --count 5000
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import linecache
import random
import sys
import types
from collections.abc import Callable, Generator, Iterator
from typing import Any, Self

from replaced import Running, run

from trax.errors import CodecError
from trax.frames.program import Program, program_of

# -- what the programs use -----------------------------------------------------------------


class Manager:
    """A context manager that notes when it is entered and left, and may suppress an error."""

    def __init__(self, log: list[Any], name: int) -> None:
        self.log, self.name = log, name

    def __enter__(self) -> Self:
        self.log.append(("enter", self.name))
        return self

    def __exit__(self, kind: type[BaseException] | None, *error: object) -> bool:
        self.log.append(("exit", self.name, kind and kind.__name__))
        return kind is KeyError

    async def __aenter__(self) -> Self:
        await pause()
        return self.__enter__()

    async def __aexit__(self, kind: type[BaseException] | None, *error: object) -> bool:
        await pause()
        return self.__exit__(kind, *error)


@contextlib.contextmanager
def managed(log: list[Any], name: int) -> Iterator[int]:
    log.append(("enter", name))
    try:
        yield name
    finally:
        log.append(("exit", name))


def count(log: list[Any], number: int) -> Generator[int, None, int]:
    try:
        for one in range(number % 5):
            yield one
        return number
    finally:
        log.append(("counted", number))


def echo(log: list[Any], number: int) -> Iterator[int]:
    got = yield number
    while got is None and number < 20:
        number += 7
        got = yield number
    log.append(got)


@types.coroutine
def pause() -> Iterator[None]:
    yield


class Box:
    value = 0


# -- programs ------------------------------------------------------------------------------


class Writer:
    """Writes a random generator function."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self._lines: list[str] = []
        self._numbers = itertools.count()
        self._left = self._random.randint(6, 34)  # statements
        self._in_loop = 0
        self._in_handler = False
        self._may_yield = True
        self.is_async = self._random.random() < 0.15

    def text(self) -> str:
        """Return the program."""
        kind = "async def" if self.is_async else "def"
        self._add(0, f"{kind} program(seed, v0, v1=3, *rest, v2=4, **more):")
        self._add(1, "log, rng, box = [], random.Random(seed), Box()")
        self._add(1, f"v3, v4 = {self._random.randrange(9)}, [1, 2]")
        if self._random.random() < 0.8:
            self._add(1, "v5, v6 = 5, 6")
        if self._random.random() < 0.4:
            self._closure(1)
        while self._left > 0:
            self._statement(1)
        self._add(1, "yield 'end', v0, tuple(log)")
        if not self.is_async:
            self._add(1, "return v1, v2, tuple(log)")
        return "\n".join(self._lines) + "\n"

    def _add(self, depth: int, line: str) -> None:
        self._lines.append("    " * depth + line)

    def _name(self) -> str:
        return self._random.choice(["v0", "v1", "v2", "v3", "v5", "v6"])

    def _value(self) -> str:
        some = self._random.choice
        return some(
            [
                some(["v0", "v1", "v2", "v3"]),
                some(["v0", "v1", "v2", "v3"]),
                self._name(),
                str(self._random.randrange(9)),
                "rng.randrange(10)",
                f"({some(['v0', 'v1'])} * 3 + {self._random.randrange(5)}) % 97",
                "len(log)",
                "sum(x * x for x in v4)",
                f"sum([{some(['v1', 'v2'])} + x for x in range(3)]) % 50",
                f"(lambda x: x + {some(['v1', 'v3'])})(2) % 90",
                "box.value",
                "(v3 if v0 else v1)",
            ]
        )

    def _block(self, depth: int) -> None:
        for _ in range(self._random.randint(1, 3)):
            self._statement(depth)

    def _statement(self, depth: int) -> None:
        self._left -= 1
        simple = [self._assign, self._assign, self._note, self._closure, self._leave, self._fail]
        kinds: list[Callable[[int], None]] = [*simple]
        if self._may_yield:
            kinds += [self._yield] * 7
        if depth < 7 and self._left > 0:
            kinds += [self._if, self._for, self._for, self._while, self._try, self._try]
            kinds += [self._with, self._match]
        self._random.choice(kinds)(depth)

    # -- simple statements -----------------------------------------------------------------

    def _assign(self, depth: int) -> None:
        some = self._random.choice
        name, value = self._name(), self._value()
        self._add(
            depth,
            some(
                [
                    f"{name} = {value}",
                    f"{name} = {value}",
                    f"{some(['v0', 'v1', 'v2', 'v3'])} += {value}",
                    f"{name}, *v7 = {value}, *v4",
                    f"log.append((y := {value}, y + 1))",
                    f"box.value = {value}",
                    f"v4 = [{value}, *v4][:5]",
                    "v4[0] += 1",
                    f"{name}: int = {value}",
                    "del v5" if some([0, 1]) else "v5 = v6 = 7",
                    f"v6 = [x for x in v4 if (v5 := x) > 1][:1] and {value}",
                    f"v1 = next(iter([k() for k in [lambda: q for q in ({value}, 2)]])) % 50",
                    "import math as v6; v6 = v6.gcd(v0, 6)",
                    f"assert {value} != 5, v0",
                ]
            ),
        )

    def _note(self, depth: int) -> None:
        line = f"log.append({self._value()})"
        if self._in_handler:
            line = self._random.choice(
                [line, "log.append(repr(sys.exc_info()[1]))", "log.append(repr(e.__context__))"]
            )
        self._add(depth, line)

    def _closure(self, depth: int) -> None:
        number, shared = next(self._numbers), self._random.choice(["v0", "v1", "v3"])
        self._add(depth, f"def f{number}(x):")
        if self._random.random() < 0.5:
            self._add(depth + 1, f"nonlocal {shared}")
            self._add(depth + 1, f"{shared} = ({shared} + x) % 41")
        self._add(depth + 1, f"return {shared} + x")
        self._add(depth, f"v2 = f{number}({self._value()}) % 60")

    def _leave(self, depth: int) -> None:
        if self._in_loop:
            self._add(depth, f"if {self._value()} % 3 == 1: {self._random.choice(_LEAVING)}")
        elif depth > 2 and self._may_yield and self._random.random() < 0.3:
            result = "" if self.is_async else " v0, tuple(log)"
            self._add(depth, f"if {self._value()} % 7 == 6: return{result}")
        else:
            self._assign(depth)

    def _fail(self, depth: int) -> None:
        error = self._random.choice(["ValueError", "KeyError", "ZeroDivisionError"])
        line = f"if {self._value()} % 4 == 1: raise {error}({self._value()})"
        if self._in_handler:
            line = self._random.choice([line, "raise", f"raise {error}(v0) from e"])
        self._add(depth, line)

    def _yield(self, depth: int) -> None:
        choice = self._random.random()
        if choice < 0.7 or self.is_async:
            line = f"yield {next(self._numbers)}, {self._value()}, len(log)"
        elif choice < 0.8:
            line = f"yield from {self._iterable()}"
        elif choice < 0.9:
            line = f"{self._name()} = yield from count(log, {self._value()})"
        elif choice < 0.98:
            line = "yield from echo(log, v1)"
        else:
            line = f"v1 = (yield {self._value()}) or 3"
        if self.is_async and self._random.random() < 0.3:
            self._add(depth, "await pause()")
        self._add(depth, line)

    # -- statements with others in them ----------------------------------------------------

    def _if(self, depth: int) -> None:
        test = f"{self._value()} % 2"
        if self._random.random() < 0.3:
            test = f"({self._name()} := {self._value()}) % 2"
        self._add(depth, f"if {test}:")
        self._block(depth + 1)
        if self._random.random() < 0.3:
            self._add(depth, f"elif {self._value()} > 3:")
            self._block(depth + 1)
        if self._random.random() < 0.5:
            self._add(depth, "else:")
            self._block(depth + 1)

    def _iterable(self) -> str:
        return self._random.choice(
            [
                "range(3)",
                "[4, 5, 6]",
                f"range({self._value()} % 4)",
                "'abc'",
                "v4",
                "reversed(v4)",
                f"count(log, {self._value()})",
                f"(x + {self._random.choice(['v0', 'v1'])} for x in v4 if x % 2)",
                "(x + y for x in range(2) for y in count(log, x + 2))",
                "map(str, count(log, 3))",
                "{3: 4, 5: 6}.values()",
            ]
        )

    def _for(self, depth: int) -> None:
        name = self._name()
        heads = [f"for {name} in {self._iterable()}:"] * 3
        heads += [f"for {name}, v6 in enumerate({self._iterable()}):"]
        heads += [f"for v6, (v5, *v7) in zip({self._iterable()}, [(1, 2, 3), (4, 5)]):"]
        heads += ["for box.value in range(3):", f"for v4[0] in {self._iterable()}:"]
        if self.is_async:
            heads += [f"for {name} in range(2):"] * 4
        self._loop(depth, self._random.choice(heads))

    def _while(self, depth: int) -> None:
        number = next(self._numbers)
        self._add(depth, f"w{number} = {self._random.randrange(3)}")
        self._loop(depth, f"while (w{number} := w{number} + 1) < 4:")

    def _loop(self, depth: int, head: str) -> None:
        self._add(depth, head)
        self._in_loop += 1
        self._block(depth + 1)
        self._in_loop -= 1
        if self._random.random() < 0.3:
            self._add(depth, "else:")
            self._block(depth + 1)

    def _try(self, depth: int) -> None:
        self._add(depth, "try:")
        self._block(depth + 1)
        has_final = self._random.random() < 0.4
        if not has_final or self._random.random() < 0.6:
            outer, self._in_handler = self._in_handler, True
            for error in self._random.choice([["ValueError"], ["(KeyError, ValueError)"], _ERRORS]):
                self._add(depth, f"except {error} as e:")
                if self._random.random() < 0.2:
                    self._add(depth + 1, "log.append(str(e)); e = str(e)")
                    self._in_handler = False
                self._block(depth + 1)
                self._in_handler = True
            self._in_handler = outer
            if self._random.random() < 0.3:
                self._add(depth, "else:")
                self._block(depth + 1)
        if has_final:
            self._add(depth, "finally:")
            outer, self._may_yield = self._may_yield, self._random.random() < 0.02
            loops, self._in_loop = self._in_loop, 0  # to leave a `finally` by them is deprecated
            self._block(depth + 1)
            self._may_yield, self._in_loop = outer, loops

    def _with(self, depth: int) -> None:
        first, second = next(self._numbers), next(self._numbers)
        head = self._random.choice(
            [
                f"with Manager(log, {first}) as m:",
                f"with Manager(log, {first}), Manager(log, {second}) as m{first}:",
                f"with managed(log, {first}) as {self._name()}:",
                f"with Manager(log, {first}):",
                f"with contextlib.suppress(ValueError), Manager(log, {first}):",
            ]
        )
        if self.is_async and self._random.random() < 0.7:
            head = f"async with Manager(log, {first}) as m, Manager(log, {second}):"
        self._add(depth, head)
        self._block(depth + 1)

    def _match(self, depth: int) -> None:
        subject = self._random.choice(["(v0, v1)", "v4", "v3", "{'a': v1}", "box"])
        self._add(depth, f"match {subject}:")
        for _ in range(self._random.randint(1, 3)):
            pattern = self._random.choice(
                [
                    "(v5, v6)",
                    "[v5, *v7]",
                    "int() as v5 if v5 % 2",
                    "{'a': v6, **v7}",
                    "Box(value=v5)",
                    "0 | 1 | 2",
                ]
            )
            self._add(depth + 1, f"case {pattern}:")
            self._block(depth + 2)
        if self._random.random() < 0.5:
            self._add(depth + 1, "case _:")
            self._block(depth + 2)


_USED = ["Box", "Manager", "contextlib", "count", "echo", "managed", "pause", "random", "sys"]
_LEAVING = ["break", "continue"]
_ERRORS = ["ValueError", "Exception"]


def make(seed: int) -> tuple[types.FunctionType, str]:
    """Return the program of a seed, and its text."""
    text = Writer(seed).text()
    name = f"program_{seed}"
    module = sys.modules[name] = types.ModuleType(name)
    module.__file__ = file = f"<{name}>"
    linecache.cache[file] = len(text), None, text.splitlines(keepends=True), file
    vars(module).update({one: vars(sys.modules[__name__])[one] for one in _USED})
    exec(compile(text, file, "exec"), vars(module))
    return module.program, text


def start(function: types.FunctionType) -> Running:
    """Return a program at its beginning."""
    return Running(function, 11, 5, 6, 7, v2=8, more=9)


def check(seed: int) -> str:
    """Try the program of a seed; return why it was refused, if it was."""
    function, text = make(seed)
    try:
        for site in Program(program_of(function.__code__).source, provides_iterators=True).sites:
            if site.obstacle:
                return site.obstacle
        expected = run(start(function))
        chosen = random.Random(seed)
        often = [0, 0, 0, 1, 2]
        for replaced in (lambda step: 1, lambda step: chosen.choice(often)):
            found = run(start(function), replaced)
            assert found == expected, f"seed {seed}\n{text}\n{expected}\n{found}"
    except CodecError as error:
        raise AssertionError(f"seed {seed}\n{text}") from error
    return ""


def main() -> None:
    """Try many programs."""
    options = argparse.ArgumentParser()
    options.add_argument("--count", type=int, default=1000)
    options.add_argument("--first", type=int, default=0)
    given = options.parse_args()
    refused: dict[str, int] = {}
    for seed in range(given.first, given.first + given.count):
        reason = check(seed)
        refused[reason] = refused.get(reason, 0) + 1
    print(sys.version.split()[0], refused)


if __name__ == "__main__":
    from random_programs import main  # what the programs use is then pickled by name

    main()
