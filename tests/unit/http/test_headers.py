"""Strict intake of a header section."""

from __future__ import annotations

import pytest

from compat_auth.errors import AmbiguousCredentials, BadRequest, HeadersTooLarge
from compat_auth.http.headers import (
    MAX_HEADER_BYTES,
    RawHeaders,
    cookie_values,
    fold_name,
    has_cookie,
    is_header,
    is_host,
    may_have_body,
    names_caller,
    removed_names,
    take_in,
    without_cookies,
)

HOST = (b"host", b"gateway.example:8088")
# What proxies write about the way of a request, and what would change its method or path.
FORWARD = """
forwarded x-forwarded x-forwarded-for x-forwarded-host x-forwarded-port x-forwarded-proto x-forwarded-protocol
x-forwarded-scheme x-forwarded-ssl x-forwarded-prefix x-forwarded-path x-forwarded-uri x-forwarded-method
x-forwarded-server x-forwarded-by x-real-ip x-client-ip x-cluster-client-ip true-client-ip cf-connecting-ip
x-original-url x-original-uri x-original-host x-original-method x-original-forwarded-for x-rewrite-url
x-script-name x-envoy-original-path x-envoy-original-method x-envoy-external-address x-envoy-internal
proxy x-http-method x-http-method-override x-method-override front-end-https x-url-scheme
"""


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
    with pytest.raises(BadRequest, match="send one of them, once"):
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


@pytest.mark.parametrize("name", FORWARD.split())
def test_a_forward_header_is_kept_apart_and_does_not_go_on(name: str) -> None:
    intake = take_in([HOST, (name.encode(), b"1"), (name.encode(), b"2")])

    assert intake.forward == {name.encode(): [b"1", b"2"]}
    assert (intake.kept, intake.identity) == ([], [])


@pytest.mark.parametrize(
    "name",
    ["content-length", "transfer-encoding", "proxy-authorization", "x-forwarded-for", "x-auth-user", "x-compat-auth-a"],
)
@pytest.mark.parametrize("letter", ["_", "."])
def test_no_other_spelling_of_a_name_with_a_meaning_is_taken_in(name: str, letter: str) -> None:
    with pytest.raises(BadRequest, match="some servers take for another header"):
        take_in([HOST, (name.replace("-", letter, 1).encode(), b"1")])


@pytest.mark.parametrize("name", [b"proxy-authorization", b"connection", b"upgrade", b"te"])
def test_a_header_of_one_connection_is_kept_for_those_who_end_it(name: bytes) -> None:
    assert take_in([HOST, (name, b"1"), (name, b"2")]).kept == [(name, b"1"), (name, b"2")]


def test_a_section_of_exactly_the_limit_is_taken_in_and_one_byte_more_is_not() -> None:
    # Each line counts with its ": " and its end.
    left = MAX_HEADER_BYTES - sum(map(len, HOST)) - 4 - len(b"x-a") - 4

    assert len(take_in([HOST, (b"x-a", b"a" * left)]).kept) == 1
    with pytest.raises(HeadersTooLarge, match="larger than 61440 bytes"):
        take_in([HOST, (b"x-a", b"a" * (left + 1))])


def test_a_thousand_empty_headers_are_not_free() -> None:
    count = (MAX_HEADER_BYTES - sum(map(len, HOST)) - 4) // len("a: \r\n")

    assert len(take_in([HOST, *[(b"a", b"")] * count]).kept) == count
    with pytest.raises(HeadersTooLarge):
        take_in([HOST, *[(b"a", b"")] * (count + 1)])


@pytest.mark.parametrize("headers", [[], [(b"host", b"")]])
def test_where_a_request_may_lack_its_host_it_may_be_missing_or_empty(headers: RawHeaders) -> None:
    assert take_in(headers, may_lack_host=True).host == b""


@pytest.mark.parametrize("headers", [[HOST, HOST], [(b"host", b"a b")], [(b"host", b""), (b"host", b"")]])
def test_where_a_request_may_lack_its_host_it_may_not_have_a_wrong_one(headers: RawHeaders) -> None:
    with pytest.raises(BadRequest, match="Host"):
        take_in(headers, may_lack_host=True)


@pytest.mark.parametrize(
    "host", [b"a:123456", b"a:", b"a:b", b"[::1", b"::1", b"a\n", b"[::1]a", b"", b"[fe80::1%25eth0]"]
)
def test_what_is_more_or_less_than_a_host_is_none(host: bytes) -> None:
    assert not is_host(host)


def test_a_header_that_a_site_names_counts_as_an_identity_header() -> None:
    headers = [(b"remote-user", b"1"), (b"x-site", b"2"), (b"x-other", b"3")]

    intake = take_in([HOST, *headers], named=frozenset((b"x-site", b"remote-user")))

    assert intake.identity == [(b"remote-user", b"1"), (b"x-site", b"2")]
    assert intake.kept == [(b"x-other", b"3")]


@pytest.mark.parametrize("name", [b"x_site", b"x.site"])
def test_another_spelling_of_a_header_that_a_site_names_is_refused(name: bytes) -> None:
    assert take_in([HOST, (name, b"1")]).kept == [(name, b"1")]
    with pytest.raises(BadRequest, match="some servers take for another header"):
        take_in([HOST, (name, b"1")], named=frozenset((b"x-site",)))


@pytest.mark.parametrize(
    ("name", "named"),
    [
        (b"remote-user", True),
        (b"x-auth-request-user", True),
        (b"x-auth-something-new", True),
        (b"x-compat-auth-user", True),
        (b"x-auth-" + b"a" * 100, True),
        (b"x-compat-auth-" + b"a" * 100, True),
        (b"x-forwarded-for", False),
        (b"authorization", False),
        (b"host", False),
        (b"accept", False),
        (b"x-" + b"a" * 100, False),
    ],
)
def test_a_header_names_the_caller_or_does_not(name: bytes, named: bool) -> None:
    assert names_caller(name) is named


def test_a_name_is_read_as_the_least_strict_server_reads_it() -> None:
    assert fold_name(b"x_auth.user-id") == b"x-auth-user-id"


def test_the_names_that_never_go_on_are_listed_once_and_in_order() -> None:
    names = removed_names()

    assert {*FORWARD.split(), "remote-user", "x-auth-request-user", "proxy-authorization", "proxy-connection"} <= set(
        names
    )
    assert list(names) == sorted(set(names))
    assert not {"authorization", "cookie", "host", "content-length", "accept"} & set(names)


@pytest.mark.parametrize(
    ("version", "headers", "expected"),
    [
        pytest.param("1.1", [], False, id="nothing"),
        pytest.param("1.0", [HOST], False, id="old"),
        pytest.param(None, [HOST], False, id="no-version"),
        pytest.param("2", [HOST], True, id="http-2"),
        pytest.param("3", [], True, id="http-3"),
        pytest.param("1.1", [HOST, (b"content-length", b"5")], True, id="length"),
        pytest.param("1.1", [(b"content-length", b"0")], False, id="empty"),
        pytest.param("2", [(b"content-length", b"000")], False, id="empty-in-http-2"),
        pytest.param("1.1", [(b"content-length", b"10")], True, id="ends-with-a-zero"),
        pytest.param("1.1", [(b"content-length", b"X")], True, id="no-number"),
        pytest.param("1.1", [(b"transfer-encoding", b"chunked")], True, id="chunks"),
        pytest.param("1.1", [(b"transfer-encoding", b"0")], True, id="odd-chunks"),
    ],
)
def test_a_request_may_have_a_body_unless_it_says_that_it_has_none(
    version: str | None, headers: RawHeaders, expected: bool
) -> None:
    scope = {} if version is None else {"http_version": version}

    assert may_have_body(scope, headers) is expected


def test_without_a_name_no_cookie_is_taken_out() -> None:
    assert without_cookies([b" a=1 ;b", b""], frozenset()) == [b" a=1 ;b", b""]


@pytest.mark.parametrize("value", [b"a=1, _token=x", b"a=1 _token=x", b'a="1" _token=x', b"a=1\xa0_token=x"])
def test_a_cookie_that_only_some_parser_finds_is_taken_out(value: bytes) -> None:
    assert without_cookies([b"b=2; " + value, value], frozenset((b"_token",))) == [b"b=2"]


def test_each_value_that_some_parser_could_read_for_a_cookie_is_found() -> None:
    values = [b"a=1; _token= x ; _token=y=z", b"_token", b"b=2, _token=w", b"x_token=v; c=_token"]

    assert cookie_values(values, b"_token") == [b"x", b"y=z", b"", b"w"]
    assert cookie_values(values, b"token") == []


def test_a_cookie_without_a_value_is_a_cookie() -> None:
    assert has_cookie([b"a=session; b", b" session "], b"session")
    assert not has_cookie([b"a=session"], b"session")
    assert not has_cookie([], b"session")
