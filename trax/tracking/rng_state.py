"""RngTracking of RNGs, read without slowing a loop that draws nothing.

Strategy: the position of an RNG is a tuple of parts, of which a step stores those that have
changed. Of a Mersenne Twister these are its 624 words as they once were, and how often they were
made anew since then: so a step that draws less than 624 words stores a few bytes. Whether
anything was drawn shows in one machine word of the RNG's own memory that every draw changes.
The place of that word is found when an RNG is first seen, by looking for its public
state; where it is not found, or where something can be drawn that the word does not show, the
parts themselves are compared.

Values come from the standard library's `random`, from NumPy and from PyTorch; only those of
them that the program has imported are looked at.
"""

from __future__ import annotations

import ctypes
import pickle
import random
import struct
import sys
from collections.abc import Callable, Iterator
from typing import Any, Protocol

from trax.errors import CodecError

__all__ = [
    "TrackedRng",
    "canonical",
    "defaults",
    "is_rng",
    "put_back",
    "rng_types",
    "seed_of",
    "track",
]

_NEVER = -1  # no word has this value: there is no telling without comparing the parts
_UNSEEN = memoryview(bytes(8)).cast("Q")

_WORDS = 624
_BYTES = 4 * _WORDS
_PLACE = struct.Struct("<Ii?d")  # how often made anew, index, a normal number kept for later
_MOST = 4096  # times that words are made anew before they are stored again
_PROBE = 0x5A17C0DE  # a number that is nowhere by chance
_PCG = struct.Struct("<16s?I")  # state, and half a number kept for later
_TORCH_WORDS = slice(24, 24 + 8 * _WORDS)
_TORCH_SIZE = 5056  # of the CPU's RNG; that of a GPU is a seed and an offset


class TrackedRng(Protocol):
    """An RNG whose position is stored.

    Attributes
    ----------
    kind : str
        Its kind; a position can be restored only to an RNG of the same kind.
    seen : memoryview
        Its first item is the word that every draw changes.
    word : int
        What that was when `parts` was last asked for; `_NEVER` where a draw may not change it.
    """

    kind: str
    seen: memoryview
    word: int

    def parts(self) -> tuple[bytes, ...]:
        """Return the position as it is now."""

    def restore(self, parts: tuple[bytes, ...]) -> None:
        """Set the position to what `parts` returned."""


class _Words:
    """The words of a Mersenne Twister, told as words before and how often these were made anew."""

    def __init__(self) -> None:
        self._present = b""
        self.before = b""
        self.times = 0

    def follow(self, words: bytes) -> None:
        """Take note of the words as they are now."""
        if words == self._present:
            return
        if self.times < _MOST and self._present and _is_next(self._present, words):
            self.times += 1
        else:
            self.before, self.times = words, 0
        self._present = words

    def recall(self, before: bytes, times: int) -> tuple[int, ...]:
        """Take note of words that were stored, and return them as they were then."""
        words = struct.unpack(f"<{_WORDS}I", before)
        if times > _MOST:
            raise ValueError(f"the words were made anew {times} times, and {_MOST} is the most")
        if times:
            twister = random.Random()  # noqa: S311  # it is the user's RNG, gone through again
            twister.setstate((3, (*words, _WORDS), None))
            for _ in range(times):
                twister.getrandbits(32 * _WORDS)
            words = twister.getstate()[1][:-1]
        self.before, self.times = before, times
        self._present = struct.pack(f"<{_WORDS}I", *words)
        return words


def _is_next(old: bytes, new: bytes) -> bool:
    """Return whether words were made from those before; the first three of them tell."""
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
        found = _find(rng, struct.pack(f"<{_WORDS + 1}I", state[-1], *state[:-1]))
        self._memory = found
        self.seen = _UNSEEN if found is None else found[:8].cast("Q")
        self.word = _NEVER

    def parts(self) -> tuple[bytes, ...]:
        if self._memory is None:
            _, numbers, gauss = self._rng.getstate()
            words, index = struct.pack(f"<{_WORDS}I", *numbers[:-1]), numbers[-1]
        else:
            gauss = self._rng.gauss_next  # type: ignore[attr-defined]  # typeshed hides it
            self.word = self.seen[0] if gauss is None else _NEVER
            state = bytes(self._memory)  # all at once: other threads may be drawing
            words = state[4:]
            (index,) = struct.unpack_from("<i", state)
        self._words.follow(words)
        place = _PLACE.pack(self._words.times, index, gauss is not None, gauss or 0.0)
        return self._words.before, place

    def restore(self, parts: tuple[bytes, ...]) -> None:
        times, index, is_kept, gauss = _PLACE.unpack(parts[1])
        state = (*self._words.recall(parts[0], times), index)
        self._rng.setstate((3, state, gauss if is_kept else None))


class _Twister:
    """NumPy's Mersenne Twister, with the normal number that an old `RandomState` keeps."""

    kind = "MT19937"

    def __init__(self, bits: Any, owner: Any = None) -> None:
        self._bits = bits
        self._owner = owner
        self._words = _Words()
        state = bits.state["state"]
        content = state["key"].astype("<u4").tobytes() + struct.pack("<i", state["pos"])
        self._memory = _find(bits, content)
        self.seen = _UNSEEN if self._memory is None else self._memory[_BYTES - 4 :].cast("Q")
        self._gauss = None if owner is None else _find_gauss(owner)
        self.word = _NEVER

    def parts(self) -> tuple[bytes, ...]:
        kept = self._kept()
        if self._memory is None:
            public = self._bits.state["state"]
            words, index = public["key"].astype("<u4").tobytes(), public["pos"]
        else:
            self.word = _NEVER if kept[0] else self.seen[0]
            state = bytes(self._memory)  # all at once: other threads may be drawing
            words = state[:_BYTES]
            (index,) = struct.unpack_from("<i", state, _BYTES)
        self._words.follow(words)
        return self._words.before, _PLACE.pack(self._words.times, index, *kept)

    def _kept(self) -> tuple[bool, float]:
        if self._owner is None:
            return False, 0.0
        if self._gauss is not None:
            has_gauss, gauss = struct.unpack_from("<ixxxxd", self._gauss)
            return bool(has_gauss), gauss
        state = self._owner.get_state(legacy=False)
        return bool(state["has_gauss"]), state["gauss"]

    def restore(self, parts: tuple[bytes, ...]) -> None:
        import numpy as np

        times, index, is_kept, gauss = _PLACE.unpack(parts[1])
        if not 0 <= index <= _WORDS:  # NumPy would draw from whatever lies there in memory
            raise ValueError(f"word {index} of {_WORDS} cannot be the next one")
        words = np.array(self._words.recall(parts[0], times), np.uint32)
        state = {"bit_generator": "MT19937", "state": {"key": words, "pos": index}}
        if self._owner is None:
            self._bits.state = state
        else:
            self._owner.set_state({**state, "has_gauss": int(is_kept), "gauss": gauss})


class _Pcg:
    """NumPy's PCG64, which `numpy.random.default_rng` makes, and its variant."""

    def __init__(self, bits: Any) -> None:
        self._bits = bits
        self.kind = type(bits).__name__
        found = _find(bits, bits.state["state"]["state"].to_bytes(16, "little"))
        self.seen = _UNSEEN if found is None else found[:8].cast("Q")
        self.word = _NEVER

    def parts(self) -> tuple[bytes, ...]:
        state = self._bits.state
        inner, is_kept = state["state"], bool(state["has_uint32"])
        if self.seen is not _UNSEEN:
            self.word = _NEVER if is_kept else self.seen[0]
        number = inner["state"].to_bytes(16, "little")
        return _PCG.pack(number, is_kept, state["uinteger"]), inner["inc"].to_bytes(16, "little")

    def restore(self, parts: tuple[bytes, ...]) -> None:
        number, is_kept, half = _PCG.unpack(parts[0])
        (increment,) = struct.unpack("<16s", parts[1])
        self._bits.state = {
            "bit_generator": type(self._bits).__name__,
            "state": {
                "state": int.from_bytes(number, "little"),
                "inc": int.from_bytes(increment, "little"),
            },
            "has_uint32": int(is_kept),
            "uinteger": half,
        }


class _Torch:
    """An RNG of PyTorch."""

    kind = "torch"
    seen = _UNSEEN
    word = _NEVER

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
    """Any other: its public state as a pickle."""

    seen = _UNSEEN
    word = _NEVER

    def __init__(self, kind: str, get: Callable[[], Any], set_: Callable[[Any], None]) -> None:
        self.kind = kind
        self._get = get
        self._set = set_

    def parts(self) -> tuple[bytes, ...]:
        return (pickle.dumps(self._get(), 5),)

    def restore(self, parts: tuple[bytes, ...]) -> None:
        self._set(pickle.loads(parts[0]))


class _Children:
    """How many children NumPy's `SeedSequence` has spawned, which decides about the next one."""

    kind = "SeedSequence"

    def __init__(self, seed: Any) -> None:
        self._seed = seed
        probe = type(seed)(0, n_children_spawned=_PROBE)
        begin = bytes(_memory(probe)).find(struct.pack("<I", _PROBE))
        self.seen = _UNSEEN if begin < 0 else _memory(seed)[begin : begin + 4].cast("I")
        self.word = _NEVER

    def parts(self) -> tuple[bytes, ...]:
        count = self._seed.n_children_spawned
        if self.seen is not _UNSEEN:
            self.word = self.seen[0]
        return (struct.pack("<I", count),)

    def restore(self, parts: tuple[bytes, ...]) -> None:
        (count,) = struct.unpack("<I", parts[0])
        if count > self._seed.n_children_spawned and self.seen is not _UNSEEN:
            self.seen[0] = count  # as if it had spawned them: they may be very many
        if count > self._seed.n_children_spawned:  # it can only go forwards
            self._seed.spawn(count - self._seed.n_children_spawned)


def _memory(obj: Any) -> memoryview:
    """Return the memory of an object, from its identity on; empty where that is no address."""
    size = type(obj).__basicsize__ if sys.implementation.name == "cpython" else 0
    return memoryview((ctypes.c_char * size).from_address(id(obj))).cast("B")


def _find(obj: Any, content: bytes) -> memoryview | None:
    """Return that part of an object's own memory which is `content`, if it is there."""
    memory = _memory(obj)
    begin = bytes(memory).find(content)
    return None if begin < 0 else memory[begin : begin + len(content)]


def _find_gauss(owner: Any) -> memoryview | None:
    """Return the memory of a `RandomState` in which it keeps a normal number, and whether."""
    from numpy.random import MT19937, RandomState

    probe = RandomState(MT19937(0))
    found = []
    for has_gauss in (0, 1):
        gauss = {"has_gauss": has_gauss, "gauss": 1.2345678901234567e-5}
        probe.set_state({**probe.get_state(legacy=False), **gauss})
        found.append(bytes(_memory(probe)).find(struct.pack("<ixxxxd", *gauss.values())))
    begin = found[0]
    return _memory(owner)[begin : begin + 16] if begin >= 0 and found[1] == begin else None


def canonical(rng: Any) -> Any:
    """Return the object that has the position: of NumPy's `Generator` its bit generator."""
    numpy = sys.modules.get("numpy.random")
    if numpy is not None and isinstance(rng, numpy.Generator):
        return rng.bit_generator
    return rng


def seed_of(rng: Any) -> Any:
    """Return the `SeedSequence` that an RNG of NumPy was made from and spawns from, or None.

    It counts as an RNG: it generates the seeds of further ones.
    """
    seed = getattr(canonical(rng), "seed_seq", None)
    return seed if is_rng(seed) else None


def rng_types() -> tuple[type, ...]:
    """Return the types of RNGs that the program can have made."""
    found: list[type] = [random.Random]
    numpy = sys.modules.get("numpy.random")
    if numpy is not None:
        found += (numpy.Generator, numpy.RandomState, numpy.BitGenerator, numpy.SeedSequence)
    torch = sys.modules.get("torch")
    if torch is not None and hasattr(torch, "Generator"):
        found.append(torch.Generator)
    return tuple(found)


def is_rng(value: Any) -> bool:
    """Return whether this is an RNG that has a state."""
    return isinstance(value, rng_types()) and not isinstance(value, random.SystemRandom)


def track(rng: Any) -> TrackedRng:
    """Return what reads and restores the position of an RNG."""
    rng = canonical(rng)
    kind = type(rng).__name__
    if isinstance(rng, random.Random):
        if type(rng).getstate is random.Random.getstate:
            return _Python(rng)
        return _Opaque(kind, rng.getstate, rng.setstate)
    if hasattr(rng, "n_children_spawned"):
        return _Children(rng)
    if hasattr(rng, "get_state"):
        if type(rng).__module__.partition(".")[0] == "torch":
            return _Torch(rng)
        bits = rng._bit_generator  # noqa: SLF001  # there is no public way from a RandomState
        if type(bits).__name__ == "MT19937":
            return _Twister(bits, rng)
        return _Opaque(kind, lambda: rng.get_state(legacy=False), rng.set_state)
    if kind == "MT19937":
        return _Twister(rng)
    if kind in ("PCG64", "PCG64DXSM"):
        return _Pcg(rng)
    return _Opaque(kind, lambda: rng.state, lambda state: setattr(rng, "state", state))


def put_back(name: str, tracked: TrackedRng, parts: tuple[bytes, ...]) -> None:
    """Set an RNG to a position that was stored.

    Raises
    ------
    CodecError
        What is stored is no position of it.
    """
    try:
        tracked.restore(parts)
    except Exception as error:
        raise CodecError(
            f"where the random generator {name!r} stood cannot be restored: "
            f"{type(error).__name__}: {error}. Is its library another version than the one that "
            "the run was stored with? Use that one, or leave random numbers alone with rng=None."
        ) from error


def defaults() -> Iterator[tuple[str, Any]]:
    """Yield the default RNGs of what is imported, by the names that they are stored under."""
    yield "random", random._inst  # noqa: SLF001
    if "numpy.random" in sys.modules:
        from numpy.random import mtrand

        yield "numpy.random", mtrand._rand  # noqa: SLF001
    torch = sys.modules.get("torch")
    if torch is not None and hasattr(torch, "default_generator"):
        yield "torch", torch.default_generator
        for number, rng in enumerate(torch.cuda.default_generators):
            yield f"torch.cuda {number}", rng
