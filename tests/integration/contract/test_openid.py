"""Google's ID tokens and access tokens of an issuer: the contract of every backend."""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager

import pytest

from compat_auth.authn.users.lookup import UserLookup
from compat_auth.backend import Backend
from compat_auth.config import parse_settings
from compat_auth.directory import DirectoryUser
from compat_auth.net.cached_document import PAUSE_AFTER_ERROR_S
from compat_auth.net.https_client import Endpoint
from compat_auth.testing import BackendContract, Headers
from compat_auth.tokens.keys.jwks_cache import JwksCache
from compat_auth_backends.google_openid import GoogleOpenIdBackend
from compat_auth_backends.oidc import OidcBackend
from compat_auth_backends.openid.issuer import Issuer
from support.stub_issuer import AUDIENCE, OTHER_RSA_KEY, Answer, StubIssuer, running_issuer, sign

EMAIL = "alice@example.org"


class Users:
    """Airflow's users."""

    name = "airflow_db"
    answers_without_flask = True

    def find(self, username: str) -> DirectoryUser | None:
        alice = DirectoryUser("alice", upstream_id="1")
        gone = DirectoryUser("gone", active=False, upstream_id="2")
        return {"alice": alice, EMAIL: alice, "gone": gone, "gone@example.org": gone}.get(username)


LOOKUP = UserLookup((Users(),), needs_key=True)


@pytest.fixture(scope="class")
def issuer(request: pytest.FixtureRequest) -> Iterator[StubIssuer]:
    with running_issuer() as stub:
        assert request.cls is not None
        request.cls.issuer = stub
        yield stub


def bearer(token: str) -> Headers:
    return {"Authorization": f"Bearer {token}"}


class SignedTokens(BackendContract, has_source=True):
    """What the two have in common."""

    issuer: StubIssuer

    @contextmanager
    def break_source(self) -> Generator[None]:
        good = self.issuer.says["/jwks"]
        self.issuer.says["/jwks"] = Answer(status=500)
        try:
            yield
        finally:
            self.issuer.says["/jwks"] = good
            time.sleep(PAUSE_AFTER_ERROR_S)


class TestSignedAccessTokens(SignedTokens, has_source=True):
    """The backend oidc with JWTs."""

    @pytest.fixture
    def backend(self, issuer: StubIssuer) -> Backend:
        settings = parse_settings({"oidc": {"issuers": [{"issuer": issuer.url, "audience": AUDIENCE}]}}, origin="test")
        return OidcBackend((Issuer(settings.oidc.issuers[0], "test"),), LOOKUP)

    def good(self) -> Headers:
        return bearer(self.issuer.token())

    def bad(self) -> Mapping[str, Headers]:
        return {
            "wrong-key": bearer(sign(self.issuer.claims(), key=OTHER_RSA_KEY)),
            "unknown-key": bearer(sign(self.issuer.claims(), kid="unknown")),
            "another-audience": bearer(self.issuer.token(aud="other")),
            "unknown-user": bearer(self.issuer.token(sub="nobody")),
            "disabled-user": bearer(self.issuer.token(sub="gone")),
        }


class TestOpaqueAccessTokens(BackendContract, has_source=True):
    """The backend oidc with tokens that only the issuer can read."""

    issuer: StubIssuer

    @pytest.fixture
    def backend(self, issuer: StubIssuer) -> Backend:
        users = {"opaque-of-alice": "alice", "opaque-of-nobody": "nobody", "opaque-of-gone": "gone"}

        def introspect(form: Mapping[str, str]) -> Answer:
            sub = users.get(form["token"])
            return Answer({"active": True, "sub": sub, "aud": AUDIENCE} if sub else {"active": False})

        issuer.says["/introspect"] = introspect
        table = {
            "issuer": issuer.url,
            "audience": AUDIENCE,
            "introspection": True,
            "client_id": "gateway",
            "client_secret": "secret",
        }
        settings = parse_settings({"oidc": {"issuers": [table]}}, origin="test")
        return OidcBackend((Issuer(settings.oidc.issuers[0], "test"),), LOOKUP)

    def good(self) -> Headers:
        return bearer("opaque-of-alice")

    def bad(self) -> Mapping[str, Headers]:
        return {
            "guessed": bearer("opaque-of-somebody"),
            "unknown-user": bearer("opaque-of-nobody"),
            "disabled-user": bearer("opaque-of-gone"),
        }

    @contextmanager
    def break_source(self) -> Generator[None]:
        good = self.issuer.says["/introspect"]
        self.issuer.says["/introspect"] = Answer(status=503)
        try:
            yield
        finally:
            self.issuer.says["/introspect"] = good


class TestGoogle(SignedTokens, has_source=True):
    """The backend google_openid."""

    @pytest.fixture
    def backend(self, issuer: StubIssuer) -> Backend:
        settings = parse_settings(
            {"google_openid": {"audience": "web", "hosted_domains": "example.org"}}, origin="test"
        )
        jwks = JwksCache(lambda: Endpoint.parse(f"{issuer.url}/jwks", where="test"), algorithms=("RS256",))
        return GoogleOpenIdBackend(settings.google_openid, jwks, LOOKUP)

    def good(self) -> Headers:
        return bearer(self._token())

    def bad(self) -> Mapping[str, Headers]:
        return {
            "another-audience": bearer(self._token(aud="other")),
            "not-verified": bearer(self._token(email_verified=False)),
            "another-domain": bearer(self._token(hd="other.org")),
            "unknown-user": bearer(self._token(email="nobody@example.org")),
            "disabled-user": bearer(self._token(email="gone@example.org")),
        }

    def _token(self, **changed: object) -> str:
        google: dict[str, object] = {
            "iss": "https://accounts.google.com",
            "aud": "web",
            "sub": "1001",
            "email": EMAIL,
            "email_verified": True,
            "hd": "example.org",
        }
        return sign(self.issuer.claims(**{**google, **changed}), typ="JWT")
