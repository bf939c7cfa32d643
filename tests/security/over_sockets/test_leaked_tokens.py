"""Reports of leaked tokens: only the reporter's own key revokes, and nobody learns what is ours."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import flask
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.hashes import SHA384

from compat_auth.app import create_app
from compat_auth.authn.passwords.htpasswd import add_user
from compat_auth.composition.decider import create_flask_app
from compat_auth.config import Settings, parse_settings
from compat_auth.crypto.personal_token_format import make_text
from compat_auth.errors import NotAuthenticated
from compat_auth.personal_tokens.request import NewToken, PersonalTokenRequest
from compat_auth.personal_tokens.service import PersonalTokens, personal_tokens_of
from support.leak_reporter import Reporter, pem, publishing
from support.stand_ins import call, http_scope

PATH = "/compat-auth/api/leaked-tokens"
HASH = "$2b$04$" + "a" * 53


@pytest.fixture
def reporter() -> Iterator[Reporter]:
    with publishing() as found:
        yield found


@pytest.fixture
def settings(tmp_path: Path, reporter: Reporter) -> Settings:
    add_user(tmp_path / "users", "alice", HASH)
    content = {
        "auth_backends": ["personal_token"],
        "database_url": f"sqlite:///{tmp_path / 'store.db'}",
        "upstream": {"url": "http://127.0.0.1:9", "profile": "generic"},
        "token": {"strategy": "shared_secret", "secret": "s" * 64},
        "basic_auth": {"directories": ["htpasswd"]},
        "htpasswd": {"file": str(tmp_path / "users")},
        "personal_tokens": {"leak_keys_url": reporter.url},
    }
    return parse_settings(content, origin="test")


@pytest.fixture
def app(settings: Settings) -> Iterator[flask.Flask]:
    app = create_flask_app(settings)
    yield app
    service_of(app).rows.database.close()


@pytest.fixture
def leaked(app: flask.Flask) -> NewToken:
    return service_of(app).create("alice", PersonalTokenRequest("etl"), by="test")


def service_of(app: flask.Flask) -> PersonalTokens:
    service = personal_tokens_of(app)
    assert service is not None
    return service


def is_alive(app: flask.Flask, text: str) -> bool:
    try:
        service_of(app).verification.verify(text)
    except NotAuthenticated:
        return False
    return True


def report(*texts: str) -> bytes:
    return json.dumps(
        [{"token": text, "type": "compat_auth", "url": "https://x.example", "source": "commit"} for text in texts]
    ).encode()


def post(app: flask.Flask, body: bytes, headers: dict[str, str]) -> Any:
    return app.test_client().post(PATH, data=body, headers=headers)


def test_a_token_that_is_reported_is_revoked(
    app: flask.Flask, reporter: Reporter, leaked: NewToken, caplog: pytest.LogCaptureFixture
) -> None:
    body = report("something else", make_text().value, make_text(leaked.token.id).value, leaked.text)

    answer = post(app, body, reporter.headers(body))

    assert (answer.status_code, answer.data) == (204, b"")
    assert not is_alive(app, leaked.text)
    found = service_of(app).rows.find(leaked.token.id)
    assert found is not None
    assert found.reason == "leaked: commit"
    assert "has leaked and is revoked" in caplog.text
    assert leaked.text[20:] not in caplog.text


def test_the_gateway_takes_reports(settings: Settings, reporter: Reporter, app: flask.Flask, leaked: NewToken) -> None:
    body = report(leaked.text)
    headers = [(name.lower().encode(), value.encode()) for name, value in reporter.headers(body).items()]

    async def send() -> int:
        return (await call(create_app(settings), http_scope(PATH.encode(), headers, method="POST"), body)).status

    assert asyncio.run(send()) == 204
    assert not is_alive(app, leaked.text)


def test_an_id_without_its_secret_revokes_nothing(app: flask.Flask, reporter: Reporter, leaked: NewToken) -> None:
    body = report(make_text(leaked.token.id).value)

    assert post(app, body, reporter.headers(body)).status_code == 204
    assert is_alive(app, leaked.text)


def test_the_very_bytes_are_signed(app: flask.Flask, reporter: Reporter, leaked: NewToken) -> None:
    body = report(leaked.text)

    answer = post(app, body + b" ", reporter.headers(body))

    assert answer.status_code == 401
    assert is_alive(app, leaked.text)


@pytest.mark.parametrize(
    "case", ["nothing", "no key", "no signature", "junk", "unknown key", "other hash", "other key"]
)
def test_what_the_reporter_has_not_signed_revokes_nothing(
    app: flask.Flask, reporter: Reporter, leaked: NewToken, case: str
) -> None:
    body = report(leaked.text)
    good = reporter.headers(body)
    other = Reporter()
    headers = {
        "nothing": {},
        "no key": {**good, "Github-Public-Key-Identifier": ""},
        "no signature": {**good, "Github-Public-Key-Signature": ""},
        "junk": {**good, "Github-Public-Key-Signature": "!" * 96},
        "unknown key": reporter.headers(body, key_id="unknown"),
        "other hash": reporter.headers(body, algorithm=SHA384()),
        "other key": other.headers(body),
    }[case]

    assert post(app, body, headers).status_code == 401
    assert is_alive(app, leaked.text)


def test_a_key_that_is_no_p256_key_signs_nothing(app: flask.Flask, reporter: Reporter, leaked: NewToken) -> None:
    large = ec.generate_private_key(ec.SECP384R1())
    body = report(leaked.text)
    reporter.published[:] = [
        {"key_identifier": "current", "key": pem(large)},
        {"key_identifier": "rsa", "key": pem(rsa.generate_private_key(65537, 2048))},
        {"key_identifier": "junk", "key": "-----BEGIN PUBLIC KEY-----"},
        {"key_identifier": 5},
        "junk",
    ]
    reporter.key = large

    assert post(app, body, reporter.headers(body)).status_code == 401
    assert is_alive(app, leaked.text)


def test_a_flood_of_unknown_keys_does_not_flood_the_reporter(app: flask.Flask, reporter: Reporter) -> None:
    for number in range(30):
        post(app, b"[]", reporter.headers(b"[]", key_id=f"unknown-{number}"))

    assert reporter.asked <= 2


@pytest.mark.parametrize("body", [b"", b"{", b"{}", b"null", b"[" * 5000, json.dumps([{}] * 1001).encode()])
def test_a_signed_body_that_is_no_report_is_400(app: flask.Flask, reporter: Reporter, body: bytes) -> None:
    assert post(app, body, reporter.headers(body)).status_code == 400


@pytest.mark.parametrize("entry", [None, 5, {}, {"token": 5}, {"token": None}, {"token": "x", "source": 5}])
def test_an_entry_that_is_none_is_passed_over(
    app: flask.Flask, reporter: Reporter, leaked: NewToken, entry: object
) -> None:
    body = json.dumps([entry, {"token": leaked.text}]).encode()

    assert post(app, body, reporter.headers(body)).status_code == 204
    assert not is_alive(app, leaked.text)


def test_a_reporter_that_is_down_is_503(app: flask.Flask, reporter: Reporter, leaked: NewToken) -> None:
    reporter.published = [{"key_identifier": "x", "key": "y" * 300_000}]
    body = report(leaked.text)

    answer = post(app, body, reporter.headers(body))

    assert answer.status_code == 503
    assert is_alive(app, leaked.text)


def test_without_keys_configured_there_is_no_such_page(settings: Settings) -> None:
    off = settings.model_copy(
        update={"personal_tokens": settings.personal_tokens.model_copy(update={"leak_keys_url": ""})}
    )

    assert create_flask_app(off).test_client().post(PATH).status_code == 404
