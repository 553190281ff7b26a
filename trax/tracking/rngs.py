"""The RNGs of the imported libraries: their types, their parts, and the default ones.

They are those of the standard library's `random`, of NumPy, of PyTorch and of numba; a library that
the program has not imported is left alone.
"""

from __future__ import annotations

import ctypes
import random
import struct
import sys
import threading
from collections.abc import Iterator
from types import ModuleType
from typing import Any

from trax.display import show
from trax.errors import UsageError

__all__ = [
    "NUMBA_STATE",
    "WORDS",
    "NumbaRng",
    "bits_of",
    "canonical",
    "check_rng",
    "default_of",
    "defaults",
    "has_numba",
    "importing",
    "is_rng",
    "numpy_random",
    "rng_types",
    "seed_of",
]

_LIBRARIES = ("numpy", "torch", "numba")

WORDS = 624  # of a Mersenne Twister
# Index, words, whether a normal number is saved, it.
NUMBA_STATE = struct.Struct(f"<i{4 * WORDS}sid")

_numba: dict[str, NumbaRng] = {}


class NumbaRng:
    """One of the two RNGs of the functions that numba compiles, in the main thread.

    Parameters
    ----------
    memory : memoryview
        Its memory: index, words, whether a normal number is saved, that number.
    """

    def __init__(self, memory: memoryview) -> None:
        self.memory = memory


def _imported(name: str) -> Any:
    """Return the module of a library; None if it is not imported, or not yet completely.

    In a library that another thread is importing, functions are missing, or crash the process.
    """
    for each in (name.partition(".")[0], name):
        module: Any = sys.modules.get(each)
        if module is None or _is_importing(module):
            return None
    return module


def importing() -> bool:
    """Return whether another thread is importing a library that has RNGs."""
    return any(_is_importing(sys.modules.get(name)) for name in _LIBRARIES)


def _is_importing(module: Any) -> bool:
    return bool(getattr(getattr(module, "__spec__", None), "_initializing", False))


def numpy_random() -> Any:
    """Return `numpy.random`; None if it is not imported, or is something else of that name."""
    numpy = _imported("numpy.random")
    return numpy if hasattr(numpy, "Generator") else None


def canonical(rng: Any) -> Any:
    """Return the object that has the position: for NumPy's `Generator`, its bit generator."""
    numpy = numpy_random()
    if numpy is not None and issubclass(type(rng), numpy.Generator):
        return rng.bit_generator
    return rng


def bits_of(rng: Any) -> Any:
    """Return the bit generator that NumPy's `RandomState` contains; None for any other RNG."""
    numpy = numpy_random()
    if numpy is not None and issubclass(type(rng), numpy.RandomState):
        return rng._bit_generator  # noqa: SLF001  # there is no public attribute for it
    return None


def seed_of(rng: Any) -> Any:
    """Return the `SeedSequence` that an RNG of NumPy was seeded from and spawns from, or None.

    It counts as an RNG: it generates the seeds of further ones.
    """
    rng = canonical(rng)
    seed = rng.seed_seq if hasattr(type(rng), "seed_seq") else None
    return seed if is_rng(seed) else None


def rng_types() -> tuple[type, ...]:
    """Return the types of RNGs in the imported libraries."""
    found: list[type] = [random.Random, NumbaRng]
    numpy = numpy_random()
    if numpy is not None:
        found += (numpy.Generator, numpy.RandomState, numpy.BitGenerator, numpy.SeedSequence)
    torch = _imported("torch")
    if hasattr(torch, "Generator"):
        found.append(torch.Generator)
    return tuple(found)


def is_rng(value: Any) -> bool:
    """Return whether a value is an RNG with a state."""
    kind = type(value)  # not that of an object for which a proxy stands, whose memory is elsewhere
    return issubclass(kind, rng_types()) and not issubclass(kind, random.SystemRandom)


def check_rng(rng: Any) -> tuple[Any, ...] | None:
    """Return the RNGs of the option ``rng=`` as a tuple; None turns all tracking off."""
    if rng is None:
        return None
    named = tuple(rng) if isinstance(rng, (tuple, list)) else (rng,)
    for each in named:
        if not is_rng(default_of(each)):
            raise UsageError(
                f"rng takes RNGs that have a state, a list of them, or None; not {show(each)}.\n"
                "Such RNGs are random.Random, numpy.random.Generator or RandomState, and "
                "torch.Generator; or the modules that have one, as in rng=random.\n"
                "Give None to leave random numbers alone."
            )
    return named


def defaults() -> Iterator[tuple[str, Any]]:
    """Yield the default RNGs of the imported libraries, with the names they are stored under."""
    yield "random", random._inst  # noqa: SLF001
    numpy = numpy_random()
    if numpy is not None:
        yield "numpy.random", numpy.mtrand._rand  # noqa: SLF001
    torch = _imported("torch")
    if hasattr(torch, "default_generator"):
        yield "torch", torch.default_generator
        for number, rng in enumerate(torch.cuda.default_generators):
            yield f"torch.cuda {number}", rng
    if threading.current_thread() is threading.main_thread():  # numba has others in each thread
        yield from _numba_rngs()


def default_of(rng: Any) -> Any:
    """Return the default RNG of a module; anything else, and a module without one, as it is."""
    name = rng.__name__ if isinstance(rng, ModuleType) else ""
    return next((default for place, default in defaults() if name and place == name), rng)


def has_numba() -> bool:
    """Return whether the RNGs of numba can be read in this thread."""
    return any(isinstance(rng, NumbaRng) for _, rng in defaults())


def _numba_rngs() -> Iterator[tuple[str, Any]]:
    helper = _imported("numba._helperlib")
    for name, part in (("numba numpy.random", "np"), ("numba random", "py")):
        if name not in _numba and hasattr(helper, f"rnd_get_{part}_state_ptr"):
            address = getattr(helper, f"rnd_get_{part}_state_ptr")()
            memory = memoryview((ctypes.c_char * NUMBA_STATE.size).from_address(address)).cast("B")
            index, words, *_ = NUMBA_STATE.unpack(memory)
            public = helper.rnd_get_state(address)
            if public == (index, list(struct.unpack(f"<{WORDS}I", words))):
                _numba[name] = NumbaRng(memory)
        if name in _numba:
            yield name, _numba[name]
