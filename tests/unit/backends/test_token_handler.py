"""A site's own bearer tokens, with the cases that asfquart 0.1.12 answers wrongly."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import pytest

from compat_auth.authn.users.lookup import UserLookup
from compat_auth.config import parse_settings
from compat_auth.credentials import Absent, Bearer
from compat_auth.errors import BackendUnavailable, ConfigError
from compat_auth.identity import Identity
from compat_auth.outcome import Accept, Reject, Skip
from compat_auth_backends.token_handler import TokenHandler, TokenHandlerBackend

SESSION: Mapping[str, object] = {
    "uid": "bot",
    "email": "bot@example.org",
    "isMember": True,
    "isRoot": False,
    "pmcs": ["tooling"],
    "projects": ["airflow", 7],
    "roleaccount": True,
    "metadata": {"scope": ["GET /api/"]},
}


class AsyncObject:
    async def __call__(self, token: str) -> Mapping[str, object] | None:
        return SESSION if token == "good" else None


def sync_handler(token: str) -> Mapping[str, object] | None:
    return SESSION if token == "good" else None


async def async_handler(token: str) -> Mapping[str, object] | None:
    return sync_handler(token)


def ask(handler: Any, token: str = "good") -> object:
    return TokenHandlerBackend(cast("TokenHandler", handler), UserLookup(())).authenticate(Bearer(token))


@pytest.mark.parametrize("handler", [sync_handler, async_handler, AsyncObject()], ids=["sync", "async", "object"])
def test_a_handler_of_any_form_names_the_user(handler: Any) -> None:
    outcome = ask(handler)

    assert isinstance(outcome, Accept)
    identity = outcome.identity
    assert (identity.username, identity.email, identity.role_account) == ("bot", "bot@example.org", True)
    assert identity.roles == ("member", "pmc_member")
    assert identity.groups == ("airflow", "tooling")
    assert [str(scope) for scope in identity.scopes or ()] == ["GET /api/"]
    assert outcome.reusable_s == 0


@pytest.mark.parametrize("handler", [sync_handler, async_handler, AsyncObject()], ids=["sync", "async", "object"])
def test_a_token_that_the_handler_does_not_know_may_be_another_backends(handler: Any) -> None:
    assert ask(handler, "other") == Skip()


def test_what_is_no_bearer_token_never_reaches_the_handler() -> None:
    backend = TokenHandlerBackend(lambda _token: pytest.fail("asked"), UserLookup(()))

    assert backend.authenticate(Absent()) == Skip()


@pytest.mark.parametrize("more", [{}, {"metadata": None}, {"metadata": {}}, {"metadata": {"note": "x"}}])
def test_a_token_without_metadata_is_not_limited(more: Mapping[str, object]) -> None:
    outcome = ask(lambda _token: {"uid": "ana", "mfa": True, **more})

    assert outcome == Accept(Identity("ana", "token_handler", subject="ana", mfa=True))


@pytest.mark.parametrize(
    "session",
    [
        pytest.param({"email": "x@example.org"}, id="no-uid"),
        pytest.param({"uid": " "}, id="blank-uid"),
        pytest.param({"uid": 7}, id="uid-is-no-text"),
        pytest.param({"uid": "bot", "metadata": {"scope": "all"}}, id="scope-is-no-list"),
        pytest.param({"uid": "bot", "metadata": {"scope": None}}, id="scope-is-nothing"),
        pytest.param({"uid": "bot", "metadata": {"scope": ["get /api"]}}, id="scope-with-a-typo"),
        pytest.param({"uid": "bot", "metadata": {"scope": [7]}}, id="scope-is-no-text"),
        pytest.param({"uid": "bot", "metadata": {"scope": {"GET /api/": False}}}, id="scope-is-a-mapping"),
        pytest.param({"uid": "bot", "metadata": {"scope": b"all"}}, id="scope-is-bytes"),
        pytest.param({"uid": "bot", "metadata": '{"scope": []}'}, id="metadata-is-text"),
        pytest.param({"uid": "bot", "metadata": [{"scope": []}]}, id="metadata-is-a-list"),
        pytest.param({"uid": "bot", "metadata": []}, id="metadata-is-an-empty-list"),
        pytest.param({"uid": "bot", "metadata": False}, id="metadata-is-false"),
        pytest.param({"uid": "bot", "metadata": object()}, id="metadata-is-an-object"),
    ],
)
def test_a_session_that_cannot_be_read_lets_nobody_in(session: Mapping[str, object]) -> None:
    assert isinstance(ask(lambda _token: session), Reject)


def test_an_empty_list_of_scopes_allows_nothing_rather_than_everything() -> None:
    outcome = ask(lambda _token: {"uid": "bot", "metadata": {"scope": []}})

    assert isinstance(outcome, Accept)
    assert outcome.identity.scopes == ()


@pytest.mark.parametrize("value", ["true", 1, "yes"])
def test_only_true_is_true(value: object) -> None:
    outcome = ask(lambda _token: {"uid": "x", "isRoot": value, "mfa": value, "roleaccount": value})

    assert isinstance(outcome, Accept)
    assert (outcome.identity.roles, outcome.identity.mfa, outcome.identity.role_account) == ((), False, False)


@pytest.mark.parametrize("answer", ["bot", ["uid", "bot"], 7, object()])
def test_what_is_no_session_is_the_handlers_fault_not_the_callers(answer: object) -> None:
    with pytest.raises(BackendUnavailable, match="not a mapping"):
        ask(lambda _token: answer)


def test_a_handler_that_raises_is_a_source_that_cannot_be_asked_and_its_message_stays_inside() -> None:
    def broken(token: str) -> Mapping[str, object]:
        raise LookupError(token)

    with pytest.raises(BackendUnavailable, match=r"^token_handler: raised LookupError$"):
        ask(broken, "s3cret")


@pytest.mark.parametrize("path", ["", "os", "os:no_such_thing", "no_such_module:f", "os:name"])
def test_a_handler_that_is_not_there_ends_the_start(path: str) -> None:
    settings = parse_settings({"token_handler": {"handler": path}}, origin="test")

    with pytest.raises(ConfigError, match=r"token_handler\.handler"):
        TokenHandlerBackend.from_settings(settings)


def test_the_configuration_names_the_handler() -> None:
    settings = parse_settings({"token_handler": {"handler": "json:loads"}}, origin="test")
    backend = TokenHandlerBackend.from_settings(settings)

    outcome = backend.authenticate(Bearer('{"uid":"ana"}'))

    assert isinstance(outcome, Accept)
    assert backend.challenges() == ("Bearer",)
