"""What a refusal says about bearer tokens: RFC 6750 section 3 and RFC 9728 section 5.1. No I/O, no Flask."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

_PARAMETER = r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+ *= *(?:\"(?:[^\"\\]|\\.)*\"|[!#$%&'*+\-.^_`|~0-9A-Za-z]+)"
# One challenge and no other behind a comma (RFC 9110 11.6.1): a parameter of ours must not end up in the other one.
_ALONE = re.compile(rf"(?i:bearer)(?: +{_PARAMETER}(?: *, *{_PARAMETER})*)? *\Z")
_HAS_ERROR = re.compile(r"[ ,]error *=", re.IGNORECASE)
_INVALID = 'error="invalid_token"'


@dataclass(frozen=True, slots=True)
class ChallengeContext:
    """What of a request a refusal of it speaks about.

    Attributes:
        is_bearer: It came with `Authorization: Bearer`.
        metadata_url: Where the API describes who gives tokens for it; "" where that is not told.
        caller: What sent it.
    """

    is_bearer: bool = False
    metadata_url: str = ""
    caller: Caller = "program"


def is_bearer(authorization: str | None) -> bool:
    """Return whether an Authorization value is of the scheme Bearer."""
    return authorization is not None and authorization.split(" ", 1)[0].lower() == "bearer"


def www_authenticate(challenges: tuple[str, ...], occasion: ChallengeContext) -> tuple[str, ...]:
    """Return the challenges of a 401; those for Bearer say that the token shown was wrong, and where others are given."""
    return tuple(_speak(challenge, occasion) if _ALONE.match(challenge) else challenge for challenge in challenges)


def with_bearer(challenges: tuple[str, ...]) -> tuple[str, ...]:
    """Return the challenges with one for Bearer among them."""
    return challenges if any(map(is_bearer, challenges)) else (*challenges, "Bearer")


def ask_for_scope(needed: str, occasion: ChallengeContext) -> str:
    """Return the challenge of a 403 for want of a scope (RFC 6750 section 3.1).

    Args:
        needed: What would do, as `compat_auth.scopes.needed_scopes` spells it; "" is not told.
        occasion: Of the request.
    """
    challenge = 'Bearer error="insufficient_scope"' + (f', scope="{needed}"' if needed else "")
    return _with(challenge, _pointer(occasion))


def _speak(challenge: str, occasion: ChallengeContext) -> str:
    if occasion.is_bearer and not _HAS_ERROR.search(challenge):
        challenge = _with(challenge, _INVALID)
    return _with(challenge, _pointer(occasion))


def _pointer(occasion: ChallengeContext) -> str:
    return f'resource_metadata="{occasion.metadata_url}"' if occasion.metadata_url else ""


def _with(challenge: str, parameter: str) -> str:
    if not parameter:
        return challenge
    challenge = challenge.rstrip(" ")
    return f"{challenge}{', ' if '=' in challenge else ' '}{parameter}"


Caller = Literal["program", "page", "script"]
"""A program; a browser that opens a page; or what a page in a browser loads by itself, by script or not."""

# W3C Fetch Metadata: page scripts cannot set or remove these headers.
_METADATA = frozenset((b"sec-fetch-mode", b"sec-fetch-site", b"sec-fetch-dest"))
# Browsers send no Fetch Metadata over plain HTTP, except to localhost. PowerShell, WinHTTP and crawlers begin with
# "Mozilla/", too, and name no engine.
_ENGINE = re.compile(rb"Mozilla/[45]\.0 \(.*(?:AppleWebKit/|Gecko/|Trident/)", re.DOTALL)
# RFC 7617, 7616, 4559, 7486, 7804, 8120, and Microsoft's. Browsers ignore schemes that they do not know.
_DIALOGS = r"(?:basic|digest|negotiate|ntlm|kerberos|nego2|hoba|mutual|scram-[a-z0-9-]+)"
# At the start, or behind the comma with which servers join two challenges (RFC 9110 11.6.1).
_OPENS_DIALOG = re.compile(rf"(?:^|,)[ \t]*{_DIALOGS}(?![^ \t,])", re.IGNORECASE)
# The next leg of a handshake that the browser has begun (RFC 4559 section 4.1).
_NEXT_LEG = re.compile(r"(?:negotiate|ntlm) +[A-Za-z0-9+/]+=*\Z", re.IGNORECASE)
_BY_TICKET = re.compile(r"negotiate[ \t]*\Z", re.IGNORECASE)
# RFC 9110 15.5.2: a 401 has a challenge. Browsers ignore this one, and tokens are what the API takes.
_WITHOUT_DIALOG = "Bearer"


def caller_of(headers: Iterable[tuple[bytes, bytes]]) -> Caller:
    """Return what sent a request with these headers.

    Args:
        headers: Names in lower case. `Accept` alone proves nothing: programs ask for `text/html`, too.
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
    """Return the challenges of a 401 that this caller may see; a 401 that had any keeps one.

    A page that a user opens may answer `Negotiate`, with which a browser logs in by ticket where its administrator has
    allowed that. What a page loads gets no challenge that a browser answers.
    """
    if caller == "program" or not challenges:
        return challenges
    shown = tuple(challenge for challenge in challenges if _is_quiet(caller, challenge))
    return shown or (_WITHOUT_DIALOG,)


def _is_quiet(caller: Caller, challenge: str) -> bool:
    if _NEXT_LEG.match(challenge) or (caller == "page" and _BY_TICKET.match(challenge)):
        return True
    return _OPENS_DIALOG.search(challenge) is None
