"""Tokens inside Airflow under attack: taken back and shown in other spellings and places, limited, forged, two at once."""

from __future__ import annotations

import asyncio
import base64
import json
import sys
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import datetime
from pathlib import Path
from types import ModuleType
from typing import Any, cast
from urllib.parse import quote, urlencode
from uuid import uuid4

import jwt
import pytest
from sqlalchemy.exc import OperationalError

from compat_auth.airflow.composition import compose
from compat_auth.api.oauth.token_request import EXCHANGE_GRANT, PERSONAL_TOKEN
from compat_auth.errors import BackendUnavailable
from compat_auth.http.asgi import ASGIApp, RawHeaders
from compat_auth.store.migration import open_store
from compat_auth.store.tables.denylist import DenylistEntry, DenylistRows
from compat_auth.tokens import denylist
from compat_auth.tokens.denylist import Denylist
from support.airflow_stand_ins import Conf, SigningAuthManager, activate
from support.stand_ins import Behind, Sent, basic, call, http_scope

LOGIN = ("op", "öp")
FORM: RawHeaders = [(b"content-type", b"application/x-www-form-urlencoded")]
JSON: RawHeaders = [(b"content-type", b"application/json")]
SETTINGS = "[compat_auth]\nauth_backends = session,basic_auth,personal_token\nsession__secret = " + "s" * 40


class SimpleAuthManager(SigningAuthManager):
    """Known by its name."""


class World:
    """Airflow's application with the plugin around it, and its auth manager."""

    def __init__(self, home: Path, *, root: str = "") -> None:
        self.manager = SimpleAuthManager()
        self.home = home
        self.root = root
        self.behind = Behind()
        self.instance: ASGIApp

    async def ask(
        self, path: str, headers: RawHeaders | None = None, body: bytes = b"", *, method: str = "GET", **changed: Any
    ) -> Sent:
        self.behind.scopes.clear()
        query = changed.pop("query", b"")
        scope = http_scope(f"{self.root}{path}".encode(), headers, method=method, query=query)
        return await call(self.instance, {**scope, "root_path": self.root, "state": {}, **changed}, body)

    async def get_token(self) -> str:
        sent = await self.ask("/auth/token", login(), method="POST")
        assert sent.status == 201, sent.body
        return str(content(sent)["access_token"])

    async def revoke(self, token: str) -> None:
        sent = await self.ask("/compat-auth/revoke", FORM, urlencode({"token": token}).encode(), method="POST")
        assert sent.status == 200

    async def make_personal_token(self, *scopes: str, name: str = "") -> dict[str, Any]:
        body = json.dumps({"name": name or uuid4().hex, "scopes": scopes}).encode()
        sent = await self.ask("/compat-auth/api/personal-tokens", [*login(), *JSON], body, method="POST")
        assert sent.status == 201, sent.body
        return content(sent)

    @property
    def has_reached_airflow(self) -> bool:
        return bool(self.behind.scopes)


@asynccontextmanager
async def running(world: World) -> AsyncGenerator[None]:
    """Build the middleware and let it live through Airflow's start and end."""
    world.instance = compose(lifespan_or(world.behind), Conf(SETTINGS, {}), {"AIRFLOW_HOME": str(world.home)})
    messages: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
    started = asyncio.Event()

    async def send(_message: Any) -> None:
        started.set()

    life = asyncio.ensure_future(world.instance({"type": "lifespan"}, cast("Any", messages.get), send))
    await messages.put({"type": "lifespan.startup"})
    await started.wait()
    yield
    await messages.put({"type": "lifespan.shutdown"})
    await life


def lifespan_or(behind: Behind) -> ASGIApp:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            for kind in ("startup", "shutdown"):
                await receive()
                await send({"type": f"lifespan.{kind}.complete"})
        else:
            await behind(scope, receive, send)

    return app


@pytest.fixture
def manager_of(monkeypatch: pytest.MonkeyPatch) -> Callable[..., World]:
    def make(home: Path, **options: str) -> World:
        world = World(home, **options)
        activate(monkeypatch, world.manager)
        return world

    return make


@pytest.fixture
async def world(manager_of: Callable[..., World], tmp_path: Path) -> AsyncIterator[World]:
    made = manager_of(tmp_path)
    async with running(made):
        yield made


def login() -> RawHeaders:
    return [(b"authorization", basic(*LOGIN).encode())]


def bearer(token: str) -> RawHeaders:
    return [(b"authorization", b"Bearer " + token.encode("latin-1"))]


def cookie(value: str) -> RawHeaders:
    return [(b"cookie", b"_token=" + value.encode("latin-1"))]


def content(sent: Sent) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(sent.body)
    return found


def with_other_signature(token: str) -> str:
    head, payload, signature = token.split(".")
    # Verifiers that are less strict pass over what is no base64.
    return f"{head}.{payload}.{signature[:10]}~{signature[10:]}"


@pytest.mark.parametrize("path", ["/api/v2/dags", "/ui/auth/me", "/", "/pluginsv2/x", "/auth/fab/v1/users"])
@pytest.mark.parametrize(
    "spell",
    [
        pytest.param(bearer, id="bearer"),
        pytest.param(lambda token: [(b"authorization", f"bEARER   {token} ".encode())], id="other-scheme-case"),
        pytest.param(lambda token: bearer(with_other_signature(token)), id="other-signature"),
        pytest.param(lambda token: [*bearer("x.y.z"), *bearer(token)], id="second-of-two"),
    ],
)
async def test_a_token_that_was_taken_back_reaches_no_page_of_airflow(world: World, spell: Any, path: str) -> None:
    token = await world.get_token()
    before = await world.ask(path, bearer(token))
    await world.revoke(token)

    after = await world.ask(path, spell(token))

    assert before.status == 200
    assert after.status in (400, 401)
    assert not world.has_reached_airflow


@pytest.mark.parametrize("path", ["/ui/auth/me", "/", "/pluginsv2/x"])
@pytest.mark.parametrize(
    "spell",
    [
        pytest.param(cookie, id="cookie"),
        pytest.param(lambda token: cookie(f'"{token}"'), id="quoted"),
        pytest.param(lambda token: cookie(with_other_signature(token)), id="other-signature"),
        pytest.param(lambda token: [(b"cookie", f"a=b;\t_token = {token}".encode())], id="blanks"),
        pytest.param(lambda token: [(b"cookie", b"a=b;\xa0_token=" + token.encode())], id="blank-of-latin-1"),
        pytest.param(lambda token: [*cookie("x.y.z"), *cookie(token)], id="second-of-two"),
    ],
)
async def test_a_cookie_that_was_taken_back_is_taken_off(world: World, spell: Any, path: str) -> None:
    token = await world.get_token()
    await world.revoke(token)

    sent = await world.ask(path, spell(token))

    assert sent.status in (200, 400)
    assert not any(token[:40].encode() in value for _, value in (world.behind.headers if world.behind.scopes else []))


async def test_a_cookie_that_was_taken_back_lets_nobody_into_the_api(world: World) -> None:
    token = await world.get_token()
    await world.revoke(token)

    sent = await world.ask("/api/v2/dags", cookie(token))

    assert sent.status == 401
    assert not world.has_reached_airflow


async def test_airflow_is_told_what_was_taken_back(world: World) -> None:
    token = await world.get_token()

    await world.revoke(token)

    assert world.manager.revoked == {jwt.decode(token, options={"verify_signature": False})["jti"]}


@pytest.fixture
def airflow_s_list(world: World, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """Airflow's table of revoked tokens (3.2 and later), as far as we write into it."""
    module: Any = ModuleType("airflow.models.revoked_token")

    class RevokedToken:
        failure: Exception | None = None

        @classmethod
        def revoke(cls, jti: str, exp: datetime) -> None:
            if cls.failure is not None:
                raise cls.failure
            assert exp.tzinfo is not None
            world.manager.revoked.add(jti)

    module.RevokedToken = RevokedToken
    monkeypatch.setitem(sys.modules, "airflow.models", ModuleType("airflow.models"))
    monkeypatch.setitem(sys.modules, module.__name__, module)
    return cast("ModuleType", module)


async def revoke_what_made_a_token(world: World) -> tuple[str, Sent]:
    """Return the name of a JWT that a personal token has made, and the answer to that token's end."""
    made = await world.make_personal_token("all")
    token = content(await world.ask("/auth/token", bearer(made["token"]), method="POST"))["access_token"]
    ended = await world.ask(f"/compat-auth/api/personal-tokens/{made['id']}", login(), method="DELETE")
    assert (await world.ask("/ui/auth/me", bearer(token))).status == 401
    return jwt.decode(token, options={"verify_signature": False})["jti"], ended


@pytest.mark.usefixtures("airflow_s_list")
async def test_airflow_is_told_what_a_revoked_personal_token_has_made(world: World) -> None:
    name, ended = await revoke_what_made_a_token(world)

    assert ended.status == 204
    assert world.manager.revoked == {name}


async def test_a_revocation_holds_here_where_airflow_cannot_write_it_down_or_has_no_list(
    world: World, airflow_s_list: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    airflow_s_list.RevokedToken.failure = OperationalError("INSERT", None, Exception())
    _, failed = await revoke_what_made_a_token(world)
    monkeypatch.setitem(sys.modules, "airflow.models.revoked_token", None)
    _, without = await revoke_what_made_a_token(world)

    assert (failed.status, without.status) == (204, 204)
    assert world.manager.revoked == set()


async def test_a_token_that_airflow_itself_has_taken_back_is_good_for_nothing_more(world: World) -> None:
    token = await world.get_token()
    world.manager.revoke_token(token)

    sent = await world.ask(
        "/compat-auth/introspect", [*login(), *FORM], urlencode({"token": token}).encode(), method="POST"
    )

    assert content(sent) == {"active": False}


async def test_a_token_of_airflow_s_own_login_can_be_taken_back_too(world: World) -> None:
    token = world.manager.generate_jwt(world.manager.get_users()[0], expiration_time_in_seconds=600)

    await world.revoke(token)

    assert (await world.ask("/ui/auth/me", bearer(token))).status == 401


async def test_a_forged_token_denies_nobody_s(world: World) -> None:
    token = await world.get_token()
    claims = jwt.decode(token, options={"verify_signature": False})

    await world.revoke(jwt.encode(claims, "k" * 64, algorithm="HS512"))

    assert (await world.ask("/ui/auth/me", bearer(token))).status == 200


async def test_all_tokens_of_a_user_up_to_now_are_refused_where_they_are_no_business_of_ours_otherwise(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    # What another process has written is seen within a second.
    monkeypatch.setattr(denylist, "UNHEARD_S", 0)
    token = world.manager.generate_jwt(world.manager.get_users()[0], expiration_time_in_seconds=600)
    rows = DenylistRows(open_store(f"sqlite:///{world.home}/compat_auth.db"))
    now = int(time.time())
    rows.revoke([DenylistEntry("sub", "op", now + 600, now)])

    assert (await world.ask("/ui/auth/me", bearer(token))).status == 401


async def test_the_tokens_of_tasks_are_left_alone(world: World) -> None:
    token = await world.get_token()
    await world.revoke(token)

    sent = await world.ask("/execution/variables/x", bearer(token))

    assert sent.status == 200
    assert world.behind.values(b"authorization") == [b"Bearer " + token.encode()]


@pytest.mark.parametrize("path", ["/api/v2/dags", "/ui/auth/me"])
async def test_a_store_that_cannot_be_asked_lets_no_token_by(
    world: World, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    token = await world.get_token()

    async def cannot(_denials: Denylist) -> None:
        raise BackendUnavailable("the store is down")

    monkeypatch.setattr(Denylist, "is_stale", True)
    monkeypatch.setattr(Denylist, "up_to_date", cannot)
    shown = await world.ask(path, bearer(token))
    without = await world.ask("/ui/auth/me")

    assert shown.status == 503
    assert without.status == 200


async def test_an_airflow_that_cannot_answer_is_not_a_no(world: World) -> None:
    token = await world.get_token()
    world.manager.failure = OperationalError("SELECT", None, Exception())

    sent = await world.ask("/compat-auth/revoke", FORM, urlencode({"token": token}).encode(), method="POST")

    assert sent.status == 503


@pytest.mark.parametrize("path", ["/auth/token", "/auth/token/cli"])
@pytest.mark.parametrize(
    ("headers", "body"),
    [
        pytest.param([*bearer("stale.airflow.token"), *JSON], b'{"username": "op", "password": "x"}', id="with-bearer"),
        pytest.param(JSON, b'{"username": "op"}', id="half"),
        pytest.param([], b"", id="nothing"),
    ],
)
async def test_what_is_no_login_of_ours_is_airflow_s_to_answer(
    world: World, path: str, headers: RawHeaders, body: bytes
) -> None:
    seen: list[bytes] = []

    async def airflow(_scope: Any, receive: Any, send: Any) -> None:
        seen.append((await receive())["body"])
        await send({"type": "http.response.start", "status": 418, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    world.behind.__class__ = type("Airflow", (Behind,), {"__call__": staticmethod(airflow)})

    sent = await world.ask(path, headers, body, method="POST")

    assert sent.status == 418
    assert seen == [body]


async def test_a_limited_token_gets_no_token_of_airflow_s_which_would_not_be(world: World) -> None:
    made = await world.make_personal_token("GET /api/v2/dags")
    form = {"grant_type": EXCHANGE_GRANT, "subject_token": made["token"], "subject_token_type": PERSONAL_TOKEN}

    asked = await world.ask("/auth/token", bearer(made["token"]), method="POST")
    exchanged = await world.ask("/auth/token", FORM, urlencode(form).encode(), method="POST")

    assert asked.status == 403
    assert (exchanged.status, content(exchanged)["error"]) == (400, "invalid_scope")


@pytest.mark.parametrize(
    ("method", "path", "headers", "expected"),
    [
        ("GET", "/api/v2/dags", [], 200),
        ("HEAD", "/api/v2/dags", [], 200),
        ("GET", "/compat-auth/whoami", [], 200),
        ("POST", "/api/v2/dags", [], 403),
        ("GET", "/api/v2/dags/x", [], 403),
        ("GET", "/api/v2/%64ags/x", [], 403),
        ("GET", "/api/v2/dags/../pools", [], 400),
        ("GET", "/api/v1/dags", [], 403),
        ("POST", "/api/v2/dags", [(b"x-http-method-override", b"GET")], 403),
        ("GET", "/auth/fab/v1/users", [], 403),
        ("GET", "/compat-auth/api/personal-tokens", [], 403),
    ],
)
async def test_a_scope_allows_what_it_says_and_nothing_else(
    world: World, method: str, path: str, headers: RawHeaders, expected: int
) -> None:
    made = await world.make_personal_token("GET /api/v2/dags")

    sent = await world.ask(path, [*bearer(made["token"]), *headers], method=method)

    assert sent.status == expected
    assert not world.has_reached_airflow or expected == 200


async def test_a_personal_token_never_gets_to_airflow_itself(world: World) -> None:
    made = await world.make_personal_token("all")
    as_password = base64.b64encode(f"op:{made['token']}".encode())

    for headers in (bearer(made["token"]), [(b"authorization", b"Basic " + as_password)]):
        sent = await world.ask("/api/v2/dags", headers)

        assert sent.status == 200
        ((value,),) = [world.behind.values(b"authorization")]
        assert jwt.decode(value.split()[1].decode(), options={"verify_signature": False})["sub"] == "op"


async def test_a_personal_token_that_was_revoked_is_refused_at_once(world: World) -> None:
    made = await world.make_personal_token("all")
    before = await world.ask("/api/v2/dags", bearer(made["token"]))

    revoked = await world.ask(f"/compat-auth/api/personal-tokens/{made['id']}", login(), method="DELETE")
    after = await world.ask("/api/v2/dags", bearer(made["token"]))

    assert (before.status, revoked.status, after.status) == (200, 204, 401)


async def test_the_store_is_in_airflow_s_own_folder_and_readable_for_its_owner_alone(world: World) -> None:
    await world.make_personal_token("all")

    made = sorted(path.name for path in world.home.iterdir() if path.suffix in (".db", ".pepper"))
    pepper = (world.home / "compat_auth.db.pepper").stat().st_mode & 0o777

    assert made == ["compat_auth.db", "compat_auth.db.pepper"]
    assert pepper == 0o600


@pytest.mark.parametrize("root", ["/af", "/compat-auth", "/team.a/af"])
async def test_every_page_is_below_the_path_in_front_and_leads_nowhere_else(
    manager_of: Callable[..., World], tmp_path: Path, root: str
) -> None:
    world = manager_of(tmp_path, root=root)
    async with running(world):
        page = await world.ask("/compat-auth/login")
        account = await world.ask("/compat-auth/tokens")
        metadata = await world.ask("/.well-known/oauth-authorization-server")
        document = await world.ask("/compat-auth/openapi.json")

    text = page.body.decode()
    links = [part.partition('"')[0] for part in text.replace('action="', 'href="').split('href="')[1:]]
    assert links
    assert all(link.startswith((f"{root}/compat-auth/", "data:")) for link in links)
    assert f'value="{root}/"' in text
    at = f"{root}/compat-auth/"
    assert account.values(b"location") == [f"{at}login?next={quote(at + 'tokens')}".encode()]
    assert content(metadata)["issuer"] == f"http://gateway.example{root}"
    assert content(metadata)["revocation_endpoint"] == f"http://gateway.example{at}revoke"
    assert content(document)["servers"] == [{"url": root}]


async def test_whoever_logs_in_on_our_page_gets_airflow_s_cookie_for_airflow_s_path_alone_and_a_logout_ends_it(
    manager_of: Callable[..., World], tmp_path: Path
) -> None:
    world = manager_of(tmp_path, root="/af")
    async with running(world):
        page = await world.ask("/compat-auth/login")
        form_cookie = page.values(b"set-cookie")[0].partition(b";")[0]
        token = page.body.decode().partition('name="token" value="')[2].partition('"')[0]
        form = {"username": "op", "password": "öp", "token": token, "next": "/af/dags"}
        own = [(b"sec-fetch-site", b"same-origin"), *FORM]
        arrived = await world.ask(
            "/compat-auth/login", [(b"cookie", form_cookie), *own], urlencode(form).encode(), method="POST"
        )
        pairs = [value.partition(b"=") for value in arrived.values(b"set-cookie")]
        cookies = {name: value for name, _, value in pairs}
        session = next(value for name, value in cookies.items() if name.endswith(b"session")).partition(b";")[0]
        jwt_value, _, attributes = cookies[b"_token"].partition(b";")
        both = [(b"cookie", b"compat_auth_session=" + session + b"; _token=" + jwt_value)]
        shown = await world.ask("/compat-auth/logout", both)
        token = shown.body.decode().partition('name="token" value="')[2].partition('"')[0]
        out = await world.ask("/compat-auth/logout", [*both, *own], urlencode({"token": token}).encode(), method="POST")
        after = await world.ask("/ui/auth/me", bearer(jwt_value.decode()))

    assert (arrived.status, arrived.values(b"location")) == (303, [b"/af/dags"])
    assert b"Path=/af/;" in attributes + b";"
    assert b"HttpOnly" in attributes
    assert (out.status, out.values(b"location")) == (303, [b"/af/compat-auth/logout"])
    assert after.status == 401
