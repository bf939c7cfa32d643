from __future__ import annotations

import base64
import json
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1
from cryptography.hazmat.primitives.asymmetric.ec import generate_private_key as generate_ec_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from jwt.algorithms import HMACAlgorithm, RSAAlgorithm

from compat_auth.tokens.jose.jwk import VerifyingKey
from compat_auth.tokens.jose.jwt import shared_secret_verifier
from compat_auth.tokens.jose.signed_text import is_signed_by_one_of

SECRET = "s" * 30 + "-of-at-least-sixty-four-bytes-" + "t" * 10
KEY = shared_secret_verifier(SECRET)
ED, RSA, EC = Ed25519PrivateKey.generate(), generate_private_key(65537, 2048), generate_ec_key(SECP256R1())
PUBLIC = [
    VerifyingKey("ed", "EdDSA", ED.public_key()),
    VerifyingKey("rsa", "RS256", RSA.public_key()),
    VerifyingKey("ec", "ES256", EC.public_key()),
]


def signed(header: dict[str, Any], *, algorithm: str = "HS512", secret: str = SECRET) -> str:
    return jwt.encode({"sub": "alice", "exp": 2**40}, secret, algorithm=algorithm, headers=header)


@pytest.mark.parametrize(
    "header",
    [
        pytest.param({}, id="no-kid"),
        pytest.param({"kid": "another"}, id="another-kid"),
        pytest.param({"kid": ""}, id="empty-kid"),
        pytest.param({"typ": "at+jwt"}, id="another-type"),
        pytest.param({"jku": "https://id.example.org"}, id="a-member-that-we-refuse"),
    ],
)
@pytest.mark.parametrize("algorithm", ["HS256", "HS384", "HS512"])
def test_the_secret_has_signed_a_token_whatever_its_header_says(header: dict[str, Any], algorithm: str) -> None:
    token = signed(header, algorithm=algorithm)

    assert is_signed_by_one_of([KEY], token)


@pytest.mark.parametrize("spelling", ["{}=", "{}==", "{}!!!!"])
def test_another_spelling_of_the_signature_is_the_same_signature(spelling: str) -> None:
    token = spelling.format(signed({}))

    assert is_signed_by_one_of([KEY], token)


@pytest.mark.parametrize(
    ("key", "algorithm"), [(ED, "EdDSA"), (RSA, "RS256"), (EC, "ES256")], ids=["EdDSA", "RS256", "ES256"]
)
def test_a_public_key_tells_who_has_signed_without_a_kid(key: Any, algorithm: str) -> None:
    token = jwt.encode({"sub": "alice"}, key, algorithm=algorithm)

    assert is_signed_by_one_of(PUBLIC, token)
    assert not is_signed_by_one_of([KEY], token)


@pytest.mark.parametrize(
    "token",
    [
        pytest.param(signed({}, secret="x" * 64), id="another-secret"),
        pytest.param(signed({}).rpartition(".")[0] + ".", id="no-signature"),
        pytest.param(signed({})[:-4], id="cut-short"),
        pytest.param(signed({}) + ".x", id="four-segments"),
        pytest.param("x." + signed({}), id="four-segments-at-the-front"),
        pytest.param(signed({}).partition(".")[2], id="two-segments"),
        pytest.param("", id="empty"),
        pytest.param("ä.ä.ä", id="not-ascii"),
        pytest.param("..", id="dots"),
        pytest.param("a.b.c", id="not-base64"),
    ],
)
def test_no_key_has_signed_any_other_text(token: str) -> None:
    assert not is_signed_by_one_of([KEY, *PUBLIC], token)


def test_a_public_key_is_no_secret() -> None:
    public = RSAAlgorithm.to_jwk(RSA.public_key())
    header = base64.urlsafe_b64encode(json.dumps({"alg": "HS256"}).encode()).decode().rstrip("=")
    text = f"{header}.e30"
    forged = HMACAlgorithm(HMACAlgorithm.SHA256).sign(text.encode(), public.encode())
    token = f"{text}.{base64.urlsafe_b64encode(forged).decode().rstrip('=')}"

    assert not is_signed_by_one_of(PUBLIC, token)


def test_without_keys_nobody_has_signed_anything() -> None:
    assert not is_signed_by_one_of([], signed({}))
