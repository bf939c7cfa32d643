"""A browser of one host, for the tests of pages: it keeps cookies, and says where it comes from only when told to."""

from __future__ import annotations

import re

import flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from compat_auth.authn.session_registry import LiveSessions, live_sessions_of
from compat_auth.authn.session_sealing import Session

COOKIE = "compat_auth_session"
HOST = "http://gateway"


class Browser:
    """The browser; the host is `gateway`."""

    def __init__(self, app: flask.Flask) -> None:
        self.app = app
        self.client: FlaskClient = app.test_client()

    @property
    def sessions(self) -> LiveSessions:
        """The sessions of the app."""
        found = live_sessions_of(self.app)
        assert found is not None
        return found

    def close(self) -> None:
        """Close the app's store."""
        self.sessions._rows._database.close()

    def open(self, path: str, form: dict[str, str] | None = None, /, host: str = HOST, **headers: str) -> TestResponse:
        """Ask for a path, by POST where there is a form; `Sec_Fetch_Site=…` is a header."""
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        method = "GET" if form is None else "POST"
        return self.client.open(path, base_url=host, method=method, data=form, headers=sent)

    def token(self, path: str = "/compat-auth/login", host: str = HOST) -> str:
        """Return the token of a form."""
        found = re.search(r'name="token" value="([^"]*)"', self.open(path, host=host).text)
        assert found
        return found[1]

    def log_in(self, username: str = "alice", password: str = "wonderländ", **more: str) -> TestResponse:
        """Send the form."""
        form = {"token": self.token(), "username": username, "password": password, **more}
        return self.open("/compat-auth/login", form)

    def session(self) -> Session | None:
        """Return whose session it has, if any."""
        cookie = self.client.get_cookie(COOKIE, "gateway")
        return self.sessions.find(cookie.value, secure=False) if cookie else None
