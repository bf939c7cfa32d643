"""Writes jwt.json and jwk.json from keys.json: the same text each time. Run it after a change: `python tests/corpora/make_jwt.py`."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from corpora.cases import FOLDER, published_keys  # found by the line above, wherever this is started
from corpora.jose import Facts, make_token  # the same
from corpora.make_jwk import jwk_cases  # the same

FACTS = Facts(now=1_800_000_000, iss="us", aud="api")
HEADER = '{"alg": "RS256", "kid": "rsa", "typ": "JWT"}'
PAYLOAD = '{"sub": "<sub>", "aud": "<aud>", "iss": "<iss>", "iat": <now>, "nbf": <now>, "exp": <now+600>}'
_LONGEST_TOKEN = 12_000
GOOD: dict[str, Any] = {"header": HEADER, "payload": PAYLOAD, "key": "rsa", "form": "{h}.{p}.{s}"}
KEYS = published_keys()


def _with(text: str, name: str, value: str) -> str:
    """Return a JSON object with a member set to a JSON text; "": without it."""
    members = [member for member in text[1:-1].split(", ") if not member.startswith(f'"{name}"')]
    return "{" + ", ".join([*members, *([f'"{name}": {value}'] if value else [])]) + "}"


def _and(text: str, *members: str) -> str:
    return text[:-1] + "".join(f", {member}" for member in members) + "}"


def header(name: str, value: str) -> dict[str, str]:
    return {"header": _with(HEADER, name, value)}


def claim(name: str, value: str) -> dict[str, str]:
    return {"payload": _with(PAYLOAD, name, value)}


def claims(**changed: str) -> dict[str, str]:
    text = PAYLOAD
    for name, value in changed.items():
        text = _with(text, name, value)
    return {"payload": text}


def form(text: str) -> dict[str, str]:
    return {"form": text}


def mac(kid: str, key: str, bits: int = 256) -> dict[str, str]:
    return {"header": f'{{"alg": "HS{bits}", "kid": "{kid}", "typ": "JWT"}}', "key": key, "hash": f"sha{bits}"}


# By what makes them invalid: the section, and whether every verifier must refuse it or a careful one does.
_ALG = ("RFC 8725 section 3.1: the key decides the algorithm, not the token", "must")
_MAC = ("RFC 8725 section 2.1: a public key is no secret", "must")
_SIG = ("RFC 7515 section 5.2: the signature does not verify", "must")
_B64 = ("RFC 7515 section 2: not the one spelling of base64url", "careful")
_SHAPE = ("RFC 7515 section 7.1: three parts", "must")
_TWICE = ("RFC 7519 section 4: two readings of one object", "careful")
_DATE = ("RFC 7519 section 2: NumericDate", "careful")
_TIME = ("RFC 7519 sections 4.1.4 to 4.1.6: not now", "must")
_LONG = ("a lifetime that no revocation waits for", "careful")
_SUB = ("RFC 7519 section 4.1.2: nobody's name", "careful")
_AUD = ("RFC 7519 section 4.1.3: for another audience", "must")
_ISS = ("RFC 7519 section 4.1.1: of another issuer", "must")
_NO_AUD = ("RFC 8725 section 3.9: no audience", "careful")
_NO_ISS = ("RFC 8725 section 3.8: no issuer", "careful")
_TYP = ("RFC 8725 section 3.11: a token of another kind", "careful")
_KID = ("RFC 7515 section 4.1.4: no such key", "careful")
_CRIT = ("RFC 7515 section 4.1.11: what must be understood is not", "must")
_EMBED = ("RFC 8725 section 3.10: the token may not bring its own key", "careful")
_EMBED_USED = ("RFC 8725 section 3.10: the token may not bring its own key", "must")
_JSON = ("RFC 7519 section 7.2: not a JSON object", "must")
_SIZE = ("a bound against endless work", "careful")

_TABLE: dict[str, tuple[tuple[str, str], dict[str, str]]] = {
    "alg-none-unsigned": (_ALG, {**header("alg", '"none"'), "form": "{h}.{p}."}),
    "alg-none-signed": (_ALG, header("alg", '"none"')),
    "alg-nOnE": (_ALG, header("alg", '"nOnE"')),
    "alg-missing": (_ALG, header("alg", "")),
    "alg-of-another-key": (_ALG, header("alg", '"EdDSA"')),
    "alg-list": (_ALG, header("alg", '["RS256"]')),
    "alg-lower-case": (_ALG, header("alg", '"rs256"')),
    "rsa-pem-as-hmac": (_MAC, mac("rsa", "rsa-pem")),
    "rsa-pem-stripped-as-hmac": (_MAC, mac("rsa", "rsa-pem-stripped", 512)),
    "rsa-der-as-hmac": (_MAC, mac("rsa", "rsa-der")),
    "rsa-jwk-as-hmac": (_MAC, mac("rsa", "rsa-jwk")),
    "ed25519-raw-as-hmac": (_MAC, mac("ed", "ed-raw", 512)),
    "empty-secret": (_SIG, mac("not-used", "empty", 512)),
    "weaker-hash-of-the-right-secret": (_ALG, mac("not-used", "shared", 256)),
    "foreign-key": (_SIG, {"key": "foreign"}),
    "empty-signature": (_SIG, form("{h}.{p}.")),
    "zero-signature": (_SIG, form("{h}.{p}.{zero}")),
    "padded-signature": (_B64, form("{h}.{p}.{s}==")),
    "trailing-bits-in-signature": (_B64, form("{h}.{p}.{flipped}")),
    "line-end-after-signature": (_B64, form("{h}.{p}.{s}\n")),
    "space-in-signature": (_B64, form("{h}.{p}.{spaced}")),
    "standard-base64": (_B64, form("{h}.{p}.{standard}")),
    "two-parts": (_SHAPE, form("{h}.{p}")),
    "four-parts": (_SHAPE, form("{h}.{p}.{s}.AAAA")),
    "five-parts-jwe": (_SHAPE, form("a.b.c.d.e")),
    "empty": (_SHAPE, form("")),
    "non-ascii": (_B64, form("{h}.{p}.{s}\u0660")),
    "duplicate-sub": (_TWICE, {"payload": _and(PAYLOAD, '"sub": "2"')}),
    "duplicate-alg": (_TWICE, {"header": _and(HEADER, '"alg": "RS256"')}),
    "duplicate-by-escape": (_TWICE, {"payload": _and(PAYLOAD, '"\\u0073ub": "2"')}),
    "duplicate-nested": (_TWICE, {"payload": _and(PAYLOAD, '"x": {"a": 1, "a": 2}')}),
    "exp-string": (_DATE, claim("exp", '"<now+600>"')),
    "exp-float": (_DATE, claim("exp", "<now+600>.5")),
    "exp-true": (_DATE, claim("exp", "true")),
    "exp-null": (_DATE, claim("exp", "null")),
    "exp-1e300": (_DATE, claim("exp", "1e300")),
    "exp-1e999": (_DATE, claim("exp", "1e999")),
    "exp-NaN": (_DATE, claim("exp", "NaN")),
    "exp-Infinity": (_DATE, claim("exp", "Infinity")),
    "exp-of-5000-digits": (_DATE, claim("exp", "<repeat:9:5000>")),
    "exp-missing": (_LONG, claim("exp", "")),
    "exp-past": (_TIME, claims(iat="<now-7000>", nbf="<now-7000>", exp="<now-3000>")),
    "exp-just-past": (_LONG, claims(iat="<now-700>", nbf="<now-700>", exp="<now-30>")),
    "exp-too-far": (_LONG, claim("exp", "<now+3601>")),
    "exp-too-far-without-iat": (
        _LONG,
        {"payload": '{"sub": "<sub>", "aud": "<aud>", "iss": "<iss>", "exp": <now+9999>}'},
    ),
    "exp-before-iat": (_DATE, claims(iat="<now+10>", exp="<now+5>")),
    "other-claim-1e300": (_DATE, {"payload": _and(PAYLOAD, '"x": 1e300')}),
    "iat-future": (_LONG, claim("iat", "<now+31>")),
    "iat-negative": (_DATE, claim("iat", "-1")),
    "iat-string": (_DATE, claim("iat", '"<now>"')),
    "nbf-future": (_LONG, claim("nbf", "<now+31>")),
    "nbf-far-future": (_TIME, claim("nbf", "<now+3000>")),
    "nbf-string": (_DATE, claim("nbf", '"<now>"')),
    "sub-missing": (_SUB, claim("sub", "")),
    "sub-empty": (_SUB, claim("sub", '""')),
    "sub-blank": (_SUB, claim("sub", '"  "')),
    "sub-int": (_SUB, claim("sub", "1")),
    "sub-list": (_SUB, claim("sub", '["1"]')),
    "sub-control-character": (_SUB, claim("sub", '"1\\n2"')),
    "sub-half-a-surrogate-pair": (_SUB, claim("sub", '"\\ud800"')),
    "aud-missing": (_NO_AUD, claim("aud", "")),
    "aud-empty": (_AUD, claim("aud", '""')),
    "aud-dict": (_AUD, claim("aud", '{"api": 1}')),
    "aud-empty-list": (_AUD, claim("aud", "[]")),
    "aud-other-list": (_AUD, claim("aud", '["other"]')),
    "aud-list-with-int": (_NO_AUD, claim("aud", '["<aud>", 1]')),
    "aud-prefix": (_AUD, claim("aud", '"<aud>2"')),
    "aud-other-case": (_AUD, claim("aud", '"API"')),
    "iss-missing": (_NO_ISS, claim("iss", "")),
    "iss-other": (_ISS, claim("iss", '"them"')),
    "iss-list": (_ISS, claim("iss", '["<iss>"]')),
    "iss-trailing-slash": (_ISS, claim("iss", '"<iss>/"')),
    "typ-missing": (_TYP, header("typ", "")),
    "typ-foreign": (_TYP, header("typ", '"secevent+jwt"')),
    "typ-lower-case": (_TYP, header("typ", '"jwt"')),
    "typ-list": (_TYP, header("typ", '["JWT"]')),
    "kid-missing": (_KID, header("kid", "")),
    "kid-unknown": (_KID, header("kid", '"other"')),
    "kid-path-traversal": (_KID, header("kid", '"../../../../dev/null"')),
    "kid-sql": (_KID, header("kid", "\"x' UNION SELECT 'rsa\"")),
    "kid-list": (_KID, header("kid", '["rsa"]')),
    "kid-number": (_KID, header("kid", "0")),
    "crit-empty": (_CRIT, {"header": _and(HEADER, '"crit": []')}),
    "crit-unknown": (_CRIT, {"header": _and(HEADER, '"crit": ["exp2"]', '"exp2": 1')}),
    "crit-absent-member": (_CRIT, {"header": _and(HEADER, '"crit": ["exp2"]')}),
    "crit-not-a-list": (_CRIT, {"header": _and(HEADER, '"crit": "exp"')}),
    "b64-false": (_CRIT, {"header": _and(HEADER, '"b64": false', '"crit": ["b64"]')}),
    "jwk-header": (_EMBED_USED, {"header": "", "key": "foreign"}),
    "jku-header": (_EMBED, {"header": _and(HEADER, '"jku": "https://evil.example/jwks"')}),
    "x5u-header": (_EMBED, {"header": _and(HEADER, '"x5u": "https://evil.example/cert"')}),
    "x5c-header": (_EMBED, {"header": _and(HEADER, '"x5c": ["MIIB"]')}),
    "zip-header": (_SIZE, {"header": _and(HEADER, '"zip": "DEF"')}),
    "header-list": (_JSON, {"header": "[]"}),
    "payload-list": (_JSON, {"payload": "[]"}),
    "payload-string": (_JSON, {"payload": '"sub"'}),
    "payload-not-json": (_JSON, {"payload": "sub=1"}),
    "payload-utf-16": (_JSON, {"encoding": "utf-16"}),
    "payload-nested-too-deep": (_SIZE, {"payload": _and(PAYLOAD, '"x": ' + "[" * 9 + "]" * 9)}),
    "payload-nested-to-the-stack": (_JSON, {"payload": "[" * 2500 + "]" * 2500}),
    "huge": (_SIZE, {"payload": _and(PAYLOAD, '"x": "<repeat:x:8192>"')}),
    "huge-of-dots": (_SHAPE, form("<repeat:.:1000000>")),
}


def _cases() -> Iterator[Mapping[str, Any]]:
    yield _case("good", ("what every attack starts from", "valid"), {})
    foreign = {name: KEYS["foreign"][name] for name in ("kty", "n", "e")}
    for name, (rule, changed) in _TABLE.items():
        own = {"header": _and(HEADER, f'"jwk": {json.dumps(foreign)}')} if name == "jwk-header" else {}
        yield _case(name, rule, {**changed, **own})


def _case(name: str, rule: tuple[str, str], changed: Mapping[str, str]) -> dict[str, Any]:
    recipe = {**GOOD, **changed}
    token = make_token(recipe, KEYS, FACTS)
    short = {"token": token} if len(token) <= _LONGEST_TOKEN else {}
    return {"id": name, "why": rule[0], "verdict": rule[1], **recipe, **short}


def documents() -> dict[str, dict[str, Any]]:
    """Return what belongs into each file, by name."""
    jwt = {
        "corpus": "jwt",
        "description": (
            "JWTs by keys.json. `verdict`: valid; must: every verifier refuses it; careful: a careful one does. `token` is made at `now`, for "
            "this issuer and audience (absent: too long); jose.py makes it for any other from the recipe: header, payload, key, form."
        ),
        "facts": {"now": FACTS.now, "iss": FACTS.iss, "aud": FACTS.aud, "sub": FACTS.sub},
        "cases": list(_cases()),
    }
    jwk = {
        "corpus": "jwk",
        "description": "Members of a JWKS. `usable`: signatures may be verified with it; if not, a verifier refuses or ignores it.",
        "cases": list(jwk_cases(KEYS)),
    }
    return {
        name: {"$schema": "schema.json", "version": 1, **document} for name, document in (("jwt", jwt), ("jwk", jwk))
    }


def text_of(document: Mapping[str, Any]) -> str:
    """Return a corpus as it stands in its file."""
    return json.dumps(document, indent=1) + "\n"


if __name__ == "__main__":
    for file, document in documents().items():
        (FOLDER / f"{file}.json").write_text(text_of(document), encoding="ascii")
