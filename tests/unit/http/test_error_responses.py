"""How a refusal looks."""

from __future__ import annotations

import json

import pytest

from compat_auth.errors import (
    BackendUnavailable,
    BadRequest,
    CompatAuthError,
    InsufficientScope,
    MalformedCredentials,
    NoSuchUser,
    NotPermitted,
)
from compat_auth.http.challenges import ChallengeContext
from compat_auth.http.error_responses import ErrorStyle

CHALLENGES = ("Negotiate", 'Basic realm="Airflow"')


def test_a_401_carries_every_challenge_in_a_header_of_its_own() -> None:
    wording = ErrorStyle().render(401, CHALLENGES)

    assert [value for name, value in wording.headers if name == "WWW-Authenticate"] == list(CHALLENGES)


def test_a_403_invites_no_other_credential() -> None:
    wording = ErrorStyle().render(403, CHALLENGES)

    assert wording.status == 403
    assert "WWW-Authenticate" not in dict(wording.headers)


@pytest.mark.parametrize("status", [401, 403])
def test_no_refusal_may_be_kept_by_a_cache(status: int) -> None:
    assert dict(ErrorStyle().render(status).headers)["Cache-Control"] == "no-store"


def test_airflow_2_s_401_is_in_its_own_words() -> None:
    wording = ErrorStyle("airflow2").render(401, ("Basic",))

    assert wording.status == 401
    assert ("WWW-Authenticate", "Basic") in wording.headers
    assert json.loads(wording.body)["type"].endswith("Unauthenticated")


def test_airflow_2_s_403_is_in_its_own_words() -> None:
    wording = ErrorStyle("airflow2").render(403, ("Basic",))

    assert wording.status == 403
    assert "WWW-Authenticate" not in dict(wording.headers)
    assert json.loads(wording.body)["type"].endswith("PermissionDenied")


@pytest.mark.parametrize("status", [401, 403])
def test_airflow_2_with_a_public_role_words_every_refusal_as_403(status: int) -> None:
    wording = ErrorStyle("airflow2", public_role=True).render(status, ("Basic",))

    assert wording.status == 403
    assert "WWW-Authenticate" not in dict(wording.headers)
    assert json.loads(wording.body)["title"] == "Forbidden"


def test_a_refused_shape_tells_the_caller_what_to_change() -> None:
    wording = ErrorStyle().render_error(BadRequest("Host: two headers; send one"))

    assert wording.status == 400
    assert json.loads(wording.body)["detail"] == "Host: two headers; send one"


@pytest.mark.parametrize("error", [BackendUnavailable("ldap://10.0.0.7 is down"), NoSuchUser("zoë is unknown to it")])
def test_what_only_the_operator_may_know_stays_out_of_the_answer(error: BackendUnavailable | NoSuchUser) -> None:
    wording = ErrorStyle().render_error(error)

    assert wording.status == error.status
    assert "detail" not in json.loads(wording.body)


def test_an_unavailable_source_says_when_to_try_again() -> None:
    wording = ErrorStyle().render_error(BackendUnavailable("down"))

    assert dict(wording.headers)["Retry-After"] == "5"


def test_an_error_without_words_has_no_detail() -> None:
    wording = ErrorStyle().render_error(NotPermitted())

    assert "detail" not in json.loads(wording.body)


@pytest.mark.parametrize("mode", ["strict", "airflow2"])
def test_a_malformed_credential_is_a_401_with_challenges_in_both_modes(mode: str) -> None:
    style = ErrorStyle("airflow2" if mode == "airflow2" else "strict")

    wording = style.render_error(MalformedCredentials("Authorization: no scheme"), CHALLENGES)

    assert wording.status == 401
    assert [value for name, value in wording.headers if name == "WWW-Authenticate"] == list(CHALLENGES)


WRONG_TOKEN = ChallengeContext(is_bearer=True, metadata_url="https://gate.example/meta")


def test_a_scope_that_is_missing_is_named_with_the_place_to_get_it() -> None:
    rendered = ErrorStyle().render_error(InsufficientScope("no", "GET:/x"), context=WRONG_TOKEN)

    assert rendered.status == 403
    assert rendered.headers == (
        ("Cache-Control", "no-store"),
        (
            "WWW-Authenticate",
            'Bearer error="insufficient_scope", scope="GET:/x", resource_metadata="https://gate.example/meta"',
        ),
    )


@pytest.mark.parametrize(
    ("mode", "shown"),
    [
        ("strict", 'Bearer error="invalid_token", resource_metadata="https://gate.example/meta"'),
        ("airflow2", "Bearer"),
    ],
)
@pytest.mark.parametrize("error", [MalformedCredentials("Authorization: no scheme"), None])
def test_a_401_speaks_of_the_wrong_token_except_in_airflow_2_s_words(
    mode: str, shown: str, error: CompatAuthError | None
) -> None:
    style = ErrorStyle("airflow2" if mode == "airflow2" else "strict")

    if error is None:
        rendered = style.render(401, ("Bearer",), context=WRONG_TOKEN)
    else:
        rendered = style.render_error(error, ("Bearer",), context=WRONG_TOKEN)

    assert rendered.headers == (("Cache-Control", "no-store"), ("WWW-Authenticate", shown))


@pytest.mark.parametrize(
    ("error", "mode", "kind"),
    [
        (NotPermitted(), "airflow2", "PermissionDenied"),
        (NotPermitted(), "strict", "about:blank"),
        (BackendUnavailable("down"), "airflow2", "about:blank"),
    ],
)
def test_of_errors_only_a_403_is_in_airflow_2_s_words(error: CompatAuthError, mode: str, kind: str) -> None:
    rendered = ErrorStyle("airflow2" if mode == "airflow2" else "strict").render_error(error)

    assert rendered.status == error.status
    assert json.loads(rendered.body)["type"].endswith(kind)
    assert dict(rendered.headers)["Cache-Control"] == "no-store"
