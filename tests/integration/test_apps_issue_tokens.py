"""JWTs of apps of every framework, served on loopback, and an API that verifies them as PyJWT's manual says."""

from __future__ import annotations

import time
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import jwt
import pytest
import requests

from compat_auth.tokens.jose.jwk import OUR_ALGORITHMS, KeyAlgorithm
from compat_auth.tokens.keys.keys import create_keys, retire_key, rotate_keys
from support.issuing_sites import ALICE, EVERY_KIND, HS512, issuing_site
from support.serving import served_by_asgi, served_by_wsgi


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("no_proxy", "127.0.0.1")


@contextmanager
def issuing(kind: str, folder: Path, token: Mapping[str, Any]) -> Generator[str]:
    site = issuing_site(kind, folder, token, auth_backends=["session", "basic_auth"], token_endpoint={"ttl_s": 120})
    with served_by_wsgi(site.app) if kind == "flask" else served_by_asgi(site.app) as url:
        yield url


def tokens_from(url: str) -> dict[str, str]:
    """Return a JWT by each of the ways to one."""
    login = {"username": "alice", "password": "wonder"}
    answers = {
        "view": requests.get(f"{url}/mint", headers=ALICE, timeout=10),
        "login": requests.post(f"{url}/auth/token", json=login, timeout=10),
        "credential": requests.post(f"{url}/auth/token", headers=ALICE, timeout=10),
        "get": requests.get(f"{url}/auth/token", headers=ALICE, timeout=10),
    }
    assert {way: answer.status_code for way, answer in answers.items()} == {
        way: 200 if way == "view" else 201 for way in answers
    }
    return {way: answer.json().get("token") or answer.json()["access_token"] for way, answer in answers.items()}


def verified(url: str, token: str, audience: str = "my-api") -> dict[str, Any]:
    """Return the claims, as an API of the site's own reads them."""
    key = jwt.PyJWKClient(f"{url}/.well-known/jwks.json", cache_keys=False).get_signing_key_from_jwt(token)
    found: dict[str, Any] = jwt.decode(
        token,
        key,
        algorithms=list(OUR_ALGORITHMS),
        audience=audience,
        issuer="https://site.example",
        options={"require": ["exp", "iat", "sub", "aud", "iss", "jti"]},
    )
    return found


def key_pair(folder: Path, algorithm: str) -> dict[str, Any]:
    create_keys(folder / "keys.json", algorithm=cast("KeyAlgorithm", algorithm), now=int(time.time()) - 7200)
    keys = str(folder / "keys.json")
    return {"strategy": "key_pair", "key_file": keys, "audience": "my-api", "issuer": "https://site.example"}


@pytest.mark.parametrize("kind", EVERY_KIND)
@pytest.mark.parametrize("algorithm", OUR_ALGORITHMS)
def test_an_api_verifies_every_jwt_by_the_published_keys(kind: str, algorithm: str, tmp_path: Path) -> None:
    with issuing(kind, tmp_path, key_pair(tmp_path, algorithm)) as url:
        tokens = tokens_from(url)
        claims = [verified(url, token) for token in tokens.values()]
        keys = requests.get(f"{url}/.well-known/jwks.json", timeout=10)

    assert {jwt.get_unverified_header(token)["alg"] for token in tokens.values()} == {algorithm}
    assert {each["sub"] for each in claims} == {"alice"}
    assert {each["exp"] - each["iat"] for each in claims} == {120}
    assert len({each["jti"] for each in claims}) == len(tokens)
    assert keys.headers["Content-Type"] == "application/jwk-set+json"
    assert {"d", "p", "q", "dp", "dq", "qi", "k"}.isdisjoint(keys.json()["keys"][0])


@pytest.mark.parametrize("kind", EVERY_KIND)
def test_an_api_that_shares_the_secret_verifies_every_jwt(kind: str, tmp_path: Path) -> None:
    with issuing(kind, tmp_path, HS512) as url:
        tokens = tokens_from(url)

    claims = [jwt.decode(token, "k" * 64, ["HS512"], audience="my-api") for token in tokens.values()]
    assert {each["sub"] for each in claims} == {"alice"}
    with pytest.raises(jwt.InvalidSignatureError):
        jwt.decode(tokens["view"], "x" * 64, ["HS512"], audience="my-api")


def test_an_api_refuses_a_jwt_for_another_audience_and_one_that_was_changed(tmp_path: Path) -> None:
    with issuing("starlette", tmp_path, key_pair(tmp_path, "EdDSA")) as url:
        token = tokens_from(url)["view"]
        head, _, signature = token.split(".")
        other = jwt.encode(
            {"sub": "root", "aud": "my-api"}, "k" * 64, "HS512", {"kid": jwt.get_unverified_header(token)["kid"]}
        )

        with pytest.raises(jwt.InvalidAudienceError):
            verified(url, token, "another-api")
        with pytest.raises(jwt.PyJWTError):
            verified(url, f"{head}.{other.split('.')[1]}.{signature}")
        with pytest.raises(jwt.InvalidAlgorithmError):
            verified(url, other)


@pytest.mark.parametrize("kind", EVERY_KIND)
def test_a_rotated_key_signs_and_the_old_one_still_verifies_until_it_is_retired(kind: str, tmp_path: Path) -> None:
    with issuing(kind, tmp_path, key_pair(tmp_path, "EdDSA")) as url:
        before = tokens_from(url)["view"]
        kids = [jwt.get_unverified_header(before)["kid"]]
        rotate_keys(tmp_path / "keys.json", overlap_s=3600, now=int(time.time()) - 3601)
        time.sleep(1.2)  # a changed file counts after a second
        after = tokens_from(url)["view"]
        kids.append(jwt.get_unverified_header(after)["kid"])
        subjects = [verified(url, token)["sub"] for token in (before, after)]
        retire_key(tmp_path / "keys.json", kids[0], now=int(time.time()))
        time.sleep(1.2)

        with pytest.raises(jwt.PyJWKClientError):
            verified(url, before)
        assert verified(url, after)["sub"] == "alice"

    assert kids[0] != kids[1]
    assert subjects == ["alice", "alice"]
