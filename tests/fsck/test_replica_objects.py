"""Replicas: every damage is found, only litter goes, and what is removed does not come back."""

from __future__ import annotations

import pytest
from replicas import NAME, Machine, Objects, by_hand, no_answer, read_replica  # noqa: F401

from trax import LockedError, NotFoundError
from trax.fsck.replica_objects import prune_replicas, remove_replica, verify_replica
from trax.replica.chain import Chain
from trax.replica.entry import number_of
from trax.replica.stored_replicas import Replicas

pytestmark = pytest.mark.usefixtures("by_hand")

SCENES = ["aataat", "aalatAt", "otootcotaot", "oatlatot|oat", "cateatx", "atOtlat|cat"]


def done(scene: str, place: str = "one") -> tuple[Objects, Machine]:
    """Return a replica after things were done, and the machine, which goes on."""
    objects = Objects()
    machine = Machine(objects, place)
    machine.do(scene)
    return objects, machine


@pytest.mark.parametrize("scene", SCENES)
def test_all_of_a_replica_is_good_after_any_put(scene: str) -> None:
    objects, machine = done(scene)
    machine.close()
    steps = []
    for image in objects.images():
        if Replicas(image).open(NAME) is not None:
            found = verify_replica(Replicas(image), NAME)
            assert found.good, str(found)
            assert found.step is not None
            steps.append(found.step)
    assert steps == sorted(steps)
    assert steps[-1] == len(machine.values)
    assert "resumes at step" in str(found)


@pytest.mark.parametrize("scene", SCENES)
def test_whichever_object_is_damaged_it_is_named(scene: str) -> None:
    objects, machine = done(scene)
    machine.close()
    directory = Replicas(objects).open(NAME)
    assert directory is not None
    needed = {key for key in objects.contents if number_of(key) in {0, *directory.needed}}
    for key in needed - {"probe"}:
        good = objects.contents[key]
        for place in (0, len(good) // 2, len(good) - 1):
            changed = bytearray(good)
            changed[place] ^= 1
            copy = Objects(objects.contents | {key: bytes(changed)})
            found = verify_replica(Replicas(copy), NAME)
            assert not found.good
            assert any(key in problem for problem in found.problems)
            assert "Put the objects back" in str(found)
            assert found.step is None


def test_output_files_must_have_what_the_steps_wrote() -> None:
    """Whoever has changed the file before it was copied."""
    objects, machine = done("oot")
    machine._path().write_bytes(b"?" * machine._output)
    machine.do("lat")
    machine.close()
    (output,) = verify_replica(Replicas(objects), NAME).outputs
    assert (output.path, output.length, output.present) == ("../out.txt", 6, 6)


def test_without_a_replica_nothing_is_verified() -> None:
    with pytest.raises(NotFoundError, match="nothing is stored as"):
        verify_replica(Replicas(Objects()), NAME)


# -- litter --------------------------------------------------------------------------------


def test_what_a_killed_writer_has_left_goes_once_another_one_has_claimed_the_run() -> None:
    objects, machine = done("aat")
    objects.after_put(2, no_answer)  # the second piece of an image
    machine.do("lt")
    pieces = {key for key in objects.contents if "piece" in key}
    assert pieces
    machine.kill()
    assert prune_replicas(Replicas(objects)).removed == ()  # it may be about to list them
    other = Machine(objects, "two")
    late = f"runs/{NAME}/piece-{machine.replica._chain.writer}-99"
    objects.contents[late] = b"late"
    copy = Objects(objects.contents)
    found = prune_replicas(Replicas(copy), dry_run=True)
    assert late in found.removed
    assert copy.contents == objects.contents
    assert found.freed + found.size == sum(
        len(data) for key, data in objects.contents.items() if key.startswith("runs")
    )
    again = prune_replicas(Replicas(objects))
    assert (again.removed, again.freed) == (found.removed, found.freed)
    assert late not in objects.contents
    other.do("at")
    other.close()
    assert read_replica(objects, "three") == other.values


@pytest.mark.parametrize("scene", SCENES)
def test_a_writer_that_goes_on_is_not_disturbed(scene: str) -> None:
    """Whenever the replica is pruned, after each put."""
    objects = Objects()
    objects.after = lambda key: prune_replicas(Replicas(objects)) if "runs" in key else None
    machine = Machine(objects, "one")
    machine.do(scene)
    machine.close()
    assert verify_replica(Replicas(objects), NAME).good
    assert read_replica(objects, "two") == machine.values


def test_data_that_arrives_late_goes_and_claims_stay() -> None:
    objects, machine = done("at")
    early = dict(objects.contents)
    machine.do("latcat")
    machine.close()
    objects.contents |= early  # requests that the network has repeated
    late = {key for key in early if f"{NAME}/0" in key and b'"kind":"data"' in early[key]}
    found = prune_replicas(Replicas(objects))
    assert set(found.removed) == late
    assert f"runs/{NAME}/000000000001" in objects.contents
    assert read_replica(objects, "two") == machine.values


def test_a_budget_cannot_be_met_by_removing_what_is_needed() -> None:
    objects, machine = done("aat")
    machine.close()
    assert not prune_replicas(Replicas(objects), budget=1).fits
    assert prune_replicas(Replicas(objects), budget=1e6).fits
    assert read_replica(objects, "two") == machine.values


def test_damaged_ones_are_left_alone() -> None:
    objects, machine = done("aat")
    machine.close()
    newest = max(key for key in objects.contents if key.startswith("runs"))
    objects.contents[newest] = b"?"
    found = prune_replicas(Replicas(objects))
    assert (found.removed, found.skipped) == ((), (NAME,))


# -- whole runs ----------------------------------------------------------------------------


@pytest.mark.parametrize("scene", SCENES)
def test_a_run_is_removed_but_for_its_claims(scene: str) -> None:
    """Its writer, which sleeps meanwhile, hears of it, and whoever opens it begins anew."""
    objects, machine = done(scene)
    remove_replica(Replicas(objects), NAME)
    left = [objects.contents[key] for key in sorted(objects.contents) if key.startswith("runs")]
    assert all(b'"kind":"claim"' in data for data in left[:-1])
    assert b'"files":{}' in left[-1]
    assert Replicas(objects).open(NAME) is None
    with pytest.raises(LockedError, match="taken over by process"):
        machine.do("atat")
    machine.kill()
    new = Machine(objects, "new")
    assert new.values == []
    new.do("aat")
    new.close()
    assert read_replica(objects, "other") == new.values
    assert verify_replica(Replicas(objects), NAME).good


@pytest.mark.parametrize("scene", SCENES)
def test_a_put_that_arrives_after_the_removal_brings_nothing_back(scene: str) -> None:
    objects, machine = done(scene)
    machine.kill()
    early = dict(objects.contents)
    remove_replica(Replicas(objects), NAME)
    objects.contents = early | objects.contents
    assert Replicas(objects).open(NAME) is None
    prune_replicas(Replicas(objects))
    objects.contents = early | objects.contents
    new = Machine(objects, "new")
    assert new.values == []
    new.do("aat")
    new.close()
    assert read_replica(objects, "other") == new.values


def test_the_disk_that_has_it_still_copies_it_anew() -> None:
    objects, machine = done("aatlat")
    machine.close()
    remove_replica(Replicas(objects), NAME)
    again = Machine(objects, "one")
    assert again.values == machine.values
    again.do("at")
    again.close()
    assert read_replica(objects, "two") == again.values


@pytest.mark.parametrize("scene", SCENES)
def test_a_removal_that_is_killed_leaves_all_of_it_or_nothing(scene: str) -> None:
    objects, machine = done(scene)
    machine.close()
    before = len(objects.done)
    remove_replica(Replicas(objects), NAME)
    outcomes = []
    for number, image in enumerate(objects.images()):
        if number < before:
            continue
        found = read_replica(image, f"other-{number}")
        assert found in (machine.values, [])
        outcomes.append(bool(found))
        prune_replicas(Replicas(image))  # what the removal has left
        assert bool(read_replica(image, f"after-{number}")) == bool(found)
    assert outcomes == sorted(outcomes, reverse=True)
    assert outcomes[0] != outcomes[-1]


def test_there_must_be_one() -> None:
    with pytest.raises(NotFoundError, match="nothing is stored as"):
        remove_replica(Replicas(Objects()), NAME)


def test_a_claim_of_the_next_writer_is_no_litter() -> None:
    objects, machine = done("at")
    chain = Chain(objects, NAME, None)
    chain.claim()
    prune_replicas(Replicas(objects))
    assert f"runs/{NAME}/{chain.number:012d}" in objects.contents
    with pytest.raises(LockedError):
        machine.do("atat")
    machine.kill()
