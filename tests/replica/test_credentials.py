"""Without credentials a store is refused, and no metadata address is asked unless one is named."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from object_stores import Proxy, hang_up, moto_environment

from trax.replica.credentials import CLOUDS, Cloud
from trax.replica.objects import Away, Objects, Refused, check, open_objects

obstore: Any = pytest.importorskip("obstore")


@pytest.fixture
def metadata(monkeypatch: pytest.MonkeyPatch) -> Iterator[Proxy]:
    """A server on loopback, which obstore takes for the metadata address if it asks for it at all,
    and so does boto3.
    """
    server = Proxy(0)
    server.behave = hang_up
    address = f"127.0.0.1:{server.port}"
    for name in ("GCE_METADATA_HOST", "GCE_METADATA_IP"):
        monkeypatch.setenv(name, address)
    for name in (
        "AWS_METADATA_ENDPOINT",
        "AWS_EC2_METADATA_SERVICE_ENDPOINT",
        "AZURE_MSI_ENDPOINT",
        "IDENTITY_ENDPOINT",
    ):
        monkeypatch.setenv(name, f"http://{address}")
    yield server
    server.close()


def open_and_check(url: str) -> Objects:
    objects = open_objects(url)
    check(objects)
    return objects


INCOMPLETE = [
    ("s3", {}),
    ("s3", {"AWS_ACCESS_KEY_ID": "id"}),
    ("s3", {"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": ""}),
    ("s3", {"AWS_SECRET_ACCESS_KEY": "secret"}),
    ("s3", {"AWS_WEB_IDENTITY_TOKEN_FILE": "/none"}),
    ("s3", {"AWS_ROLE_ARN": "role"}),
    ("s3", {"AWS_CONTAINER_CREDENTIALS_FULL_URI": "http://127.0.0.1:9/"}),
    ("s3", {"AWS_SKIP_SIGNATURE": "false"}),
    ("s3", {"AWS_EC2_METADATA_DISABLED": "false", "AWS_REGION": "eu-west-1"}),
    ("gs", {}),
    ("gs", {"GOOGLE_SKIP_SIGNATURE": "true"}),  # obstore asks all the same
    ("az", {}),
    ("az", {"AZURE_STORAGE_ACCOUNT_NAME": "name"}),
    ("az", {"AZURE_STORAGE_ACCOUNT_NAME": "name", "AZURE_CLIENT_ID": "id"}),
    ("az", {"AZURE_STORAGE_ACCOUNT_NAME": "name", "AZURE_USE_AZURE_CLI": "false"}),
]


@pytest.mark.parametrize(("scheme", "variables"), INCOMPLETE)
def test_no_metadata_address_is_asked(
    metadata: Proxy, monkeypatch: pytest.MonkeyPatch, scheme: str, variables: dict[str, str]
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(Refused, match=rf"no credentials for {scheme}://bucket\nSet "):
        open_and_check(f"{scheme}://bucket")
    assert metadata.connections == 0


SERVICE_ACCOUNT = json.dumps(
    {"disable_oauth": True, "client_email": "", "private_key": "", "private_key_id": ""}
)
COMPLETE = [
    ("s3", {"AWS_ACCESS_KEY_ID": "id", "AWS_SECRET_ACCESS_KEY": "secret"}),
    ("s3", {"AWS_WEB_IDENTITY_TOKEN_FILE": "/dev/null", "AWS_ROLE_ARN": "role"}),
    (
        "s3",
        {
            "AWS_CONTAINER_CREDENTIALS_FULL_URI": "http://127.0.0.1:9/",
            "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE": "/dev/null",
        },
    ),
    ("s3", {"AWS_SKIP_SIGNATURE": "true"}),
    ("gs", {"GOOGLE_SERVICE_ACCOUNT_KEY": SERVICE_ACCOUNT}),
    ("az", {"AZURE_STORAGE_ACCOUNT_KEY": "c2VjcmV0"}),
    ("az", {"AZURE_STORAGE_ACCESS_KEY": "c2VjcmV0"}),
    ("az", {"AZURE_STORAGE_SAS_TOKEN": "sv=1&sig=2"}),
    ("az", {"AZURE_STORAGE_SAS_KEY": "sv=1&sig=2"}),
    ("az", {"AZURE_STORAGE_TOKEN": "token"}),
    ("az", {"AZURE_CLIENT_ID": "a", "AZURE_CLIENT_SECRET": "b", "AZURE_TENANT_ID": "c"}),
    ("az", {"AZURE_SKIP_SIGNATURE": "true"}),
]


@pytest.mark.parametrize(("scheme", "variables"), COMPLETE)
def test_nor_where_there_are_credentials(
    metadata: Proxy, monkeypatch: pytest.MonkeyPatch, scheme: str, variables: dict[str, str]
) -> None:
    """Whatever the store says then; nothing listens at its address."""
    for name in ("AWS_ENDPOINT_URL", "AZURE_STORAGE_ENDPOINT", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    for name in ("AWS_ENDPOINT_URL_STS", "AZURE_AUTHORITY_HOST"):
        monkeypatch.setenv(name, "https://127.0.0.1:9")
    monkeypatch.setenv("NO_PROXY", "")
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_NAME", "name")
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(Exception, match="cannot be used"):
        open_and_check(f"{scheme}://bucket")
    assert metadata.connections == 0


@pytest.mark.parametrize("scheme", CLOUDS)
def test_it_is_asked_on_request(
    metadata: Proxy, monkeypatch: pytest.MonkeyPatch, scheme: str
) -> None:
    monkeypatch.setenv("TRAX_METADATA", "1")
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_NAME", "name")
    with pytest.raises(Away):
        open_and_check(f"{scheme}://bucket")
    assert metadata.connections > 0


@pytest.mark.parametrize("cloud", CLOUDS.values(), ids=CLOUDS)
def test_obstore_knows_the_variables(cloud: Cloud) -> None:
    """But those that only the environment can have."""
    named = set(" ".join(cloud.variables).split())
    for name in named - {"AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_ROLE_ARN"}:
        try:
            getattr(obstore.store, cloud.store)("bucket", config={name: "1"})
        except obstore.exceptions.UnknownConfigurationKeyError as error:
            pytest.fail(str(error))
        except (obstore.exceptions.BaseError, ValueError):
            pass  # it says more than that


# -- profiles ------------------------------------------------------------------------------

PROFILES = """
[default]
aws_access_key_id = default
aws_secret_access_key = secret

[other]
aws_access_key_id = other
aws_secret_access_key = secret

[of-the-instance]
region = eu-west-1
"""


@pytest.fixture
def profiles(monkeypatch: pytest.MonkeyPatch) -> Path:
    path = Path(os.environ["HOME"], ".aws/credentials")
    path.parent.mkdir(parents=True)
    path.write_text(PROFILES)
    return path


@pytest.mark.parametrize("profile", ["default", "other"])
def test_a_profile_is_read_by_boto3(
    profiles: Path, moto_port: int, monkeypatch: pytest.MonkeyPatch, profile: str
) -> None:
    pytest.importorskip("boto3")
    variables = moto_environment(moto_port)
    monkeypatch.setenv("AWS_ENDPOINT_URL", variables["AWS_ENDPOINT_URL"])
    monkeypatch.setenv("AWS_PROFILE", profile)
    open_and_check("s3://bucket/profiles")


def test_a_profile_without_boto3_says_what_to_install(
    profiles: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("boto3", "botocore"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(Refused, match="pip install boto3"):
        open_objects("s3://bucket")


@pytest.mark.parametrize(
    ("profile", "reason"),
    [
        ("of-the-instance", "the profile 'of-the-instance' in ~/.aws has none"),
        ("othre", "there is no profile 'othre' in ~/.aws"),
    ],
)
def test_a_profile_without_credentials_asks_nobody(
    profiles: Path, monkeypatch: pytest.MonkeyPatch, metadata: Proxy, profile: str, reason: str
) -> None:
    """Not by boto3, either; and it says which profiles there are."""
    pytest.importorskip("boto3")
    monkeypatch.setenv("AWS_PROFILE", profile)
    with pytest.raises(Refused) as refused:
        open_and_check("s3://bucket")
    cause, ways, *_ = str(refused.value).split("\n")
    assert cause == f"there are no credentials for s3://bucket: {reason}"
    assert ways == "Set AWS_PROFILE to one of these: default, other, of-the-instance."
    assert metadata.connections == 0


def test_a_file_of_profiles_that_is_none_is_refused(profiles: Path, metadata: Proxy) -> None:
    pytest.importorskip("boto3")
    profiles.write_text("[")
    with pytest.raises(Refused, match="no credentials for s3://bucket: Unable to parse config"):
        open_and_check("s3://bucket")
    assert metadata.connections == 0


def test_an_sso_that_has_ended_says_how_to_begin_it_again(
    profiles: Path, metadata: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("boto3")
    profiles.with_name("config").write_text(
        "[profile sso]\nsso_start_url=https://nowhere.invalid\nsso_region=us-east-1\n"
        "sso_account_id=1\nsso_role_name=role\n"
    )
    monkeypatch.setenv("AWS_PROFILE", "sso")
    with pytest.raises(Refused, match=r"used: Error loading SSO Token: .*\nRun aws sso login\."):
        open_and_check("s3://bucket")
    assert metadata.connections == 0


# -- mistakes ------------------------------------------------------------------------------

NOWHERE = "/nowhere/key.json"
MISTAKES = [
    ("gs", {"GOOGLE_APPLICATION_CREDENTIALS": NOWHERE}, r"no file /nowhere/key.json\nCorrect the "),
    ("gs", {"GOOGLE_SERVICE_ACCOUNT": NOWHERE}, r"path in \$GOOGLE_SERVICE_ACCOUNT\."),
    ("gs", {"GOOGLE_SERVICE_ACCOUNT_KEY": "{"}, "Set GOOGLE_APPLICATION_CREDENTIALS to a file"),
    ("az", {"AZURE_STORAGE_ACCOUNT_KEY": "c2VjcmV0"}, "Set AZURE_STORAGE_ACCOUNT_NAME and"),
    (
        "s3",
        {"AWS_WEB_IDENTITY_TOKEN_FILE": NOWHERE, "AWS_ROLE_ARN": "role"},
        r"used: Failed to read token file '/nowhere.*\nCheck the path of that file",
    ),
    *(
        ("s3", {"AWS_SKIP_SIGNATURE": "1", "AWS_ENDPOINT_URL": address}, "no address of a server")
        for address in ("127.0.0.1:9000", "http://127.0.0.1:port", "http://", "http://a:99999")
    ),
]


@pytest.mark.parametrize(("scheme", "variables", "text"), MISTAKES)
def test_a_mistake_in_the_environment_is_named(
    metadata: Proxy,
    monkeypatch: pytest.MonkeyPatch,
    scheme: str,
    variables: dict[str, str],
    text: str,
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(Refused, match=text):
        open_and_check(f"{scheme}://bucket")
    assert metadata.connections == 0
