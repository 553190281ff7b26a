"""Objects in the cloud, by obstore: S3 and all stores that speak like it, GCS, and Azure."""

from __future__ import annotations

import contextlib
import os
import posixpath
import re
from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from functools import cache, partial
from typing import Any

from trax.replica.credentials import CLOUDS, find_provider
from trax.replica.seam import MAX_PUT, Away, Missing, Refused, check_key

__all__ = ["CloudObjects", "open_cloud"]

# A store that is away is known in seconds; a replica has a backoff of its own. Large objects have
# the time that `MAX_PUT` takes at 300 kB/s.
_SMALL = 1 << 20  # bytes
_CONNECT, _QUICK, _SLOW = 3.0, 10.0, 120.0  # seconds
_CONFLICTS = 3
_RETRIES = {
    "max_retries": 2,
    "retry_timeout": timedelta(seconds=5),
    "backoff": {
        "init_backoff": timedelta(milliseconds=100),
        "max_backoff": timedelta(seconds=1),
        "base": 2,
    },
}

_STATUS = re.compile(r"(?:status code|\(code): (\d{3})")
_REASONS = (
    r"value: \w+\(['\"](.+)['\"]\)",  # an exception of boto3
    r"<Code>(\w+)</Code>",
    r"status code: (\d{3}[\w ]*)",
    r'(?:message|error): "([^"]+)"',
    r"kind: (Timeout)",
    r"(IncompleteMessage)",
)
# Texts that are in errors of obstore, what these mean if they do not say it, and what to do.
_CAUSES = (
    (
        "InvalidContentType",
        "the server does not speak TLS",
        "Write http:// instead of https:// in the address of the store ({address}).",
    ),
    (
        "HTTP request (?:was sent )?to an HTTPS (?:server|port)",
        "the server speaks only TLS",
        "Write https:// instead of http:// in the address of the store ({address}).",
    ),
    (
        "InvalidCertificate",
        "the certificate of the server is not trusted",
        "Set SSL_CERT_FILE to a file with the certificate of its authority.",
    ),
    ("ExpiredToken|InvalidToken", "", "Renew the credentials."),
    ("RequestTimeTooSkewed", "", "Set the clock of this machine."),
    ("SSO(?:TokenLoad)?Error|UnauthorizedSSOTokenError", "", "Run aws sso login."),
    ("token file", "", "Check the path of that file in the environment."),
    (
        "Received redirect|AuthorizationHeaderMalformed",
        "",
        "Set AWS_REGION to the region of the bucket.",
    ),
)
_NO_OBJECT = re.compile("<Code>(?:NoSuchKey|BlobNotFound)</Code>")  # but there is the bucket


class CloudObjects:
    """The objects of a bucket below a prefix.

    Parameters
    ----------
    url : str
        Their URL.
    make : callable
        Returns obstore's store for them; its argument is the seconds that a request may take.

    Attributes
    ----------
    url : str
        As above.
    """

    def __init__(self, url: str, make: Callable[[float], Any]) -> None:
        import obstore.exceptions

        self.url = url
        self._obstore: Any = obstore
        self._store = make(_QUICK)
        self._slow_store = make(_SLOW)

    def put(self, key: str, parts: Sequence[Any]) -> bool:
        buffers = [memoryview(part).cast("B") for part in parts if memoryview(part).nbytes]
        size = sum(map(len, buffers))
        assert size <= MAX_PUT, "too much for one put"
        check_key(key)
        with self._errors(key):
            for _ in range(_CONFLICTS):
                try:
                    self._obstore.put(self._store_for(size), key, buffers, mode="create")
                    return True
                except self._obstore.exceptions.AlreadyExistsError:
                    # S3 may say so of writes that meet, too, although none of them will succeed.
                    if self._exists(key):
                        return False
        raise Away(f"others are writing the object {key} in {self.url}")

    def get(self, key: str) -> bytes:
        check_key(key)
        with self._errors(key):
            return bytes(self._obstore.get(self._slow_store, key).bytes())

    def read(self, key: str, start: int, length: int) -> bytes:
        check_key(key)
        with self._errors(key):
            store = self._store_for(length)
            return bytes(self._obstore.get_range(store, key, start=start, length=length))

    def list(self, prefix: str, after: str = "") -> Iterator[tuple[str, int]]:
        if prefix:
            check_key(prefix)
        below = f"{prefix}/" if prefix else ""
        with self._errors():
            found = self._obstore.list(self._store, prefix or None, offset=after or None)
            sizes = {one["path"]: one["size"] for batch in found for one in batch}
        # Not every store sorts, or knows where to begin; and the S3 console makes an empty object
        # for the directory itself.
        keys = sorted(key for key in sizes if key > after and key.startswith(below))
        return ((key, sizes[key]) for key in keys)

    def delete(self, keys: Sequence[str]) -> None:
        for key in keys:
            check_key(key)
        with self._errors():
            try:
                self._obstore.delete(self._store, keys)
            except FileNotFoundError:  # which has left others undone
                above = posixpath.dirname(posixpath.commonprefix(keys))
                present = {key for key, _ in self.list(above)}
                left = [key for key in keys if key in present]
                if len(left) == len(keys):
                    raise
                self.delete(left)

    def _store_for(self, size: int) -> Any:
        return self._store if size <= _SMALL else self._slow_store

    def _exists(self, key: str) -> bool:
        try:
            self._obstore.head(self._store, key)
        except FileNotFoundError:
            return False
        return True

    @contextlib.contextmanager
    def _errors(self, key: str = "") -> Iterator[None]:
        if _home() != os.getpid():
            raise Refused(
                f"{self.url} cannot be used in a fork of process {_home()}, which used obstore\n"
                "The threads of obstore are not in the fork.\n"
                "Start this process by 'spawn' or 'forkserver': see multiprocessing.get_context."
            )
        try:
            yield
        except FileNotFoundError as error:
            if not _NO_OBJECT.search(str(error)):
                raise self._error(error) from error
            raise Missing(f"there is no object {key} in {self.url}") from error
        except (self._obstore.exceptions.BaseError, NotImplementedError) as error:
            raise self._error(error) from error

    def _error(self, error: Exception) -> Away | Refused:
        """Return the error for one of obstore that any other object would have met as well."""
        text = str(error)
        found = _STATUS.search(text)
        status = int(found[1]) if found else 0
        address = CLOUDS[self.url.partition("://")[0]].address
        reason = f"{self.url} cannot be used: {_reason(error)}"
        for pattern, meaning, advice in _CAUSES:
            if re.search(pattern, text):
                reason = f"{self.url} cannot be used: {meaning or _reason(error)}"
                return Refused(f"{reason}\n{advice.format(address=address)}")
        if status == 404:
            return Refused(
                f"{reason}\nMake the bucket, or correct its name.\n"
                f"Check the address of the store ({address})."
            )
        if status in (401, 403):
            return Refused(
                f"{reason}\nCheck the credentials, and that they allow all: get, put, list, delete."
            )
        if status in range(300, 400):
            return Refused(f"{reason}\nSet AWS_REGION to the region of the bucket.")
        if status == 501 or (status in range(400, 500) and status not in (408, 409, 429)):
            return Refused(
                f"{reason}\nCheck the settings in the environment.\n"
                "Check that the store knows conditional puts (If-None-Match)."
            )
        return Away(f"{reason}\nCheck the network, and the address of the store ({address}).")


def open_cloud(url: str) -> CloudObjects:
    """Return the objects at a URL of one of `CLOUDS`, which may have a prefix.

    Raises
    ------
    Refused
        obstore is not installed, or there are no credentials.
    """
    scheme, _, rest = url.partition("://")
    bucket, _, prefix = rest.partition("/")
    cloud = CLOUDS[scheme]
    if not bucket:
        raise Refused(f"{url} names no bucket\nGive one, as in {scheme}://bucket/prefix.")
    if cloud.odd_endpoint:
        raise Refused(
            f"{url} cannot be used: ${cloud.odd_endpoint} is no address of a server\n"
            "Write it with http:// or https://, as in http://127.0.0.1:9000."
        )
    if cloud.missing_file:
        raise Refused(
            f"{url} cannot be used: there is no file {os.environ[cloud.missing_file]}\n"
            f"Correct the path in ${cloud.missing_file}."
        )
    try:
        import obstore.store
    except ImportError as error:
        raise Refused(
            f"{url} needs obstore, which is not installed\n"
            "Run pip install 'trax-resumable[objects]'."
        ) from error
    make = partial(
        getattr(obstore.store, cloud.store),
        bucket,
        prefix=prefix.strip("/") or None,
        retry_config=_RETRIES,
        credential_provider=find_provider(cloud, url),
    )
    # As a part of config, and not as client_options, they leave what the environment sets.
    config = {"connect_timeout": f"{_CONNECT:g}s"}
    if cloud.is_without_tls:
        config["allow_http"] = "true"
    try:
        return CloudObjects(url, lambda limit: make(config={**config, "timeout": f"{limit:g}s"}))
    except (obstore.exceptions.BaseError, ValueError) as error:
        raise Refused(
            f"{url} cannot be used: {_reason(error)}\n"
            f"Correct the URL, or the environment.\n{cloud.advice}"
        ) from error


@cache
def _home() -> int:
    """Return the process that used obstore first, or the fork of which it is."""
    return os.getpid()


def _reason(error: Exception) -> str:
    """Return the shortest text that says enough of an error of obstore, which fills a page."""
    text = str(error)
    for pattern in _REASONS:
        if found := re.search(pattern, text):
            return found[1]
    line = text.partition("\n")[0].rpartition(" - ")[2].strip()
    return re.sub(r"^Generic \w+ error: ", "", line)
