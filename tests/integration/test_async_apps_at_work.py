"""Asynchronous apps at work: many callers at once, long bodies, and apps that do not start."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import random
import time
from collections.abc import AsyncGenerator, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import quart
from fastapi import FastAPI
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse

from compat_auth.asgi import CompatAuth, current_identity, require, session
from support.async_apps import KINDS, Site, settings_in
from support.serving import served_by_asgi
from support.stand_ins import basic

ALICE = {"Authorization": basic("alice", "wonder")}
CALLERS = 200
LONG = bytes(range(256)) * 32 * 1024  # 8 MiB
MIXED = random.Random(11)  # noqa: S311  # the same order in every run


async def find_by_name(token: str) -> dict[str, Any] | None:
    """Return a session for every token, after a while."""
    await asyncio.sleep(MIXED.random() / 50)
    return {"uid": token} if token.startswith("user-") else None


def seen() -> str | None:
    return current_identity.username if current_identity else None


async def view_async() -> dict[str, Any]:
    found = [seen()]
    await asyncio.sleep(MIXED.random() / 50)
    found.append(seen())
    found.append(await asyncio.to_thread(seen))
    inner = await asyncio.gather(*(asyncio.create_task(_later()) for _ in range(2)))
    claims = await session.read()
    return {"seen": [*found, *inner, claims and claims["uid"]]}


async def _later() -> str | None:
    await asyncio.sleep(MIXED.random() / 100)
    return seen()


def view_sync() -> dict[str, Any]:
    before = seen()
    time.sleep(MIXED.random() / 100)
    return {"seen": [before, seen()]}


async def view_open() -> dict[str, Any]:
    before = seen()
    await asyncio.sleep(MIXED.random() / 50)
    claims = await session.read()
    return {"seen": [before, seen(), claims and claims["uid"]]}


@pytest.fixture(params=KINDS)
def site(request: pytest.FixtureRequest, tmp_path: Path) -> Site:
    site = Site(request.param, settings_in(tmp_path))
    site.app.token_handler = find_by_name
    site.route("/async", view_async, require)
    site.route("/sync", view_sync, require)
    site.route("/open", view_open)
    return site


async def ask_at_once(site: Site, asked: list[tuple[str, dict[str, str]]], method: str = "GET") -> list[httpx.Response]:
    """Return the answers to requests that come at the same time, each from another address; none keeps cookies."""

    async def ask(path: str, headers: dict[str, str], address: str) -> httpx.Response:
        transport = httpx.ASGITransport(app=site.app, raise_app_exceptions=False, client=(address, 4711))
        async with httpx.AsyncClient(transport=transport, base_url="http://site.example") as client:
            await asyncio.sleep(MIXED.random() / 50)
            return await client.request(method, path, headers=headers)

    return await asyncio.gather(
        *(ask(path, headers, f"192.0.2.{number}") for number, (path, headers) in enumerate(asked))
    )


def test_no_request_among_two_hundred_sees_the_caller_of_another(site: Site) -> None:
    paths = ["/async", "/sync", "/open", "/async", "/sync"]
    asked: list[tuple[str, dict[str, str]]] = []
    wanted: list[Any] = []
    for number in range(CALLERS):
        path, name = paths[number % len(paths)], f"user-{number}"
        is_known = number % 7 != 3
        headers = {"Authorization": f"Bearer {name}"} if is_known else {}
        asked.append((path, headers))
        full = {"/async": [name] * 6, "/sync": [name] * 2, "/open": [None, None, name]}
        nobody = {"/async": 401, "/sync": 401, "/open": [None, None, None]}
        wanted.append((full if is_known else nobody)[path])

    answers = asyncio.run(ask_at_once(site, asked))

    assert [answer.json()["seen"] if answer.status_code == 200 else answer.status_code for answer in answers] == wanted


def test_no_session_among_a_hundred_is_given_to_another(site: Site) -> None:
    names = [f"user-{number}" for number in range(CALLERS // 2)]

    async def begin() -> dict[str, Any]:
        claims = await session.read()
        assert claims is not None
        session.write({"uid": claims["uid"], "own": claims["uid"]})
        await asyncio.sleep(MIXED.random() / 50)
        return {}

    site.route("/begin", begin, require, "POST")
    begun = asyncio.run(ask_at_once(site, [("/begin", {"Authorization": f"Bearer {name}"}) for name in names], "POST"))
    cookies = [answer.headers["Set-Cookie"].partition(";")[0] for answer in begun]

    again = asyncio.run(ask_at_once(site, [("/async", {"Cookie": cookie}) for cookie in cookies]))

    assert len(set(cookies)) == len(names)
    assert [answer.json()["seen"] for answer in again] == [[name] * 6 for name in names]


def with_digest(kind: str, folder: Path) -> Any:
    """Return an app that answers with the digest of a body, to a known caller."""
    settings = settings_in(folder)
    if kind == "quart":
        app: Any = quart.Quart("site")
        CompatAuth(app, settings)

        @app.post("/digest")  # type: ignore[untyped-decorator]  # the app is of any kind
        @require
        async def digest_quart() -> dict[str, str]:
            return {"digest": hashlib.sha256(bytes(await quart.request.body)).hexdigest()}

        return app

    async def digest(request: Request) -> JSONResponse:
        found = hashlib.sha256()
        async for part in request.stream():
            found.update(part)
        return JSONResponse({"digest": found.hexdigest()})

    app = Starlette() if kind == "starlette" else FastAPI()
    CompatAuth(app, settings)
    app.add_route("/digest", require(digest), methods=["POST"])
    return app


def in_chunks() -> Iterator[bytes]:
    for start in range(0, len(LONG), 50_000):
        yield LONG[start : start + 50_000]


@pytest.mark.parametrize("kind", KINDS)
def test_a_long_body_reaches_the_view_as_it_was_sent_and_no_view_for_a_stranger(kind: str, tmp_path: Path) -> None:
    app = with_digest(kind, tmp_path)

    with served_by_asgi(app) as url, httpx.Client(base_url=url, trust_env=False, timeout=30) as client:
        whole = client.post("/digest", content=LONG, headers=ALICE)
        chunked = client.post("/digest", content=in_chunks(), headers=ALICE)
        stranger = client.post("/digest", content=LONG)
        after = client.post("/digest", content=b"", headers=ALICE)

    digests = [answer.json().get("digest") for answer in (whole, chunked, after)]
    assert digests == [hashlib.sha256(LONG).hexdigest()] * 2 + [hashlib.sha256(b"").hexdigest()]
    assert stranger.status_code == 401


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("content", ["at-once", "chunked"])
def test_no_page_of_ours_takes_a_long_body(kind: str, content: str, tmp_path: Path) -> None:
    token = {"strategy": "shared_secret", "secret": "k" * 64, "audience": "my-api"}
    site = Site(kind, settings_in(tmp_path, token=token), issues_tokens=True)

    with served_by_asgi(site.app) as url, httpx.Client(base_url=url, trust_env=False, timeout=30) as client:
        answers = [
            client.post(path, content=LONG if content == "at-once" else in_chunks(), headers=ALICE)
            for path in ("/compat-auth/login", "/auth/token")
        ]
        after = client.get("/compat-auth/whoami", headers=ALICE)

    assert [answer.status_code for answer in answers] == [413, 413]
    assert after.status_code == 200


def starting(kind: str, folder: Path, notes: list[str], fault: str) -> Any:
    """Return an app that notes its start and its end, one of which may fail."""
    settings = settings_in(folder)

    def note(what: str) -> None:
        if fault == what:
            raise RuntimeError(what)
        notes.append(what)

    if kind == "quart":
        app: Any = quart.Quart("site")

        async def begin() -> None:
            note("begin")

        async def end() -> None:
            note("end")

        app.before_serving(begin)
        app.after_serving(end)
        CompatAuth(app, settings)
        return app

    @contextlib.asynccontextmanager
    async def lifespan(_app: Any) -> AsyncGenerator[dict[str, str]]:
        note("begin")
        yield {"from": "lifespan"}
        note("end")

    app = Starlette(lifespan=lifespan) if kind == "starlette" else FastAPI(lifespan=lifespan)
    CompatAuth(app, settings)

    async def show(request: Request) -> JSONResponse:
        return JSONResponse({"from": request.state._state["from"]})

    app.add_route("/show", require(show))
    return app


@pytest.mark.parametrize("kind", KINDS)
def test_an_app_begins_and_ends_as_without_us(kind: str, tmp_path: Path) -> None:
    notes: list[str] = []

    with served_by_asgi(starting(kind, tmp_path, notes, "")) as url:
        answer = httpx.get(f"{url}/show", headers=ALICE, trust_env=False)
        assert notes == ["begin"]

    assert notes == ["begin", "end"]
    assert kind == "quart" or answer.json() == {"from": "lifespan"}


@pytest.mark.parametrize("kind", KINDS)
def test_an_app_that_fails_at_its_start_serves_nobody(kind: str, tmp_path: Path) -> None:
    with (
        pytest.raises(AssertionError, match="did not start"),
        served_by_asgi(starting(kind, tmp_path, [], "begin")),
    ):
        pytest.fail("it serves")


@pytest.mark.parametrize("kind", KINDS)
def test_an_app_that_fails_at_its_end_still_ends(kind: str, tmp_path: Path) -> None:
    notes: list[str] = []

    with served_by_asgi(starting(kind, tmp_path, notes, "end")) as url:
        answer = httpx.get(f"{url}/compat-auth/whoami", headers=ALICE, trust_env=False)

    assert answer.status_code == 200
    assert notes == ["begin"]
