"""Stores of objects for tests: in memory, emulators on loopback, and a proxy that makes faults."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import hmac
import http.client
import importlib.util
import select
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from email.utils import formatdate
from pathlib import Path
from typing import Any, NamedTuple

from trax.replica.seam import Missing, check_key

BUCKET = "bucket"
AZURITE_ACCOUNT = "devstoreaccount1"  # with a key that everybody knows
AZURITE_KEY = (
    "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
)

# Ends with the process that has started it, even if that is killed.
MOTO = """
import logging, sys
from moto.server import ThreadedMotoServer
logging.getLogger("werkzeug").setLevel(logging.ERROR)
server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
server.start()
print(server.get_host_and_port()[1], flush=True)
sys.stdin.read()
"""


class MemoryObjects:
    """A store in memory.

    Attributes
    ----------
    puts : list of tuple
        The keys and objects of all puts that have stored something, in their order.
    """

    url = "memory://"

    def __init__(self, puts: Sequence[tuple[str, bytes]] = ()) -> None:
        self.puts = list(puts)
        self._objects = dict(puts)
        self._lock = threading.Lock()

    def put(self, key: str, parts: Sequence[Any]) -> bool:
        check_key(key)
        content = b"".join(parts)
        with self._lock:
            if key in self._objects:
                return False
            self._objects[key] = content
            self.puts.append((key, content))
            return True

    def get(self, key: str) -> bytes:
        try:
            return self._objects[key]
        except KeyError:
            raise Missing(key) from None

    def read(self, key: str, start: int, length: int) -> bytes:
        return self.get(key)[start : start + length]

    def list(self, prefix: str, after: str = "") -> Iterator[tuple[str, int]]:
        below = f"{prefix}/" if prefix else ""
        with self._lock:
            found = sorted((key, len(content)) for key, content in self._objects.items())
        return (one for one in found if one[0].startswith(below) and one[0] > after)

    def delete(self, keys: Sequence[str]) -> None:
        with self._lock:
            for key in keys:
                self._objects.pop(key, None)


# -- emulators -----------------------------------------------------------------------------


def is_here(emulator: str) -> bool:
    """Return whether an emulator, moto or azurite, is installed, and obstore."""
    needed = ["obstore", *(["moto", "flask"] if emulator == "moto" else [])]
    is_found = emulator == "moto" or azurite_path() is not None
    return is_found and all(importlib.util.find_spec(name) for name in needed)


class Emulator(NamedTuple):
    """A server on loopback, and the id of its process."""

    port: int
    pid: int


@contextlib.contextmanager
def moto() -> Iterator[Emulator]:
    """Run moto's server for a ``with`` block, with a bucket."""
    with subprocess.Popen(
        [sys.executable, "-c", MOTO],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as server:
        try:
            assert server.stdout is not None
            port = int(server.stdout.readline())
            assert request(port, "PUT", f"/{BUCKET}") == 200
            yield Emulator(port, server.pid)
        finally:
            server.kill()


def moto_environment(port: int) -> dict[str, str]:
    """Return the environment in which ``s3://bucket`` is the one of moto."""
    return {
        "AWS_ACCESS_KEY_ID": "id",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
        "AWS_REGION": "us-east-1",
    }


def azurite_path() -> str | None:
    """Return the path of Azurite's server of blobs, if it is installed."""
    return shutil.which("azurite-blob")


@contextlib.contextmanager
def azurite(directory: Path, port: int = 0, *, lasts: bool = False) -> Iterator[Emulator]:
    """Run Azurite for a ``with`` block, with a container.

    If it `lasts`, its blobs are in the directory at the end, for another one with the same port.
    """
    path = azurite_path()
    assert path is not None
    options = ["--blobHost", "127.0.0.1", "--blobPort", str(port), "--silent", "--disableTelemetry"]
    with subprocess.Popen(
        [path, *options, *([] if lasts else ["--inMemoryPersistence"]), "--skipApiVersionCheck"],
        cwd=directory,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as server:
        try:
            assert server.stdout is not None
            line = next(line for line in server.stdout if "successfully listens" in line)
            if not port:
                _make_container(int(line.rpartition(":")[2]))
            yield Emulator(int(line.rpartition(":")[2]), server.pid)
        finally:
            (server.terminate if lasts else server.kill)()


def azurite_environment(port: int) -> dict[str, str]:
    """Return the environment in which ``az://bucket`` is the one of Azurite."""
    return {
        "AZURE_STORAGE_ACCOUNT_NAME": AZURITE_ACCOUNT,
        "AZURE_STORAGE_ACCOUNT_KEY": AZURITE_KEY,
        "AZURE_STORAGE_ENDPOINT": f"http://127.0.0.1:{port}/{AZURITE_ACCOUNT}",
    }


def _make_container(port: int) -> None:
    date, version, path = formatdate(usegmt=True), "2021-08-06", f"/{AZURITE_ACCOUNT}/{BUCKET}"
    lines = "\n" * 12 + f"x-ms-date:{date}\nx-ms-version:{version}\n"
    signed = f"PUT{lines}/{AZURITE_ACCOUNT}{path}\nrestype:container"
    mac = hmac.new(base64.b64decode(AZURITE_KEY), signed.encode(), hashlib.sha256).digest()
    headers = {
        "x-ms-date": date,
        "x-ms-version": version,
        "Authorization": f"SharedKey {AZURITE_ACCOUNT}:{base64.b64encode(mac).decode()}",
    }
    assert request(port, "PUT", f"{path}?restype=container", headers) == 201


def request(port: int, method: str, path: str, headers: dict[str, str] | None = None) -> int:
    """Send a request to a server on loopback; return the status of its answer."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    with contextlib.closing(connection):
        connection.request(method, path, headers=headers or {})
        return connection.getresponse().status


# -- faults --------------------------------------------------------------------------------

Behaviour = Callable[["Proxy", socket.socket], None]


class Proxy:
    """A server on loopback that leads to another one, and behaves as a test wants.

    Attributes
    ----------
    port : int
        Its own port.
    behave : callable
        Serves one connection, and may be exchanged at any time: `forward`, or a fault.
    connections : int
        How many there were.
    released : threading.Event
        Ends the connections that hang.
    """

    def __init__(self, upstream: int) -> None:
        self.behave: Behaviour = forward
        self.connections = 0
        self.released = threading.Event()
        self._upstream = upstream
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._threads = [threading.Thread(target=self._serve, daemon=True)]
        self._threads[0].start()

    def upstream(self) -> socket.socket:
        """Return a new connection to the server behind it."""
        return socket.create_connection(("127.0.0.1", self._upstream))

    def close(self) -> None:
        """End all connections."""
        self.released.set()
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in self._threads:
            thread.join()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):  # it is closed
            while True:
                client, _ = self._listener.accept()
                self.connections += 1
                thread = threading.Thread(target=self._handle, args=(client,), daemon=True)
                self._threads.append(thread)
                thread.start()

    def _handle(self, client: socket.socket) -> None:
        with client, contextlib.suppress(OSError):
            select.select([client], [], [])  # clients open connections that they use later
            self.behave(self, client)


def forward(proxy: Proxy, client: socket.socket) -> None:
    """Let one exchange pass: the next one has a connection of its own."""
    with proxy.upstream() as upstream:
        upstream.sendall(_closing(receive(client)))
        while answer := upstream.recv(1 << 16):
            client.sendall(answer)


def lose_answer(proxy: Proxy, client: socket.socket) -> None:
    """Let the server do it, and close the connection without an answer, this time only."""
    proxy.behave = forward
    _do_silently(proxy, client)


def lose_answers(proxy: Proxy, client: socket.socket) -> None:
    """Let the server do it, and close the connection without an answer, each time."""
    _do_silently(proxy, client)


def _do_silently(proxy: Proxy, client: socket.socket) -> None:
    with proxy.upstream() as upstream:
        upstream.sendall(_closing(receive(client)))
        while upstream.recv(1 << 16):
            pass


def hang(proxy: Proxy, client: socket.socket) -> None:
    """Answer nothing."""
    proxy.released.wait()


def hang_up(proxy: Proxy, client: socket.socket) -> None:
    """Close the connection before anything is done."""
    receive(client)


def answer_late(proxy: Proxy, client: socket.socket) -> None:
    """Let an exchange pass after a while."""
    proxy.released.wait(0.3)
    forward(proxy, client)


def cut_answer(proxy: Proxy, client: socket.socket) -> None:
    """Give the first half of the answer, and close the connection."""
    with proxy.upstream() as upstream:
        upstream.sendall(_closing(receive(client)))
        answer = b"".join(iter(lambda: upstream.recv(1 << 16), b""))
    client.sendall(answer[: -(len(answer) - answer.index(b"\r\n\r\n")) // 2])


def answer(status: int, body: bytes = b"") -> Behaviour:
    """Return the behaviour of a server that has one answer."""

    def behave(proxy: Proxy, client: socket.socket) -> None:
        receive(client)
        head = f"HTTP/1.1 {status} Reason\r\nContent-Length: {len(body)}\r\nConnection: close"
        client.sendall(head.encode() + b"\r\n\r\n" + body)

    return behave


def without_conditions(proxy: Proxy, client: socket.socket) -> None:
    """Let pass what comes, as a server would understand it that knows no conditions."""
    with proxy.upstream() as upstream:
        upstream.sendall(_closing(receive(client)).replace(b"if-none-match:", b"x-no-condition:"))
        while answer := upstream.recv(1 << 16):
            client.sendall(answer)


def receive(client: socket.socket) -> bytes:
    """Return one request with its body."""
    data = b""
    while b"\r\n\r\n" not in data:
        if not (got := client.recv(1 << 16)):
            raise ConnectionError
        data += got
    head, _, body = data.partition(b"\r\n\r\n")
    lengths = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
    left = int(lengths[0].partition(b":")[2]) - len(body) if lengths else 0
    parts = [data]
    while left > 0:
        parts.append(client.recv(left))
        left -= len(parts[-1])
    return b"".join(parts)


def _closing(request: bytes) -> bytes:
    """Return a request after which the server closes the connection."""
    line, _, rest = request.partition(b"\r\n")
    return line + b"\r\nconnection: close\r\n" + rest
