"""Faults between a process and the store: never a wrong answer, and none of them takes long."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from object_stores import (
    Behaviour,
    Proxy,
    answer,
    cut_answer,
    forward,
    hang,
    hang_up,
    lose_answer,
    lose_answers,
    moto,
    moto_environment,
    request,
)

from trax.replica import cloud
from trax.replica.objects import Away, Missing, Objects, Refused, check, open_objects

pytest.importorskip("obstore")


@pytest.fixture
def objects(proxy: Proxy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Objects:
    """A store behind the proxy, whose requests have one second."""
    monkeypatch.setattr(cloud, "_QUICK", 1.0)
    monkeypatch.setattr(cloud, "_SLOW", 1.0)
    return open_objects(f"s3://bucket/{tmp_path.name}")


USES: list[Callable[[Objects], Any]] = [
    lambda objects: objects.put("new", [b"x"]),
    lambda objects: objects.get("there"),
    lambda objects: objects.read("there", 0, 1),
    lambda objects: objects.list(""),
    lambda objects: objects.delete(["there"]),
    check,
]


@pytest.mark.parametrize("use", USES, ids=["put", "get", "read", "list", "delete", "check"])
@pytest.mark.parametrize(
    "fault",
    [hang, hang_up, lose_answers, answer(500), answer(503), answer(429), answer(408)],
    ids=["hang", "hang up", "lose answers", "500", "503", "429", "408"],
)
def test_a_store_that_does_not_answer_is_away(
    objects: Objects, proxy: Proxy, fault: Behaviour, use: Callable[[Objects], Any]
) -> None:
    objects.put("there", [b"content"])
    proxy.behave = fault
    with pytest.raises(Away, match=r"cannot be used: .+\nCheck the network"):
        use(objects)
    proxy.behave = forward
    assert objects.put("after", [b"x"])


def test_a_server_that_is_stopped_is_away(monkeypatch: pytest.MonkeyPatch, moto_port: int) -> None:
    with moto() as emulator:
        for name, value in moto_environment(emulator.port).items():
            monkeypatch.setenv(name, value)
        objects = open_objects("s3://bucket")
        assert objects.put("a", [b"x"])
    for use in USES:
        with pytest.raises(Away, match="Connection refused"):
            use(objects)


def test_a_put_whose_answer_was_lost_is_never_one_of_another(
    objects: Objects, proxy: Proxy
) -> None:
    """It is tried again, and the object that is there is the caller's own."""
    proxy.behave = lose_answer
    assert objects.put("a", [b"mine"]) is False
    assert objects.get("a") == b"mine"


def test_a_put_that_was_away_may_have_been_done(objects: Objects, proxy: Proxy) -> None:
    proxy.behave = lose_answers
    with pytest.raises(Away):
        objects.put("a", [b"mine"])
    proxy.behave = forward
    assert not objects.put("a", [b"mine"])
    assert objects.get("a") == b"mine"


def test_an_answer_that_is_cut_off_is_no_object(objects: Objects, proxy: Proxy) -> None:
    objects.put("a", [os.urandom(100_000)])
    proxy.behave = cut_answer
    for use in (objects.get, lambda key: objects.read(key, 0, 50_000)):
        with pytest.raises(Away):
            use("a")


def test_a_conflict_is_not_an_object(objects: Objects, proxy: Proxy) -> None:
    """S3 answers 409 to writes at the same time, of which none may succeed."""
    conflict = answer(409, b"<Error><Code>ConditionalRequestConflict</Code></Error>")
    conflicts = []

    def conflict_at_puts(proxy: Proxy, client: Any) -> None:
        is_put = client.recv(3, 2) == b"PUT"  # which looks, and leaves it there
        conflicts.append(is_put)
        (conflict if is_put else forward)(proxy, client)

    proxy.behave = conflict_at_puts
    with pytest.raises(Away, match="others are writing"):
        objects.put("a", [b"x"])
    assert conflicts == [True, False] * 3
    proxy.behave = forward
    assert objects.put("a", [b"x"])


@pytest.mark.parametrize("body", [b"", b"<html>Not found</html>", b"<Code>NoSuchBucket</Code>"])
def test_only_a_store_can_say_that_an_object_is_missing(
    objects: Objects, proxy: Proxy, body: bytes
) -> None:
    """A server on the way can not, and a bucket that is gone is not an empty one."""
    with pytest.raises(Missing):
        objects.get("a")
    proxy.behave = answer(404, body)
    for use in (objects.get, lambda key: objects.read(key, 0, 1)):
        with pytest.raises(Refused):
            use("a")


@pytest.mark.parametrize(
    ("status", "body", "text"),
    [
        (400, b"<Code>ExpiredToken</Code>", r"ExpiredToken\nRenew the credentials"),
        (403, b"<Code>RequestTimeTooSkewed</Code>", "Set the clock of this machine"),
        (400, b"<Code>AuthorizationHeaderMalformed</Code>", "Set AWS_REGION to the region"),
        (400, b"Client sent an HTTP request to an HTTPS server.", r"only TLS\nWrite https://"),
        (404, b"<Code>NoSuchBucket</Code>", r"NoSuchBucket\nMake the bucket.*\n.*AWS_ENDPOINT_URL"),
        (501, b"", "knows conditional puts"),
    ],
)
def test_what_the_store_refuses_says_what_to_do(
    objects: Objects, proxy: Proxy, status: int, body: bytes, text: str
) -> None:
    proxy.behave = answer(status, body)
    with pytest.raises(Refused, match=text):
        check(objects)


def test_an_address_with_https_of_a_server_without_it_says_so(
    moto_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in moto_environment(moto_port).items():
        monkeypatch.setenv(name, value.replace("http://", "https://"))
    with pytest.raises(Refused, match=r"does not speak TLS\nWrite http:// .*AWS_ENDPOINT_URL"):
        check(open_objects("s3://bucket"))


def test_the_marks_of_directories_are_no_objects(
    objects: Objects, moto_port: int, tmp_path: Path
) -> None:
    """The S3 console makes them."""
    for path in ("", "runs/"):
        assert request(moto_port, "PUT", f"/bucket/{tmp_path.name}/{path}") == 200
    objects.put("runs/1", [b"x"])
    assert list(objects.list("runs")) == [("runs/1", 1)]


def test_large_objects_have_more_time(
    proxy: Proxy, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(cloud, "_QUICK", 1.0)
    objects = open_objects(f"s3://bucket/{tmp_path.name}")

    def late(proxy: Proxy, client: Any) -> None:
        time.sleep(1.5)
        forward(proxy, client)

    proxy.behave = late
    assert objects.put("large", [bytes(2_000_000)])
    assert len(objects.get("large")) == 2_000_000
    with pytest.raises(Away, match="Time"):
        objects.put("small", [bytes(1000)])


def test_settings_of_the_environment_are_those_of_obstore(
    proxy: Proxy, moto_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Such as a proxy, although trax has settings of its own."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://localhost:{moto_port}")
    assert open_objects("s3://bucket/settings").put("direct", [b"x"])
    assert proxy.connections == 0
    monkeypatch.setenv("AWS_PROXY_URL", f"http://127.0.0.1:{proxy.port}")
    assert open_objects("s3://bucket/settings").put("proxied", [b"x"])
    assert proxy.connections == 1


FORKED = """
import os, signal, sys
from trax.replica.objects import Refused, open_objects
signal.alarm(20)  # without the check, the fork would stop the threads of its parent as well
objects = open_objects(f"s3://bucket/{sys.argv[2]}/{sys.argv[1]}")
if sys.argv[1] == "used":
    objects.put("a", [b"x"])
child = os.fork()
if not child:
    signal.alarm(10)
    try:
        print(objects.put("b", [b"x"]), flush=True)
    except Refused as error:
        print(error, flush=True)
    os._exit(0)
os.waitpid(child, 0)
print(objects.put("c", [b"x"]))
"""


@pytest.mark.parametrize(("before", "said"), [("used", "cannot be used in a fork"), ("", "True")])
def test_a_fork_does_not_hang(proxy: Proxy, tmp_path: Path, before: str, said: str) -> None:
    """The threads of obstore are not in it; the parent goes on."""
    command = [sys.executable, "-W", "ignore", "-c", FORKED, before, tmp_path.name]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    lines = done.stdout.splitlines()
    assert said in lines[0]
    assert lines[-1] == "True"


@pytest.mark.parametrize(
    ("status", "is_new"), [(200, True), (412, False)], ids=["there was none", "there is one"]
)
def test_gcs_is_asked_to_put_only_if_absent(
    proxy: Proxy, monkeypatch: pytest.MonkeyPatch, status: int, *, is_new: bool
) -> None:
    """There is no emulator of its own: a server that says what it was asked has to do."""
    asked: list[bytes] = []

    def serve(proxy: Proxy, client: Any) -> None:
        head = client.recv(1 << 16).lower()
        asked.append(head)
        is_put = head.startswith(b"put")
        line = f"HTTP/1.1 {status if is_put else 200} Reason\r\n"
        fields = 'ETag: "1"\r\nLast-Modified: Thu, 26 Nov 2026 20:41:52 GMT\r\nContent-Length: 0'
        client.sendall(f"{line}{fields}\r\nConnection: close\r\n\r\n".encode())

    proxy.behave = serve
    key = {"gcs_base_url": f"http://127.0.0.1:{proxy.port}", "disable_oauth": True}
    key |= {"client_email": "", "private_key": "", "private_key_id": ""}
    monkeypatch.setenv("GOOGLE_SERVICE_ACCOUNT_KEY", json.dumps(key))
    monkeypatch.setenv("GOOGLE_ALLOW_HTTP", "true")
    assert open_objects("gs://bucket/prefix").put("a", [b"x"]) is is_new
    assert b"\r\nx-goog-if-generation-match: 0\r\n" in asked[0]
