"""The parsers that read what a stranger sends, each with what must be true of its result."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import chain

from compat_auth.airflow_api.bodies import Reader, named_in
from compat_auth.authn.passwords.hashes import find_fault
from compat_auth.credentials import Basic, authorization_with_api_key, key_of, parse_authorization
from compat_auth.crypto.personal_token_format import checksum, holds_one, make_text, parse_text
from compat_auth.crypto.strict_json import parse_object
from compat_auth.errors import CompatAuthError, InvalidPath, KeyFileError
from compat_auth.gateway.fast.upstream.answer_head import answer_head
from compat_auth.http.browser.redirects import safe_next
from compat_auth.http.forwarded import TrustedProxies
from compat_auth.http.headers import RawHeaders, take_in, without_cookies
from compat_auth.http.identity_headers import tells_identity
from compat_auth.http.paths import AIRFLOW_RESTS, MergedPath, canonical_path, canonical_query, read_path
from compat_auth.scopes import allow, parse_scopes
from compat_auth.tokens.jose.jwk import verifying_key
from compat_auth.tokens.jose.jwt import verify
from compat_auth.tokens.jose.unverified_claims import read_claimed
from corpora.cases import cases, load, published_keys, to_bytes, values_for
from corpora.judge import leads_elsewhere

Parse = Callable[[bytes], object]
_VALUES = values_for("gateway", "Basic YWxpY2U6c2VjcmV0", "Basic Ym9iOnNlY3JldA==")
_KEY = verifying_key({**{name: published_keys()["rsa"][name] for name in ("kty", "n", "e")}, "kid": "rsa"})
_PROXIES = TrustedProxies(["10.0.0.0/8", "::1/128"])
_COOKIES = frozenset((b"_token", b"session"))
_READERS = (Reader("bulk", "dags", is_named_by_path=True), Reader("list", "pools", is_named_by_path=False))
NOW = 1_800_000_000


@dataclass(frozen=True, slots=True)
class Target:
    """A parser.

    Attributes:
        parse: Parses an input; raises where a promise is broken, or the refusals that are lawful.
        refusals: What it may raise.
        seeds: Inputs to begin with.
    """

    parse: Parse
    refusals: tuple[type[Exception], ...]
    seeds: Callable[[], Iterator[bytes]]


def check(target: Target, data: bytes) -> None:
    """Parse an input; any exception that is not a refusal goes on."""
    with suppress(*target.refusals):
        target.parse(data)


def _text(data: bytes) -> str:
    return data.decode("utf-8", "surrogateescape")


def _path(data: bytes) -> None:
    try:
        path = read_path(data, AIRFLOW_RESTS)
    except MergedPath as merged:
        path = merged.path
    assert canonical_path(path) == path
    assert path.startswith(b"/")
    assert not path.startswith(b"//")


def _query(data: bytes) -> None:
    query = canonical_query(data)
    assert canonical_query(query) == query
    assert b"#" not in query


def _redirect(data: bytes) -> None:
    assert not leads_elsewhere(safe_next(_text(data)), "https://gateway")


def _authorization(data: bytes) -> None:
    # As WSGI hands over a header's bytes (PEP 3333).
    value = data.decode("latin-1")
    credential = parse_authorization(value)
    key_of(credential, value)
    assert not isinstance(credential, Basic) or (credential.username and ":" not in credential.username)


def _api_key(data: bytes) -> None:
    authorization, _, key = data.partition(b"\n")
    holds_one(data)
    authorization_with_api_key(authorization or None, [key] if key else [])


def _header_lines(data: bytes) -> RawHeaders:
    pairs = (line.partition(b":") for line in data.split(b"\n") if line)
    return [(name.lower(), value.strip()) for name, _, value in pairs]


def _headers(data: bytes) -> None:
    intake = take_in([(b"host", b"gateway"), *_header_lines(data)])
    assert not any(tells_identity(name) for name, _ in intake.kept)


def _cookies(data: bytes) -> None:
    left = without_cookies([data], _COOKIES)
    assert without_cookies(left, _COOKIES) == left


def _forwarded(data: bytes) -> None:
    client = _PROXIES.client({"client": ("10.0.0.1", 1)}, {b"x-forwarded-for": data.split(b"\n")})
    assert client


def _answer(data: bytes) -> None:
    head = answer_head(200, _header_lines(data), b"GET", closes=False)
    assert head is None or head.data.count(b"\r\n\r\n") == 1


def _jwt(data: bytes) -> None:
    claims = verify(_text(data), {"rsa": _KEY}, audience="api", issuer="us", now=NOW, max_lifetime_s=3600)
    assert claims["sub"]


def _personal_token(data: bytes) -> None:
    token = parse_text(_text(data))
    assert token is None or token.value[-6:] == checksum(token.value[:-6])


def _scope(data: bytes) -> None:
    scopes = parse_scopes(tuple(_text(data).split("\n")))
    assert allow(scopes, "GET", "/a/b") in (True, False)


def _body(data: bytes) -> None:
    for reader in _READERS:
        assert isinstance(named_in(reader, data)[0], set)


def _jwk(data: bytes) -> None:
    verifying_key(parse_object(data))


def _of_headers(*kinds: str) -> Iterator[bytes]:
    for case in cases("headers"):
        if not kinds or case["kind"] in kinds:
            yield b"\n".join(f"{name}: {value}".encode("latin-1") for name, value in case["headers"])


def _values_of(*kinds: str) -> Iterator[bytes]:
    return (line.partition(b": ")[2] for line in _of_headers(*kinds))


def _paths() -> Iterator[bytes]:
    yield from (case["path"].encode("latin-1") for case in cases("paths"))
    yield from (b"/api/v2/variables//a", b"/api/v1/datasets/s3://a/b", b"//api/v2/pools/a//b")


def _tokens() -> Iterator[bytes]:
    return (case["token"].encode() for case in cases("jwt") if 0 < len(case.get("token", "")) < 2000)


def _answers() -> Iterator[bytes]:
    for case in cases("framing"):
        raw = to_bytes(case["raw"], _VALUES)
        if len(raw) < 1000:
            yield raw.partition(b"\r\n")[2].partition(b"\r\n\r\n")[0].replace(b"\r\n", b"\n")


def _bodies() -> Iterator[bytes]:
    yield b'{"actions": [{"action": "update", "entities": [{"dag_id": "a", "dag_run_id": "b"}, "c"]}]}'
    yield b'{"actions": [{"action": "delete", "entities": ["a"]}, {"action": "create", "entities": [{"name": "p"}]}]}'
    yield b'{"dag_ids": ["a"], "page_limit": 1}'


def _jwks() -> Iterator[bytes]:
    return (json.dumps(case["jwk"]).encode() for case in cases("jwk") if case["id"] != "rsa-huge")


def _personal_tokens() -> Iterator[bytes]:
    body = "".join("0" if letter.isalnum() else letter for letter in make_text().value[8:-6])
    text = f"cat_pat_{body}"
    yield (text + checksum(text)).encode()
    yield b"x " + (text + "000000").encode()


def _hashes() -> Iterator[bytes]:
    yield b"$2b$04$abcdefghijklmnopqrstuuPWn8sVGeYcxHHqvGJyVhVtyQqH5Uq1e"
    yield b"scrypt:32768:8:1$salt$00ff"
    yield b"pbkdf2:sha256:1000$salt$00ff"
    yield b"$6$rounds=1000$salt$abc"
    yield b"$argon2id$v=19$m=19456,t=2,p=1$c2FsdHNhbHQ$aGFzaGhhc2g"
    yield b"{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g="


_CASES = load("redirects")["cases"]
TARGETS: dict[str, Target] = {
    "answer-head": Target(_answer, (), _answers),
    "api-key": Target(_api_key, (CompatAuthError,), lambda: _values_of("odd-credential")),
    "authorization": Target(
        _authorization, (CompatAuthError,), lambda: _values_of("odd-credential", "two-credentials")
    ),
    "cookies": Target(_cookies, (), lambda: _values_of("cookie")),
    "forwarded": Target(_forwarded, (), lambda: _values_of("forward")),
    "headers": Target(_headers, (CompatAuthError,), _of_headers),
    "json": Target(parse_object, (ValueError,), lambda: chain(_bodies(), _jwks())),
    "jwk": Target(_jwk, (ValueError, KeyFileError), _jwks),
    "jwt": Target(_jwt, (CompatAuthError,), _tokens),
    "named-objects": Target(_body, (), _bodies),
    "password-hash": Target(lambda data: find_fault(_text(data)), (), _hashes),
    "path": Target(_path, (InvalidPath,), _paths),
    "personal-token": Target(_personal_token, (), _personal_tokens),
    "query": Target(_query, (InvalidPath,), lambda: iter((b"a=b&c=%25", b"q=zo\xc3\xab", b"a b", b"#"))),
    "redirect": Target(_redirect, (), lambda: (case["next"].encode("utf-8", "surrogatepass") for case in _CASES)),
    "scope": Target(
        _scope, (ValueError,), lambda: iter((b"all", b"GET /a/{b}/", b"dags:x\nread\ntrigger", b"GET /a b"))
    ),
    "unverified-claims": Target(lambda data: read_claimed(_text(data)), (), _tokens),
}
"""The targets, by the name of their folder in fuzz/."""
