"""Airflow 2's behaviour, from the corpus `legacy`: which request gets which answer, by column, in which mode.

A column is a list of backends as Airflow 2 had it. `strict` is ours, `airflow2` is what Airflow 2.11 answers with
AUTH_ROLE_PUBLIC unset (its 401s are 403s with the stock public role), and what we answer in that mode, except where
`hole` says what Airflow 2.11 does instead and we do not copy.

A header may hold `{session}`, the cookie of a signed-in admin, or `{alice}`, a fresh token of that principal for the
service: the test fills it in.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from corpora.cases import load

_CORPUS = load("legacy")
COLUMNS: dict[str, list[str]] = _CORPUS["columns"]
WITHOUT_TICKETS = ("basic", "session(core first),basic")
WITH_TICKETS = ("kerberos", "kerberos,basic")
CHALLENGE = 'Basic realm="Airflow", charset="UTF-8"'
USERS = tuple((user["name"], user["password"], user["email"], user["active"]) for user in _CORPUS["users"])
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
        airflow2: Status and challenges of Airflow 2.11 by column, with AUTH_ROLE_PUBLIC unset.
    """

    name: str
    headers: tuple[tuple[str, str], ...]
    answer: str
    takes: str = "basic_auth"
    hole: tuple[tuple[str, int], ...] = ()
    airflow2: Mapping[str, tuple[int, list[str]]] = field(default_factory=dict[str, tuple[int, list[str]]])

    def answer_in(self, column: str) -> str:
        """Return the answer in a column."""
        foreign = self.takes and self.takes not in COLUMNS[column]
        return REFUSED if foreign else self.answer

    @property
    def needs_ticket(self) -> bool:
        """Whether a header holds a token that only a KDC can help to make."""
        return any("{" in value for name, value in self.headers if name == "Authorization")


def _case(row: Mapping[str, Any]) -> Case:
    answers = {
        column: (int(answer["status"]), list(answer["challenges"])) for column, answer in row["airflow2"].items()
    }
    hole = tuple((column, answers[column][0]) for column in row["hole"])
    headers = tuple((str(name), str(value)) for name, value in row["headers"])
    return Case(row["id"], headers, row["ours"], row["takes"], hole, answers)


_rows = {row["id"]: _case(row) for row in _CORPUS["cases"]}
SESSION_ALONE = _rows.pop("session-alone")
"""Airflow 2.11: 200 in every column (it appends `session`). Ours: the gate leaves it to the upstream; the extension
knows it where `session` is in the list."""
CASES = tuple(_rows.values())


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
