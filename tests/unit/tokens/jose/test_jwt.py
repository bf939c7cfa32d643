from __future__ import annotations

import json
import secrets

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key

from compat_auth.errors import ConfigError, InvalidToken
from compat_auth.tokens.jose.jwk import SigningKey, VerifyingKey
from compat_auth.tokens.jose.jwt import (
    kid_of_plausible,
    read_unverified,
    shared_secret,
    shared_secret_verifier,
    sign,
    verify,
)

NOW = 1_800_000_000
CLAIMS = {"sub": "jürgen", "aud": "api", "iat": NOW, "nbf": NOW, "exp": NOW + 600}
SECRET = "s" * 30 + "-of-at-least-sixty-four-bytes-" + "t" * 10


@pytest.mark.parametrize("algorithm", ["EdDSA", "RS256", "HS512"])
def test_what_a_key_signs_its_counterpart_verifies(algorithm: str) -> None:
    ed, rsa = Ed25519PrivateKey.generate(), generate_private_key(65537, 2048)
    signing, verifying = {
        "EdDSA": (SigningKey("a", "EdDSA", ed), VerifyingKey("a", "EdDSA", ed.public_key())),
        "RS256": (SigningKey("a", "RS256", rsa), VerifyingKey("a", "RS256", rsa.public_key())),
        "HS512": (shared_secret(SECRET), shared_secret_verifier(SECRET)),
    }[algorithm]

    claims = verify(sign(CLAIMS, signing), {verifying.kid: verifying}, audience="api", issuer=None, now=NOW)

    assert claims == CLAIMS


def test_the_header_is_the_one_that_airflow_itself_writes() -> None:
    header = jwt.get_unverified_header(sign(CLAIMS, shared_secret(SECRET)))

    assert header == {"alg": "HS512", "kid": "not-used", "typ": "JWT"}


@pytest.mark.parametrize(
    ("secret", "reason"),
    [
        pytest.param("", "missing", id="empty"),
        pytest.param(" " * 80, "missing", id="blank"),
        pytest.param("x" * 63, "63 bytes", id="too-short"),
        pytest.param("x" * 70 + "\udc80", "not UTF-8", id="not-utf8"),
    ],
)
def test_a_secret_that_protects_nothing_is_refused(secret: str, reason: str) -> None:
    with pytest.raises(ConfigError, match=reason):
        shared_secret(secret)


def test_the_length_of_a_secret_is_counted_in_bytes() -> None:
    key = shared_secret("ü" * 32)

    assert key.secret == ("ü" * 32).encode()


def test_random_secrets_are_not_mistaken_for_keys() -> None:
    keys = [shared_secret(secrets.token_urlsafe(64)) for _ in range(200)]

    assert {key.algorithm for key in keys} == {"HS512"}


def test_a_secret_shows_in_no_repr() -> None:
    shown = repr(shared_secret(SECRET)) + repr(shared_secret_verifier(SECRET))

    assert "sixty-four" not in shown


def test_one_of_several_audiences_is_enough() -> None:
    key = shared_secret(SECRET)
    token = sign(CLAIMS | {"aud": ["other", "b"]}, key)

    claims = verify(token, {key.kid: shared_secret_verifier(SECRET)}, audience=("a", "b"), issuer=None, now=NOW)

    assert claims["sub"] == "jürgen"


def test_an_empty_issuer_is_never_matched() -> None:
    key = shared_secret(SECRET)
    token = sign(CLAIMS | {"iss": ""}, key)

    with pytest.raises(InvalidToken, match="iss"):
        verify(token, {key.kid: shared_secret_verifier(SECRET)}, audience="api", issuer="", now=NOW)


@pytest.mark.parametrize("now", [NOW - 30, NOW + 629], ids=["our-clock-is-behind", "our-clock-is-ahead"])
def test_clocks_may_differ_by_the_leeway(now: int) -> None:
    key = shared_secret(SECRET)

    claims = verify(sign(CLAIMS, key), {key.kid: shared_secret_verifier(SECRET)}, audience="api", issuer=None, now=now)

    assert claims == CLAIMS


def test_another_type_of_token_is_believed_where_it_is_asked_for() -> None:
    key = shared_secret(SECRET)
    token = sign(CLAIMS, key, typ="at+jwt")

    claims = verify(
        token, {key.kid: shared_secret_verifier(SECRET)}, audience="api", issuer=None, types=("at+jwt",), now=NOW
    )

    assert claims == CLAIMS


def test_unverified_claims_are_read_without_a_key() -> None:
    claims = read_unverified(sign(CLAIMS, shared_secret(SECRET)))

    assert claims["exp"] == NOW + 600


def test_unverified_reading_refuses_what_is_no_jwt() -> None:
    with pytest.raises(InvalidToken):
        read_unverified("no.jwt.here")


@pytest.mark.parametrize(
    ("header", "kid"),
    [
        pytest.param({"kid": "a"}, "a", id="named"),
        pytest.param({}, "", id="not-named"),
        pytest.param({"typ": "jwt", "kid": "b"}, "b", id="a-media-type-in-small-letters"),
    ],
)
def test_the_key_of_a_plausible_token_is_the_one_that_it_names(header: dict[str, str], kid: str) -> None:
    token = jwt.encode({**CLAIMS, "iss": "us"}, SECRET, algorithm="HS512", headers=header)

    assert kid_of_plausible(token, algorithms=("HS512",), audience="api", issuer="us", now=NOW) == kid


@pytest.mark.parametrize("changed", [{"typ": "at+jwt"}, {"kid": ""}])
def test_a_token_whose_header_says_something_else_is_not_plausible(changed: dict[str, object]) -> None:
    payload = json.dumps({**CLAIMS, "iss": "us"}).encode()
    token = jwt.PyJWS().encode(payload, SECRET, "HS512", {"typ": "JWT", **changed})

    with pytest.raises(InvalidToken, match=r"typ|kid"):
        kid_of_plausible(token, algorithms=("HS512",), audience="api", issuer="us", now=NOW)
