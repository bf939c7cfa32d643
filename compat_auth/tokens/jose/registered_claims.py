"""Checks of the registered claims of a JWT (RFC 7519 section 4.1). No I/O, no keys."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from compat_auth.crypto.strict_json import is_list
from compat_auth.errors import InvalidToken

CLOCK_SKEW_S = 30
MAX_LIFETIME_S = 86_400
ReadTime = Callable[[Mapping[str, Any], str], float | None]
"""Reads a claim that is a time in seconds since the epoch; returns None where it is missing."""
_TIMES = ("exp", "iat", "nbf")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


def whole_time(claims: Mapping[str, Any], name: str) -> int | None:
    """Return a time in whole seconds, as our own tokens have it; None where the claim is missing.

    Raises:
        InvalidToken: The claim is anything else.
    """
    if name not in claims:
        return None
    value = claims[name]
    # A bool is an int to Python; a float or a string is read differently by others.
    if type(value) is not int or value < 0:
        raise InvalidToken(f"{name}: not a whole number of seconds since the epoch")
    return value


def numeric_date(claims: Mapping[str, Any], name: str) -> float | None:
    """Return a time that may have a fraction (RFC 7519 section 2, NumericDate); None where the claim is missing.

    Raises:
        InvalidToken: The claim is not a number, or is before the epoch.
    """
    if name not in claims:
        return None
    value = claims[name]
    # The JSON parser refuses NaN and Infinity.
    # A bool is an int to Python.
    if isinstance(value, bool) or not isinstance(value, int | float) or value < 0:
        raise InvalidToken(f"{name}: not a number of seconds since the epoch")
    return value


def in_whole_seconds(claims: Mapping[str, Any]) -> dict[str, Any]:
    """Return verified claims with each time as an int, rounded down, so that no token lives longer by it."""
    return {
        name: int(value) if name in _TIMES and isinstance(value, float) else value for name, value in claims.items()
    }


def check_times(
    claims: Mapping[str, Any], now: float, *, leeway_s: int, max_lifetime_s: int, read_time: ReadTime = whole_time
) -> None:
    """Raise unless the token is valid now and its lifetime is within the limit.

    Args:
        claims: The token's claims.
        now: Seconds since the epoch.
        leeway_s: Allowed clock difference, in seconds.
        max_lifetime_s: Longest `exp` - `iat`, or `exp` - now without `iat`, in seconds.
        read_time: How to read `exp`, `iat` and `nbf`.

    Raises:
        InvalidToken: The token is not valid.
    """
    exp = read_time(claims, "exp")
    if exp is None:
        raise InvalidToken("exp: missing")
    iat = read_time(claims, "iat")
    nbf = read_time(claims, "nbf")
    if exp + leeway_s <= now:
        raise InvalidToken("exp: expired")
    if iat is not None and iat > now + leeway_s:
        raise InvalidToken("iat: in the future")
    if nbf is not None and nbf > now + leeway_s:
        raise InvalidToken("nbf: not yet valid")
    if exp - (now if iat is None else iat) > max_lifetime_s:
        raise InvalidToken(f"exp: lives longer than {max_lifetime_s} s")
    if iat is not None and exp <= iat:
        raise InvalidToken("exp: not after iat")


def check_parties(claims: Mapping[str, Any], audience: str | tuple[str, ...], issuer: str | None) -> None:
    """Raise unless `sub` is a plain string and `aud` and `iss` are the expected ones.

    Raises:
        InvalidToken: One of them is not.
    """
    audiences = (audience,) if isinstance(audience, str) else audience
    sub = claims.get("sub")
    if not isinstance(sub, str) or not sub.strip() or _CONTROL.search(sub):
        raise InvalidToken("sub: missing, empty, or not a plain string")
    aud = claims.get("aud")
    named: list[Any] = aud if is_list(aud) else [aud]
    if not all(isinstance(name, str) and name for name in named):
        raise InvalidToken("aud: missing, or not a string or list of strings")
    if not set(named).intersection(audiences):
        raise InvalidToken("aud: not for this audience")
    if issuer is not None and (not issuer or claims.get("iss") != issuer):
        raise InvalidToken("iss: missing or of another issuer")
