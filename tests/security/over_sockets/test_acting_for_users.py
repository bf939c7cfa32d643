"""A caller acts for a user (`doAs`): who may, for whom, and what an attacker would try to be somebody else."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import logging
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import jwt
import pytest

from compat_auth.app import Gateway
from compat_auth.authn.revocation_events import RevocationEvents
from compat_auth.authn.users.acting import Acting
from compat_auth.authn.users.lookup import UserLookup
from compat_auth.composition.acting_roles import more_roles_of
from compat_auth.config import Settings
from compat_auth.config.do_as import DoAsSettings
from compat_auth.directory import DirectoryUser
from compat_auth.errors import ConfigError, NoSuchUser, NotPermitted
from compat_auth.identity import Identity
from compat_auth.personal_tokens.service import PersonalTokens, no_upstream
from compat_auth.store.tables.role_accounts import RoleAccount, RoleAccountRows
from support.security.token_gateway import make_token, opened, settings_with_tokens
from support.security.upstream import Arrived, Recorder
from support.stand_ins import Sent, call, http_scope

DAGS = b"/api/v2/dags"
FRONT = {"secret": "a-secret-of-the-front-proxy-alone-0123456789"}
RULE = {"callers": ["alice"], "users": ["bob", "root"], "roles": ["Viewer", "Op"]}
# alice and bob have passwords.
USERS = {
    "alice": ["Op"],
    "bob": ["Admin"],
    "viv": ["Viewer"],
    "root": ["Admin"],
    "portal": ["Viewer"],
    "chief": ["Admin"],
    "mix": ["Op", "Admin"],
}
Header = tuple[bytes, bytes]


def settings_of(folder: Path, upstream: Recorder, *rules: dict[str, Any], **more: Any) -> Settings:
    settings = settings_with_tokens(folder, upstream.port, do_as=list(rules or (RULE,)), **more)
    lines = [f'[[user]]\nusername = "{name}"\nroles = {json.dumps(roles)}\n' for name, roles in USERS.items()]
    lines += ['[[user]]\nusername = "gone"\nroles = ["Viewer"]\nactive = false\n', '[[user]]\nusername = "bare"\n']
    (folder / "users.toml").write_text("".join(lines))
    return settings


@pytest.fixture
def settings(tmp_path: Path, upstream: Recorder) -> Settings:
    return settings_of(tmp_path, upstream)


@pytest.fixture
async def gateway(settings: Settings) -> AsyncIterator[Gateway]:
    async with opened(settings) as gateway:
        yield gateway


def basic(username: str, password: str) -> Header:
    return (b"authorization", b"Basic " + base64.b64encode(f"{username}:{password}".encode()))


ALICE = basic("alice", "wonder")
BOB = basic("bob", "builder")


def doing_as(name: str | bytes) -> Header:
    return (b"x-do-as", name.encode() if isinstance(name, str) else name)


async def ask(gateway: Gateway, *headers: Header, path: bytes = DAGS, method: str = "GET", query: bytes = b"") -> Sent:
    scope = http_scope(path, list(headers), method=method)
    scope["query_string"] = query
    return await call(gateway, scope)


def claims_in(request: Arrived) -> dict[str, Any]:
    line = next(line for line in request.head.split(b"\r\n") if line.lower().startswith(b"authorization: bearer "))
    claims: dict[str, Any] = jwt.decode(line.split()[-1], options={"verify_signature": False})
    return claims


@pytest.mark.parametrize("name", ["bob", "viv", "root"])
async def test_the_upstream_gets_the_user_and_the_actor_and_the_audit_log_both(
    gateway: Gateway, upstream: Recorder, caplog: pytest.LogCaptureFixture, name: str
) -> None:
    with caplog.at_level(logging.INFO):
        sent = await ask(gateway, ALICE, doing_as(name))

    [request] = upstream.take()
    claims = claims_in(request)
    assert sent.status == 200
    assert (claims["sub"], claims["act"]) == (name, {"sub": "alice"})
    assert b"x-do-as" not in request.head.lower()
    [line] = [json.loads(record.getMessage()) for record in caplog.records if record.name == "compat_auth.audit"]
    assert (line["result"], line["username"], line["actor"]) == ("accept", name, "alice")


async def test_a_request_without_the_header_is_the_callers_own_before_and_after(
    gateway: Gateway, upstream: Recorder
) -> None:
    for headers in ((ALICE,), (ALICE, doing_as("viv")), (ALICE,), (ALICE, doing_as("root")), (ALICE, doing_as("viv"))):
        await ask(gateway, *headers)

    assert [claims_in(request)["sub"] for request in upstream.take()] == ["alice", "viv", "alice", "root", "viv"]


@pytest.mark.parametrize(
    "headers",
    [
        pytest.param([BOB, doing_as("viv")], id="a caller without a rule"),
        pytest.param([BOB, doing_as("alice")], id="the other way round"),
        pytest.param([ALICE, doing_as("chief")], id="an administrator who is not named"),
        pytest.param([ALICE, doing_as("mix")], id="one more role"),
        pytest.param([ALICE, doing_as("bare")], id="a user without roles"),
        pytest.param([ALICE, doing_as("gone")], id="disabled"),
        pytest.param([ALICE, doing_as("nobody")], id="unknown"),
        pytest.param([ALICE, doing_as("BOB")], id="another case"),
        pytest.param([ALICE, doing_as("Root")], id="another case of an administrator"),
        pytest.param([ALICE, doing_as("")], id="empty"),
        pytest.param([ALICE, doing_as(" bob")], id="blank"),
        pytest.param([ALICE, doing_as("bob,viv")], id="two in one"),
        pytest.param([ALICE, doing_as("b\u00f6b")], id="not ASCII"),
        pytest.param([ALICE, doing_as("bob\t")], id="tab"),
        pytest.param([ALICE, doing_as("b" * 300)], id="long"),
        pytest.param([ALICE, doing_as("*")], id="everybody"),
        pytest.param([ALICE, doing_as("bob"), doing_as("bob")], id="twice"),
        pytest.param([ALICE, doing_as("bob"), doing_as("viv")], id="two users"),
        pytest.param([ALICE, (b"x_do_as", b"bob")], id="folded"),
        pytest.param([ALICE, (b"x.do-as", b"bob")], id="folded with a dot"),
        pytest.param([basic("alice", "wrong"), doing_as("bob")], id="wrong password"),
        pytest.param([doing_as("bob")], id="nobody"),
        pytest.param([(b"cookie", b"session=x; _token=x"), doing_as("bob")], id="cookies"),
        pytest.param([(b"authorization", b"Bearer eyJhbGciOiJub25lIn0.e30.x"), doing_as("bob")], id="upstream's JWT"),
        pytest.param([(b"authorization", b"Digest x"), doing_as("bob")], id="another scheme"),
    ],
)
async def test_nobody_becomes_somebody_else_by_this(
    gateway: Gateway, upstream: Recorder, headers: list[Header]
) -> None:
    sent = await ask(gateway, *headers)

    assert sent.status in (400, 401, 403)
    assert upstream.take() == []


async def test_a_caller_does_not_learn_whom_the_directory_knows(
    gateway: Gateway, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        sent = [await ask(gateway, ALICE, doing_as(name)) for name in ("chief", "mix", "bare", "gone", "nobody")]

    assert {(answer.status, answer.body) for answer in sent} == {(403, sent[0].body)}
    reasons = [json.loads(record.getMessage())["reason"] for record in caplog.records if "audit" in record.name]
    assert any("lets 'alice' act for 'chief'" in reason for reason in reasons)


@pytest.mark.parametrize("query", [b"doAs=bob", b"a=b&DOAS=bob", b"doAs", b"%64oAs=bob", b"a;doas=bob"])
async def test_a_user_in_the_query_is_refused_and_not_ignored(
    gateway: Gateway, upstream: Recorder, query: bytes
) -> None:
    sent = await ask(gateway, ALICE, query=query)

    assert sent.status == 400
    assert upstream.take() == []


async def test_what_a_user_got_by_it_cannot_go_on_to_another(gateway: Gateway, upstream: Recorder) -> None:
    await ask(gateway, ALICE, doing_as("bob"))
    line = next(line for line in upstream.take()[0].head.split(b"\r\n") if line.lower().startswith(b"authorization:"))

    sent = await ask(gateway, (b"authorization", line.partition(b": ")[2]), doing_as("viv"))

    assert sent.status == 403
    assert upstream.take() == []


async def test_the_callers_scopes_limit_what_the_user_may_do(
    gateway: Gateway, settings: Settings, upstream: Recorder
) -> None:
    token = (b"authorization", b"Bearer " + make_token(settings, "GET /api/v2/pools").text.encode())

    allowed = await ask(gateway, token, doing_as("bob"), path=b"/api/v2/pools")
    refused = await ask(gateway, token, doing_as("bob"), path=DAGS)

    assert (allowed.status, refused.status) == (200, 403)
    assert [claims_in(request)["sub"] for request in upstream.take()] == ["bob"]


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", b"/compat-auth/api/personal-tokens"),
        ("POST", b"/compat-auth/api/personal-tokens"),
        ("POST", b"/compat-auth/revoke"),
        ("POST", b"/auth/token"),
        ("GET", b"/compat-auth/tokens"),
    ],
)
async def test_no_page_of_ours_makes_or_ends_anything_of_the_users(gateway: Gateway, method: str, path: bytes) -> None:
    sent = await ask(gateway, ALICE, doing_as("bob"), path=path, method=method)

    assert sent.status in (403, 404)


async def test_whoami_tells_the_user(gateway: Gateway) -> None:
    sent = await ask(gateway, ALICE, doing_as("viv"), path=b"/compat-auth/whoami")

    assert json.loads(sent.body)["username"] == "viv"


def add_role_account(settings: Settings, name: str) -> None:
    tokens = PersonalTokens.from_settings(settings, RevocationEvents(), revoke_upstream=no_upstream)
    RoleAccountRows(tokens.rows.database).add(RoleAccount(name, "group:ops", 0))


@pytest.mark.parametrize("credential", ["password", "token"])
async def test_a_disabled_caller_acts_for_nobody(
    tmp_path: Path, settings: Settings, upstream: Recorder, credential: str
) -> None:
    token = (b"authorization", b"Bearer " + make_token(settings).text.encode())
    # Another file: a directory reads its own again only after a moment.
    users = tmp_path / "later.toml"
    users.write_text((tmp_path / "users.toml").read_text().replace('"alice"\n', '"alice"\nactive = false\n'))
    users.chmod(0o600)
    later = settings.model_copy(update={"mapping": settings.mapping.model_copy(update={"file": str(users)})})

    async with opened(later) as gateway:
        sent = await ask(gateway, ALICE if credential == "password" else token, doing_as("viv"))

    assert sent.status in (401, 403)
    assert upstream.take() == []


async def test_a_caller_unknown_to_the_directory_acts_for_nobody(
    tmp_path: Path, settings: Settings, upstream: Recorder
) -> None:
    users = tmp_path / "users.toml"
    users.write_text(users.read_text().replace('"alice"\n', '"alicia"\n'))

    async with opened(settings) as gateway:
        sent = await ask(gateway, ALICE, doing_as("viv"))

    assert sent.status in (401, 403)
    assert upstream.take() == []


async def test_nobody_acts_for_a_role_account(tmp_path: Path, settings: Settings, upstream: Recorder) -> None:
    add_role_account(settings, "portal")

    async with opened(settings_of(tmp_path, upstream, {**RULE, "users": ["portal"]})) as gateway:
        sent = await ask(gateway, ALICE, doing_as("portal"))

    assert sent.status == 403
    assert upstream.take() == []


def test_a_role_account_acts_and_no_other_credential_in_its_name_does() -> None:
    def complete(identity: Identity) -> Identity:
        if identity.username == "portal":
            raise NoSuchUser("only its tokens get in")
        return replace(identity, directory="mapping", roles=("Viewer",))

    acting = Acting((DoAsSettings(callers=["portal"], roles=["Viewer"]),), complete)

    user = acting.become(Identity("portal", "personal_token", role_account=True), "viv", "")

    assert (user.username, user.actor, user.role_account) == ("viv", "portal", False)
    with pytest.raises(NoSuchUser):
        acting.become(Identity("portal", "basic_auth"), "viv", "")
    with pytest.raises(NotPermitted):
        acting.become(replace(user, username="portal", role_account=True), "viv", "")


async def test_a_revoked_token_acts_for_nobody_at_once(
    gateway: Gateway, settings: Settings, upstream: Recorder
) -> None:
    token = make_token(settings)
    header = (b"authorization", b"Bearer " + token.text.encode())
    known = await ask(gateway, header, doing_as("viv"))
    PersonalTokens.from_settings(settings, RevocationEvents(), revoke_upstream=no_upstream).revoke(token.token)

    revoked = await ask(gateway, header, doing_as("viv"))

    assert (known.status, revoked.status) == (200, 401)


@pytest.mark.parametrize(
    ("narrower", "status"),
    [
        ({"backends": ["basic_auth"]}, 200),
        ({"backends": ["kerberos"]}, 403),
        ({"networks": ["192.0.2.0/24"]}, 200),
        ({"networks": ["10.0.0.0/8", "::1/128"]}, 403),
    ],
)
async def test_a_rule_can_name_backends_and_networks(
    tmp_path: Path, upstream: Recorder, narrower: dict[str, Any], status: int
) -> None:
    async with opened(settings_of(tmp_path, upstream, {**RULE, **narrower})) as gateway:
        sent = await ask(gateway, ALICE, doing_as("viv"))

    assert sent.status == status


@pytest.mark.parametrize("path", [DAGS, b"/compat-auth/whoami"])
@pytest.mark.parametrize("first", ["10.20.0.1", "192.0.2.1"])
async def test_requests_at_the_same_moment_are_judged_by_the_address_of_each(
    tmp_path: Path, upstream: Recorder, path: bytes, first: str
) -> None:
    addresses = sorted(("10.20.0.1", "192.0.2.1", "10.20.0.2"), key=lambda address: address != first)

    async with opened(settings_of(tmp_path, upstream, {**RULE, "networks": ["10.20.0.0/16"]})) as gateway:
        scopes = [http_scope(path, [ALICE, doing_as("viv")], client=address) for address in addresses]
        sent = await asyncio.gather(*(call(gateway, scope) for scope in scopes))

    assert {address: found.status for address, found in zip(addresses, sent, strict=True)} == {
        "10.20.0.1": 200,
        "10.20.0.2": 200,
        "192.0.2.1": 403,
    }


async def test_without_rules_the_header_is_not_ours(tmp_path: Path, upstream: Recorder) -> None:
    settings = settings_of(tmp_path, upstream)

    async with opened(settings.model_copy(update={"do_as": []})) as gateway:
        await ask(gateway, ALICE, doing_as("bob"), query=b"doAs=bob")

    [request] = upstream.take()
    assert claims_in(request)["sub"] == "alice"
    assert "act" not in claims_in(request)


async def test_forward_auth_gives_the_users_token(tmp_path: Path, upstream: Recorder) -> None:
    settings = settings_of(tmp_path, upstream, trusted_proxies=["10.0.0.0/8"], forward_auth=FRONT)
    told = [(b"x-original-uri", DAGS), (b"x-original-method", b"GET")]
    told.append((b"x-compat-auth-proxy-secret", FRONT["secret"].encode()))
    path = b"/compat-auth/forward-auth/nginx"

    async with opened(settings) as gateway:
        known = await call(gateway, http_scope(path, [*told, ALICE, doing_as("viv")], client="10.0.0.1"))
        refused = await call(gateway, http_scope(path, [*told, ALICE, doing_as("chief")], client="10.0.0.1"))

    value = dict(known.headers)[b"authorization"].split()[-1]
    claims = jwt.decode(value, options={"verify_signature": False})
    assert (claims["sub"], claims["act"]) == ("viv", {"sub": "alice"})
    # The rule, the caller and the user may change at any moment, and the proxy may keep the token.
    assert claims["exp"] - time.time() <= 10
    assert refused.status == 403


async def test_forward_auth_refuses_a_user_in_the_query_of_the_original_request(
    tmp_path: Path, upstream: Recorder
) -> None:
    settings = settings_of(tmp_path, upstream, trusted_proxies=["10.0.0.0/8"], forward_auth=FRONT)
    told = [(b"x-original-uri", DAGS + b"?a=b&doAs=viv"), (b"x-original-method", b"GET")]
    told.append((b"x-compat-auth-proxy-secret", FRONT["secret"].encode()))

    async with opened(settings) as gateway:
        scope = http_scope(b"/compat-auth/forward-auth/nginx", [*told, ALICE], client="10.0.0.1")
        sent = await call(gateway, scope)

    assert sent.status == 400
    assert sent.values(b"authorization") == []


# Roles that the directory of the name does not tell, and the upstream gives all the same.
SIMPLE = {"upstream": {"profile": "airflow-simple", "roles": {"alice": "VIEWER", "zed": "ADMIN", "*": "OP"}}}


@pytest.mark.parametrize(
    ("user", "status"),
    [
        pytest.param("zed", 403, id="an administrator by the settings"),
        pytest.param("ann", 200, id="nobody in particular by the settings"),
        pytest.param("viv", 200, id="a role that the directory tells"),
    ],
)
async def test_an_administrator_by_the_settings_has_to_be_named(
    tmp_path: Path, upstream: Recorder, user: str, status: int
) -> None:
    rule = {"callers": ["alice"], "roles": ["analyst", "Viewer"]}
    settings = settings_of(tmp_path, upstream, rule)
    simple = settings.upstream.model_copy(update=SIMPLE["upstream"])
    users = tmp_path / "users.toml"
    users.write_text(
        users.read_text() + "".join(f'[[user]]\nusername = "{name}"\nroles = ["analyst"]\n' for name in ("zed", "ann"))
    )

    async with opened(settings.model_copy(update={"upstream": simple})) as gateway:
        sent = await ask(gateway, ALICE, doing_as(user))

    assert sent.status == status
    assert len(upstream.take()) == (status == 200)


class Known:
    """A directory that knows its users by name."""

    def __init__(self, name: str, *users: DirectoryUser) -> None:
        self.name = name
        self._users = users

    def find(self, username: str) -> DirectoryUser | None:
        return next((user for user in self._users if user.username == username), None)


@pytest.mark.parametrize(
    ("profile", "roles", "becomes"),
    [
        pytest.param("airflow-fab", ("Viewer", "Admin"), False, id="an administrator in Airflow's database"),
        pytest.param("airflow-fab", ("Op",), False, id="another role in Airflow's database"),
        pytest.param("airflow-fab", ("viewer",), True, id="the same in Airflow's database"),
        pytest.param("generic", ("Admin",), True, id="the second directory counts for nothing"),
    ],
)
def test_the_roles_in_airflows_own_database_count_too(
    tmp_path: Path, upstream: Recorder, profile: str, roles: tuple[str, ...], becomes: bool
) -> None:
    rule = {"callers": ["alice"], "roles": ["Viewer"]}
    settings = settings_of(tmp_path, upstream, rule)
    settings = settings.model_copy(update={"upstream": settings.upstream.model_copy(update={"profile": profile})})
    named = Known("ldap", DirectoryUser("viv", roles=("Viewer",)), DirectoryUser("alice", roles=("Op",)))
    keys = Known("db", DirectoryUser("viv", roles=roles, upstream_id="7"), DirectoryUser("alice", upstream_id="1"))
    lookup = UserLookup((named, keys), needs_key=profile == "airflow-fab")
    acting = Acting.from_settings(settings, lookup, more_roles_of(settings, lookup))

    with contextlib.nullcontext() if becomes else pytest.raises(NoSuchUser):
        assert acting.become(Identity("alice", "basic_auth"), "viv", "").username == "viv"


@pytest.mark.parametrize(
    "more",
    [
        {
            "token": {"strategy": "exchange"},
            "basic_auth": {"directories": ["upstream"]},
            "auth_backends": ["basic_auth"],
        },
        {"lookup": {"directories": []}, "auth_backends": ["basic_auth"]},
    ],
)
def test_rules_that_cannot_hold_stop_the_start(tmp_path: Path, upstream: Recorder, more: dict[str, Any]) -> None:
    settings = settings_of(tmp_path, upstream, **more)

    with pytest.raises(ConfigError, match=r"\[\[do_as\]\]"):
        Gateway(settings)


@pytest.mark.parametrize(
    "wrong", [{"callers": []}, {"roles": ["Viewer", " admin"]}, {"networks": ["0.0.0.0/0"]}, {"x": 1}]
)
def test_rules_that_would_be_too_wide_are_refused(tmp_path: Path, upstream: Recorder, wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="do_as"):
        settings_of(tmp_path, upstream, {**RULE, **wrong})
