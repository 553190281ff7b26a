"""Opens a store of objects by its URL, and checks that runs can be replicated to it."""

from __future__ import annotations

from trax.replica.cloud import open_cloud
from trax.replica.credentials import CLOUDS, complaint
from trax.replica.directory import open_directory
from trax.replica.seam import MAX_PUT, Away, Missing, Objects, Refused
from trax.storage.filenames import PROBE, store_path

__all__ = ["MAX_PUT", "Away", "Missing", "Objects", "Refused", "check", "full_url", "open_objects"]


def open_objects(url: str, *, makes: bool = True) -> Objects:
    """Return the store at a URL: s3://, gs://, az://, file:///path, or the path of a directory.

    A store in the cloud is asked nothing yet; see `check`. A directory that is missing is made, if
    it `makes` it.

    Raises
    ------
    Refused
        It cannot be used: obstore is not installed, there are no credentials, no such directory.
    """
    if error := complaint(url):
        raise Refused(error)
    scheme, separator, rest = url.partition("://")
    if scheme in CLOUDS and separator:
        return open_cloud(url)
    return open_directory(rest if separator else url, makes=makes)


def full_url(url: str) -> str:
    """Return the URL of the store at a URL, as it has it itself; nothing is opened."""
    scheme, separator, rest = url.partition("://")
    return url if separator and scheme != "file" else store_path(rest if separator else url)


def check(objects: Objects) -> None:
    """Check that objects can be put, and only if absent, before a run depends on it.

    The object that is put stays: by it, a directory is known as a place of replicas.

    Raises
    ------
    Refused
        The bucket is missing, the credentials are wrong, or the store overwrites objects.
    Away
        The store cannot be reached.
    """
    if objects.put(PROBE, [b"1"]) and objects.put(PROBE, [b"2"]):
        objects.delete([PROBE])
        raise Refused(
            f"{objects.url} overwrites an object that should only be put if there is none\n"
            "Two machines could not be kept apart there.\n"
            "Use a store with conditional puts (If-None-Match), or a newer version of this one."
        )
