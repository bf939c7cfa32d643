"""An Authorization value is parsed once, however many ask for the credential in it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from compat_auth.credentials import Absent, Basic, Bearer, Credential, credential_key, parse_authorization
from compat_auth.errors import MalformedCredentials
from compat_auth.gateway.decision import Granted
from compat_auth.http import request as module
from compat_auth.http.headers import take_in
from compat_auth.http.request import GateRequest, Shown
from support.stand_ins import GOOD, Behind, accepting, call, http_scope, make_decider, make_gate


@pytest.fixture
def parsed(monkeypatch: pytest.MonkeyPatch) -> list[str | None]:
    """Every value that is parsed, in order."""
    seen: list[str | None] = []

    def parse(value: str | None) -> Credential:
        seen.append(value)
        return parse_authorization(value)

    monkeypatch.setattr(module, "parse_authorization", parse)
    return seen


def request(*headers: tuple[bytes, bytes]) -> GateRequest:
    intake = take_in([(b"host", b"gateway.example"), *headers], may_lack_host=False)
    return GateRequest(http_scope(), intake, "GET", b"/api/x", b"", "192.0.2.1")


def test_a_request_hands_the_same_parsed_credential_to_all_who_ask(parsed: list[Any]) -> None:
    asked = request((b"authorization", b"Bearer abc"))

    found = [asked.shown.credential(), asked.presented().shown.credential(), asked.shown.credential()]

    assert found == [Bearer("abc")] * 3
    assert asked.shown.key() == credential_key("Bearer abc")
    assert parsed == ["Bearer abc"]


def test_a_value_that_cannot_be_parsed_is_refused_each_time_and_parsed_once(parsed: list[Any]) -> None:
    shown = Shown("Basic !!!")

    for _ in range(3):
        with pytest.raises(MalformedCredentials, match="not base64"):
            shown.credential()

    assert parsed == ["Basic !!!"]


def test_a_request_without_the_header_presents_nothing() -> None:
    assert isinstance(request().shown.credential(), Absent)


def test_a_value_beyond_ascii_is_malformed() -> None:
    asked = request((b"authorization", b"Basic \xc3\xa4"))

    with pytest.raises(MalformedCredentials, match="outside ASCII"):
        _ = asked.shown


def test_a_request_with_another_credential_does_not_keep_the_first_one() -> None:
    asked = request((b"authorization", b"Bearer abc"))
    first = asked.shown.credential()

    other = replace(asked, intake=replace(asked.intake, authorization=b"Bearer def"))
    asked.intake = replace(asked.intake, authorization=None)

    assert (first, other.shown.credential()) == (Bearer("abc"), Bearer("def"))
    assert isinstance(asked.shown.credential(), Absent)


@pytest.mark.parametrize("times", [1, 3])
async def test_each_request_at_a_gate_is_parsed_once_cold_and_warm(parsed: list[Any], times: int) -> None:
    behind = Behind()
    gate = make_gate(behind, make_decider(accepting(takes=frozenset({Basic}))))

    for _ in range(times):
        await call(gate, http_scope(headers=[(b"authorization", GOOD.encode())]))

    assert len(behind.scopes) == times
    assert parsed == [GOOD] * times


async def test_an_identity_without_a_token_is_found_with_one_parse(parsed: list[Any]) -> None:
    decider = make_decider(accepting(takes=frozenset({Basic})))

    decision = await decider.identify(request((b"authorization", GOOD.encode())).presented())

    assert isinstance(decision, Granted)
    assert parsed == [GOOD]
