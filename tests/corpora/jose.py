"""JWTs from the recipes of jwt.json, signed with the corpus's own keys. Standard library only.

Nothing here is for production: the keys are published, and the code does not resist timing attacks.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

# DER of the DigestInfo in front of a SHA-256 digest (RFC 8017 section 9.2, note 1).
_SHA256_PREFIX = bytes.fromhex("3031300d060960864801650304020105000420")
_PLACEHOLDER = re.compile(r"<(now)([+-]\d+)?>|<(iss|aud|sub)>|<repeat:(.):(\d+)>")
_ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"


@dataclass(frozen=True, slots=True)
class Facts:
    """What a recipe's placeholders stand for.

    Attributes:
        now: Seconds since the epoch.
        iss: Issuer whom the verifier believes.
        aud: Audience of the verifier.
        sub: Subject.
    """

    now: int
    iss: str
    aud: str
    sub: str = "1"


def b64(content: bytes) -> str:
    """Return base64url without padding (RFC 7515 section 2)."""
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()


def unb64(text: str) -> bytes:
    """Return what base64url without padding stands for."""
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def fill(text: str, facts: Facts) -> str:
    """Return a text of a recipe with its placeholders filled in."""

    def value(match: re.Match[str]) -> str:
        now, offset, name, letter, times = match.groups()
        if now:
            return str(facts.now + int(offset or 0))
        return str(getattr(facts, name)) if name else letter * int(times)

    return _PLACEHOLDER.sub(value, text)


def make_token(case: Mapping[str, Any], keys: Mapping[str, Mapping[str, str]], facts: Facts) -> str:
    """Return the token of a case.

    Args:
        case: Of jwt.json: `header`, `payload`, `key` and `form`.
        keys: Of jwt.json, by name.
        facts: For the placeholders.
    """
    encoding = str(case.get("encoding", "utf-8"))
    # A lone surrogate of a payload is what its JSON text says in ASCII; it never gets here.
    header, payload = (
        b64(fill(case[name], facts).encode(code)) for name, code in (("header", "utf-8"), ("payload", encoding))
    )
    signature = _sign(keys[case["key"]], str(case.get("hash", "sha256")), f"{header}.{payload}".encode())
    form = fill(case["form"], facts)
    parts = {"h": header, "p": payload, **_spellings(signature)}
    return re.sub(r"\{([a-z]+)\}", lambda match: parts[match[1]], form)


def _spellings(signature: bytes) -> dict[str, str]:
    """Return the signature as it should be, and as it should not."""
    text = b64(signature)
    return {
        "s": text,
        "zero": b64(bytes(len(signature))),
        "flipped": text[:-1] + _ALPHABET[_ALPHABET.index(text[-1]) ^ 1],
        "spaced": f"{text[:-5]} {text[-5:]}",
        "standard": text.replace("_", "/").replace("-", "+") + "+",
    }


def _sign(key: Mapping[str, str], digest: str, message: bytes) -> bytes:
    if key["kty"] == "oct":
        return hmac.digest(unb64(key["k"]), message, digest)
    modulus, exponent = (int.from_bytes(unb64(key[name]), "big") for name in ("n", "d"))
    size = (modulus.bit_length() + 7) // 8
    info = _SHA256_PREFIX + hashlib.sha256(message).digest()
    # EMSA-PKCS1-v1_5 (RFC 8017 section 9.2).
    padded = b"\x00\x01" + b"\xff" * (size - len(info) - 3) + b"\x00" + info
    return pow(int.from_bytes(padded, "big"), exponent, modulus).to_bytes(size, "big")


def public_jwks(keys: Mapping[str, Mapping[str, str]]) -> str:
    """Return the JWKS of the key that a verifier should trust, as JSON."""
    trusted = keys["rsa"]
    members = {name: trusted[name] for name in ("kty", "n", "e")}
    return json.dumps({"keys": [{**members, "kid": "rsa", "alg": "RS256", "use": "sig"}]})
