from __future__ import annotations

import re
from typing import Any

import pytest

from compat_auth.config import Settings
from compat_auth.errors import ConfigError, NoSuchUser, NotAuthenticated, NotPermitted
from compat_auth.identity import Identity
from compat_auth.tokens.claims import claims_for

NOW = 1_800_000_000
ANNA = Identity(
    "anna", "basic_auth", email="anna@example.org", roles=("Op", "Viewer"), groups=("a", "b"), upstream_id="7"
)


def claims(identity: Identity = ANNA, *, profile: str = "airflow-fab", roles: Any = None, **token: Any) -> Any:
    settings = Settings.model_validate({"upstream": {"profile": profile, "roles": roles or {}}, "token": token})
    return claims_for(identity, settings, now=NOW)


def test_a_token_for_fab_has_what_airflow_asks_for() -> None:
    made = claims()

    jti = made.pop("jti")
    assert made == {"sub": "7", "aud": "apache-airflow", "iat": NOW, "nbf": NOW, "exp": NOW + 600}
    assert re.fullmatch(r"[0-9a-f]{32}", jti)


def test_every_token_has_an_id_of_its_own() -> None:
    assert claims()["jti"] != claims()["jti"]


def test_the_issuer_is_named_where_one_is_set() -> None:
    assert claims(issuer="https://us")["iss"] == "https://us"


@pytest.mark.parametrize("audience", ["urn:airflow.apache.org:task", " urn:airflow.apache.org:task\n"])
def test_the_audience_of_running_tasks_is_refused(audience: str) -> None:
    with pytest.raises(ConfigError, match="gives access to every secret"):
        claims(audience=audience)


@pytest.mark.parametrize("upstream_id", ["", "0", "-1", "1 ", "1\n", "1.0", "x", "\u0661", "9" * 40])
def test_an_identity_without_a_number_in_airflow_is_nobody_there(upstream_id: str) -> None:
    with pytest.raises(NoSuchUser, match=r"\[airflow_db\] url"):
        claims(Identity("anna", "kerberos", upstream_id=upstream_id))


def test_a_token_never_outlives_its_credential() -> None:
    made = claims(Identity("anna", "oidc", upstream_id="7", expires_at=NOW + 30))

    assert made["exp"] == NOW + 30


def test_a_credential_that_has_ended_gets_no_token() -> None:
    with pytest.raises(NotAuthenticated):
        claims(Identity("anna", "oidc", upstream_id="7", expires_at=NOW))


@pytest.mark.parametrize(
    ("roles", "configured", "expected"),
    [
        pytest.param(("Viewer", "op"), {}, "OP", id="the-highest-held-wins"),
        pytest.param(("viewer",), {"anna": "ADMIN"}, "VIEWER", id="a-held-role-beats-the-configured"),
        pytest.param(("Public",), {"anna": "user", "*": "VIEWER"}, "USER", id="the-configured-one-by-name"),
        pytest.param((), {"*": "VIEWER"}, "VIEWER", id="everybody-else"),
    ],
)
def test_a_simple_role_is_found(roles: tuple[str, ...], configured: dict[str, str], expected: str) -> None:
    made = claims(Identity("anna", "basic_auth", roles=roles), profile="airflow-simple", roles=configured)

    assert (made["sub"], made["role"], made["teams"]) == ("anna", expected, [])


def test_an_identity_without_a_simple_role_is_not_permitted() -> None:
    with pytest.raises(NotPermitted, match=r"\[upstream\] roles"):
        claims(Identity("anna", "basic_auth", roles=("root",)), profile="airflow-simple")


def test_a_role_that_airflow_does_not_know_is_refused_at_the_start() -> None:
    with pytest.raises(ConfigError, match="no role 'ROOT'"):
        claims(profile="airflow-simple", roles={"*": "ROOT"})


def test_a_generic_token_follows_the_template() -> None:
    made = claims(
        profile="generic",
        claims={"mail": "{email}", "groups": "{groups}", "who": "{{{username}}} by {backend}", "fixed": "x", "no": ""},
    )

    assert {name: made[name] for name in ("sub", "mail", "groups", "who", "fixed", "no")} == {
        "sub": "anna",
        "mail": "anna@example.org",
        "groups": ["a", "b"],
        "who": "{anna} by basic_auth",
        "fixed": "x",
        "no": "",
    }


def test_the_subject_of_a_generic_token_can_be_chosen() -> None:
    assert claims(profile="generic", claims={"sub": "{email}"})["sub"] == "anna@example.org"


def test_an_empty_subject_is_nobody() -> None:
    with pytest.raises(NoSuchUser):
        claims(Identity("anna", "basic_auth"), profile="generic", claims={"sub": "{email}"})


def test_what_a_user_is_called_is_never_read_as_a_template() -> None:
    made = claims(Identity("{email}{0}", "basic_auth"), profile="generic", claims={"name": "{username}"})

    assert made["name"] == "{email}{0}"


@pytest.mark.parametrize("claim", ["act", "aud", "cnf", "iss", "iat", "nbf", "exp", "jti"])
def test_a_claim_that_is_ours_cannot_be_set(claim: str) -> None:
    with pytest.raises(ConfigError, match=f"claims: {claim}"):
        claims(profile="generic", claims={claim: "x"})


@pytest.mark.parametrize(
    "template",
    [
        "{password}",
        "{}",
        "{0}",
        "{username.__class__}",
        "{roles[0]}",
        "{username!r}",
        "{username:>9}",
        "{username",
        "x{roles}",
        "{roles}{groups}",
        "{roles} ",
    ],
)
def test_a_template_that_reaches_further_is_refused_at_the_start(template: str) -> None:
    with pytest.raises(ConfigError, match=r"\[token\] claims: x"):
        claims(profile="generic", claims={"x": template})


def test_a_list_cannot_be_the_subject() -> None:
    with pytest.raises(ConfigError, match="sub must be a string"):
        claims(profile="generic", claims={"sub": "{roles}"})


def test_a_template_without_effect_is_refused() -> None:
    with pytest.raises(ConfigError, match="only for"):
        claims(claims={"x": "y"})


def test_a_token_of_a_caller_who_acts_for_a_user_names_both() -> None:
    made = claims(Identity("anna", "basic_auth", upstream_id="7", actor="bob"))

    assert (made["sub"], made["act"]) == ("7", {"sub": "bob"})


def test_a_token_for_a_bound_credential_names_its_certificate() -> None:
    made = claims(Identity("anna", "basic_auth", upstream_id="7", certificate="thumbprint"))

    assert made["cnf"] == {"x5t#S256": "thumbprint"}


@pytest.mark.parametrize(
    ("placeholder", "value"),
    [
        ("{username}", "anna"),
        ("{email}", "anna@example.org"),
        ("{subject}", "s"),
        ("{backend}", "basic_auth"),
        ("{directory}", "d"),
        ("{upstream_id}", "7"),
        ("{roles}", ["Op"]),
        ("{groups}", ["a", "b"]),
    ],
)
def test_each_placeholder_stands_for_what_it_names(placeholder: str, value: object) -> None:
    anna = Identity(
        "anna",
        "basic_auth",
        email="anna@example.org",
        roles=("Op",),
        groups=("a", "b"),
        upstream_id="7",
        subject="s",
        directory="d",
    )

    assert claims(anna, profile="generic", claims={"x": placeholder})["x"] == value


@pytest.mark.parametrize("role", ["ADMIN", "OP", "USER", "VIEWER"])
def test_each_role_of_airflow_can_be_held_and_configured(role: str) -> None:
    held = claims(Identity("anna", "basic_auth", roles=(role.lower(),)), profile="airflow-simple")
    configured = claims(Identity("anna", "basic_auth"), profile="airflow-simple", roles={"anna": role.lower()})

    assert held["role"] == configured["role"] == role


def test_the_highest_of_all_roles_wins() -> None:
    everything = Identity("anna", "basic_auth", roles=("viewer", "user", "op", "admin"))

    assert claims(everything, profile="airflow-simple")["role"] == "ADMIN"


def test_a_token_lives_for_a_second_where_its_credential_does() -> None:
    made = claims(Identity("anna", "oidc", upstream_id="7", expires_at=NOW + 1))

    assert made["exp"] == NOW + 1


def test_a_token_lives_no_longer_than_its_setting_says() -> None:
    made = claims(Identity("anna", "oidc", upstream_id="7", expires_at=NOW + 10_000), ttl_s=60)

    assert made["exp"] == NOW + 60


def test_the_largest_id_of_a_user_has_19_digits() -> None:
    assert claims(Identity("anna", "oidc", upstream_id="9" * 19))["sub"] == "9" * 19
    with pytest.raises(NoSuchUser):
        claims(Identity("anna", "oidc", upstream_id="9" * 20))


def test_a_subject_of_blanks_is_nobody() -> None:
    with pytest.raises(NoSuchUser):
        claims(Identity("anna", "basic_auth"), profile="generic", claims={"sub": " "})


def test_a_token_without_an_issuer_has_no_such_claim() -> None:
    assert not {"iss", "act", "cnf"} & set(claims())
