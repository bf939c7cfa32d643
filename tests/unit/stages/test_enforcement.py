"""What a stage answers: headers, or a refusal that explains itself."""

from __future__ import annotations

import pytest

from compat_auth.errors import StageRefusal
from compat_auth.outcome import Skip
from compat_auth.stages.choice import RuleSet, Use
from compat_auth.stages.enforcement import Stages
from compat_auth.stages.rules import StageRule
from support.staged import NOON, PAGE, Moment, brownout, rule, stages_with
from support.stand_ins import Clock, scripted

USE = Use("basic_auth", "alice", ("GET",), "/api/v2/dags")
LINK = ("Link", f'<{PAGE}>; rel="sunset", <{PAGE}>; rel="deprecation"')


def judged(stages: Stages, use: Use = USE) -> dict[str, str]:
    return dict(stages.judge(rules_of(stages), use))


def rules_of(stages: Stages) -> RuleSet:
    found = stages.memory.peek()
    assert found is not None
    return found


def refusal(stages: Stages, use: Use = USE) -> StageRefusal:
    with pytest.raises(StageRefusal) as caught:
        judged(stages, use)
    return caught.value


def test_a_login_that_is_on_gets_no_header() -> None:
    assert judged(stages_with(rule("on", "basic_auth"), rule("warn", "kerberos"))) == {}


def test_a_warning_has_the_headers_of_the_rfcs() -> None:
    stages = stages_with(rule("warn", "basic_auth", deprecated=NOON - 10, sunset=NOON + 86400))

    assert judged(stages) == {
        "Deprecation": f"@{NOON - 10}",
        "Sunset": "Sat, 16 Jan 2027 08:00:00 GMT",
        "Link": LINK[1],
    }


def test_without_a_page_and_a_date_neither_is_made_up() -> None:
    stages = stages_with(rule("warn", "basic_auth", deprecated=NOON))
    stages = Stages(stages.memory, now=Moment())

    assert judged(stages) == {"Deprecation": f"@{NOON}"}


@pytest.mark.parametrize("status", [410, 401])
def test_a_brownout_refuses_from_its_first_second_to_its_end(status: int) -> None:
    now = Moment(NOON - 0.001)
    stages = stages_with(brownout(NOON, 60, "basic_auth", status=status, deprecated=NOON - 5), now=now)

    before = judged(stages)
    now.second = NOON + 0.25
    refused = refusal(stages)
    now.second = NOON + 60
    after = judged(stages)

    assert before == after == {"Deprecation": f"@{NOON - 5}", "Link": LINK[1]}
    assert (refused.status, refused.retry_after_s) == (status, 60)
    assert LINK in refused.headers
    assert "basic_auth" in str(refused)
    assert "2027-01-15T08:01:00Z" in str(refused)
    assert PAGE in str(refused)


def test_off_refuses_with_the_challenges_of_the_backends_that_are_on() -> None:
    backends = (
        scripted("basic_auth", Skip(), invites=('Basic realm="a"',)),
        scripted("kerberos", Skip(), invites=("Negotiate",)),
        scripted("personal_token", Skip(), invites=("Bearer",)),
    )
    stages = stages_with(rule("off", "basic_auth"), rule("off", "kerberos"), backends=backends)

    refused = refusal(stages)

    assert (refused.status, refused.challenges, refused.retry_after_s) == (401, ("Bearer",), None)


def test_a_scheme_that_another_backend_takes_is_still_offered() -> None:
    backends = (
        scripted("basic_auth", Skip(), invites=('Basic realm="passwords"',)),
        scripted("personal_token", Skip(), invites=('Basic realm="tokens"',)),
    )

    refused = refusal(stages_with(rule("off", "basic_auth"), backends=backends))

    assert refused.challenges == ('Basic realm="tokens"',)


def test_a_401_has_a_challenge_even_if_everything_is_off() -> None:
    assert refusal(stages_with(rule("off", principal="alice"))).challenges == ("Bearer",)


def throttled(*more: StageRule, workers: int = 1) -> tuple[Stages, Clock]:
    clock = Clock()
    return stages_with(rule("throttle", "basic_auth", per_minute=2), *more, monotonic=clock, workers=workers), clock


def test_a_throttle_lets_so_many_requests_a_minute_through() -> None:
    stages, clock = throttled()

    judged(stages)
    clock.time += 10
    judged(stages)
    refused = refusal(stages)
    clock.time += 50
    judged(stages)

    assert (refused.status, refused.retry_after_s) == (429, 50)


def test_each_user_has_a_limit_of_its_own() -> None:
    stages, _ = throttled()
    bob = Use("basic_auth", "bob", ("GET",), "/api/v2/dags")

    judged(stages)
    judged(stages)
    judged(stages, bob)

    assert refusal(stages, Use("basic_auth", "Alice", ("GET",), "/x")).status == 429


def test_the_workers_of_a_gateway_share_a_limit() -> None:
    stages, _ = throttled(workers=2)

    judged(stages)

    assert refusal(stages).status == 429


def test_tokens_without_a_known_owner_do_not_share_a_limit() -> None:
    stages = stages_with(rule("throttle", "upstream", per_minute=1))

    judged(stages, Use("upstream", "", ("GET",), "/a", caller="one"))
    judged(stages, Use("upstream", "", ("GET",), "/a", caller="two"))

    assert refusal(stages, Use("upstream", "", ("GET",), "/a", caller="one")).status == 429
