"""The key that a store is signed with: where it is found, and when it is none."""

from __future__ import annotations

from pathlib import Path

import pytest
from test_signing import loop

import trax
from trax import UntrustedError, UsageError
from trax.cli import main
from trax.storage.keys import find_key, make_key
from trax.storage.signing import Key


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Look for keys as a person's program does; return where theirs would be."""
    monkeypatch.delenv("TRAX_KEY")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    return tmp_path / "config" / "trax" / "key"


def test_a_key_that_was_made_is_found(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """By its default place; only the user can read it, and it is never overwritten."""
    assert find_key("/store") is None
    assert main(["keygen"]) == 0
    key = find_key("/store")
    assert key is not None
    assert f"{config}: key {key.id}" in capsys.readouterr().out
    assert config.stat().st_mode & 0o777 == 0o600
    before = config.read_text()
    assert main(["keygen"]) == 1
    assert f"{config} exists" in capsys.readouterr().err
    assert config.read_text() == before


def test_the_environment_says_which_key(
    config: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """TRAX_KEY before TRAX_KEY_FILE before the default place; empty, it says none."""
    make_key(str(config))
    assert main(["keygen", "mine"]) == 0
    assert f"TRAX_KEY_FILE={Path('mine').resolve()} is set" in capsys.readouterr().out
    assert main(["keygen", "-"]) == 0
    text = capsys.readouterr().out.strip()
    ids = [getattr(find_key("/store"), "id", None)]
    monkeypatch.setenv("TRAX_KEY_FILE", "mine")
    ids.append(getattr(find_key("/store"), "id", None))
    monkeypatch.setenv("TRAX_KEY", text)
    ids.append(getattr(find_key("/store"), "id", None))
    assert None not in ids
    assert len(set(ids)) == 3
    monkeypatch.setenv("TRAX_KEY", "")
    assert find_key("/store") is None


def test_a_key_says_nothing_of_itself() -> None:
    """Its eight digits are not its own."""
    secret = bytes(range(32))
    assert Key(secret, "here").id not in secret.hex()
    assert secret.hex() not in repr(Key(secret, "here"))


@pytest.mark.parametrize("text", ["secret", "12" * 31, "12" * 33, "xy" * 32])
def test_what_is_no_key_is_refused(
    text: str, config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And not shown."""
    config.parent.mkdir(parents=True)
    config.write_text(text)
    config.chmod(0o600)
    with pytest.raises(UsageError, match=f"{config} must contain a key of 64") as caught:
        trax.Trax()
    assert text not in str(caught.value)
    monkeypatch.setenv("TRAX_KEY", text)
    with pytest.raises(UsageError, match="TRAX_KEY must contain a key of 64 hexadecimal digits"):
        loop(to=3)


def test_a_key_that_is_named_and_missing_is_an_error(
    config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run is not begun unsigned for that."""
    monkeypatch.setenv("TRAX_KEY_FILE", "nowhere")
    with pytest.raises(UsageError, match=r"(?s)names the file nowhere,.*keygen nowhere"):
        loop(to=3)


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o620, 0o602])
def test_a_key_that_others_can_read_or_write_is_no_key(mode: int, config: Path) -> None:
    """They could sign what this user would load."""
    make_key(str(config))
    config.chmod(mode)
    with pytest.raises(UntrustedError, match=str(config)):
        trax.Trax()


def test_a_key_in_the_store_that_it_is_to_protect_is_refused(
    config: Path, monkeypatch: pytest.MonkeyPatch, store_here: Path
) -> None:
    """Whoever can write there could sign."""
    make_key(str(store_here / "key"))
    monkeypatch.setenv("TRAX_KEY_FILE", str(store_here / "key"))
    with pytest.raises(UntrustedError, match="lies in the store"):
        trax.Trax()
