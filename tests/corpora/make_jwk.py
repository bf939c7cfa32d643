"""The cases of jwk.json: keys as an issuer publishes them, and keys that nobody should use."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from corpora.jose import b64, unb64

Keys = Mapping[str, Mapping[str, str]]
_PUBLIC = {"RSA": ("kty", "n", "e"), "OKP": ("kty", "crv", "x"), "EC": ("kty", "crv", "x", "y")}


def _public(key: Mapping[str, str], **members: object) -> dict[str, Any]:
    found: dict[str, Any] = {name: key[name] for name in _PUBLIC[key["kty"]]}
    return {name: value for name, value in {**found, "kid": "a", **members}.items() if value is not None}


def jwk_cases(keys: Keys) -> Iterator[dict[str, Any]]:
    """Yield the cases."""
    for name, (usable, why, jwk) in _table(keys).items():
        yield {"id": name, "why": why, "usable": usable, "jwk": jwk}


def _table(keys: Keys) -> dict[str, tuple[bool, str, dict[str, Any]]]:
    rsa, ed, ec = keys["rsa"], keys["ed"], keys["ec"]
    n, x, y = unb64(rsa["n"]), unb64(ec["x"]), unb64(ec["y"])
    even = b64((int.from_bytes(n, "big") & ~1).to_bytes(len(n), "big"))
    purpose = "RFC 7517 sections 4.2 to 4.4: it is for something else"
    shape = "RFC 7518 section 6: not a key of its kind"
    weak = "RFC 7518 section 3.3: too weak"
    curve = "the point is not on the curve (CVE-2015-7940)"
    return {
        "rsa": (True, "plain", _public(rsa)),
        "rsa-for-signatures": (True, "plain", _public(rsa, use="sig", alg="RS256", key_ops=["verify"])),
        "rsa-for-rs512": (True, "plain", _public(rsa, alg="RS512")),
        "ed25519": (True, "plain", _public(ed)),
        "p-256": (True, "plain", _public(ec, alg="ES256")),
        "null-members": (
            True,
            "some issuers write null for an absent member",
            _public(rsa) | {"use": None, "alg": None},
        ),
        "unknown-member": (True, "RFC 7517 section 4: unknown members are ignored", _public(rsa, x_note="a")),
        "no-kid": (False, "nothing selects it", _public(rsa, kid=None)),
        "empty-kid": (False, "nothing selects it", _public(rsa, kid="")),
        "kid-is-a-number": (False, "nothing selects it", _public(rsa, kid=1)),
        "for-encryption": (False, purpose, _public(rsa, use="enc")),
        "unknown-use": (False, purpose, _public(rsa, use="both")),
        "key-ops-encrypt": (False, purpose, _public(rsa, key_ops=["encrypt"])),
        "key-ops-text": (False, purpose, _public(rsa, key_ops="verify")),
        "alg-none": (False, purpose, _public(rsa, alg="none")),
        "alg-hs256": (False, purpose, _public(rsa, alg="HS256")),
        "alg-of-another-kind": (False, purpose, _public(rsa, alg="ES256")),
        "alg-of-another-curve": (False, purpose, _public(ec, alg="ES384")),
        "alg-list": (False, purpose, _public(rsa, alg=["RS256"])),
        "symmetric": (False, "a published secret is none", {"kty": "oct", "k": "AAAA", "kid": "a"}),
        "no-kty": (False, shape, _public(rsa, kty=None)),
        "unknown-kty": (False, shape, _public(rsa, kty="rsa")),
        "kty-list": (False, shape, _public(rsa, kty=["RSA"])),
        "rsa-without-n": (False, shape, _public(rsa, n=None)),
        "rsa-without-e": (False, shape, _public(rsa, e=None)),
        "rsa-n-number": (False, shape, _public(rsa, n=65537)),
        "rsa-n-empty": (False, shape, _public(rsa, n="")),
        "rsa-n-not-base64": (False, shape, _public(rsa, n="!!!!")),
        "rsa-n-not-ascii": (False, shape, _public(rsa, n="\u0660" * 340)),
        "rsa-1024": (False, weak, _public(rsa, n=b64(n[:128]))),
        "rsa-even-n": (False, weak, _public(rsa, n=even)),
        "rsa-e-1": (False, weak, _public(rsa, e="AQ")),
        "rsa-e-even": (False, weak, _public(rsa, e="AQAA")),
        "rsa-e-empty": (False, weak, _public(rsa, e="")),
        "rsa-e-0": (False, weak, _public(rsa, e="AA")),
        "rsa-huge": (False, "verification costs too much", _public(rsa, n=b64(b"\xff" * 4097))),
        "ec-not-on-the-curve": (False, curve, _public(ec, y=b64(y[:-1] + bytes((y[-1] ^ 1,))))),
        "ec-infinity": (False, curve, _public(ec, x=b64(bytes(32)), y=b64(bytes(32)))),
        "ec-without-y": (False, shape, _public(ec, y=None)),
        "ec-short-x": (False, shape, _public(ec, x=b64(x[1:]))),
        "ec-long-x": (False, shape, _public(ec, x=b64(b"\x00" + x))),
        "ec-unknown-curve": (False, shape, _public(ec, crv="P-999")),
        "ec-koblitz": (False, "RFC 8812: no algorithm here", _public(ec, crv="secp256k1")),
        "ed25519-short": (False, shape, _public(ed, x=b64(unb64(ed["x"])[:-1]))),
        "ed25519-long": (False, shape, _public(ed, x=b64(unb64(ed["x"]) + b"\x00"))),
        "x25519": (False, "RFC 8037 section 3.2: for key agreement", _public(ed, crv="X25519")),
        "ed25519-with-y": (True, "RFC 7517 section 4: unknown members are ignored", _public(ed, y="AA")),
    }
