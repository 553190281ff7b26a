"""Random plain loops for whole processes: with RNGs, output files, arguments, classes and helpers.

They are those of ``frames/random_programs.py`` and more. The text of a program is a script, which
finds ``trax``, ``tick`` and ``OPTIONS`` in its namespace: ``tick()`` is called at places where
something may happen to the process.
"""

from __future__ import annotations

import inspect
import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parent / "frames"))

from random_programs import Box, Writer, count, echo, pause

__all__ = ["PlainWriter"]

_HEAD = """
import contextlib, functools, itertools, random, sys, types
import numpy as np
"""

_MINE = """
class Manager:
    def __init__(self, log, name):
        self.log, self.name = log, name

    def __enter__(self):  # a block that is entered again leaves no trace of that
        return self

    def __exit__(self, kind, *error):
        self.log.append(("exit", self.name, kind and kind.__name__))
        return kind is KeyError

    async def __aenter__(self):
        await pause()
        return self

    async def __aexit__(self, kind, *error):
        await pause()
        return self.__exit__(kind, *error)


@contextlib.contextmanager
def managed(log, name):
    try:
        yield name
    finally:
        log.append(("exit", name))


class Thing:
    def __init__(self):
        self.value, self.items, self.rng = 1, [], random.Random(7)

    def __repr__(self):
        drawn = sum(self.rng.getstate()[1]) % 997
        return f"Thing({self.value}, {self.items}, {getattr(self, 'other', 0)}, {drawn})"

    def add(self, value):
        self.items.append(value)
        return len(self.items)


class Slotted:
    __slots__ = "value", "other"

    def __init__(self):
        self.value = 2

    def __repr__(self):
        return f"Slotted({self.value}, {getattr(self, 'other', None)})"


class Countdown:
    def __init__(self, number):
        self.number = number

    def __iter__(self):
        return self

    def __next__(self):
        if self.number <= 0:
            raise StopIteration
        self.number -= 1
        return self.number


class Row:
    def __init__(self, items):
        self.items = items

    def __getitem__(self, index):
        return self.items[index]


def helper(data, number):
    for one in range(number % 4):
        data.append(one)
        tick()
        got = yield one + random.randrange(3)
    return number


def nested(log, data, number):
    with Manager(log, "nested"):
        for one in helper(data, number):
            yield one
        yield from count(log, number)
"""


class PlainWriter(Writer):
    """Writes a script with one random loop, called ``program``.

    Attributes
    ----------
    form : str
        Whether it is a function, a method, or made in a function.
    """

    def __init__(self, seed: int) -> None:
        super().__init__(seed)
        self.form = self._random.choice(["function", "function", "method", "inner"])
        self.has_rngs = self._random.random() < 0.7
        self.has_files = self._random.random() < 0.6
        self.has_arguments = self._random.random() < 0.7

    def text(self) -> str:
        """Return the script."""
        kind = "async def" if self.is_async else "def"
        own = "self, " if self.form == "method" else ""
        self._add(
            0,
            f"{kind} program({own}seed, v0, v1=3, *rest, data, table, array, thing, slotted, v2=4,"
            " **more):",
        )
        self._prologue()
        while self._left > 0:
            self._statement(1)
        self._add(1, "yield 'end', v0, tuple(log)")
        self._add(1, "tick()")
        if not self.is_async and self._random.random() < 0.8:
            results = ["v1, v2, tuple(log)", "data", "(thing, log)", "v4"]
            self._add(1, f"return {self._random.choice(results)}")
        used = [inspect.getsource(one) for one in (Box, count, echo, pause)]
        return "\n".join([_HEAD, *used, _MINE, self._placed()])

    def _add(self, depth: int, line: str) -> None:
        if line.startswith("v1 = (yield"):  # refused, as are some yields in `finally`
            line = "yield v1"
        super()._add(depth, line)

    def _prologue(self) -> None:
        self._add(1, "log, rng, box = [], random.Random(seed), Box()")
        self._add(1, f"v3, v4 = {self._random.randrange(9)}, [1, 2]")
        self._add(1, "gen = np.random.default_rng(seed)")
        some = self._random.choice
        self._add(1, f"alias, inner = {some(['data', 'v4', 'thing.items'])}, thing.items")
        self._add(1, f"view, call = array[1:3], lambda x, k={self._random.randrange(9)}: x + k")
        if self._random.random() < 0.3:
            self._add(1, f"add = {some(['log.append', 'data.append', 'thing.add'])}")
        else:
            self._add(1, "add = functools.partial(log.append)")
        if self.has_files:
            mode = some(["w", "a"])
            self._add(1, f"out = trax.open('out.txt', '{mode}')")
        if self._random.random() < 0.8:
            self._add(1, "v5, v6 = 5, 6")
        if self._random.random() < 0.4:
            self._closure(1)
        if self._random.random() < 0.3:
            self._add(1, "tick()")

    def _placed(self) -> str:
        """Return the function where it belongs: in a module, a class, or a function."""
        lines = ["@trax.resumable(**OPTIONS)", *self._lines]
        if self.form == "method":
            lines = ["class Model:", "    value = 3", "", *("    " + line for line in lines)]
            lines += ["", "program = Model().program"]
        elif self.form == "inner":
            lines = ["def make(base):", *("    " + line for line in lines), "    return program"]
            lines += ["", "program = make([5])"]
        return "\n".join(lines) + "\n"

    def _value(self) -> str:
        more = ["call(2) % 50", "len(more)"]
        if self.has_rngs:
            more += ["random.randrange(10)", "int(np.random.randint(10))", "int(gen.integers(10))"]
            more += ["rng.randrange(10)", "int(gen.normal() * 9)", "thing.rng.randrange(5)"]
        if self.has_arguments:
            more += ["len(data)", "table.get('a', 4)", "int(array.sum()) % 50", "thing.value"]
            more += ["slotted.value", "len(inner)", "int(view[0])", "len(alias)"]
        if not self.is_async:
            more += ["int(trax.step())"]
        if self.form == "method":
            more += ["self.value"]
        if self.form == "inner":
            more += ["base[0]"]
        if self._random.random() < 0.6:
            return self._random.choice(more)
        return super()._value()

    def _assign(self, depth: int) -> None:
        value, other = self._value(), self._value()
        more = ["tick()", "tick()", f"call = lambda x, k={value}: x * 2 + k", f"add({value})"]
        if self.has_rngs:
            more += ["rng.shuffle(v4)", "random.shuffle(v4)", "gen.shuffle(v4)"]
            more += [f"v4 = [int(x) for x in gen.permutation({value} % 4 + 1)]"]
        if self.has_arguments:
            more += [
                f"data.append({value})",
                f"data[:1] = [{value}, {other}]",
                "data[5:] = []",
                f"table[{value} % 4] = {other}",
                "table.pop(2, None)",
                f"array[{value} % 4] += {other} % 7",
                f"view[0] += {value} % 7",
                f"thing.value = ({value}) % 71",
                f"thing.items.append({value})",
                f"alias.append({value})",
                f"inner.append({value})",
                "thing.other = [thing.items, data][:1]",
                f"slotted.value = ({value}) % 61",
                "slotted.other = slotted.value",
                f"slotted.other = {value}",
            ]
        if self.form == "method":
            more += [f"self.value = ({value}) % 67", f"self.more = {value}"]
        if self.has_files:
            more += [f"print({value}, {other}, file=out)"] * 3
            more += [f"out.write(str({value}) + ' ')", "out.flush()"]
        if self._random.random() < 0.6:
            self._add(depth, self._random.choice(more))
        else:
            super()._assign(depth)

    def _yield(self, depth: int) -> None:
        if self._random.random() < 0.4:
            self._add(depth, "tick()")
        if self._random.random() < 0.15 and not self.is_async:
            made = self._random.choice(["helper(data, {})", "nested(log, data, {})"])
            self._add(depth, f"yield from {made.format(self._value())}")
        elif self._random.random() < 0.2:
            values = ["list(v4)", "{'a': v1, 'b': [v0]}", "np.arange(3) + v1", "array", "box.value"]
            values += ["random.random()", "tuple(data)", "repr(thing)", "slotted.value"]
            self._add(depth, f"yield {self._random.choice(values)}")
        else:
            super()._yield(depth)

    def _iterable(self) -> str:
        value = self._value()
        return self._random.choice(
            [
                *([super()._iterable()] * 6),
                "trax.steps(3)",
                "trax.remaining([1, 2])",
                f"zip(data[:3], count(log, {value}))",
                f"itertools.chain([1], count(log, {value}))",
                "itertools.islice(itertools.count(v0), 3)",
                "random.sample(range(9), 3)",
                "gen.permutation(3)",
                "array.astype(int)",
                "list(data[-3:])",
                "list(table)",
                "itertools.product('ab', range(2))",
                "filter(None, [0, 1, 2])",
                f"helper(data, {value})",
                f"nested(log, data, {value})",
                f"Countdown({value} % 4)",
                "Row([1, 2, 3])",
                "enumerate(helper(data, 3), 4)",
                "itertools.accumulate([1, 2, 3])",
                "itertools.pairwise(helper(data, 3))",
                f"(x + random.randrange(3) for x in range({value} % 4))",
                "(call(x) for x in v4)",
                "map(call, [1, 2])",
                "itertools.batched('abcd', 3)" if sys.version_info >= (3, 12) else "'abcd'",
                "sorted(data[:2])",
                "iter(v4)",
                "(lambda: (x for x in data[:3]))()",
            ]
        )

    def _with(self, depth: int) -> None:
        if self.has_files and self._random.random() < 0.2:
            number = next(self._numbers)
            self._add(depth, f"with trax.open('out{number}.txt', 'a') as out{number}:")
            self._add(depth + 1, f"out{number}.write(str({self._value()}) + ' ')")
            self._block(depth + 1)
            return
        super()._with(depth)
