"""Signing in at an OpenID provider, under attack: forged answers, planted state, stolen codes, tokens of other logins."""

from __future__ import annotations

import base64
import hashlib
import logging
import re
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import parse_qsl, urlencode, urlsplit

import pytest
from flask import Flask
from werkzeug.test import TestResponse

from compat_auth import sessions
from compat_auth.app import Gateway
from compat_auth.authn import session_registry
from compat_auth.authn.chain import Chain
from compat_auth.backend import Backend, CredentialKind
from compat_auth.composition.decider import create_flask_app
from compat_auth.config import Settings, parse_settings
from compat_auth.credentials import Bearer, Credential
from compat_auth.errors import BackendUnavailable, ConfigError, NoSuchUser
from compat_auth.identity import Identity, Token
from compat_auth.outcome import Accept, Outcome, Reject, Skip
from compat_auth.scopes import parse_scope
from compat_auth.sign_in import Attempt, SignIn
from compat_auth.web.login_completion import set_cookie_token_issuer
from compat_auth.web.sign_in_state import LIFETIME_S
from compat_auth.web.site import register_pages
from support.security.browser import Browser
from support.stand_ins import call, http_scope
from support.stub_issuer import AUDIENCE, EC_KEY, ED_KEY, OTHER_RSA_KEY, Answer, StubIssuer, jwk, running_issuer, sign

SIGN_IN = "/compat-auth/sign-in/main"
CALLBACK = f"{SIGN_IN}/callback"
CLIENT = "gateway"
CLIENT_SECRET = "secret+%"
CODE = "a code"
ACCESS_TOKEN = "an access token"
EVIL = "https://evil.example"


@pytest.fixture
def issuer() -> Iterator[StubIssuer]:
    with running_issuer() as stub:
        stub.document |= {"authorization_endpoint": f"{stub.url}/auth", "token_endpoint": f"{stub.url}/token"}
        yield stub


@pytest.fixture
def other_issuer() -> Iterator[StubIssuer]:
    with running_issuer() as stub:
        stub.document |= {"authorization_endpoint": f"{stub.url}/auth", "token_endpoint": f"{stub.url}/token"}
        yield stub


def table(issuer: StubIssuer, **changed: Any) -> dict[str, Any]:
    good = {
        "issuer": issuer.url,
        "sign_in": "main",
        "sign_in_label": "Log in with the Main Company",
        "client_id": CLIENT,
        "client_secret": CLIENT_SECRET,
    }
    return {**good, **changed}


def settings_of(folder: Path, *issuers: dict[str, Any], **sections: Any) -> Settings:
    content: dict[str, Any] = {
        "auth_backends": ["session", "oidc"],
        "database_url": f"sqlite:///{folder / 'store.db'}",
        "oidc": {"issuers": list(issuers)},
        "session": {"secret": "s" * 32},
        "upstream": {"url": "http://127.0.0.1:9", "profile": "airflow-simple"},
        "token": {"strategy": "shared_secret", "secret": "t" * 64},
    }
    return parse_settings({**content, **sections}, origin="test")


@pytest.fixture
def settings(tmp_path: Path, issuer: StubIssuer) -> Settings:
    return settings_of(tmp_path, table(issuer))


@pytest.fixture
def browser(settings: Settings) -> Iterator[Browser]:
    browser = Browser(create_flask_app(settings))
    yield browser
    browser.close()


def begin(browser: Browser, target: str = "/dags?x=1", *, path: str = SIGN_IN, **headers: str) -> dict[str, str]:
    """Begin to sign in; return what the provider is asked."""
    answer = browser.open(f"{path}?{urlencode({'next': target})}", **headers)
    assert answer.status_code == 303
    return dict(parse_qsl(urlsplit(answer.headers["Location"]).query))


def gives(issuer: StubIssuer, says: Mapping[str, Any] | None = None, /, **claims: Any) -> None:
    """Let the token endpoint give an ID token with these claims, and an access token."""
    token = id_token(issuer, **claims)
    issuer.says["/token"] = Answer(
        {"access_token": ACCESS_TOKEN, "token_type": "Bearer", "id_token": token, **(says or {})}
    )


def id_token(issuer: StubIssuer, *, key: Any = None, alg: str = "RS256", kid: str = "rsa", **claims: Any) -> str:
    chosen = {} if key is None else {"key": key}
    return sign(issuer.claims(**{"aud": CLIENT, "client_id": None, **claims}), alg=alg, kid=kid, typ="JWT", **chosen)


def come_back(browser: Browser, path: str = CALLBACK, **answer: str) -> TestResponse:
    return browser.open(f"{path}?{urlencode(answer)}")


def sign_in(browser: Browser, issuer: StubIssuer, **claims: Any) -> TestResponse:
    asked = begin(browser)
    gives(issuer, **{"nonce": asked["nonce"], **claims})
    return come_back(browser, code=CODE, state=asked["state"])


def test_a_good_login_begins_a_session_and_leads_on(browser: Browser, issuer: StubIssuer) -> None:
    answer = sign_in(browser, issuer)

    session = browser.session()
    assert (answer.status_code, answer.headers["Location"]) == (303, "/dags?x=1")
    assert session is not None
    assert (session.username, session.backend, session.expires_at) == ("alice", "oidc", None)


def test_the_login_page_offers_it_and_no_form_where_no_backend_takes_passwords(browser: Browser) -> None:
    page = browser.open("/compat-auth/login?next=/dags").text

    assert 'href="/compat-auth/sign-in/main?next=/dags"' in page
    assert "Log in with the Main Company" in page
    assert 'name="password"' not in page


def test_the_provider_is_asked_for_a_code_with_pkce_nonce_and_state(browser: Browser, issuer: StubIssuer) -> None:
    asked = begin(browser)

    assert asked["response_type"] == "code"
    assert asked["client_id"] == CLIENT
    assert asked["redirect_uri"] == f"http://gateway{CALLBACK}"
    assert asked["code_challenge_method"] == "S256"
    assert "openid" in asked["scope"].split()
    assert all(len(asked[name]) == 43 for name in ("state", "nonce", "code_challenge"))


def test_the_code_is_redeemed_with_the_verifier_and_our_own_secret(browser: Browser, issuer: StubIssuer) -> None:
    asked = begin(browser)
    gives(issuer, nonce=asked["nonce"])

    come_back(browser, code=CODE, state=asked["state"])

    (form,) = [form for form in issuer.received if "code" in form]
    digest = hashlib.sha256(form["code_verifier"].encode()).digest()
    pair = base64.b64encode(b"gateway:secret%2B%25").decode()
    assert base64.urlsafe_b64encode(digest).rstrip(b"=").decode() == asked["code_challenge"]
    assert (form["code"], form["redirect_uri"]) == (CODE, asked["redirect_uri"])
    assert form["authorization"] == f"Basic {pair}"
    assert "client_secret" not in form


def test_a_provider_that_wants_the_secret_in_the_form_gets_it_there(browser: Browser, issuer: StubIssuer) -> None:
    issuer.document["token_endpoint_auth_methods_supported"] = ["client_secret_post"]

    sign_in(browser, issuer)

    (form,) = [form for form in issuer.received if "code" in form]
    assert (form["client_id"], form["client_secret"], form["authorization"]) == (CLIENT, CLIENT_SECRET, "")


def test_a_client_without_a_secret_only_names_itself(tmp_path: Path, issuer: StubIssuer) -> None:
    browser = Browser(create_flask_app(settings_of(tmp_path, table(issuer, client_secret=""))))

    answer = sign_in(browser, issuer)

    (form,) = [form for form in issuer.received if "code" in form]
    assert answer.status_code == 303
    assert (form["client_id"], form["authorization"], form.get("client_secret")) == (CLIENT, "", None)
    browser.close()


# Login CSRF and fixation: the answer must belong to what this very browser began.


def test_an_attackers_answer_logs_nobody_in_who_did_not_ask(browser: Browser, issuer: StubIssuer) -> None:
    """The attacker stops before the callback, and lets the victim open it."""
    attacker = Browser(browser.app)
    asked = begin(attacker)
    gives(issuer, nonce=asked["nonce"])

    answer = come_back(browser, code=CODE, state=asked["state"])

    assert answer.status_code == 400
    assert browser.session() is None
    assert issuer.asked["/token"] == 0


def test_an_attackers_answer_does_not_fit_what_the_victim_began(browser: Browser, issuer: StubIssuer) -> None:
    attacker = Browser(browser.app)
    asked = begin(attacker)
    begin(browser)

    answer = come_back(browser, code=CODE, state=asked["state"])

    assert answer.status_code == 400
    assert browser.session() is None


@pytest.mark.parametrize(
    "states", [[], [""], ["x" * 43], ["mine", "mine"], ["mine", "x"]], ids=["none", "empty", "wrong", "twice", "two"]
)
def test_an_answer_must_bring_this_browsers_state_once(browser: Browser, issuer: StubIssuer, states: list[str]) -> None:
    asked = begin(browser)
    gives(issuer, nonce=asked["nonce"])
    brought = [("state", asked["state"] if state == "mine" else state) for state in states]

    answer = browser.open(f"{CALLBACK}?{urlencode([('code', CODE), *brought])}")

    assert answer.status_code == 400
    assert browser.session() is None


def test_a_cookie_that_somebody_made_is_no_attempt(browser: Browser) -> None:
    asked = begin(browser)
    cookie = browser.client.get_cookie("compat_auth_session_attempt", "gateway")
    assert cookie is not None
    raw = bytearray(base64.urlsafe_b64decode(cookie.value))
    raw[-1] ^= 1
    for value in (base64.urlsafe_b64encode(bytes(raw)).decode(), "x", "", "ä", cookie.value[:-8]):
        browser.client.set_cookie("compat_auth_session_attempt", value, domain="gateway")

        assert come_back(browser, code=CODE, state=asked["state"]).status_code == 400


def test_a_cookie_of_plain_http_is_none_on_https(browser: Browser) -> None:
    """Another host of the domain can set a cookie for plain HTTP; it must not pass for one of HTTPS."""
    asked = begin(browser)
    cookie = browser.client.get_cookie("compat_auth_session_attempt", "gateway")
    assert cookie is not None
    browser.client.set_cookie("__Host-compat_auth_session_attempt", cookie.value, domain="gateway", secure=True)

    answer = browser.open(f"{CALLBACK}?{urlencode({'code': CODE, 'state': asked['state']})}", host="https://gateway")

    assert answer.status_code == 400


def test_an_attempt_ends_after_ten_minutes(
    browser: Browser, issuer: StubIssuer, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = begin(browser)
    gives(issuer, nonce=asked["nonce"])
    later = time.time() + LIFETIME_S
    monkeypatch.setattr(time, "time", lambda: later)

    assert come_back(browser, code=CODE, state=asked["state"]).status_code == 400


def test_the_same_answer_works_once_even_with_the_cookie_kept(browser: Browser, issuer: StubIssuer) -> None:
    asked = begin(browser)
    cookie = browser.client.get_cookie("compat_auth_session_attempt", "gateway")
    assert cookie is not None
    gives(issuer, nonce=asked["nonce"])
    first = come_back(browser, code=CODE, state=asked["state"])
    thief = Browser(browser.app)
    thief.client.set_cookie("compat_auth_session_attempt", cookie.value, domain="gateway")

    second = come_back(thief, code=CODE, state=asked["state"])

    assert (first.status_code, second.status_code) == (303, 400)
    assert thief.session() is None
    assert issuer.asked["/token"] == 1


def test_the_attempt_is_taken_from_the_browser_however_it_ends(browser: Browser, issuer: StubIssuer) -> None:
    for nonce in (None, "wrong"):
        asked = begin(browser)
        gives(issuer, nonce=nonce or asked["nonce"])
        come_back(browser, code=CODE, state=asked["state"])

        assert browser.client.get_cookie("compat_auth_session_attempt", "gateway") is None


def test_a_code_that_the_provider_no_longer_takes_logs_nobody_in(browser: Browser, issuer: StubIssuer) -> None:
    asked = begin(browser)
    issuer.says["/token"] = Answer({"error": "invalid_grant"}, 400)

    answer = come_back(browser, code=CODE, state=asked["state"])

    assert answer.status_code == 403
    assert browser.session() is None


def test_a_session_from_before_is_not_the_one_after(browser: Browser, issuer: StubIssuer) -> None:
    planted = browser.sessions.start(Identity("mallory", "basic_auth"))
    value = browser.sessions.cookie.header(planted, secure=False).partition(";")[0].partition("=")[2]
    browser.client.set_cookie("compat_auth_session", value, domain="gateway")

    sign_in(browser, issuer)

    session = browser.session()
    assert session is not None
    assert session.id != planted.id
    assert browser.sessions._rows.find_live(planted.id) is None


# Code injection and mix-up: the ID token must be this attempt's, this client's and this issuer's.


@pytest.mark.parametrize(
    "claims",
    [
        pytest.param({"nonce": "of another attempt"}, id="nonce-of-another"),
        pytest.param({"nonce": None}, id="no-nonce"),
        pytest.param({"aud": "another client"}, id="for-another"),
        pytest.param({"aud": AUDIENCE}, id="an-access-tokens-audience"),
        pytest.param({"aud": [CLIENT, "another"]}, id="for-several-without-azp"),
        pytest.param({"aud": [CLIENT, "another"], "azp": "another"}, id="asked-for-by-another"),
        pytest.param({"azp": "another"}, id="azp-of-another"),
        pytest.param({"azp": 1}, id="azp-no-text"),
        pytest.param({"iss": EVIL}, id="another-issuer"),
        pytest.param({"exp": 1}, id="expired"),
        pytest.param({"exp": None}, id="no-end"),
        pytest.param({"iat": None}, id="no-beginning"),
        pytest.param({"iat": 2**40}, id="from-the-future"),
        pytest.param({"sub": None}, id="nobody"),
        pytest.param({"sub": ""}, id="empty-sub"),
        pytest.param({"at_hash": "AAAAAAAAAAAAAAAAAAAAAA"}, id="another-access-token"),
        pytest.param({"at_hash": 1}, id="at-hash-no-text"),
        pytest.param({"key": OTHER_RSA_KEY}, id="signed-by-another"),
        pytest.param({"kid": "unknown"}, id="unknown-key"),
    ],
)
def test_an_id_token_that_is_not_of_this_login_logs_nobody_in(
    browser: Browser, issuer: StubIssuer, claims: dict[str, Any]
) -> None:
    answer = sign_in(browser, issuer, **claims)

    assert answer.status_code == 403
    assert browser.session() is None


@pytest.mark.parametrize(
    ("key", "alg", "kid", "name"),
    [(None, "RS256", "rsa", "sha256"), (EC_KEY, "ES256", "ec", "sha256"), (ED_KEY, "EdDSA", "ed", "sha512")],
)
def test_a_right_at_hash_is_believed(
    browser: Browser, issuer: StubIssuer, key: Any, alg: str, kid: str, name: str
) -> None:
    issuer.keys.append(jwk(ED_KEY.public_key(), "ed"))
    digest = hashlib.new(name, ACCESS_TOKEN.encode()).digest()
    at_hash = base64.urlsafe_b64encode(digest[: len(digest) // 2]).rstrip(b"=").decode()

    answer = sign_in(browser, issuer, at_hash=at_hash, key=key, alg=alg, kid=kid)

    assert answer.status_code == 303


def test_an_access_token_is_no_id_token(browser: Browser, issuer: StubIssuer) -> None:
    asked = begin(browser)
    token = sign(issuer.claims(aud=CLIENT, nonce=asked["nonce"]), typ="at+jwt")
    issuer.says["/token"] = Answer({"access_token": ACCESS_TOKEN, "id_token": token})

    assert come_back(browser, code=CODE, state=asked["state"]).status_code == 403


@pytest.mark.parametrize("missing", ["id_token", "access_token"])
def test_an_answer_without_both_tokens_logs_nobody_in(browser: Browser, issuer: StubIssuer, missing: str) -> None:
    asked = begin(browser)
    gives(issuer, {missing: None}, nonce=asked["nonce"])

    assert come_back(browser, code=CODE, state=asked["state"]).status_code == 403


@pytest.mark.parametrize(
    ("promised", "brought", "status"),
    [
        pytest.param(True, "own", 303, id="as-promised"),
        pytest.param(True, None, 403, id="promised-and-missing"),
        pytest.param(True, EVIL, 403, id="another"),
        pytest.param(False, EVIL, 403, id="another-unpromised"),
        pytest.param(False, None, 303, id="not-promised"),
        pytest.param("true", None, 303, id="no-truth-value"),
    ],
)
def test_an_answer_of_another_issuer_is_not_this_ones(
    browser: Browser, issuer: StubIssuer, promised: object, brought: str | None, status: int
) -> None:
    """RFC 9207: the mix-up attack."""
    issuer.document["authorization_response_iss_parameter_supported"] = promised
    asked = begin(browser)
    gives(issuer, nonce=asked["nonce"])
    told = {} if brought is None else {"iss": issuer.url if brought == "own" else brought}

    answer = come_back(browser, code=CODE, state=asked["state"], **told)

    assert answer.status_code == status
    assert issuer.asked["/token"] == (1 if status == 303 else 0)


def test_one_providers_answer_cannot_be_given_to_another(
    tmp_path: Path, issuer: StubIssuer, other_issuer: StubIssuer
) -> None:
    """The code of an honest provider must not reach the token endpoint of a dishonest one."""
    other = table(other_issuer, sign_in="other")
    browser = Browser(create_flask_app(settings_of(tmp_path, table(issuer), other)))
    asked = begin(browser)

    answer = come_back(browser, "/compat-auth/sign-in/other/callback", code=CODE, state=asked["state"])

    assert answer.status_code == 400
    assert (issuer.asked["/token"], other_issuer.asked["/token"]) == (0, 0)
    browser.close()


def test_a_parameter_that_is_there_twice_is_refused(browser: Browser, issuer: StubIssuer) -> None:
    asked = begin(browser)
    gives(issuer, nonce=asked["nonce"])

    answer = browser.open(f"{CALLBACK}?{urlencode([('code', CODE), ('code', 'other'), ('state', asked['state'])])}")

    assert answer.status_code == 400
    assert issuer.asked["/token"] == 0


# What leads elsewhere, or tells too much.


@pytest.mark.parametrize(
    "target", ["https://evil.example/", "//evil.example", "/\\evil.example", "javascript:alert(1)"]
)
def test_a_login_never_leads_to_another_host(browser: Browser, issuer: StubIssuer, target: str) -> None:
    asked = begin(browser, target)
    gives(issuer, nonce=asked["nonce"])

    answer = come_back(browser, code=CODE, state=asked["state"], next=EVIL)

    assert answer.headers["Location"] == "/"


def test_the_way_back_is_always_ours(browser: Browser) -> None:
    asked = dict(
        parse_qsl(
            urlsplit(browser.open(f"{SIGN_IN}?redirect_uri={EVIL}&next=/x&client_id=evil").headers["Location"]).query
        )
    )

    assert asked["redirect_uri"] == f"http://gateway{CALLBACK}"
    assert asked["client_id"] == CLIENT


def test_endpoints_on_another_host_are_not_used(browser: Browser, issuer: StubIssuer) -> None:
    issuer.document["authorization_endpoint"] = f"{EVIL}/auth"

    answer = browser.open(SIGN_IN)

    assert answer.status_code == 503
    assert "evil" not in answer.text


def test_what_the_provider_says_of_an_error_is_not_shown(
    browser: Browser, issuer: StubIssuer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    asked = begin(browser)
    told = {"error": "access_denied\nforged line", "error_description": "<script>alert(1)</script> alice@example.org"}

    answer = come_back(browser, state=asked["state"], **told)

    assert answer.status_code == 403
    assert "Log in with the Main Company did not work" in answer.text
    assert not any(text in answer.text for text in ("script>", "alice@", "forged"))
    assert "access_denied" in caplog.text
    assert not any("forged line" in line and "access_denied" not in line for line in caplog.text.splitlines())


def test_neither_code_nor_state_nor_token_is_logged(
    browser: Browser, issuer: StubIssuer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    asked = begin(browser)
    gives(issuer, nonce="wrong")

    come_back(browser, code="the-very-code", state=asked["state"])

    secrets = ("the-very-code", asked["state"], asked["nonce"], ACCESS_TOKEN, CLIENT_SECRET)
    assert not any(secret in caplog.text for secret in secrets)


@pytest.mark.parametrize("status", [401, 403, 500, 503])
def test_a_provider_that_does_not_answer_is_503_and_nobody_is_blamed(
    browser: Browser, issuer: StubIssuer, status: int
) -> None:
    asked = begin(browser)
    issuer.says["/token"] = Answer({"error": "invalid_client"}, status)

    answer = come_back(browser, code=CODE, state=asked["state"])

    assert answer.status_code == 503
    assert "Retry-After" in answer.headers
    assert issuer.url not in answer.text


def test_a_provider_that_answers_nonsense_is_503(browser: Browser, issuer: StubIssuer) -> None:
    asked = begin(browser)
    issuer.says["/token"] = Answer(b'{"id_token": 1, "id_token": 2}')

    assert come_back(browser, code=CODE, state=asked["state"]).status_code == 503


@pytest.mark.parametrize(
    "headers", [{"Sec_Fetch_Site": "cross-site"}, {"Sec_Fetch_Site": "same-site"}, {"Referer": f"{EVIL}/page"}]
)
def test_another_site_cannot_make_a_visitor_begin(
    browser: Browser, issuer: StubIssuer, headers: dict[str, str]
) -> None:
    answer = browser.open(f"{SIGN_IN}?next=/dags", **headers)

    assert answer.status_code == 200
    assert 'href="/compat-auth/sign-in/main?next=/dags"' in answer.text
    assert "Set-Cookie" not in answer.headers


def test_nobody_may_frame_or_keep_a_page_of_it(browser: Browser, issuer: StubIssuer) -> None:
    answers = [browser.open(SIGN_IN), browser.open(SIGN_IN, Sec_Fetch_Site="cross-site"), browser.open(CALLBACK)]

    for answer in [*answers, sign_in(browser, issuer)]:
        assert answer.headers["X-Frame-Options"] == "DENY"
        assert "frame-ancestors 'none'" in answer.headers["Content-Security-Policy"]
        assert answer.headers["Cache-Control"] == "no-store"
        assert "<script" not in answer.text


def test_on_https_every_cookie_belongs_to_this_host_alone(browser: Browser, issuer: StubIssuer) -> None:
    set_cookie_token_issuer(browser.app, lambda *_: Token("jwt", 2**40))
    begun = browser.open(SIGN_IN, host="https://gateway")
    asked = dict(parse_qsl(urlsplit(begun.headers["Location"]).query))
    gives(issuer, nonce=asked["nonce"])

    answer = browser.open(f"{CALLBACK}?{urlencode({'code': CODE, 'state': asked['state']})}", host="https://gateway")

    cookies = [*begun.headers.getlist("Set-Cookie"), *answer.headers.getlist("Set-Cookie")]
    names = [value.partition("=")[0] for value in cookies]
    assert asked["redirect_uri"] == f"https://gateway{CALLBACK}"
    assert sorted(set(names)) == ["__Host-compat_auth_session", "__Host-compat_auth_session_attempt", "_token"]
    assert all("; Secure" in value and "HttpOnly" in value and "SameSite=Lax" in value for value in cookies)
    assert all("Path=/;" in value and "Domain" not in value for value in cookies)


# Who may come in.


def test_an_account_comes_in_as_the_user_that_it_is_linked_to(tmp_path: Path, issuer: StubIssuer) -> None:
    linked = table(issuer, subjects={"1001": "alice"}, username_claim="preferred_username")
    browser = Browser(create_flask_app(settings_of(tmp_path, linked)))

    sign_in(browser, issuer, sub="1001", preferred_username="admin")

    session = browser.session()
    assert session is not None
    assert (session.username, session.subject) == ("alice", "1001")
    browser.close()


def test_an_account_that_takes_a_linked_name_stays_out(tmp_path: Path, issuer: StubIssuer) -> None:
    linked = table(issuer, subjects={"1001": "alice"}, username_claim="preferred_username")
    browser = Browser(create_flask_app(settings_of(tmp_path, linked)))

    assert sign_in(browser, issuer, sub="666", preferred_username="alice").status_code == 403
    assert browser.session() is None
    browser.close()


def test_an_address_that_is_not_verified_names_nobody(tmp_path: Path, issuer: StubIssuer) -> None:
    by_email = table(issuer, username_claim="email")
    browser = Browser(create_flask_app(settings_of(tmp_path, by_email)))

    answer = sign_in(browser, issuer, email="alice@example.org", email_verified="false")

    assert answer.status_code == 403
    browser.close()


def test_a_name_that_only_userinfo_tells_is_asked_for_there(tmp_path: Path, issuer: StubIssuer) -> None:
    with_userinfo = table(issuer, username_claim="preferred_username", userinfo=True, opaque_prefix="x")
    browser = Browser(create_flask_app(settings_of(tmp_path, with_userinfo)))
    issuer.says["/me"] = Answer({"sub": "1001", "preferred_username": "alice"})

    answer = sign_in(browser, issuer, sub="1001")

    session = browser.session()
    assert (answer.status_code, session and session.username) == (303, "alice")
    browser.close()


def test_userinfo_of_another_account_names_nobody(tmp_path: Path, issuer: StubIssuer) -> None:
    with_userinfo = table(issuer, username_claim="preferred_username", userinfo=True, opaque_prefix="x")
    browser = Browser(create_flask_app(settings_of(tmp_path, with_userinfo)))
    issuer.says["/me"] = Answer({"sub": "1002", "preferred_username": "admin"})

    assert sign_in(browser, issuer, sub="1001").status_code == 403
    browser.close()


def test_whom_the_upstream_does_not_know_gets_no_session(browser: Browser, issuer: StubIssuer) -> None:
    def refuse(*_: object) -> Token:
        raise NoSuchUser("alice is unknown to Airflow")

    set_cookie_token_issuer(browser.app, refuse)

    assert sign_in(browser, issuer).status_code == 403
    assert browser.session() is None


# A third party's way, and settings that cannot work.


@dataclass
class Acme:
    """A way of a backend that is not ours."""

    says: Outcome | Exception
    name: str = "acme"
    label: str = "Log in with Acme"

    def begin(self, attempt: Attempt) -> str:
        return f"https://acme.example/?{urlencode({'state': attempt.state, 'redirect_uri': attempt.redirect_uri})}"

    def finish(self, attempt: Attempt, answer: Mapping[str, str]) -> Outcome:
        if isinstance(self.says, Exception):
            raise self.says
        return self.says


class AcmeBackend(Backend):
    """The backend that offers it."""

    kinds: ClassVar[frozenset[CredentialKind]] = frozenset()
    name = "acme"

    def __init__(self, *ways: SignIn) -> None:
        self._ways = ways

    def authenticate(self, credential: Credential) -> Outcome:
        return Skip()

    def sign_ins(self) -> tuple[SignIn, ...]:
        return self._ways


def app_with(settings: Settings, *ways: SignIn) -> Flask:
    app = Flask("test")
    session_registry.live_sessions_of(app, settings)
    sessions.init_app(app, settings)
    register_pages(app, settings, Chain((AcmeBackend(*ways),)))
    return app


def sign_in_with_acme(settings: Settings, says: Outcome | Exception) -> tuple[Browser, TestResponse]:
    browser = Browser(app_with(settings, Acme(says)))
    asked = begin(browser, path="/compat-auth/sign-in/acme")
    return browser, come_back(browser, "/compat-auth/sign-in/acme/callback", state=asked["state"])


def test_a_third_partys_way_works_by_the_same_door(settings: Settings) -> None:
    browser, answer = sign_in_with_acme(settings, Accept(Identity("alice", "acme")))

    session = browser.session()
    assert (answer.status_code, session and session.username) == (303, "alice")
    browser.close()


@pytest.mark.parametrize(
    "identity",
    [Identity("alice", "acme", scopes=(parse_scope("GET /"),)), Identity("robot", "acme", role_account=True)],
)
def test_a_limited_identity_does_not_become_a_session(settings: Settings, identity: Identity) -> None:
    browser, answer = sign_in_with_acme(settings, Accept(identity))

    assert answer.status_code == 403
    assert browser.session() is None
    browser.close()


def test_a_session_ends_with_the_credential_that_began_it(settings: Settings) -> None:
    ends = int(time.time()) + 100
    browser, answer = sign_in_with_acme(settings, Accept(Identity("alice", "acme", expires_at=ends)))

    session = browser.session()
    (cookie,) = [value for value in answer.headers.getlist("Set-Cookie") if value.startswith("compat_auth_session=")]
    (max_age,) = re.findall(r"Max-Age=(\d+)", cookie)
    assert session is not None
    assert session.expires_at == ends
    assert int(max_age) <= 100
    browser.close()


@pytest.mark.parametrize("accident", [RuntimeError("secret"), BackendUnavailable("acme.internal is down")])
def test_an_accident_is_503_and_tells_nothing(settings: Settings, accident: Exception) -> None:
    browser, answer = sign_in_with_acme(settings, accident)

    assert answer.status_code == 503
    assert not any(text in answer.text for text in ("secret", "acme.internal"))
    browser.close()


@pytest.mark.parametrize("name", ["", "Main", "a/b", "..", "-a", "a-", "a" * 33, "callback?"])
def test_a_way_needs_a_name_that_fits_into_an_address(settings: Settings, name: str) -> None:
    with pytest.raises(ConfigError, match="sign-in"):
        app_with(settings, Acme(Reject("no"), name))


def test_two_ways_cannot_have_one_name(settings: Settings) -> None:
    with pytest.raises(ConfigError, match="two backends have the name 'acme'"):
        app_with(settings, Acme(Reject("no")), Acme(Reject("no")))


@pytest.mark.parametrize(
    ("changed", "problem"),
    [
        ({"client_id": "", "client_secret": ""}, "client_id: missing"),
        ({"sign_in": "Main Company"}, "sign_in"),
        ({"sign_in_scope": "email"}, "openid"),
    ],
)
def test_settings_that_cannot_log_anybody_in_stop_the_start(
    tmp_path: Path, issuer: StubIssuer, changed: dict[str, str], problem: str
) -> None:
    with pytest.raises(ConfigError, match=problem):
        create_flask_app(settings_of(tmp_path, table(issuer, **changed)))


def test_a_login_without_a_password_needs_a_strategy_that_makes_tokens(tmp_path: Path, issuer: StubIssuer) -> None:
    with pytest.raises(ConfigError, match=r"token.strategy"):
        Gateway(settings_of(tmp_path, table(issuer), token={"strategy": "exchange"}))


def test_without_an_audience_no_access_token_of_the_issuer_is_taken(browser: Browser, issuer: StubIssuer) -> None:
    answer = browser.app.extensions["compat_auth"].chain.backends[1].authenticate(Bearer(issuer.token()))

    assert isinstance(answer, Reject)


async def test_the_gate_serves_every_page_of_it(settings: Settings) -> None:
    gateway = Gateway(settings)

    begun = await call(gateway, http_scope(SIGN_IN.encode(), query=b"next=/dags"))
    back = await call(gateway, http_scope(CALLBACK.encode(), query=b"code=x&state=y"))
    unknown = await call(gateway, http_scope(b"/compat-auth/sign-in/unknown"))

    assert (begun.status, back.status, unknown.status) == (303, 400, 404)


async def test_the_upstream_never_sees_the_attempt(settings: Settings) -> None:
    gateway = Gateway(settings)

    assert {b"compat_auth_session_attempt", b"__Host-compat_auth_session_attempt"} <= gateway._gate.rules.own_cookies
