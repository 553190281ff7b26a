"""The runs in a store of objects are read as those of a local store are."""

from __future__ import annotations

import pickle
from collections.abc import Sequence

import pytest
from replicas import NAME, Machine, Objects, by_hand  # noqa: F401

from trax import NotFoundError, UntrustedError
from trax.replica.stored_replicas import Replicas
from trax.storage.history_reader import read_batches

pytestmark = pytest.mark.usefixtures("by_hand")


def increments(objects: Objects) -> Sequence[str]:
    """Return the increments in the logs of a replica."""
    batches = read_batches(Replicas(objects), NAME, None, None)
    found = [one for batch in batches for one in batch.increments]
    return [pickle.loads(one if isinstance(one, bytes) else one.payload) for one in found]


def test_it_is_recovered_and_its_history_is_read() -> None:
    objects = Objects()
    machine = Machine(objects, "one")
    machine.do("aatAatcaat")
    reader = Replicas(objects).recover(NAME)
    assert reader is not None
    reader.read()
    assert reader.step == len(machine.values)
    found = increments(objects)
    assert found
    assert found == machine.values[-len(found) :]
    assert Replicas(objects).peek(NAME)["replay_log"] == "unknown"
    machine.close()


def test_one_listing_tells_of_all_runs() -> None:
    objects = Objects()
    machine = Machine(objects, "one")
    machine.do("at")
    objects.contents |= {"runs/other%20run/000000000001": b"?", "runs/.x/1": b"", "probe": b""}
    before = objects.listings
    assert sorted(Replicas(objects).listed()) == [NAME, "other run"]
    assert objects.listings == before + 1
    machine.close()


def test_without_data_there_is_no_run() -> None:
    objects = Objects()
    Machine(objects, "one").kill()  # it has claimed the run
    assert Replicas(objects).open(NAME) is None
    with pytest.raises(NotFoundError, match=f"nothing is stored as '{NAME}' in memory://test"):
        increments(objects)


def test_it_changes_when_a_writer_goes_on() -> None:
    objects = Objects()
    machine = Machine(objects, "one")
    machine.do("at")
    before = Replicas(objects).look(NAME)
    assert Replicas(objects).look(NAME) == before
    machine.do("at")
    assert Replicas(objects).look(NAME) != before
    machine.close()


def test_a_signed_one_needs_the_key(monkeypatch: pytest.MonkeyPatch) -> None:
    """And of a piece that is signed by the image nothing is trusted before all of it was read."""
    monkeypatch.setenv("TRAX_KEY", "ab" * 32)
    objects = Objects()
    machine = Machine(objects, "one")
    machine.do("aalat")
    machine.close()
    assert increments(objects) or Replicas(objects).peek(NAME)
    key = next(key for key in objects.contents if "piece" in key)
    good = objects.contents[key]
    objects.contents[key] = good[:-1] + bytes([good[-1] ^ 1])
    with pytest.raises(Exception, match="other bytes than were written"):
        Replicas(objects).peek(NAME)
    objects.contents[key] = good
    for other in ("cd" * 32, ""):
        monkeypatch.setenv("TRAX_KEY", other)
        with pytest.raises(UntrustedError, match=r"not signed with the key|there is no key"):
            Replicas(objects).open(NAME)
