"""Takes objects apart for a pickle that pickle itself would store wrongly, or refuse.

Strategy: a pickler asks a table for the reduction of each type that it meets. The table finds it
when the first object of the type is met, and looks for the type by its name, so that no library is
imported for it. A subclass that is pickled in a way of its own is left alone.

Pickles refer to the public functions of this module by name.
"""

from __future__ import annotations

import ast
import copyreg
import gc
import importlib
import itertools
import sys
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from operator import attrgetter, length_hint, methodcaller
from random import Random
from types import FunctionType, MappingProxyType, ModuleType
from typing import Any, NoReturn
from weakref import WeakKeyDictionary, WeakValueDictionary

from trax.storage.array_memory import Arrays, Blocks, reduce_locked, reduce_mapped, storage_memory
from trax.storage.definitions import full_name
from trax.storage.exceptions import reduce_exception
from trax.storage.refusals import ADVICE, RefusedError

__all__ = [
    "Reductions",
    "named",
    "own_storage",
    "refuse",
    "set_grad",
    "set_python_rng",
    "shared_storage",
    "storage_over",
    "typed_storage",
    "untyped_storage",
]

_PROTOCOL = 5
_IMMUTABLE = (tuple, frozenset, str, bytes, int, float)
_HOOKS = ("__reduce_ex__", "__reduce__", "__getstate__")
_GLOBAL_RNGS = {"random": "_inst", "numpy.random.mtrand": "_rand", "torch": "default_generator"}

_Reduction = Callable[[Any], Any]
_as_ever: _Reduction = methodcaller("__reduce_ex__", _PROTOCOL)


class Reductions(dict[type, _Reduction]):
    """The reductions for one pickle, by type.

    Parameters
    ----------
    shared : mapping of type to callable
        Reductions of objects that are also outside of this pickle, such as RNGs. That of `object`
        gets a class and its reduction, and returns the one for objects that may be outside.
    blocks : Blocks, optional
        The memory that several arrays share.

    Attributes
    ----------
    met : Met
        The objects that the pickle has met.
    others : dict of type to callable
        Reductions of types that have none here.
    """

    def __init__(self, shared: Mapping[type, _Reduction], blocks: Blocks | None = None) -> None:
        super().__init__()
        self.met = Met(blocks or Blocks(), shared)
        self.others: dict[type, _Reduction] = {}
        self._shared = shared

    def has_met(self, kinds: tuple[type, ...]) -> bool:
        """Return whether the pickle has objects of certain kinds."""
        return any(issubclass(kind, kinds) for kind in self)

    def of_functions(self) -> _Reduction | None:
        """Return the reduction of functions that no name leads to; None if there is none."""
        return self._shared.get(FunctionType)

    def __missing__(self, kind: type) -> _Reduction:
        if issubclass(kind, type):  # a class is stored by its name
            raise KeyError(kind)
        reduction = self[kind] = self._find(kind)
        return reduction

    def _find(self, kind: type) -> _Reduction:
        if kind in copyreg.dispatch_table:
            return copyreg.dispatch_table[kind]
        if kind is object:
            return self.met.sentinel
        if issubclass(kind, BaseException):
            return reduce_exception
        alike = [full_name(base) for base in kind.__mro__[:-1] if _is_pickled_alike(kind, base)]
        own = next((_OWN[name] for name in alike if name in _OWN), None)
        if own is not None:
            return partial(own, self.met)
        if kind in self._shared:
            return self._shared[kind]
        advice = next((ADVICE[name] for name in alike if name in ADVICE), "")
        if advice:
            return partial(_refuse, advice)
        if kind in self.others:
            return self.others[kind]
        if _has_lost_slots(kind):
            return _as_with_slots
        names = _singletons(kind)
        alone = partial(_singleton, names) if names else _as_ever
        outer: Any = self._shared.get(object)
        return outer(kind, alone) if outer is not None else alone


def _is_pickled_alike(kind: type, base: type) -> bool:
    return kind is base or all(getattr(kind, hook) is getattr(base, hook) for hook in _HOOKS)


def _refuse(advice: str, obj: Any) -> Any:
    raise RefusedError(obj, advice)


def refuse(obj: Any) -> NoReturn:
    """Refuse an object that a reduction of its type cannot take apart either."""
    names = map(full_name, type(obj).__mro__)
    raise RefusedError(obj, next((ADVICE[name] for name in names if name in ADVICE), ""))


class Met:
    """The objects that one pickle has met, and the reductions of those that depend on others.

    The table refers to it, and it does not refer to the table: arrays must not outlive a pickle.
    """

    def __init__(self, blocks: Blocks, shared: Mapping[type, _Reduction]) -> None:
        self._blocks = blocks
        self._shared = shared
        self._arrays = Arrays()
        self._apart: set[int] = set()
        self._global: set[int] = set()
        self._has_searched = False

    def find_blocks(self) -> Blocks:
        """Return the memory that arrays share."""
        return self._arrays.find_blocks(self._apart)

    def is_global(self, part: Any) -> bool:
        """Return whether an object is a global RNG, which was stored by its name."""
        return id(part) in self._global

    def array(self, array: Any) -> Any:
        """Reduce a NumPy array."""
        base = array.base
        if base is None:
            self._arrays.owners.append(array)
        elif (mapped := self._arrays.add_view(array, base)) is not None:
            return _reduce_mapped(array, mapped)
        if id(array) in self._apart:
            return array.__reduce_ex__(_PROTOCOL)
        if self._blocks.begins and (reduced := self._blocks.reduce(array)) is not None:
            return reduced
        if (locked := reduce_locked(array)) is not None:
            self._apart.add(id(locked[1][0]))  # its memory is no other array that shares it
            return locked
        return array.__reduce_ex__(_PROTOCOL)

    def pandas(self, part: Any) -> Any:
        """Reduce a part of a data frame, whose arrays stay separate.

        pandas copies shared memory when it is written to, but only if pandas itself has shared it.
        """
        for block in getattr(part, "blocks", (part,)):
            values = block.values
            for array in (values, *getattr(values, "__dict__", {}).values()):
                self._arrays.owners.append(array)  # a reference, so that its id is not used again
                self._apart.add(id(array))
            self._apart.add(id(getattr(values, "_ndarray", None)))
        return part.__reduce_ex__(_PROTOCOL)

    def rng(self, rng: Any) -> Any:
        """Reduce an RNG: a global one to its name."""
        for module, name in _GLOBAL_RNGS.items():
            if getattr(sys.modules.get(module), name, None) is rng:
                self._global.add(id(rng))
                return named, (module, name)
        return self._shared.get(type(rng), _as_ever)(rng)

    def python_rng(self, rng: Any) -> Any:
        """Reduce an RNG of Python; one of a subclass with its attributes, which pickle drops."""
        reduced = self.rng(rng)
        if type(rng) is Random or reduced[0] is not type(rng):
            return reduced
        state = reduced[2], object.__getstate__(rng)
        return copyreg.__newobj__, (type(rng),), state, None, None, set_python_rng  # type: ignore[attr-defined]

    def bits(self, bits: Any) -> Any:
        """Reduce a bit generator of NumPy: the global one to the function that returns it."""
        get = sys.modules["numpy.random"].get_bit_generator
        if bits is not get():
            return self._shared.get(type(bits), _as_ever)(bits)
        self._global.add(id(bits))
        return get, ()

    def storage(self, storage: Any) -> Any:
        """Reduce the memory of tensors of PyTorch, which NumPy arrays may share."""
        if storage.device.type != "cpu" or "numpy" not in sys.modules:
            # PyTorch stores an untyped storage, too, but cannot load it.
            return untyped_storage, typed_storage(storage, sys.modules["torch"].uint8).__reduce__()
        memory = storage_memory(storage)
        if storage.is_shared():
            return shared_storage, (memory,)
        return (storage_over if self._blocks.reduce(memory) else own_storage), (memory,)

    def sentinel(self, obj: Any) -> Any:
        """Reduce a bare ``object()``: a variable of a module or a class to its name."""
        if not _is_at(obj, *_sentinels.get(id(obj), ("", ""))) and not self._has_searched:
            self._has_searched = True
            _sentinels.clear()
            _sentinels.update(_find_sentinels())
        place = _sentinels.get(id(obj), ("", ""))
        return (named, place) if _is_at(obj, *place) else obj.__reduce_ex__(_PROTOCOL)


def _reduce_mapped(array: Any, root: Any) -> Any:
    """Reduce an array in the memory of a file or of other processes, which `root` has mapped."""
    mode = getattr(root, "mode", None)
    if mode == "r" and root.filename is not None:
        return reduce_mapped(array, root)
    if mode is None:
        raise RefusedError(array, ADVICE["mmap.mmap"], "its memory is shared with other processes")
    advice = "Keep a plain array in the state, or open the file inside the loop."
    raise RefusedError(array, advice, "it is mapped to a file that is open for writing")


# -- names ---------------------------------------------------------------------------------

_sentinels: dict[int, tuple[str, str]] = {}  # the modules and the names of sentinels, by id


def named(module: str, name: str) -> Any:
    """Return a variable of a module, or an attribute of one.

    The name of its module is stored: pickle would search all modules for an object without one.
    """
    return attrgetter(name)(importlib.import_module(module))


def _is_at(obj: Any, module: str, name: str) -> bool:
    try:
        return attrgetter(name)(sys.modules.get(module)) is obj
    except AttributeError:
        return False


def _find_sentinels() -> Iterator[tuple[int, tuple[str, str]]]:
    """Yield where each bare object is found; modules other than the script count most."""
    for module, found in sorted(sys.modules.items(), key=lambda item: item[0] != "__main__"):
        if issubclass(type(found), ModuleType) and module != "__mp_main__":
            # Without asking for an attribute: that may load a module, or give a warning.
            for name, value in _bare(module, object.__getattribute__(found, "__dict__"), ""):
                yield id(value), (module, name)


def _bare(module: str, values: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, Any]]:
    for name, value in list(values.items()):
        if type(value) is object:
            yield prefix + name, value
        elif issubclass(type(value), type) and f"{module}.{prefix}{name}" == full_name(value):
            yield from _bare(module, vars(value), f"{prefix}{name}.")


def _singletons(kind: type) -> dict[int, str]:
    """Return the variables of a class's module that are its objects, if these are compared by `is`.

    Empty for a class whose objects are pickled in a way of their own.
    """
    module = sys.modules.get(kind.__module__)
    hooks = _HOOKS if issubclass(kind, _IMMUTABLE) else (*_HOOKS, "__eq__")
    if module is None or any(getattr(kind, hook) is not getattr(object, hook) for hook in hooks):
        return {}
    return {id(value): name for name, value in list(vars(module).items()) if type(value) is kind}


def _singleton(names: dict[int, str], obj: Any) -> Any:
    """Reduce an object to its name if it has one, and has no state.

    Nor is one with attributes a value, although it is a tuple or a text: a kind of token, say.
    """
    reduced = obj.__reduce_ex__(_PROTOCOL)
    if id(obj) not in names:
        return reduced
    if isinstance(obj, _IMMUTABLE):
        return names[id(obj)] if getattr(obj, "__dict__", None) else reduced
    is_bare = reduced == (copyreg.__newobj__, (type(obj),), None, None, None)  # type: ignore[attr-defined]
    return names[id(obj)] if is_bare else reduced


# -- slots ---------------------------------------------------------------------------------


def _has_lost_slots(kind: type) -> bool:
    """Return whether a class has the names of slots without the slots, as copies by cloudpickle."""
    slots = copyreg._slotnames(kind) if _is_pickled_alike(kind, object) else ()  # type: ignore[attr-defined]  # noqa: SLF001
    return not all(hasattr(kind, name) for name in slots)


def _as_with_slots(obj: Any) -> Any:
    """Reduce an object without its slots as one that has them: each value is stored once."""
    make, arguments, state, *others = obj.__reduce_ex__(_PROTOCOL)
    if type(state) is tuple:
        attributes, slots = state
        own = {name: value for name, value in attributes.items() if name not in slots}
        state = own or None, slots
    return make, arguments, state or None, *others


# -- weak references -----------------------------------------------------------------------


def _weak_mapping(_: Met, mapping: Any) -> Any:
    """Reduce a mapping with weak references to its items that are still there."""
    if type(mapping) not in (WeakKeyDictionary, WeakValueDictionary):
        return mapping.__reduce_ex__(_PROTOCOL)
    return type(mapping), (), None, None, iter([*mapping.items()])


def set_python_rng(rng: Any, state: tuple[Any, Any]) -> None:
    """Give an RNG of Python its attributes and its position."""
    position, own = state
    for attributes in own if type(own) is tuple else (own,):
        for name, value in (attributes or {}).items():
            setattr(rng, name, value)
    rng.setstate(position)


# -- views ---------------------------------------------------------------------------------


def _view(name: str, _: Met, view: Any) -> Any:
    """Reduce a view of a dict to the dict, which may change."""
    (viewed,) = gc.get_referents(view)
    return methodcaller(name), (viewed,)


def _proxy(_: Met, proxy: Any) -> Any:
    """Reduce a read-only view of a mapping to the mapping; that of a class is a copy."""
    (mapping,) = gc.get_referents(proxy)
    is_of_class = "__module__" in mapping and "__doc__" in mapping
    return MappingProxyType, (dict(mapping) if is_of_class else mapping,)


# -- iterators -----------------------------------------------------------------------------


def _count(_: Met, counter: Any) -> Any:
    """Reduce an `itertools.count` to the numbers that its representation shows."""
    try:
        start = ast.literal_eval(repr(counter).removeprefix("count"))
    except ValueError:  # not plain numbers
        numbers = [one for one in gc.get_referents(counter) if one is not type(counter)]
        return itertools.count, tuple(numbers)
    return itertools.count, start if isinstance(start, tuple) else (start,)


def _repeat(_: Met, repeat: Any) -> Any:
    """Reduce an `itertools.repeat` to the object that it refers to, and the times that are left."""
    referents = [each for each in gc.get_referents(repeat) if each is not itertools.repeat]
    left = length_hint(repeat, -1)
    return itertools.repeat, ((referents or [itertools.repeat])[0], *([left] * (left >= 0)))


# -- PyTorch -------------------------------------------------------------------------------


def _tensor(_: Met, tensor: Any) -> Any:
    """Reduce a tensor, together with its gradient."""
    if not tensor.is_leaf:
        advice = "Yield after backward(), and store its item() or detach() instead."
        raise RefusedError(tensor, advice, "it is part of a graph of gradients")
    reduced = tensor.__reduce_ex__(_PROTOCOL)
    if tensor.grad is None:
        return reduced
    return (*reduced, tensor.grad, None, None, set_grad)


def set_grad(tensor: Any, grad: Any) -> None:
    """Set the gradient of a tensor."""
    tensor.grad = grad


def _typed_storage(_: Met, storage: Any) -> Any:
    """Reduce a storage with a type to its memory, which other tensors may share."""
    return typed_storage, (storage._untyped_storage, storage.dtype)  # noqa: SLF001


def typed_storage(untyped: Any, dtype: Any) -> Any:
    """Return a storage with a type, as the functions of PyTorch that make tensors expect it."""
    import torch

    return torch.storage.TypedStorage(wrap_storage=untyped, dtype=dtype, _internal=True)


def untyped_storage(load: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
    """Return a storage that a function of PyTorch loads, without its type."""
    return load(*arguments)._untyped_storage  # noqa: SLF001


def own_storage(memory: Any) -> Any:
    """Return a storage with a copy of the memory of a NumPy array, aligned as PyTorch does it."""
    import torch

    return torch.from_numpy(memory).clone().untyped_storage()


def storage_over(memory: Any) -> Any:
    """Return a storage in the memory of a NumPy array."""
    import torch

    return torch.from_numpy(memory).untyped_storage()


def shared_storage(memory: Any) -> Any:
    """Return a storage with a copy of the memory of a NumPy array, shared with later processes."""
    return own_storage(memory).share_memory_()


# -- properties ----------------------------------------------------------------------------


def _cached_property(_: Met, one: Any) -> Any:
    """Reduce a `functools.cached_property`, which has a lock in Python 3.11."""
    state = {name: value for name, value in vars(one).items() if name != "lock"}
    return type(one), (one.func,), state


_OWN: dict[str, Callable[[Met, Any], Any]] = {
    **{
        f"builtins.{kind}_{name}": partial(_view, name)
        for kind in ("dict", "odict")
        for name in ("keys", "values", "items")
    },
    "builtins.mappingproxy": _proxy,
    "functools.cached_property": _cached_property,
    "itertools.count": _count,
    "itertools.repeat": _repeat,
    "numpy.ndarray": Met.array,
    "numpy.random.bit_generator.BitGenerator": Met.bits,
    "numpy.random.mtrand.RandomState": Met.rng,
    "pandas._libs.internals.Block": Met.pandas,
    "pandas.core.internals.managers.SingleBlockManager": Met.pandas,
    "random.Random": Met.python_rng,
    "torch.Tensor": _tensor,
    "torch._C.Generator": Met.rng,
    "torch.nn.parameter.Parameter": _tensor,
    "torch.storage.TypedStorage": _typed_storage,
    "torch.storage.UntypedStorage": Met.storage,
    "weakref.WeakKeyDictionary": _weak_mapping,
    "weakref.WeakValueDictionary": _weak_mapping,
}
