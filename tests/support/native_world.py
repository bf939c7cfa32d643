"""A gateway's chain with users, sessions and tokens, and the credentials that are good and bad there."""

from __future__ import annotations

import base64
from pathlib import Path
from unittest.mock import patch

from flask import Flask

from compat_auth.authn.chain import Chain, Mode
from compat_auth.authn.passwords.htpasswd import add_user, disable_user
from compat_auth.authn.session_registry import LiveSessions, live_sessions_of
from compat_auth.composition.decider import create_flask_app
from compat_auth.config import Settings, parse_settings
from compat_auth.crypto.personal_token_format import make_text
from compat_auth.http.asgi import RawHeaders
from compat_auth.http.headers import take_in
from compat_auth.http.request import GateRequest, Presented
from compat_auth.identity import Identity
from compat_auth.peer import Peer
from compat_auth.personal_tokens.request import PersonalTokenRequest
from compat_auth.personal_tokens.service import personal_tokens_of
from compat_auth_backends.directories import htpasswd
from support.stand_ins import basic

# Of the password "secret".
SECRET = "$2b$04$.ri0Z/3ow3c.uzBRH7BhdOxxDz1E7pcmKYXv8A7iKz3K4XR7P9Cfq"  # of tests
BACKENDS = ["session", "remote_user", "basic_auth", "personal_token", "google_openid", "oidc", "deny_all"]
HOST = b"gateway.example"
OWN = (b"origin", b"http://gateway.example")
FOREIGN = (b"origin", b"http://elsewhere.example")
SURROUNDINGS: dict[str, RawHeaders] = {
    "program": [],
    "own page": [OWN, (b"sec-fetch-site", b"same-origin")],
    "foreign page": [FOREIGN, (b"sec-fetch-site", b"cross-site")],
    "origin alone": [FOREIGN],
    "handshake": [FOREIGN, (b"upgrade", b"websocket"), (b"connection", b"Upgrade")],
    "two origins": [OWN, FOREIGN],
    "spelt with an underscore": [(b"x-compat-auth-csrf", b"x"), (b"user-agent", b"curl/8")],
}


CREDENTIALS = [
    *("right password", "right password, not ASCII", "wrong password", "unknown user", "disabled user", "token"),
    *(
        "token as a password",
        "token of another",
        "token of a disabled user",
        "unknown token",
        "token in place of the name",
    ),
    *("token of Google", "token of an issuer", "somebody else's token", "ticket", "unknown scheme", "session"),
    *(
        "session of a disabled user",
        "ended session",
        "changed session",
        "two sessions",
        "another cookie",
        "named proxy",
    ),
    *("another proxy", "named proxy beside a session", "nothing", "password beside a session"),
]


class World:
    """A gateway's chain with users, sessions and tokens."""

    def __init__(self, folder: Path, mode: Mode = "strict") -> None:
        # Else a user can log in for half a second after the file said no.
        self._reads_at_once = patch.object(htpasswd, "CHECK_INTERVAL_S", 0)
        self._reads_at_once.start()
        users = folder / "users"
        for name in ("alice", "zoë", "disabled"):
            add_user(users, name, SECRET)
        self.settings: Settings = parse_settings(
            {
                "auth_backends": BACKENDS,
                "mode": mode,
                "database_url": f"sqlite:///{folder / 'store.db'}",
                "upstream": {"profile": "generic"},
                "basic_auth": {"directories": ["htpasswd"]},
                "lookup": {"directories": ["htpasswd"]},
                "htpasswd": {"file": str(users)},
                "session": {"secret": "s" * 32},
                "trusted_proxies": ["10.0.0.0/8"],
                "remote_user": {"proxies": ["10.0.0.5/32"]},
                "google_openid": {"audience": ["ours"], "jwks_url": "http://127.0.0.1:9/jwks"},
                "oidc": {"issuers": [{"issuer": "http://127.0.0.1:9/", "audience": "ours"}]},
            },
            origin="test",
        )
        self.app: Flask = create_flask_app(self.settings)
        tokens = personal_tokens_of(self.app)
        assert tokens is not None
        self.tokens = tokens
        sessions = live_sessions_of(self.app)
        assert sessions is not None
        self.sessions: LiveSessions = sessions
        self.chain: Chain = self.app.extensions["compat_auth"].chain
        self.texts = {
            name: tokens.create(name, PersonalTokenRequest("etl"), by="test").text for name in ("alice", "disabled")
        }
        disable_user(users, "disabled")

    def session_of(self, name: str) -> bytes:
        """Return a Cookie value with a new session."""
        session = self.sessions.start(Identity(name, "basic_auth", directory="htpasswd"))
        return self.sessions.cookie.header(session, secure=False).partition(";")[0].encode()

    def credentials(self) -> dict[str, tuple[RawHeaders, Peer]]:
        """Return headers and the other end of the connection, by the names in `CREDENTIALS`."""
        right, other = self.texts["alice"], self.texts["disabled"]
        said = {
            "right password": basic("alice", "secret"),
            "right password, not ASCII": basic("zoë", "secret"),
            "wrong password": basic("alice", "wrong"),
            "unknown user": basic("nobody", "secret"),
            "disabled user": basic("disabled", "secret"),
            "token": f"Bearer {right}",
            "token as a password": basic("alice", right),
            "token of another": basic("zoë", right),
            "token of a disabled user": f"Bearer {other}",
            "unknown token": f"Bearer {make_text('a' * 12).value}",
            "token in place of the name": basic(right, "x"),
            "token of Google": "Bearer eyJhbGciOiJSUzI1NiIsImtpZCI6IngifQ."
            + _b64('{"iss":"accounts.google.com"}')
            + ".AA",
            "token of an issuer": "Bearer eyJhbGciOiJSUzI1NiIsImtpZCI6IngifQ."
            + _b64('{"iss":"http://127.0.0.1:9/"}')
            + ".AA",
            "somebody else's token": "Bearer e30.e30.e30",
            "ticket": "Negotiate YIIBCgYGKwYBBQUC",
            "unknown scheme": "Digest username=alice",
        }
        peer = Peer("192.0.2.1")
        found: dict[str, tuple[RawHeaders, Peer]] = {
            name: ([(b"authorization", value.encode())], peer) for name, value in said.items()
        }
        session, ended = self.session_of("alice"), self.session_of("zoë")
        self.sessions.revoke_all("zoë")
        for name, cookies in {
            "session": [session],
            "session of a disabled user": [self.session_of("disabled")],
            "ended session": [ended],
            "changed session": [session[:-2]],
            "two sessions": [session, ended],
            "another cookie": [b"theme=dark"],
        }.items():
            found[name] = ([(b"cookie", cookie) for cookie in cookies], peer)
        for name, address in {"named proxy": "10.0.0.5", "another proxy": "10.0.0.9"}.items():
            found[name] = ([], Peer(address, (("x-forwarded-user", "alice"),)))
        found["named proxy beside a session"] = ([(b"cookie", session)], found["named proxy"][1])
        found["nothing"] = ([], peer)
        found["password beside a session"] = ([(b"cookie", session), *found["wrong password"][0]], peer)
        return found

    def close(self) -> None:
        """Close the store."""
        self._reads_at_once.stop()
        self.tokens.rows.database.close()
        self.sessions._rows._database.close()


def presented_by(headers: RawHeaders, peer: Peer, method: str, *, asked: bool = False) -> Presented:
    """Return what a request at a gate presents."""
    intake = take_in([(b"host", HOST), *headers])
    scope = {"type": "http"}
    return GateRequest(
        scope, intake, method, b"/api/x", b"", "192.0.2.7", peer=peer, only_asked_about=asked
    ).presented()


def _b64(text: str) -> str:
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")
