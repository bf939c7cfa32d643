"""P13: what recognising a personal token costs, with a thousand to a million others in the table."""

from __future__ import annotations

import random
import secrets
import shutil
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import create_engine, insert, text
from sqlalchemy.engine import make_url

from compat_auth.authn.revocation_events import RevocationEvents
from compat_auth.authn.users.lookup import UserLookup
from compat_auth.config import PersonalTokenSettings
from compat_auth.crypto.personal_token_format import make_text
from compat_auth.directory import DirectoryUser
from compat_auth.personal_tokens.owners import TokenOwners
from compat_auth.personal_tokens.peppers import Peppers
from compat_auth.personal_tokens.service import PersonalTokens
from compat_auth.store.migration import open_store
from compat_auth.store.schema import personal_tokens
from compat_auth.store.tables.personal_tokens import PersonalTokenRows
from performance.programs import Missing
from performance.table import Row
from support.peers.postgres import Postgres

SIZES = (1_000, 10_000, 100_000, 1_000_000)
QUICK_SIZES = (1_000, 10_000)
TARGET = 2.0
PEPPER = b"a-pepper-of-more-than-32-bytes-0123456789"
_BATCH = 10_000
_KEPT = 2_000
_USERS = 1_000


class Everybody:
    """A directory that knows all owners without being asked twice: what it costs is not measured here."""

    name = "everybody"

    def find(self, username: str) -> DirectoryUser:
        return DirectoryUser(username)


def growth(folder: Path, *, seconds: float, rounds: int) -> list[Row]:
    """Return a row for each store: the cost with the most tokens against that with the fewest, interleaved."""
    sizes = SIZES if rounds > 1 else QUICK_SIZES
    with _postgresql() as postgresql_url:
        return [
            _measure("a", "SQLite, CPU", [f"sqlite:///{folder / f'{size}.db'}" for size in sizes], sizes, seconds,
                     rounds, time.process_time),
            _measure("b", "PostgreSQL, time", [postgresql_url(size) for size in sizes], sizes, seconds, rounds,
                     time.perf_counter),
        ]  # fmt: skip


def _measure(
    letter: str,
    store: str,
    urls: list[str],
    sizes: tuple[int, ...],
    seconds: float,
    rounds: int,
    clock: Callable[[], float],
) -> Row:
    filled = [_fill(url, size) for url, size in zip(urls, sizes, strict=True)]
    costs: list[list[float]] = [[] for _ in sizes]
    wrong = 0
    for _ in range(rounds):
        for place, (service, texts) in enumerate(filled):
            cost, failed = _window(service, texts, seconds / 2, clock)
            costs[place].append(cost)
            wrong += failed
    for service, _ in filled:
        service.rows.database.close()
    ratios = tuple(largest / smallest for smallest, largest in zip(costs[0], costs[-1], strict=True))
    medians = [sorted(each)[len(each) // 2] * 1e6 for each in costs]
    detail = ", ".join(
        f"{size:.0e}: {cost:.0f} us (x {cost / medians[0]:.2f})" for size, cost in zip(sizes, medians, strict=True)
    )
    met = sorted(ratios)[len(ratios) // 2] <= TARGET
    what = f"a personal token with {sizes[-1]:.0e} in the table against {sizes[0]:.0e}; {store}"
    return Row(f"P13{letter}", what, f"<= {TARGET:g}", ratios, "", met, detail, wrong)


def _window(service: PersonalTokens, texts: list[str], seconds: float, clock: Callable[[], float]) -> tuple[float, int]:
    random.shuffle(texts)
    began, end, done, wrong = clock(), time.monotonic() + seconds, 0, 0
    while time.monotonic() < end:
        _, identity = service.verification.verify(texts[done % len(texts)])
        wrong += not identity.username.startswith("user")
        done += 1
    return (clock() - began) / done, wrong


def _fill(url: str, size: int) -> tuple[PersonalTokens, list[str]]:
    """Return the service over a store with so many tokens, and some of them."""
    database = open_store(url)
    peppers = Peppers((PEPPER,))
    rules = PersonalTokenSettings(per_user_limit=size)
    owners = TokenOwners(UserLookup((Everybody(),)))
    service = PersonalTokens(
        PersonalTokenRows(database),
        peppers,
        owners,
        revocations=RevocationEvents(),
        revoke_upstream=lambda _credential_id: None,
        rules=rules,
    )
    kept: list[str] = []
    for start in range(0, size, _BATCH):
        rows: list[dict[str, object]] = []
        for number in range(start, min(start + _BATCH, size)):
            token_id, digest = secrets.token_hex(6), secrets.token_bytes(32)
            if number % max(1, size // _KEPT) == 0:
                made = make_text()
                kept.append(made.value)
                token_id, digest = made.id, peppers.digest(peppers.newest, made.value)
            rows.append(_row(token_id, digest, peppers.newest, number))
        with database.write() as connection:
            connection.execute(insert(personal_tokens), rows)
    return service, kept


def _row(token_id: str, digest: bytes, pepper_id: str, number: int) -> dict[str, object]:
    return {
        "id": token_id, "username": f"user{number % _USERS}", "directory": "everybody", "upstream_id": "",
        "name": f"token-{number}", "scopes": '["read"]', "digest": digest, "pepper_id": pepper_id, "created": 1,
        "created_by": "benchmark", "expires": 2**40, "reason": "", "last_address": "", "last_agent": "",
        "notice_lease": 0,
    }  # fmt: skip


@contextmanager
def _postgresql() -> Generator[Callable[[int], str]]:
    if not list(Path("/usr/lib/postgresql").glob("*/bin/initdb")) and shutil.which("initdb") is None:
        raise Missing("PostgreSQL is not installed; run: apt-get install postgresql")
    server = Postgres()
    server.start()

    def url(size: int) -> str:
        engine = create_engine(server.url, isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            connection.execute(text(f"CREATE DATABASE tokens_{size}"))
        engine.dispose()
        return make_url(server.url).set(database=f"tokens_{size}").render_as_string(hide_password=False)

    try:
        yield url
    finally:
        server.remove()
