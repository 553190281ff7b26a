"""The errors of a store are errors of trax, and keys are checked by all stores in one way."""

from __future__ import annotations

import pickle

import pytest

from trax import StorageError
from trax.replica.seam import Away, Missing, Refused, check_key
from trax.storage.filenames import encode_run


@pytest.mark.parametrize("kind", [Away, Missing, Refused])
def test_its_errors_are_caught_with_those_of_the_disk(kind: type[StorageError]) -> None:
    with pytest.raises(StorageError, match="why"):
        raise pickle.loads(pickle.dumps(kind("why")))


@pytest.mark.parametrize("name", ["run", "a b", ".hidden.", "ü", "100%", "a~1", "x" * 200, "-"])
def test_the_encoded_name_of_any_run_can_be_a_part_of_a_key(name: str) -> None:
    check_key(f"runs/{encode_run(name)}/00000001")


@pytest.mark.parametrize("key", ["a\n", "a\\b", "a b", "a:b", "../a", "a/./b", "\0"])
def test_what_a_store_could_misunderstand_is_no_key(key: str) -> None:
    with pytest.raises(ValueError, match="cannot be the key"):
        check_key(key)
