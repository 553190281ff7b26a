"""Puts objects back to the content that they came back with, after lines that make others again.

Such lines may change what is stored, as a header does that they write into the buffer of a
`csv.writer`: they had done so before the frame was stored.
"""

from __future__ import annotations

import contextlib
import io
import pickle
from collections.abc import Container, Iterator, Mapping
from typing import Any

from trax.frames.contents import VALUES, Contents, is_iterator
from trax.frames.facets import Facet

__all__ = ["PutBack"]


class PutBack:
    """The content of objects at one time, and what it takes to give it to them again.

    Parameters
    ----------
    named : mapping of str to object
        Objects by name; those that they lead to belong to them.
    others : container of int
        The ids of objects that may change.
    """

    def __init__(self, named: Mapping[str, Any], others: Container[int] = ()) -> None:
        self._contents = Contents()
        self._objects: dict[int, Any] = {}  # by id, under which pickles refer to them
        self._find([*named.values()], others)
        self._before = {key: self._pickled(obj) for key, obj in self._objects.items()}

    def _find(self, waiting: list[Any], others: Container[int]) -> None:
        while waiting:
            obj = waiting.pop()
            if type(obj) in VALUES or id(obj) in self._objects or id(obj) in others:
                continue
            if is_iterator(obj) or self._contents.is_value(obj):
                continue
            self._objects[id(obj)] = obj
            with contextlib.suppress(Exception):  # such as that of a __getstate__
                waiting += [value for facet in self._facets(obj) for value in facet.values(obj)]

    def _facets(self, obj: Any) -> tuple[Facet, ...]:
        return self._contents.facets(obj) or ()

    def _pickled(self, obj: Any) -> bytes | None:
        """Return the pickle of an object's own content; None for what cannot be stored."""
        file = io.BytesIO()
        try:
            _Pickler(file, self._objects).dump([each.content(obj) for each in self._facets(obj)])
        except Exception:  # noqa: BLE001  # a __getstate__ may raise anything
            return None
        return file.getvalue()

    def restore(self) -> Iterator[Any]:
        """Put the changed objects back in place; yield those of which this is impossible."""
        work: list[tuple[Facet, Any, Any]] = []
        for key, before in self._before.items():
            obj = self._objects[key]
            if before is None or self._pickled(obj) in (before, None):
                continue
            content = _Unpickler(io.BytesIO(before), self._objects).load()
            pairs = [*zip(self._facets(obj), content, strict=True)]
            if any(facet.misfit(obj, stored) for facet, stored in pairs):
                yield obj
            else:
                work += [(facet, obj, stored) for facet, stored in pairs]
        for facet, obj, stored in sorted(work, key=lambda one: one[0].rank):
            facet.restore(obj, stored)


class _Pickler(pickle.Pickler):
    """Refers to the objects that are known by their ids."""

    def __init__(self, file: io.BytesIO, known: Mapping[int, Any]) -> None:
        super().__init__(file, pickle.HIGHEST_PROTOCOL)
        self._known = known

    def persistent_id(self, obj: Any) -> int | None:
        key = id(obj)
        return key if key in self._known else None


class _Unpickler(pickle.Unpickler):
    def __init__(self, file: io.BytesIO, known: Mapping[int, Any]) -> None:
        super().__init__(file)
        self._known = known

    def persistent_load(self, pid: int) -> Any:
        return self._known[pid]
