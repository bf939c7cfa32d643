"""One login or logout: the request that asks for a token or takes one back, and what the answer means. No I/O."""

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
_NO_SUCH_DOOR = frozenset({404, 405})
_LATER = frozenset({429, 503})


@dataclass(frozen=True, slots=True)
class LoginRequest:
    """A request that no library may redirect, repeat or add credentials to.

    Attributes:
        url: Where to.
        headers: All that it needs.
        body: JSON, or a form; b"" for a GET.
        method: `POST` or `GET`.
    """

    url: str
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)
    method: str = "POST"


@dataclass(frozen=True, slots=True)
class LoginAnswer:
    """What came back.

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
        """Return the answer that a library has received, whose names may be in any case."""
        return cls(status, {name.lower(): value for name, value in headers.items()}, body)


@dataclass(frozen=True, slots=True)
class Lease:
    """A token and how long it is good for.

    Attributes:
        value: What goes behind `Bearer`.
        lifetime_s: From now on; None where the token does not say.
    """

    value: str = field(repr=False)
    lifetime_s: float | None


Send = Callable[[LoginRequest], LoginAnswer]
"""Sends the request once, follows no redirect, and returns the answer.

Raises:
    LoginUnavailable: No answer came.
"""


def make_request(server: Server, presented: Presented) -> LoginRequest:
    """Return the request that shows the credential to the server."""
    headers = {"Content-Type": "application/json", "Accept": "application/json", **presented.headers}
    return LoginRequest(server.token_url, headers, presented.body)


def make_revocation(server: Server, token: str) -> LoginRequest:
    """Return the request that takes a token back (RFC 7009): who has it may, so it needs nothing beside it."""
    headers = {"Content-Type": "application/x-www-form-urlencoded", "Accept": "application/json"}
    return LoginRequest(server.revocation_url, headers, urlencode({"token": token}).encode())


def make_question(server: Server, bearer: str) -> LoginRequest:
    """Return the request that asks the server whether a personal token works."""
    headers = {"Accept": "application/json", "Authorization": f"Bearer {bearer}"}
    return LoginRequest(server.whoami_url, headers, b"", "GET")


def require_known(server: Server, answer: LoginAnswer) -> None:
    """Return where the server knows the owner of a personal token.

    Raises:
        LoginRefused: The token does not work there.
        LoginUnavailable: Anything else came back.
    """
    where = server.whoami_url
    _require_answer(where, answer)
    if answer.status != 200 or not isinstance(_parse(answer.body).get("username"), str):
        raise LoginUnavailable(f"{where}: answered {answer.status} without a user name")


def require_revoked(server: Server, answer: LoginAnswer) -> None:
    """Return where the server has taken a token back.

    Raises:
        LoginUnavailable: It has not.
    """
    where = server.revocation_url
    if answer.status in _NO_SUCH_DOOR:
        raise LoginUnavailable(f"{where}: {answer.status}; the server takes no token back")
    if answer.status != 200:
        raise LoginUnavailable(f"{where}: answered {answer.status}")


def read_answer(server: Server, answer: LoginAnswer, *, now: float) -> Lease:
    """Return the token in the answer.

    Args:
        server: For the messages.
        answer: Not believed beyond what TLS vouches for.
        now: Seconds since the epoch, used where the server does not say what time it is.

    Raises:
        LoginRefused: The server knows the credential and does not want it.
        LoginUnavailable: Anything else than a token came back.
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
            f"{where}: answers with a redirect, and a credential follows none; name the other address"
        )
    if answer.status in _NO_SUCH_DOOR:
        raise LoginUnavailable(
            f"{where}: {answer.status}; is this the address of a compat_auth gateway or an Airflow 3?"
        )
    if answer.status in _LATER:
        later = answer.headers.get("retry-after", "")
        raise LoginUnavailable(
            f"{where}: {answer.status}; try again " + (f"in {later} s" if later.isdigit() else "later")
        )


def _lifetime_s(token: str, content: Mapping[str, Any], server_time: float) -> float | None:
    told = content.get("expires_in")  # RFC 6749 5.1
    if isinstance(told, int) and not isinstance(told, bool):
        return max(0.0, float(told))
    # Read, not verified: the server judges it, we only want to know when to ask for the next.
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
    # By the server's own clock: a client whose clock is wrong must not log in again for every request.
    try:
        return email.utils.parsedate_to_datetime(answer.headers.get("date", "")).timestamp()
    except ValueError:
        return now


def _parse(body: bytes) -> dict[str, Any]:
    try:
        return parse_object(body)
    except ValueError:
        return {}
