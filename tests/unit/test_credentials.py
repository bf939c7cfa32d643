"""What a caller presents, taken apart once for everybody."""

from __future__ import annotations

import base64

import pytest

from compat_auth.credentials import (
    Absent,
    Basic,
    Bearer,
    Credential,
    Negotiate,
    Unrecognised,
    credential_key,
    parse_authorization,
    single_authorization,
)
from compat_auth.errors import AmbiguousCredentials, MalformedCredentials, RequestRefused


def encoded(pair: bytes) -> str:
    return base64.b64encode(pair).decode()


@pytest.mark.parametrize(
    ("value", "credential"),
    [
        pytest.param(None, Absent(), id="nothing"),
        # RFC 7617 section 2 and 2.1: the published vectors.
        pytest.param("Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==", Basic("Aladdin", "open sesame"), id="rfc7617-2"),
        pytest.param("Basic dGVzdDoxMjPCow==", Basic("test", "123£"), id="rfc7617-2.1"),
        pytest.param("bAsIc " + encoded("zoë:pässwörd".encode()), Basic("zoë", "pässwörd"), id="scheme-without-case"),
        pytest.param(" \tBasic   " + encoded(b"a:b") + "\t ", Basic("a", "b"), id="blanks-around"),
        pytest.param("Basic " + encoded(b"a:b:c:"), Basic("a", "b:c:"), id="colons-in-the-password"),
        pytest.param("Bearer abc.def-_~+/==", Bearer("abc.def-_~+/=="), id="bearer"),
        pytest.param("NEGOTIATE " + encoded(b"\x60\x00"), Negotiate(b"\x60\x00"), id="negotiate"),
        pytest.param("Digest username=x", Unrecognised("Digest"), id="digest"),
        pytest.param("Foo", Unrecognised("Foo"), id="scheme-alone"),
    ],
)
def test_a_well_formed_value_gives_its_credential(value: str | None, credential: Credential) -> None:
    assert parse_authorization(value) == credential


@pytest.mark.parametrize(
    "value",
    [
        pytest.param("", id="empty"),
        pytest.param("Ba(sic abc", id="no-scheme"),
        pytest.param("Basic", id="no-value"),
        pytest.param("Basic !!!", id="not-token68"),
        pytest.param("Basic abcde", id="not-base64"),
        pytest.param("Basic YWI6-_8=", id="base64url"),
        pytest.param("Basic " + encoded(b"nocolon"), id="no-colon"),
        pytest.param("Basic " + encoded(b":pw"), id="empty-user-name"),
        pytest.param("Basic " + encoded(b"alice:"), id="empty-password"),
        pytest.param("Basic " + encoded("zoë:x".encode("latin-1")), id="latin-1"),
        pytest.param("Basic " + encoded(b"al\x00ice:pw"), id="nul"),
        pytest.param("Basic " + encoded(b"alice:p\nw"), id="line-break"),
        pytest.param("Basic " + encoded(b"a:b") + " x", id="something-after"),
        pytest.param("Bearer", id="empty-bearer"),
        pytest.param("Bearer  a  b", id="blank-in-a-bearer"),
        pytest.param("Negotiate YII", id="negotiate-without-padding"),
    ],
)
def test_a_value_that_breaks_its_grammar_is_refused(value: str) -> None:
    with pytest.raises(MalformedCredentials):
        parse_authorization(value)


def test_a_password_in_latin_1_is_refused_with_the_encoding_to_take() -> None:
    value = "Basic " + encoded("jürgen:pässwörd".encode("latin-1"))

    with pytest.raises(MalformedCredentials, match="encode user name and password as UTF-8"):
        parse_authorization(value)


@pytest.mark.parametrize("scheme", ["Basic", "Bearer", "Negotiate"])
def test_two_credentials_joined_by_a_comma_are_ambiguous(scheme: str) -> None:
    value = f"{scheme} YTpi, Basic YTpj"

    with pytest.raises(AmbiguousCredentials):
        parse_authorization(value)


def test_no_error_repeats_the_password() -> None:
    value = "Basic " + encoded(b"hunter2hunter2")

    with pytest.raises(MalformedCredentials) as caught:
        parse_authorization(value)

    assert "hunter2" not in str(caught.value)
    assert value.split()[1] not in str(caught.value)


@pytest.mark.parametrize("credential", [Basic("alice", "hunter2"), Bearer("hunter2"), Negotiate(b"hunter2")])
def test_no_credential_shows_its_secret(credential: Credential) -> None:
    assert "hunter2" not in repr(credential)


def test_no_header_is_no_value() -> None:
    assert single_authorization([]) is None


def test_one_header_is_its_value() -> None:
    assert single_authorization([b"Basic YTpi"]) == "Basic YTpi"


def test_two_headers_are_ambiguous() -> None:
    with pytest.raises(AmbiguousCredentials):
        single_authorization([b"Basic YTpi", b"Basic YTpi"])


def test_a_byte_outside_ascii_is_malformed() -> None:
    with pytest.raises(MalformedCredentials):
        single_authorization(["Basic zoë".encode()])


@pytest.mark.parametrize(
    "spellings",
    [
        ("Bearer abc", "bearer abc", "BEARER   abc", " bEaReR \tabc\t "),
        ("Basic YTpi", "basic YTpi", "BASIC    YTpi "),
        ("Basic YTpiYw==", "Basic YTpiYx=="),
        ("Negotiate YWI=", "NEGOTIATE  YWJ="),
    ],
)
def test_every_spelling_of_a_credential_has_one_key(spellings: tuple[str, ...]) -> None:
    keys = {credential_key(spelling) for spelling in spellings}

    assert len({parse_authorization(spelling) for spelling in spellings}) == 1
    assert len(keys) == 1


def test_two_credentials_never_share_a_key() -> None:
    values = ("Bearer YTpi", "Basic YTpi", "Negotiate YTpi", "Digest YTpi", "digest YTpi", "Bearer ytpi", "Basic YTpj")

    keys = {credential_key(value) for value in values}

    assert len(keys) == len(values)


@pytest.mark.parametrize("value", ["Basic YTpi, Basic YTpj", "Basic !!!!", "Bearer", "", "Basic YTo="])
def test_what_is_no_credential_has_no_key(value: str) -> None:
    with pytest.raises(RequestRefused):
        credential_key(value)


@pytest.mark.parametrize("value", ["Bearer Xa", "Bearer aX", "bearer \tXaX\t "])
def test_only_blanks_around_a_credential_are_taken_off(value: str) -> None:
    assert parse_authorization(value) == Bearer(value.partition(" ")[2].strip())


def test_a_scheme_that_is_not_ours_has_the_whole_value_for_a_key() -> None:
    assert credential_key("Other x") != credential_key("Other y")
    assert credential_key("Other x").endswith(b"Other x")
