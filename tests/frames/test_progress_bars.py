"""A new bar of tqdm begins where the one of before was."""

from __future__ import annotations

import itertools
import sys
from typing import Any

import pytest
from copying import check_copies, copy
from tqdm import tqdm, trange

from trax.frames.iterators import reductions
from trax.frames.loading import loading
from trax.storage.codec import decode, encode


@pytest.mark.parametrize("is_disabled", [False, True])
def test_loops_over_bars_go_on(is_disabled: bool) -> None:
    check_copies(lambda: iter(tqdm("abcd", disable=is_disabled)))
    check_copies(lambda: iter(trange(5, disable=is_disabled)))
    check_copies(lambda: enumerate(tqdm(map(str, range(3)), total=3, disable=is_disabled)))


def test_the_count_goes_on(capsys: pytest.CaptureFixture[str]) -> None:
    bar = tqdm("abcdef", desc="letters", mininterval=0, unit="x")
    iterator = iter(bar)
    for _ in range(3):
        next(iterator)
    bar.set_postfix(loss=1)
    bar, iterator = copy((bar, iterator))
    assert (bar.n, bar.total, bar.desc, bar.unit) == (3, 6, "letters", "x")
    assert bar.postfix == "loss=1"
    assert [*iterator] == ["d", "e", "f"]
    assert bar.n == 6
    assert "6/6" in capsys.readouterr().err


def test_a_bar_that_is_updated_by_hand() -> None:
    bar = tqdm(total=10, leave=False, position=2)
    bar.update(4)
    copied = copy(copy(bar))
    copied.update(3)
    assert (copied.n, bar.n, copied.pos, copied.leave) == (7, 4, -2, False)
    bar.close()
    copied.close()


def test_a_bar_that_is_only_looked_at_is_not_drawn(capsys: pytest.CaptureFixture[str]) -> None:
    bar = tqdm("abc")
    next(iterator := iter(bar))
    encoded = encode((bar, iterator), "frame", shared=reductions())
    capsys.readouterr()
    with loading(enters=False):
        copied, _ = decode(encoded, "frame")
    assert copied.n == 1
    del copied
    assert capsys.readouterr().err == ""
    bar.close()


class Bar(tqdm):  # type: ignore[type-arg]
    """A class of the user's."""


def test_own_classes_of_bars() -> None:
    bar: Any = Bar(itertools.chain("ab", "c"), total=3, file=sys.stdout)
    iterator = iter(bar)
    next(iterator)
    bar, iterator = copy((bar, iterator))
    assert type(bar) is Bar
    assert [*iterator] == ["b", "c"]
