"""`compat-auth workloads suggest`: the lines for a token, which nobody believes and nobody repeats."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from compat_auth.authn.workloads.rules import find_rule, read_rules
from compat_auth.authn.workloads.width import widths_of
from compat_auth.cli import commands
from compat_auth.config import parse_settings
from compat_auth.crypto.personal_token_format import make_text
from compat_auth.errors import InvalidToken
from support.stub_issuer import OTHER_RSA_KEY
from support.workload_tokens import AUDIENCE, CLAIMS, claims_of, rule_for, settings_with, token_of


def suggest(token: str, *, by_stdin: bool = False) -> Result:
    arguments = ["workloads", "suggest", *([] if by_stdin else [token])]
    return CliRunner().invoke(commands, arguments, input=f"{token}\n" if by_stdin else None)


def rule_in(result: Result) -> Any:
    assert result.exit_code == 0, result.output
    (table,) = tomllib.loads(result.output)["workloads"]
    return table


@pytest.mark.parametrize("by_stdin", [True, False])
@pytest.mark.parametrize("platform", sorted(CLAIMS))
def test_the_printed_rule_matches_the_token_and_nothing_is_too_wide(platform: str, by_stdin: bool) -> None:
    token = token_of(platform)

    result = suggest(token, by_stdin=by_stdin)

    table = rule_in(result)
    (rule,) = read_rules(parse_settings({"workloads": [table]}, origin="test").workloads)
    assert find_rule((rule,), claims_of(platform)) == rule
    assert list(widths_of(rule)) == []
    assert rule.audience == (AUDIENCE,)
    assert len([line for line in result.output.splitlines() if line.partition(" =")[1]]) == 5
    assert "NOT checked" in result.output


@pytest.mark.parametrize("platform", sorted(CLAIMS))
def test_the_token_is_never_printed(platform: str) -> None:
    token = token_of(platform)

    result = suggest(token)

    assert not any(part in result.output for part in token.split("."))


@pytest.mark.parametrize("iss", ["https://[", "https://x]y", "//[::1"])
def test_an_issuer_that_is_no_url_needs_no_traceback(iss: str) -> None:
    table = rule_in(suggest(token_of("kubernetes", iss=iss)))

    assert table["issuer"] == iss


def test_a_token_that_nobody_has_signed_is_read_all_the_same() -> None:
    token = token_of("github", key=OTHER_RSA_KEY)

    assert rule_in(suggest(token))["claims"]["repository_id"] == "74"


def test_an_environment_is_taken_in_the_place_of_the_branch() -> None:
    table = rule_in(suggest(token_of("github", environment="production")))

    assert table["claims"] == {"repository_id": "74", "repository_owner_id": "65", "environment": "production"}


def test_a_pull_request_has_to_be_named_and_gets_a_rule_of_its_own() -> None:
    table = rule_in(suggest(token_of("github", event_name="pull_request", ref="refs/pull/7/merge")))

    assert table["claims"]["event_name"] == "pull_request"


@pytest.mark.parametrize(
    ("platform", "changed", "offered"),
    [
        pytest.param(
            "kubernetes",
            {},
            '"kubernetes.io".serviceaccount.uid="00000000-0000-4000-8000-000000000012"',
            id="uid-of-a-service-account",
        ),
        pytest.param("entra", {"roles": ["Dag.Trigger", "x"]}, 'roles=["Dag.Trigger", "x"]', id="roles-of-entra"),
        pytest.param(
            "entra",
            {"resource_access": {"a.b/c": {"roles": ['x"] }, account = "root']}}},
            'resource_access."a.b/c".roles=["x\\"] }, account = \\"root"]',
            id="a-name-with-dots-and-a-value-with-quotes",
        ),
    ],
)
def test_members_and_lists_are_offered_as_the_rule_has_to_write_them(
    platform: str, changed: dict[str, Any], offered: str
) -> None:
    result = suggest(token_of(platform, **changed))

    table = rule_in(result)
    more = tomllib.loads(offered)
    (rule,) = read_rules(
        parse_settings({"workloads": [{**table, "claims": {**table["claims"], **more}}]}, origin="test").workloads
    )
    assert f"# claims: to narrow the rule, add {offered}\n" in result.output
    assert find_rule((rule,), claims_of(platform, **changed)) == rule


@pytest.mark.parametrize("roles", ["x", [], ["*"], ["x", 5], [["x"]], ["a\nb"], ["\x1b[2J"]])
def test_a_list_that_no_rule_could_name_is_not_offered(roles: object) -> None:
    result = suggest(token_of("entra", roles=roles))

    assert rule_in(result)
    assert "to narrow" not in result.output


def test_what_is_wide_is_said_in_a_comment() -> None:
    result = suggest(token_of("gitlab", ref_protected="false"))

    assert "# claims: everybody who may push" in result.output


@pytest.mark.parametrize(
    ("platform", "changed"),
    [
        pytest.param("google", {"hd": "acme.example"}, id="person"),
        pytest.param("github", {"aud": None}, id="no-audience"),
        pytest.param("github", {"iss": None}, id="no-issuer"),
        pytest.param("github", {"environment": "x\n[[workloads]]"}, id="line-end"),
        pytest.param("github", {"environment": '"\x1b[2J'}, id="escape-sequence"),
        pytest.param("github", {"environment": "*"}, id="asterisk"),
        pytest.param("github", {"aud": "**"}, id="asterisk-in-audience"),
        pytest.param("github", {"environment": ["x"]}, id="list"),
        pytest.param("github", {"repository_id": "", "ref": None}, id="empty"),
        pytest.param("kubernetes", {"sub": "system:serviceaccount:*:*"}, id="wildcard-as-subject"),
    ],
)
def test_a_token_from_which_no_safe_rule_can_be_made_gets_none(platform: str, changed: dict[str, Any]) -> None:
    result = suggest(token_of(platform, **changed))

    assert result.exit_code == 2
    assert "issuer =" not in result.output
    assert "\x1b" not in result.output


def test_quotes_in_a_claim_stay_within_it() -> None:
    name = 'prod" }, account = "root'

    table = rule_in(suggest(token_of("github", environment=name)))

    assert (table["claims"]["environment"], table["account"]) == (name, "etl-robot")


@pytest.mark.parametrize("text", ["", "   ", "not-a-token", "a.b.c", "x" * 70_000])
def test_what_is_no_token_is_wrong_usage_and_not_repeated(text: str) -> None:
    result = suggest(text, by_stdin=True)

    assert result.exit_code == 2
    assert not text.strip() or text.strip() not in result.output


def test_a_personal_token_is_not_repeated_either() -> None:
    text = make_text().value

    result = suggest(text)

    assert (result.exit_code, text in result.output) == (2, False)


def test_a_printed_rule_lets_its_job_in_and_no_other(tmp_path: Path) -> None:
    table = rule_in(suggest(token_of("github")))
    (rule,) = read_rules(settings_with(tmp_path, {**rule_for("github", tmp_path), **table}).workloads)

    with pytest.raises(InvalidToken, match="repository_id"):
        find_rule((rule,), claims_of("github", repository_id="75"))
