"""Every way that we know of to be taken for somebody else with a token of, or at, an OpenID issuer."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import flask
import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from jwt.algorithms import RSAAlgorithm
from jwt.utils import base64url_encode

from compat_auth.authn.users.lookup import UserLookup
from compat_auth.config import GoogleOpenIdSettings, OidcIssuerSettings
from compat_auth.credentials import Bearer
from compat_auth.directory import DirectoryUser
from compat_auth.errors import BackendUnavailable, TooManyRequests
from compat_auth.net.https_client import Endpoint
from compat_auth.outcome import Accept, Outcome, Reject, Skip
from compat_auth.tokens.keys.jwks_cache import JwksCache
from compat_auth_backends.google_openid import GoogleOpenIdBackend
from compat_auth_backends.oidc import OidcBackend
from compat_auth_backends.openid.issuer import Issuer
from support.stub_issuer import AUDIENCE, EC_KEY, OTHER_RSA_KEY, RSA_KEY, Answer, StubIssuer, jwk, running_issuer, sign

GOOGLE = "https://accounts.google.com"
EVIL = "https://evil.example.org"


class Users:
    """Airflow's users: found by name or by e-mail address."""

    name = "airflow_db"

    def find(self, username: str) -> DirectoryUser | None:
        alice, admin = DirectoryUser("alice", upstream_id="alice"), DirectoryUser("admin", upstream_id="admin")
        known = {"alice": alice, "alice@example.org": alice, "admin": admin, "root@example.org": admin}
        return known.get(username)


@pytest.fixture
def issuer() -> Iterator[StubIssuer]:
    with running_issuer() as stub:
        yield stub


@pytest.fixture
def oidc(issuer: StubIssuer) -> Callable[..., Outcome]:
    """Ask the oidc backend about a token; the same backend within a test, for the same settings."""
    backends: dict[str, OidcBackend] = {}

    def ask(token: str, **changed: Any) -> Outcome:
        settings = {"issuer": issuer.url, "audience": [AUDIENCE], **changed}
        key = json.dumps(settings, sort_keys=True)
        if key not in backends:
            table = OidcIssuerSettings.model_validate(settings)
            backends[key] = OidcBackend((Issuer(table, "oidc.issuers[0]"),), UserLookup((Users(),), needs_key=True))
        return backends[key].authenticate(Bearer(token))

    return ask


@pytest.fixture
def google(issuer: StubIssuer) -> Callable[..., Outcome]:
    """Ask the google_openid backend about claims, signed by Google unless told otherwise."""

    def ask(changed: Mapping[str, Any] | None = None, *, token: str = "", **settings: Any) -> Outcome:
        backend = GoogleOpenIdBackend(
            GoogleOpenIdSettings.model_validate({"audience": ["web"], "hosted_domains": ["example.org"], **settings}),
            JwksCache(lambda: Endpoint.parse(issuer.url + "/jwks", where="test"), algorithms=("RS256",)),
            UserLookup((Users(),), needs_key=True),
        )
        return backend.authenticate(Bearer(token or sign(google_claims(**(changed or {})), typ="JWT")))

    return ask


def google_claims(**changed: Any) -> dict[str, Any]:
    now = int(time.time())
    good = {
        "iss": GOOGLE,
        "aud": "web",
        "azp": "web",
        "sub": "1001",
        "email": "alice@example.org",
        "email_verified": True,
        "hd": "example.org",
        "iat": now,
        "exp": now + 3600,
    }
    return {name: value for name, value in {**good, **changed}.items() if value is not None}


def raw_token(header: bytes, payload: bytes) -> str:
    """Return a token whose JSON is exactly so, signed with the issuer's key."""
    signed = b".".join((base64url_encode(header), base64url_encode(payload)))
    signature = RSAAlgorithm(RSAAlgorithm.SHA256).sign(signed, RSA_KEY)
    return b".".join((signed, base64url_encode(signature))).decode()


def test_a_good_access_token_is_accepted(issuer: StubIssuer, oidc: Callable[..., Outcome]) -> None:
    outcome = oidc(issuer.token())

    assert isinstance(outcome, Accept)
    assert outcome.identity.upstream_id == "alice"


def test_a_good_google_token_is_accepted_for_five_minutes(google: Callable[..., Outcome]) -> None:
    outcome = google()

    assert isinstance(outcome, Accept)
    assert (outcome.identity.subject, outcome.reusable_s) == ("1001", 300)


# --- the signature ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["pem", "der", "jwk"])
def test_a_published_key_is_no_hmac_secret(issuer: StubIssuer, oidc: Callable[..., Outcome], form: str) -> None:
    public = RSA_KEY.public_key()
    secrets = {
        "pem": public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo),
        "der": public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo),
        "jwk": json.dumps(jwk(public, "rsa")).encode(),
    }

    outcome = oidc(_hmac_token(issuer.claims(), secrets[form]))

    assert isinstance(outcome, Reject)
    assert issuer.asked["/jwks"] == 0


def _hmac_token(claims: Mapping[str, Any], secret: bytes) -> str:
    header = {"alg": "HS256", "typ": "at+jwt", "kid": "rsa"}
    signed = b".".join(base64url_encode(json.dumps(part).encode()) for part in (header, claims))
    return b".".join((signed, base64url_encode(hmac.new(secret, signed, hashlib.sha256).digest()))).decode()


def test_an_unsigned_token_is_refused_without_asking_for_keys(issuer: StubIssuer, oidc: Callable[..., Outcome]) -> None:
    header = base64url_encode(b'{"alg":"none","typ":"at+jwt","kid":"rsa"}').decode()
    payload = base64url_encode(json.dumps(issuer.claims()).encode()).decode()

    assert isinstance(oidc(f"{header}.{payload}.{base64url_encode(b'x').decode()}"), Reject)
    assert issuer.asked["/jwks"] == 0


@pytest.mark.parametrize(
    "signing",
    [
        pytest.param({"key": OTHER_RSA_KEY}, id="another-key-under-this-kid"),
        pytest.param({"alg": "PS256"}, id="rsa-key-with-another-algorithm"),
        pytest.param({"key": EC_KEY, "alg": "ES256"}, id="ec-signature-under-the-rsa-kid"),
        pytest.param({"kid": "ec"}, id="rsa-signature-under-the-ec-kid"),
        pytest.param({"kid": None}, id="no-kid"),
        pytest.param({"kid": "../../jwks"}, id="kid-that-is-a-path"),
        pytest.param({"jku": f"{EVIL}/jwks"}, id="jku"),
        pytest.param({"x5u": f"{EVIL}/cert.pem"}, id="x5u"),
        pytest.param({"key": OTHER_RSA_KEY, "jwk": jwk(OTHER_RSA_KEY.public_key(), "rsa")}, id="embedded-jwk"),
        pytest.param({"crit": ["exp"]}, id="crit"),
        pytest.param({"typ": "JWT"}, id="id-token-by-type"),
        pytest.param({"typ": None}, id="no-type"),
        pytest.param({"typ": "logout+jwt"}, id="logout-token"),
    ],
)
def test_a_header_of_the_senders_choice_is_refused(
    issuer: StubIssuer, oidc: Callable[..., Outcome], signing: Mapping[str, Any]
) -> None:
    assert isinstance(oidc(sign(issuer.claims(), **signing)), Reject)


def test_a_symmetric_key_in_a_jwks_verifies_nothing(issuer: StubIssuer, oidc: Callable[..., Outcome]) -> None:
    secret = b"x" * 64
    published = {"kty": "oct", "kid": "rsa", "alg": "HS256", "k": base64.urlsafe_b64encode(secret).decode()}
    issuer.keys = [published, jwk(EC_KEY.public_key(), "ec")]

    assert isinstance(oidc(_hmac_token(issuer.claims(), secret)), Reject)
    assert isinstance(oidc(sign(issuer.claims(), key=EC_KEY, alg="ES256", kid="ec")), Accept)


@pytest.mark.parametrize(
    "published",
    [
        pytest.param(jwk(RSA_KEY.public_key(), "rsa", use="enc"), id="for-encryption"),
        pytest.param(jwk(RSA_KEY.public_key(), "rsa", key_ops=["encrypt"]), id="operations-without-verify"),
        pytest.param(jwk(RSA_KEY.public_key(), "rsa", key_ops=5), id="operations-that-are-no-list"),
        pytest.param(jwk(RSA_KEY.public_key(), "rsa", alg="PS256"), id="for-another-algorithm"),
        pytest.param(jwk(RSA_KEY.public_key(), "rsa", alg="HS256"), id="for-hmac"),
        pytest.param(jwk(RSA_KEY.public_key(), "rsa", kid=None), id="without-kid"),
        pytest.param(jwk(RSA_KEY.public_key(), "rsa", kid=["rsa"]), id="kid-in-a-list"),
        pytest.param(jwk(RSA_KEY.public_key(), "rsa", e="AQ"), id="exponent-one"),
        pytest.param("rsa", id="a-text"),
        pytest.param(None, id="null"),
    ],
)
def test_a_key_that_is_not_for_this_is_not_used(
    issuer: StubIssuer, oidc: Callable[..., Outcome], published: Any
) -> None:
    issuer.keys = [published]

    assert isinstance(oidc(issuer.token()), Reject)


# --- the claims ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "changed",
    [
        pytest.param({"aud": "other"}, id="for-another"),
        pytest.param({"aud": ["other"]}, id="for-others"),
        pytest.param({"aud": [AUDIENCE, 5]}, id="a-number-among-the-audiences"),
        pytest.param({"aud": {AUDIENCE: True}}, id="audience-in-an-object"),
        pytest.param({"aud": AUDIENCE.upper()}, id="audience-in-capitals"),
        pytest.param({"aud": None}, id="no-audience"),
        pytest.param({"exp": int(time.time()) - 60}, id="expired"),
        pytest.param({"exp": None}, id="no-end"),
        pytest.param({"exp": str(int(time.time()) + 60)}, id="end-in-a-text"),
        pytest.param({"exp": 9_999_999_999}, id="lives-for-centuries"),
        pytest.param({"nbf": int(time.time()) + 10**6}, id="not-yet"),
        pytest.param({"iat": int(time.time()) + 10**6}, id="from-the-future"),
        pytest.param({"sub": ""}, id="empty-subject"),
        pytest.param({"sub": 1001}, id="subject-is-a-number"),
        pytest.param({"sub": ["alice"]}, id="subject-in-a-list"),
        pytest.param({"sub": "alice\x00"}, id="subject-with-nul"),
        pytest.param({"sub": " alice"}, id="subject-with-a-space"),
        pytest.param({"sub": "\uff41dmin"}, id="full-width-letter"),
        pytest.param({"sub": "ali\u200bce"}, id="zero-width-space"),
        pytest.param({"sub": "\u202eecila"}, id="right-to-left"),
        pytest.param({"cnf": {"jkt": "x"}}, id="bound-to-a-key"),
        pytest.param({"at_hash": "x"}, id="id-token-by-claim"),
        pytest.param({"events": {}}, id="event-token"),
    ],
)
def test_a_signed_token_with_a_wrong_claim_is_refused(
    issuer: StubIssuer, oidc: Callable[..., Outcome], changed: Mapping[str, Any]
) -> None:
    assert isinstance(oidc(issuer.token(**changed)), Reject)


def test_what_is_wrong_without_the_signature_does_not_ask_for_keys(
    issuer: StubIssuer, oidc: Callable[..., Outcome]
) -> None:
    for token in (issuer.token(aud="other"), issuer.token(exp=1), issuer.token(sub="")):
        oidc(token)

    assert not issuer.asked


@pytest.mark.parametrize("name", ["iss", "aud", "sub", "exp"])
def test_a_claim_that_is_there_twice_is_never_believed(
    issuer: StubIssuer, oidc: Callable[..., Outcome], name: str
) -> None:
    claims = json.dumps(issuer.claims())
    twice = claims[:-1] + f", {json.dumps(name)}: {json.dumps(issuer.claims()[name])}}}"
    token = raw_token(b'{"alg":"RS256","kid":"rsa","typ":"at+jwt"}', twice.encode())

    assert isinstance(oidc(token), Skip)


def test_a_header_member_that_is_there_twice_is_never_believed(
    issuer: StubIssuer, oidc: Callable[..., Outcome]
) -> None:
    header = b'{"alg":"none","alg":"RS256","kid":"rsa","typ":"at+jwt"}'

    assert isinstance(oidc(raw_token(header, json.dumps(issuer.claims()).encode())), Skip)


@pytest.mark.parametrize("iss", [EVIL, "", None, 5, ["x"], {}])
def test_a_foreign_issuers_token_is_somebody_elses(
    issuer: StubIssuer, oidc: Callable[..., Outcome], google: Callable[..., Outcome], iss: Any
) -> None:
    token = issuer.token(iss=iss)

    assert isinstance(oidc(token), Skip)
    assert isinstance(google(token=token), Skip)
    assert not issuer.asked


@pytest.mark.parametrize("suffix", ["/", " ", "#", "?", "/."])
def test_an_issuer_is_compared_exactly(issuer: StubIssuer, oidc: Callable[..., Outcome], suffix: str) -> None:
    assert isinstance(oidc(issuer.token(iss=issuer.url + suffix)), Skip)


@pytest.mark.parametrize(
    "token", ["a.b.c", "a", "..", "a.b.c.d.e", "e30.e30.e30", "x" * 9000, "e30." + "A" * 9000 + ".e30"]
)
def test_what_is_no_token_is_somebody_elses(
    oidc: Callable[..., Outcome], google: Callable[..., Outcome], issuer: StubIssuer, token: str
) -> None:
    assert isinstance(oidc(token), Skip)
    assert isinstance(google(token=token), Skip)
    assert not issuer.asked


def test_a_user_name_that_is_anothers_address_is_refused(issuer: StubIssuer, oidc: Callable[..., Outcome]) -> None:
    token = issuer.token(sub="7", preferred_username="root@example.org")

    chosen = oidc(token, username_claim="preferred_username")
    pinned = oidc(token, username_claim="preferred_username", subjects={"7": "root@example.org"})

    assert isinstance(chosen, Reject)
    assert isinstance(pinned, Accept)


@pytest.mark.parametrize(
    ("verified", "expected"),
    [
        (True, Accept),
        ("true", Accept),
        *(
            (other, Reject)
            for other in ("True", "false", "1", " true", "", 1, 2.5, ["true"], {"true": True}, False, None)
        ),
    ],
)
def test_an_address_counts_only_where_the_issuer_has_verified_it(
    issuer: StubIssuer, oidc: Callable[..., Outcome], verified: Any, expected: type[Outcome]
) -> None:
    token = issuer.token(sub="7", email="root@example.org", email_verified=verified)

    assert isinstance(oidc(token, username_claim="email"), expected)


def test_a_scope_is_a_whole_word(issuer: StubIssuer, oidc: Callable[..., Outcome]) -> None:
    scopes = ["read", "openid read", ["read"], "readonly", "READ", "", None, 5, "read\twrite"]

    outcomes = [oidc(issuer.token(scope=scope), scope="read") for scope in scopes]

    assert [isinstance(outcome, Accept) for outcome in outcomes] == [True] * 3 + [False] * 6


def test_another_clients_token_is_refused_where_clients_are_named(
    issuer: StubIssuer, oidc: Callable[..., Outcome]
) -> None:
    outcomes = [oidc(issuer.token(client_id=client), clients=["web"]) for client in ("web", "other", None)]

    assert [type(outcome) for outcome in outcomes] == [Accept, Reject, Reject]


# --- google ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "changed",
    [
        pytest.param({"email_verified": "true"}, id="verified-in-a-text"),
        pytest.param({"email_verified": 1}, id="verified-in-a-number"),
        pytest.param({"email_verified": False}, id="not-verified"),
        pytest.param({"email_verified": None}, id="verified-not-told"),
        pytest.param({"email": None}, id="no-address"),
        pytest.param({"email": ["alice@example.org"]}, id="address-in-a-list"),
        pytest.param({"email": "alice@example.org@evil.example"}, id="two-at-signs"),
        pytest.param({"email": "alice@example.org\n"}, id="line-end"),
        pytest.param({"email": "alice@example.org\x00"}, id="nul"),
        pytest.param({"email": "\u0430lice@example.org"}, id="cyrillic-letter"),
        pytest.param({"email": "alice@ex\u0430mple.org"}, id="cyrillic-letter-in-the-domain"),
        pytest.param({"email": "alice@example\uff0eorg"}, id="full-width-dot"),
        pytest.param({"email": '"alice"@example.org'}, id="quoted"),
        pytest.param({"email": "alice@[127.0.0.1]"}, id="address-literal"),
        pytest.param({"email": "alice <alice@example.org>"}, id="display-name"),
        pytest.param({"email": "alice@localhost"}, id="no-top-level-domain"),
        pytest.param({"email": f"{'a' * 65}@example.org"}, id="local-part-too-long"),
        pytest.param({"aud": "other"}, id="for-another-application"),
        pytest.param({"azp": "other"}, id="asked-for-by-another-application"),
        pytest.param({"azp": ["web"]}, id="azp-in-a-list"),
        pytest.param({"azp": "1001"}, id="azp-is-the-person"),
        pytest.param({"hd": None}, id="no-hosted-domain"),
        pytest.param({"hd": "evil.example"}, id="another-hosted-domain"),
        pytest.param({"hd": "sub.example.org"}, id="a-domain-below"),
        pytest.param({"hd": ["example.org"]}, id="hosted-domain-in-a-list"),
        pytest.param({"iat": None}, id="no-iat"),
        pytest.param({"exp": int(time.time()) - 60}, id="expired"),
        pytest.param({"email": "stranger@example.org"}, id="unknown-user"),
        pytest.param({"email": "ALICE@example.org"}, id="unknown-spelling"),
    ],
)
def test_a_google_token_with_a_wrong_claim_is_refused(
    google: Callable[..., Outcome], changed: Mapping[str, Any]
) -> None:
    assert isinstance(google(changed), Reject)


@pytest.mark.parametrize("aud", ["web", ["web"], ["web", "other"]])
def test_a_google_audience_is_a_text_or_a_list(google: Callable[..., Outcome], aud: Any) -> None:
    assert isinstance(google({"aud": aud}), Accept)


@pytest.mark.parametrize(
    ("azp", "listed", "expected"),
    [("1001", True, Accept), ("1001", False, Reject), ("another-robot", True, Reject)],
)
def test_a_service_account_comes_in_only_where_it_is_listed_and_asks_for_itself(
    google: Callable[..., Outcome], azp: str, listed: bool, expected: type[Outcome]
) -> None:
    email = "robot@project.iam.gserviceaccount.com"
    settings: dict[str, Any] = {"service_accounts": [email]} if listed else {}

    outcome = google({"email": email, "azp": azp, "hd": None}, subjects={"1001": "alice@example.org"}, **settings)

    assert isinstance(outcome, expected)


def test_an_address_that_is_pinned_to_one_account_is_not_anothers(google: Callable[..., Outcome]) -> None:
    outcome = google({"sub": "2002"}, subjects={"1001": "Alice@example.org"})

    assert isinstance(outcome, Reject)
    assert outcome.status == 403


# --- what an issuer can be made to do --------------------------------------------------------------------------------


def test_random_key_ids_do_not_become_requests(issuer: StubIssuer, oidc: Callable[..., Outcome]) -> None:
    assert isinstance(oidc(issuer.token()), Accept)

    outcomes = [oidc(sign(issuer.claims(), key=OTHER_RSA_KEY, kid=f"random-{number}")) for number in range(50)]

    assert {type(outcome) for outcome in outcomes} == {Reject}
    assert issuer.asked["/jwks"] == 1


def test_a_source_that_is_down_is_not_asked_again_for_each_token(
    issuer: StubIssuer, oidc: Callable[..., Outcome]
) -> None:
    issuer.says["/jwks"] = Answer(status=500)

    for _ in range(20):
        with pytest.raises(BackendUnavailable):
            oidc(issuer.token())

    assert issuer.asked["/jwks"] == 1


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirected_jwks_is_not_followed(issuer: StubIssuer, oidc: Callable[..., Outcome], status: int) -> None:
    issuer.says["/elsewhere"] = issuer.says["/jwks"]
    issuer.says["/jwks"] = Answer(status=status, headers={"Location": f"{issuer.url}/elsewhere"})

    with pytest.raises(BackendUnavailable):
        oidc(issuer.token())

    assert issuer.asked["/elsewhere"] == 0


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(Answer(b"<html>"), id="html"),
        pytest.param(Answer(b""), id="empty"),
        pytest.param(Answer(b"[]"), id="a-list"),
        pytest.param(Answer({"keys": {}}), id="keys-in-an-object"),
        pytest.param(Answer(b'{"keys": [], "keys": []}'), id="keys-twice"),
        pytest.param(Answer(b" " * 300_000), id="too-large"),
        pytest.param(Answer(b'{"keys": []}', headers={"Content-Length": "99"}), id="ends-too-early"),
        pytest.param(Answer({"keys": []}, status=404), id="not-there"),
    ],
)
def test_a_jwks_that_cannot_be_read_is_unavailable(
    issuer: StubIssuer, oidc: Callable[..., Outcome], answer: Answer
) -> None:
    issuer.says["/jwks"] = answer

    with pytest.raises(BackendUnavailable):
        oidc(issuer.token())


def test_a_discovery_document_of_another_issuer_is_not_believed(
    issuer: StubIssuer, oidc: Callable[..., Outcome]
) -> None:
    issuer.document["issuer"] = issuer.url + "/"

    with pytest.raises(BackendUnavailable, match="an issuer that is not"):
        oidc(issuer.token())


def test_discovered_endpoints_on_another_host_are_not_asked(issuer: StubIssuer, oidc: Callable[..., Outcome]) -> None:
    with running_issuer() as evil:
        issuer.document["jwks_uri"] = f"{evil.url}/jwks"

        with pytest.raises(BackendUnavailable, match="set jwks_url"):
            oidc(issuer.token())

        assert not evil.asked


# --- opaque tokens ---------------------------------------------------------------------------------------------------


INTROSPECTION: dict[str, Any] = {"introspection": True, "client_id": "gateway", "client_secret": "s%c +ret"}
GOOD: dict[str, Any] = {"active": True, "sub": "alice", "aud": AUDIENCE, "client_id": "web", "scope": "read"}


@pytest.fixture
def guessed_at(issuer: StubIssuer) -> Callable[[str, str], Outcome | str]:
    """Ask a backend, which an address may show three wrong tokens a minute, about a token from an address."""
    table = OidcIssuerSettings.model_validate({"issuer": issuer.url, "audience": [AUDIENCE], **INTROSPECTION})
    checker = Issuer(table, "oidc.issuers[0]", cache_ttl_s=0.2, wrong_per_minute=3)
    backend = OidcBackend((checker,), UserLookup((Users(),), needs_key=True))
    app = flask.Flask("test")

    def ask(token: str, client: str) -> Outcome | str:
        with app.test_request_context(environ_base={"REMOTE_ADDR": client}):
            try:
                return backend.authenticate(Bearer(token))
            except TooManyRequests:
                return "wait"

    return ask


def test_who_guesses_at_opaque_tokens_has_to_wait_before_the_issuer_is_asked_again(
    issuer: StubIssuer, guessed_at: Callable[[str, str], Outcome | str]
) -> None:
    issuer.says["/introspect"] = Answer({"active": False})

    outcomes = [guessed_at(f"guess-{number}", f"2001:db8::{number}") for number in range(10)]

    assert [outcome == "wait" for outcome in outcomes] == [False] * 3 + [True] * 7
    assert issuer.asked["/introspect"] == 3


def test_guesses_keep_out_neither_other_addresses_nor_a_token_that_has_worked(
    issuer: StubIssuer, guessed_at: Callable[[str, str], Outcome | str]
) -> None:
    issuer.says["/introspect"] = Answer(GOOD)
    guessed_at("good", "192.0.2.66")
    issuer.says["/introspect"] = Answer({"active": False})
    for number in range(10):
        guessed_at(f"guess-{number}", "192.0.2.66")
    issuer.says["/introspect"] = Answer(GOOD)
    # What the issuer said about the good one is no longer believed.
    time.sleep(0.3)

    neighbour, stranger = guessed_at("good", "192.0.2.66"), guessed_at("another", "198.51.100.1")

    assert isinstance(neighbour, Accept)
    assert isinstance(stranger, Accept)


def test_right_tokens_are_no_guesses_however_many(
    issuer: StubIssuer, guessed_at: Callable[[str, str], Outcome | str]
) -> None:
    issuer.says["/introspect"] = Answer(GOOD)

    outcomes = [guessed_at(f"good-{number}", "192.0.2.66") for number in range(10)]

    assert all(isinstance(outcome, Accept) for outcome in outcomes)


def test_a_good_opaque_token_is_accepted_and_our_client_is_named_as_the_rfc_says(
    issuer: StubIssuer, oidc: Callable[..., Outcome]
) -> None:
    issuer.says["/introspect"] = Answer(GOOD)

    assert isinstance(oidc("opaque", **INTROSPECTION), Accept)
    assert issuer.received[-1] == {
        "token": "opaque",
        "token_type_hint": "access_token",
        "authorization": "Basic " + base64.b64encode(b"gateway:s%25c+%2Bret").decode(),
    }


@pytest.mark.parametrize(
    "told",
    [
        pytest.param({**GOOD, "aud": "other"}, id="for-another"),
        pytest.param({**GOOD, "aud": {AUDIENCE: 1}}, id="audience-in-an-object"),
        pytest.param({name: GOOD[name] for name in ("active", "sub", "client_id")}, id="no-audience"),
        pytest.param({**GOOD, "exp": 1}, id="expired"),
        pytest.param({**GOOD, "exp": "never"}, id="end-in-a-text"),
        pytest.param({**GOOD, "nbf": int(time.time()) + 10**6}, id="not-yet"),
        pytest.param({**GOOD, "iss": EVIL}, id="another-issuer"),
        pytest.param({**GOOD, "cnf": {"jkt": "x"}}, id="bound-to-a-key"),
        pytest.param({"active": True, "aud": AUDIENCE}, id="nobody"),
        pytest.param({**GOOD, "sub": "nobody"}, id="unknown-user"),
    ],
)
def test_an_active_opaque_token_that_is_not_for_us_is_refused(
    issuer: StubIssuer, oidc: Callable[..., Outcome], told: Mapping[str, Any]
) -> None:
    issuer.says["/introspect"] = Answer(told)

    assert isinstance(oidc("opaque", **INTROSPECTION), Reject)


@pytest.mark.parametrize("active", [False, None, "true", 1, [True]])
def test_only_true_is_active_and_a_no_is_remembered(
    issuer: StubIssuer, oidc: Callable[..., Outcome], active: Any
) -> None:
    issuer.says["/introspect"] = Answer({**GOOD, "active": active})

    outcomes = [oidc("x-opaque", opaque_prefix="x-", **INTROSPECTION) for _ in range(3)]

    assert {type(outcome) for outcome in outcomes} == {Reject}
    assert issuer.asked["/introspect"] == 1


@pytest.mark.parametrize("status", [302, 401, 403, 404, 429, 500, 502, 503])
def test_an_introspection_that_failed_is_neither_yes_nor_no(
    issuer: StubIssuer, oidc: Callable[..., Outcome], status: int
) -> None:
    issuer.says["/introspect"] = Answer(GOOD, status=status)
    with pytest.raises(BackendUnavailable):
        oidc("opaque", **INTROSPECTION)
    issuer.says["/introspect"] = Answer(GOOD)

    assert isinstance(oidc("opaque", **INTROSPECTION), Accept)


@pytest.mark.parametrize("status", [400, 401, 403])
def test_user_infos_refusal_is_remembered(issuer: StubIssuer, oidc: Callable[..., Outcome], status: int) -> None:
    issuer.says["/me"] = Answer(status=status)

    outcomes = [oidc("x-opaque", userinfo=True, opaque_prefix="x-") for _ in range(3)]

    assert {type(outcome) for outcome in outcomes} == {Reject}
    assert issuer.asked["/me"] == 1


@pytest.mark.parametrize("answer", [Answer(status=429), Answer(status=500), Answer(b"<html>"), Answer({"name": "x"})])
def test_a_user_info_that_failed_is_neither_yes_nor_no(
    issuer: StubIssuer, oidc: Callable[..., Outcome], answer: Answer
) -> None:
    issuer.says["/me"] = answer

    with pytest.raises(BackendUnavailable):
        oidc("opaque", userinfo=True)


def test_a_jwt_that_fails_here_is_not_shown_to_user_info(issuer: StubIssuer, oidc: Callable[..., Outcome]) -> None:
    issuer.says["/me"] = Answer({"sub": "alice"})

    outcomes = [
        oidc(token, userinfo=True, liveness=True)
        for token in (issuer.token(aud="other"), sign(issuer.claims(), key=OTHER_RSA_KEY), issuer.token())
    ]

    assert [type(outcome) for outcome in outcomes] == [Reject, Reject, Accept]
    assert issuer.asked["/me"] == 1


def test_user_info_must_tell_of_the_tokens_own_subject(issuer: StubIssuer, oidc: Callable[..., Outcome]) -> None:
    issuer.says["/me"] = Answer({"sub": "admin"})

    assert isinstance(oidc(issuer.token(), userinfo=True, liveness=True), Reject)


def test_a_token_that_was_revoked_at_the_issuer_is_refused_with_liveness(
    issuer: StubIssuer, oidc: Callable[..., Outcome]
) -> None:
    issuer.says["/me"] = Answer(status=401)

    assert isinstance(oidc(issuer.token(), userinfo=True, liveness=True), Reject)


def test_others_tokens_are_not_shown_to_an_issuer_whose_tokens_have_a_prefix(
    issuer: StubIssuer, oidc: Callable[..., Outcome]
) -> None:
    issuer.says["/introspect"] = Answer(GOOD)

    outcome = oidc("personal_token_of_somebody", opaque_prefix="x-", **INTROSPECTION)

    assert isinstance(outcome, Skip)
    assert not issuer.asked


def test_no_refusal_and_no_settings_show_a_secret(issuer: StubIssuer, oidc: Callable[..., Outcome]) -> None:
    issuer.says["/introspect"] = Answer(status=401)
    table = OidcIssuerSettings.model_validate({"issuer": issuer.url, "audience": "api", **INTROSPECTION})

    with pytest.raises(BackendUnavailable) as raised:
        oidc("opaque-canary", **INTROSPECTION)

    assert "canary" not in str(raised.value)
    assert INTROSPECTION["client_secret"] not in repr(table)
