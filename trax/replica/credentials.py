"""Finds credentials for stores in the cloud, and asks no metadata address unless it is told to.

Without any credentials, obstore asks the machine's metadata address, 169.254.169.254. Anything may
answer there, or nothing for long. So there must be one of the settings that obstore looks at before
that, or ``$TRAX_METADATA``.
"""

from __future__ import annotations

import contextlib
import os
import re
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from trax.errors import one_line
from trax.replica.seam import Refused

__all__ = ["CLOUDS", "Cloud", "complaint", "find_provider"]

_SCHEME = re.compile(r"[A-Za-z][\w+.-]*:")


@dataclass(frozen=True)
class Cloud:
    """A kind of store in the cloud.

    Attributes
    ----------
    store : str
        The name of obstore's class.
    variables : tuple of str
        Environment variables with credentials; one text is enough, and takes all that are in it.
    file : str
        The file with credentials that obstore looks for, if there is any.
    endpoints : tuple of str
        Environment variables with the address of the store.
    address : str
        The variables that make the address of the store, for messages.
    advice : str
        Says how to give credentials.
    paths : tuple of str
        Environment variables with the path of a file with credentials.
    """

    store: str
    variables: tuple[str, ...]
    file: str
    endpoints: tuple[str, ...]
    address: str
    advice: str
    paths: tuple[str, ...] = ()

    @property
    def has_credentials(self) -> bool:
        """Whether obstore finds credentials before it would ask the metadata address."""
        is_set = any(all(map(_setting, line.split())) for line in self.variables)
        return is_set or os.path.isfile(os.path.expanduser(self.file))

    @property
    def odd_endpoint(self) -> str:
        """The variable whose address has no scheme or a wrong port, which obstore cannot bear."""
        return next((name for name in self.endpoints if not _is_address(_setting(name))), "")

    @property
    def missing_file(self) -> str:
        """The variable that names a file with credentials which is not there; empty if none."""
        given = [name for name in self.paths if _setting(name)]
        return next((name for name in given if not os.path.isfile(_setting(name))), "")

    @property
    def is_without_tls(self) -> bool:
        """Whether an address without TLS was given, such as one on this machine."""
        return any(_setting(name).startswith("http://") for name in self.endpoints)


CLOUDS = {
    "s3": Cloud(
        "S3Store",
        (
            "AWS_ACCESS_KEY_ID AWS_SECRET_ACCESS_KEY",
            "AWS_WEB_IDENTITY_TOKEN_FILE AWS_ROLE_ARN",
            "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
            "AWS_CONTAINER_CREDENTIALS_FULL_URI AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
            "AWS_SKIP_SIGNATURE",
        ),
        "",
        ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT"),
        "AWS_ENDPOINT_URL, AWS_REGION",
        "Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY.\n"
        "Or have a profile in ~/.aws, and boto3 installed.",
    ),
    "gs": Cloud(
        "GCSStore",
        (
            "GOOGLE_APPLICATION_CREDENTIALS",
            "GOOGLE_SERVICE_ACCOUNT",
            "GOOGLE_SERVICE_ACCOUNT_PATH",
            "GOOGLE_SERVICE_ACCOUNT_KEY",
        ),
        "~/.config/gcloud/application_default_credentials.json",
        ("GOOGLE_BASE_URL",),
        "GOOGLE_BASE_URL",
        "Set GOOGLE_APPLICATION_CREDENTIALS to a file with credentials.\n"
        "Or run gcloud auth application-default login.",
        (
            "GOOGLE_APPLICATION_CREDENTIALS",
            "GOOGLE_SERVICE_ACCOUNT",
            "GOOGLE_SERVICE_ACCOUNT_PATH",
        ),
    ),
    "az": Cloud(
        "AzureStore",
        (
            "AZURE_STORAGE_ACCOUNT_KEY",
            "AZURE_STORAGE_ACCESS_KEY",
            "AZURE_STORAGE_SAS_TOKEN",
            "AZURE_STORAGE_SAS_KEY",
            "AZURE_STORAGE_TOKEN",
            "AZURE_CLIENT_ID AZURE_CLIENT_SECRET AZURE_TENANT_ID",
            "AZURE_CLIENT_ID AZURE_FEDERATED_TOKEN_FILE AZURE_TENANT_ID",
            "AZURE_USE_AZURE_CLI",
            "AZURE_SKIP_SIGNATURE",
            "AZURE_STORAGE_USE_EMULATOR",
        ),
        "",
        ("AZURE_STORAGE_ENDPOINT", "AZURE_ENDPOINT"),
        "AZURE_STORAGE_ACCOUNT_NAME, AZURE_STORAGE_ENDPOINT",
        "Set AZURE_STORAGE_ACCOUNT_NAME and AZURE_STORAGE_ACCOUNT_KEY.\n"
        "Or set AZURE_STORAGE_ACCOUNT_NAME and AZURE_STORAGE_SAS_TOKEN.",
    ),
}


def complaint(url: str) -> str:
    """Return the error for what is neither the URL of a place for replicas nor a path, or nothing.

    A path with a colon in front is more likely a URL with too few slashes.
    """
    scheme, separator, rest = url.partition("://")
    if separator:
        is_known = scheme in CLOUDS or (scheme == "file" and rest.startswith("/"))
    else:
        is_known = not _SCHEME.match(url)
    return (
        ""
        if is_known
        else (
            f"a replica cannot be at {url}\n"
            "Give a URL that begins with s3://, gs://, az:// or file:///.\n"
            "Or give the path of a directory."
        )
    )


def find_provider(cloud: Cloud, url: str) -> Any:
    """Return obstore's provider of the credentials of a profile; None if it finds them itself.

    Raises
    ------
    Refused
        There are no credentials.
    """
    advice = f"{cloud.advice}\nOr set TRAX_METADATA=1 to use the identity of this machine."
    if cloud.has_credentials or _setting("TRAX_METADATA"):
        return None
    if cloud.store != "S3Store" or not _has_profiles():
        raise Refused(f"there are no credentials for {url}\n{advice}")
    try:
        import botocore.exceptions
        import botocore.session
        from boto3 import Session
        from obstore.auth.boto3 import Boto3CredentialProvider
    except ImportError as error:
        raise Refused(
            f"the credentials for {url} are in a profile, which boto3 has to read\n"
            f"Run pip install boto3.\n{advice}"
        ) from error
    session = botocore.session.get_session()
    try:
        session.get_component("credential_provider").remove("iam-role")  # the metadata address
        return Boto3CredentialProvider(Session(botocore_session=session))
    except (botocore.exceptions.BotoCoreError, ValueError) as error:
        raise Refused(
            f"there are no credentials for {url}: {_why_none(session, error)}\n{advice}"
        ) from error


def _why_none(session: Any, error: Exception) -> str:
    """Return why a profile gives no credentials, and which profiles there are."""
    name, names = session.profile or "default", []
    with contextlib.suppress(Exception):  # no file can be read
        names = session.available_profiles
    reason = one_line(str(error)).rstrip(": ")
    if names and name not in names:
        reason = f"there is no profile {name!r} in ~/.aws"
    elif isinstance(error, ValueError):
        reason = f"the profile {name!r} in ~/.aws has none"
    return f"{reason}\nSet AWS_PROFILE to one of these: {', '.join(names)}." if names else reason


def _has_profiles() -> bool:
    files = (
        _setting("AWS_SHARED_CREDENTIALS_FILE") or "~/.aws/credentials",
        _setting("AWS_CONFIG_FILE") or "~/.aws/config",
    )
    return any(os.path.exists(os.path.expanduser(file)) for file in files)


def _is_address(url: str) -> bool:
    """Return whether this is an address of a server, or nothing."""
    try:
        return not url or (bool(urlsplit(url).hostname) and urlsplit(url).port != 0)
    except ValueError:  # the port is no number
        return False


def _setting(name: str) -> str:
    """Return an environment variable; an empty text if it says no."""
    value = os.environ.get(name, "")
    return "" if value.lower() in ("0", "false") else value
