"""Stores of objects: emulators are started once for all tests, and ended by their own ids."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from object_stores import (
    MemoryObjects,
    Proxy,
    azurite,
    azurite_environment,
    is_here,
    moto,
    moto_environment,
)

from trax.replica.objects import Objects, open_objects


@pytest.fixture(autouse=True)
def _no_credentials(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Whoever runs the tests, there are no credentials but those of a test."""
    for name in os.environ:
        if name.startswith(("AWS_", "AZURE_", "GOOGLE_", "GCE_", "IDENTITY_", "TRAX_METADATA")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


@pytest.fixture(scope="session")
def moto_port() -> Iterator[int]:
    """The port of moto's server, an S3 on loopback with one bucket."""
    if not is_here("moto"):
        pytest.skip("moto or obstore is not installed")
    with moto() as emulator:
        yield emulator.port


@pytest.fixture(scope="session")
def azurite_port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """The port of Azurite, an Azure on loopback with one container."""
    if not is_here("azurite"):
        pytest.skip("Azurite or obstore is not installed")
    with azurite(tmp_path_factory.mktemp("azurite")) as emulator:
        yield emulator.port


@pytest.fixture
def set_environment(monkeypatch: pytest.MonkeyPatch) -> Callable[[dict[str, str]], None]:
    """Set variables for a test."""

    def set_all(variables: dict[str, str]) -> None:
        for name, value in variables.items():
            monkeypatch.setenv(name, value)

    return set_all


@pytest.fixture(params=["memory", "directory", "moto", "azurite"])
def objects(
    request: pytest.FixtureRequest,
    tmp_path: Path,
    set_environment: Callable[[dict[str, str]], None],
) -> Objects:
    """An empty store of each kind."""
    if request.param == "memory":
        return MemoryObjects()
    if request.param == "directory":
        return open_objects(str(tmp_path / "objects"))
    if request.param == "moto":
        set_environment(moto_environment(request.getfixturevalue("moto_port")))
        return open_objects(f"s3://bucket/{tmp_path.name}/a b%20c")
    set_environment(azurite_environment(request.getfixturevalue("azurite_port")))
    return open_objects(f"az://bucket/{tmp_path.name}/a b%20c")


@pytest.fixture
def proxy(moto_port: int, set_environment: Callable[[dict[str, str]], None]) -> Iterator[Proxy]:
    """A proxy, by which ``s3://bucket`` leads to moto."""
    proxy = Proxy(moto_port)
    set_environment(moto_environment(proxy.port))
    yield proxy
    proxy.close()
