"""A request at the gate: what was taken in, and how Flask backends see it."""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from io import BytesIO
from typing import Any
from urllib.parse import unquote_to_bytes

from flask import Flask

from compat_auth.credentials import Credential, key_of, parse_authorization, parse_in_any_spelling
from compat_auth.errors import CompatAuthError, MalformedCredentials
from compat_auth.facts import GateFacts, RequestFacts
from compat_auth.http.asgi import RawHeaders, Scope
from compat_auth.http.body import HeldBody
from compat_auth.http.forwarded import sure_peer
from compat_auth.http.header_values import cookie_header, one_blank
from compat_auth.http.headers import Intake
from compat_auth.identity import Identity
from compat_auth.outcome import MODULE_ENVIRON, MODULE_PEER, ONLY_ASKED_ABOUT
from compat_auth.peer import PEER, Peer

# What describes a body: it stays with the gate, so a backend must not wait for it.
_BODY_HEADERS = frozenset((b"content-length", b"transfer-encoding"))


@dataclass(slots=True)
class RequestOutcome:
    """The decision about a request, as far as it is known; all copies of the request share it.

    Attributes:
        identity: The caller, once a decision has accepted it.
        is_refused: The answer is a refusal by compat_auth.
    """

    identity: Identity | None = None
    is_refused: bool = False


@dataclass(slots=True)
class GateRequest:
    """A request, taken in strictly.

    Attributes:
        scope: As the server made it.
        intake: Its header section.
        method: Request method, upper case.
        path: Canonical path.
        query: Canonical query, without "?".
        client: Address of the caller, as far as trusted proxies vouch for it.
        scheme: "https" or "http", the same way.
        only_asked_about: Nobody uses the credential: it is introspected or revoked.
        body: The whole body, b"" where there is none; None: there is one, or may be one, and it has not been read.
        held: Reads the body, and replays it to what stands behind; None: it does not come here.
        identity_headers: What a trusted proxy says about the caller; for modules of Airflow 2 alone.
        original: The request that a front proxy asks about.
        peer: The other end of the connection, with what it may say about the caller.
        inspected: The whole body, where a limit hangs on what it names; None: nobody has looked.
        request_id: Its id; b"" where none was made.
        identity: The caller, once a decision has accepted it.
        outcome: The decision about the request.
    """

    scope: Scope = field(repr=False)
    intake: Intake = field(repr=False)
    method: str
    path: bytes
    query: bytes
    client: str
    scheme: str = "http"
    only_asked_about: bool = False
    body: bytes | None = field(default=b"", repr=False)
    held: HeldBody | None = field(default=None, repr=False)
    identity_headers: RawHeaders = field(default_factory=list["tuple[bytes, bytes]"], repr=False)
    inspected: bytes | None = field(default=None, repr=False)
    request_id: bytes = b""
    identity: Identity | None = field(default=None, repr=False)
    original: GateRequest | None = field(default=None, repr=False)
    peer: Peer = field(default=Peer(), repr=False)  # nothing changes in it
    outcome: RequestOutcome = field(default_factory=RequestOutcome, repr=False, compare=False)
    _shown: Shown | None = field(default=None, init=False, repr=False, compare=False)
    _shown_in: tuple[Intake, Peer, bool] | None = field(default=None, init=False, repr=False, compare=False)

    @property
    def shown(self) -> Shown:
        """The Authorization value, parsed once for all who ask.

        Raises:
            MalformedCredentials: It is not ASCII.
        """
        shown = self._shown
        # Other headers mean another intake, so the parsed value cannot go stale.
        seen = self._shown_in
        if (
            shown is None
            or seen is None
            or seen[0] is not self.intake
            or seen[1] is not self.peer
            or seen[2] != self.only_asked_about
        ):
            authorization = self.intake.authorization
            try:
                value = None if authorization is None else authorization.decode("ascii")
                shown = Shown(value, acts_for=self.intake.acts_for, beside=self._beside())
            except UnicodeDecodeError:
                raise MalformedCredentials("Authorization: a byte outside ASCII; encode the credential") from None
            self._shown, self._shown_in = shown, (self.intake, self.peer, self.only_asked_about)
        return shown

    def _beside(self) -> bytes:
        """Return a key for the rest that an answer may depend on: the other end of the connection, and whether a credential is used."""
        evidence = self.peer.evidence
        return b"asked" + evidence if self.only_asked_about else evidence

    @property
    def root(self) -> str:
        """The path in front of our paths in the browser's URL, as of Airflow's `[api] base_url`; no slash at the end."""
        root: str = self.scope.get("root_path", "")
        return root

    def presented(self) -> Presented:
        """Return the parts of the request that authentication uses.

        Raises:
            MalformedCredentials: The Authorization value is not ASCII.
        """
        return Presented(
            shown=self.shown,
            cookies=bool(self.intake.cookies),
            method=self.method,
            path=self.path.decode("ascii"),
            client=self.client,
            environ=self.environ,
            facts=self.facts,
            body_at_hand=lambda: self.body is not None,
            hold_body=None if self.held is None else self._hold_body,
        )

    async def _hold_body(self) -> None:
        if self.held is not None:
            self.body = await self.held.hold()

    def facts(self, app: Flask, with_cookies: bool) -> RequestFacts:
        """Return the facts that backends may use without Flask; they say what `environ` says."""
        told: dict[str, Any] = {PEER: self.peer}
        if self.only_asked_about:
            told[ONLY_ASKED_ABOUT] = True
        return GateFacts(
            app, self.method, self.scheme, self.client, told, self._find_header, lambda: self.environ(with_cookies)
        )

    def _find_header(self, name: str) -> str | None:
        wanted = name.encode("latin-1", "replace")
        values = [value for found, value in self.intake.kept if found == wanted]
        return ",".join(one_blank(value).decode("latin-1") for value in values) if values else None

    def module_environ(self, with_cookies: bool) -> dict[str, Any]:
        """Return the WSGI environment that a module of Airflow 2 sees: with the body and the proxy's word on the caller."""
        environ = self.environ(with_cookies)
        del environ[MODULE_ENVIRON], environ[PEER]
        environ[MODULE_PEER] = sure_peer(self.scope, self.intake.forward)
        if self.body is not None:
            environ["wsgi.input"] = BytesIO(self.body)
            if self.body or any(name in _BODY_HEADERS for name, _ in self.intake.kept):
                environ["CONTENT_LENGTH"] = str(len(self.body))
        for name, values in _by_name(self.identity_headers).items():
            # Of two values one may be the caller's own.
            if len(values) == 1:
                environ[name] = values[0]
        return environ

    def environ(self, with_cookies: bool) -> dict[str, Any]:
        """Return the WSGI environment (PEP 3333) that Flask backends see; the body stays with the gate."""
        # The intake has seen to it that this is a host; one in brackets (RFC 3986 3.2.2) has colons of its own.
        host, _, port = self.intake.host.decode("ascii").rpartition("]")[2].partition(":")
        if b"[" in self.intake.host:
            host = self.intake.host.decode("ascii").partition("]")[0].lstrip("[")
        environ: dict[str, Any] = {
            "REQUEST_METHOD": self.method,
            "SCRIPT_NAME": self.root,
            "PATH_INFO": unquote_to_bytes(self.path).decode("latin-1"),
            "QUERY_STRING": self.query.decode("ascii"),
            "SERVER_NAME": host or "localhost",
            "SERVER_PORT": port or {"https": "443"}.get(self.scheme, "80"),
            "SERVER_PROTOCOL": "HTTP/1.1",
            "REMOTE_ADDR": self.client,
            "wsgi.version": (1, 0),
            "wsgi.url_scheme": self.scheme,
            "wsgi.input": BytesIO(),
            "wsgi.errors": sys.stderr,
            "wsgi.multithread": True,
            "wsgi.multiprocess": True,
            "wsgi.run_once": False,
        }
        if self.intake.host:
            environ["HTTP_HOST"] = self.intake.host.decode("ascii")
        environ[PEER] = self.peer
        environ[MODULE_ENVIRON] = lambda: self.module_environ(with_cookies)
        if self.only_asked_about:
            environ[ONLY_ASKED_ABOUT] = True
        kept = [header for header in self.intake.kept if header[0] not in _BODY_HEADERS]
        environ.update((name, ",".join(values)) for name, values in _by_name(kept).items())
        if self.request_id:
            environ["HTTP_X_REQUEST_ID"] = self.request_id.decode("ascii")
        if self.intake.authorization is not None:
            environ["HTTP_AUTHORIZATION"] = one_blank(self.intake.authorization).decode("latin-1")
        if with_cookies and (cookies := cookie_header(self.intake.cookies)):
            environ["HTTP_COOKIE"] = cookies
        if "HTTP_CONTENT_TYPE" in environ:
            # PEP 3333 has a name of its own for it.
            environ["CONTENT_TYPE"] = environ.pop("HTTP_CONTENT_TYPE")
        return environ


def _by_name(headers: RawHeaders) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for name, value in headers:
        if b"_" in name:
            # In an environment it has the name of the header with "-", which a proxy may have set or taken away. Airflow
            # 2's server leaves it out, too.
            continue
        found.setdefault("HTTP_" + name.decode("ascii").upper().replace("-", "_"), []).append(
            one_blank(value).decode("latin-1")
        )
    return found


class Shown:
    """The one Authorization value of a request, parsed at most once.

    Args:
        authorization: The value; None where there is no such header.
        acts_for: See `Intake`.
        beside: What the answer may depend on besides.
    """

    __slots__ = ("_beside", "_parsed", "acts_for", "authorization")

    def __init__(self, authorization: str | None, *, acts_for: str = "", beside: bytes = b"") -> None:
        self.authorization = authorization
        self.acts_for = acts_for
        self._beside = beside
        self._parsed: Credential | CompatAuthError | None = None

    def credential(self) -> Credential:
        """Return the credential.

        Raises:
            MalformedCredentials, AmbiguousCredentials: See `parse_authorization`.
        """
        parsed = self._parsed
        if parsed is None:
            try:
                parsed = parse_authorization(self.authorization)
            except CompatAuthError as error:
                parsed = error
            self._parsed = parsed
        if isinstance(parsed, CompatAuthError):
            raise parsed
        return parsed

    def allow_any_spelling(self) -> None:
        """Let a module of Airflow 2 read a value that does not follow the grammar of its scheme."""
        if isinstance(self._parsed, MalformedCredentials):
            try:
                self._parsed = parse_in_any_spelling(self.authorization)
            except CompatAuthError as error:
                self._parsed = error

    def key(self) -> bytes:
        """Return a key that is the same for every spelling of the credential, one user, and what is beside it.

        See `credential_key`.

        Raises:
            MalformedCredentials, AmbiguousCredentials: See `parse_authorization`.
        """
        key = key_of(self.credential(), self.authorization or "")
        if self._beside:
            key = b"\1%d\0%s%s" % (len(self._beside), self._beside, key)
        # Every key of a credential begins with a letter.
        return b"\0%s\0%s" % (self.acts_for.encode(), key) if self.acts_for else key


@dataclass(frozen=True, slots=True)
class Presented:
    """The parts of a request that authentication uses.

    Attributes:
        shown: The Authorization value.
        cookies: Whether the request carries cookies that a backend could read.
        method: Request method.
        path: Canonical path, ASCII.
        client: Address of the caller.
        environ: Makes the WSGI environment for the backends; the argument says whether with cookies.
        facts: Makes the facts for backends that need no Flask request; the arguments are their app, and whether with
            cookies. None: every backend gets Flask's request.
        body_at_hand: The environment has the whole body, or there is none.
        hold_body: Reads the body, so that the environment has it from then on; None: it does not come here.
    """

    shown: Shown = field(repr=False)
    cookies: bool
    method: str
    path: str
    client: str
    environ: Callable[[bool], dict[str, Any]] = field(repr=False)
    facts: Callable[[Flask, bool], RequestFacts] | None = field(default=None, repr=False)
    body_at_hand: Callable[[], bool] = field(default=lambda: True, repr=False)
    hold_body: Callable[[], Awaitable[None]] | None = field(default=None, repr=False)
