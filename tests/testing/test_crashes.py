"""The model of a disk: each kind of loss is produced, and nothing that cannot happen."""

from __future__ import annotations

import random

from trax.testing.crashes import ROOT, Disk, Image, Operation, Tree, crash_images

LOGS, OTHER = 100, 101  # directories


def disk(*operations: Operation) -> Disk:
    """Return a disk after these operations."""
    made = Disk()
    for operation in operations:
        made.apply(operation)
    return made


def create(file: int, name: str, directory: int = ROOT) -> Operation:
    return Operation("create", file, name=name, directory=directory)


def write(file: int, data: bytes, offset: int = 0) -> Operation:
    return Operation("write", file, offset, data)


def sync(directory: int = ROOT) -> Operation:
    return Operation("sync directory", directory)


def mkdir(number: int, name: str, directory: int = ROOT) -> Operation:
    return Operation("mkdir", number, name=name, directory=directory)


def move(name: str, source: int, other: str, target: int, file: int = 0) -> Operation:
    return Operation("rename", file, name=name, other=other, directory=source, target=target)


def forced(file: int, name: str, data: bytes, directory: int = ROOT) -> list[Operation]:
    """Return what makes a durable file."""
    written = [create(file, name, directory), write(file, data)]
    return [*written, Operation("sync", file), sync(directory)]


def test_a_directory_is_there_once_its_parent_was_forced() -> None:
    """What is in it is forced on its own, and is lost with it all the same."""
    operations = [mkdir(LOGS, "logs"), *forced(1, "log", b"x", LOGS)]
    found = list(disk(*operations).images())
    assert sorted(found, key=len) == [{}, {"logs/": b"", "logs/log": b"x"}]
    assert list(disk(*operations, sync()).images()) == [{"logs/": b"", "logs/log": b"x"}]


def test_the_names_of_each_directory_arrive_apart() -> None:
    """A later change can be there without an earlier one in another directory."""
    made = [mkdir(LOGS, "logs"), mkdir(OTHER, "other"), sync()]
    found = list(disk(*made, create(1, "a", LOGS), create(2, "b", OTHER)).images())
    files = [{name for name in image if name[-1] != "/"} for image in found]
    assert sorted(map(sorted, files)) == [[], ["logs/a"], ["logs/a", "other/b"], ["other/b"]]


def test_a_rename_between_directories_is_never_half_done() -> None:
    """The file is in one of the two, also where only one of them is forced."""
    made = [mkdir(LOGS, "logs"), mkdir(OTHER, "other"), sync(), *forced(1, "a", b"x", LOGS)]
    moved = [*made, move("a", LOGS, "b", OTHER, 1)]
    found = [sorted(name for name in image if name[-1] != "/") for image in disk(*moved).images()]
    assert sorted(found) == [["logs/a"], ["other/b"]]
    for one in (LOGS, OTHER):
        assert [[*image][-1] for image in disk(*moved, sync(one)).images()] == ["other/b"]


def test_what_must_come_before_a_rename_comes_with_it() -> None:
    """Forcing where it leads to makes durable what led to it, and nothing that came after."""
    made = [mkdir(LOGS, "logs"), mkdir(OTHER, "other"), sync()]
    steps = [create(1, "a", LOGS), move("a", LOGS, "b", OTHER, 1), create(2, "c", LOGS)]
    found = [sorted(image) for image in disk(*made, *steps, sync(OTHER)).images()]
    assert sorted(found) == [
        ["logs/", "logs/c", "other/", "other/b"],
        ["logs/", "other/", "other/b"],
    ]


def test_a_directory_that_is_renamed_takes_its_files_along() -> None:
    """As a run does that is moved aside."""
    made = [mkdir(LOGS, "run"), mkdir(OTHER, "aside"), sync(), *forced(1, "log", b"x", LOGS)]
    found = list(disk(*made, move("run", ROOT, "run~1", OTHER, LOGS)).images())
    paths = sorted(sorted(image) for image in found)
    assert paths == [["aside/", "aside/run~1/", "aside/run~1/log"], ["aside/", "run/", "run/log"]]


def test_a_file_with_two_names_is_one_file() -> None:
    """What is written shows under both."""
    made = disk(*forced(1, "a", b""), Operation("link", 1, name="b"), write(1, b"x"))
    assert made.live.image() == {"a": b"x", "b": b"x"}
    assert {"a": b"", "b": b""} in made.images()
    assert {"a": b"x"} in made.images()


def test_writes_to_two_files_arrive_in_any_order() -> None:
    """All of the later one and none of the earlier one, though each was written in turn."""
    made = disk(*forced(1, "a", b""), *forced(2, "b", b""))
    for place in range(3):
        made.apply(write(1, b"a", place))
        made.apply(write(2, b"b", place))
    found = list(made.images())
    assert {"a": b"", "b": b"bbb"} in found
    assert {"a": b"aaa", "b": b""} in found


def test_a_length_can_arrive_without_its_data() -> None:
    """With zeros in its place, also behind a part that did arrive; but not over what was there."""
    made = disk(*forced(1, "a", b"old"), write(1, b"x" * 1000, 3))
    found = {image["a"] for image in made.images()}
    assert b"old" + bytes(1000) in found
    assert b"old" + b"x" * 509 + bytes(491) in found
    assert b"old" + b"x" * 500 + bytes(500) in found


def test_a_sector_that_is_overwritten_is_the_old_one_or_the_new_one() -> None:
    """A part of one is not; of several, any number may have arrived."""
    made = disk(*forced(1, "a", b"old"), write(1, b"new"))
    assert {image["a"] for image in made.images()} == {b"old", b"new"}
    made = disk(*forced(1, "a", b"o" * 2000), write(1, b"n" * 1000, 500))
    found = {image["a"].count(b"n") for image in made.images()}
    assert found == {0, 12, 524, 1000}


def test_a_large_write_is_torn_at_pages_too() -> None:
    """At the first and last sectors and pages, and in the middle."""
    size = 1_000_000
    made = disk(*forced(1, "a", b""), write(1, b"x" * size))
    lengths = {len(image["a"].rstrip(b"\0")) for image in made.images()}
    assert {0, 512, 4096, 32768, size // 2, 999_424, 999_936, size} <= lengths
    assert len(lengths) < 50


def test_a_sample_is_the_same_for_the_same_seed_and_never_impossible() -> None:
    """What it holds could be there: bytes that were written, in files that were made."""
    made = disk()
    for file in range(4):
        made.apply(create(file, f"{file}"))
        for place in range(6):
            made.apply(write(file, b"x" * 1000, 1000 * place))
    first = list(made.images(300, random.Random(1)))
    assert first == list(made.images(300, random.Random(1)))
    assert first != list(made.images(300, random.Random(2)))
    assert len({tuple(image.items()) for image in first}) > 100
    for image in first:
        assert set(image) <= {"0", "1", "2", "3"}
        assert all(set(data) <= {0, ord("x")} for data in image.values())
    assert len(list(made.images(10**9))) == len(list(made.images()))


def test_what_nobody_forced_can_all_be_lost_and_what_was_forced_never() -> None:
    """Whatever the operations were."""
    seed = random.randrange(1 << 32)
    rng = random.Random(seed)
    for _ in range(50):
        made, forced_length = disk(*forced(0, "log", b"")), 0
        for _ in range(rng.randrange(20)):
            length = len(made.live.contents[0])
            if rng.random() < 0.3:
                made.apply(Operation("sync", 0))
                forced_length = length
            else:
                made.apply(write(0, bytes([1]) * rng.randrange(1, 3000), length))
        kept = {len(image["log"]) for image in made.images(50, rng)}
        assert min(kept) >= forced_length, f"seed {seed}"
        for image in made.images():
            assert image["log"][:forced_length] == bytes([1]) * forced_length, f"seed {seed}"


# -- writers that are right, and writers that are not --------------------------------------


def saves(*steps: str) -> list[Operation]:
    """Return what a program does that saves a file by these steps, over one that is there."""
    meaning = {
        "write": [create(2, "new"), write(2, b"new")],
        "sync": [Operation("sync", 2)],
        "rename": [Operation("rename", 2, name="new", other="state")],
        "sync directory": [sync()],
        "overwrite": [Operation("truncate", 1), write(1, b"new")],
        "sync old": [Operation("sync", 1)],
    }
    return [*forced(1, "state", b"old"), *(one for step in steps for one in meaning[step])]


def outcomes(operations: list[Operation]) -> set[bytes | None]:
    """Return what is there after a power cut at any of the later operations."""
    begun = len(forced(1, "state", b"old"))
    found: set[bytes | None] = set()
    for count in range(begun, len(operations) + 1):
        found |= {image.get("state") for image in crash_images(operations[:count])}
    return found


def at_the_end(operations: list[Operation]) -> set[bytes | None]:
    return {image.get("state") for image in crash_images(operations)}


def test_a_writer_that_is_right_is_right() -> None:
    """Old or new at every instant, and new in the end."""
    right = saves("write", "sync", "rename", "sync directory")
    assert outcomes(right) == {b"old", b"new"}
    assert at_the_end(right) == {b"new"}


def test_every_mistake_of_a_writer_shows() -> None:
    """A sync left out, in the wrong place, or the file itself overwritten."""
    whole = {b"old", b"new"}
    assert not outcomes(saves("write", "rename", "sync", "sync directory")) <= whole
    assert not outcomes(saves("write", "rename", "sync directory")) <= whole
    assert not outcomes(saves("overwrite", "sync old")) <= whole
    assert b"old" in at_the_end(saves("write", "sync", "rename"))
    assert b"old" in at_the_end(saves("write", "sync", "sync directory", "rename"))


def test_a_tree_shows_what_every_process_sees() -> None:
    """At once, forced or not."""
    tree = Tree()
    image: Image = {"logs/": b"", "logs/b": b"x\0\0y"}
    for operation in [
        mkdir(LOGS, "logs"),
        create(1, "a", LOGS),
        write(1, b"xz"),
        write(1, b"y", 3),
        Operation("rename", 1, name="a", other="b", directory=LOGS, target=LOGS),
        Operation("truncate", 1, 1),
        write(1, b"y", 3),
        create(2, "c"),
        Operation("remove", 2, name="c"),
    ]:
        tree.apply(operation)
    assert tree.image() == image
