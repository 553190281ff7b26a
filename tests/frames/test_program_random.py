"""Random programs go on after each of their yields; `random_programs.py` tries more of them."""

from __future__ import annotations

import pytest
from random_programs import check


@pytest.mark.parametrize("first", range(0, 60, 10))
def test_random_programs_go_on_as_if_nothing_had_happened(first: int) -> None:
    refused = [seed for seed in range(first, first + 10) if check(seed)]
    assert len(refused) <= 1
