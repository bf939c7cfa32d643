"""What a refusal says about bearer tokens."""

from __future__ import annotations

import pytest

from compat_auth.http.challenges import ChallengeContext, ask_for_scope, is_bearer, with_bearer, www_authenticate

METADATA = "https://airflow.example/.well-known/oauth-protected-resource"
POINTER = f'resource_metadata="{METADATA}"'


@pytest.mark.parametrize(
    ("challenge", "said"),
    [
        ("Bearer", 'Bearer error="invalid_token"'),
        ('Bearer realm="x"', 'Bearer realm="x", error="invalid_token"'),
        ('bearer realm="a, b", scope="c"', 'bearer realm="a, b", scope="c", error="invalid_token"'),
        ('Bearer error="insufficient_scope"', 'Bearer error="insufficient_scope"'),
        ('Bearer realm="x",error="invalid_token"', 'Bearer realm="x",error="invalid_token"'),
        ('Basic realm="x"', 'Basic realm="x"'),
        ("Negotiate YIIbearer", "Negotiate YIIbearer"),
        ("Bearers", "Bearers"),
    ],
)
def test_a_wrong_bearer_token_is_told_to_be_wrong_and_nothing_else_is(challenge: str, said: str) -> None:
    assert www_authenticate((challenge,), ChallengeContext(is_bearer=True)) == (said,)


@pytest.mark.parametrize(
    "challenge", ['Bearer realm="x", Basic realm="y"', "Bearer, Basic", "Bearer abc==", 'Bearer r="']
)
def test_what_cannot_be_read_as_one_challenge_is_sent_as_it_is(challenge: str) -> None:
    assert www_authenticate((challenge,), ChallengeContext(True, METADATA)) == (challenge,)


def test_who_showed_no_bearer_token_is_told_of_no_error() -> None:
    assert www_authenticate(('Bearer realm="x"', "Basic"), ChallengeContext()) == ('Bearer realm="x"', "Basic")


@pytest.mark.parametrize(
    ("challenge", "said"),
    [("Bearer", f"Bearer {POINTER}"), ('Bearer realm="x"', f'Bearer realm="x", {POINTER}'), ("Basic", "Basic")],
)
def test_an_invitation_to_a_bearer_token_says_who_gives_one(challenge: str, said: str) -> None:
    assert www_authenticate((challenge,), ChallengeContext(metadata_url=METADATA)) == (said,)


def test_a_missing_scope_is_named() -> None:
    assert (
        ask_for_scope("GET:/api/v2/dags", ChallengeContext())
        == 'Bearer error="insufficient_scope", scope="GET:/api/v2/dags"'
    )
    assert ask_for_scope("", ChallengeContext(True, METADATA)) == f'Bearer error="insufficient_scope", {POINTER}'


@pytest.mark.parametrize(
    ("value", "found"), [("Bearer x", True), ("bEARER", True), ("Basic x", False), ("Bearerx", False), (None, False)]
)
def test_a_scheme_is_told_without_case(value: str | None, found: bool) -> None:
    assert is_bearer(value) is found


def test_an_invitation_to_bearer_tokens_is_added_once() -> None:
    assert with_bearer(("Basic",)) == ("Basic", "Bearer")
    assert with_bearer(('bearer realm="x"', "Basic")) == ('bearer realm="x"', "Basic")
