"""The content of NumPy arrays and of PyTorch's tensors, which is memory."""

from __future__ import annotations

import pickle
import sys
from collections.abc import Iterable
from typing import Any

from xxhash import xxh3_128

from trax.frames.facets import Facet
from trax.storage.array_memory import storage_memory, tensor_memory

__all__ = ["ArrayMemory", "ArrayObjects", "TensorMemory", "arrays_of"]


def _numpy() -> Any:
    return sys.modules["numpy"]


def _plain(array: Any) -> Any:
    """Return an array as one of NumPy's own class, in the same memory."""
    return array.view(_numpy().ndarray)


def _bytes_of(array: Any) -> Any:
    """Return the memory of an array as a flat array of bytes, copied if it has gaps."""
    numpy = _numpy()
    return numpy.ascontiguousarray(_plain(array)).reshape(-1).view(numpy.uint8)


def _owner(array: Any) -> Any:
    """Return the array that has the memory of an array; itself if it does."""
    while isinstance(array.base, _numpy().ndarray):
        array = array.base
    return array


class _Memory(Facet):
    """Elements that have one dtype and a shape, which cannot be given others."""

    def about(self, obj: Any) -> tuple[str, tuple[int, ...]]:
        """Return the dtype and the shape; marks and contents begin with them."""
        return str(obj.dtype), tuple(obj.shape)

    def obstacle(self, obj: Any, before: Any, now: Any) -> str:  # noqa: ARG002
        return _difference(before[:2], now[:2])

    def misfit(self, obj: Any, content: Any) -> str:
        return _difference(content[:2], self.about(obj))


def _difference(before: tuple[str, Any], now: tuple[str, Any]) -> str:
    if before == now:
        return ""
    return f"it was {before[0]} of shape {before[1]}, and is {now[0]} of shape {now[1]}"


class ArrayMemory(_Memory):
    """The memory of an array of numbers."""

    def mark(self, obj: Any) -> Any:
        return *self.about(obj), xxh3_128(_bytes_of(obj) if obj.size else b"").digest()

    def others(self, obj: Any) -> Iterable[tuple[str, Any]]:
        owner = _owner(obj)
        return [] if owner is obj else [(".base", owner)]

    def obstacle(self, obj: Any, before: Any, now: Any) -> str:
        is_fixed = not obj.flags.writeable
        return super().obstacle(obj, before, now) or "it cannot be written to" * is_fixed

    def content(self, obj: Any) -> Any:
        return *self.about(obj), pickle.PickleBuffer(_bytes_of(obj)) if obj.size else b""

    def restore(self, obj: Any, content: Any) -> None:
        numpy = _numpy()
        _, shape, memory = content
        if obj.size:
            numpy.copyto(_plain(obj), numpy.frombuffer(memory, obj.dtype).reshape(shape))


class ArrayObjects(ArrayMemory):
    """The objects in an array of objects."""

    rank = 2

    def values(self, obj: Any) -> list[Any]:
        return [*_plain(obj).flat]

    def mark(self, obj: Any) -> Any:
        return self.about(obj)

    def label(self, values: list[Any], mark: Any, index: int) -> str | None:  # noqa: ARG002
        return f".flat[{index}]"

    def content(self, obj: Any) -> Any:
        return *self.about(obj), self.values(obj)

    def restore(self, obj: Any, content: Any) -> None:
        flat = _plain(obj).flat
        for index, value in enumerate(content[2]):
            flat[index] = value


class TensorMemory(_Memory):
    """The memory of a tensor, and its gradient."""

    def values(self, obj: Any) -> list[Any]:
        return [obj.grad] if obj.is_leaf and obj.grad is not None else []

    def label(self, values: list[Any], mark: Any, index: int) -> str | None:  # noqa: ARG002
        return ".grad"

    def mark(self, obj: Any) -> Any:
        digest = xxh3_128(tensor_memory(obj)).digest()
        return *self.about(obj), obj.requires_grad, obj.is_leaf, digest

    def obstacle(self, obj: Any, before: Any, now: Any) -> str:
        if not obj.is_leaf:
            return "it is part of a graph of gradients; yield after backward()"
        return super().obstacle(obj, before, now)

    def content(self, obj: Any) -> Any:
        memory = pickle.PickleBuffer(tensor_memory(obj)) if obj.numel() else b""
        return *self.about(obj), memory, obj.requires_grad, obj.grad

    def restore(self, obj: Any, content: Any) -> None:
        torch = sys.modules["torch"]
        _, shape, memory, requires_grad, grad = content
        with torch.no_grad():
            if obj.numel():
                flat = torch.frombuffer(bytearray(memory), dtype=torch.uint8)
                obj.detach().copy_(flat.view(obj.dtype).reshape(shape))
        obj.requires_grad_(requires_grad)
        obj.grad = grad


def arrays_of(obj: Any, path: str) -> list[tuple[str, Any]]:
    """Return the array of the memory that an array or a tensor has or lies in, with its path."""
    numpy, torch = sys.modules.get("numpy"), sys.modules.get("torch")
    if numpy is None:
        return []
    if issubclass(type(obj), numpy.ndarray):
        owner = _owner(obj)
        return [(path if owner is obj else f"{path}.base", owner)]
    if torch is None or not issubclass(type(obj), torch.Tensor):
        return []
    if obj.layout is not torch.strided or obj.device.type != "cpu":
        return []
    return [(f"{path}.untyped_storage()", storage_memory(obj.untyped_storage()))]
