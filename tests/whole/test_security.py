"""Attacks: what somebody can do who writes where the store lies, and what trax does then."""

from __future__ import annotations

import contextlib
import copy
import errno
import itertools
import os
import pickle
import shutil
import stat
import sys
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from types import FrameType

import cloudpickle
import pytest
from canaries import restore, with_canaries
from support import run_script

import trax
from trax import TraxError, UntrustedError, UsageError
from trax.cli import main
from trax.storage.keys import find_key, make_key
from trax.storage.signing import Key

KEYS = pytest.mark.parametrize("key", ["11" * 32, ""], ids=["with a key", "without"])


def append(state: str, increment: str) -> str:
    return state + increment


# -- files of one run, at different times --------------------------------------------------


@KEYS
def test_a_mixture_of_two_histories_gives_no_state_that_never_was(
    key: str, monkeypatch: pytest.MonkeyPatch, store_here: Path, count: Callable[[str, int], None]
) -> None:
    """A store was put back to an earlier day and gone on with; files of both are there."""
    monkeypatch.setenv("TRAX_KEY", key)
    directory = store_here / "runs" / "x"

    def states() -> str:
        with trax.Trax() as store:
            return store.recover("x", replay_log=append)

    with trax.Trax() as store:
        store.checkpoint(x="-")
        store.log(x="0")
    earlier = {path.name: path.read_bytes() for path in directory.iterdir()}
    stored, histories = {"-", "-0"}, [earlier]
    for letter in "AB":
        shutil.rmtree(directory)
        directory.mkdir(0o700)
        for name, content in earlier.items():
            (directory / name).touch(0o600)
            (directory / name).write_bytes(content)
        with trax.Trax() as store:
            store.log(x="1")
            stored.add("-01")
            store.checkpoint(x=letter)
            stored.add(letter)
            for increment in (f"{letter}2", "3"):
                store.log(x=increment)
                stored.add(states())
        histories.append({path.name: path.read_bytes() for path in directory.iterdir()})
    names = sorted(set().union(*histories))
    choices = [{content.get(name) for content in histories} | {None} for name in names]
    mixtures = 0
    for mixture in itertools.product(*choices):
        shutil.rmtree(directory)
        directory.mkdir(0o700)
        for name, found in zip(names, mixture, strict=True):
            if found is not None:
                (directory / name).touch(0o600)
                (directory / name).write_bytes(found)
        with contextlib.suppress(TraxError):
            assert states() in stored
        mixtures += 1
    assert mixtures > 50
    count("mixtures of files read", mixtures)


# -- what stands where trax is about to write ----------------------------------------------


@trax.resumable(create=int, every_steps=2)
def writes(n: int, to: int) -> Generator[int, int, None]:
    with trax.open("out.txt") as file:
        while n < to:
            print(n, file=file)
            n = yield n + 1


@trax.resumable(create=int, every_steps=3, varying=("to",), sync="os")
def varies(n: int, to: int) -> Generator[int, int, None]:
    while n < to:
        n = yield n + 1


def half_done(store: Path) -> list[str]:
    """Leave a run with a torn log and too long an output file; return where it will write."""
    with writes(to=9) as run:
        for _ in range(5):
            next(run)
    directory = store / "runs" / "writes"
    last = max(directory.glob("log-*"))
    size = last.stat().st_size
    with last.open("ab") as file:
        file.write(b"torn")
    with Path("out.txt").open("a") as file:
        file.write("too much")
    number = int(last.name[-8:])
    run_files = [
        f"{kind}-{n:08d}" for kind in ("log", "checkpoint") for n in (number + 1, number + 2)
    ]
    run_files += [f"{name}.tmp" for name in run_files] + [f"{last.name}.torn-{size}", "out.txt.cut"]
    return [".gitignore", "locks/writes", "aside", "aside/writes~1"] + [
        f"runs/writes/{name}" for name in run_files
    ]


PLANTS: dict[str, Callable[[Path, Path], None]] = {
    "symbolic link": lambda path, precious: path.symlink_to(precious),
    "hard link": lambda path, precious: path.hardlink_to(precious),
    "dangling link": lambda path, precious: path.symlink_to(precious.with_name("made")),
    "link to a directory": lambda path, precious: path.symlink_to(precious.parent),
    "FIFO": lambda path, _: os.mkfifo(path, 0o600),
}


@pytest.mark.parametrize("plant", PLANTS.values(), ids=PLANTS)
@pytest.mark.parametrize("place", range(14))
def test_nothing_is_written_through_what_stands_in_the_way(
    place: int, plant: Callable[[Path, Path], None], store_here: Path, tmp_path: Path
) -> None:
    """A link at any place that trax writes to, empties, renames or removes leads nowhere."""
    vault = tmp_path / "vault"
    vault.mkdir()
    precious = vault / "precious"
    precious.write_bytes(b"precious" * 1000)
    path = store_here / half_done(store_here)[place]
    if path.is_file():
        path.unlink()
    path.parent.mkdir(mode=0o700, exist_ok=True)
    plant(path, precious)
    for action in (writes(to=9).result, writes.fresh(to=9).result, writes(to=9).result):
        with contextlib.suppress(TraxError):
            assert action() == 9
            assert Path("out.txt").read_text().split() == [*"012345678"]
    assert precious.read_bytes() == b"precious" * 1000
    assert list(vault.iterdir()) == [precious]


@pytest.mark.parametrize("part", ["", "runs", "locks", "runs/writes"])
def test_no_directory_of_a_store_is_a_link(part: str, store_here: Path, tmp_path: Path) -> None:
    """But the store itself may be reached through one that was there when the program began."""
    half_done(store_here)
    place = store_here / part
    place.rename(tmp_path / "elsewhere")
    run = writes(to=9)
    place.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(UntrustedError, match="is not a directory"):
        run.result()
    if not part:
        assert writes(to=9).result() == 9


def test_a_lock_file_that_is_another_file_too_is_not_emptied(store_here: Path) -> None:
    """The error says what to do, and that helps."""
    Path("precious").write_text("precious")
    Path("precious").chmod(0o600)
    assert varies(to=3).result() == 3
    lock = store_here / "locks" / "varies"
    lock.unlink()
    lock.hardlink_to("precious")
    with pytest.raises(UntrustedError, match=r"(?s)hard link.*remove this name"):
        varies(to=5).result()
    assert Path("precious").read_text() == "precious"
    lock.unlink()
    assert varies(to=5).result() == 5


def test_a_copy_of_hard_links_does_not_cut_the_original(
    store_here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As `cp -al` makes it: what looks torn there may be going on to be written here."""
    half_done(store_here)
    shutil.copytree(store_here, "copy", copy_function=os.link)
    shutil.rmtree("copy/locks")
    before = {path.name: path.read_bytes() for path in (store_here / "runs/writes").iterdir()}
    monkeypatch.setenv("TRAX_DIR", "copy")
    with pytest.raises(UntrustedError, match=r"log-\d+ has another name somewhere"):
        writes(to=9).result()
    after = {path.name: path.read_bytes() for path in (store_here / "runs/writes").iterdir()}
    assert after == before


def test_everything_in_a_store_is_private(store_here: Path) -> None:
    """Whatever the umask."""
    old = os.umask(0)
    try:
        half_done(store_here)
        writes(to=9).result()
        writes.fresh(to=3).result()
    finally:
        os.umask(old)
    for path in [store_here, *store_here.rglob("*")]:
        mode = stat.S_IMODE(path.lstat().st_mode)
        assert mode == (0o700 if path.is_dir() else 0o600), path


# -- a directory that is swapped -----------------------------------------------------------


WITH_PATHS = {os.open, os.stat, os.lstat, os.mkdir, os.rename, os.remove, os.listdir, os.readlink}


def at_each_call(action: Callable[[], object], strike: Callable[[], object]) -> Iterator[int]:
    """Do something again and again, and strike before another of its system calls each time.

    Only those that take a path can be led elsewhere: between two of them any moment is the same.
    """
    number, left = 0, 0

    def watch(frame: FrameType, event: str, called: object) -> None:
        nonlocal left
        if event == "c_call" and called in WITH_PATHS:
            left -= 1
            if left == 0:
                sys.setprofile(None)
                strike()

    while True:
        number += 1
        left = number
        sys.setprofile(watch)
        try:
            with contextlib.suppress(TraxError, OSError, TypeError):  # a canary is no state
                action()
        finally:
            sys.setprofile(None)
        if left > 0:
            return
        yield number


def attackers_run(directory: Path, honest: dict[str, bytes]) -> None:
    """Make a directory of a run that belongs to somebody else; every pickle in it is a canary."""
    directory.mkdir(0o700)
    restore(directory, {name: next(with_canaries(honest[name]), honest[name]) for name in honest})
    for path in (directory, *directory.iterdir()):
        os.chown(path, 54321, 54321)


needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs files of another user")


@needs_root
@pytest.mark.parametrize("is_linked", [False, True], ids=["renamed", "linked"])
def test_a_directory_that_is_swapped_at_any_call_brings_nothing_of_others(
    is_linked: bool, store_here: Path, count: Callable[[str, int], None]
) -> None:
    """By somebody who can write to what lies above it, and who knows the format."""
    assert varies(to=4).result() == 4
    theirs, place = Path("theirs").resolve(), store_here / "runs" / "varies"
    honest = {path.name: path.read_bytes() for path in place.iterdir()}

    def prepare() -> None:
        for path in (store_here, theirs):
            shutil.rmtree(path, ignore_errors=True)
        for path in (store_here, place.parent, place):
            path.mkdir(0o700)
        restore(place, honest)
        attackers_run(theirs, honest)

    def strike() -> None:
        place.rename(theirs.with_name("gone"))
        if is_linked:
            place.symlink_to(theirs)
        else:
            theirs.rename(place)

    def act() -> None:
        varies(to=7).result()
        trax.load("varies")

    prepare()
    before = {path.name: path.read_bytes() for path in theirs.iterdir()}
    strikes = 0
    for _ in at_each_call(act, strike):
        assert not Path("loaded").exists()
        where = theirs if is_linked else place
        if where.is_dir():
            assert {path.name: path.read_bytes() for path in where.iterdir()} == before
        shutil.rmtree("gone", ignore_errors=True)
        prepare()
        strikes += 1
    assert strikes > 50
    count("directories swapped at system calls", strikes)


@needs_root
def test_a_store_that_is_swapped_at_any_call_brings_nothing_of_others(
    store_here: Path, count: Callable[[str, int], None]
) -> None:
    """Whose lock file is a file of the user, and whose directories anybody can write to."""
    assert varies(to=4).result() == 4
    theirs, gone = Path("theirs"), Path("gone")
    honest = {path.name: path.read_bytes() for path in (store_here / "runs/varies").iterdir()}
    Path("precious").write_text("precious")
    Path("precious").chmod(0o600)

    def prepare() -> None:
        for path in (store_here, theirs, gone):
            shutil.rmtree(path, ignore_errors=True)
        for store in (store_here, theirs):
            for path in (store, store / "runs", store / "locks", store / "runs/varies"):
                path.mkdir(0o700)
        restore(store_here / "runs/varies", honest)
        shutil.rmtree(theirs / "runs/varies")
        attackers_run(theirs / "runs/varies", honest)
        (theirs / "locks/varies").hardlink_to("precious")
        for path in (theirs, theirs / "runs", theirs / "locks"):
            os.chown(path, 54321, 54321)

    def strike() -> None:
        store_here.rename(gone)
        theirs.rename(store_here)

    prepare()
    strikes = 0
    for _ in at_each_call(lambda: varies(to=7).result(), strike):
        assert not Path("loaded").exists()
        assert Path("precious").read_text() == "precious"
        prepare()
        strikes += 1
    assert strikes > 30
    count("directories swapped at system calls", strikes)


@needs_root
@pytest.mark.parametrize("key", ["11" * 32, ""], ids=["with a key", "without"])
@pytest.mark.parametrize("trust", ["", "1"])
def test_nothing_of_another_user_is_loaded(
    key: str, trust: str, store_here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Be it one file, one directory, or all; without a key the person can accept owners."""
    monkeypatch.setenv("TRAX_KEY", key)
    monkeypatch.setenv("TRAX_TRUST", trust)
    with varies(to=9) as run:
        for _ in range(5):
            next(run)
    place = store_here / "runs" / "varies"
    honest = {path.name: path.read_bytes() for path in place.iterdir()}
    planted = {name: next(with_canaries(honest[name]), honest[name]) for name in honest}
    newest = max(name for name in honest if name.startswith("log"))
    generation = newest[-8:]
    readers: list[Callable[[], object]] = [
        lambda: trax.load("varies"),
        lambda: varies(to=9).result(),
        lambda: trax.Trax().log(varies=1),
    ]
    loaded = 0
    for theirs in ([newest], [f"checkpoint-{generation}"], ["."], [".", *honest]):
        restore(place, {name: (planted if name in theirs else honest)[name] for name in honest})
        for name in theirs:
            os.chown(place / name, 54321, 54321)
        for reader in readers:
            if trust:
                with contextlib.suppress(TraxError, TypeError):  # a canary is no state
                    reader()
            else:
                with pytest.raises(UntrustedError, match="belongs to user 54321"):
                    reader()
            if Path("loaded").exists():
                Path("loaded").rmdir()
                loaded += 1
        os.chown(place, 0, 0)
    assert bool(loaded) == (trust == "1" and not key)


# -- names ---------------------------------------------------------------------------------


def test_two_names_that_a_file_system_does_not_tell_apart_are_told_apart(
    monkeypatch: pytest.MonkeyPatch, store_here: Path
) -> None:
    """Upper and lower case, as on macOS; composed and decomposed letters are never the same."""

    def run(name: str) -> trax.Run[int, int, None]:
        @trax.resumable(create=int, name=name)
        def loop(n: int, to: int) -> Generator[int, int, None]:
            while n < to:
                n = yield n + 1

        return loop(to=3)

    names = ["run", "Run", "caf\u00e9", "cafe\u0301", "run.", "run ", "RUN~1", "con", "\u202enur"]
    for name in names:
        with run(name) as begun:
            next(begun)
    paths = [path.name for path in (store_here / "runs").iterdir()]
    assert len({path.lower().rstrip(". ") for path in paths}) == len(names) - 1
    shutil.rmtree(store_here / "runs" / "run")
    real = os.lstat

    def blind(path: str) -> os.stat_result:
        where, name = os.path.split(path)
        return real(
            next(
                (Path(where, one) for one in os.listdir(where) if one.lower() == name.lower()),
                Path(path),
            )
        )

    monkeypatch.setattr(os, "lstat", blind)
    for act in (run("run").result, lambda: trax.load("run")):
        with pytest.raises(UsageError, match="the run 'run' cannot be told from 'Run'"):
            act()
    assert run("Run").result() == 3


# -- output files --------------------------------------------------------------------------


def test_files_of_the_same_name_are_kept_apart_when_they_are_cut(store_here: Path) -> None:
    """Also where they differ in case only, which some file systems do not see."""
    paths = [Path(name, file) for name in "abc" for file in ("Out.txt", "out.txt")]
    for path in paths:
        path.parent.mkdir(exist_ok=True)

    @trax.resumable(create=int)
    def many(n: int) -> Generator[int, int, None]:
        for path in paths:
            trax.open(path)
        while n < 2:
            n = yield n + 1

    with many() as run:
        next(run)
    for path in paths:
        path.write_text(f"too much in {path}")
    assert many().result() == 2
    kept = list((store_here / "runs" / "many").glob("*.cut"))
    assert sorted(path.read_text() for path in kept) == [f"too much in {path}" for path in paths]
    assert len({path.name.lower() for path in kept}) == len(paths)


@pytest.mark.parametrize("kind", ["FIFO", "directory", "link to a device"])
def test_only_a_regular_file_is_cut_back(kind: str) -> None:
    """Anything else is an error by name, and no program waits for it."""
    with writes(to=9) as run:
        next(run)
    Path("out.txt").unlink()
    if kind == "FIFO":
        os.mkfifo("out.txt")
    elif kind == "directory":
        Path("out.txt").mkdir()
    else:
        Path("out.txt").symlink_to(os.devnull)
    with pytest.raises(trax.CorruptionError, match=r"out\.txt .*it is not a regular file"):
        writes(to=9).result()


@needs_root
def test_a_file_of_another_user_is_neither_written_nor_cut_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Not by root either; the person can accept it."""
    with writes(to=9) as run:
        next(run)
    with Path("out.txt").open("a") as file:
        file.write("of somebody else")
    os.chown("out.txt", 54321, 54321)
    before = Path("out.txt").read_text()
    for action in (writes(to=9).result, writes.fresh(to=9).result):
        with pytest.raises(UntrustedError, match=r"out\.txt belongs to user 54321"):
            action()
    assert Path("out.txt").read_text() == before
    monkeypatch.setenv("TRAX_TRUST", "1")
    assert writes.fresh(to=9).result() == 9


# -- keys ----------------------------------------------------------------------------------


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Look for keys as a person's program does; return where theirs would be."""
    monkeypatch.delenv("TRAX_KEY")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    (tmp_path / "config" / "trax").mkdir(parents=True)
    return tmp_path / "config" / "trax" / "key"


OTHERS: dict[str, Callable[[Path], None]] = {
    "FIFO": lambda path: os.mkfifo(path, 0o600),
    "directory": lambda path: path.mkdir(),
    "link to a device": lambda path: path.symlink_to("/dev/zero"),
    "dangling link": lambda path: path.symlink_to("unplugged"),
    "link to itself": lambda path: path.symlink_to(path),
    "huge": lambda path: os.truncate(os.open(path, os.O_CREAT | os.O_RDWR, 0o600), 1 << 40),
}


@pytest.mark.parametrize("put", OTHERS.values(), ids=OTHERS)
def test_what_is_no_key_is_an_error_and_never_as_if_there_were_none(
    put: Callable[[Path], None], config: Path
) -> None:
    """At the default place: with no key at all whatever stands in a store would be believed."""
    put(config)
    with pytest.raises((UsageError, UntrustedError), match=f"{config.parent}|/dev/zero"):
        trax.Trax()


def test_a_key_that_cannot_be_reached_is_an_error(config: Path) -> None:
    """A home directory that is not there just now is no reason to go on without."""
    make_key(str(config))
    config.parent.chmod(0)
    script = """
import os
from trax import Trax  # another user may not read the modules of trax
if os.geteuid() == 0:
    os.seteuid(54321)  # root may read everything
Trax()
"""
    done = run_script(script, check=False)
    config.parent.chmod(0o700)
    assert f"UsageError: the key {config} cannot be read" in done.stderr


def test_trust_in_a_store_is_no_trust_in_a_key(
    config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """TRAX_TRUST is said of stores; whoever can write the key could sign."""
    make_key(str(config))
    config.chmod(0o620)
    monkeypatch.setenv("TRAX_TRUST", "1")
    with pytest.raises(UntrustedError, match=r"(?s)mode 620.* go-w on it\.$"):
        trax.Trax()


@pytest.mark.parametrize("by", ["..", "a link", "a mount or another case"])
def test_a_key_in_the_store_is_found_out_by_whichever_name(
    by: str, config: Path, monkeypatch: pytest.MonkeyPatch, store_here: Path
) -> None:
    """What counts is where it lies."""
    make_key(str(store_here / "deep" / "key"))
    path = {
        "..": f"{store_here}/runs/../deep/key",
        "a link": "link/deep/key",
        "a mount or another case": f"{store_here}/deep/key",
    }[by]
    (store_here / "runs").mkdir()
    Path("link").symlink_to(store_here)
    monkeypatch.setenv("TRAX_KEY_FILE", path)
    store = str(Path("other").absolute()) if "mount" in by else str(store_here)
    if "mount" in by:  # the same directory under another path that is no link
        real = os.stat
        monkeypatch.setattr(
            os, "stat", lambda at, **how: real(store_here if at == store else at, **how)
        )
    with pytest.raises(UntrustedError, match="lies in the store"):
        find_key(store)


def test_a_relative_directory_of_configuration_is_ignored(
    config: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """As its specification says: the current directory may be anybody's."""
    make_key("relative/trax/key")
    monkeypatch.setenv("XDG_CONFIG_HOME", "relative")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert find_key("/store") is None


@pytest.mark.parametrize("put", [OTHERS["dangling link"], OTHERS["FIFO"], OTHERS["directory"]])
def test_a_key_is_made_only_where_nothing_is(
    put: Callable[[Path], None], config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A link would lead it to where somebody else may look."""
    put(config)
    assert main(["keygen"]) == 1
    assert "exists" in capsys.readouterr().err
    assert not config.with_name("unplugged").exists()


def test_a_key_that_could_not_be_stored_is_no_key(
    config: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """On a full disk nothing is left behind that would be in the way of the next attempt."""

    def full(fd: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        assert main(["keygen"]) == 1
    assert "No space" in capsys.readouterr().err
    assert main(["keygen"]) == 0


def test_a_key_is_in_no_pickle_and_no_message(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor in the store that it signs, nor in what is printed where it is wrong."""
    secret = bytes(range(32))
    key = Key(secret, "here")
    for dump in (pickle.dumps, cloudpickle.dumps, copy.deepcopy):
        with pytest.raises(TypeError):
            dump(key)
    monkeypatch.setenv("TRAX_KEY", secret.hex())
    assert varies(to=4).result() == 4
    for path in Path(".trax").rglob("*"):
        if path.is_file():
            assert secret not in path.read_bytes()
            assert secret.hex().encode() not in path.read_bytes()
    monkeypatch.setenv("TRAX_KEY", secret.hex() + "0")
    done = run_script("import trax\ntrax.Trax()", check=False)
    assert "TRAX_KEY must contain" in done.stderr
    assert secret.hex() not in done.stderr
