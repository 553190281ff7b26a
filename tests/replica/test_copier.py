"""What is copied, and when: rounds, images, pieces; and what is deleted."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from replicas import NAME, Machine, Objects, by_hand, no_answer, read_replica  # noqa: F401

from trax.replica import copier
from trax.replica.entry import Claim, Data, decode, number_of
from trax.replica.seam import Refused

pytestmark = pytest.mark.usefixtures("by_hand")


def entries(objects: Objects) -> list[Claim | Data]:
    """Return the objects with numbers, in order."""
    keys = filter(number_of, sorted(objects.contents))
    return [decode(objects.contents[key], None, NAME, number_of(key))[0] for key in keys]


def newest(objects: Objects) -> Data:
    """Return the newest data."""
    return [entry for entry in entries(objects) if isinstance(entry, Data)][-1]


def test_a_round_is_one_put_and_none_if_nothing_has_changed() -> None:
    objects = Objects()
    machine = Machine(objects, "one")
    machine.do("aat")
    before = len(objects.done)
    machine.do("aaat")
    assert len(objects.done) == before + 1
    machine.do("tttt")
    assert len(objects.done) == before + 1
    assert objects.listings == 2
    machine.close()
    assert len(objects.done) <= before + 2  # the end forces what came last
    assert objects.listings == 3  # and looks if all is there


def test_a_small_checkpoint_is_copied_with_the_steps() -> None:
    """And what is older is not part of the replica any more."""
    objects = Objects()
    machine = Machine(objects, "one")
    machine.do("aatacat")
    assert sorted(newest(objects).files) == ["checkpoint-00000002", "log-00000002"]
    assert newest(objects).since == 2
    machine.close()


def test_a_large_checkpoint_is_copied_in_pieces() -> None:
    """Then all data before its image is deleted, and the claim stays."""
    objects = Objects()
    machine = Machine(objects, "one")
    machine.do("atatat")
    assert len(entries(objects)) == 4
    machine.do("lt")
    claim, image = entries(objects)
    assert isinstance(claim, Claim)
    assert isinstance(image, Data)
    assert image.since == image.number
    assert [piece.length for piece in image.pieces][:2] == [16 << 10, 16 << 10]
    machine.do("altat")
    assert {piece.key for piece in newest(objects).pieces}.isdisjoint(image.pieces)
    kept = {piece.key for entry in entries(objects)[1:] for piece in entry.pieces}  # type: ignore[union-attr]
    assert {key for key in objects.contents if "piece" in key} == kept
    machine.close()


def test_steps_are_copied_while_a_checkpoint_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """Between two pieces, if a round is due."""
    objects = Objects()
    machine = Machine(objects, "one")
    machine.do("at")
    monkeypatch.setattr(machine.replica, "_seconds", 0.0)
    machine.do("l")
    found: list[list[str]] = []

    def look(key: str) -> None:
        if "piece" in key and len(found) < 2:
            machine.do("a")
            found.append(read_replica(objects, f"other-{len(found)}"))

    objects.before = look
    machine.tick()
    assert found == [machine.values[:1], machine.values[:2]]
    machine.close()


def test_a_checkpoint_that_a_newer_one_has_overtaken_is_given_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """While its pieces are put, its log may be pruned."""
    objects = Objects()
    machine = Machine(objects, "one")
    machine.do("at")
    monkeypatch.setattr(machine.replica, "_seconds", 0.0)
    machine.do("l")
    left = ["acacac"]

    def go_on(key: str) -> None:
        if "piece" in key and left:
            machine.do(left.pop())
        machine.held.writer.prune()

    objects.before = go_on
    machine.do("taat")
    machine.kill()
    assert not left
    for number, image in enumerate(objects.images()):
        found = read_replica(image, f"other-{number}")
        assert found == machine.values[: len(found)]
    assert found == machine.values


def test_a_store_that_deletes_nothing_is_no_reason_to_stop(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    objects = Objects()
    machine = Machine(objects, "one")
    machine.do("at")
    deleted: list[str] = []

    def refuse(keys: list[str]) -> None:
        deleted.extend(keys)
        raise Refused("no permission")

    with monkeypatch.context() as patched:
        patched.setattr(objects, "delete", refuse)
        machine.do("altat")
    assert read_replica(objects, "other") == machine.values
    machine.do("alt")
    assert deleted
    assert objects.contents.keys().isdisjoint(deleted)
    machine.close()


def test_there_are_never_many_objects(monkeypatch: pytest.MonkeyPatch) -> None:
    """Even if no checkpoint is stored."""
    monkeypatch.setattr(copier, "LONG", 8)
    objects = Objects()
    machine = Machine(objects, "one")
    for _ in range(50):
        machine.do("ot")
        assert len(objects.contents) < 12
    machine.close()
    assert read_replica(objects, "other") == machine.values


def test_pieces_of_what_only_grows_are_used_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(copier, "LONG", 2)
    objects = Objects()
    machine = Machine(objects, "one")
    machine.do("aA" + 8 * "at")
    pieces = newest(objects).pieces
    machine.do(8 * "at")
    assert newest(objects).number > newest(objects).since or newest(objects).pieces
    puts = [key for key, content in objects.done if content and "piece" in key]
    assert len(puts) == len(set(puts)) == len(pieces) or len(puts) < 6
    machine.close()
    assert read_replica(objects, "other") == machine.values


def test_pieces_go_when_a_small_checkpoint_supersedes_their_file() -> None:
    objects = Objects()
    machine = Machine(objects, "one")
    machine.do("lt")
    assert any("piece" in key for key in objects.contents)
    machine.do("act")
    assert not any("piece" in key for key in objects.contents)
    assert read_replica(objects, "other") == machine.values
    machine.close()


def test_pieces_of_bytes_that_were_cut_off_are_not_used_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """An output file can be cut back, and then grow with other bytes."""
    monkeypatch.setattr(copier, "LONG", 2)
    objects = Objects()
    machine = Machine(objects, "one")
    machine.do("Owt")
    assert [piece.file[:6] for piece in newest(objects).pieces].count("output") == 2
    machine.do("|OtOtOt")
    machine.close()
    assert read_replica(objects, "other") == machine.values


def test_nothing_is_pruned_before_it_is_copied() -> None:
    """Except checkpoints for which there are newer ones."""
    objects = Objects()
    machine = Machine(objects, "one")
    machine.do("acacat")
    objects.before = lambda key: no_answer()
    machine.do("acacacac")
    machine.held.writer.prune()
    files = os.listdir(f"{machine.store}/runs/{NAME}")
    assert sum(file.startswith("checkpoint") for file in files) == 2
    assert sum(file.startswith("log") for file in files) == 5
    objects.before = lambda key: None
    machine.do("t")
    machine.held.writer.prune()
    files = os.listdir(f"{machine.store}/runs/{NAME}")
    assert sum(file.startswith("log") for file in files) <= 3
    machine.close()


def test_output_files_that_were_closed_are_copied_too() -> None:
    objects = Objects()
    machine = Machine(objects, "one")
    machine.do("oot")
    machine.close()
    other = Machine(Objects(objects.contents), "two")
    assert Path("two/out.txt").read_text() == Path("one/out.txt").read_text() == "0o\n1o\n"
    other.kill()


def test_the_status_is_copied_with_what_is_new_and_once_more_at_the_end() -> None:
    """Its place is never beyond the bytes that are there."""
    objects = Objects()
    machine = Machine(objects, "one")
    machine.do("aat")
    assert newest(objects).status["state"] == "running"
    count = len(objects.done)
    machine.do("ttt")
    assert len(objects.done) == count  # nothing is put while there is nothing new
    machine.close()
    last = newest(objects)
    assert len(objects.done) == count + 1
    assert (last.parts, last.status["state"], last.status["step"]) == ([], "stopped", 2)
    assert last.status["offset"] == last.files["log-00000001"]
    again = Machine(objects, "one")  # which has not ended, whatever the status before says
    again.do("at")
    assert newest(objects).status["state"] == "running"
    again.close()
