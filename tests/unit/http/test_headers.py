"""Strict intake of a header section."""

from __future__ import annotations

import pytest

from compat_auth.errors import AmbiguousCredentials, BadRequest, HeadersTooLarge
from compat_auth.http.headers import MAX_HEADER_BYTES, RawHeaders, has_cookie, is_header, take_in, without_cookies

HOST = (b"host", b"gateway.example:8088")


def test_what_means_something_is_sorted_and_the_rest_is_kept_in_order() -> None:
    headers: RawHeaders = [
        (b"x-a", b"1"),
        HOST,
        (b"cookie", b"a=1"),
        (b"authorization", b"Basic YTpi"),
        (b"x-forwarded-for", b"192.0.2.7"),
        (b"x-forwarded-for", b"192.0.2.8"),
        (b"cookie", b"b=2"),
        (b"content-length", b"3"),
        (b"x-a", b"2"),
    ]

    intake = take_in(headers)

    assert intake.kept == [(b"x-a", b"1"), (b"content-length", b"3"), (b"x-a", b"2")]
    assert intake.host == b"gateway.example:8088"
    assert intake.authorization == b"Basic YTpi"
    assert intake.cookies == [b"a=1", b"b=2"]
    assert intake.forward == {b"x-forwarded-for": [b"192.0.2.7", b"192.0.2.8"]}


@pytest.mark.parametrize(
    "name", [b"remote-user", b"x-auth-request-user", b"x-ssl-client-s-dn", b"x-compat-auth-user", b"x-compat-auth-"]
)
def test_an_identity_header_from_outside_is_dropped(name: bytes) -> None:
    intake = take_in([HOST, (name, b"admin")])

    assert intake.kept == []
    assert intake.forward == {}


@pytest.mark.parametrize(
    "name",
    [b"remote_user", b"x_auth.request-user", b"x_forwarded_for", b"content_length", b"x.compat.auth.user"],
)
def test_a_name_that_folds_onto_a_meaningful_one_is_refused(name: bytes) -> None:
    with pytest.raises(BadRequest):
        take_in([HOST, (name, b"admin")])


@pytest.mark.parametrize("name", [b"x_custom", b"x.y"])
def test_an_odd_name_that_means_nothing_is_kept(name: bytes) -> None:
    assert take_in([HOST, (name, b"1")]).kept == [(name, b"1")]


@pytest.mark.parametrize("name", [b"", b"x y", b"x:y", b"x\xff", b"X-Upper"])
def test_a_name_that_is_no_token_is_refused(name: bytes) -> None:
    with pytest.raises(BadRequest):
        take_in([HOST, (name, b"1")])


@pytest.mark.parametrize(
    "headers",
    [
        pytest.param([], id="none"),
        pytest.param([(b"host", b"")], id="empty"),
        pytest.param([HOST, HOST], id="two"),
        pytest.param([(b"host", b""), HOST, HOST], id="empty-and-two"),
        pytest.param([(b"host", b"a b")], id="blank"),
        pytest.param([(b"host", b"user@host")], id="user-info"),
        pytest.param([(b"host", b"host/path")], id="path"),
        pytest.param([(b"host", b"a,b")], id="joined"),
        pytest.param([(b"host", "zoë".encode())], id="not-ascii"),
    ],
)
def test_a_request_needs_exactly_one_host(headers: RawHeaders) -> None:
    with pytest.raises(BadRequest):
        take_in(headers)


@pytest.mark.parametrize("host", [b"a", b"a.b:80", b"[::1]", b"[2001:db8::1]:8443", b"192.0.2.1:1"])
def test_every_form_of_a_host_is_taken(host: bytes) -> None:
    assert take_in([(b"host", host)]).host == host


def test_two_authorization_headers_are_ambiguous_even_when_they_agree() -> None:
    with pytest.raises(AmbiguousCredentials):
        take_in([HOST, (b"authorization", b"Basic YTpi"), (b"authorization", b"Basic YTpi")])


def test_an_empty_first_authorization_does_not_hide_the_second() -> None:
    with pytest.raises(AmbiguousCredentials):
        take_in([HOST, (b"authorization", b""), (b"authorization", b"Basic YTpi")])


def test_two_lengths_are_refused() -> None:
    with pytest.raises(BadRequest):
        take_in([HOST, (b"content-length", b"1"), (b"content-length", b"1")])


def test_a_length_beside_chunks_is_refused() -> None:
    with pytest.raises(BadRequest):
        take_in([HOST, (b"content-length", b"1"), (b"transfer-encoding", b"chunked")])


@pytest.mark.parametrize("value", [b"gzip", b"gzip, chunked", b"chunked, chunked", b"identity", b"", b"chunked;a=1"])
def test_another_transfer_coding_than_chunked_is_refused(value: bytes) -> None:
    with pytest.raises(BadRequest, match="only 'chunked'"):
        take_in([HOST, (b"transfer-encoding", value)])


@pytest.mark.parametrize("value", [b"chunked", b"Chunked"])
def test_chunks_are_kept_in_either_case(value: bytes) -> None:
    assert take_in([HOST, (b"transfer-encoding", value)]).kept == [(b"transfer-encoding", value)]


def test_two_transfer_codings_are_refused() -> None:
    with pytest.raises(BadRequest, match="send one of them, once"):
        take_in([HOST, (b"transfer-encoding", b"chunked"), (b"transfer-encoding", b"chunked")])


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        pytest.param(b"x-a", b"1", True, id="plain"),
        pytest.param(b"x-a", b"", True, id="empty-value"),
        pytest.param(b"x-a", "ü".encode("latin-1"), True, id="latin-1"),
        pytest.param(b"", b"1", False, id="no-name"),
        pytest.param(b"x a", b"1", False, id="blank-in-the-name"),
        pytest.param(b"x-a:", b"1", False, id="colon-in-the-name"),
        pytest.param(b"x-a\n", b"1", False, id="name-with-a-line-break"),
        pytest.param(b"x-a", b"1\r\nx-b: 2", False, id="two-headers"),
        pytest.param(b"x-a", b"a\x00b", False, id="nul"),
    ],
)
def test_only_one_header_on_the_wire_is_a_header(name: bytes, value: bytes, expected: bool) -> None:
    assert is_header(name, value) is expected


def test_chunks_beside_a_length_are_refused() -> None:
    with pytest.raises(BadRequest):
        take_in([HOST, (b"transfer-encoding", b"chunked"), (b"content-length", b"1")])


@pytest.mark.parametrize("value", [b"a\x00b", b"a\rb", b"a\nb", b"\x7f"])
@pytest.mark.parametrize("name", [b"x-a", b"cookie", b"authorization", b"x-remote-user", b"x-forwarded-for"])
def test_a_control_character_is_refused_in_every_value(name: bytes, value: bytes) -> None:
    with pytest.raises(BadRequest):
        take_in([HOST, (name, value)])


def test_a_tab_and_bytes_above_ascii_may_stand_in_a_value() -> None:
    header = (b"x-a", "a\tzoë".encode())

    assert take_in([HOST, header]).kept == [header]


def test_a_section_beyond_the_limit_is_431() -> None:
    with pytest.raises(HeadersTooLarge) as caught:
        take_in([HOST, (b"x-a", b"a" * MAX_HEADER_BYTES)])

    assert caught.value.status == 431


def test_a_kerberos_ticket_of_windows_fits() -> None:
    assert take_in([HOST, (b"authorization", b"Negotiate " + b"A" * 48_000)]).authorization


@pytest.mark.parametrize(
    ("value", "left"),
    [
        pytest.param(b"a=1; _token=x; b=2", [b"a=1; b=2"], id="between"),
        pytest.param(b"_token=x", [], id="alone"),
        pytest.param(b"_token=x; _token=y", [], id="twice"),
        pytest.param(b" _token =x;a=1", [b"a=1"], id="blanks"),
        pytest.param(b"_token", [], id="no-value"),
        pytest.param(b"x_token=1; _tokenx=2", [b"x_token=1; _tokenx=2"], id="other-names"),
        pytest.param(b"a=_token=1", [b"a=_token=1"], id="name-in-a-value"),
    ],
)
def test_only_the_named_cookies_are_taken_out(value: bytes, left: list[bytes]) -> None:
    assert without_cookies([value], frozenset({b"_token"})) == left


def test_a_cookie_is_found_by_its_whole_name() -> None:
    values = [b"a=1", b"b=2; session=x"]

    assert has_cookie(values, b"session")
    assert not has_cookie(values, b"sess")
