"""Measures what is kept: rows with their indexes in PostgreSQL, and credentials in the memory of a worker."""

from __future__ import annotations

import tracemalloc
from typing import Final

from sqlalchemy import create_engine, text

from compat_auth.authn.revocation_events import RevocationEvents
from compat_auth.gateway.decision import Granted
from compat_auth.gateway.revocable_grants import RevocableGrants
from compat_auth.identity import Identity
from performance.capacity.rig import Rig, Work

ROWS: Final = 100_000
WRITTEN: Final = 5_000
REMEMBERED: Final = 20_000
# Keys at random, as the program makes them: an index of keys in order would be smaller.
_FILL: Final = {
    "personal token": (
        "compat_auth_personal_tokens",
        (
            "INSERT INTO compat_auth_personal_tokens (id, username, directory, upstream_id, name, scopes, digest, pepper_id,"
            " created, created_by, expires, reason, last_used, last_address, last_agent, notice_lease)"
            " SELECT left(md5(n::text), 12), 'user' || n / 10, 'htpasswd', '', 'token-' || n, '[\"read\"]',"
            " sha256(n::text::bytea), '0123456789abcdef', 1700000000, 'user' || n / 10, 1800000000, '', 1790000000,"
            " '10.100.200.30', 'python-requests/2.32.3', 0 FROM generate_series(1, :rows) n"
        ),
    ),
    "day of use of a token": (
        "compat_auth_personal_token_uses",
        (
            "INSERT INTO compat_auth_personal_token_uses (token_id, day, uses)"
            " SELECT left(md5(n::text), 12), 20000, n FROM generate_series(1, :rows) n"
        ),
    ),
    "session": (
        "compat_auth_sessions",
        (
            "INSERT INTO compat_auth_sessions (id_digest, username, directory, backend, created, last_seen)"
            " SELECT sha256(n::text::bytea), 'user' || n, 'htpasswd', 'basic_auth', 1700000000, 1700000000 + n"
            " FROM generate_series(1, :rows) n"
        ),
    ),
    "issued token": (
        "compat_auth_issued_tokens",
        (
            "INSERT INTO compat_auth_issued_tokens (jti, digest, username, subject, credential_id, issued, expires)"
            " SELECT md5(n::text), sha256(n::text::bytea), 'user' || n, 'user' || n, md5(n::text), 1700000000,"
            " 1700000000 + n FROM generate_series(1, :rows) n"
        ),
    ),
    "revoked token": (
        "compat_auth_denials",
        (
            "INSERT INTO compat_auth_denials (kind, key, not_before, expires, version)"
            " SELECT 'jti', md5(n::text), 0, 1700000000 + n, n FROM generate_series(1, :rows) n"
        ),
    ),
}  # fmt: skip


def measure_rows(rig: Rig) -> dict[str, float]:
    """Return the bytes of a row with its share of the indexes, by what it is."""
    found: dict[str, float] = {}
    engine = create_engine(rig.database, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        for what, (table, fill) in _FILL.items():
            size = text(f"SELECT pg_total_relation_size('{table}')")
            before = int(connection.execute(size).scalar_one())
            connection.execute(text(fill), {"rows": ROWS})
            found[what] = round((int(connection.execute(size).scalar_one()) - before) / ROWS, 1)
    engine.dispose()
    return found


def measure_use_row_us(rig: Rig) -> float:
    """Return the CPU of PostgreSQL for one row of use that is written, in microseconds; after `measure_rows`."""
    engine = create_engine(rig.database)
    upsert = text(
        "INSERT INTO compat_auth_personal_token_uses (token_id, day, uses)"
        " VALUES (left(md5(cast(:number as text)), 12), 20001, 1)"
        " ON CONFLICT (token_id, day) DO UPDATE SET uses = compat_auth_personal_token_uses.uses + 1"
    )
    rig.sql("ALTER SYSTEM SET log_statement = 'none'")
    rig.sql("SELECT pg_reload_conf()")
    before: Work = rig.work()
    with engine.begin() as connection:
        connection.execute(upsert, [{"number": 1 + number % 100_000} for number in range(1, WRITTEN + 1)])
    engine.dispose()
    spent = rig.work().since(before).postgres_s
    return round(spent / WRITTEN * 1e6, 1)


def measure_remembered() -> float:
    """Return the bytes that a worker keeps for a remembered credential, in one process."""
    grants = RevocableGrants(REMEMBERED, RevocationEvents(), lambda: None)
    tracemalloc.start()
    before, _ = tracemalloc.get_traced_memory()
    for number in range(REMEMBERED):
        name = f"user{number}"
        identity = Identity(name, "basic_auth", directory="htpasswd", credential_id=f"token:{number:012}")
        # A minted JWT has about 400 bytes.
        granted = Granted(identity, b"Bearer " + b"%0400d" % number)
        grants.remember(grants.digest(b"%d" % number), granted, 600, owner=name, credential_id=identity.credential_id)
    after, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return round((after - before) / REMEMBERED, 1)
