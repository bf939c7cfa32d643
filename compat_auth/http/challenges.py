"""Challenges (`WWW-Authenticate`): those for Bearer, and which of them a caller may see. No I/O, no Flask.

For Bearer: RFC 6750 section 3 and RFC 9728 section 5.1. A subresource of a browser's page gets no challenge that opens
a password dialog or starts a login by itself.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

_PARAMETER = r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+ *= *(?:\"(?:[^\"\\]|\\.)*\"|[!#$%&'*+\-.^_`|~0-9A-Za-z]+)"
# A single challenge (RFC 9110 11.6.1): behind a second one, our parameter would belong to that one.
_ALONE = re.compile(rf"(?i:bearer)(?: +{_PARAMETER}(?: *, *{_PARAMETER})*)? *\Z")
_HAS_ERROR = re.compile(r"[ ,]error *=", re.IGNORECASE)
_INVALID = 'error="invalid_token"'


@dataclass(frozen=True, slots=True)
class ChallengeContext:
    """The parts of a request that its challenges depend on.

    Attributes:
        is_bearer: The request has `Authorization: Bearer`.
        metadata_url: URL of the API's resource metadata (RFC 9728); "" where it has none.
        caller: Kind of client.
    """

    is_bearer: bool = False
    metadata_url: str = ""
    caller: Caller = "program"


def is_bearer(authorization: str | None) -> bool:
    """Return whether an Authorization value has the scheme Bearer."""
    return authorization is not None and authorization.split(" ", 1)[0].lower() == "bearer"


def www_authenticate(challenges: tuple[str, ...], context: ChallengeContext) -> tuple[str, ...]:
    """Return the challenges of a 401; those for Bearer report a wrong token, and where to get one."""
    return tuple(
        _with_details(challenge, context) if _ALONE.match(challenge) else challenge for challenge in challenges
    )


def with_bearer(challenges: tuple[str, ...]) -> tuple[str, ...]:
    """Return the challenges, with one for Bearer added where there is none."""
    return challenges if any(map(is_bearer, challenges)) else (*challenges, "Bearer")


def ask_for_scope(needed: str, context: ChallengeContext) -> str:
    """Return the challenge of a 403 for a missing scope (RFC 6750 section 3.1).

    Args:
        needed: Sufficient scopes, as `compat_auth.scopes.needed_scopes` writes them; "" to name none.
        context: Context of the request.
    """
    challenge = 'Bearer error="insufficient_scope"' + (f', scope="{needed}"' if needed else "")
    return _with(challenge, _pointer(context))


def _with_details(challenge: str, context: ChallengeContext) -> str:
    if context.is_bearer and not _HAS_ERROR.search(challenge):
        challenge = _with(challenge, _INVALID)
    return _with(challenge, _pointer(context))


def _pointer(context: ChallengeContext) -> str:
    return f'resource_metadata="{context.metadata_url}"' if context.metadata_url else ""


def _with(challenge: str, parameter: str) -> str:
    if not parameter:
        return challenge
    challenge = challenge.rstrip(" ")
    return f"{challenge}{', ' if '=' in challenge else ' '}{parameter}"


Caller = Literal["program", "page", "script"]
"""A program; a browser that opens a page; or a resource that a page in a browser loads, by script or not."""

# W3C Fetch Metadata: page scripts cannot set or remove these headers.
_METADATA = frozenset((b"sec-fetch-mode", b"sec-fetch-site", b"sec-fetch-dest"))
# Browsers send no Fetch Metadata over plain HTTP, except to localhost. PowerShell, WinHTTP and crawlers also begin with
# "Mozilla/", but name no engine.
_ENGINE = re.compile(rb"Mozilla/[45]\.0 \(.*(?:AppleWebKit/|Gecko/|Trident/)", re.DOTALL)
# RFC 7617, 7616, 4559, 7486, 7804, 8120, and Microsoft's. Browsers ignore schemes that they do not know.
_DIALOGS = r"(?:basic|digest|negotiate|ntlm|kerberos|nego2|hoba|mutual|scram-[a-z0-9-]+)"
# At the start, or after the comma with which servers join two challenges (RFC 9110 11.6.1).
_OPENS_DIALOG = re.compile(rf"(?:^|,)[ \t]*{_DIALOGS}(?![^ \t,])", re.IGNORECASE)
# The next step of a handshake that the browser has started (RFC 4559 section 4.1).
_NEXT_LEG = re.compile(r"(?:negotiate|ntlm) +[A-Za-z0-9+/]+=*\Z", re.IGNORECASE)
_BY_TICKET = re.compile(r"negotiate[ \t]*\Z", re.IGNORECASE)
# RFC 9110 15.5.2: a 401 must have a challenge. Browsers ignore this one, and the API does accept tokens.
_WITHOUT_DIALOG = "Bearer"


def caller_of(headers: Iterable[tuple[bytes, bytes]]) -> Caller:
    """Return the kind of client that sent these headers.

    Args:
        headers: Names in lower case. `Accept` alone proves nothing, because programs also accept `text/html`.
    """
    found = {name: value for name, value in headers if name in _ASKED}
    if not _METADATA.isdisjoint(found):
        return "page" if found.get(b"sec-fetch-mode") == b"navigate" else "script"
    if found.get(b"x-requested-with", b"").lower() == b"xmlhttprequest":
        return "script"
    if b"accept-language" in found and _ENGINE.match(found.get(b"user-agent", b"")):
        return "page" if b"text/html" in found.get(b"accept", b"").lower() else "script"
    return "program"


_ASKED = _METADATA | {b"x-requested-with", b"user-agent", b"accept", b"accept-language"}


def challenges_for(caller: Caller, challenges: tuple[str, ...]) -> tuple[str, ...]:
    """Return the challenges of a 401 that this client may see; a 401 with challenges keeps at least one.

    A page that a user opens may get `Negotiate`, to which a browser answers with a ticket if its administrator allows
    that. A subresource of a page gets no challenge that a browser answers.
    """
    if caller == "program" or not challenges:
        return challenges
    shown = tuple(challenge for challenge in challenges if _is_quiet(caller, challenge))
    return shown or (_WITHOUT_DIALOG,)


def _is_quiet(caller: Caller, challenge: str) -> bool:
    if _NEXT_LEG.match(challenge) or (caller == "page" and _BY_TICKET.match(challenge)):
        return True
    return _OPENS_DIALOG.search(challenge) is None
