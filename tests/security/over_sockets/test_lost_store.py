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
from support.security.taking_back import USERS, Entry, as_user, bearer, cookie, open_door
from support.security.upstream import Recorder
from support.stand_ins import Sent, call, http_scope


@pytest.fixture
async def door(tmp_path: Path, upstream: Recorder) -> AsyncIterator[Entry]:
    async with open_door(tmp_path, upstream) as door:
        yield door


def remove_store(folder: Path) -> None:
    for file in folder.glob("store.db*"):
        if not file.name.endswith((".pepper", ".witness")):
            file.unlink()


async def ready(gateway: Gateway) -> tuple[int, str]:
    sent = await call(gateway, http_scope(b"/compat-auth/ready"))
    found = json.loads(sent.body)
    return sent.status, found.get("reason", found["status"])


@asynccontextmanager
async def started_anew(door: Entry, monkeypatch: pytest.MonkeyPatch) -> AsyncGenerator[Gateway]:
    monkeypatch.setattr(sqlite_file, "_KNOWN", {})
    gateway = Gateway(parse_settings(door.content, origin="test"))
    await gateway._proxy.open()
    yield gateway
    gateway._core.decider.close()
    await gateway._proxy.close()


async def test_a_gateway_without_a_store_works_until_something_is_to_be_kept(door: Entry) -> None:
    assert await ready(door.gateway) == (200, "ready")
    assert (await door.get("/api/v2/dags", as_user("alice"))).status == 200
    assert (await door.get("/api/v2/dags", bearer("e30.e30.x"))).status == 200
    assert list(door.folder.glob("store.db*")) == []


async def test_nothing_is_revoked_or_given_with_success_once_the_file_is_deleted(door: Entry) -> None:
    revoked, good = await door.token_of("alice"), await door.token_of("alice")
    await door.revoke(revoked)

    remove_store(door.folder)
    login = {"username": "bob", "password": USERS["bob"]}
    given = await door.post("/auth/token", login)

    assert await door.revoke(good) == 503
    assert given.status == 503
    assert await ready(door.gateway) == (503, "the store cannot be used")
    assert not (door.folder / "store.db").exists()


async def test_a_revoked_token_stays_out_when_the_file_is_deleted(door: Entry) -> None:
    token = await door.token_of("alice")
    await door.revoke(token)
    remove_store(door.folder)

    statuses = [
        (await door.get("/api/v2/dags", bearer(token))).status,
        (await door.get("/ui/", bearer(token))).status,
        (await door.get("/api/v2/dags", cookie(token))).status,
    ]

    assert all(status in (401, 503) for status in statuses)


async def test_a_revoked_token_stays_out_when_the_file_is_not_there_at_the_start(
    door: Entry, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    token = await door.token_of("alice")
    await door.revoke(token)
    remove_store(door.folder)

    async with started_anew(door, monkeypatch) as gateway:
        answers: list[Sent] = [
            await call(gateway, http_scope(b"/api/v2/dags", [shown])) for shown in (bearer(token), cookie(token))
        ]
        is_ready = await ready(gateway)

    assert [answer.status for answer in answers] == [503, 503]
    assert is_ready == (503, "the store cannot be used")
    assert "store.db.witness says that it did" in caplog.text


async def test_a_store_in_a_folder_whose_volume_is_missing_is_unavailable(
    door: Entry, monkeypatch: pytest.MonkeyPatch
) -> None:
    door.content["database_url"] = f"sqlite:///{door.folder / 'volume' / 'store.db'}"

    async with started_anew(door, monkeypatch) as gateway:
        sent = await call(gateway, http_scope(b"/api/v2/dags", [bearer("e30.e30.x")]))
        is_ready = await ready(gateway)

    assert sent.status == 503
    assert is_ready == (503, "the store cannot be used")


async def test_a_store_that_takes_no_writes_is_not_ready(door: Entry, monkeypatch: pytest.MonkeyPatch) -> None:
    await door.token_of("alice")
    with closing(sqlite3.connect(door.folder / "store.db")) as raw:
        raw.execute(
            "CREATE TRIGGER full BEFORE UPDATE ON compat_auth_denial_version BEGIN SELECT RAISE(ABORT, 'full'); END"
        )
        raw.commit()

    async with started_anew(door, monkeypatch) as gateway:
        assert await ready(gateway) == (503, "the store cannot be used")


async def test_what_is_revoked_after_a_backup_was_restored_under_a_running_gateway_is_refused(
    door: Entry,
) -> None:
    await door.revoke(await door.token_of("alice"))
    with closing(sqlite3.connect(door.folder / "store.db")) as live, closing(sqlite3.connect(":memory:")) as copy:
        live.backup(copy)
        before = [await door.token_of("alice") for _ in range(3)]
        for token in before:
            await door.revoke(token)
        copy.backup(live)
    after = await door.token_of("alice")

    await door.revoke(after)

    assert [(await door.get("/api/v2/dags", bearer(token))).status for token in [*before, after]] == [401] * 4
