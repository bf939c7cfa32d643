"""Checks a password by a bind, and says what the answer of an LDAP server means."""

from __future__ import annotations

import contextlib
import re
from typing import Any, cast

import ldap
from ldap.controls.ppolicy import PasswordPolicyControl

from compat_auth.errors import BackendUnavailable
from compat_auth_backends.ldap.connection_pool import Lost, Silent

# python-ldap has no type stubs.
_api = cast("Any", ldap)
_Policy = cast("Any", PasswordPolicyControl)
# Another server, or the same a moment later, may well answer.
LOST: tuple[type[Exception], ...] = (
    _api.SERVER_DOWN,
    _api.CONNECT_ERROR,
    _api.TIMEOUT,
    _api.BUSY,
    _api.UNAVAILABLE,
)
# What servers answer to a bind with a wrong password, or by a user who may not log in.
_REFUSED = (
    _api.INVALID_CREDENTIALS,
    _api.NO_SUCH_OBJECT,
    _api.INVALID_DN_SYNTAX,
    _api.INAPPROPRIATE_AUTH,  # the entry has no password
    _api.UNWILLING_TO_PERFORM,
    _api.CONSTRAINT_VIOLATION,  # 389 Directory Server: too many wrong passwords
    _api.INSUFFICIENT_ACCESS,
)
# draft-behera-ldap-password-policy-10 section 6.2.
_POLICY_ERRORS = {0: "password expired", 1: "locked", 2: "password to be changed first"}
# Microsoft's sub-codes of "invalid credentials" (winerror.h); 52e is a wrong password, 525 an unknown user.
_ACTIVE_DIRECTORY = re.compile(r"AcceptSecurityContext error, data ([0-9a-f]+)", re.IGNORECASE)
_ACTIVE_DIRECTORY_REASONS = {
    "530": "not permitted to log in at this time",
    "531": "not permitted to log in from here",
    "532": "password expired",
    "533": "user is disabled",
    "701": "account expired",
    "773": "password to be changed first",
    "775": "locked",
}
# 389 Directory Server's own words.
_WORDS = (
    ("exceed password retry limit", "locked"),
    ("account inactivated", "user is disabled"),
    ("password expired", "password expired"),
)


def try_bind(connection: Any, dn: str, password: str, timeout_s: float) -> bool | str:
    """Return whether the password is right, or why the user may not log in.

    Raises:
        Lost: The connection gives no answer.
        BackendUnavailable: The server answers something else.
    """
    try:
        message = connection.simple_bind(dn, password, serverctrls=[_Policy()])
        _, _, _, controls = connection.result3(message, timeout=timeout_s)
    except LOST as exc:
        raise lost(exc) from exc
    except _REFUSED as exc:
        return reason_in(exc) or False
    except _api.LDAPError as exc:
        raise BackendUnavailable(f"ldap: the password could not be checked ({why(exc)})") from exc
    for control in controls:
        # The password is right, but expired (also in its grace time), locked, or to be changed first.
        if isinstance(control, _Policy) and (control.error is not None or control.graceAuthNsRemaining is not None):
            return "password expired" if control.error is None else _POLICY_ERRORS.get(control.error, "may not log in")
    return True


def reason_in(exc: Exception) -> str:
    """Return why the user of a refused bind may not log in; "" if perhaps only the password is wrong."""
    details = cast("dict[str, Any]", exc.args[0]) if exc.args and isinstance(exc.args[0], dict) else {}
    for oid, _, value in details.get("ctrls") or ():
        if oid == _Policy.controlType and value:
            control = _Policy()
            with contextlib.suppress(Exception):  # pyasn1 has many errors; a control that cannot be read says nothing
                control.decodeControlValue(value)
            if control.error in _POLICY_ERRORS:
                return _POLICY_ERRORS[control.error]
    info = str(details.get("info", ""))
    if found := _ACTIVE_DIRECTORY.search(info):
        return _ACTIVE_DIRECTORY_REASONS.get(found[1].lower(), "")
    return next((reason for words, reason in _WORDS if words in info.lower()), "")


def lost(exc: Exception) -> Lost:
    """Return the error for a connection on which this came instead of an answer."""
    return (Silent if isinstance(exc, _api.TIMEOUT) else Lost)(why(exc))


def why(exc: Exception) -> str:
    """Return the server's words, at most 200 characters."""
    details = cast("object", exc.args[0]) if exc.args else None
    texts = cast("dict[str, object]", details) if isinstance(details, dict) else {}
    info = " ".join(str(texts[key]) for key in ("desc", "info") if texts.get(key))
    return f"{type(exc).__name__}: {info}"[:200]
