"""Reads and restores the positions of RNGs, without slowing a loop that draws nothing.

Strategy: the position of an RNG is a tuple of parts, and a step stores only the parts that have
changed. A Mersenne Twister has two: its 624 words at an earlier time, and how often these were
regenerated since then. So a step that draws fewer than 624 words stores only a few bytes.

Every draw, every seed and every state that is set changes one of a few machine words in the RNG's
own memory, or the attribute beside it in which `random` saves a normal number. A step compares
these, and reads the parts only if they have changed. The words are located when the RNG is first
seen, by searching its memory for its public state. If they are not found, or if a number is saved
for later that they do not show, the parts themselves are compared.
"""

from __future__ import annotations

import contextlib
import ctypes
import io
import pickle
import random
import struct
import sys
from collections.abc import Callable
from typing import Any, Protocol

from trax.errors import CodecError
from trax.tracking.rngs import NUMBA_STATE, WORDS, NumbaRng, bits_of, canonical, numpy_random

__all__ = ["TrackedRng", "put_back", "track"]

_UNSEEN = ()  # never equal to None, so the parts are always compared
_BYTES = 4 * WORDS
_PLACE = struct.Struct("<Ii?d")  # times regenerated, index, a normal number saved for later
_TIMES = struct.Struct("<I")
_INDEX = struct.Struct("<i")
_SAVED = struct.Struct("<?d")
_NONE_SAVED = _SAVED.pack(False, 0.0)
_UNKNOWN = b""  # shorter than any words, so it is equal to none
_MOST = 4096  # times that words are regenerated before they are stored again; items of an attribute
_SEEDED = struct.pack("<iI", WORDS, 0x80000000)  # the index and the first word after each seed
_PROBE = 0x5A17C0DE  # a number that does not occur by chance
_PCG = struct.Struct("<16s?I")  # state, whether half a number is saved for later, it
_PCG_HALF = struct.Struct("<?I")
_NO_GAUSS_NEXT = {"gauss_next": None}  # all attributes of a `random.Random`
_PLAIN = (int, float, complex, str, bytes, bool, type(None))
_OTHER = b"other"  # instead of a place: a `RandomState` has a bit generator of another kind
_GAUSS = struct.Struct("<ixxxxd")  # in memory: whether a normal number is saved, it
_NO_GAUSS = bytes(_GAUSS.size)
_TORCH_WORDS = slice(24, 24 + 8 * WORDS)
_TORCH_SIZE = 5056  # of the CPU's RNG; that of a GPU is a seed and an offset


class TrackedRng(Protocol):
    """An RNG whose position is stored.

    Attributes
    ----------
    kind : str
        Its kind; a position can be restored only to an RNG of the same kind.
    seen : object
        The memory that every change of the position changes.
    known : object
        A copy of it from just before `parts` last read the position; None if a change may not show
        in it.
    """

    kind: str
    seen: Any
    known: Any

    def parts(self) -> tuple[bytes, ...]:
        """Return the present position."""

    def restore(self, parts: tuple[bytes, ...]) -> None:
        """Set the position to one that `parts` has returned."""


class _Words:
    """The words of a Mersenne Twister, as earlier words and how often they were regenerated.

    Attributes
    ----------
    present : bytes
        The present words.
    before : bytes
        The earlier words.
    times : bytes
        The number of regenerations since then, as in `_PLACE`.
    """

    def __init__(self) -> None:
        self.present = _UNKNOWN
        self.before = b""
        self.times = _TIMES.pack(0)

    def update(self, words: bytes) -> None:
        """Record the present words."""
        if words == self.present:
            return
        (times,) = _TIMES.unpack(self.times)
        if times < _MOST and self.present is not _UNKNOWN and _is_next(self.present, words):
            self.times = _TIMES.pack(times + 1)
        else:
            self.before, self.times = words, _TIMES.pack(0)
        self.present = words

    def recall(self, before: bytes, times: int) -> tuple[int, ...]:
        """Record stored words, and return the words after `times` regenerations."""
        words = struct.unpack(f"<{WORDS}I", before)
        if times > _MOST:
            raise ValueError(f"the words were regenerated {times} times, and {_MOST} is the most")
        if times:
            twister = random.Random()  # noqa: S311  # it repeats the user's RNG
            twister.setstate((3, (*words, WORDS), None))
            for _ in range(times):
                twister.getrandbits(32 * WORDS)
            words = twister.getstate()[1][:-1]
        self.before, self.times = before, _TIMES.pack(times)
        self.present = struct.pack(f"<{WORDS}I", *words)
        return words


def _saved(has_gauss: int, gauss: float) -> bytes:
    """Return the number saved for later as it is stored, and whether there is one."""
    return _SAVED.pack(bool(has_gauss), gauss) if has_gauss or gauss else _NONE_SAVED


def _is_next(old: bytes, new: bytes) -> bool:
    """Return whether the new words were generated from the old; the first three decide."""
    head = struct.unpack_from("<4I", old)
    shifted = struct.unpack_from("<3I", old, 4 * 397)
    for number, word in enumerate(struct.unpack_from("<3I", new)):
        mixed = (head[number] & 0x80000000) | (head[number + 1] & 0x7FFFFFFF)
        if word != shifted[number] ^ (mixed >> 1) ^ (0x9908B0DF * (mixed & 1)):
            return False
    return True


class _Python:
    """A `random.Random`."""

    kind = "Random"

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._words = _Words()
        state = rng.getstate()[1]
        found = _find(rng, struct.pack(f"<{WORDS + 1}I", state[-1], *state[:-1]))
        self._memory = found
        self._key = b"" if found is None else found[4:]
        self._first = None if found is None else found[:8]
        self._last = None if found is None else found[-8:]
        self._attributes = vars(rng)
        self.seen: Any = _UNSEEN
        self.known: Any = None

    def parts(self) -> tuple[bytes, ...]:
        words = self._words
        self.known = None
        if self._memory is None or self._first is None or self._last is None:
            _, numbers, gauss = self._rng.getstate()
            words.update(struct.pack(f"<{WORDS}I", *numbers[:-1]))
            index = _INDEX.pack(numbers[-1])
        else:
            gauss = self._rng.gauss_next  # type: ignore[attr-defined]  # typeshed hides it
            seen = self._first
            known = seen.tobytes()  # before the words: other threads may be drawing
            index = known[:4]
            if known == _SEEDED:  # as after any other seed; the next draw changes all words
                seen = self._last
                known = seen.tobytes()
            if gauss is None and words.present.startswith(self._key):
                self.seen, self.known = (seen, self._attributes), (known, _NO_GAUSS_NEXT)
                return words.before, words.times + index + _NONE_SAVED
            state = self._memory.tobytes()  # all at once, for the same reason
            index = state[:4]
            words.update(state[4:])
        saved = _NONE_SAVED if gauss is None else _SAVED.pack(True, gauss)
        return words.before, words.times + index + saved

    def restore(self, parts: tuple[bytes, ...]) -> None:
        times, index, is_saved, gauss = _PLACE.unpack(parts[1])
        state = (*self._words.recall(parts[0], times), index)
        self._rng.setstate((3, state, gauss if is_saved else None))


class _OwnPython(_Python):
    """One of a class of the user's, with its attributes as far as they are plain data."""

    def parts(self) -> tuple[bytes, ...]:
        position = super().parts()
        own = self._own()
        if own:
            self.known = None  # one of them may change alone
        buffer = io.BytesIO()
        pickler = pickle.Pickler(buffer, 5)
        pickler.fast = True  # equal attributes are equal bytes, whichever objects they share
        pickler.dump(own)
        return *position, buffer.getvalue()

    def restore(self, parts: tuple[bytes, ...]) -> None:
        super().restore(parts)
        stored = pickle.loads(parts[2]) if len(parts) > 2 else {}
        for name in self._own().keys() - stored.keys():
            del self._attributes[name]
        self._attributes.update(stored)

    def _own(self) -> dict[str, Any]:
        found = self._attributes.items()
        return {name: one for name, one in found if name != "gauss_next" and _is_plain(one)}


def _is_plain(value: Any, levels: int = 3) -> bool:
    """Return whether a value is a number or a text, or a small container of such."""
    kind = type(value)
    if kind not in (list, tuple, dict):
        return kind in _PLAIN
    parts = [*value, *value.values()] if kind is dict else value
    return len(parts) <= _MOST and levels > 0 and all(_is_plain(one, levels - 1) for one in parts)


class _Twister:
    """NumPy's Mersenne Twister, with the normal number that an old `RandomState` saves.

    A `RandomState` may be given another bit generator, even one of another kind.
    """

    kind = "MT19937"

    def __init__(self, bits: Any, owner: Any = None) -> None:
        self._owner = owner
        self._words = _Words()
        self._bits = _TwisterMemory(bits, owner)
        self.seen = self._bits.seen
        self.known: Any = None

    def parts(self) -> tuple[bytes, ...]:
        words, bits, owner = self._words, self._bits, self._owner
        self.known = None
        if owner is not None and owner._bit_generator is not bits.rng:  # noqa: SLF001  # as there
            bits = self._bits = _TwisterMemory(bits_of(owner), owner)
            self.seen = bits.seen
        if bits.is_other:
            return pickle.dumps(owner.get_state(legacy=False), 5), _OTHER
        if bits.memory is None:
            public = bits.rng.state["state"]
            words.update(public["key"].astype("<u4").tobytes())
            index, saved = _INDEX.pack(public["pos"]), self._saved()
        else:
            known = bits.seen[0].tobytes()  # before the words: other threads may be drawing
            is_saved = not _NO_GAUSS.startswith(bits.gauss)
            if not is_saved and words.present.startswith(bits.key):
                self.known = (known, *bits.known)
                return words.before, words.times + known[4:] + _NONE_SAVED
            saved = _saved(*_GAUSS.unpack(bits.gauss)) if is_saved else _NONE_SAVED
            state = bits.memory.tobytes()  # all at once, for the same reason
            index = state[_BYTES:]
            words.update(state[:_BYTES])
        return words.before, words.times + index + saved

    def _saved(self) -> bytes:
        if self._owner is None:
            return _NONE_SAVED
        state = self._owner.get_state(legacy=False)
        return _saved(state["has_gauss"], state["gauss"])

    def restore(self, parts: tuple[bytes, ...]) -> None:
        import numpy as np

        if parts[1] == _OTHER:
            _set_state(self._owner, pickle.loads(parts[0]))
            return
        times, index, is_saved, gauss = _PLACE.unpack(parts[1])
        if not 0 <= index <= WORDS:  # NumPy would read beyond the words in memory
            raise ValueError(f"word {index} of {WORDS} cannot be the next one")
        words = np.array(self._words.recall(parts[0], times), np.uint32)
        state = {"bit_generator": "MT19937", "state": {"key": words, "pos": index}}
        if self._owner is None:
            self._bits.rng.state = state
        else:
            _set_state(self._owner, {**state, "has_gauss": int(is_saved), "gauss": gauss})


class _TwisterMemory:
    """The memory of a bit generator, and of the `RandomState` around it, if there is one.

    Attributes
    ----------
    rng : numpy.random.BitGenerator
        The bit generator.
    is_other : bool
        Whether it is no Mersenne Twister.
    memory : memoryview or None
        Its words and its index; None if they or the saved normal number are not found.
    key : memoryview
        Its words.
    gauss : memoryview
        The saved normal number and the flag before it; empty without a `RandomState`.
    seen : tuple of memoryview
        The last word with the index, and the part of a `RandomState` that tells its bit generator
        and whether a normal number is saved.
    known : tuple of memoryview
        That part with this bit generator while none is saved.
    """

    def __init__(self, rng: Any, owner: Any) -> None:
        self.rng = rng
        self.is_other = type(rng).__name__ != "MT19937"
        around = memoryview(b"") if owner is None else _find_gauss(owner, rng)
        found = None if self.is_other or around is None else _find_words(rng)
        self.memory = found
        self.key = memoryview(b"") if found is None else found[:_BYTES]
        self.gauss = memoryview(b"") if found is None or not around else around[-_GAUSS.size :]
        self.seen: tuple[memoryview, ...] = _UNSEEN
        self.known: tuple[memoryview, ...] = ()
        if found is not None:
            self.seen = (found[_BYTES - 4 :],)
            if around:
                self.seen += (around.cast("Q"),)
                quiet = bytes(around[: -_GAUSS.size]) + _NO_GAUSS
                self.known = (memoryview(quiet).cast("Q"),)


class _Pcg:
    """NumPy's PCG64, which `numpy.random.default_rng` returns, and its variant PCG64DXSM."""

    def __init__(self, bits: Any) -> None:
        self._bits = bits
        self.kind = type(bits).__name__
        self._memory = _find_pcg(bits)
        self.seen: Any = _UNSEEN if self._memory is None else self._memory.cast("Q")
        self.known: Any = None

    def parts(self) -> tuple[bytes, ...]:
        if self._memory is None:
            number, half, increment = self._public()
        else:
            content = self._memory.tobytes()
            self.known = memoryview(content).cast("Q")
            half = content[:1] + content[4:8]
            number, increment = content[-32:-16], content[-16:]
        return number + half, increment

    def _public(self) -> tuple[bytes, bytes, bytes]:
        state = self._bits.state
        number, increment = (
            state["state"][name].to_bytes(16, "little") for name in ("state", "inc")
        )
        return number, _PCG_HALF.pack(state["has_uint32"], state["uinteger"]), increment

    def restore(self, parts: tuple[bytes, ...]) -> None:
        number, is_saved, half = _PCG.unpack(parts[0])
        (increment,) = struct.unpack("<16s", parts[1])
        self._bits.state = {
            "bit_generator": type(self._bits).__name__,
            "state": {
                "state": int.from_bytes(number, "little"),
                "inc": int.from_bytes(increment, "little"),
            },
            "has_uint32": int(is_saved),
            "uinteger": half,
        }


class _Numba:
    """The position of a `NumbaRng`, a Mersenne Twister."""

    kind = "MT19937"

    def __init__(self, rng: NumbaRng) -> None:
        self._memory = rng.memory
        self._words = _Words()
        self.seen = rng.memory[:8], rng.memory[-_GAUSS.size :]
        self.known: Any = None

    def parts(self) -> tuple[bytes, ...]:
        words = self._words
        self.known = tuple(map(bytes, self.seen))  # before the words, as above
        state = self._memory.tobytes()
        _, present, has_gauss, gauss = NUMBA_STATE.unpack(state)
        words.update(present)
        return words.before, words.times + state[:4] + _saved(has_gauss, gauss)

    def restore(self, parts: tuple[bytes, ...]) -> None:
        times, index, is_saved, gauss = _PLACE.unpack(parts[1])
        if not 0 <= index <= WORDS:  # numba would read beyond the words in memory
            raise ValueError(f"word {index} of {WORDS} cannot be the next one")
        words = struct.pack(f"<{WORDS}I", *self._words.recall(parts[0], times))
        self._memory[:] = NUMBA_STATE.pack(index, words, is_saved, gauss)


class _Torch:
    """An RNG of PyTorch."""

    kind = "torch"
    seen = _UNSEEN
    known = None

    def __init__(self, rng: Any) -> None:
        self._rng = rng

    def parts(self) -> tuple[bytes, ...]:
        state = self._rng.get_state().numpy().tobytes()
        if len(state) != _TORCH_SIZE:
            return (state,)
        words = _TORCH_WORDS
        return state[words], state[: words.start] + state[words.stop :]

    def restore(self, parts: tuple[bytes, ...]) -> None:
        import torch

        state = parts[-1]
        if len(parts) > 1:
            state = state[: _TORCH_WORDS.start] + parts[0] + state[_TORCH_WORDS.start :]
        self._rng.set_state(torch.frombuffer(bytearray(state), dtype=torch.uint8))


class _Opaque:
    """Any other RNG: its public state as a pickle."""

    seen = _UNSEEN
    known = None

    def __init__(self, kind: str, get: Callable[[], Any], set_: Callable[[Any], None]) -> None:
        self.kind = kind
        self._get = get
        self._set = set_

    def parts(self) -> tuple[bytes, ...]:
        return (pickle.dumps(self._get(), 5),)

    def restore(self, parts: tuple[bytes, ...]) -> None:
        self._set(pickle.loads(parts[0]))


class _Children:
    """The count of children that NumPy's `SeedSequence` has spawned; it determines the next one."""

    kind = "SeedSequence"

    def __init__(self, seed: Any) -> None:
        self._seed = seed
        probe = type(seed)(0, n_children_spawned=_PROBE)
        begin = bytes(_memory(probe)).find(struct.pack("<I", _PROBE))
        self.seen: Any = _UNSEEN if begin < 0 else _memory(seed)[begin : begin + 4].cast("I")
        self.known: Any = None

    def parts(self) -> tuple[bytes, ...]:
        count = self._seed.n_children_spawned
        if self.seen is not _UNSEEN:
            self.known = memoryview(struct.pack("=I", count)).cast("I")
        return (struct.pack("<I", count),)

    def restore(self, parts: tuple[bytes, ...]) -> None:
        (count,) = struct.unpack("<I", parts[0])
        if count > self._seed.n_children_spawned and self.seen is not _UNSEEN:
            self.seen[0] = count  # without spawning them: they may be very many
        if count > self._seed.n_children_spawned:  # the count can only grow
            self._seed.spawn(count - self._seed.n_children_spawned)


def _memory(obj: Any) -> memoryview:
    """Return the memory of an object; empty if its identity is not an address."""
    size = type(obj).__basicsize__ if sys.implementation.name == "cpython" else 0
    return memoryview((ctypes.c_char * size).from_address(id(obj))).cast("B")


def _find(obj: Any, content: bytes) -> memoryview | None:
    """Return the part of an object's own memory that equals `content`, or None."""
    memory = _memory(obj)
    begin = bytes(memory).find(content)
    return None if begin < 0 else memory[begin : begin + len(content)]


def _find_words(bits: Any) -> memoryview | None:
    """Return the memory of a Mersenne Twister for its words and its index, or None."""
    state = bits.state["state"]
    return _find(bits, state["key"].astype("<u4").tobytes() + _INDEX.pack(state["pos"]))


def _find_gauss(owner: Any, bits: Any) -> memoryview | None:
    """Return the memory of a `RandomState` from its bit generator to its saved normal number."""
    from numpy.random import MT19937, RandomState

    probe = RandomState(MT19937(0))
    found = []
    for has_gauss in (0, 1):
        gauss = {"has_gauss": has_gauss, "gauss": 1.2345678901234567e-5}
        probe.set_state({**probe.get_state(legacy=False), **gauss})
        found.append(bytes(_memory(probe)).find(_GAUSS.pack(*gauss.values())))
    begin, end = bytes(_memory(owner)).find(struct.pack("P", id(bits))), found[0] + _GAUSS.size
    is_found = found[0] == found[1] > begin >= 0
    return _memory(owner)[begin:end] if is_found and not (end - begin) % 8 else None


def _find_pcg(bits: Any) -> memoryview | None:
    """Return the memory of a PCG64 from the flag of its saved half number to its increment.

    The half number comes after the flag, and the state before the increment.
    """
    found = []
    with contextlib.suppress(Exception):  # a class of the user's may be made in another way
        probe = type(bits)(0)
        whole = {"state": _PROBE << 96 | _PROBE, "inc": _PROBE << 64 | 1}
        numbers = b"".join(number.to_bytes(16, "little") for number in whole.values())
        for is_saved in (0, 1):
            half = {"has_uint32": is_saved, "uinteger": _PROBE}
            probe.state = {**probe.state, "state": whole, **half}
            memory = bytes(_memory(probe))
            found.append((memory.find(struct.pack("<iI", *half.values())), memory.find(numbers)))
    if len(set(found)) != 1 or len(found) != 2:
        return None
    (begin, last), *_ = found
    is_found = 0 <= begin < last and not (last - begin) % 8
    return _memory(bits)[begin : last + 32] if is_found else None


def _set_state(owner: Any, state: dict[str, Any]) -> None:
    """Set a `RandomState`, even if it now has a bit generator of another kind."""
    numpy, name = numpy_random(), state["bit_generator"]
    if type(bits_of(owner)).__name__ != name and owner is numpy.mtrand._rand:  # noqa: SLF001
        numpy.set_bit_generator(getattr(numpy, name)())  # only this one can be given another
    owner.set_state(state)


def track(rng: Any) -> TrackedRng:
    """Return an object that reads and restores the position of an RNG."""
    rng = canonical(rng)
    kind = type(rng).__name__
    if isinstance(rng, NumbaRng):
        return _Numba(rng)
    if isinstance(rng, random.Random):
        if type(rng) is random.Random:
            return _Python(rng)
        if type(rng).getstate is random.Random.getstate:
            return _OwnPython(rng)
        return _Opaque(kind, rng.getstate, rng.setstate)
    if hasattr(rng, "n_children_spawned"):
        return _Children(rng)
    if hasattr(rng, "get_state"):
        if type(rng).__module__.partition(".")[0] == "torch":
            return _Torch(rng)
        bits = bits_of(rng)
        if type(bits).__name__ == "MT19937":
            return _Twister(bits, rng)
        return _Opaque(
            kind, lambda: rng.get_state(legacy=False), lambda state: _set_state(rng, state)
        )
    if kind == "MT19937":
        return _Twister(rng)
    if kind in ("PCG64", "PCG64DXSM"):
        return _Pcg(rng)
    return _Opaque(kind, lambda: rng.state, lambda state: setattr(rng, "state", state))


def put_back(name: str, tracked: TrackedRng, parts: tuple[bytes, ...]) -> None:
    """Set an RNG to a stored position.

    Raises
    ------
    CodecError
        The stored parts are not a position of this RNG.
    """
    try:
        tracked.restore(parts)
    except Exception as error:
        raise CodecError(
            f"the position of the RNG {name!r} cannot be restored: "
            f"{type(error).__name__}: {error}\n"
            "Its library may have another version than the one that the run was stored with: use "
            "that one.\n"
            "Or leave random numbers alone with rng=None."
        ) from error
