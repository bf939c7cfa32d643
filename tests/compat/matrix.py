"""Airflow 2's behaviour as data: which request gets which answer, by column, in which mode.

A column is a list of backends as Airflow 2 had it. `strict` is ours, `airflow2` is what Airflow 2.11 answers with
AUTH_ROLE_PUBLIC unset (its 401s are 403s with the stock public role), and what we answer in that mode, except where
`hole` says what Airflow 2.11 does instead and we do not copy.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass

COLUMNS: dict[str, list[str]] = {
    "basic": ["basic_auth"],
    "session(core first),basic": ["session", "basic_auth"],
}
CHALLENGE = 'Basic realm="Airflow", charset="UTF-8"'
# The users: name, password, e-mail, active.
USERS = (
    ("admin", "admin", "admin@example.org", True),
    ("zoë", "pässwörd:x", "zoe@example.org", True),
    ("disabled", "disabled", "disabled@example.org", False),
)
OK = "ok"
UPSTREAM = "upstream"
"""Through the gate the request passes as it is: the upstream judges its own Bearer or cookie."""


@dataclass(frozen=True, slots=True)
class Case:
    """One row.

    Attributes:
        name: For people.
        headers: What the request carries.
        answer: "ok", "refused", or "upstream" (the gate passes it on; the extension refuses it).
        hole: Status of Airflow 2.11, by column, where ours differs on purpose.
    """

    name: str
    headers: tuple[tuple[str, str], ...]
    answer: str
    hole: tuple[tuple[str, int], ...] = ()


def basic(pair: str, scheme: str = "Basic") -> tuple[tuple[str, str], ...]:
    """Return the Authorization header for a user-pass pair."""
    return (("Authorization", f"{scheme} {base64.b64encode(pair.encode()).decode()}"),)


SESSION = (("Cookie", "session={session}"),)
"""The test, or the live Airflow, puts the cookie of a signed-in admin in the place of {session}."""
REFUSED = "refused"

CASES = (
    Case("none", (), REFUSED),
    Case("good", basic("admin:admin"), OK),
    Case("good-not-ascii", basic("zoë:pässwörd:x"), OK),
    Case("e-mail-as-user-name", basic("admin@example.org:admin"), OK),
    Case("upper-case-user-name", basic("ADMIN:admin"), OK),
    Case("lower-case-scheme", basic("admin:admin", "basic"), OK),
    Case("wrong-password", basic("admin:wrong"), REFUSED),
    Case("unknown-user", basic("nobody:admin"), REFUSED),
    Case("disabled-user", basic("disabled:disabled"), REFUSED),
    Case("empty-password", basic("admin:"), REFUSED),
    Case("colon-in-a-wrong-password", basic("admin:pw:x"), REFUSED),
    Case("garbage-base64", (("Authorization", "Basic !!!not-base64"),), REFUSED),
    Case("negotiate", (("Authorization", "Negotiate YIIabc=="),), REFUSED),
    Case("negotiate-well-formed", (("Authorization", "Negotiate YII="),), REFUSED),
    Case("bearer", (("Authorization", "Bearer eyJhbGciOiJub25lIn0.e30.x"),), UPSTREAM),
    Case(
        "session-and-wrong-basic",
        (*SESSION, *basic("admin:wrong")),
        REFUSED,
        hole=(("basic", 200), ("session(core first),basic", 200)),
    ),
)
SESSION_ALONE = Case("session-alone", SESSION, UPSTREAM)
"""Airflow 2.11: 200 in both columns (it appends `session`). Ours: the gate leaves it to the upstream; the extension
knows it where `session` is in the list."""


def expected_refusal(column: str, mode: str, *, public_role: bool) -> tuple[int, str | None]:
    """Return status and WWW-Authenticate of a refused request."""
    if mode == "strict":
        return 401, CHALLENGE
    if public_role:
        return 403, None
    return 401, ("Basic" if column.startswith("session") else None)


PUBLIC_TYPE = "PermissionDenied"
UNAUTHENTICATED_TYPE = "Unauthenticated"
