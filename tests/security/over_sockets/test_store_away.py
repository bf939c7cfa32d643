"""The store of personal tokens is away: who comes with a token waits, and nobody else does."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest

from compat_auth.app import Gateway
from compat_auth.crypto.personal_token_format import make_text
from compat_auth.stages.choice import RuleSet
from compat_auth.stages.of_app import stages_of
from compat_auth.store.database import CONNECT_TIMEOUT_S
from compat_auth.store.tables.role_accounts import RoleAccountRows
from support.security.token_gateway import make_token, opened, settings_with_tokens
from support.security.upstream import Recorder
from support.stand_ins import Sent, basic, call, http_scope

ALICE = (b"authorization", basic("alice", "wonder").encode())
PEPPER = "a-pepper-of-more-than-32-bytes-0123456789"


@pytest.fixture
def silent_port() -> Iterator[int]:
    """Take connections and never say a word."""
    held: list[socket.socket] = []
    with socket.create_server(("127.0.0.1", 0)) as server:

        def accept() -> None:
            with contextlib.suppress(OSError):
                while True:
                    held.append(server.accept()[0])

        threading.Thread(target=accept, daemon=True).start()
        yield server.getsockname()[1]
    for connection in held:
        connection.close()


def bearer(text: str) -> tuple[bytes, bytes]:
    return (b"authorization", f"Bearer {text}".encode())


async def ask(gateway: Gateway, *headers: tuple[bytes, bytes]) -> Sent:
    return await call(gateway, http_scope(b"/api/v2/dags", list(headers)))


async def know_names(gateway: Gateway) -> None:
    """Let the process read the names of role accounts and the stages once, of which there are none: before, nobody gets in."""
    stages = stages_of(gateway._core.decider.app)  # pyright: ignore[reportPrivateUsage]  # another process has a store
    assert stages is not None
    cast("Any", stages.memory)._known = RuleSet()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(RoleAccountRows, "list", lambda _rows: ())
        assert (await ask(gateway, ALICE)).status == 200


def take_away(folder: Path) -> None:
    for suffix in ("", "-wal", "-shm"):
        path = folder / f"store.db{suffix}"
        if path.exists():
            path.rename(folder / f"away{suffix}")
    (folder / "store.db").mkdir()


def put_back(folder: Path) -> None:
    (folder / "store.db").rmdir()
    for path in folder.glob("away*"):
        path.rename(folder / path.name.replace("away", "store.db"))


async def test_while_the_store_is_away_only_tokens_are_503_and_no_weaker_backend_is_asked(
    tmp_path: Path, upstream: Recorder
) -> None:
    settings = settings_with_tokens(tmp_path, upstream.port)
    text = make_token(settings).text
    take_away(tmp_path)
    async with opened(settings) as gateway:
        await know_names(gateway)
        upstream.take()
        by_token = await ask(gateway, bearer(text))
        as_password = await ask(gateway, (b"authorization", basic("alice", text).encode()))
        arrived = upstream.take()
        by_password, nobody = [(await ask(gateway, *headers)).status for headers in ([ALICE], [])]
        put_back(tmp_path)
        again = await ask(gateway, bearer(text))

    assert (by_token.status, as_password.status) == (503, 503)
    assert by_token.values(b"retry-after") == [b"5"]
    assert b"store.db" not in by_token.body
    assert arrived == []
    assert (by_password, nobody) == (200, 401)
    assert again.status == 200


async def test_a_store_that_is_away_makes_no_guesser_of_anybody(tmp_path: Path, upstream: Recorder) -> None:
    settings = settings_with_tokens(tmp_path, upstream.port, personal_tokens={"failures_per_minute": 2})
    text = make_token(settings).text
    take_away(tmp_path)
    async with opened(settings) as gateway:
        away = [(await ask(gateway, bearer(text))).status for _ in range(6)]
        put_back(tmp_path)
        again = await ask(gateway, bearer(text))

    assert (away, again.status) == ([503] * 6, 200)


async def test_callers_with_tokens_do_not_hold_up_others_while_the_store_hangs(
    tmp_path: Path, upstream: Recorder, silent_port: int
) -> None:
    settings = settings_with_tokens(
        tmp_path,
        upstream.port,
        database_url=f"postgresql+psycopg://x:y@127.0.0.1:{silent_port}/x",
        personal_tokens={"pepper": PEPPER},
        basic_auth={"directories": ["htpasswd"], "cache_ttl_s": 0},
    )
    async with opened(settings) as gateway:
        await know_names(gateway)
        began = time.monotonic()
        texts = [make_text().value for _ in range(30)]
        shown = [*map(bearer, texts), *((b"authorization", basic("alice", text).encode()) for text in texts)]
        tokens = [asyncio.ensure_future(ask(gateway, header)) for header in shown]
        await asyncio.sleep(0.2)
        waits: list[float] = []
        for _ in range(12):
            asked = time.monotonic()
            assert (await ask(gateway, ALICE)).status == 200
            waits.append(time.monotonic() - asked)
            await asyncio.sleep(0.5)
        answers = await asyncio.gather(*tokens)
        took_s = time.monotonic() - began

    assert {answer.status for answer in answers} == {503}
    # Once somebody has to find out that nothing answers, for tokens and for the names of role accounts; then all know.
    assert waits[0] < 2 * CONNECT_TIMEOUT_S + 2
    assert max(waits[1:]) < 1
    assert took_s < sum(waits) + 12 * 0.5 + 2
