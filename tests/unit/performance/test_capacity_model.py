from dataclasses import replace
from typing import Any

import pytest

from performance.capacity.inputs import Kind, default_mix, read_measured, value
from performance.capacity.model import GIB, Need, Site, database_size, groups_of, largest_rate, needs, scaled

COST = {
    "statements": 2.0, "round_trips": 5.0, "commands": 0.0, "gateway_us": 1000.0, "postgres_us": 500.0, "redis_us": 0.0,
}  # fmt: skip
MEASURED: dict[str, Any] = {
    "idle": {**COST, "commands": 5.0, "gateway_us": 0.0},
    "cold": {"token": COST, "revocation": {**COST, "commands": 1.0}},
    "warm": {"token": {**COST, "gateway_us": 100.0}},
    "redis_command_us": 10.0,
    "redis_message_us": 1.0,
    "use_row_us": 30.0,
    "worker_mib": 80.0,
    "bytes": {"remembered credential": 1000.0, "personal token": 400.0},
}
KIND = Kind("tokens", 1.0, 1000.0, 60.0, hashes=False, cold="token", warm="token")


def site(rate: float, *, by_credential: bool = True, hash_s: float = 0.0, kind: Kind = KIND) -> Site:
    return Site(rate, [kind], by_credential, hash_s)


def test_the_groups_of_a_mix_have_all_requests_and_credentials() -> None:
    groups = groups_of(site(10_000))

    assert sum(one.credentials for one in groups) == pytest.approx(1000)
    assert sum(one.credentials * one.uses_per_s for one in groups) == pytest.approx(10_000)


def test_warm_requests_alone_need_their_cpu_at_the_utilisation() -> None:
    # 1,000 credentials are checked 17 times a second: nearly all of 60,000 requests are warm, at 100 us each.
    need = needs(site(60_000), MEASURED)

    assert need.checks_per_s == pytest.approx(1000 / 60, rel=0.02)
    # 6 busy cores at 0.6 are 10; the few checks make it one more.
    assert need.workers == 11


def test_twice_the_requests_of_twice_the_credentials_need_twice_the_workers() -> None:
    one = needs(site(50_000), MEASURED)
    two = needs(Site(100_000, scaled([KIND], 2), True, 0.0), MEASURED)

    assert abs(two.workers - 2 * one.workers) <= 2


def test_a_worker_that_is_chosen_in_turn_checks_more_than_one_that_is_chosen_by_the_credential() -> None:
    hashed = replace(KIND, hashes=True)
    by_credential, in_turn = (
        needs(site(60_000, by_credential=by, hash_s=0.1, kind=hashed), MEASURED) for by in (True, False)
    )

    assert in_turn.checks_per_s > 2 * by_credential.checks_per_s
    assert in_turn.statements_per_s > by_credential.statements_per_s
    assert in_turn.workers > by_credential.workers


def test_hashes_need_cores_of_their_own() -> None:
    hashed = replace(KIND, hashes=True)

    need = needs(site(60_000, hash_s=0.1, kind=hashed), MEASURED)

    assert need.hash_cores == pytest.approx(need.checks_per_s * 0.1 / value("utilisation"))
    assert need.workers > needs(site(60_000), MEASURED).workers


def test_redis_carries_each_revocation_to_each_worker() -> None:
    need = needs(site(60_000), MEASURED)

    commands, messages = 5 * need.workers + value("revocations"), need.workers * value("revocations")
    assert need.redis_per_s == pytest.approx(commands + messages)
    assert need.redis_cores == pytest.approx((commands * 10 + messages) * 1e-6)


def test_the_largest_rate_is_where_the_need_stops_to_fit() -> None:
    def fits(need: Need) -> bool:
        return need.workers <= 10

    rate = largest_rate(site(10_000), MEASURED, fits)

    assert fits(needs(Site(rate, scaled([KIND], rate / 10_000), True, 0.0), MEASURED))
    assert not fits(needs(Site(rate * 1.05, scaled([KIND], rate * 1.05 / 10_000), True, 0.0), MEASURED))


def test_the_size_of_the_database_is_rows_times_bytes() -> None:
    stored = {one.what: one for one in database_size(read_measured())}

    token = stored["personal token"]
    assert token.rows == value("tokens")
    assert token.gib == pytest.approx(token.rows * read_measured()["bytes"]["personal token"] / GIB)


def test_the_mix_is_whole_and_its_costs_are_measured() -> None:
    mix, measured = default_mix(), read_measured()

    assert sum(kind.share for kind in mix) == pytest.approx(1)
    assert {kind.cold for kind in mix} <= measured["cold"].keys()
    assert {kind.warm for kind in mix} <= measured["warm"].keys()


def test_without_redis_tokens_are_checked_far_more_often() -> None:
    heard, unheard = (
        {kind.name: kind.remembered_s for kind in default_mix(has_redis=has_redis)} for has_redis in (True, False)
    )

    assert heard["personal tokens"] == 60 * unheard["personal tokens"]
