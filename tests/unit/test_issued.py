"""Sessions and personal tokens, as a backend accepts them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import flask
import pytest

from compat_auth.authn.passwords.htpasswd import add_user
from compat_auth.authn.session_registry import LiveSessions, live_sessions_of
from compat_auth.config import Settings, parse_settings
from compat_auth.errors import InvalidSession, NotAuthenticated
from compat_auth.identity import Identity
from compat_auth.issued import (
    ANY_USER,
    PersonalTokenVerifier,
    bound_to_session,
    open_sessions,
    presented_session,
)
from compat_auth.outcome import Accept
from compat_auth.personal_tokens.request import PersonalTokenRequest
from compat_auth.personal_tokens.service import PersonalTokens, personal_tokens_of

DAY_S = 86400


def settings_in(folder: Path, **more: Any) -> Settings:
    content = {"database_url": f"sqlite:///{folder / 'store.db'}", "upstream": {"profile": "generic"}, **more}
    return parse_settings(content, origin="test")


class TestSessions:
    @pytest.fixture(autouse=True)
    def app_with_sessions(self, tmp_path: Path) -> Iterator[None]:
        self.app = flask.Flask("issued")
        open_sessions(self.app, settings_in(tmp_path, session={"secret": "s" * 32}))
        live = live_sessions_of(self.app)
        assert live is not None
        self.live: LiveSessions = live
        self.session = live.start(Identity("alice", "basic_auth"))
        yield
        live._rows._database.close()

    def request(self, *cookies: str) -> Any:
        return self.app.test_request_context(headers={"Cookie": "; ".join(cookies)} if cookies else {})

    @property
    def cookie(self) -> str:
        return self.live.cookie.header(self.session, secure=False).partition(";")[0]

    def test_the_cookie_of_a_live_session_is_found(self) -> None:
        with self.request(self.cookie):
            found = presented_session()

        assert found == self.session

    def test_without_a_cookie_there_is_no_session(self) -> None:
        with self.request("other=1"):
            assert presented_session() is None

    def test_an_app_without_a_secret_has_no_session(self, tmp_path: Path) -> None:
        app = flask.Flask("without")
        open_sessions(app, settings_in(tmp_path))

        with app.test_request_context(headers={"Cookie": self.cookie}):
            assert presented_session() is None

    def test_two_cookies_or_an_ended_session_are_refused(self) -> None:
        cookies = self.cookie
        with self.request(cookies, cookies), pytest.raises(InvalidSession, match="two cookies"):
            presented_session()

        self.live.end(self.session)

        with self.request(cookies), pytest.raises(InvalidSession, match="logged out"):
            presented_session()

    def test_an_accept_ends_with_its_session(self) -> None:
        with self.request(self.cookie):
            bound = bound_to_session(Accept(Identity("alice", "session"), reusable_s=60), self.session)

        assert bound.identity.expires_at == self.live.cookie.ends(self.session)
        assert bound.identity.credential_id.startswith("session:")
        assert self.session.id not in repr(bound)
        assert (bound.headers, bound.reusable_s) == ((), 60)

    def test_a_renewed_cookie_is_sent_once_and_never_reused(self, monkeypatch: pytest.MonkeyPatch) -> None:
        now = self.live.cookie.now
        monkeypatch.setattr(self.live.cookie, "now", lambda: now() + DAY_S)

        with self.request(self.cookie):
            bound = bound_to_session(Accept(Identity("alice", "session"), reusable_s=60), self.session)

        assert [name for name, _ in bound.headers] == ["Set-Cookie", "Cache-Control"]
        assert bound.reusable_s == 0


class TestPersonalTokens:
    @pytest.fixture(autouse=True)
    def app_with_tokens(self, tmp_path: Path) -> Iterator[None]:
        add_user(tmp_path / "users", "alice", "$2b$04$" + "a" * 53)
        directory = {"basic_auth": {"directories": ["htpasswd"]}, "htpasswd": {"file": str(tmp_path / "users")}}
        settings = settings_in(tmp_path, auth_backends=["personal_token"], **directory)
        self.app = flask.Flask("issued")
        self.verifier = PersonalTokenVerifier(settings)
        self.verifier.init_app(self.app)
        service = personal_tokens_of(self.app)
        assert service is not None
        self.service: PersonalTokens = service
        self.text = service.create("alice", PersonalTokenRequest("etl"), by="test").text
        yield
        service.rows.database.close()

    @pytest.mark.parametrize("username", ["alice", ANY_USER])
    def test_a_token_is_accepted_for_its_owner(self, username: str) -> None:
        with self.app.test_request_context():
            accept = self.verifier.verify(self.text, username, backend="mine")

        assert (accept.identity.username, accept.identity.backend) == ("alice", "mine")

    @pytest.mark.parametrize("username", ["bob", "Alice", ""])
    def test_a_token_is_refused_for_another_user(self, username: str) -> None:
        with self.app.test_request_context(), pytest.raises(NotAuthenticated, match="a user who is not"):
            self.verifier.verify(self.text, username, backend="mine")

    def test_a_revoked_token_is_refused_and_cannot_be_revoked_again(self) -> None:
        with self.app.test_request_context():
            revoked = [self.verifier.revoke(text) for text in (self.text, self.text, "no token of ours")]
            with pytest.raises(NotAuthenticated):
                self.verifier.verify(self.text, ANY_USER, backend="mine")

        assert revoked == [True, False, False]
