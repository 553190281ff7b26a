"""Signed runs: whoever has not the key cannot make, change, move or repeat a file of one."""

from __future__ import annotations

import contextlib
import hmac
import pickle
import struct
from collections.abc import Callable, Generator, Iterator
from pathlib import Path

import pytest
from canaries import records, restore, with_canaries, with_records
from hypothesis import given
from hypothesis import strategies as st
from support import Writer, changed, flipped, read, write
from xxhash import xxh3_64_intdigest

import trax
from trax import CorruptionError, FormatVersionError, TraxError, UntrustedError
from trax.storage.records import (
    BEGINS,
    DURABLE_OFFSET,
    HEADER_SIZE,
    OVERHEAD,
    PICKLE,
    SIGNATURE,
)
from trax.storage.signing import Key, Signer
from trax.testing.memory import MemoryDirectory, crash_images

KEY = Key(bytes(range(32)), "a test")
OTHER = Key(bytes(32), "another test")
TEXT = "aacaaca|aa"  # two checkpoints, three logs

SYNCS = pytest.mark.parametrize("sync", ["always", "interval", "os"])
ARRAYS = pytest.mark.parametrize("arrays", [False, True], ids=["numbers", "arrays"])


def signed(files: dict[str, bytes] | None = None, key: Key | None = KEY) -> MemoryDirectory:
    """Return a directory of signed files."""
    return MemoryDirectory(files, key=key)


def with_right_checksums(content: bytes) -> bytes:
    """Return a file as somebody would leave it who knows all of the format, and not the key."""
    block = bytearray(content[:HEADER_SIZE])
    chain = xxh3_64_intdigest(block[:DURABLE_OFFSET])
    struct.pack_into("<Q", block, HEADER_SIZE - 8, chain)
    content, begin = bytes(block) + content[HEADER_SIZE:], HEADER_SIZE
    while begin + OVERHEAD <= len(content):
        (word,) = struct.unpack_from("<Q", content, begin)
        end = begin + 8 + (word >> 8)
        if end + 8 > len(content):
            break
        chain = xxh3_64_intdigest(content[begin:end], chain)
        content = content[:end] + struct.pack("<Q", chain) + content[end + 8 :]
        begin = end + 8
    return content


# -- what is signed comes back -------------------------------------------------------------


@ARRAYS
@SYNCS
@pytest.mark.parametrize("text", ["a", "c", "aacaa", "aca|cac|a|a", "aceae|e|ca", "asacsas"])
def test_every_step_comes_back(text: str, sync: str, arrays: bool) -> None:
    """Whatever the order of increments, checkpoints, syncs and processes."""
    directory = signed()
    writer = write(directory, text, sync=sync, arrays=arrays)
    assert writer.step == writer.acknowledged == read(directory)
    assert writer.said == []


@SYNCS
def test_a_power_cut_loses_no_more_than_without_a_key(sync: str) -> None:
    """A torn signature is torn as its increment is."""
    directory = signed()
    promises = [(0, 0)]
    writer = Writer(directory, sync=sync)
    for letter in "caasacaa":
        writer.play(letter)
        if sync == "always" or letter in "cs":
            promises.append((len(directory.operations), writer.step))
    images = 0
    for done in range(len(directory.operations) + 1):
        floor = max(step for operations, step in promises if operations <= done)
        for files in crash_images(directory.operations[:done]):
            after = MemoryDirectory(files, boot="the next boot", key=KEY)
            found = read(after)
            assert floor <= found <= writer.step
            assert Writer(after).step == found
            images += 1
    assert images > 100


def test_a_signature_that_was_cut_off_takes_its_increment_along() -> None:
    """At every length the log ends with its last signed increment."""
    directory = signed()
    write(directory, "caa")
    name = "log-00000001"
    content = directory.files()[name]
    size = (len(content) - HEADER_SIZE) // 2
    for length in range(HEADER_SIZE, len(content)):
        cut = signed(changed(directory.files(), name, content[:length]))
        assert read(cut) == (length - HEADER_SIZE) // size
        assert Writer(cut).step == read(cut)
        assert Writer(cut).said == []


# -- what is not, does not -----------------------------------------------------------------


@ARRAYS
def test_no_byte_can_be_changed_by_who_has_not_the_key(
    arrays: bool, count: Callable[[str, int], None]
) -> None:
    """Though all checksums hold: every byte of every file but the durable mark is covered."""
    directory = signed()
    step = write(directory, TEXT, arrays=arrays).step
    files = directory.files()
    tried = refused = 0
    for name, content in files.items():
        for offset in range(0, len(content), 1 if not arrays else 5):
            forged = with_right_checksums(flipped(content, offset))
            if forged == content:
                continue  # it was a checksum
            tried += 1
            try:  # it may not be needed: the durable mark, and what is older
                found = read(signed(changed(files, name, forged)))
                # The end of the last log could as well have been torn by a crash.
                assert found == step or (name == "log-00000004" and found == step - 1)
            except (UntrustedError, CorruptionError, FormatVersionError):
                refused += 1
    assert refused > (500 if arrays else 2_000)
    count("bytes changed with right checksums", tried)


def test_a_forged_file_is_named_with_its_offset_and_nothing_is_changed() -> None:
    """For readers and writers; a forged checkpoint is not fallen back from without a word."""
    directory = signed()
    write(directory, TEXT)
    for name, offset in (
        ("checkpoint-00000003", 1100),
        ("checkpoint-00000003", 20),
        ("log-00000003", 1034),
        ("log-00000004", 1034),
    ):
        files = directory.files()
        forged = with_right_checksums(flipped(files[name], offset))
        for begin in (read, Writer):
            damaged = signed(changed(files, name, forged))
            with pytest.raises(
                UntrustedError, match=rf"<memory>/{name} .* \(offset \d+\)"
            ) as caught:
                begin(damaged)
            assert "Put the file back from a copy" in str(caught.value)
            assert ("TRAX_KEY" in str(caught.value)) == (offset == 20)  # it may be another's
            assert damaged.operations == []


def test_what_was_signed_once_cannot_be_used_again() -> None:
    """Records repeated, left out, exchanged, or taken from another file."""
    directory = signed()
    write(directory, "caaaa|aaaa")
    files = directory.files()
    name = "log-00000001"
    mine = list(records(files[name]))
    theirs = list(records(files["log-00000002"]))
    assert [kind & 0x7F for kind, _ in mine] == [PICKLE, SIGNATURE] * 4
    for those in (
        [*mine, *mine[-2:]],
        [*mine[:2], *mine[4:]],
        [*mine[2:4], *mine[:2], *mine[4:]],
        [*mine, *theirs[:2]],
        [*mine[:-2], *theirs[-2:]],
        [*mine, (BEGINS | PICKLE, pickle.dumps(4))],
        [*mine, (BEGINS | PICKLE, pickle.dumps(4)), (SIGNATURE, bytes(32))],
        [*mine, (BEGINS | PICKLE, pickle.dumps(4)), mine[-1]],
        [*mine, (SIGNATURE, mine[-1][1])],
    ):
        forged = changed(
            {name: files[name], "checkpoint-00000001": files["checkpoint-00000001"]},
            name,
            with_records(files[name], those),
        )
        try:
            assert read(signed(forged)) == 4
            assert len(those) == 9  # what is not signed yet is as if it was torn
            assert those[-1][0] != SIGNATURE
        except UntrustedError:
            pass


def test_files_cannot_be_exchanged() -> None:
    """Between generations, runs, and two runs of the same name: the header block is signed."""
    directory, other = signed(), signed()
    write(directory, TEXT)
    write(other, TEXT)
    files, others = directory.files(), other.files()
    for name in files:
        for content in (others[name], *(files[one] for one in files if one != name)):
            damaged = signed(changed(files, name, content))
            try:
                assert read(damaged) == 7  # not needed, or no file of its kind
            except (CorruptionError, UntrustedError):
                assert damaged.operations == []


@pytest.mark.parametrize(
    ("written", "given", "reason"),
    [
        (KEY, None, "is signed, but no key is given.*Give the key"),
        (None, KEY, "is not signed, but a test gives a key.*resume it with TRAX_KEY= "),
        (KEY, OTHER, f"is not signed with the key {OTHER.id} from another test.*Give the key"),
    ],
)
@pytest.mark.parametrize("text", ["aa", "caa", TEXT])
def test_another_key_or_none_is_an_error(
    written: Key | None, given: Key | None, reason: str, text: str
) -> None:
    """Nothing is loaded and nothing is changed."""
    directory = signed(key=written)
    write(directory, text)
    damaged = signed(directory.files(), key=given)
    for begin in (read, Writer):
        with pytest.raises(UntrustedError, match=f"(?s){reason}"):
            begin(damaged)
    assert damaged.operations == []


# -- no pickle of somebody else's is loaded ------------------------------------------------


@trax.resumable(create=int, every_steps=3)
def loop(n: int, to: int) -> Generator[int, int, None]:
    while n < to:
        n = yield n + 1


def everybody() -> Iterator[Callable[[], object]]:
    """Yield all that reads a run."""
    yield lambda: trax.load("loop")
    yield lambda: trax.Trax().recover("loop")
    yield lambda: trax.Trax().log(loop=3)
    yield lambda: loop(to=20).result()
    yield lambda: loop(to=10).result()


def files_with_canaries(files: dict[str, bytes], *, right: bool) -> Iterator[tuple[str, bytes]]:
    """Yield the names of the files, and what each could be replaced by."""
    for name, content in files.items():
        for forged in with_canaries(content, right=right):
            yield name, forged


@pytest.mark.parametrize("key", ["11" * 32, ""], ids=["with a key", "without"])
@pytest.mark.parametrize("right", [True, False], ids=["right checksums", "wrong checksums"])
def test_a_planted_pickle_is_not_loaded(
    right: bool, key: str, monkeypatch: pytest.MonkeyPatch, store_here: Path
) -> None:
    """With a key never; without one only where all checksums hold, from a file of one's own."""
    monkeypatch.setenv("TRAX_KEY", key)
    with loop(to=10) as run:
        for _ in range(8):
            next(run)
    directory = store_here / "runs" / "loop"
    files = {path.name: path.read_bytes() for path in directory.iterdir()}
    planted = loaded = 0
    for name, forged in files_with_canaries(files, right=right):
        for reader in everybody():
            restore(directory, changed(files, name, forged))
            with contextlib.suppress(TraxError, TypeError):  # the canary is no state
                reader()
            planted += 1
            if Path("loaded").exists():
                Path("loaded").rmdir()
                loaded += 1
    assert planted > 20
    assert loaded == 0 if key or not right else loaded > 0


@pytest.mark.parametrize("mode", [0o622, 0o606])
def test_a_planted_pickle_in_a_file_that_others_may_write_is_not_loaded(
    mode: int, store_here: Path
) -> None:
    """Though its checksums hold, and there is no key."""
    with loop(to=10) as run:
        next(run)
    directory = store_here / "runs" / "loop"
    files = {path.name: path.read_bytes() for path in directory.glob("*-*")}
    restore(directory, {name: next(with_canaries(files[name])) for name in files})
    for path in directory.iterdir():
        path.chmod(mode)
    for reader in everybody():
        with pytest.raises(UntrustedError, match="can be written by other users"):
            reader()
    assert not Path("loaded").exists()


# -- keys ----------------------------------------------------------------------------------


def test_a_signed_run_says_what_to_do_where_the_key_is_gone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Loops, the core and reading; with the key again all of it is there."""
    monkeypatch.setenv("TRAX_KEY", "ab" * 32)
    assert loop(to=4).result() == 4
    assert trax.load("loop") == loop(to=4).result() == 4
    for key in ("", "cd" * 32):
        monkeypatch.setenv("TRAX_KEY", key)
        for reader in everybody():
            with pytest.raises(UntrustedError, match="TRAX_KEY"):
                reader()
    monkeypatch.setenv("TRAX_KEY", "ab" * 32)
    assert trax.load("loop") == 4


@given(st.binary(min_size=32, max_size=32), st.lists(st.binary(max_size=200), max_size=4))
def test_a_signature_is_an_hmac(secret: bytes, pieces: list[bytes]) -> None:
    """To be checked with any other implementation, however the bytes came."""
    key = Key(secret, "test")
    data = b"".join(pieces)
    assert key.sign(data) == hmac.digest(secret, data, "sha256")
    signer = Signer(key, b"before")
    signing = signer.begin()
    for piece in pieces:
        signing.update(piece)
    assert signer.after(signing) == signer.sign(data)
    assert signer.sign(data).last == hmac.digest(secret, b"before" + data, "sha256")
