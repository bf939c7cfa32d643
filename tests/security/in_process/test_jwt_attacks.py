"""Every way that we know of to get a JWT believed that should not be."""

from __future__ import annotations

import base64
import hmac
import json
from collections.abc import Callable
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given, settings
from hypothesis import strategies as st

from compat_auth.errors import ConfigError, InvalidToken
from compat_auth.tokens.jose.jwk import SigningKey, VerifyingKey, public_members
from compat_auth.tokens.jose.jwt import shared_secret, shared_secret_verifier, sign, verify

NOW = 1_800_000_000
SECRET = "a shared secret of at least sixty-four bytes, as HS512 wants it to be."
ED = Ed25519PrivateKey.generate()
RSA = generate_private_key(65537, 2048)
FOREIGN = Ed25519PrivateKey.generate()
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


def without(name: str) -> str:
    return raw_token(json.dumps(HEADER), json.dumps({key: value for key, value in CLAIMS.items() if key != name}))


def without_header(name: str) -> str:
    return raw_token(json.dumps({key: value for key, value in HEADER.items() if key != name}), json.dumps(CLAIMS))


def hmac_token(secret: bytes, kid: str, alg: str = "HS256") -> str:
    digest = f"sha{alg[2:]}"

    def signer(text: bytes) -> bytes:
        return hmac.digest(secret, text, digest)

    return raw_token(json.dumps({"alg": alg, "kid": kid, "typ": "JWT"}), json.dumps(CLAIMS), signer)


def with_last_bit_flipped(text: str) -> str:
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    return text[:-1] + alphabet[alphabet.index(text[-1]) ^ 1]


def check(text: str) -> dict[str, Any]:
    return verify(text, KEYS, audience="api", issuer="us", now=NOW, max_lifetime_s=3600)


RSA_PEM = RSA.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
RSA_DER = RSA.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
RSA_JWK = json.dumps(public_members(RSA.public_key())).encode()
ED_RAW = ED.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
GOOD_PAYLOAD = json.dumps(CLAIMS)
GOOD_HEADER = json.dumps(HEADER)

ATTACKS = {
    "alg-none-unsigned": f"{encode(json.dumps(HEADER | {'alg': 'none'}).encode())}.{encode(GOOD_PAYLOAD.encode())}.",
    "alg-none-signed": token({"alg": "none"}),
    "alg-nOnE": token({"alg": "nOnE"}),
    "alg-missing": without_header("alg"),
    "alg-of-another-key": token({"alg": "RS256"}),
    "alg-list": token({"alg": ["EdDSA"]}),
    "alg-lower-case": token({"alg": "eddsa"}),
    "rsa-pem-as-hmac": hmac_token(RSA_PEM, "rsa"),
    "rsa-pem-stripped-as-hmac": hmac_token(RSA_PEM.strip(), "rsa", "HS512"),
    "rsa-der-as-hmac": hmac_token(RSA_DER, "rsa"),
    "rsa-jwk-as-hmac": hmac_token(RSA_JWK, "rsa"),
    "ed25519-raw-as-hmac": hmac_token(ED_RAW, "ed", "HS512"),
    "empty-secret": hmac_token(b"", "not-used", "HS512"),
    "weaker-hash-of-the-right-secret": hmac_token(SECRET.encode(), "not-used", "HS256"),
    "foreign-key": raw_token(GOOD_HEADER, GOOD_PAYLOAD, FOREIGN.sign),
    "empty-signature": token().rpartition(".")[0] + ".",
    "zero-signature": token().rpartition(".")[0] + "." + encode(bytes(64)),
    "padded-signature": token() + "==",
    "trailing-bits-in-signature": with_last_bit_flipped(token()),
    "line-end-after-signature": token() + "\n",
    "space-in-signature": token()[:-5] + " " + token()[-5:],
    "standard-base64": token().replace("_", "/").replace("-", "+") + "+",
    "two-parts": token().rpartition(".")[0],
    "four-parts": token() + ".AAAA",
    "five-parts-jwe": "a.b.c.d.e",
    "empty": "",
    "non-ascii": token() + "\u0660",
    "duplicate-sub": raw_token(GOOD_HEADER, GOOD_PAYLOAD[:-1] + ', "sub": "2"}'),
    "duplicate-alg": raw_token(GOOD_HEADER[:-1] + ', "alg": "EdDSA"}', GOOD_PAYLOAD),
    "duplicate-by-escape": raw_token(GOOD_HEADER, GOOD_PAYLOAD[:-1] + ', "\\u0073ub": "2"}'),
    "duplicate-nested": raw_token(GOOD_HEADER, GOOD_PAYLOAD[:-1] + ', "x": {"a": 1, "a": 2}}'),
    "exp-string": token(exp=str(NOW + 600)),
    "exp-float": token(exp=NOW + 600.5),
    "exp-true": token(exp=True),
    "exp-null": token(exp=None),
    "exp-1e300": raw_token(GOOD_HEADER, GOOD_PAYLOAD.replace(str(NOW + 600), "1e300")),
    "exp-1e999": raw_token(GOOD_HEADER, GOOD_PAYLOAD.replace(str(NOW + 600), "1e999")),
    "exp-NaN": raw_token(GOOD_HEADER, GOOD_PAYLOAD.replace(str(NOW + 600), "NaN")),
    "exp-Infinity": raw_token(GOOD_HEADER, GOOD_PAYLOAD.replace(str(NOW + 600), "Infinity")),
    "exp-of-5000-digits": raw_token(GOOD_HEADER, GOOD_PAYLOAD.replace(str(NOW + 600), "9" * 5000)),
    "exp-missing": without("exp"),
    "exp-past": token(iat=NOW - 700, nbf=NOW - 700, exp=NOW - 30),
    "exp-too-far": token(exp=NOW + 3601),
    "exp-too-far-without-iat": raw_token(
        GOOD_HEADER, json.dumps({"sub": "1", "aud": "api", "iss": "us", "exp": NOW + 9999})
    ),
    "exp-before-iat": token(iat=NOW + 10, exp=NOW + 5),
    "other-claim-1e300": raw_token(GOOD_HEADER, GOOD_PAYLOAD[:-1] + ', "x": 1e300}'),
    "iat-future": token(iat=NOW + 31),
    "iat-negative": token(iat=-1),
    "iat-string": token(iat=str(NOW)),
    "nbf-future": token(nbf=NOW + 31),
    "nbf-string": token(nbf=str(NOW)),
    "sub-missing": without("sub"),
    "sub-empty": token(sub=""),
    "sub-blank": token(sub="  "),
    "sub-int": token(sub=1),
    "sub-list": token(sub=["1"]),
    "sub-control-character": token(sub="1\n2"),
    "sub-half-a-surrogate-pair": token(sub="\ud800"),
    "aud-missing": without("aud"),
    "aud-empty": token(aud=""),
    "aud-dict": token(aud={"api": 1}),
    "aud-empty-list": token(aud=[]),
    "aud-other-list": token(aud=["other"]),
    "aud-list-with-int": token(aud=["api", 1]),
    "aud-prefix": token(aud="api2"),
    "aud-other-case": token(aud="API"),
    "iss-missing": without("iss"),
    "iss-other": token(iss="them"),
    "iss-list": token(iss=["us"]),
    "iss-trailing-slash": token(iss="us/"),
    "typ-missing": without_header("typ"),
    "typ-foreign": token({"typ": "at+jwt"}),
    "typ-lower-case": token({"typ": "jwt"}),
    "typ-list": token({"typ": ["JWT"]}),
    "kid-missing": without_header("kid"),
    "kid-unknown": token({"kid": "other"}),
    "kid-path-traversal": token({"kid": "../../../../dev/null"}),
    "kid-sql": token({"kid": "x' UNION SELECT 'ed"}),
    "kid-list": token({"kid": ["ed"]}),
    "kid-number": token({"kid": 0}),
    "crit-empty": token({"crit": []}),
    "crit-unknown": token({"crit": ["exp2"], "exp2": 1}),
    "b64-false": token({"b64": False, "crit": ["b64"]}),
    "jwk-header": raw_token(
        json.dumps(HEADER | {"jwk": public_members(FOREIGN.public_key())}), GOOD_PAYLOAD, FOREIGN.sign
    ),
    "jku-header": token({"jku": "https://evil.example/jwks"}),
    "x5u-header": token({"x5u": "https://evil.example/cert"}),
    "x5c-header": token({"x5c": ["MIIB"]}),
    "zip-header": token({"zip": "DEF"}),
    "header-list": raw_token("[]", GOOD_PAYLOAD),
    "payload-list": raw_token(GOOD_HEADER, "[]"),
    "payload-string": raw_token(GOOD_HEADER, '"sub"'),
    "payload-not-json": raw_token(GOOD_HEADER, "sub=1"),
    "payload-nested-too-deep": raw_token(GOOD_HEADER, GOOD_PAYLOAD[:-1] + ', "x": ' + "[" * 9 + "]" * 9 + "}"),
    "payload-nested-to-the-stack": raw_token(GOOD_HEADER, "[" * 2500 + "]" * 2500),
    "huge": token(x="x" * 8192),
    "huge-of-dots": "." * 1_000_000,
}


def test_the_token_that_every_attack_starts_from_is_believed() -> None:
    claims = check(token())

    assert claims == CLAIMS


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
        check(ATTACKS[name])


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
