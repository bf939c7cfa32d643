"""What a body at `/auth/token` asks for; one that can be read in two ways asks for nothing."""

import json
from urllib.parse import urlencode

import pytest

from compat_auth.api.oauth.token_request import (
    ACCESS_TOKEN,
    EXCHANGE_GRANT,
    JWT,
    Ask,
    Exchange,
    ForeignGrant,
    Login,
    parse_form,
    parse_token_request,
)
from compat_auth.errors import BadRequest, IncompleteLogin, TokenRequestRefused, UnsupportedMediaType

FORM = "application/x-www-form-urlencoded"
JSON = "application/json"
EXCHANGE = {"grant_type": EXCHANGE_GRANT, "subject_token": "abc", "subject_token_type": ACCESS_TOKEN}


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        pytest.param(JSON, b'{"username":"al","password":"w"}', id="json"),
        pytest.param("Application/JSON; charset=utf-8", b'{"username":"al","password":"w"}', id="json-with-charset"),
        pytest.param(FORM, b"username=al&password=w", id="form"),
        pytest.param(FORM, b"grant_type=password&username=al&password=w&scope=&client_id=x", id="swagger"),
    ],
)
def test_a_login_is_read_from_json_and_from_a_form(content_type: str, body: bytes) -> None:
    assert parse_token_request(content_type, body) == Login("al", "w")


def test_letters_beyond_ascii_are_the_same_in_json_and_in_a_form() -> None:
    by_form = parse_token_request(FORM, urlencode({"username": "zoë", "password": "pä+ß word"}).encode())
    by_json = parse_token_request(JSON, '{"username":"zoë","password":"pä+ß word"}'.encode())

    assert by_form == by_json == Login("zoë", "pä+ß word")


def test_a_body_that_brings_nothing_leaves_the_request_its_own_credential() -> None:
    assert parse_token_request("", b"") == Ask(is_empty=True)
    assert parse_token_request(JSON, b"{}") == Ask(is_empty=False)
    assert parse_token_request(FORM, b"x=1") == Ask(is_empty=False)


@pytest.mark.parametrize("grant", ["client_credentials", "urn:ietf:params:oauth:grant-type:jwt-bearer", "", "PASSWORD"])
def test_a_grant_in_json_that_we_do_not_speak_is_told_apart(grant: str) -> None:
    body = json.dumps({"grant_type": grant, "client_id": "robot", "client_secret": "s"}).encode()

    assert parse_token_request(JSON, body) == ForeignGrant()


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"grant_type": "password", "username": "a", "password": "b"}, Login("a", "b")),
        ({"grant_type": "client_credentials", "username": "a", "password": "b"}, Login("a", "b")),
        ({"grant_type": 7, "client_id": "robot"}, Ask(is_empty=False)),
        ({"grant_type": "password"}, Ask(is_empty=False)),
        ({"grant_type": EXCHANGE_GRANT}, Ask(is_empty=False)),
    ],
)
def test_a_grant_that_we_speak_or_that_is_none_is_no_foreign_one(body: object, expected: object) -> None:
    assert parse_token_request(JSON, json.dumps(body).encode()) == expected


@pytest.mark.parametrize(
    "body",
    [
        b'{"username":"al"}',
        b'{"password":"w"}',
        b'{"username":"","password":"w"}',
        b'{"username":"al","password":""}',
        b'{"username":"al","password":1}',
        b'{"username":["al"],"password":"w"}',
        b'{"username":"al","password":null}',
    ],
)
def test_half_a_login_is_incomplete(body: bytes) -> None:
    with pytest.raises(IncompleteLogin):
        parse_token_request(JSON, body)


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        pytest.param(JSON, b'{"username":"al","username":"bo","password":"w"}', id="json-member-twice"),
        pytest.param(JSON, b'["al","w"]', id="json-list"),
        pytest.param(JSON, b'{"username":"al\\ud800","password":"w"}', id="half-surrogate"),
        pytest.param(JSON, b"[" * 5000, id="deep"),
        pytest.param(JSON, b"\xff{}", id="not-utf-8"),
        pytest.param(FORM, b"username=al&username=bo&password=w", id="form-field-twice"),
        pytest.param(FORM, b"username=al&password=%ff", id="form-not-utf-8"),
        pytest.param(FORM, b"username=al&password=\xc3\xa4", id="form-raw-bytes"),
        pytest.param(FORM, b"&".join(b"f%d=1" % n for n in range(30)), id="too-many-fields"),
        pytest.param(FORM, b"username", id="no-pairs"),
    ],
)
def test_what_can_be_read_in_two_ways_is_refused(content_type: str, body: bytes) -> None:
    with pytest.raises(BadRequest):
        parse_token_request(content_type, body)


@pytest.mark.parametrize("content_type", ["", "text/plain", "multipart/form-data; boundary=x", "application/jsonp"])
def test_another_media_type_is_none_of_ours(content_type: str) -> None:
    with pytest.raises(UnsupportedMediaType):
        parse_token_request(content_type, b'{"username":"al","password":"w"}')


def test_an_exchange_is_read_with_its_repeated_audiences() -> None:
    body = urlencode([*EXCHANGE.items(), ("audience", "a"), ("audience", "b"), ("resource", "https://r")]).encode()

    assert parse_token_request(FORM, body) == Exchange("abc", ACCESS_TOKEN, ("a", "b", "https://r"), "", ACCESS_TOKEN)


def test_an_exchange_may_ask_for_a_jwt() -> None:
    wanted = parse_token_request(FORM, urlencode({**EXCHANGE, "requested_token_type": JWT}).encode())

    assert isinstance(wanted, Exchange)
    assert wanted.issued_type == JWT


@pytest.mark.parametrize(
    ("changed", "code"),
    [
        pytest.param({"grant_type": "authorization_code"}, "unsupported_grant_type", id="grant"),
        pytest.param({"subject_token_type": "urn:x"}, "invalid_request", id="unknown-subject-type"),
        pytest.param({"subject_token_type": ""}, "invalid_request", id="no-subject-type"),
        pytest.param({"subject_token": ""}, "invalid_request", id="no-subject"),
        pytest.param({"subject_token": "a b"}, "invalid_request", id="blank-in-subject"),
        pytest.param({"subject_token": "a\r\nX-User: root"}, "invalid_request", id="header-in-subject"),
        pytest.param({"actor_token": "x"}, "invalid_request", id="actor"),
        pytest.param({"requested_token_type": "urn:ietf:params:oauth:token-type:saml2"}, "invalid_request", id="saml"),
    ],
)
def test_what_an_exchange_cannot_be_has_oauths_own_name(changed: dict[str, str], code: str) -> None:
    with pytest.raises(TokenRequestRefused) as caught:
        parse_token_request(FORM, urlencode({**EXCHANGE, **changed}).encode())

    assert caught.value.code == code


@pytest.mark.parametrize("name", ["grant_type", "subject_token", "subject_token_type", "scope", "requested_token_type"])
def test_no_parameter_of_an_exchange_stands_there_twice(name: str) -> None:
    body = urlencode([*EXCHANGE.items(), (name, EXCHANGE.get(name, ACCESS_TOKEN)), (name, "other")]).encode()

    with pytest.raises(TokenRequestRefused, match="more than once") as caught:
        parse_token_request(FORM, body)

    assert caught.value.code == "invalid_request"


@pytest.mark.parametrize(
    ("content_type", "body"), [(JSON, b"{}"), (FORM, b"token=a&token=b"), (FORM, b"token"), ("", b"token=a")]
)
def test_a_form_of_ours_is_a_form_with_each_field_once(content_type: str, body: bytes) -> None:
    with pytest.raises(TokenRequestRefused) as caught:
        parse_form(content_type, body)

    assert caught.value.code == "invalid_request"


def test_a_form_is_read_field_by_field() -> None:
    assert parse_form(FORM, b"token=a%2Bb&token_type_hint=") == {"token": "a+b", "token_type_hint": ""}
