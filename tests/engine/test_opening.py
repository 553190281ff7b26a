"""The session of a run, from its parts."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from typing import Any

import trax
from trax.engine.plain_session import PlainSession
from trax.engine.session import Session


def session_of(run: trax.Run[Any, Any, Any]) -> Session:
    """Return the session of a run, open."""
    next(run)
    return run._lifecycle.session


def test_the_state_decides_which_session_it_is() -> None:
    """A declared one, or the loop's local variables."""

    @trax.resumable(create=int)
    def declared(n: int) -> Generator[int, int, None]:
        while n < 3:
            n = yield n + 1

    @trax.resumable
    def plain() -> Iterator[int]:
        yield from range(3)

    with declared() as one, plain() as two:
        assert type(session_of(one)) is Session
        assert type(session_of(two)) is PlainSession
