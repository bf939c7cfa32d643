"""A personal token in the header that a site names for it."""

from __future__ import annotations

import pytest

from compat_auth.crypto.personal_token_format import make_text
from compat_auth.errors import AmbiguousCredentials, BadRequest, ConfigError, MalformedCredentials
from compat_auth.http.headers import RawHeaders, api_key_name, take_in

HOST = (b"host", b"gateway.example")
TOKEN = make_text().value.encode()
BEARER = b"Bearer " + TOKEN


@pytest.mark.parametrize("value", [TOKEN, b" " + TOKEN + b"\t"], ids=["plain", "with-blanks"])
def test_the_token_becomes_the_credential_and_its_header_does_not_go_on(value: bytes) -> None:
    intake = take_in([HOST, (b"x-a", b"1"), (b"x-api-key", value)], api_key=b"x-api-key")

    assert intake.authorization == BEARER
    assert intake.kept == [(b"x-a", b"1")]


def test_a_site_without_such_a_header_leaves_it_to_the_upstream() -> None:
    intake = take_in([HOST, (b"x-api-key", TOKEN)])

    assert intake.authorization is None
    assert intake.kept == [(b"x-api-key", TOKEN)]


def test_a_key_that_is_no_personal_token_belongs_to_somebody_else() -> None:
    keys = [(b"x-api-key", b"secret"), (b"x_api_key", b"other")]

    intake = take_in([HOST, *keys, (b"authorization", b"Basic YTpi")], api_key=b"x-api-key")

    assert intake.authorization == b"Basic YTpi"
    assert intake.kept == keys


def test_the_same_token_twice_is_one_credential() -> None:
    intake = take_in([HOST, (b"authorization", b"bearer  " + TOKEN), (b"x-api-key", TOKEN)], api_key=b"x-api-key")

    assert intake.authorization == BEARER
    assert intake.kept == []


@pytest.mark.parametrize("name", [b"x-another", b"x-api-keys", b"x-key"])
def test_a_token_in_another_header_is_not_the_credential(name: bytes) -> None:
    intake = take_in([HOST, (name, TOKEN)], api_key=b"x-api-key")

    assert intake.authorization is None
    assert intake.kept == [(name, TOKEN)]


@pytest.mark.parametrize(
    "others",
    [
        pytest.param([(b"authorization", b"Bearer " + make_text().value.encode())], id="another-bearer"),
        pytest.param([(b"authorization", b"Basic YTpi")], id="a-password"),
        pytest.param([(b"x-api-key", TOKEN)], id="twice"),
        pytest.param([(b"x-api-key", b"secret")], id="another-key"),
    ],
)
def test_a_token_beside_another_credential_is_ambiguous(others: RawHeaders) -> None:
    with pytest.raises(AmbiguousCredentials, match="API key"):
        take_in([HOST, (b"x-api-key", TOKEN), *others], api_key=b"x-api-key")


def test_two_tokens_that_a_server_has_joined_are_ambiguous() -> None:
    with pytest.raises(AmbiguousCredentials, match="two in one request"):
        take_in([HOST, (b"x-api-key", TOKEN + b", " + TOKEN)], api_key=b"x-api-key")


@pytest.mark.parametrize(
    "value",
    [
        pytest.param(BEARER, id="with-a-scheme"),
        pytest.param(b'"' + TOKEN + b'"', id="quoted"),
        pytest.param(TOKEN + b"\xe9", id="not-ascii"),
        pytest.param(TOKEN.upper(), id="upper-case"),
        pytest.param(TOKEN + b" more", id="two-words"),
        pytest.param(b"key=" + TOKEN, id="named"),
    ],
)
def test_a_value_with_more_than_a_token_is_malformed(value: bytes) -> None:
    with pytest.raises(MalformedCredentials, match="API key"):
        take_in([HOST, (b"x-api-key", value)], api_key=b"x-api-key")


@pytest.mark.parametrize("name", [b"x_api_key", b"x.api-key"])
def test_a_token_in_a_name_that_some_servers_take_for_the_header_is_refused(name: bytes) -> None:
    with pytest.raises(BadRequest, match="some servers take for the header of an API key"):
        take_in([HOST, (name, TOKEN)], api_key=b"x-api-key")


@pytest.mark.parametrize(
    ("configured", "name"),
    [
        ("", b""),
        ("X-API-Key", b"x-api-key"),
        ("Private-Token", b"private-token"),
        ("ApiKey", b"apikey"),
        ("X-Site", b"x-site"),
    ],
)
def test_a_site_may_name_a_header_for_keys_alone(configured: str, name: bytes) -> None:
    assert api_key_name(configured) == name


@pytest.mark.parametrize(
    "configured",
    [
        "Accept",
        "Authorization",
        "Cookie",
        "Sec-Key",
        "Sec-WebSocket-Key",
        "X-Forwarded-For",
        "X-Auth-Token",
        "X-Compat-Auth-Key",
    ],
)
def test_a_header_with_another_meaning_is_a_wrong_setting(configured: str) -> None:
    with pytest.raises(ConfigError, match="has another meaning"):
        api_key_name(configured)
