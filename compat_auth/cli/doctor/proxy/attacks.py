"""Headers and paths that a client may send to pass for somebody else, or to reach a path past the check.

All of it is harmless: GET, no body, a name that nobody has, a certificate that nobody signed. Nothing here desynchronises
a connection (request smuggling): that could disturb other users of the proxy.
"""

from __future__ import annotations

import base64
import datetime as dt
import json
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import quote

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from compat_auth.http.identity_headers import IDENTITY_NAMES

CANARY_HOST = "doctor-probe.invalid"
"""A host that nobody has (RFC 6761 section 6.4)."""
_MORE_NAMES = (
    "remote-username",
    "x-authelia-username",
    "remote-user-email",
    "tailscale-user-login",
    "cf-access-authenticated-user-email",
    "oidc-claim-sub",
)
_EMAILS = ("email", "mail", "login")
_TOKENS = ("jwt", "token", "assertion", "data", "principal")
_CERTIFICATES = ("cert",)
# Servers that fold "_", "." or the case turn these into the name itself (CGI, RFC 3875 section 4.1.18; WSGI).
_SPELLINGS = ("Remote_User", "REMOTE_USER", "Remote.User", "X_Forwarded_User", "X-Forwarded_User", "X_Remote_User")
_PAGES = ("nginx", "traefik", "caddy", "envoy", "haproxy", "apache")


@dataclass(frozen=True, slots=True)
class PathAttack:
    """A request to a protected path that a lax reader takes for another.

    Attributes:
        target: The request target.
        headers: Beside it.
    """

    target: str
    headers: tuple[tuple[str, str], ...] = ()


def identity_headers(name: str, more: Sequence[str] = ()) -> tuple[tuple[str, str], ...]:
    """Return headers in which a proxy says who the caller is, each with a value of its kind.

    Args:
        name: The user that they name.
        more: More names of headers.
    """
    names = dict.fromkeys([*more, *sorted(header.decode("ascii") for header in IDENTITY_NAMES), *_MORE_NAMES])
    values = _Values(name)
    return tuple((_written(header), values.of(header)) for header in names)


def spellings(name: str) -> tuple[tuple[str, str], ...]:
    """Return the same headers in spellings that some servers fold into the name."""
    return tuple((header, name) for header in _SPELLINGS)


def address_headers() -> tuple[dict[str, str], ...]:
    """Return headers that pretend that a request comes from the proxy itself."""
    return (
        {"X-Forwarded-For": "127.0.0.1", "X-Real-IP": "127.0.0.1"},
        {"Forwarded": "for=127.0.0.1;by=127.0.0.1"},
        {"X-Client-IP": "127.0.0.1", "True-Client-IP": "127.0.0.1", "CF-Connecting-IP": "127.0.0.1"},
    )


def host_headers() -> tuple[tuple[str, str], ...]:
    """Return headers that make an answer name another host."""
    return (
        ("X-Forwarded-Host", CANARY_HOST),
        ("Forwarded", f"host={CANARY_HOST}"),
        ("X-Forwarded-Server", CANARY_HOST),
        ("X-Original-Host", CANARY_HOST),
        ("X-Host", CANARY_HOST),
    )


def path_attacks(path: str, root: str, open_path: str, host: str) -> tuple[PathAttack, ...]:
    """Return other spellings of a protected path.

    Args:
        path: The protected path below the root, such as `/api/v2/dags`.
        root: The path of the site, without a slash at its end; may be "".
        open_path: A path below the root that needs no credential, such as `/compat-auth/live`.
        host: Host and port of the site.
    """
    first, _, rest = path.removeprefix("/").partition("/")
    depth = "/.." * open_path.count("/")
    encoded_depth = "/%2e%2e" * open_path.count("/")
    spelled = (
        f"/{path}", f"/.{path}", f"/x/..{path}", f"/{first}/..{path}", f"/{first}/./{rest}", f"/{first}//{rest}",
        f"/%2e{path}", f"/x/%2e%2e{path}", f"/x/..%2f{path[1:]}", f"/x/%2e%2e%2f{path[1:]}", f"/%252e%252e{path}",
        f"/{_first_encoded(first)}/{rest}", f"/%25{_first_encoded(first)[1:]}/{rest}", f"/{first}%2F{rest.replace('/', '%2F')}",
        f"/;{path}", f"/{first};x=1/{rest}", f"/x/..;{path}", f"/\\{path[1:]}", f"/{first}\\{rest}", f"/%5c{path[1:]}",
        f"/{first}%5c{rest}", f"{path}%00", f"{path}%20", f"{path}%09", f"{path}%0a", f"{path}/", f"{path};.css",
        f"{path}/.css", f"{path}%3f.css", f"/{first.upper()}/{rest}", f"/{first}%c0%af{rest}",
        f"{open_path}{depth}{path}", f"{open_path}{encoded_depth}{path}", f"{open_path}/..%2f..%2f..{path}",
    )  # fmt: skip
    around = [
        PathAttack(root + path, headers)
        for value in (root + open_path, "/")
        for headers in (
            (("X-Original-URI", value), ("X-Original-Method", "GET")),
            (("X-Forwarded-Uri", value), ("X-Forwarded-Method", "GET")),
            (("X-Original-URL", value), ("X-Rewrite-URL", value)),
            (("X-Forwarded-Prefix", value),),
        )
    ]
    methods = [PathAttack(root + path, (("X-Forwarded-Method", "OPTIONS"), ("X-Original-Method", "OPTIONS")))]
    hidden = [PathAttack(root + open_path, (("X-Original-URL", root + path), ("X-Rewrite-URL", root + path)))]
    absolute = [PathAttack(f"http://{host}{root}{path}"), PathAttack(f"http://{CANARY_HOST}{root}{path}")]
    return (*(PathAttack(root + one) for one in spelled), *around, *methods, *hidden, *absolute)


def forward_auth_questions(prefix: str, host: str) -> tuple[PathAttack, ...]:
    """Return questions that only a front proxy may ask, each about a page that everybody may see."""
    original = (
        ("X-Original-URI", f"{prefix}live"), ("X-Original-Method", "GET"), ("X-Forwarded-Uri", f"{prefix}live"),
        ("X-Forwarded-Method", "GET"), ("X-Forwarded-Host", host), ("X-Forwarded-Proto", "https"),
    )  # fmt: skip
    return tuple(PathAttack(f"{prefix}forward-auth/{page}", original) for page in _PAGES)


class _Values:
    """The value for each kind of header."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._certificate = _certificate(name)

    def of(self, header: str) -> str:
        if header.endswith(_CERTIFICATES):
            return quote(self._certificate.public_bytes(Encoding.PEM).decode("ascii"), safe="")
        if header.endswith("verify"):
            return "SUCCESS"
        if header.endswith("dn"):
            return f"CN={self._name}"
        if header.endswith(_TOKENS):
            return _unsigned(self._name)
        return f"{self._name}@example.org" if header.endswith(_EMAILS) else self._name


def _certificate(name: str) -> x509.Certificate:
    """Return a certificate that only its own key has signed."""
    key, now = ec.generate_private_key(ec.SECP256R1()), dt.datetime.now(dt.UTC)
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    builder = x509.CertificateBuilder().subject_name(subject).issuer_name(subject).public_key(key.public_key())
    builder = builder.serial_number(x509.random_serial_number()).not_valid_before(now - dt.timedelta(hours=1))
    return builder.not_valid_after(now + dt.timedelta(hours=1)).sign(key, hashes.SHA256())


def _unsigned(name: str) -> str:
    """Return a JWT without a signature (RFC 7519 section 6)."""
    claims = {"sub": name, "email": f"{name}@example.org", "preferred_username": name}
    parts = [
        base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode() for part in ({"alg": "none"}, claims)
    ]
    return ".".join([*parts, ""])


def _written(header: str) -> str:
    return "-".join(word.capitalize() for word in header.split("-"))


def _first_encoded(text: str) -> str:
    return f"%{ord(text[0]):02x}{text[1:]}" if text else ""
