"""A store that is lost while a gateway runs, or between two runs, lets nobody in again whom it had shut out."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path

import pytest

from compat_auth.app import Gateway
from compat_auth.config import parse_settings
from compat_auth.store import sqlite_file
from support.security.taking_back import USERS, GatewayUnderTest, as_user, bearer, cookie, open_instance
from support.security.upstream import Recorder
from support.stand_ins import Sent, call, http_scope


@pytest.fixture
async def instance(tmp_path: Path, upstream: Recorder) -> AsyncIterator[GatewayUnderTest]:
    async with open_instance(tmp_path, upstream) as instance:
        yield instance


def remove_store(folder: Path) -> None:
    for file in folder.glob("store.db*"):
        if not file.name.endswith((".pepper", ".witness")):
            file.unlink()


async def ready(gateway: Gateway) -> tuple[int, str]:
    sent = await call(gateway, http_scope(b"/compat-auth/ready"))
    found = json.loads(sent.body)
    return sent.status, found.get("reason", found["status"])


@asynccontextmanager
async def started_anew(instance: GatewayUnderTest, monkeypatch: pytest.MonkeyPatch) -> AsyncGenerator[Gateway]:
    monkeypatch.setattr(sqlite_file, "_KNOWN", {})
    gateway = Gateway(parse_settings(instance.content, origin="test"))
    await gateway._proxy.open()
    yield gateway
    gateway._core.decider.close()
    await gateway._proxy.close()


async def test_a_gateway_without_a_store_works_until_something_is_to_be_kept(instance: GatewayUnderTest) -> None:
    assert await ready(instance.gateway) == (200, "ready")
    assert (await instance.get("/api/v2/dags", as_user("alice"))).status == 200
    assert (await instance.get("/api/v2/dags", bearer("e30.e30.x"))).status == 200
    assert list(instance.folder.glob("store.db*")) == []


async def test_nothing_is_revoked_or_given_with_success_once_the_file_is_deleted(instance: GatewayUnderTest) -> None:
    revoked, good = await instance.token_of("alice"), await instance.token_of("alice")
    await instance.revoke(revoked)

    remove_store(instance.folder)
    login = {"username": "bob", "password": USERS["bob"]}
    given = await instance.post("/auth/token", login)

    assert await instance.revoke(good) == 503
    assert given.status == 503
    assert await ready(instance.gateway) == (503, "the store cannot be used")
    assert not (instance.folder / "store.db").exists()


async def test_a_revoked_token_stays_out_when_the_file_is_deleted(instance: GatewayUnderTest) -> None:
    token = await instance.token_of("alice")
    await instance.revoke(token)
    remove_store(instance.folder)

    statuses = [
        (await instance.get("/api/v2/dags", bearer(token))).status,
        (await instance.get("/ui/", bearer(token))).status,
        (await instance.get("/api/v2/dags", cookie(token))).status,
    ]

    assert all(status in (401, 503) for status in statuses)


async def test_a_revoked_token_stays_out_when_the_file_is_not_there_at_the_start(
    instance: GatewayUnderTest, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    token = await instance.token_of("alice")
    await instance.revoke(token)
    remove_store(instance.folder)

    async with started_anew(instance, monkeypatch) as gateway:
        answers: list[Sent] = [
            await call(gateway, http_scope(b"/api/v2/dags", [shown])) for shown in (bearer(token), cookie(token))
        ]
        is_ready = await ready(gateway)

    assert [answer.status for answer in answers] == [503, 503]
    assert is_ready == (503, "the store cannot be used")
    assert "store.db.witness says that it did" in caplog.text


async def test_a_store_in_a_folder_whose_volume_is_missing_is_unavailable(
    instance: GatewayUnderTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    instance.content["database_url"] = f"sqlite:///{instance.folder / 'volume' / 'store.db'}"

    async with started_anew(instance, monkeypatch) as gateway:
        sent = await call(gateway, http_scope(b"/api/v2/dags", [bearer("e30.e30.x")]))
        is_ready = await ready(gateway)

    assert sent.status == 503
    assert is_ready == (503, "the store cannot be used")


async def test_a_store_that_takes_no_writes_is_not_ready(
    instance: GatewayUnderTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    await instance.token_of("alice")
    with closing(sqlite3.connect(instance.folder / "store.db")) as raw:
        raw.execute(
            "CREATE TRIGGER full BEFORE UPDATE ON compat_auth_denial_version BEGIN SELECT RAISE(ABORT, 'full'); END"
        )
        raw.commit()

    async with started_anew(instance, monkeypatch) as gateway:
        assert await ready(gateway) == (503, "the store cannot be used")


async def test_what_is_revoked_after_a_backup_was_restored_under_a_running_gateway_is_refused(
    instance: GatewayUnderTest,
) -> None:
    await instance.revoke(await instance.token_of("alice"))
    with closing(sqlite3.connect(instance.folder / "store.db")) as live, closing(sqlite3.connect(":memory:")) as copy:
        live.backup(copy)
        before = [await instance.token_of("alice") for _ in range(3)]
        for token in before:
            await instance.revoke(token)
        copy.backup(live)
    after = await instance.token_of("alice")

    await instance.revoke(after)

    assert [(await instance.get("/api/v2/dags", bearer(token))).status for token in [*before, after]] == [401] * 4
