"""Airflow 2's behaviour as data: which request gets which answer, by column, in which mode.

A column is a list of backends as Airflow 2 had it. `strict` is ours, `airflow2` is what Airflow 2.11 answers with
AUTH_ROLE_PUBLIC unset (its 401s are 403s with the stock public role), and what we answer in that mode, except where
`hole` says what Airflow 2.11 does instead and we do not copy.

A header may hold `{session}`, the cookie of a signed-in admin, or `{alice}`, a fresh token of that principal for the
service: the test fills it in.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass

COLUMNS: dict[str, list[str]] = {
    "basic": ["basic_auth"],
    "session(core first),basic": ["session", "basic_auth"],
    "kerberos": ["kerberos"],
    "kerberos,basic": ["kerberos", "basic_auth"],
}
WITHOUT_TICKETS = ("basic", "session(core first),basic")
WITH_TICKETS = ("kerberos", "kerberos,basic")
CHALLENGE = 'Basic realm="Airflow", charset="UTF-8"'
# The users: name, password, e-mail, active.
USERS = (
    ("admin", "admin", "admin@example.org", True),
    ("zoë", "pässwörd:x", "zoe@example.org", True),
    ("disabled", "disabled", "disabled@example.org", False),
    # Airflow 2 knows a principal by its whole name.
    ("alice@LAB.TEST", "no password of hers", "alice@lab.test", True),
    ("disabled@LAB.TEST", "no password of theirs", "disabled@lab.test", False),
)
NAMES = frozenset(("admin", "zoë", "alice@LAB.TEST"))
"""Whom an accepted request of the matrix may name."""
OK = "ok"
REFUSED = "refused"
NO_USER = "no user"
"""The ticket is right, and no active user belongs to it: 403, as Airflow 2 answers to one that it does not know."""
UPSTREAM = "upstream"
"""Through the gate the request passes as it is: the upstream judges its own Bearer or cookie."""


@dataclass(frozen=True, slots=True)
class Case:
    """One row.

    Attributes:
        name: For people.
        headers: What the request carries.
        answer: "ok", "refused", "no user", or "upstream" (the gate passes it on; the extension refuses it), in the
            columns whose backends take the credential; refused in the others.
        takes: The backend that takes the credential; "" where none does.
        hole: Status of Airflow 2.11, by column, where ours differs on purpose.
    """

    name: str
    headers: tuple[tuple[str, str], ...]
    answer: str
    takes: str = "basic_auth"
    hole: tuple[tuple[str, int], ...] = ()

    def answer_in(self, column: str) -> str:
        """Return the answer in a column."""
        foreign = self.takes and self.takes not in COLUMNS[column]
        return REFUSED if foreign else self.answer

    @property
    def needs_ticket(self) -> bool:
        """Whether a header holds a token that only a KDC can help to make."""
        return any("{" in value for name, value in self.headers if name == "Authorization")


def negotiate(token: str, scheme: str = "Negotiate") -> tuple[tuple[str, str], ...]:
    """Return the Authorization header that presents a token, in base64."""
    return (("Authorization", f"{scheme} {token}".strip()),)


def basic(pair: str, scheme: str = "Basic") -> tuple[tuple[str, str], ...]:
    """Return the Authorization header for a user-pass pair."""
    return (("Authorization", f"{scheme} {base64.b64encode(pair.encode()).decode()}"),)


SESSION = (("Cookie", "session={session}"),)
COOKIE_GETS_IN = tuple((column, 200) for column in COLUMNS)
TICKETS_GET_IN = tuple((column, 200) for column in WITH_TICKETS)
# SPNEGO's first message that offers Kerberos and brings no token of it (RFC 4178 section 4.2.1).
SECOND_LEG = base64.b64encode(bytes.fromhex("601b06062b0601050502a011300fa00d300b06092a864886f712010202")).decode()
# NTLM's first message, bare (MS-NLMP section 2.2.1.1).
NTLM = base64.b64encode(bytes.fromhex("4e544c4d5353500001000000978208e2") + bytes(16)).decode()

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
    Case("negotiate-not-base64", negotiate("YIIabc=="), REFUSED, "kerberos"),
    Case("negotiate-bad", negotiate("YII="), REFUSED, "kerberos"),
    # pykerberos raises KrbError for it, and FAB's module catches GSSError alone.
    Case("negotiate-empty", negotiate(""), REFUSED, "kerberos", hole=tuple((column, 500) for column in WITH_TICKETS)),
    Case("negotiate-continue", negotiate(SECOND_LEG), REFUSED, "kerberos"),
    Case("negotiate-odd", negotiate(NTLM), REFUSED, "kerberos"),
    Case("negotiate-good", negotiate("{alice}"), OK, "kerberos"),
    Case("negotiate-lower-case-scheme", negotiate("{alice}", "negotiate"), OK, "kerberos"),
    Case("negotiate-no-user", negotiate("{unknown}"), NO_USER, "kerberos"),
    Case("negotiate-disabled-user", negotiate("{disabled}"), NO_USER, "kerberos", hole=TICKETS_GET_IN),
    Case("ticket-under-another-scheme", negotiate("{alice}", "Foo"), REFUSED, "kerberos", hole=TICKETS_GET_IN),
    Case("bearer", (("Authorization", "Bearer eyJhbGciOiJub25lIn0.e30.x"),), UPSTREAM, ""),
    Case("session-and-wrong-basic", (*SESSION, *basic("admin:wrong")), REFUSED, hole=COOKIE_GETS_IN),
)
SESSION_ALONE = Case("session-alone", SESSION, UPSTREAM, "")
"""Airflow 2.11: 200 in every column (it appends `session`). Ours: the gate leaves it to the upstream; the extension
knows it where `session` is in the list."""


def expected_refusal(column: str, mode: str, answer: str, *, public_role: bool) -> tuple[int, list[str]]:
    """Return status and WWW-Authenticate values of a request that is not let in."""
    if answer == NO_USER or (mode == "airflow2" and public_role):
        return 403, []
    invitations = {"basic_auth": CHALLENGE, "kerberos": "Negotiate"}
    if mode == "strict":
        return 401, [invitations[backend] for backend in COLUMNS[column] if backend in invitations]
    return 401, ["Basic"] if column.startswith("session") else []


PUBLIC_TYPE = "PermissionDenied"
UNAUTHENTICATED_TYPE = "Unauthenticated"
