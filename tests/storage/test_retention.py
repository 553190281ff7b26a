"""What may be removed of a run."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from trax.storage.filenames import FileName
from trax.storage.retention import removable


def files(text: str) -> list[FileName]:
    """Return files as written: ``c1`` is a checkpoint, ``l1`` its log."""
    kinds = {"c": "checkpoint", "l": "log"}
    return [FileName(kinds[word[0]], int(word[1:])) for word in text.split()]


@pytest.mark.parametrize(
    ("stored", "whole", "keep", "removed"),
    [
        ("", [], 1, ""),
        ("l1", [], 1, ""),
        ("c1 l1", [1], 1, ""),
        ("c1 l1 c2 l2", [1, 2], 2, ""),
        ("c1 l1 c2 l2", [2], 2, ""),  # nobody has seen that the first one is whole
        ("c1 l1 c2 l2", [2], 1, "c1 l1"),
        ("c1 l1 c2 l2 c3 l3", [1, 2, 3], 2, "c1 l1"),
        ("c1 l1 c2 l2 c3 l3", [2, 3], 2, "c1 l1"),
        ("c1 l1 c2 l2 c3 l3", [1, 3], 2, ""),  # the first one is kept in place of the second
        ("c1 l1 l2 l3 c4 l4", [1, 4], 1, "c1 l1 l2 l3"),  # logs without a checkpoint
        ("l1 l2 c3 l3 l4", [3], 1, "l1 l2"),
        ("c1 l1 l2 c3 l3", [1, 3], 2, ""),  # the second log leads from one to the other
        ("c3 l3 c2 l2 l1 c1", [1, 2, 3], 1, "c1 l1 c2 l2"),  # in whatever order they are listed
        ("l2 c3 l3", [2, 3], 2, ""),  # one is gone; its log is needed no less
        ("c9 l9 c10 l10", [9, 10], 1, "c9 l9"),
    ],
)
def test_what_no_kept_checkpoint_needs_is_removed_oldest_first(
    stored: str, whole: list[int], keep: int, removed: str
) -> None:
    """Nothing of the oldest checkpoint that is kept goes, and nothing of a later one."""
    assert removable(files(stored), whole, keep) == files(removed)


def test_files_are_not_listed_while_all_are_needed() -> None:
    """So the first checkpoints of a run cost no listing."""

    def listed() -> Iterator[FileName]:
        raise AssertionError
        yield

    assert removable(listed(), [1], 2) == []
