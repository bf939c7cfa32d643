"""Computes what a site needs from what one request costs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import ceil
from typing import Any, Final

from performance.capacity.inputs import Kind, value
from performance.capacity.queueing import checks_per_s, remembered_share

MICRO: Final = 1e-6
ROUNDS: Final = 200
MIB: Final = 2**20
GIB: Final = 2**30
COUNTED: Final = ("personal tokens", "scoped personal tokens")
"""Kinds whose use is counted by day."""


@dataclass(frozen=True, slots=True)
class Site:
    """What is asked for.

    Attributes:
        requests_per_s: At the busiest time.
        kinds: The mix.
        by_credential: Whether the front sends a credential always to the same worker, not to each in turn.
        hash_s: CPU seconds of one password hash.
    """

    requests_per_s: float
    kinds: Sequence[Kind]
    by_credential: bool
    hash_s: float


@dataclass(frozen=True, slots=True)
class Need:
    """What a site needs.

    Attributes:
        workers: Processes, each with a core.
        replicas: Of `workers` processes each.
        hash_cores: Cores that do nothing but hash passwords; among `workers`.
        checks_per_s: Credentials that are checked.
        remembered: Credentials that one worker remembers at a time.
        memory_gib: Of all workers.
        statements_per_s: Of PostgreSQL, written rows of use among them.
        use_rows_per_s: Rows of use of personal tokens that are written.
        postgres_cores: Busy cores of PostgreSQL.
        connections: Of PostgreSQL.
        redis_per_s: Commands and messages of Redis.
        redis_cores: Busy cores of Redis, which has one thread.
    """

    workers: int
    replicas: int
    hash_cores: float
    checks_per_s: float
    remembered: float
    memory_gib: float
    statements_per_s: float
    use_rows_per_s: float
    postgres_cores: float
    connections: int
    redis_per_s: float
    redis_cores: float


@dataclass(frozen=True, slots=True)
class _Group:
    """Credentials of a kind that are used alike.

    Attributes:
        kind: Of them.
        credentials: How many.
        uses_per_s: Of each.
    """

    kind: Kind
    credentials: float
    uses_per_s: float

    def checks_per_s(self, memories: float) -> float:
        """Return the checks of all of them."""
        return self.credentials * checks_per_s(self.uses_per_s, self.kind.remembered_s, memories)

    def remembered(self, memories: float) -> float:
        """Return how many of them one memory knows."""
        return self.credentials * remembered_share(self.uses_per_s, self.kind.remembered_s, memories)


def groups_of(site: Site) -> list[_Group]:
    """Return the busy and the rare credentials of each kind."""
    busy, share = value("busy_credentials"), value("busy_share")
    found: list[_Group] = []
    for kind in site.kinds:
        asked = site.requests_per_s * kind.share
        for part, of_requests in ((busy, share), (1 - busy, 1 - share)):
            credentials = kind.in_use * part
            found.append(_Group(kind, credentials, asked * of_requests / credentials))
    return found


def needs(site: Site, measured: Mapping[str, Any]) -> Need:
    """Return what the site needs.

    The number of workers follows from the checks, and the checks from the number of workers, so both are sought together.
    """
    workers = 1.0
    for _ in range(ROUNDS):
        wanted = _gateway_cores(site, measured, workers) / value("utilisation")
        # Half of the way: the two pull at each other.
        workers = max(1.0, (workers + wanted) / 2)
    return _needs_with(site, measured, ceil(workers - 1e-6))


def _gateway_cores(site: Site, measured: Mapping[str, Any], workers: float) -> float:
    total: float = workers * measured["idle"]["gateway_us"] * MICRO
    for group in groups_of(site):
        kind = group.kind
        checks = group.checks_per_s(1 if site.by_credential else workers)
        check_s = measured["cold"][kind.cold]["gateway_us"] * MICRO + (site.hash_s if kind.hashes else 0)
        warm_s = measured["warm"][kind.warm]["gateway_us"] * MICRO
        total += checks * check_s + (group.credentials * group.uses_per_s - checks) * warm_s
    return total


def _needs_with(site: Site, measured: Mapping[str, Any], workers: int) -> Need:
    memories = 1 if site.by_credential else workers
    checks = statements = use_rows = postgres_s = hash_s = remembered = commands = 0.0
    for group in groups_of(site):
        cost, count = measured["cold"][group.kind.cold], group.checks_per_s(memories)
        checks += count
        statements += count * cost["statements"]
        postgres_s += count * cost["postgres_us"] * MICRO
        commands += count * cost["commands"]
        hash_s += count * site.hash_s if group.kind.hashes else 0.0
        if group.kind.name in COUNTED:
            # The first use after a write begins the next row, as the first use after a check begins the next check.
            use_rows += group.credentials * checks_per_s(group.uses_per_s, value("flush"), memories)
        known = group.remembered(memories)
        remembered += known / workers if site.by_credential else known
    statements += use_rows
    postgres_s += use_rows * measured["use_row_us"] * MICRO
    revocation = measured["cold"]["revocation"]
    statements += value("revocations") * revocation["statements"]
    postgres_s += value("revocations") * revocation["postgres_us"] * MICRO
    commands += workers * measured["idle"]["commands"] + value("revocations") * revocation["commands"]
    # Each worker hears each revocation.
    messages = workers * value("revocations")
    redis_s = (commands * measured["redis_command_us"] + messages * measured["redis_message_us"]) * MICRO
    kept = min(remembered, value("cache_entries"))
    memory = workers * (measured["worker_mib"] * MIB + kept * measured["bytes"]["remembered credential"])
    return Need(
        workers=workers,
        replicas=ceil(workers / value("workers")),
        hash_cores=hash_s / value("utilisation"),
        checks_per_s=checks,
        remembered=remembered,
        memory_gib=memory / GIB,
        statements_per_s=statements,
        use_rows_per_s=use_rows,
        postgres_cores=postgres_s,
        connections=round(workers * value("connections")),
        redis_per_s=commands + messages,
        redis_cores=redis_s,
    )


@dataclass(frozen=True, slots=True)
class Stored:
    """What the database holds.

    Attributes:
        what: Rows of this kind.
        rows: How many.
        gib: With their indexes.
    """

    what: str
    rows: float
    gib: float


def database_size(measured: Mapping[str, Any]) -> list[Stored]:
    """Return what the store holds for all users and tokens."""
    used = value("tokens") * value("active_tokens")
    rows = {
        "personal token": value("tokens"),
        "day of use of a token": used * value("use_rows"),
        "session": value("users") * value("active_users"),
        "issued token": value("users") * value("active_users") * 0.3,
        "revoked token": value("revocations") * 86_400,
    }
    return [Stored(what, count, count * measured["bytes"][what] / GIB) for what, count in rows.items()]


def largest_rate(site: Site, measured: Mapping[str, Any], fits: Callable[[Need], bool]) -> float:
    """Return the highest rate of requests at which a need still fits; the users in use grow with the rate."""
    low, high = 1.0, 1e9
    for _ in range(60):
        middle = (low * high) ** 0.5
        scaled = Site(middle, _scaled(site, middle), site.by_credential, site.hash_s)
        if fits(needs(scaled, measured)):
            low = middle
        else:
            high = middle
    return low


def _scaled(site: Site, requests_per_s: float) -> list[Kind]:
    return scaled(site.kinds, requests_per_s / site.requests_per_s)


def scaled(kinds: Sequence[Kind], factor: float) -> list[Kind]:
    """Return the same mix with so many times the credentials."""
    return [replace(kind, in_use=kind.in_use * factor) for kind in kinds]
