"""Names of trax in the pickles of older versions lead to the present ones."""

from __future__ import annotations

import sys

import pytest
from support import PUBLIC

from trax import CodecError
from trax.storage.codec import Encoded, Names, decode, decode_finding
from trax.storage.former_names import FORMER_NAMES
from trax.storage.records import PICKLE


@pytest.mark.parametrize("former", FORMER_NAMES)
def test_every_former_name_has_a_public_one(former: str) -> None:
    """One that the tests of public names cover."""
    package, _, name = FORMER_NAMES[former].rpartition(".")
    assert (sys.modules[package], name) in PUBLIC


@pytest.mark.parametrize(("former", "present"), FORMER_NAMES.items())
def test_a_former_name_of_trax_is_found(former: str, present: str) -> None:
    """In all ways of loading a pickle, also together with other renames."""
    module, _, name = former.rpartition(".")
    package, _, public = present.rpartition(".")
    expected = getattr(sys.modules[package], public)
    pickled = f"c{module}\n{name}\n.".encode()
    encoded = Encoded(PICKLE, pickled, [])
    assert decode(pickled, "state") is decode(encoded, "state") is expected
    assert decode(pickled, "state", Names({"old": "new"})) is expected
    assert decode_finding(encoded, "state", [0])[0] is expected


def test_a_former_name_is_found_beside_one_that_is_missing() -> None:
    """The error is about the other one."""
    with pytest.raises(CodecError, match=r"old\.World cannot be imported"):
        decode(b"(ctrax.loop\nStep\ncold\nWorld\nt.", "state")


def test_a_name_that_the_user_gives_counts_more_than_a_former_one() -> None:
    """The user knows the stored classes better."""
    assert decode(b"ctrax.loop\nStep\n.", "state", Names({"trax.loop.Step": "builtins.int"})) is int
