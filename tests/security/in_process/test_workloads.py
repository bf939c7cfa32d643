"""Every way that we know of to act as another workload: with a token that is good, but somebody else's, or meant for others."""

from __future__ import annotations

import hashlib
import hmac
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from jwt.utils import base64url_encode

from compat_auth.authn.registry import load_chain
from compat_auth.credentials import Bearer
from compat_auth.errors import ConfigError
from compat_auth.outcome import Accept, Outcome, Reject, Skip
from compat_auth_backends.workloads.backend import WorkloadBackend
from support.from_now import FromNow
from support.stub_issuer import EC_KEY, OTHER_RSA_KEY, RSA_KEY, jwk
from support.workload_tokens import (
    AUDIENCE,
    CLAIMS,
    GITHUB,
    GOOGLE,
    RULES,
    claims_of,
    rule_for,
    settings_with,
    token_of,
)

Ask = Callable[..., Outcome]


@pytest.fixture
def ask(tmp_path: Path) -> Ask:
    """Ask a backend with one rule of a platform about a token of it: claims changed in the rule, then in the token."""

    def ask(platform: str, rule: dict[str, Any] | None = None, /, *, token: str = "", **changed: Any) -> Outcome:
        table = rule_for(platform, tmp_path, **({"claims": rule} if rule is not None else {}))
        backend = WorkloadBackend.from_settings(settings_with(tmp_path, table))
        return backend.authenticate(Bearer(token or token_of(platform, **changed)))

    return ask


def is_refused(outcome: Outcome) -> bool:
    return isinstance(outcome, Reject) and outcome.status == 401


# --- the good one ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("platform", sorted(CLAIMS))
def test_a_workload_acts_as_its_account_within_its_scopes_until_its_token_ends(ask: Ask, platform: str) -> None:
    end = int(time.time()) + 120

    outcome = ask(platform, exp=end)

    assert isinstance(outcome, Accept)
    found = outcome.identity
    assert (found.username, found.backend, found.subject) == ("etl-robot", "workload", CLAIMS[platform]["sub"])
    assert (found.expires_at, 0 < outcome.reusable_s <= 60) == (end, True)
    assert {str(scope) for scope in found.scopes or ()} == {
        f"{method} {api}/dags/{{dag_id}}/dagRuns{rest}"
        for api in ("/api/v2", "/api/v1")
        for method, rest in (("POST", ""), ("GET", "/{dag_run_id}"))
    }


def test_the_audit_log_learns_issuer_subject_and_rule(tmp_path: Path) -> None:
    backend = WorkloadBackend.from_settings(settings_with(tmp_path, rule_for("github", tmp_path, name="nightly")))

    outcome = backend.authenticate(Bearer(token_of("github")))

    assert isinstance(outcome, Accept)
    assert outcome.reason == f"rule nightly: repo:acme/etl:ref:refs/heads/main of {GITHUB}"


# --- other people's jobs ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "changed",
    [
        pytest.param(
            {"sub": "repo:acme/etl:pull_request", "event_name": "pull_request", "ref": "refs/pull/7/merge"},
            id="pull-request",
        ),
        pytest.param({"event_name": "pull_request"}, id="pull-request-on-the-ref-itself"),
        pytest.param({"event_name": "pull_request_target"}, id="pull-request-target-runs-on-main"),
        pytest.param({"event_name": "issue_comment"}, id="anybody-can-comment"),
        pytest.param({"event_name": "workflow_run"}, id="after-a-pull-request"),
        pytest.param({"event_name": None}, id="event-not-said"),
        pytest.param({"event_name": ["push"]}, id="event-in-a-list"),
        pytest.param({"repository_owner": "evil", "repository_owner_id": "66", "repository_id": "75"}, id="fork"),
        pytest.param({"repository_owner_id": "66"}, id="another-owner"),
        pytest.param({"repository_id": "75"}, id="another-repository"),
        pytest.param({"repository_id": None}, id="claim-missing"),
        pytest.param({"repository_id": 74}, id="claim-is-a-number"),
        pytest.param({"repository_id": True}, id="claim-is-true"),
        pytest.param({"repository_id": ["74"]}, id="claim-is-a-list"),
        pytest.param({"repository_id": {"74": "74"}}, id="claim-is-an-object"),
        pytest.param({"repository_id": ""}, id="claim-is-empty"),
        pytest.param({"repository_id": "74 "}, id="blank-at-the-end"),
        pytest.param({"repository_id": "74\n"}, id="line-end"),
        pytest.param({"repository_id": "\uff17\uff14"}, id="full-width-digits"),
        pytest.param({"ref": "refs/heads/Main"}, id="case"),
        pytest.param({"ref": "refs/heads/main2"}, id="longer"),
        pytest.param({"ref": "refs/tags/main"}, id="tag"),
        pytest.param({"ref": "refs/heads/m\u0430in"}, id="cyrillic-a"),
    ],
)
def test_a_github_job_that_is_not_the_one_of_the_rule_is_refused(ask: Ask, changed: dict[str, Any]) -> None:
    outcome = ask("github", **changed)

    assert is_refused(outcome)


def test_a_rule_that_names_the_event_takes_that_event(ask: Ask) -> None:
    rule = {"repository_id": "74", "environment": "preview", "event_name": "pull_request"}

    outcomes = [ask("github", rule, environment="preview", event_name=event) for event in ("pull_request", "push")]

    assert [type(outcome) for outcome in outcomes] == [Accept, Reject]


def test_an_owner_whose_name_looks_like_an_event_names_none(ask: Ask) -> None:
    sub = "repo:pull_request-club/etl:ref:refs/heads/main"

    outcomes = [ask("github", {"sub": sub}, sub=sub, event_name=event) for event in ("push", "pull_request_target")]

    assert [type(outcome) for outcome in outcomes] == [Accept, Reject]


def test_a_subject_that_names_pull_requests_takes_them(ask: Ask) -> None:
    sub = "repo:acme/etl:pull_request"

    outcome = ask("github", {"sub": sub, "repository_id": "74"}, sub=sub, event_name="pull_request")

    assert isinstance(outcome, Accept)


@pytest.mark.parametrize("environment", [None, "", "production2", "Production", ["production"], True])
def test_a_job_without_the_environment_of_the_rule_is_refused(ask: Ask, environment: object) -> None:
    outcome = ask("github", {"repository_id": "74", "environment": "production"}, environment=environment)

    assert is_refused(outcome)


@pytest.mark.parametrize("environment", [None, "", [], ["production"], "a/b", "a:b", "a\nb", "a\u200bb", "\uff41"])
def test_a_wildcard_stands_for_some_plain_text_within_separators(ask: Ask, environment: object) -> None:
    rule = {"repository_id": "74", "environment": "*"}

    assert is_refused(ask("github", rule, environment=environment))
    assert isinstance(ask("github", rule, environment="production"), Accept)


@pytest.mark.parametrize(
    "sub",
    [
        "repo:acme/etl:ref:refs/heads/main",
        "repo:acme/etl:environment:a/b",
        "repo:acme/etl:environment:a:b",
        "repo:acme/etl:environment:",
        "repo:acme/etl:environment:a\uff0fb",
        "repo:evil/etl:environment:production",
        "repo:acme/etl2:environment:production",
        "repo:ACME/etl:environment:production",
        "xrepo:acme/etl:environment:production",
        "repo:acme/etl:environment:production\n",
        " repo:acme/etl:environment:production",
    ],
)
def test_a_subject_is_compared_from_its_first_to_its_last_letter(ask: Ask, sub: str) -> None:
    rule = {"sub": "repo:acme/etl:environment:*"}

    assert is_refused(ask("github", rule, sub=sub))
    assert isinstance(ask("github", rule, sub="repo:acme/etl:environment:production"), Accept)


def test_two_asterisks_cross_separators_and_one_does_not(ask: Ask) -> None:
    rules = ({"sub": "repo:acme/etl:*"}, {"sub": "repo:acme/etl:**"})

    outcomes = [ask("github", rule) for rule in rules]

    assert [type(outcome) for outcome in outcomes] == [Reject, Accept]


def test_a_repository_made_anew_under_the_old_name_is_another_one(ask: Ask) -> None:
    rule = {"sub": "repo:acme/etl:ref:refs/heads/main", "repository_id": "74"}

    outcomes = [ask("github", rule, repository_id=number) for number in ("74", "900")]

    assert [type(outcome) for outcome in outcomes] == [Accept, Reject]


@pytest.mark.parametrize(
    "changed",
    [
        pytest.param({"project_id": "23", "project_path": "evil/etl"}, id="fork"),
        pytest.param({"project_id": "23"}, id="project-made-anew"),
        pytest.param({"ref_protected": "false"}, id="branch-not-protected"),
        pytest.param({"ref_protected": True}, id="true-is-no-text"),
        pytest.param({"pipeline_source": "merge_request_event"}, id="merge-request-in-the-parent-project"),
        pytest.param({"pipeline_source": "external_pull_request_event"}, id="pull-request-of-elsewhere"),
        pytest.param({"pipeline_source": None}, id="source-not-said"),
        pytest.param({"ref": "feature"}, id="another-branch"),
        pytest.param(
            {"pipeline_source": "parent_pipeline", "ref_path": "refs/merge-requests/1/head"},
            id="started-by-a-merge-requests-pipeline",
        ),
        pytest.param({"ref_path": "refs/merge-requests/1/merge"}, id="reference-of-a-merge-request"),
    ],
)
def test_a_gitlab_job_that_is_not_the_one_of_the_rule_is_refused(ask: Ask, changed: dict[str, Any]) -> None:
    outcome = ask("gitlab", **changed)

    assert is_refused(outcome)


MERGE_REQUEST = {
    "pipeline_source": "merge_request_event",
    "ref": "refs/merge-requests/1/head",
    "ref_path": "refs/merge-requests/1/head",
}


@pytest.mark.parametrize(
    ("rule", "changed", "is_taken"),
    [
        pytest.param({}, {"pipeline_source": "parent_pipeline"}, True, id="child of a push"),
        pytest.param({}, {"ref_path": None}, True, id="an older server without ref_path"),
        pytest.param({}, {"ref": "refs/merge-requests/1/head", "ref_path": None}, False, id="only ref tells it"),
        pytest.param({"pipeline_source": "merge_request_event"}, MERGE_REQUEST, True, id="the rule names the event"),
        pytest.param({"pipeline_source": "parent_pipeline"}, MERGE_REQUEST, False, id="the rule names another event"),
        pytest.param(
            {
                "pipeline_source": "parent_pipeline",
                "ref_path": "refs/merge-requests/**",
                "ref": "refs/merge-requests/**",
            },
            {**MERGE_REQUEST, "pipeline_source": "parent_pipeline"},
            True,
            id="the rule names the reference",
        ),
    ],
)
def test_what_a_merge_request_starts_is_taken_where_the_rule_names_it(
    ask: Ask, rule: dict[str, Any], changed: dict[str, Any], is_taken: bool
) -> None:
    outcome = ask("gitlab", {"project_id": "22", **rule}, **changed)

    assert isinstance(outcome, Accept) is is_taken


@pytest.mark.parametrize(
    ("platform", "claims", "is_taken"),
    [
        pytest.param("gitlab", {"ref": "main"}, False, id="every project of a GitLab"),
        pytest.param("gitlab", {"ref": "main", "ref_protected": "true"}, False, id="every protected branch"),
        pytest.param("gitlab", {"runner_environment": "gitlab-*"}, False, id="every runner"),
        pytest.param("github", {"environment": "production"}, False, id="every environment of that name"),
        pytest.param("github", {"sub": "environment:production"}, False, id="a subject without an owner"),
        pytest.param("kubernetes", {"aud2": "x"}, False, id="every service account"),
        pytest.param("gitlab", {"project_id": "22"}, True, id="a project of a GitLab"),
        pytest.param("github", {"repository_owner": "acme", "environment": "production"}, True, id="an owner"),
    ],
)
def test_a_rule_for_a_server_of_ones_own_has_to_name_an_owner_there(
    tmp_path: Path, platform: str, claims: dict[str, Any], is_taken: bool
) -> None:
    own = "https://git.acme.example"
    backend = WorkloadBackend.from_settings(
        settings_with(tmp_path, rule_for(platform, tmp_path, issuer=own, claims=claims))
    )
    changed = {"environment": "production", "aud2": "x"}
    changed |= {"sub": claims["sub"]} if "sub" in claims else {}

    outcome = backend.authenticate(Bearer(token_of(platform, iss=own, **changed)))

    assert isinstance(outcome, Accept) is is_taken
    if isinstance(outcome, Reject):
        assert "none of its claims names an owner; add" in outcome.reason


@pytest.mark.parametrize(
    ("platform", "changed"),
    [
        ("kubernetes", {"sub": "system:serviceaccount:evil:nightly"}),
        ("kubernetes", {"sub": "system:serviceaccount:etl:nightly:x"}),
        ("kubernetes", {"sub": "system:serviceaccount:etl:default"}),
        ("aws", {"sub": "arn:aws:iam::999999999999:role/nightly"}),
        ("aws", {"sub": "arn:aws:iam::123456789012:role/other"}),
        ("google", {"sub": "1", "azp": "1"}),
        ("google", {"email": "nightly@evil.iam.gserviceaccount.com"}),
        ("entra", {"oid": "cccccccc-0000-4000-8000-000000000001"}),
        ("entra", {"azp": "dddddddd-0000-4000-8000-000000000002"}),
    ],
)
def test_another_workload_of_the_same_platform_is_refused(ask: Ask, platform: str, changed: dict[str, Any]) -> None:
    outcome = ask(platform, **changed)

    assert is_refused(outcome)


# --- people ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("platform", "changed"),
    [
        pytest.param("google", {"azp": "1234-x.apps.googleusercontent.com"}, id="google-login"),
        pytest.param("google", {"hd": "acme.example"}, id="workspace"),
        pytest.param("google", {"email": "person@acme.example"}, id="e-mail-of-a-person"),
        pytest.param("google", {"email_verified": False}, id="e-mail-not-verified"),
        pytest.param("google", {"email": None, "azp": "1"}, id="no-e-mail-and-another-party"),
        pytest.param("google", {"at_hash": "x"}, id="id-token-of-a-login"),
        pytest.param("entra", {"scp": "user_impersonation"}, id="in-a-persons-name"),
        pytest.param("entra", {"idtyp": "user"}, id="entra-says-user"),
        pytest.param("entra", {"preferred_username": "person@acme.example"}, id="entra-person"),
        pytest.param("entra-v1", {"upn": "person@acme.example"}, id="entra-v1-person"),
        pytest.param("entra", {"azp": None, "azpacr": None, "roles": ["dag-runner"]}, id="entra-id-token-with-a-role"),
        pytest.param("entra-v1", {"appid": None, "roles": ["dag-runner"]}, id="entra-v1-id-token-with-a-role"),
        pytest.param("github", {"nonce": "x"}, id="login-with-a-nonce"),
        pytest.param("kubernetes", {"cnf": {"jkt": "x"}}, id="bound-to-a-key"),
        pytest.param("gitlab", {"events": {}}, id="event-token"),
    ],
)
def test_a_persons_token_is_no_workloads_whatever_the_rule_says(
    ask: Ask, platform: str, changed: dict[str, Any]
) -> None:
    # A rule for nothing but the subject, which person and workload share here.
    outcome = ask(platform, {"sub": CLAIMS[platform]["sub"]}, **changed)

    assert is_refused(outcome)


# --- the token itself ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "changed",
    [
        pytest.param({"aud": "https://github.com/acme"}, id="the-platforms-own-audience"),
        pytest.param({"aud": None}, id="no-audience"),
        pytest.param({"aud": []}, id="empty-audience"),
        pytest.param({"aud": [AUDIENCE, 5]}, id="audience-with-a-number"),
        pytest.param({"aud": AUDIENCE.upper()}, id="audience-in-other-letters"),
        pytest.param({"aud": {AUDIENCE: 1}}, id="audience-in-an-object"),
        pytest.param({"exp": None}, id="no-end"),
        pytest.param({"exp": FromNow(-60)}, id="expired"),
        pytest.param({"exp": FromNow(366 * 86400)}, id="a-year"),
        pytest.param({"exp": FromNow(26 * 3600), "iat": None}, id="a-long-day-without-iat"),
        pytest.param({"nbf": FromNow(600)}, id="not-yet"),
        pytest.param({"iat": FromNow(600)}, id="from-the-future"),
        pytest.param({"sub": None}, id="no-subject"),
    ],
)
def test_a_token_for_others_or_for_ever_is_refused(ask: Ask, changed: dict[str, Any]) -> None:
    outcome = ask("github", **changed)

    assert is_refused(outcome)


@pytest.mark.parametrize(
    "signing",
    [
        pytest.param({"key": OTHER_RSA_KEY}, id="another-key-under-this-id"),
        pytest.param({"header": {"alg": "PS256"}}, id="another-algorithm"),
        pytest.param({"key": EC_KEY, "header": {"alg": "ES256"}}, id="another-kind-of-key"),
        pytest.param({"header": {"kid": "unknown"}}, id="unknown-key"),
        pytest.param({"header": {"typ": "logout+jwt"}}, id="another-type"),
        pytest.param(
            {"header": {"jwk": jwk(OTHER_RSA_KEY.public_key(), "rsa")}, "key": OTHER_RSA_KEY}, id="brings-its-key"
        ),
    ],
)
def test_a_token_that_the_issuer_did_not_sign_is_refused(ask: Ask, signing: dict[str, Any]) -> None:
    outcome = ask("github", **signing)

    assert is_refused(outcome)


def test_a_published_key_is_no_secret_for_signing(ask: Ask) -> None:
    secret = json.dumps(jwk(RSA_KEY.public_key(), "rsa")).encode()
    header = {"alg": "HS256", "typ": "JWT", "kid": "rsa"}
    signed = b".".join(base64url_encode(json.dumps(part).encode()) for part in (header, claims_of("github")))
    signature = base64url_encode(hmac.new(secret, signed, hashlib.sha256).digest())

    outcome = ask("github", token=(signed + b"." + signature).decode())

    assert is_refused(outcome)


def test_a_key_of_one_issuer_signs_nothing_for_another(tmp_path: Path) -> None:
    theirs = tmp_path / "theirs.json"
    theirs.write_text(json.dumps({"keys": [jwk(OTHER_RSA_KEY.public_key(), "rsa")]}))
    rules = (rule_for("github", tmp_path), rule_for("kubernetes", tmp_path, jwks=str(theirs), account="other-robot"))
    backend = WorkloadBackend.from_settings(settings_with(tmp_path, *rules))

    outcomes = [
        backend.authenticate(Bearer(token_of("github", key=OTHER_RSA_KEY))),
        backend.authenticate(Bearer(token_of("kubernetes"))),
        backend.authenticate(Bearer(token_of("kubernetes", key=OTHER_RSA_KEY))),
    ]

    assert [type(outcome) for outcome in outcomes] == [Reject, Reject, Accept]


@pytest.mark.parametrize(
    "issuer", [f"{GITHUB}/", GITHUB.upper(), f"{GITHUB}.evil.example", "https://evil.example", None, 5, []]
)
def test_a_token_of_another_issuer_is_left_to_the_next_backend(ask: Ask, issuer: object) -> None:
    outcome = ask("github", iss=issuer)

    assert outcome == Skip()


# --- rules that cannot be meant --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("platform", "claims"),
    [
        ("github", {}),
        ("github", {"ref": "refs/heads/main"}),
        ("github", {"repository_visibility": "private"}),
        ("github", {"repository": "*/etl"}),
        ("github", {"repository": "**"}),
        ("github", {"repository_id": "*"}),
        ("github", {"repository_owner": "**"}),
        ("github", {"sub": "*"}),
        ("github", {"sub": "**"}),
        ("github", {"sub": "repo:*"}),
        ("github", {"sub": "repo:**"}),
        ("github", {"sub": "repo:*/etl:**"}),
        ("github", {"sub": "**:ref:refs/heads/main"}),
        ("github", {"sub": "repo:acme*/etl:**"}),
        ("github", {"job_workflow_ref": "acme/etl/.github/workflows/x.yml@refs/heads/main"}),
        ("gitlab", {"sub": "project_path:**"}),
        ("gitlab", {"project_path": "*/etl"}),
        ("gitlab", {"ref_protected": "true"}),
        ("kubernetes", {"sub": "system:serviceaccount:*:*"}),
        ("kubernetes", {"sub": "system:serviceaccount:**"}),
        ("kubernetes", {"sub": "system:serviceaccount:etl*"}),
        ("aws", {"sub": "arn:aws:iam::*:role/nightly"}),
        ("aws", {"sub": "**"}),
        ("google", {"email": "*@**"}),
        ("google", {"email": "*.iam.gserviceaccount.com"}),
        ("google", {"email_verified": True}),
        ("entra", {"tid": "11111111-2222-4333-8444-555555555555"}),
        ("entra", {"oid": "*"}),
    ],
)
def test_a_rule_that_everybody_could_match_stops_the_start(
    tmp_path: Path, platform: str, claims: dict[str, Any]
) -> None:
    with pytest.raises(ConfigError) as stopped:
        WorkloadBackend.from_settings(settings_with(tmp_path, rule_for(platform, tmp_path, claims=claims)))

    assert "claims" in str(stopped.value)
    assert "; " in str(stopped.value)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"audience": None}, "audience"),
        ({"audience": []}, "audience"),
        ({"audience": ""}, "audience"),
        ({"audience": [""]}, "audience"),
        ({"audience": "*"}, "audience"),
        ({"audience": "*.example.com"}, "audience"),
        ({"claims": None}, "claims"),
        ({"claims": {"sub": ""}}, "claims.sub"),
        ({"claims": {"sub": "repo:acme/***"}}, "claims.sub"),
        ({"claims": {"sub": ["repo:acme/etl:x"]}}, "claims.sub"),
        ({"claims": {"sub": "repo:acme/etl:\uff58"}}, "claims.sub"),
        ({"claims": {**RULES["github"], "iss": GITHUB}}, "issuer"),
        ({"claims": {**RULES["github"], "aud": AUDIENCE}}, "audience"),
        ({"claims": {**RULES["github"], "jti": "x"}}, "claims.jti"),
        ({"account": None}, "account"),
        ({"account": ""}, "account"),
        ({"scopes": None}, "scopes"),
        ({"scopes": []}, "scopes"),
        ({"scopes": ["triger"]}, "scopes"),
        ({"issuer": ""}, "issuer"),
        ({"issuer": "http://issuer.example", "jwks": None}, "https"),
        ({"jwks": "http://issuer.example/keys"}, "https"),
        ({"jwks": "kubernetes"}, "kubernetes"),
        ({"ca_file": "/etc/ca.pem"}, "ca_file"),
        ({"jwks": None, "token_file": "/run/token"}, "token_file"),
        ({"name": "two words"}, "name"),
    ],
)
def test_a_rule_that_is_incomplete_or_ambiguous_stops_the_start(
    tmp_path: Path, changed: dict[str, Any], said: str
) -> None:
    with pytest.raises(ConfigError) as stopped:
        WorkloadBackend.from_settings(settings_with(tmp_path, rule_for("github", tmp_path, **changed)))

    assert "workloads" in str(stopped.value)
    assert said in str(stopped.value)
    assert "; " in str(stopped.value)


def test_a_backend_without_a_rule_stops_the_start(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="workloads suggest"):
        WorkloadBackend.from_settings(settings_with(tmp_path))


def test_a_key_file_that_others_can_change_stops_the_start(tmp_path: Path) -> None:
    rule = rule_for("github", tmp_path)
    (tmp_path / "jwks.json").chmod(0o666)

    with pytest.raises(ConfigError, match="chmod go-w"):
        WorkloadBackend.from_settings(settings_with(tmp_path, rule))


def test_two_rules_that_disagree_about_an_issuers_keys_stop_the_start(tmp_path: Path) -> None:
    rules = (rule_for("github", tmp_path), rule_for("github", tmp_path, jwks="https://keys.example/jwks"))

    with pytest.raises(ConfigError, match=r"workloads\[1\]: another jwks"):
        WorkloadBackend.from_settings(settings_with(tmp_path, *rules))


def test_two_rules_of_one_name_stop_the_start(tmp_path: Path) -> None:
    rule = rule_for("github", tmp_path, name="nightly")

    with pytest.raises(ConfigError, match="twice"):
        WorkloadBackend.from_settings(settings_with(tmp_path, rule, rule))


# --- two meanings ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("order", [1, -1])
@pytest.mark.parametrize("other", [{"account": "other-robot"}, {"scopes": ["all"]}])
def test_a_token_with_two_meanings_has_none(tmp_path: Path, other: dict[str, Any], order: int) -> None:
    wide = rule_for("github", tmp_path, claims={"repository_owner_id": "65"}, jwks=None, **other)
    rules = [rule_for("github", tmp_path), wide][::order]
    backend = WorkloadBackend.from_settings(settings_with(tmp_path, *rules))

    outcome = backend.authenticate(Bearer(token_of("github")))

    assert isinstance(outcome, Reject)
    assert (outcome.status, "match the same token" in outcome.reason) == (403, True)


def test_two_rules_that_mean_the_same_are_no_trouble(tmp_path: Path) -> None:
    rules = (rule_for("github", tmp_path), rule_for("github", tmp_path, claims={"repository_owner_id": "65"}))
    backend = WorkloadBackend.from_settings(settings_with(tmp_path, *rules))

    outcome = backend.authenticate(Bearer(token_of("github")))

    assert isinstance(outcome, Accept)


def test_the_audience_of_one_rule_does_not_open_another(tmp_path: Path) -> None:
    narrow = rule_for(
        "github", tmp_path, claims={**RULES["github"], "ref": "refs/heads/other"}, audience="other-service"
    )
    backend = WorkloadBackend.from_settings(settings_with(tmp_path, rule_for("github", tmp_path), narrow))

    outcome = backend.authenticate(Bearer(token_of("github", aud="other-service")))

    assert is_refused(outcome)


# --- accounts --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("account", ["gone", "nobody", "ETL-ROBOT"])
def test_an_account_that_is_disabled_or_unknown_lets_nobody_in(tmp_path: Path, account: str) -> None:
    backend = WorkloadBackend.from_settings(settings_with(tmp_path, rule_for("github", tmp_path, account=account)))

    outcome = backend.authenticate(Bearer(token_of("github")))

    assert isinstance(outcome, Reject)
    assert outcome.status == 403


def test_without_any_directory_a_name_is_nobodys(tmp_path: Path) -> None:
    settings = settings_with(
        tmp_path, rule_for("github", tmp_path), lookup={}, basic_auth={"directories": ["upstream"]}
    )

    outcome = WorkloadBackend.from_settings(settings).authenticate(Bearer(token_of("github")))

    assert isinstance(outcome, Reject)
    assert outcome.status == 403


# --- beside others ---------------------------------------------------------------------------------------------------


def test_a_token_that_a_rule_refuses_goes_to_another_backend_for_the_same_issuer(tmp_path: Path) -> None:
    google = {"google_openid": {"audience": "web", "hosted_domains": "acme.example"}}
    settings = settings_with(
        tmp_path, rule_for("google", tmp_path), auth_backends=["workload", "google_openid"], **google
    )
    backend = WorkloadBackend.from_settings(settings)

    person = token_of("google", aud="web", hd="acme.example", email="person@acme.example")

    assert backend.authenticate(Bearer(person)) == Skip()
    assert isinstance(backend.authenticate(Bearer(token_of("google"))), Accept)


@pytest.mark.parametrize("first", ["oidc", "google_openid"])
def test_a_backend_that_would_refuse_a_workload_before_it_is_asked_stops_the_start(tmp_path: Path, first: str) -> None:
    more = {"oidc": {"issuers": [{"issuer": GOOGLE, "audience": "web"}]}, "google_openid": {"audience": "web"}}
    settings = settings_with(tmp_path, rule_for("google", tmp_path), auth_backends=[first, "workload"], **more)

    with pytest.raises(ConfigError, match="write workload before it"):
        load_chain(settings)


def test_a_token_that_was_taken_back_here_is_refused_from_then_on(tmp_path: Path) -> None:
    backend = WorkloadBackend.from_settings(settings_with(tmp_path, rule_for("github", tmp_path)))
    token, other = token_of("github"), token_of("github", run_id="191")

    taken_back = backend.refuse(Bearer(token), time.time() + 600)

    assert taken_back is True
    assert is_refused(backend.authenticate(Bearer(token)))
    assert isinstance(backend.authenticate(Bearer(other)), Accept)


def test_a_token_that_was_taken_back_is_left_to_no_other_backend_for_the_same_issuer(tmp_path: Path) -> None:
    more = {"oidc": {"issuers": [{"issuer": GOOGLE, "audience": AUDIENCE, "username_claim": "sub"}]}}
    rule = rule_for("google", tmp_path)
    backend = WorkloadBackend.from_settings(settings_with(tmp_path, rule, auth_backends=["workload", "oidc"], **more))
    token, others = token_of("google"), token_of("google", sub="999", azp="999")

    backend.refuse(Bearer(token), time.time() + 600)

    assert is_refused(backend.authenticate(Bearer(token)))
    assert backend.authenticate(Bearer(others)) == Skip()


def test_a_forged_token_cannot_be_taken_back(tmp_path: Path) -> None:
    backend = WorkloadBackend.from_settings(settings_with(tmp_path, rule_for("github", tmp_path)))

    assert backend.refuse(Bearer(token_of("github", key=OTHER_RSA_KEY)), time.time() + 600) is False


def test_a_long_claim_with_many_near_matches_takes_no_time(ask: Ask) -> None:
    rule = {"repository_id": "74", "ref": "refs/heads/" + "**a" * 40 + "b"}
    began = time.perf_counter()

    outcome = ask("github", rule, ref="refs/heads/" + "a" * 1000)

    assert is_refused(outcome)
    assert time.perf_counter() - began < 5


def test_a_token_from_a_server_of_ones_own_is_judged_by_its_claims(tmp_path: Path) -> None:
    own = "https://git.acme.example"
    backend = WorkloadBackend.from_settings(settings_with(tmp_path, rule_for("gitlab", tmp_path, issuer=own)))

    outcomes = [
        backend.authenticate(Bearer(token_of("gitlab", iss=own, pipeline_source=source)))
        for source in ("push", "merge_request_event")
    ]

    assert [type(outcome) for outcome in outcomes] == [Accept, Reject]
