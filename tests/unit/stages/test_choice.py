"""Which rule applies to a use."""

from __future__ import annotations

import pytest

from compat_auth.stages.choice import RuleSet, Use
from compat_auth.stages.rules import StageRule
from support.staged import NOON, brownout, rule


def use(
    path: str = "/api/v2/dags",
    *methods: str,
    backend: str = "basic_auth",
    principal: str = "alice",
    origins: tuple[str, ...] = (),
) -> Use:
    return Use(backend, principal, methods or ("GET",), path, origins)


def stage_of(found: StageRule | None) -> str:
    return "none" if found is None else found.stage


def test_without_a_rule_nothing_is_staged() -> None:
    assert RuleSet().find(use(), NOON) is None


@pytest.mark.parametrize("is_reversed", [False, True], ids=["in-order", "reversed"])
@pytest.mark.parametrize(
    ("specific", "general"),
    [
        pytest.param(rule("on", principal="alice"), rule("off", "basic_auth", "v1"), id="principal-before-all-others"),
        pytest.param(rule("on", operation="GET /api/v1/dags"), rule("off", operation="v1"), id="path-before-prefix"),
        pytest.param(rule("on", operation="/api/v1/dags/"), rule("off", operation="v1"), id="longer-prefix"),
        pytest.param(rule("on", operation="v1"), rule("off", "basic_auth"), id="operation-before-backend"),
        pytest.param(
            rule("on", operation="GET /api/v1/dags/a"),
            rule("off", operation="GET /api/v1/dags/{dag_id}"),
            id="literal-before-parameter",
        ),
        pytest.param(
            rule("on", operation="GET /api/v1/dags/a"), rule("off", operation="/api/v1/dags/a"), id="method-before-any"
        ),
        pytest.param(rule("on", "basic_auth"), rule("off", operation=""), id="backend-before-everything"),
        pytest.param(
            rule("on", "basic_auth", principal="alice"), rule("off", principal="alice"), id="backend-of-a-principal"
        ),
    ],
)
def test_the_most_specific_rule_wins(specific: StageRule, general: StageRule, is_reversed: bool) -> None:
    rules = [specific, general]
    path = "/api/v1/dags/a" if "dags/" in specific.selector.operation else "/api/v1/dags"

    found = RuleSet(rules[::-1] if is_reversed else rules).find(use(path), NOON)

    assert found == specific


def test_between_equally_specific_rules_the_stricter_one_wins() -> None:
    rules = RuleSet([rule("off", operation="GET /dags/{a}"), rule("on", operation="GET /dags/{b}")])

    assert stage_of(rules.find(use("/dags/x"), NOON)) == "off"


def test_an_exception_ends_to_the_second() -> None:
    rules = RuleSet([rule("off", "basic_auth"), rule("on", "basic_auth", principal="alice", until=NOON)])

    assert [stage_of(rules.find(use(), moment)) for moment in (NOON - 0.001, NOON)] == ["on", "off"]


@pytest.mark.parametrize(
    "asked",
    [
        pytest.param(use("/api/v1/dags", "HEAD"), id="head-for-get"),
        pytest.param(use("/api/v1/dags/"), id="last-slash"),
        pytest.param(use("/api%2Fv1/dags"), id="encoded-slash"),
        pytest.param(use("/api/v1/dags", "POST", "GET"), id="override-by-a-header"),
        pytest.param(use("/api/v1/dags", principal="ALICE"), id="name-in-capitals"),
        pytest.param(use("/api/v1/dags", backend="session", origins=("basic_auth",)), id="session-that-it-began"),
        pytest.param(use("/api/v1/dags", backend="upstream", origins=("basic_auth",)), id="token-that-it-made"),
    ],
)
def test_no_other_spelling_escapes(asked: Use) -> None:
    rules = RuleSet([rule("off", "basic_auth", "GET /api/v1/dags", "alice")])

    assert stage_of(rules.find(asked, NOON)) == "off"


@pytest.mark.parametrize(
    "asked",
    [
        pytest.param(use("/api/v1/dags", "POST"), id="another-method"),
        pytest.param(use("/api/v1/dags/a"), id="another-path"),
        pytest.param(use("/api/v1/dags", principal="bob"), id="another-user"),
        pytest.param(use("/api/v1/dags", backend="kerberos"), id="another-backend"),
        pytest.param(use("/api/v1/dags", principal=""), id="nobody"),
    ],
)
def test_other_uses_stay_on(asked: Use) -> None:
    rules = RuleSet([rule("off", "basic_auth", "GET /api/v1/dags", "alice")])

    assert rules.find(asked, NOON) is None


def test_an_encoded_slash_does_not_reach_an_exception() -> None:
    rules = RuleSet([rule("off", "basic_auth"), rule("on", "basic_auth", "GET /api/v2/dags/{dag_id}")])

    assert stage_of(rules.find(use("/api/v2/dags/a%2FdagRuns"), NOON)) == "off"
    assert stage_of(rules.find(use("/api/v2/dags/a"), NOON)) == "on"


def test_a_method_override_does_not_reach_an_exception() -> None:
    rules = RuleSet([rule("off", "basic_auth"), rule("on", "basic_auth", "GET /api/v2/dags")])

    assert stage_of(rules.find(use("/api/v2/dags", "POST", "GET"), NOON)) == "off"


def test_the_backend_itself_is_more_specific_than_the_one_behind_it() -> None:
    rules = RuleSet([rule("off", "basic_auth"), rule("on", "session")])

    assert stage_of(rules.find(use(backend="session", origins=("basic_auth",)), NOON)) == "on"


def test_a_brownout_may_concern_a_login_also_outside_its_window() -> None:
    rules = RuleSet([brownout(NOON + 3600, 60, "basic_auth")])

    assert rules.may_concern("basic_auth", "alice", (), NOON)
    assert rules.may_concern("session", "alice", ("basic_auth",), NOON)
    assert not rules.may_concern("kerberos", "alice", (), NOON)


def test_a_rule_for_an_operation_may_concern_every_use_of_its_backend() -> None:
    rules = RuleSet([rule("warn", "basic_auth", "v1"), rule("on", "basic_auth", principal="alice")])

    assert rules.may_concern("basic_auth", "alice", (), NOON)
    assert not rules.may_concern("personal_token", "alice", (), NOON)


def test_exceptions_alone_concern_nobody() -> None:
    rules = RuleSet([rule("on", "basic_auth", principal="alice")])

    assert not rules.stages_anything
    assert not rules.may_concern("basic_auth", "alice", (), NOON)
