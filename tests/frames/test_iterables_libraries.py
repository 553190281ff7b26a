"""Loops over what scientific libraries hand out go on with the same items."""

from __future__ import annotations

import random
from collections.abc import Iterator
from io import StringIO
from typing import Any

import numpy as np
import pytest
from looping import check


def test_splits_of_scikit_learn() -> None:
    selection: Any = pytest.importorskip("sklearn.model_selection")

    def loop() -> Iterator[Any]:
        folds = selection.KFold(3, shuffle=True, random_state=5)
        for train, test in folds.split(np.arange(6)):
            yield train.tolist(), test.tolist(), random.random()
        for number, (train, _) in enumerate(folds.split(np.arange(6))):
            yield number, train.tolist()
        for parameters in selection.ParameterGrid({"a": [1, 2], "b": [3]}):
            yield parameters

    check(loop)


def test_rows_and_groups_of_pandas() -> None:
    pandas: Any = pytest.importorskip("pandas")

    def loop(frame: Any) -> Iterator[Any]:
        for index, row in frame.iterrows():
            yield index, row.tolist()
        for line in frame.itertuples():
            yield tuple(line)
        for key, group in frame.groupby("a"):
            yield key, group.values.tolist()
        for name, column in frame.items():
            yield name, column.tolist()
        for value in frame.a:
            yield value

    check(loop, lambda: (pandas.DataFrame({"a": [1, 1, 2], "b": [0.5, 0.25, 1.0]}),))


def test_pieces_of_a_table() -> None:
    """They are read from a text, which is read from its beginning once more."""
    pandas: Any = pytest.importorskip("pandas")

    def loop(text: str) -> Iterator[Any]:
        for piece in pandas.read_csv(StringIO(text), chunksize=2):
            yield piece.values.tolist()
        for number, piece in enumerate(pandas.read_csv(StringIO(text), chunksize=2)):
            yield number, piece.values.tolist()

    check(loop, lambda: ("a,b\n1,2\n3,4\n5,6\n",))
