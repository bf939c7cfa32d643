"""Every way that we know of to get a JWT believed that should not be."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given, settings
from hypothesis import strategies as st

from compat_auth.errors import ConfigError, InvalidToken
from compat_auth.tokens.jose.jwk import SigningKey, VerifyingKey, public_members, verifying_key
from compat_auth.tokens.jose.jwt import shared_secret, shared_secret_verifier, sign, verify
from corpora.cases import load, published_keys
from corpora.jose import Facts, make_token, unb64

NOW = 1_800_000_000
SECRET = "a shared secret of at least sixty-four bytes, as HS512 wants it to be."
ED = Ed25519PrivateKey.generate()
RSA = generate_private_key(65537, 2048)
KEYS = {
    "ed": VerifyingKey("ed", "EdDSA", ED.public_key()),
    "rsa": VerifyingKey("rsa", "RS256", RSA.public_key()),
    "not-used": shared_secret_verifier(SECRET),
}
HEADER = {"alg": "EdDSA", "kid": "ed", "typ": "JWT"}
CLAIMS = {"sub": "1", "aud": "api", "iss": "us", "iat": NOW, "nbf": NOW, "exp": NOW + 600}


def encode(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()


def raw_token(header: str, payload: str, signer: Callable[[bytes], bytes] = ED.sign) -> str:
    signed = f"{encode(header.encode())}.{encode(payload.encode())}"
    return f"{signed}.{encode(signer(signed.encode()))}"


def token(header: dict[str, Any] | None = None, **claims: Any) -> str:
    return raw_token(json.dumps(HEADER | (header or {})), json.dumps(CLAIMS | claims))


def check(text: str) -> dict[str, Any]:
    return verify(text, KEYS, audience="api", issuer="us", now=NOW, max_lifetime_s=3600)


RSA_PEM = RSA.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
RSA_DER = RSA.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
RSA_JWK = json.dumps(public_members(RSA.public_key())).encode()
GOOD_PAYLOAD = json.dumps(CLAIMS)
GOOD_HEADER = json.dumps(HEADER)

CORPUS = load("jwt")
PUBLISHED = published_keys()
CORPUS_KEYS = {
    "rsa": verifying_key({**PUBLISHED["rsa"], "kid": "rsa"}),
    "ed": verifying_key({**PUBLISHED["ed"], "kid": "ed"}),
    "not-used": shared_secret_verifier(unb64(PUBLISHED["shared"]["k"]).decode()),
}
ATTACKS = {case["id"]: case for case in CORPUS["cases"] if case["verdict"] != "valid"}


def check_case(case: Mapping[str, Any]) -> dict[str, Any]:
    facts = Facts(**CORPUS["facts"])
    text = make_token(case, PUBLISHED, facts)
    return verify(text, CORPUS_KEYS, audience=facts.aud, issuer=facts.iss, now=facts.now, max_lifetime_s=3600)


def test_the_token_that_every_attack_starts_from_is_believed() -> None:
    (good,) = (case for case in CORPUS["cases"] if case["verdict"] == "valid")

    claims = [check_case(good), check(token())]

    assert claims == [CLAIMS, CLAIMS]


# By the first word of an attack's name: each must fail for its own reason, not by a slip in its making.
REASONS = {
    "alg": "header: alg|a part is empty",
    "rsa": "header: alg",
    "ed25519": "header: alg",
    "weaker": "header: alg",
    "foreign": "signature",
    "zero": "signature",
    "trailing": "not canonical",
    "padded": "not base64url",
    "duplicate": "JSON: a member twice",
    "exp": "exp:|JSON: (a number too large|NaN)",
    "other": "JSON: a number too large",
    "iat": "iat:",
    "nbf": "nbf:",
    "sub": "sub:|JSON: not UTF-8",
    "aud": "aud:",
    "iss": "iss:",
    "typ": "header: typ",
    "kid": "header: kid",
    "crit": "header: crit",
    "b64": "header: b64",
    "jwk": "header: jwk",
    "jku": "header: jku",
    "x5u": "header: x5u",
    "x5c": "header: x5c",
    "zip": "header: zip",
    "header": "JSON",
    "payload": "JSON",
    "huge": "longer than",
}


@pytest.mark.parametrize("name", ATTACKS)
def test_a_forged_or_ambiguous_token_is_refused(name: str) -> None:
    reason = REASONS.get(name.partition("-")[0], "part|signature")

    with pytest.raises(InvalidToken, match=f"^.*({reason})"):
        check_case(ATTACKS[name])


def test_a_payload_that_is_not_utf8_is_refused() -> None:
    signed = f"{encode(GOOD_HEADER.encode())}.{encode(GOOD_PAYLOAD.encode('utf-16'))}"
    forged = f"{signed}.{encode(ED.sign(signed.encode()))}"

    with pytest.raises(InvalidToken):
        check(forged)


def test_a_changed_payload_is_refused() -> None:
    header, _, signature = token().split(".")
    forged = f"{header}.{encode(json.dumps(CLAIMS | {'sub': '2'}).encode())}.{signature}"

    with pytest.raises(InvalidToken, match="signature"):
        check(forged)


def test_the_reason_of_a_refusal_quotes_nothing_of_the_token() -> None:
    forged = token(sub="1\nsecret-marker", aud="secret-marker")

    with pytest.raises(InvalidToken) as refusal:
        check(forged)

    assert "secret-marker" not in str(refusal.value)


@pytest.mark.parametrize(
    "secret",
    [
        pytest.param(RSA_PEM.decode(), id="pem"),
        pytest.param("\n \t" + RSA_PEM.decode(), id="pem-after-white-space"),
        pytest.param("\ufeff" + RSA_PEM.decode(), id="pem-after-byte-order-mark"),
        pytest.param(RSA_PEM.decode().replace("\n", ""), id="pem-on-one-line"),
        pytest.param(RSA_PEM.decode().replace("\n", "\\n"), id="pem-with-escaped-line-ends"),
        pytest.param(RSA_PEM.decode().replace("-----", "----"), id="pem-with-four-dashes"),
        pytest.param(RSA_PEM.decode().replace("-----", "- - -"), id="pem-with-spaced-dashes"),
        pytest.param(RSA_PEM.decode().replace("\n", "\r\n"), id="pem-with-crlf"),
        pytest.param(RSA_PEM.decode().replace("BEGIN PUBLIC", "begin public"), id="pem-in-lower-case"),
        pytest.param(RSA_JWK.decode(), id="jwk"),
        pytest.param(base64.b64encode(RSA_DER).decode(), id="der-in-base64"),
        pytest.param(encode(RSA_DER), id="der-in-base64url"),
        pytest.param(
            RSA.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode(), id="ssh-public-key"
        ),
    ],
)
def test_a_public_key_is_refused_as_shared_secret(secret: str) -> None:
    with pytest.raises(ConfigError, match="key or certificate"):
        shared_secret(secret)


def test_a_key_of_one_kind_cannot_sign_for_the_kid_of_another() -> None:
    forged = sign(CLAIMS, SigningKey("rsa", "EdDSA", ED))

    with pytest.raises(InvalidToken, match="alg"):
        check(forged)


@settings(deadline=None)
@given(st.text(max_size=400) | st.from_regex(r"[A-Za-z0-9_-]{0,60}\.[A-Za-z0-9_-]{0,60}\.[A-Za-z0-9_-]{0,9}"))
def test_no_text_at_all_gives_anything_but_a_refusal(text: str) -> None:
    with pytest.raises(InvalidToken):
        check(text)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


@settings(deadline=None)
@given(
    st.dictionaries(st.sampled_from(["alg", "kid", "typ", "crit", "cty"]), JSON, max_size=2),
    st.dictionaries(st.sampled_from(["sub", "aud", "iss", "iat", "nbf", "exp", "jti", "x"]), JSON, max_size=3),
)
def test_whatever_is_signed_the_answer_is_claims_of_the_right_types_or_a_refusal(
    header: dict[str, Any], changed: dict[str, Any]
) -> None:
    try:
        claims = check(token(header, **changed))
    except InvalidToken:
        return

    assert "api" in claims["aud"]
    assert claims["iss"] == "us"
    assert isinstance(claims["sub"], str)
    assert type(claims["exp"]) is int
