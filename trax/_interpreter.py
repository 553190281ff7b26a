"""Refuses an isolated subinterpreter, in which trax cannot be imported."""

from __future__ import annotations

import threading

# It has no daemon threads, and either refuses compiled modules that trax needs or crashes later.
try:
    threading.Thread(daemon=True)
except RuntimeError:
    raise ImportError(
        "trax cannot be imported in an isolated subinterpreter.\n"
        "Run the loop in the main interpreter.\n"
        "Or run it in a process of its own, as with concurrent.futures.ProcessPoolExecutor."
    ) from None
