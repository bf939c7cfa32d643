"""Whose word about the caller is dropped, and what applications say for themselves."""

from __future__ import annotations

import pytest

from compat_auth.http.headers import take_in
from corpora.cases import cases

HOST = (b"host", b"gateway.example")


def names(kind: str) -> list[str]:
    return [case["headers"][0][0] for case in cases("headers") if case["kind"] == kind]


@pytest.mark.parametrize("name", names("identity"))
def test_what_a_proxy_says_about_the_caller_does_not_go_on(name: str) -> None:
    header = (name.encode(), b"admin")

    intake = take_in([HOST, header])

    assert (intake.kept, intake.identity) == ([], [header])


@pytest.mark.parametrize("name", ["X_Auth_Foo", "x.auth-foo", "oidc.claim_sub", "SM_USER", "x_forwarded_id_token"])
def test_no_spelling_of_a_family_goes_on(name: str) -> None:
    assert take_in([HOST, (name.lower().encode(), b"admin")]).kept == []


@pytest.mark.parametrize("name", names("application"))
def test_what_applications_send_for_themselves_goes_on(name: str) -> None:
    header = (name.encode(), b"1")

    intake = take_in([HOST, header])

    assert (intake.kept, intake.identity) == ([header], [])


@pytest.mark.parametrize("name", [b"x-request-id", b"x_request_id", b"x.request.id"])
def test_the_id_that_a_request_brings_is_not_forwarded_unchecked(name: bytes) -> None:
    intake = take_in([HOST, (name, b"1")])

    assert (intake.kept, intake.identity, intake.forward) == ([], [], {})


def test_identity_headers_are_kept_aside_in_the_order_of_the_wire() -> None:
    headers = [(b"x-auth-foo", b"1"), (b"remote-user", b"2"), (b"x-auth-foo", b"3")]

    assert take_in([HOST, *headers]).identity == headers


def test_long_names_are_judged_like_short_ones() -> None:
    long = b"x-auth-request-" + b"a" * 1000

    intake = take_in([HOST, (long, b"admin"), (b"x-" + b"a" * 1000, b"1")])

    assert [name[:6] for name, _ in intake.kept] == [b"x-aaaa"]
    assert [name for name, _ in intake.identity] == [long]
