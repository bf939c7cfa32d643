"""Try a module with no credential, and with credentials that nobody has: it must refuse them.

A module that lets such a request in accepts everybody. On Airflow 2 the request then had the rights of the anonymous
user; here it would have those of the user that the module names.
"""

from __future__ import annotations

import base64
import enum
import secrets
from collections.abc import Callable, Iterator

from flask import Flask

from compat_auth.credentials import Absent, Basic, Bearer, Credential
from compat_auth.outcome import MODULE_PEER

IS_TRIAL = "compat_auth.is_trial"
"""Key in the WSGI environment of a trial."""

# TEST-NET-1 (RFC 5737): nobody's address, and so in no list of addresses that a module lets in.
_ADDRESS = "192.0.2.1"


class Grants(enum.Enum):
    """The answer of a module to a trial."""

    NOTHING = enum.auto()
    NO_NAME = enum.auto()
    A_NAME = enum.auto()


def grants_everybody(app: Flask, attempt: Callable[[Credential], Grants]) -> str:
    """Return the problem of a module that accepts everybody; "" for one that does not.

    Args:
        app: Where the module runs.
        attempt: Runs the module on the current request.
    """
    for credential, headers in _of_nobody():
        base = {"REMOTE_ADDR": _ADDRESS, MODULE_PEER: _ADDRESS, IS_TRIAL: True}
        with app.test_request_context("/api/v2/dags", headers=headers, environ_base=base):
            granted = attempt(credential)
        if granted is not Grants.NOTHING:
            shown = "no credential" if isinstance(credential, Absent) else f"a {credential.scheme} credential of nobody"
            return f"accepts {shown}: it would accept everybody"
    return ""


def _of_nobody() -> Iterator[tuple[Credential, dict[str, str]]]:
    name, junk = f"compat-auth-check-{secrets.token_hex(4)}", secrets.token_urlsafe(24)
    yield Absent(), {}
    pair = base64.b64encode(f"{name}:{junk}".encode()).decode("ascii")
    yield Basic(name, junk), {"Authorization": f"Basic {pair}"}
    yield Bearer(junk), {"Authorization": f"Bearer {junk}"}
