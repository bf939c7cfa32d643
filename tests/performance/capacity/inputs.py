"""What the model starts from: measured costs from `measured.json`, and assumptions, each with its source."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

MEASURED: Final = Path(__file__).with_name("measured.json")
HASH: Final = "P3 in [performance](../performance.md): one check of FAB's scrypt"
DEFAULT: Final = "the default of the setting"
CODE: Final = "the code"
CHOSEN: Final = "chosen"


@dataclass(frozen=True, slots=True)
class Assumption:
    """A number that is not measured here.

    Attributes:
        what: In words.
        value: The number.
        unit: Of the number.
        source: Where it comes from.
    """

    what: str
    value: float
    unit: str
    source: str


ASSUMPTIONS: Final[Mapping[str, Assumption]] = {
    "users": Assumption("users", 10e6, "", "the question"),
    "tokens": Assumption("personal tokens", 100e6, "", "the question"),
    "requests": Assumption("requests at the busiest time", 1e6, "/s", "the question"),
    "busy_share": Assumption("requests of busy credentials, of all", 0.8, "", f"{CHOSEN}: programs ask most"),
    "busy_credentials": Assumption("busy credentials, of those in use", 0.01, "", CHOSEN),
    "active_users": Assumption("users who are active in the busiest hour", 0.2, "of all", CHOSEN),
    "active_tokens": Assumption("personal tokens in use in the busiest hour", 0.05, "of all", CHOSEN),
    "remembered_password": Assumption("a checked password is remembered", 60, "s", f"{DEFAULT} `basic_auth.cache_ttl_s`"),
    "remembered_token": Assumption("a personal token is remembered, with Redis", 60, "s", CODE),
    "remembered_token_alone": Assumption("a personal token is remembered, without Redis", 1, "s", CODE),
    "remembered_session": Assumption("a session is remembered", 0.5, "s", "[the grant cache](cache.md)"),
    "remembered_jwt": Assumption("the upstream's JWT is remembered as nobody's", 60, "s", "[the grant cache](cache.md)"),
    "cache_entries": Assumption("credentials that a worker remembers", 10_000, "", f"{DEFAULT} `serve.cache_entries`"),
    "hash": Assumption("one password hash", 129, "ms", HASH),
    "utilisation": Assumption("a core may be busy", 0.6, "of the time", f"{CHOSEN}: beyond that waits grow fast"),
    "workers": Assumption("workers of a replica", 8, "", CHOSEN),
    "connections": Assumption("database connections of a worker", 2, "", f"{CODE}: kept ones; up to 8 in a rush"),
    "use_rows": Assumption("days of use that are kept for a token", 90, "days", f"{CODE}: `tokens prune`"),
    "flush": Assumption("the use of a token is written each", 10, "s", CODE),
    "revocations": Assumption("revocations, logouts among them", 100, "/s", CHOSEN),
    "postgres_cores": Assumption("cores of the largest PostgreSQL machine", 64, "", CHOSEN),
    "postgres_connections": Assumption("connections that one PostgreSQL serves well", 1000, "", f"{CHOSEN}; PgBouncer beyond it"),
    "machine_cores": Assumption("cores of one machine with SQLite", 64, "", CHOSEN),
}  # fmt: skip


def value(name: str) -> float:
    """Return the number of an assumption."""
    return ASSUMPTIONS[name].value


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of credential in the mix.

    Attributes:
        name: As in `measured.json`.
        share: Of all requests.
        in_use: How many credentials are in use in the busiest hour.
        remembered_s: How long a worker remembers one.
        hashes: Whether a check takes a password hash.
        cold: Name of the measured cost of a check.
        warm: Name of the measured cost of a request with a remembered credential.
    """

    name: str
    share: float
    in_use: float
    remembered_s: float
    hashes: bool
    cold: str
    warm: str


def default_mix(*, has_redis: bool = True) -> tuple[Kind, ...]:
    """Return the mix of the question: the shares are chosen."""
    users = value("users") * value("active_users")
    tokens = value("tokens") * value("active_tokens")
    token_s = value("remembered_token" if has_redis else "remembered_token_alone")
    password_s = value("remembered_password")
    return (
        Kind("passwords", 0.25, users * 0.3, password_s, True, "password", "password"),
        Kind("personal tokens", 0.25, tokens * 0.6, token_s, False, "personal token", "personal token"),
        Kind("scoped personal tokens", 0.15, tokens * 0.4, token_s, False, "scoped personal token", "scoped personal token"),
        Kind("sessions", 0.15, users * 0.4, value("remembered_session"), False, "session", "session"),
        Kind("the upstream's JWTs", 0.2, users * 0.3, value("remembered_jwt"), False, "the upstream's JWT", "the upstream's JWT"),
    )  # fmt: skip


def read_measured(path: Path = MEASURED) -> dict[str, Any]:
    """Return what was measured last."""
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found
