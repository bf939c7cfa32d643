"""The page about capacity: assumptions, measured costs, needs, limits, and how well the simulation fits."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from performance.capacity.inputs import ASSUMPTIONS, default_mix, value
from performance.capacity.model import Need, Site, database_size, largest_rate, needs, scaled
from performance.capacity.queueing import remembered_share

RATES: Final = (1_000, 10_000, 100_000, 1_000_000)
_INTRODUCTION: Final = """# Capacity

`python tests/performance/capacity/run.py` makes this page: a model of what a large site needs, for {users} users, {tokens} personal
tokens and {requests} requests a second, computed from measured costs. With `--measure` it measures the costs again first.

Two questions decide everything at this size. **How often must a credential be checked?** Each worker remembers a checked credential for
a while. If the front proxy sends each request to the next worker in turn, every worker has to check every credential itself. If it
chooses the worker by the credential (in nginx: `hash $http_authorization consistent;`), only one worker does. **What does a check
cost?** A password hash costs hundreds of times as much as everything else in a request.
"""
_LIMITS: Final = """
- **SQLite** ends at one machine: the file cannot be shared between hosts. By CPU, that machine with {machine_cores} cores
  carries {sqlite}. It writes little: the use of tokens, every {flush:g} seconds.
- **One PostgreSQL** with {postgres_cores} cores ends by CPU at {postgres}, if the front chooses the worker by the
  credential, and at {postgres_in_turn} in turn. By connections it ends at {connections} workers; beyond that put PgBouncer in between,
  with which compat_auth works.
- **One Redis** ends, with its one thread at {utilisation:.0%}, at {redis} with the revocations above. It carries only messages and
  a cache, so several sites need not share one.
"""


def page(measured: Mapping[str, Any]) -> str:
    """Return the page."""
    mix = default_mix()
    hash_s = value("hash") / 1000
    largest = {by: Site(value("requests"), mix, by, hash_s) for by in (True, False)}
    parts = [
        _INTRODUCTION.format(
            users=_number(value("users")), tokens=_number(value("tokens")), requests=_number(value("requests"))
        ),
        "## What it needs\n",
        _needs(measured, hash_s),
        _hashes(largest, measured),
        "## What the database holds\n",
        _database(measured),
        "## Where one program ends\n" + _limits(largest, measured),
        "## Assumptions\n",
        _table(
            ("assumption", "value", "source"),
            ((one.what, f"{_number(one.value)} {one.unit}".strip(), one.source) for one in ASSUMPTIONS.values()),
        ),
        _mix(),
        "## Measured\n",
        f"{measured['about']}\n",
        _costs(measured),
        "## Simulation and real replicas\n",
        _compared(measured),
    ]
    return "\n".join(parts).rstrip() + "\n"


def _needs(measured: Mapping[str, Any], hash_s: float) -> str:
    rows: list[tuple[str, ...]] = []
    for rate in RATES:
        mix = scaled(default_mix(), rate / value("requests"))
        for by_credential in (True, False):
            need = needs(Site(rate, mix, by_credential, hash_s), measured)
            rows.append((_number(rate), "by credential" if by_credential else "in turn", *_need_cells(need)))
    head = (
        "requests/s", "worker chosen", "workers (cores)", "replicas", "cores that hash", "checks/s", "memory, GiB",
        "PostgreSQL statements/s", "its busy cores", "its connections", "Redis commands and messages/s", "its busy cores",
    )  # fmt: skip
    return _table(head, rows) + (
        "\nThe lines with fewer requests are smaller sites of the same kind: credentials in use and requests shrink together.\n"
    )


def _need_cells(need: Need) -> tuple[str, ...]:
    return (
        _number(need.workers), _number(need.replicas), _number(need.hash_cores), _number(need.checks_per_s),
        _number(need.memory_gib), _number(need.statements_per_s), _number(need.postgres_cores),
        _number(need.connections), _number(need.redis_per_s), _number(need.redis_cores),
    )  # fmt: skip


def _hashes(largest: Mapping[bool, Site], measured: Mapping[str, Any]) -> str:
    without = {by: needs(Site(one.requests_per_s, one.kinds, by, 0.0), measured) for by, one in largest.items()}
    lane = remembered_share(
        value("requests") * 0.25 * 0.2 / (value("users") * value("active_users") * 0.3 * 0.99), 1, 1
    )
    return (
        "\nMost of these cores hash passwords. If scripts used personal tokens in place of passwords, or with a hash that costs next "
        f"to nothing, the largest site would need {_number(without[True].workers)} workers by credential, and "
        f"{_number(without[False].workers)} in turn. A worker then remembers {_number(without[True].remembered)} credentials at a time "
        f"by credential, and {_number(without[False].remembered)} in turn: set {{confval}}`serve.cache_entries` to more than that "
        f"(the default is {_number(value('cache_entries'))}).\n\n"
        "The [lane](../how-to/front-proxies.md) of a front proxy answers for a second at most. A busy program gains from it; of the "
        f"rare passwords, which are most of the credentials in use, it would know {lane:.1%} when they are used.\n"
    )


def _database(measured: Mapping[str, Any]) -> str:
    stored = database_size(measured)
    rows = [(one.what, _number(one.rows), _number(measured["bytes"][one.what]), _number(one.gib)) for one in stored]
    total = sum(one.gib for one in stored)
    return _table(
        ("rows", "how many", "bytes each, with indexes", "GiB"), [*rows, ("together", "", "", _number(total))]
    )


def _limits(largest: Mapping[bool, Site], measured: Mapping[str, Any]) -> str:
    cores = value("postgres_cores") * value("utilisation")

    def at_most(by: bool, fits: Callable[[Need], bool]) -> str:  # names a column
        return f"{_number(largest_rate(largest[by], measured, fits))} requests a second"

    return _LIMITS.format(
        machine_cores=_number(value("machine_cores")),
        sqlite=at_most(True, lambda need: need.workers <= value("machine_cores")),  # the same
        flush=value("flush"),
        postgres_cores=_number(value("postgres_cores")),
        postgres=at_most(True, lambda need: need.postgres_cores <= cores),  # the same
        postgres_in_turn=at_most(False, lambda need: need.postgres_cores <= cores),  # the same
        connections=_number(value("postgres_connections") / value("connections")),
        utilisation=value("utilisation"),
        redis=at_most(True, lambda need: need.redis_cores <= value("utilisation")),  # the same
    )


def _mix() -> str:
    rows = [
        (one.name, f"{one.share:.0%}", _number(one.in_use), f"{one.remembered_s:g} s", "yes" if one.hashes else "no")
        for one in default_mix()
    ]
    return "\nThe mix, also chosen:\n\n" + _table(
        ("credential", "of requests", "in use", "remembered", "a check hashes"), rows
    )


def _costs(measured: Mapping[str, Any]) -> str:
    rows = [
        (f"{name}, {state}", *(_number(cost[key]) for key in _KEYS))
        for state, costs in (("checked", measured["cold"]), ("remembered", measured["warm"]))
        for name, cost in costs.items()
    ]
    rows.append(("a worker without requests, each second", *(_number(measured["idle"][key]) for key in _KEYS)))
    more = (
        f"\nA command costs Redis {_number(measured['redis_command_us'])} us and a delivered message "
        f"{_number(measured['redis_message_us'])} us, a row of use costs PostgreSQL "
        f"{_number(measured['use_row_us'])} us, a remembered credential takes "
        f"{_number(measured['bytes']['remembered credential'])} bytes of a worker, and a worker {_number(measured['worker_mib'])} MiB.\n"
    )
    return (
        _table(
            (
                "request",
                "SQL statements",
                "all that PostgreSQL gets",
                "Redis commands",
                "gateway, us",
                "PostgreSQL, us",
                "Redis, us",
            ),
            rows,
        )
        + more
    )


_KEYS: Final = ("statements", "round_trips", "commands", "gateway_us", "postgres_us", "redis_us")


def _compared(measured: Mapping[str, Any]) -> str:
    text = []
    for about, rows in measured["compared"].items():
        cells = [
            (
                one["what"], str(one["replicas"]), _pair(one, "per_s", 1), _relative(rows, one), _pair(one, "mean_s", 1000),
                _pair(one, "refused_share", 100),
            )
            for one in rows
        ]  # fmt: skip
        head = ("load", "replicas", "answers/s", "against one replica", "mean or median, ms", "refused, %")
        text.append(f"{about}\n\n" + _table(head, cells))
    return "Each cell is *measured / simulated*.\n\n" + "\n".join(text)


def _pair(one: Mapping[str, Any], key: str, factor: float) -> str:
    return f"{_number(one['measured'][key] * factor)} / {_number(one['simulated'][key] * factor)}"


def _relative(rows: Iterable[Mapping[str, Any]], one: Mapping[str, Any]) -> str:
    first = next(row for row in rows if row["what"] == one["what"] and row["replicas"] == 1)
    shares = [one[side]["per_s"] / max(first[side]["per_s"], 1e-9) for side in ("measured", "simulated")]
    return f"{shares[0]:.2f} / {shares[1]:.2f}"


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}", *(f"| {' | '.join(row)} |" for row in rows)]
    return "\n".join(lines) + "\n"


def _number(number: float) -> str:
    """Return a number with at most three digits that mean something."""
    if number >= 1000:
        digits = len(str(round(number)))
        return f"{round(number, 3 - digits):,.0f}"
    return f"{number:.3g}"
