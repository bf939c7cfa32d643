"""The credentials of a soak: of every kind, good and bad, each with its owner."""

from __future__ import annotations

import json
import re
import secrets
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import jwt

from soak.place import FILE_USERS, KIM, LENA, Place
from support.peers.airflows import JWT_SECRET
from support.peers.kerberos_client import Tickets, negotiate
from support.peers.openid_provider import resource
from support.peers.slapd import USERS as LDAP_USERS
from support.stand_ins import basic

AUDIENCE: Final = "apache-airflow"
LET_IN: Final = frozenset((200,))
REFUSED: Final = frozenset((401,))
FORBIDDEN: Final = frozenset((403,))
TOKENS_PAGE: Final = "/compat-auth/api/personal-tokens"
OPAQUE: Final = "opaque token"
_JWT: Final = r"eyJ[A-Za-z0-9_-]{10,}\.eyJ[A-Za-z0-9_-]{10,}\."


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of credential.

    Attributes:
        name: For the report.
        user: Whom the upstream must see.
        weight: How often it is used, against the others.
        present: Makes the headers.
        method: Of the requests.
        expected: Statuses that are right.
    """

    name: str
    user: str
    weight: int
    present: Callable[[], Mapping[str, str]]
    method: str = "GET"
    expected: frozenset[int] = LET_IN


@dataclass(slots=True)
class Credentials:
    """The credentials in use; what expires or is forgotten is renewed.

    Attributes:
        kinds: Of all of them.
    """

    place: Place
    kinds: tuple[Kind, ...] = field(init=False)
    _tickets: Tickets = field(init=False)
    _texts: dict[str, str] = field(default_factory=dict[str, str])

    def __post_init__(self) -> None:
        self._texts["full"] = self._personal_token("una", {"name": "soak"})
        self._texts["scoped"] = self._personal_token("tom", {"name": "soak", "scopes": ["read"]})
        self._texts["session"] = self._log_in("lena", LENA)
        self.renew()
        self.kinds = self._make_kinds()

    def renew(self) -> None:
        """Get new tickets and tokens; takes a second, and needs the KDC and the provider."""
        tickets = Tickets(self.place.kdc)
        for user in ("jürgen", "alice"):
            tickets.token(user)
        self._tickets = tickets
        self._texts["signed"] = self.place.provider.access_token("alice", resource=resource("jwt"))
        self.renew_opaque()
        self._texts["issued"] = self._issued("una")
        self._texts["upstream"] = upstream_token("robot")

    def renew_opaque(self) -> None:
        """Get a token that the provider knows: it keeps them in memory."""
        self._texts[OPAQUE] = self.place.provider.access_token("alice", resource=resource("opaque"))

    def has_secret(self, line: str) -> bool:
        """Tell whether a line of a log has a password or a token in it."""
        return re.search(_JWT, line) is not None or any(secret in line for secret in self._secrets())

    def _secrets(self) -> list[str]:
        passwords = [*FILE_USERS.values(), LDAP_USERS["bob"], KIM, LENA]
        pairs = [basic(name, word)[6:] for name, word in FILE_USERS.items()]
        # A short word is in ordinary text, too.
        return [one for one in (*passwords, *pairs, *self._texts.values()) if len(one) > 8]

    def _make_kinds(self) -> tuple[Kind, ...]:
        def password(name: str, word: str) -> Callable[[], Mapping[str, str]]:
            return lambda: {"Authorization": basic(name, word)}

        def bearer(which: str) -> Callable[[], Mapping[str, str]]:
            return lambda: {"Authorization": f"Bearer {self._texts[which]}"}

        def ticket(user: str) -> Callable[[], Mapping[str, str]]:
            return lambda: negotiate(self._tickets.token(user))

        tom, una = FILE_USERS["tom"], FILE_USERS["una"]
        return (
            Kind("htpasswd", "tom", 20, password("tom", tom)),
            Kind("htpasswd, POST", "una", 10, password("una", una), "POST"),
            Kind("Airflow's database", "lena", 8, password("lena", LENA)),
            Kind("LDAP", "bob", 8, password("bob", LDAP_USERS["bob"])),
            Kind("Kerberos password", "kim", 4, password("kim", KIM)),
            Kind("ticket", "jürgen", 5, ticket("jürgen")),
            Kind("another ticket", "alice", 5, ticket("alice")),
            Kind("signed token", "alice", 10, bearer("signed")),
            Kind(OPAQUE, "alice", 6, bearer(OPAQUE)),
            Kind("personal token", "una", 12, bearer("full")),
            Kind("personal token as a password", "una", 4, lambda: {"Authorization": basic("una", self._texts["full"])}),
            Kind("personal token in X-API-Key", "una", 4, lambda: {"X-API-Key": self._texts["full"]}),
            Kind("scoped token", "tom", 8, bearer("scoped")),
            Kind("scoped token, POST", "tom", 4, bearer("scoped"), "POST", FORBIDDEN),
            Kind("session", "lena", 8, lambda: {"Cookie": self._texts["session"]}),
            Kind("the upstream's JWT", "robot", 20, bearer("upstream")),
            Kind("JWT of the token endpoint", "una", 8, bearer("issued"), "POST"),
            Kind("wrong password", "", 1, password("tom", "not tom's pässwörd"), expected=REFUSED),
            Kind("right password, other user", "", 1, password("una", tom), expected=REFUSED),
            Kind("forged personal token", "", 1, self._forged, expected=REFUSED),
            Kind("forged JWT", "", 1, lambda: {"Authorization": f"Bearer {upstream_token('tom', 'x' * 64)}"},
                 expected=REFUSED | FORBIDDEN),
            Kind("expired JWT", "", 1, lambda: {"Authorization": f"Bearer {upstream_token('tom', ttl_s=-60)}"},
                 expected=REFUSED | FORBIDDEN),
            Kind("nothing", "", 1, dict, expected=REFUSED),
        )  # fmt: skip

    def _forged(self) -> Mapping[str, str]:
        real = self._texts["full"]
        return {"Authorization": f"Bearer {real[:-20]}{secrets.token_urlsafe(30)[:20]}"}

    def _personal_token(self, user: str, wish: Mapping[str, object]) -> str:
        return str(self._post(TOKENS_PAGE, user, json.dumps(wish).encode(), "application/json")["token"])

    def _issued(self, user: str) -> str:
        wish = {"username": user, "password": FILE_USERS[user]}
        return str(self._post("/auth/token", user, json.dumps(wish).encode(), "application/json")["access_token"])

    def _post(self, path: str, user: str, body: bytes, content_type: str) -> Mapping[str, Any]:
        headers = {"Content-Type": content_type}
        if path == TOKENS_PAGE:
            headers["Authorization"] = basic(user, FILE_USERS[user])
        url = f"http://127.0.0.1:{self.place.replicas[2].port}{path}"
        with urllib.request.urlopen(urllib.request.Request(url, body, headers), timeout=30) as answer:
            content: dict[str, Any] = json.loads(answer.read())
            return content

    def _log_in(self, user: str, password: str) -> str:
        return log_in(self.place.replicas[2].port, user, password)


class _Stay(urllib.request.HTTPRedirectHandler):
    """Follows no redirect."""

    def redirect_request(self, req: object, fp: object, code: int, msg: str, headers: object, newurl: str) -> None:
        """Return nothing, so that the redirect itself is the answer."""


def log_in(port: int, user: str, password: str, address: str = "10.0.0.1") -> str:
    """Return the cookie of a new session, from the login page of a replica."""
    opener = urllib.request.build_opener(_Stay, urllib.request.ProxyHandler({}))
    url = f"http://127.0.0.1:{port}/compat-auth/login"
    sender = {"X-Forwarded-For": address, "X-Forwarded-Proto": "http"}
    with opener.open(urllib.request.Request(url, headers=sender), timeout=30) as page:
        (token,) = re.findall(r'name="token" value="([^"]*)"', page.read().decode())
        before = "; ".join(one.partition(";")[0] for one in page.headers.get_all("Set-Cookie") or [])
    form = urllib.parse.urlencode({"token": token, "username": user, "password": password, "next": "/home"}).encode()
    try:
        opener.open(urllib.request.Request(url, form, {**sender, "Cookie": before}), timeout=30).close()
    except urllib.error.HTTPError as answer:
        with answer:
            cookies = answer.headers.get_all("Set-Cookie") or []
            found = [one.partition(";")[0] for one in cookies if one.startswith("compat_auth_session=")]
            if answer.code == 303 and found:
                return found[0]
            raise OSError(f"login: {answer.code}") from None
    raise OSError("login: no redirect")


def upstream_token(user: str, secret: str = JWT_SECRET, *, ttl_s: int = 1800) -> str:
    """Return a JWT as the upstream issues it."""
    now = int(time.time())
    claims = {"sub": user, "aud": AUDIENCE, "iat": now - 90, "exp": now + ttl_s, "jti": secrets.token_hex(16)}
    return jwt.encode(claims, secret, "HS512", headers={"kid": "not-used"})
