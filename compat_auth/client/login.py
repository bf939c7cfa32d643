"""One login or logout: the request that gets or revokes a token, and the meaning of the answer. No I/O."""

from __future__ import annotations

import base64
import email.utils
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

from compat_auth.client.credential import Presented
from compat_auth.client.errors import LoginRefused, LoginUnavailable
from compat_auth.client.origin import Server
from compat_auth.crypto.strict_json import parse_object

MAX_TOKEN_CHARS = 16384
_TOKEN = re.compile(r"[!-~]+")
_NO_SUCH_ENDPOINT = frozenset({404, 405})
_LATER = frozenset({429, 503})


@dataclass(frozen=True, slots=True)
class LoginRequest:
    """A request that no library may redirect, repeat or add credentials to.

    Attributes:
        url: Its URL.
        headers: All headers that it needs.
        body: JSON, or a form; b"" for a GET.
        method: `POST` or `GET`.
    """

    url: str
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)
    method: str = "POST"


@dataclass(frozen=True, slots=True)
class LoginAnswer:
    """The answer to a `LoginRequest`.

    Attributes:
        status: HTTP status.
        headers: Names in lower case.
        body: As received.
    """

    status: int
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)

    @classmethod
    def of(cls, status: int, headers: Mapping[str, str], body: bytes) -> LoginAnswer:
        """Return the answer from a library's headers, whose names may be in any case."""
        return cls(status, {name.lower(): value for name, value in headers.items()}, body)


@dataclass(frozen=True, slots=True)
class Lease:
    """A token and its lifetime.

    Attributes:
        value: The token, as written after `Bearer`.
        lifetime_s: Remaining lifetime in seconds; None where it is not known.
    """

    value: str = field(repr=False)
    lifetime_s: float | None


Send = Callable[[LoginRequest], LoginAnswer]
"""Sends the request once, follows no redirect, and returns the answer.

Raises:
    LoginUnavailable: No answer came.
"""


def make_request(server: Server, presented: Presented) -> LoginRequest:
    """Return the request that exchanges the credential for a token."""
    headers = {"Content-Type": "application/json", "Accept": "application/json", **presented.headers}
    return LoginRequest(server.token_url, headers, presented.body)


def make_revocation(server: Server, token: str) -> LoginRequest:
    """Return the request that revokes a token (RFC 7009); the token itself is the only credential that it needs."""
    headers = {"Content-Type": "application/x-www-form-urlencoded", "Accept": "application/json"}
    return LoginRequest(server.revocation_url, headers, urlencode({"token": token}).encode())


def make_question(server: Server, bearer: str) -> LoginRequest:
    """Return the request that asks the server whether a personal token works."""
    headers = {"Accept": "application/json", "Authorization": f"Bearer {bearer}"}
    return LoginRequest(server.whoami_url, headers, b"", "GET")


def require_known(server: Server, answer: LoginAnswer) -> None:
    """Raise unless the server knows the owner of a personal token.

    Raises:
        LoginRefused: The token does not work there.
        LoginUnavailable: The answer is of another kind.
    """
    where = server.whoami_url
    _require_answer(where, answer)
    if answer.status != 200 or not isinstance(_parse(answer.body).get("username"), str):
        raise LoginUnavailable(f"{where}: answered {answer.status} without a user name")


def require_revoked(server: Server, answer: LoginAnswer) -> None:
    """Raise unless the server has revoked a token.

    Raises:
        LoginUnavailable: It has not.
    """
    where = server.revocation_url
    if answer.status in _NO_SUCH_ENDPOINT:
        raise LoginUnavailable(f"{where}: {answer.status}; the server cannot revoke it; it is valid until it expires")
    if answer.status != 200:
        raise LoginUnavailable(f"{where}: answered {answer.status}")


def read_answer(server: Server, answer: LoginAnswer, *, now: float) -> Lease:
    """Return the token in the answer.

    Args:
        server: The server, for messages.
        answer: The answer, trusted only as far as TLS protects it.
        now: Seconds since the epoch; used where the answer has no date.

    Raises:
        LoginRefused: The server refuses the credential.
        LoginUnavailable: The answer is not a token.
    """
    where = server.token_url
    _require_answer(where, answer)
    if answer.status not in (200, 201):
        raise LoginUnavailable(f"{where}: answered {answer.status} instead of a token")
    content = _parse(answer.body)
    value = content.get("access_token")
    if not isinstance(value, str) or len(value) > MAX_TOKEN_CHARS or not _TOKEN.fullmatch(value):
        raise LoginUnavailable(f"{where}: answered {answer.status} without a usable access_token")
    return Lease(value, _lifetime_s(value, content, _server_time(answer, now)))


def _require_answer(where: str, answer: LoginAnswer) -> None:
    if answer.status in (401, 403):
        known = "wrong, expired or revoked" if answer.status == 401 else "not allowed here"
        raise LoginRefused(f"{where}: the credential was refused ({answer.status}): {known}")
    if 300 <= answer.status < 400:
        raise LoginUnavailable(
            f"{where}: answers with a redirect, which is not followed with a credential; use the other address"
        )
    if answer.status in _NO_SUCH_ENDPOINT:
        raise LoginUnavailable(
            f"{where}: {answer.status}; is this the address of a compat_auth gateway or an Airflow 3?"
        )
    if answer.status in _LATER:
        later = answer.headers.get("retry-after", "")
        raise LoginUnavailable(
            f"{where}: {answer.status}; try again " + (f"in {later} s" if later.isdigit() else "later")
        )


def _lifetime_s(token: str, content: Mapping[str, Any], server_time: float) -> float | None:
    expires_in = content.get("expires_in")  # RFC 6749 5.1
    if isinstance(expires_in, int) and not isinstance(expires_in, bool):
        return max(0.0, float(expires_in))
    # Read, not verified: the server verifies it; here it only says when to get the next one.
    _, _, rest = token.partition(".")
    payload, _, _ = rest.partition(".")
    try:
        expires = _parse(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4))).get("exp")
    except ValueError:
        return None
    if not isinstance(expires, (int, float)) or isinstance(expires, bool):
        return None
    return max(0.0, expires - server_time)


def _server_time(answer: LoginAnswer, now: float) -> float:
    # The server's clock, so that a client whose clock is wrong does not log in again for every request.
    try:
        return email.utils.parsedate_to_datetime(answer.headers.get("date", "")).timestamp()
    except ValueError:
        return now


def _parse(body: bytes) -> dict[str, Any]:
    try:
        return parse_object(body)
    except ValueError:
        return {}
