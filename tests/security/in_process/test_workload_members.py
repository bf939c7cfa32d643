"""Rules on lists and on members of objects: nothing but what the issuer wrote in that very place, of that very type, matches."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jwt
import pytest

from compat_auth.credentials import Bearer
from compat_auth.errors import ConfigError
from compat_auth.outcome import Accept, Outcome, Reject, Skip
from compat_auth_backends.workloads.backend import WorkloadBackend
from support.stub_issuer import RSA_KEY
from support.workload_tokens import CLAIMS, RULES, claims_of, rule_for, settings_with, token_of

Ask = Callable[..., Outcome]
ENTRA = {"azp": RULES["entra"]["azp"], "roles": ["Dag.Trigger"]}
KEYCLOAK = {"sub": "5f1c2a34", "resource_access": {"airflow": {"roles": ["dag-runner"]}}}
POD = {"sub": RULES["kubernetes"]["sub"], "kubernetes.io": {"serviceaccount": {"name": "nightly"}}}


@pytest.fixture
def ask(tmp_path: Path) -> Ask:
    """Ask a backend with one rule of a platform about a token of it: claims of the rule, then changes in the token."""

    def ask(platform: str, rule: dict[str, Any], /, **changed: Any) -> Outcome:
        issuer = {"issuer": "https://keycloak.example.com/realms/main"} if platform == "keycloak" else {}
        base = "entra" if platform == "keycloak" else platform
        settings = settings_with(tmp_path, rule_for(base, tmp_path, claims=rule, **issuer))
        if issuer:
            changed = {**dict.fromkeys(CLAIMS["entra"]), "iss": issuer["issuer"], "sub": "5f1c2a34", **changed}
        return WorkloadBackend.from_settings(settings).authenticate(Bearer(token_of(base, **changed)))

    return ask


def is_refused(outcome: Outcome) -> bool:
    return isinstance(outcome, Reject) and outcome.status == 401


# --- lists -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("roles", [["Dag.Trigger"], ["Other", "Dag.Trigger"], ["Dag.Trigger", "Dag.Trigger"]])
def test_a_list_with_the_element_matches(ask: Ask, roles: list[str]) -> None:
    outcome = ask("entra", ENTRA, roles=roles)

    assert isinstance(outcome, Accept)


@pytest.mark.parametrize(
    "roles",
    [
        pytest.param(None, id="missing"),
        pytest.param([], id="empty"),
        pytest.param("Dag.Trigger", id="a-text"),
        pytest.param("Other Dag.Trigger", id="a-text-with-blanks"),
        pytest.param('["Dag.Trigger"]', id="a-text-like-a-list"),
        pytest.param({"Dag.Trigger": True}, id="an-object"),
        pytest.param({"0": "Dag.Trigger"}, id="an-object-with-indices"),
        pytest.param([["Dag.Trigger"]], id="a-list-in-the-list"),
        pytest.param([{"name": "Dag.Trigger"}], id="an-object-in-the-list"),
        pytest.param(["Dag.Trigger", 5], id="beside-a-number"),
        pytest.param(["Dag.Trigger", None], id="beside-null"),
        pytest.param(["Dag.Trigger", ["x"]], id="beside-a-list"),
        pytest.param(["Dag.Trigger2"], id="longer"),
        pytest.param(["xDag.Trigger"], id="something-before"),
        pytest.param(["DagxTrigger"], id="a-dot-is-a-dot"),
        pytest.param(["dag.trigger"], id="case"),
        pytest.param(["Dag.Trigger\n"], id="line-end"),
        pytest.param(["Dag.Trigger,Admin"], id="comma"),
        pytest.param(["Dag", ".Trigger"], id="in-two-elements"),
        pytest.param(["Dag.Trigg\uff45r"], id="full-width"),
        pytest.param([""], id="empty-element"),
        pytest.param([True], id="true"),
    ],
)
def test_a_list_without_the_very_element_is_refused(ask: Ask, roles: object) -> None:
    outcome = ask("entra", ENTRA, roles=roles)

    assert is_refused(outcome)


def test_a_list_never_matches_what_a_rule_wants_of_a_single_value(ask: Ask) -> None:
    outcomes = [ask("entra", {**ENTRA, "roles": wanted}, roles=["Dag.Trigger"]) for wanted in ("Dag.Trigger", "**")]

    assert [is_refused(outcome) for outcome in outcomes] == [True, True]


def test_each_element_that_a_rule_wants_must_be_there(ask: Ask) -> None:
    rule = {**ENTRA, "roles": ["Dag.Trigger", "Dag.Read"]}

    outcomes = [ask("entra", rule, roles=roles) for roles in (["Dag.Trigger"], ["Dag.Read", "x", "Dag.Trigger"])]

    assert [type(outcome) for outcome in outcomes] == [Reject, Accept]


@pytest.mark.parametrize(
    ("groups", "accepted"),
    [
        pytest.param(["/airflow/etl"], True, id="one-level"),
        pytest.param(["/airflow/etl/admins"], False, id="no-wildcard-crosses-a-slash"),
        pytest.param(["/airflow/"], False, id="nothing-for-the-wildcard"),
        pytest.param(["/other/airflow/etl"], False, id="something-before"),
        pytest.param(["/airflow", "/etl"], False, id="in-two-elements"),
    ],
)
def test_a_wildcard_stays_within_one_element(ask: Ask, groups: list[str], accepted: bool) -> None:
    outcome = ask("keycloak", {"sub": "5f1c2a34", "groups": ["/airflow/*"]}, groups=groups)

    assert isinstance(outcome, Accept) is accepted


@pytest.mark.parametrize(("levels", "accepted"), [([2], True), ([True], False), (["2"], False), ([2.0], False)])
def test_a_number_matches_a_number_in_the_list_and_nothing_else(ask: Ask, levels: list[Any], accepted: bool) -> None:
    outcome = ask("keycloak", {"sub": "5f1c2a34", "levels": [2]}, levels=levels)

    assert isinstance(outcome, Accept) is accepted


# --- members of objects ----------------------------------------------------------------------------------------------


def test_a_role_of_a_client_in_keycloak_matches(ask: Ask) -> None:
    outcome = ask(
        "keycloak", KEYCLOAK, resource_access={"account": {"roles": ["x"]}, "airflow": {"roles": ["dag-runner"]}}
    )

    assert isinstance(outcome, Accept)


@pytest.mark.parametrize(
    "changed",
    [
        pytest.param({}, id="missing"),
        pytest.param({"resource_access": {"account": {"roles": ["dag-runner"]}}}, id="a-role-of-another-client"),
        pytest.param({"realm_access": {"roles": ["dag-runner"]}}, id="a-role-of-the-realm"),
        pytest.param({"roles": ["dag-runner"]}, id="at-the-top"),
        pytest.param({"airflow": {"roles": ["dag-runner"]}}, id="one-level-up"),
        pytest.param({"resource_access.airflow.roles": ["dag-runner"]}, id="one-name-with-dots"),
        pytest.param({"resource_access": {"airflow.roles": ["dag-runner"]}}, id="half-a-name-with-dots"),
        pytest.param({"resource_access.airflow": {"roles": ["dag-runner"]}}, id="the-other-half-with-dots"),
        pytest.param({"resource_access": [{"airflow": {"roles": ["dag-runner"]}}]}, id="a-list-on-the-way"),
        pytest.param({"resource_access": "airflow"}, id="a-text-on-the-way"),
        pytest.param({"resource_access": {"airflow": ["roles", "dag-runner"]}}, id="a-list-for-the-object"),
        pytest.param({"resource_access": {"airflow": {"roles": "dag-runner"}}}, id="a-text-for-the-list"),
        pytest.param({"resource_access": {"airflow": {"roles": {"dag-runner": 1}}}}, id="an-object-for-the-list"),
        pytest.param({"resource_access": {"Airflow": {"roles": ["dag-runner"]}}}, id="case-of-a-name"),
    ],
)
def test_a_role_in_another_place_is_refused(ask: Ask, changed: dict[str, Any]) -> None:
    outcome = ask("keycloak", KEYCLOAK, **changed)

    assert is_refused(outcome)


def test_the_service_account_of_a_pod_matches_by_its_members(ask: Ask) -> None:
    outcome = ask("kubernetes", POD)

    assert isinstance(outcome, Accept)


@pytest.mark.parametrize(
    "claim",
    [
        pytest.param({"serviceaccount": {"name": "default"}}, id="another"),
        pytest.param({"serviceaccount": ["nightly"]}, id="a-list"),
        pytest.param({"serviceaccount": "nightly"}, id="a-text"),
        pytest.param({"pod": {"name": "nightly"}}, id="the-name-of-the-pod"),
        pytest.param([{"serviceaccount": {"name": "nightly"}}], id="a-list-around-it"),
    ],
)
def test_another_service_account_is_refused_by_its_members(ask: Ask, claim: object) -> None:
    outcome = ask("kubernetes", POD, **{"kubernetes.io": claim})

    assert is_refused(outcome)


def test_a_service_account_that_is_made_anew_has_another_uid(ask: Ask) -> None:
    uid = CLAIMS["kubernetes"]["kubernetes.io"]["serviceaccount"]["uid"]
    rule = {**RULES["kubernetes"], "kubernetes.io": {"serviceaccount": {"uid": uid}}}

    outcomes = [ask("kubernetes", rule), ask("kubernetes", rule, **{"kubernetes.io": {"serviceaccount": {"uid": "0"}}})]

    assert [type(outcome) for outcome in outcomes] == [Accept, Reject]


def test_a_name_in_quotes_is_one_claim(ask: Ask) -> None:
    rule = {"sub": "5f1c2a34", "https://example.com/roles": ["dag-runner"]}

    outcomes = [
        ask("keycloak", rule, **{"https://example.com/roles": ["dag-runner"]}),
        ask("keycloak", rule, **{"https://example": {"com/roles": ["dag-runner"]}}),
    ]

    assert [type(outcome) for outcome in outcomes] == [Accept, Reject]


def test_a_token_that_has_a_member_twice_is_nobodys(tmp_path: Path) -> None:
    rule = rule_for("kubernetes", tmp_path, claims=POD)
    backend = WorkloadBackend.from_settings(settings_with(tmp_path, rule))
    # Two readings of one text: the first object, or the last.
    once = '"serviceaccount": {"name": "nightly"}'
    claims = json.dumps(claims_of("kubernetes", **{"kubernetes.io": POD["kubernetes.io"]}))
    twice = claims.replace(once, '"serviceaccount": {"name": "other"}, ' + once)

    outcomes = [
        backend.authenticate(Bearer(jwt.PyJWS().encode(text.encode(), RSA_KEY, "RS256", {"typ": "", "kid": "rsa"})))
        for text in (claims, twice)
    ]

    assert [type(outcome) for outcome in outcomes] == [Accept, Skip]


# --- rules that cannot be meant --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("platform", "claims"),
    [
        ("entra", {"roles": ["*"]}),
        ("entra", {"groups": ["etl"]}),
        ("kubernetes", {"kubernetes.io": {"serviceaccount": {"name": "default"}}}),
        ("kubernetes", {"kubernetes.io": {"namespace": "*"}}),
        ("kubernetes", {"kubernetes.io": {"namespace": "**"}}),
        ("aws", {"https://sts.amazonaws.com/": {"aws_account": "*"}}),
        ("aws", {"https://sts.amazonaws.com/": {"source_region": "eu-west-1"}}),
        ("google", {"google": {"compute_engine": {"zone": "europe-west1-b"}}}),
        ("github", {"repository_id": {"x": "74"}}),
        ("keycloak", {"groups": ["**"]}),
    ],
)
def test_a_rule_that_everybody_could_match_by_its_members_stops_the_start(
    tmp_path: Path, platform: str, claims: dict[str, Any]
) -> None:
    issuer = {"issuer": "https://keycloak.example.com/realms/main"} if platform == "keycloak" else {}
    rule = rule_for("entra" if issuer else platform, tmp_path, claims=claims, **issuer)

    with pytest.raises(ConfigError, match="of any owner"):
        WorkloadBackend.from_settings(settings_with(tmp_path, rule))


@pytest.mark.parametrize(
    ("claims", "where"),
    [
        pytest.param({"roles": []}, "claims.roles", id="empty-list"),
        pytest.param({"roles": [""]}, "claims.roles", id="empty-text-in-the-list"),
        pytest.param({"roles": ["a", 1]}, "claims.roles", id="list-of-two-types"),
        pytest.param({"roles": [["a"]]}, "claims.roles", id="list-in-a-list"),
        pytest.param({"roles": [1.5]}, "claims.roles", id="fraction"),
        pytest.param({"x": {}}, "claims.x", id="empty-table"),
        pytest.param({"x": {"y": 1.5}}, "claims.x.y", id="fraction-in-a-table"),
        pytest.param({"x": {"y": None}}, "claims.x.y", id="null-in-a-table"),
        pytest.param({"x": {"a.b": [{}]}}, 'claims.x."a.b"', id="table-in-a-list"),
        pytest.param({"x\u200by": "a"}, "claims", id="invisible-character-in-a-name"),
        pytest.param({"": "a"}, "claims", id="empty-name"),
        pytest.param({"aud": ["a"]}, "audience", id="audience"),
        pytest.param({"iss": {"x": "a"}}, "issuer", id="issuer"),
        pytest.param({"sub": ["a"]}, "claims.sub", id="subject-in-a-list"),
        pytest.param({"sub": {"x": "a"}}, "claims.sub", id="subject-in-a-table"),
        pytest.param({"a": {"b": {"c": {"d": {"e": {"f": {"g": {"h": "i"}}}}}}}}, "claims.a", id="too-deep"),
    ],
)
def test_a_condition_that_no_claim_could_meet_stops_the_start(
    tmp_path: Path, claims: dict[str, Any], where: str
) -> None:
    with pytest.raises(ConfigError) as stopped:
        WorkloadBackend.from_settings(
            settings_with(tmp_path, rule_for("entra", tmp_path, claims={**RULES["entra"], **claims}))
        )

    assert where in str(stopped.value)
    assert "; " in str(stopped.value)


def test_a_list_of_events_opens_no_rule_for_strangers(ask: Ask) -> None:
    rule = {"repository_id": "74", "event_name": ["pull_request"]}

    outcome = ask("github", rule, event_name=["pull_request"])

    assert is_refused(outcome)
