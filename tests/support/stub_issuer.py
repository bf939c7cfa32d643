"""An issuer in this process that answers as the test says: for attacks and failures that no honest provider offers."""

from __future__ import annotations

import json
import ssl
import threading
import time
from collections import Counter
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from compat_auth.tokens.jose.jwk import PublicKey, public_members
from support.from_now import written

RSA_KEY = rsa.generate_private_key(65537, 2048)
OTHER_RSA_KEY = rsa.generate_private_key(65537, 2048)
EC_KEY = ec.generate_private_key(ec.SECP256R1())
ED_KEY = ed25519.Ed25519PrivateKey.generate()
AUDIENCE = "api"


def jwk(key: PublicKey, name: str, /, **members: Any) -> dict[str, Any]:
    """Return a JWK of a public key; None takes a member away."""
    found = {**public_members(key), "kid": name, "use": "sig", **members}
    return {member: value for member, value in found.items() if value is not None}


@dataclass(frozen=True, slots=True)
class Answer:
    """What the issuer answers; a `pause_s` before each byte of the body."""

    body: bytes | Mapping[str, Any] = b""
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    pause_s: float = 0


Says = Answer | Callable[[Mapping[str, str]], Answer]


class StubIssuer:
    """The issuer.

    Attributes:
        url: Also its name, without a slash at the end.
        says: Answer for each path; a callable gets the posted form.
        asked: How often each path was asked for.
        keys: What it publishes at /jwks.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self.asked: Counter[str] = Counter()
        self.received: list[Mapping[str, str]] = []
        self.keys: list[Any] = [jwk(RSA_KEY.public_key(), "rsa"), jwk(EC_KEY.public_key(), "ec")]
        self.document: dict[str, Any] = {
            "issuer": url,
            "jwks_uri": f"{url}/jwks",
            "introspection_endpoint": f"{url}/introspect",
            "userinfo_endpoint": f"{url}/me",
        }
        self.says: dict[str, Says] = {
            "/jwks": lambda _: Answer({"keys": self.keys}),
            "/.well-known/openid-configuration": lambda _: Answer(self.document),
        }

    def claims(self, **changed: Any) -> dict[str, Any]:
        """Return the claims of a good access token; None takes one away."""
        now = int(time.time())
        good = {"iss": self.url, "aud": AUDIENCE, "sub": "alice", "iat": now, "exp": now + 600, "client_id": "web"}
        return {name: value for name, value in {**good, **changed}.items() if value is not None}

    def token(self, *, header: Mapping[str, Any] | None = None, **changed: Any) -> str:
        """Return an access token, signed with the RSA key; None takes a claim away."""
        return sign(self.claims(**changed), **(header or {}))


def sign(claims: Mapping[str, Any], *, key: Any = RSA_KEY, alg: str = "RS256", **header: Any) -> str:
    """Return the claims as a JWT of the type at+jwt by the key `rsa`; None takes a member of the header away."""
    headers = {name: value for name, value in {"kid": "rsa", "typ": "at+jwt", **header}.items() if value is not None}
    # Of claims of the wrong type PyJWT would make none; an empty `typ` is how it is told to leave it out.
    return jwt.PyJWS().encode(json.dumps(claims, default=written).encode(), key, alg, {"typ": "", **headers})


@contextmanager
def running_issuer(tls: ssl.SSLContext | None = None) -> Generator[StubIssuer]:
    """Run an issuer on loopback until the block ends."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._answer({})

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"])).decode()
            self._answer({**dict(parse_qsl(body)), "authorization": self.headers.get("Authorization", "")})

        def _answer(self, form: Mapping[str, str]) -> None:
            stub.asked[self.path] += 1
            stub.received.append(form or {"authorization": self.headers.get("Authorization", "")})
            says = stub.says.get(self.path, Answer(status=404))
            answer = says if isinstance(says, Answer) else says(form)
            body = answer.body if isinstance(answer.body, bytes) else json.dumps(answer.body).encode()
            # A client that has had enough goes away.
            with suppress(OSError):
                self.send_response(answer.status)
                for name, value in {"Content-Length": str(len(body)), **answer.headers}.items():
                    self.send_header(name, value)
                self.end_headers()
                for part in (body,) if not answer.pause_s else (body[at : at + 1] for at in range(len(body))):
                    time.sleep(answer.pause_s)
                    self.wfile.write(part)
                    self.wfile.flush()

        def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    # A client that does not believe the certificate goes away: no reason for a traceback.
    server.handle_error = lambda request, client_address: None  # type: ignore[method-assign]
    if tls is not None:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    stub = StubIssuer(f"http://127.0.0.1:{server.server_port}")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield stub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
