"""What a refusal says about bearer tokens: RFC 6750 section 3 and RFC 9728 section 5.1. No I/O, no Flask."""

from __future__ import annotations

import re
from dataclasses import dataclass

from compat_auth.http.challenge_filter import Caller

_PARAMETER = r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+ *= *(?:\"(?:[^\"\\]|\\.)*\"|[!#$%&'*+\-.^_`|~0-9A-Za-z]+)"
# One challenge and no other behind a comma (RFC 9110 11.6.1): a parameter of ours must not end up in the other one.
_ALONE = re.compile(rf"(?i:bearer)(?: +{_PARAMETER}(?: *, *{_PARAMETER})*)? *\Z")
_HAS_ERROR = re.compile(r"[ ,]error *=", re.IGNORECASE)
_INVALID = 'error="invalid_token"'


@dataclass(frozen=True, slots=True)
class Occasion:
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


def invite(challenges: tuple[str, ...], occasion: Occasion) -> tuple[str, ...]:
    """Return the challenges of a 401; those for Bearer say that the token shown was wrong, and where others are given."""
    return tuple(_speak(challenge, occasion) if _ALONE.match(challenge) else challenge for challenge in challenges)


def with_bearer(challenges: tuple[str, ...]) -> tuple[str, ...]:
    """Return the challenges with one for Bearer among them."""
    return challenges if any(map(is_bearer, challenges)) else (*challenges, "Bearer")


def ask_for_scope(needed: str, occasion: Occasion) -> str:
    """Return the challenge of a 403 for want of a scope (RFC 6750 section 3.1).

    Args:
        needed: What would do, as `compat_auth.scopes.needed_scopes` spells it; "" is not told.
        occasion: Of the request.
    """
    challenge = 'Bearer error="insufficient_scope"' + (f', scope="{needed}"' if needed else "")
    return _with(challenge, _pointer(occasion))


def _speak(challenge: str, occasion: Occasion) -> str:
    if occasion.is_bearer and not _HAS_ERROR.search(challenge):
        challenge = _with(challenge, _INVALID)
    return _with(challenge, _pointer(occasion))


def _pointer(occasion: Occasion) -> str:
    return f'resource_metadata="{occasion.metadata_url}"' if occasion.metadata_url else ""


def _with(challenge: str, parameter: str) -> str:
    if not parameter:
        return challenge
    challenge = challenge.rstrip(" ")
    return f"{challenge}{', ' if '=' in challenge else ' '}{parameter}"
