"""Findings: the reasons for which a loop would not resume exactly, each with its place and ways."""

from __future__ import annotations

from typing import Final, NamedTuple

__all__ = ["DROP_CREATE", "Finding"]

DROP_CREATE: Final = "Or leave out create=, and trax keeps the loop's local variables."


class Finding(NamedTuple):
    """One reason for which a loop would not resume exactly.

    Attributes
    ----------
    line : int
        The line of the file.
    rank : int
        How certain it is: 0 for the most certain.
    kind : str
        A word for its kind.
    subject : str
        The variable or the text that it is about. Of one subject, only one finding is told.
    cause : str
        The reason.
    ways : tuple of str
        What to write instead.
    """

    line: int
    rank: int
    kind: str
    subject: str
    cause: str
    ways: tuple[str, ...]
