"""Memory for bytes that are read: not cleared first, and in large pages where there are some.

To clear memory, and to get it in small pages, takes several times as long as to read a file into it
that the system has in its cache.
"""

from __future__ import annotations

import mmap

__all__ = ["fresh_memory"]

_LARGE = 1 << 22  # bytes; NumPy asks for large pages from this size on, too
_ADVICE = getattr(mmap, "MADV_HUGEPAGE", mmap.MADV_NORMAL)


def fresh_memory(size: int) -> bytearray:
    """Return a bytearray with any content, to be overwritten before it is used."""
    if size >= _LARGE:
        try:
            return _allocate(size)
        except (ImportError, AttributeError, OSError):  # a Python without all of ctypes
            pass
    return bytearray(size)


def _allocate(size: int) -> bytearray:
    import ctypes  # importing trax is faster without it

    make = ctypes.PYFUNCTYPE(ctypes.py_object, ctypes.c_void_p, ctypes.c_ssize_t)(
        ("PyByteArray_FromStringAndSize", ctypes.pythonapi)
    )
    memory: bytearray = make(None, size)
    begin = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    skipped = -begin % mmap.PAGESIZE
    address, length = ctypes.c_void_p(begin + skipped), ctypes.c_size_t(size - skipped)
    ctypes.CDLL(None).madvise(address, length, _ADVICE)  # it is no error if the system has none
    return memory
