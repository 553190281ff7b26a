"""A replica that is read has the files that a restore would write, and gets only what is needed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from replicas import NAME, Machine, Objects, by_hand  # noqa: F401

from trax import CorruptionError
from trax.replica import reader
from trax.replica.chain import Chain
from trax.replica.reader import ReplicaDirectory
from trax.replica.restore import restore
from trax.replica.stored_replicas import Replicas
from trax.storage.checkpoint import read_meta
from trax.storage.filenames import FileName
from trax.storage.filesystem import LocalDirectory

pytestmark = pytest.mark.usefixtures("by_hand")

SCENES = [
    "aataat",
    "atcatacat",
    "AatalatAt",
    "otootcotaot",
    "oatOatlat",
    "oatxoato",
    "cateatx",
    "otwt|ootwx|owta|otx",
    "catalatcat|aat",
]


def opened(objects: Objects) -> ReplicaDirectory:
    """Return the files in a replica, which has some."""
    found = Replicas(objects).open(NAME)
    assert found is not None
    return found


def content(directory: ReplicaDirectory, file: str, window: int) -> bytes:
    """Return the bytes of a file, read in windows as readers do, and its end once more before."""
    source = directory.open(file)
    end = bytes(source.read_at(max(0, source.size - 5), 100))
    windows = range(0, source.size, window)
    data = b"".join(bytes(source.read_at(offset, window)) for offset in windows)
    assert data[-5:] == end
    return data


@pytest.mark.parametrize("scene", SCENES)
def test_its_files_are_those_that_a_restore_writes(scene: str) -> None:
    """After whichever put, with the durable marks, and output files that were cut back."""
    objects = Objects()
    machine = Machine(objects, "one")
    machine.do(scene)
    machine.close()
    seen = 0
    for number, image in enumerate(objects.images()):
        if Replicas(image).open(NAME) is None:
            continue
        directory = opened(image)
        place = Path(f"restored-{number}").resolve()
        (place / "run").mkdir(parents=True, mode=0o700)
        chain = Chain(image, NAME, None)
        chain.look()
        restore(chain, directory.head, LocalDirectory(str(place / "run")), str(place / ".trax"))
        expected = {path.name: path.read_bytes() for path in (place / "run").iterdir()}
        assert directory.list() == sorted(expected)
        for file, data in expected.items():
            assert content(directory, file, 1500) == data
            assert content(opened(image), file, 1 << 18) == data
        for name in directory.outputs():
            data = (place / ".trax" / name).resolve().read_bytes()
            assert content(directory, f"output {name}", 1 << 12) == data
        seen += 1
    assert seen > 2


class Counting(Objects):
    """Objects that note which bytes of pieces were read."""

    def __init__(self, contents: dict[str, bytes]) -> None:
        super().__init__(contents)
        self.got = 0

    def get(self, key: str) -> bytes:
        data = super().get(key)
        self.got += len(data) * ("piece" in key)
        return data

    def read(self, key: str, start: int, length: int) -> bytes:
        data = self.contents[key][start : start + length]
        self.got += len(data) * ("piece" in key)
        return data


def large() -> Counting:
    """Return a replica with a large checkpoint, in several pieces."""
    objects = Objects()
    machine = Machine(objects, "one")
    machine.do("aatlatat")
    machine.close()
    assert sum("piece" in key for key in objects.contents) > 2
    return Counting(objects.contents)


def test_of_a_large_checkpoint_only_its_head_is_got(monkeypatch: pytest.MonkeyPatch) -> None:
    objects = large()
    directory = opened(objects)
    assert objects.got == 0
    (checkpoint,) = [file for file in directory.list() if file.startswith("checkpoint")]
    source = directory.open(checkpoint)
    source.read_at(0, 1024)
    source.read_at(1024, 2000)
    assert objects.got == 3024


def test_a_piece_that_is_read_to_its_end_is_got_once() -> None:
    """And is compared with its digest then."""
    objects = large()
    directory = opened(objects)
    (checkpoint,) = [file for file in directory.list() if file.startswith("checkpoint")]
    size = directory.head.whole[checkpoint]
    content(directory, checkpoint, 500)
    assert objects.got < 1.5 * size


@pytest.mark.parametrize("key", ["piece", "0000"])
def test_damage_is_told_with_its_object(key: str) -> None:
    objects = large()
    directory = opened(objects)
    number = directory.head.since
    image = f"runs/{NAME}/{number:012d}"
    bad = image if key == "0000" else max(one for one in objects.contents if key in one)
    *others, last = objects.contents[bad]
    objects.contents[bad] = bytes([*others, last ^ 1])
    with pytest.raises(CorruptionError, match=bad):
        [content(directory, file, 100) for file in directory.list()]
    assert any(bad in line for line in opened(objects).problems())


def test_a_missing_object_is_damage_unless_a_writer_goes_on() -> None:
    objects = Objects()
    machine = Machine(objects, "one")
    machine.do("aatAatat")
    copy = Objects(objects.contents)
    there, moving = opened(copy), opened(objects)
    copy.contents.pop(f"runs/{NAME}/{there.head.since:012d}")
    there.load()  # what else is there can be read
    with pytest.raises(CorruptionError, match="it is missing"):
        [content(there, file, 1000) for file in there.list()]
    machine.do("latcatlat")  # makes an image, which deletes what was before
    for _ in range(2):  # whatever is read next, it is gone as well
        with pytest.raises(FileNotFoundError):
            moving.load()
    assert moving.is_moved
    machine.close()


def emptied(objects: Objects, key: str) -> None:
    objects.contents[key] = b""


def cut(objects: Objects, key: str) -> None:
    objects.contents[key] = objects.contents[key][:-1]


def gone(objects: Objects, key: str) -> None:
    del objects.contents[key]


@pytest.mark.parametrize("damage", [emptied, cut, gone])
def test_a_list_tells_of_objects_that_are_missing_or_have_another_size(
    damage: Callable[[Objects, str], None],
) -> None:
    """Of a numbered object before the newest one, but for images, the size is not known."""
    objects = Objects(large().contents)
    machine = Machine(objects, "two")
    machine.do("atat")
    machine.close()
    opened(objects).check_list()
    head = opened(objects).head
    image, next_one = (f"runs/{NAME}/{number:012d}" for number in (head.since, head.number - 1))
    for key in [image, next_one, *(key for key in objects.contents if "piece" in key)]:
        copy = Objects(objects.contents)
        damage(copy, key)
        if damage is cut and key == next_one:
            opened(copy).check_list()
            continue
        with pytest.raises(CorruptionError, match=f"{key}: it (is missing|has another size)"):
            opened(copy).check_list()


def test_a_list_that_a_writer_has_made_old_tells_of_no_damage() -> None:
    objects = Objects()
    machine = Machine(objects, "one")
    machine.do("alatat")
    old = opened(objects)
    early = opened(objects)
    early.sizes = {key: size for key, size in early.sizes.items() if "piece" not in key}
    with pytest.raises(FileNotFoundError, match="was put while the objects were listed"):
        early.check_list()
    machine.do("latcatlat")  # makes an image, which deletes what was before
    for directory in (old, early):
        with pytest.raises(FileNotFoundError):
            directory.check_list()
    opened(objects).check_list()
    machine.close()


def test_bytes_that_no_object_has_are_damage() -> None:
    objects = large()
    directory = opened(objects)
    log = next(file for file in directory.list() if file.startswith("log"))
    directory.head.files[log] += 10
    with pytest.raises(CorruptionError, match=f"{log}: its bytes at .* are missing"):
        content(directory, log, 1000)


def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Objects that were read first are dropped, and are got again if they are needed."""
    monkeypatch.setattr(reader, "_ROOM", 20 << 10)
    objects = large()
    directory = opened(objects)
    files = {file: content(opened(objects), file, 1 << 18) for file in directory.list()}
    for file, data in files.items():
        assert content(directory, file, 700) == data
        assert sum(map(len, directory._contents.values())) <= 40 << 10


def test_the_newest_checkpoint_can_be_read_alone() -> None:
    directory = opened(large())
    name = max(filter(None, map(FileName.parse, directory.list())))
    checkpoints = [file for file in directory.list() if file.startswith("checkpoint")]
    name = FileName.parse(checkpoints[-1])  # type: ignore[assignment]
    assert read_meta(directory, name)["step"] >= 2
