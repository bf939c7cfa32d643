"""The gate's rules for paths and cookies, and what a decision allows."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from compat_auth.credentials import Absent, Basic, Bearer, Credential
from compat_auth.errors import InsufficientScope, NotPermitted
from compat_auth.gateway.authorization import Authorization, GateRules, PathRequirement
from compat_auth.gateway.decision import Granted, Refused, Unclaimed
from compat_auth.http.asgi import RawHeaders
from compat_auth.http.headers import take_in
from compat_auth.http.paths import Prefixes
from compat_auth.http.request import GateRequest
from compat_auth.requirements import Requirements
from compat_auth.scopes import parse_scopes
from support.stand_ins import ALICE, rules

ADMINS = Requirements(("role:Admin",))
GRANTED = Granted(ALICE, b"Bearer t")
ADMIN = Granted(replace(ALICE, roles=("Admin",)), b"Bearer t")
PREFLIGHT: RawHeaders = [(b"origin", b"https://page.example"), (b"access-control-request-method", b"PUT")]


def request(path: bytes = b"/api/x", method: str = "GET", headers: RawHeaders | None = None) -> GateRequest:
    return GateRequest({}, take_in([(b"host", b"a"), *(headers or [])]), method, path, b"", "192.0.2.1")


def requiring(*methods: str, path: str = "/api/a") -> PathRequirement:
    return PathRequirement(Prefixes([path]), frozenset(methods), ADMINS)


def rules_with(**changed: Any) -> GateRules:
    return replace(rules(), **changed)


@pytest.mark.parametrize(
    ("methods", "method", "covered"),
    [
        ((), "PATCH", True),
        (("GET",), "GET", True),
        (("GET",), "HEAD", True),
        (("GET",), "POST", False),
        (("POST",), "HEAD", False),
        (("POST", "PUT"), "PUT", True),
    ],
)
def test_a_requirement_is_about_its_methods(methods: tuple[str, ...], method: str, covered: bool) -> None:
    rule = requiring(*methods)

    assert rule.covers(method, b"/api/a/b") is covered
    assert not rule.covers(method, b"/api/b")


def test_what_a_rule_does_not_say_is_closed() -> None:
    unset = rules()

    assert (unset.preflights, unset.do_as, unset.sees_certificates) == (False, False, False)
    assert not unset.task_api.cover(b"/api/execution/x")
    assert (unset.requirements, unset.rests, unset.api_key) == ((), None, b"")
    assert not unset.public | unset.to_login | unset.logouts | unset.health


def test_a_path_is_guarded_unless_it_leads_to_the_upstreams_own_login_or_logout() -> None:
    guarding = rules_with(to_login=frozenset((b"/api/login",)), logouts=frozenset((b"/api/logout",)))

    paths = (b"/api/x", b"/api/login", b"/api/logout", b"/api/login/x", b"/ui")

    assert [guarding.guards(path) for path in paths] == [True, False, False, True, False]


@pytest.mark.parametrize(
    ("method", "headers", "is_for_nobody"),
    [
        ("GET", [], True),
        ("HEAD", [], True),
        ("POST", [], False),
        ("GET", [(b"cookie", b"a=1")], True),
        ("GET", [(b"authorization", b"Basic YTpi")], False),
        ("GET", [(b"authorization", b"")], False),
    ],
)
def test_a_public_path_is_read_by_everybody_without_a_credential(
    method: str, headers: RawHeaders, is_for_nobody: bool
) -> None:
    public = rules_with(public=frozenset((b"/api/health",)))

    assert public.is_for_nobody(request(b"/api/health", method, headers)) is is_for_nobody
    assert not public.is_for_nobody(request(b"/api/health/x", method, headers))


def test_a_requirement_closes_a_public_path() -> None:
    closed = rules_with(public=frozenset((b"/api/a",)), requirements=(requiring("GET"),))

    assert not closed.is_for_nobody(request(b"/api/a"))


def test_a_preflight_is_for_nobody_where_they_are_forwarded() -> None:
    asked = request(b"/api/x", "OPTIONS", PREFLIGHT)

    assert rules_with(preflights=True).is_for_nobody(asked)
    assert not rules_with(preflights=False).is_for_nobody(asked)
    assert not rules_with(preflights=True).is_for_nobody(request(b"/api/x", "OPTIONS"))


def test_the_first_cookie_of_an_identity_is_the_one_that_counts_alone() -> None:
    some, none = rules(identity_cookies=(b"_token", b"session")), rules(identity_cookies=())

    assert (some.upstream_cookie, none.upstream_cookie) == (b"_token", b"")
    assert some.dropped_cookies == {b"ours", b"_token", b"session"}
    assert some.dropped_unprotected(is_cookie_revoked=True) == {b"ours", b"_token"}
    assert some.dropped_unprotected(is_cookie_revoked=False) == {b"ours"}


def test_the_task_api_gets_no_token_of_ours() -> None:
    tasks = rules_with(task_api=Prefixes(["/api/execution/"]))

    assert tasks.bearer_for(b"/api/x", GRANTED) == b"Bearer t"
    assert tasks.bearer_for(b"/api/execution/x", GRANTED) is None


def test_each_requirement_on_a_path_counts() -> None:
    ops = PathRequirement(Prefixes(["/api/"]), frozenset(), Requirements(("group:ops",)))
    authorization = Authorization(rules_with(requirements=(requiring(), ops)))

    authorization.require(Granted(replace(ADMIN.identity, groups=("ops",)), b""), request(b"/api/a"))
    for granted in (ADMIN, GRANTED, Granted(replace(ALICE, groups=("ops",)), b"")):
        with pytest.raises(NotPermitted):
            authorization.require(granted, request(b"/api/a"))


@pytest.mark.parametrize("reading", ["POST", "GET"])
def test_every_reading_of_a_request_is_required(reading: str) -> None:
    limited = Granted(replace(ALICE, scopes=parse_scopes(("GET /api/",))), b"")
    authorization = Authorization(rules_with(requirements=(requiring("POST"),)))
    asked, other = request(b"/api/a"), request(b"/api/a", reading)

    if reading == "GET":
        authorization.require(limited, asked, other)
        return
    with pytest.raises(InsufficientScope, match="do not cover this request"):
        authorization.require(limited, asked, other)
    with pytest.raises(NotPermitted):
        authorization.require(GRANTED, asked, other)


@pytest.mark.parametrize(
    ("credential", "headers", "is_the_upstreams"),
    [
        (Bearer("theirs"), [], True),
        (Bearer("cat_pat_x"), [], False),
        (Absent(), [(b"cookie", b"session=s")], True),
        (Absent(), [(b"cookie", b"_token=t")], True),
        (Absent(), [(b"cookie", b"ours=o")], False),
        (Absent(), [], False),
        (Basic("a", "b"), [(b"cookie", b"_token=t")], False),
    ],
)
def test_what_only_the_upstream_knows_meets_no_requirement(
    credential: Credential, headers: RawHeaders, is_the_upstreams: bool
) -> None:
    authorization = Authorization(rules_with(requirements=(requiring(),)))
    unclaimed = Unclaimed(credential, ())

    assert authorization.is_for_upstream(unclaimed, request(headers=headers)) is is_the_upstreams
    authorization.require(unclaimed, request(b"/api/b", headers=headers))
    if is_the_upstreams:
        with pytest.raises(NotPermitted):
            authorization.require(unclaimed, request(b"/api/a", headers=headers))
    else:
        # It is refused as nobody, with challenges.
        authorization.require(unclaimed, request(b"/api/a", headers=headers))


def test_a_refusal_is_no_matter_of_requirements() -> None:
    Authorization(rules_with(requirements=(requiring(),))).require(Refused(401, ()), request(b"/api/a"))


def test_the_same_caller_is_asked_again_for_another_request() -> None:
    authorization = Authorization(rules_with(requirements=(requiring("DELETE"),)))
    authorize = authorization.authorize(GRANTED, request(b"/api/b"))

    authorize("GET", b"/api/a", b"")
    with pytest.raises(NotPermitted):
        authorize("DELETE", b"/api/a", b"")
    authorization.authorize(ADMIN, request(b"/api/b"))("DELETE", b"/api/a", b"")
