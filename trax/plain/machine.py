"""A machine for pickles that executes nothing of what they name.

A pickle is a program: it may name any function of any module, and have it called. This machine
takes the same opcodes, of all protocols, and never imports, looks up or calls what they name. It is
written for bytes that anybody may have made: it takes time and memory in proportion to them.
"""

from __future__ import annotations

import pickle
import struct
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from trax.errors import CodecError
from trax.plain.known_types import (
    KNOWN,
    MISFITS,
    NEW_WITH_NAMES,
    Keys,
    build,
    function_name,
    make,
    named,
    outside,
)
from trax.plain.stand_ins import Instance, Named

__all__ = ["PlainUnpickler"]

_DIGITS = 4000  # of a number in decimal digits, which takes time in proportion to their square
_COPIES = 8  # times the size of a pickle: what may be copied of parts to which it refers again
_ITEM = 8  # bytes
_FREE = 1 << 16


def _cost(argument: Any) -> int:
    """Return the bytes that a copy of an argument takes, about."""
    kind = type(argument)
    if kind in (str, bytes, bytearray):
        return len(argument)
    return _ITEM * len(argument) if kind in (tuple, list, dict) else 0


class PlainUnpickler:
    """Reads one pickle as data.

    Parameters
    ----------
    data : bytes
        The pickle.
    buffers : sequence of bytes-like
        Its buffers.

    Attributes
    ----------
    position : int
        The place of the next byte.
    stack : list
        The objects that are not yet part of another one, after the last mark.
    """

    def __init__(self, data: bytes, buffers: Sequence[Any] = ()) -> None:
        self.data = data
        self.position = 0
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}
        self.keys = Keys()
        self._outer: list[list[Any]] = []
        self._buffers = iter(buffers)
        self._credit = _COPIES * (len(data) + sum(memoryview(b).nbytes for b in buffers)) + _FREE

    def load(self) -> Any:
        """Return the object.

        Raises
        ------
        CodecError
            These bytes are no pickle.
        """
        data, step = self.data, _STEPS
        begin = 0
        try:
            while True:
                begin = self.position
                code = data[begin]
                if code == _STOP:
                    return self.stack[-1]
                self.position = begin + 1
                step[code](self)
        except MISFITS as error:
            is_short = self.position >= len(data) or isinstance(error, struct.error)
            reason = "it is cut short" if is_short else "it is no pickle"
            raise CodecError(f"a pickle is damaged at byte {begin:,}: {reason}") from error

    # -- bytes -----------------------------------------------------------------------------

    def take(self, size: int) -> bytes:
        """Return the next bytes."""
        begin, self.position = self.position, self.position + size
        if self.position > len(self.data):
            raise ValueError("too few bytes")
        return self.data[begin : self.position]

    def line(self) -> bytes:
        """Return the bytes up to the end of the line, without that."""
        begin = self.position
        end = self.data.index(b"\n", begin)
        self.position = end + 1
        return self.data[begin:end]

    def buffer(self) -> memoryview:
        """Return the next buffer."""
        for buffer in self._buffers:
            return memoryview(buffer)
        raise CodecError("a pickle refers to a buffer that is missing")

    # -- objects ---------------------------------------------------------------------------

    def mark(self) -> None:
        """Begin a group of objects."""
        self._outer.append(self.stack)
        self.stack = []

    def group(self) -> list[Any]:
        """Return the objects since the last mark, and remove both."""
        group, self.stack = self.stack, self._outer.pop()
        return group

    def drop(self) -> None:
        """Remove the last object, or a mark."""
        if self.stack:
            self.stack.pop()
        else:
            self.group()

    def memoize(self) -> None:
        """Give the last object the next number."""
        self.memo[len(self.memo)] = self.stack[-1]

    def call(self, function: Any, arguments: Any) -> Any:
        """Return what a call would make, or a stand-in for it."""
        if type(arguments) is not tuple:
            raise TypeError("no arguments")
        name = function_name(function)
        if name not in KNOWN or self._affords(arguments):
            return make(function, arguments)
        return Instance(name, arguments)

    def _affords(self, arguments: tuple[Any, ...]) -> bool:
        """Whether the parts of these arguments may be copied; they may be so again and again."""
        self._credit -= _ITEM * len(arguments)
        if self._credit >= 0:
            self._credit -= sum(map(_cost, arguments))
        return self._credit >= 0

    def extend(self, target: Any, items: list[Any]) -> None:
        """Add items to a list, or to what is made in the same way."""
        if type(target) is Instance:
            target.items.extend(items)
        elif type(target) in (list, deque):
            target.extend(items)
        else:
            raise TypeError("no list")

    def include(self, target: Any, items: list[Any]) -> None:
        """Add items to a set, or to what is made in the same way."""
        if type(target) is Instance:
            target.items.extend(items)
        elif type(target) is set:
            target.update([self.keys.key(target, item) for item in items])
        else:
            raise TypeError("no set")

    def update(self, target: Any, items: list[Any]) -> None:
        """Add keys and values to a dict, or to what is made in the same way."""
        if type(target) is Instance:
            target = target.pairs
        elif not isinstance(target, dict):
            raise TypeError("no dict")
        key = self.keys.key
        for one, value in zip(items[::2], items[1::2], strict=True):
            target[key(target, one)] = value


_Step = Callable[[PlainUnpickler], None]
_STOP = pickle.STOP[0]


def _damaged(_: PlainUnpickler) -> NoReturn:
    raise ValueError("no opcode")


# -- opcodes that only push something ------------------------------------------------------


def _constant(value: Any) -> _Step:
    return lambda machine: machine.stack.append(value)


def _new(kind: type) -> _Step:
    return lambda machine: machine.stack.append(kind())


def _number(form: str) -> _Step:
    fixed = struct.Struct(form)

    def push(machine: PlainUnpickler) -> None:
        machine.stack += fixed.unpack_from(machine.data, machine.position)
        machine.position += fixed.size

    return push


def _sized(form: str, convert: Callable[[bytes], Any]) -> _Step:
    """Return the step for an object after its size."""
    fixed = struct.Struct(form)

    def push(machine: PlainUnpickler) -> None:
        (size,) = fixed.unpack_from(machine.data, machine.position)
        machine.position += fixed.size
        machine.stack.append(convert(machine.take(size)))

    return push


def _line(convert: Callable[[bytes], Any]) -> _Step:
    return lambda machine: machine.stack.append(convert(machine.line()))


def _skip(size: int) -> _Step:
    def skip(machine: PlainUnpickler) -> None:
        machine.take(size)

    return skip


def _text(data: bytes) -> str:
    return str(data, "utf-8", "surrogatepass")


def _unicode_text(data: bytes) -> str:
    return str(data, "raw-unicode-escape")


def _long(data: bytes) -> int:
    return int.from_bytes(data, "little", signed=True)


def _decimal(data: bytes) -> int:
    if len(data) > _DIGITS:
        raise ValueError("too many digits")
    return int(data.removesuffix(b"L"))


def _decimal_or_bool(data: bytes) -> int:
    return data == b"01" if data in (b"00", b"01") else _decimal(data)


# -- opcodes that put objects together -----------------------------------------------------


def _tuple_of(size: int) -> _Step:
    def push(machine: PlainUnpickler) -> None:
        stack = machine.stack
        if len(stack) < size:
            raise IndexError("too few objects")
        stack[-size:] = [tuple(stack[-size:])]

    return push


def _group(kind: Callable[[list[Any]], Any]) -> _Step:
    def push(machine: PlainUnpickler) -> None:
        group = machine.group()
        machine.stack.append(kind(group))

    return push


def _drop_group(machine: PlainUnpickler) -> None:
    machine.group()


def _dict(machine: PlainUnpickler) -> None:
    items = machine.group()
    target: dict[Any, Any] = {}
    machine.update(target, items)
    machine.stack.append(target)


def _frozenset(machine: PlainUnpickler) -> None:
    items = machine.group()
    machine.stack.append(frozenset([machine.keys.key(items, item) for item in items]))


def _with_group(add: Callable[[PlainUnpickler, Any, list[Any]], None]) -> _Step:
    def step(machine: PlainUnpickler) -> None:
        items = machine.group()
        add(machine, machine.stack[-1], items)

    return step


def _append(machine: PlainUnpickler) -> None:
    item = machine.stack.pop()
    machine.extend(machine.stack[-1], [item])


def _set_item(machine: PlainUnpickler) -> None:
    value, key = machine.stack.pop(), machine.stack.pop()
    machine.update(machine.stack[-1], [key, value])


# -- opcodes that would import and call ----------------------------------------------------


def _global(machine: PlainUnpickler) -> None:
    machine.stack.append(named(_text(machine.line()), _text(machine.line())))


def _stack_global(machine: PlainUnpickler) -> None:
    name, module = machine.stack.pop(), machine.stack.pop()
    machine.stack.append(named(module, name))


def _extension(form: str) -> _Step:
    fixed = struct.Struct(form)

    def push(machine: PlainUnpickler) -> None:
        (code,) = fixed.unpack(machine.take(fixed.size))
        machine.stack.append(Named(f"copyreg.extension.{code}"))

    return push


def _outside(machine: PlainUnpickler) -> None:
    machine.stack.append(outside(machine.stack.pop()))


def _outside_line(machine: PlainUnpickler) -> None:
    machine.stack.append(outside(_text(machine.line())))


def _reduce(machine: PlainUnpickler) -> None:
    arguments = machine.stack.pop()
    machine.stack[-1] = machine.call(machine.stack[-1], arguments)


def _new_with_names(machine: PlainUnpickler) -> None:
    names, arguments, kind = (machine.stack.pop() for _ in range(3))
    machine.stack.append(machine.call(NEW_WITH_NAMES, (kind, arguments, names)))


def _object(machine: PlainUnpickler) -> None:
    kind, *arguments = machine.group()
    machine.stack.append(machine.call(kind, tuple(arguments)))


def _instance(machine: PlainUnpickler) -> None:
    kind = named(_text(machine.line()), _text(machine.line()))
    arguments = machine.group()
    machine.stack.append(machine.call(kind, tuple(arguments)))


def _build(machine: PlainUnpickler) -> None:
    state = machine.stack.pop()
    build(machine.stack[-1], state)


# -- the memo ------------------------------------------------------------------------------


def _get(form: str) -> _Step:
    fixed = struct.Struct(form)

    def push(machine: PlainUnpickler) -> None:
        (number,) = fixed.unpack(machine.take(fixed.size))
        machine.stack.append(machine.memo[number])

    return push


def _put(form: str) -> _Step:
    fixed = struct.Struct(form)

    def put(machine: PlainUnpickler) -> None:
        (number,) = fixed.unpack(machine.take(fixed.size))
        machine.memo[number] = machine.stack[-1]

    return put


def _get_line(machine: PlainUnpickler) -> None:
    machine.stack.append(machine.memo[_decimal(machine.line())])


def _put_line(machine: PlainUnpickler) -> None:
    machine.memo[_decimal(machine.line())] = machine.stack[-1]


_OPCODES: dict[bytes, _Step] = {
    pickle.PROTO: _skip(1),
    pickle.FRAME: _skip(8),
    pickle.NONE: _constant(None),
    pickle.NEWTRUE: _constant(True),
    pickle.NEWFALSE: _constant(False),
    pickle.EMPTY_TUPLE: _constant(()),
    pickle.EMPTY_LIST: _new(list),
    pickle.EMPTY_DICT: _new(dict),
    pickle.EMPTY_SET: _new(set),
    pickle.BININT: _number("<i"),
    pickle.BININT1: _number("<B"),
    pickle.BININT2: _number("<H"),
    pickle.BINFLOAT: _number(">d"),
    pickle.LONG1: _sized("<B", _long),
    pickle.LONG4: _sized("<I", _long),
    pickle.INT: _line(_decimal_or_bool),
    pickle.LONG: _line(_decimal),
    pickle.FLOAT: _line(float),
    pickle.SHORT_BINUNICODE: _sized("<B", _text),
    pickle.BINUNICODE: _sized("<I", _text),
    pickle.BINUNICODE8: _sized("<Q", _text),
    pickle.UNICODE: _line(_unicode_text),
    pickle.SHORT_BINBYTES: _sized("<B", bytes),
    pickle.BINBYTES: _sized("<I", bytes),
    pickle.BINBYTES8: _sized("<Q", bytes),
    pickle.BYTEARRAY8: _sized("<Q", bytearray),
    pickle.NEXT_BUFFER: lambda machine: machine.stack.append(machine.buffer()),
    pickle.READONLY_BUFFER: lambda machine: machine.stack.append(machine.stack.pop().toreadonly()),
    pickle.MARK: PlainUnpickler.mark,
    pickle.POP: PlainUnpickler.drop,
    pickle.POP_MARK: _drop_group,
    pickle.DUP: lambda machine: machine.stack.append(machine.stack[-1]),
    pickle.MEMOIZE: PlainUnpickler.memoize,
    pickle.BINGET: _get("<B"),
    pickle.LONG_BINGET: _get("<I"),
    pickle.GET: _get_line,
    pickle.BINPUT: _put("<B"),
    pickle.LONG_BINPUT: _put("<I"),
    pickle.PUT: _put_line,
    pickle.TUPLE1: _tuple_of(1),
    pickle.TUPLE2: _tuple_of(2),
    pickle.TUPLE3: _tuple_of(3),
    pickle.TUPLE: _group(tuple),
    pickle.LIST: _group(list),
    pickle.DICT: _dict,
    pickle.FROZENSET: _frozenset,
    pickle.APPEND: _append,
    pickle.APPENDS: _with_group(PlainUnpickler.extend),
    pickle.ADDITEMS: _with_group(PlainUnpickler.include),
    pickle.SETITEM: _set_item,
    pickle.SETITEMS: _with_group(PlainUnpickler.update),
    pickle.GLOBAL: _global,
    pickle.STACK_GLOBAL: _stack_global,
    pickle.EXT1: _extension("<B"),
    pickle.EXT2: _extension("<H"),
    pickle.EXT4: _extension("<i"),
    pickle.PERSID: _outside_line,
    pickle.BINPERSID: _outside,
    pickle.REDUCE: _reduce,
    pickle.NEWOBJ: _reduce,
    pickle.NEWOBJ_EX: _new_with_names,
    pickle.OBJ: _object,
    pickle.INST: _instance,
    pickle.BUILD: _build,
}
_STEPS: list[_Step] = [_OPCODES.get(bytes([code]), _damaged) for code in range(256)]
