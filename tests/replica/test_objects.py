"""All stores keep one contract, and one that cannot keep it is refused before a run begins."""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import pytest
from object_stores import Proxy, answer, forward, without_conditions

from trax.replica.objects import MAX_PUT, Missing, Objects, Refused, check, open_objects

# -- the contract --------------------------------------------------------------------------


def test_an_object_is_put_only_if_there_is_none(objects: Objects) -> None:
    assert objects.put("runs/a/1", [b"one"])
    assert not objects.put("runs/a/1", [b"two"])
    assert objects.get("runs/a/1") == b"one"


def test_of_eight_threads_one_wins(objects: Objects) -> None:
    """Each time; and all of them see its object afterwards."""
    barrier = Barrier(8)

    def claim(me: int, key: str) -> bool:
        barrier.wait()
        return objects.put(key, [b"%d" % me])

    with ThreadPoolExecutor(8) as pool:
        for number in range(10):
            won = list(pool.map(claim, range(8), [f"claims/{number}"] * 8))
            assert won.count(True) == 1
            assert objects.get(f"claims/{number}") == b"%d" % won.index(True)


CLAIM = """
import sys
from trax.replica.objects import open_objects
objects = open_objects(sys.argv[1])
input()
print([objects.put(f"claims/{number}", [sys.argv[2].encode()]) for number in range(20)])
"""


@pytest.mark.parametrize("objects", ["directory", "moto", "azurite"], indirect=True)
def test_of_four_processes_one_wins(objects: Objects) -> None:
    command = [sys.executable, "-c", CLAIM, objects.url]
    processes = [
        subprocess.Popen([*command, str(me)], stdin=-1, stdout=-1, text=True) for me in range(4)
    ]
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
    won = [eval(process.communicate()[0]) for process in processes]
    for number, each in enumerate(zip(*won, strict=True)):
        assert each.count(True) == 1
        assert objects.get(f"claims/{number}") == b"%d" % each.index(True)


def test_any_buffers_are_joined(objects: Objects) -> None:
    parts = [b"a", bytearray(b"bc"), memoryview(b"defg")[1:3], b"", memoryview(b"")]
    assert objects.put("joined", parts)
    assert objects.get("joined") == b"abcef"


@pytest.mark.parametrize("parts", [[], [b""], [b"", b""]])
def test_an_empty_object_is_an_object(objects: Objects, parts: list[bytes]) -> None:
    assert objects.put("empty", parts)
    assert not objects.put("empty", [b"x"])
    assert objects.get("empty") == b""
    assert list(objects.list("")) == [("empty", 0)]


def test_keys_have_all_characters_of_encoded_names(objects: Objects) -> None:
    keys = ["%20", "%2F", "%", "a~b", "-a", "_", "a.b", "A", "a", "%C3%BC/%E6%97%A5", "x" * 200]
    for key in keys:
        assert objects.put(f"runs/{key}", [key.encode()])
    assert [objects.get(f"runs/{key}") for key in keys] == [key.encode() for key in keys]
    assert [key for key, _ in objects.list("runs")] == sorted(f"runs/{key}" for key in keys)


@pytest.mark.parametrize("key", ["", "/", "a/", "/a", "a//b", "..", "a/../b", "a/.b", "a.", "ü"])
def test_no_other_key_is_taken(objects: Objects, key: str) -> None:
    with pytest.raises(ValueError, match="cannot be the key of an object"):
        objects.put(key, [b""])


def test_1100_keys_are_listed_in_order(objects: Objects) -> None:
    """More than a page of S3 has; parts are compared as texts, the slash with the rest."""
    keys = [f"n/{number}" for number in range(1090)]
    keys += ["a~b", "a-b/c", "a/b/c", "a/b-c", "a/b/d/e", "a0", "aa/b", "n-1", "n0/1", "Z"]
    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(lambda key: objects.put(key, [b"x" * (len(key) % 7)]), keys[:1090]))
        assert all(pool.map(lambda key: objects.put(key, [b"x"]), keys[1090:]))
    assert [key for key, _ in objects.list("")] == sorted(keys)
    assert dict(objects.list("n")) == {key: len(key) % 7 for key in keys[:1090]}
    behind = sorted(key for key in keys if key.startswith("n/") and key > "n/2")
    assert [key for key, _ in objects.list("n", after="n/2")] == behind
    assert [key for key, _ in objects.list("a")] == ["a/b-c", "a/b/c", "a/b/d/e"]
    assert list(objects.list("a", after="a/b/d/e")) == []
    assert list(objects.list("nothing")) == []


def test_parts_of_an_object_are_read(objects: Objects) -> None:
    objects.put("object", [bytes(range(256))])
    assert objects.read("object", 0, 1) == b"\0"
    assert objects.read("object", 10, 20) == bytes(range(10, 30))
    assert objects.read("object", 255, 1) == b"\xff"
    assert objects.read("object", 250, 1000) == bytes(range(250, 256))


def test_what_is_not_there_is_missing(objects: Objects) -> None:
    for use in (objects.get, lambda key: objects.read(key, 0, 1)):
        with pytest.raises(Missing, match="a/b"):
            use("a/b")


def test_deleting_takes_some_that_are_missing(objects: Objects) -> None:
    keys = [f"a/{number}" for number in range(1020)]
    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(lambda key: objects.put(key, [b"x"]), keys))
    objects.delete(["b/none", "a/none", *keys[:1010], "z"])
    assert [key for key, _ in objects.list("")] == sorted(keys[1010:])
    objects.delete([])
    objects.delete(keys[1010:])
    objects.delete(["a/1"])
    assert list(objects.list("")) == []
    assert objects.put("a/1", [b"again"])


@pytest.mark.parametrize("size", [20_000_000, MAX_PUT])
def test_large_objects_are_put_and_read(objects: Objects, size: int) -> None:
    content = os.urandom(1000) * (size // 1000 + 1)
    assert objects.put("large", [content[:1], memoryview(content)[1:size]])
    assert not objects.put("large", [content[:size]])
    assert objects.get("large") == content[:size]
    assert objects.read("large", size - 5_000_000, 5_000_000) == content[size - 5_000_000 : size]


# -- opening -------------------------------------------------------------------------------


def test_a_store_that_keeps_the_contract_is_checked_twice(objects: Objects) -> None:
    check(objects)
    check(objects)
    assert dict(objects.list("")) == {"probe": 1}


def test_a_store_that_overwrites_is_refused(proxy: Proxy) -> None:
    """Each time, and nothing is left there."""
    proxy.behave = without_conditions
    objects = open_objects("s3://bucket/overwrites")
    for _ in range(2):
        with pytest.raises(Refused, match="overwrites an object"):
            check(objects)
    proxy.behave = forward
    assert list(objects.list("")) == []


@pytest.mark.parametrize(
    ("status", "advice"),
    [
        (403, "Check the credentials"),
        (401, "Check the credentials"),
        (301, "AWS_REGION"),
        (400, "settings"),
        (501, "settings"),
        (404, "Make the bucket"),
    ],
)
def test_a_store_that_refuses_is_refused(proxy: Proxy, status: int, advice: str) -> None:
    objects = open_objects("s3://bucket")
    proxy.behave = answer(status)
    with pytest.raises(Refused, match=rf"s3://bucket cannot be used: .*\n.*{advice}"):
        check(objects)


@pytest.mark.parametrize("objects", ["moto", "azurite"], indirect=True)
def test_a_bucket_that_is_missing_is_not_an_empty_one(objects: Objects) -> None:
    objects = open_objects(f"{objects.url[:2]}://none/prefix")
    for use in (
        lambda: check(objects),
        lambda: objects.get("a"),
        lambda: objects.read("a", 0, 1),
        lambda: objects.list(""),
    ):
        with pytest.raises(Refused, match="Make the bucket"):
            use()


@pytest.mark.parametrize("url", ["http://host/x", "s4://bucket", "memory://", "S3://bucket"])
def test_other_urls_are_refused(url: str) -> None:
    with pytest.raises(Refused, match="begins with s3://"):
        open_objects(url)


@pytest.mark.parametrize("url", ["s3://", "gs:///prefix", "az://"])
def test_a_url_without_a_bucket_is_refused(url: str) -> None:
    with pytest.raises(Refused, match="names no bucket"):
        open_objects(url)


def test_a_url_of_a_file_is_a_directory(tmp_path: Path) -> None:
    open_objects(f"file://{tmp_path}/new").put("a", [b"x"])
    assert open_objects("new").get("a") == b"x"
    assert open_objects(str(tmp_path / "new")).url == f"{tmp_path}/new"


def test_without_obstore_it_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "obstore", None)
    with pytest.raises(Refused, match=r"pip install 'trax-resumable\[objects\]'"):
        open_objects("s3://bucket")
