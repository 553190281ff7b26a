"""Versions of the digests of arguments and code that checkpoints contain.

A digest says in which version of trax's way it was made: ``"2:9f0c..."``. Those without a version
are of version 1, the only one so far. Two versions give the same thing different digests, so
only digests of one version can be compared: another way to make them needs a version of its own,
and still makes those of the former ones, for what is stored.
"""

from __future__ import annotations

__all__ = ["are_comparable", "version_of"]


def version_of(digest: str) -> str:
    """Return the version of a digest, in digits."""
    return digest.rpartition(":")[0] or "1"


def are_comparable(one: str, two: str) -> bool:
    """Return whether two digests are made in the same way."""
    return version_of(one) == version_of(two)
