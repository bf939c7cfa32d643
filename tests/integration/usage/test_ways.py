"""Every way of a request is counted once, and the fast ways count as the ordinary ones do."""

from __future__ import annotations

from pathlib import Path

import pytest

from compat_auth.store.migration import open_store
from compat_auth.store.tables.usage import USAGE, UsageRows
from support.fast_world import SECRET, Gateway, World, get, say, worlds

AGENT = b"User-Agent: curl/8.5.0"
WRONG = b"Authorization: Basic YWxpY2U6d3Jvbmc="
SECRET_LINE = b"X-Compat-Auth-Proxy-Secret: " + SECRET
OWN = b"Authorization: Bearer the.upstreams.own"
DENIED = b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n"
MISSING = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"
TRUSTED = 'trusted_proxies = ["127.0.0.1/32"]'


def make_store(folder: Path) -> None:
    folder.mkdir()
    database = open_store(f"sqlite:///{folder}/store.db")
    with database.write():
        pass
    database.close()


def counted(folder: Path) -> dict[tuple[str, ...], tuple[int, int]]:
    """Return requests and errors by user, backend, client, range, operation and outcome."""
    names = ("principal", "backend", "client", "network", "operation", "outcome")
    rows = UsageRows(open_store(f"sqlite:///{folder}/store.db"))
    found = {tuple(row[name] for name in names): (row["count"], row["errors"]) for row in rows.sums(*names)}
    rows.close()
    return found


def question(target: bytes = b"/api/v2/dags/etl", **more: bytes) -> bytes:
    lines = (
        SECRET_LINE,
        AGENT,
        b"X-Original-URI: " + target,
        b"X-Original-Method: DELETE",
        b"X-Forwarded-For: 10.1.2.3",
    )
    return get(b"/compat-auth/forward-auth/nginx", *lines, **more)


async def use(world: World, gateway: Gateway) -> None:
    """Send one request of each kind, some of them twice."""
    client = b"X-Forwarded-For: 10.1.2.3"
    for _ in range(2):
        await gateway.ask(get(b"/api/v2/dags/etl", AGENT, client))
    world.upstream.script = say(MISSING)
    await gateway.ask(get(b"/api/v1/pools/x", AGENT, client))
    world.upstream.script = say(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
    await gateway.ask(get(b"/api/v2/dags/etl", AGENT, client, authorization=WRONG))
    await gateway.ask(get(b"/api/v2/dags/etl", AGENT, client, authorization=OWN))
    world.upstream.script = say(DENIED)
    for target in (b"/api/v2/pools", b"/api/v2/dags/etl"):
        await gateway.ask(get(target, AGENT, client, authorization=OWN))
    world.upstream.script = say(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
    assert (await gateway.ask(question(authorization=OWN))).status == 200
    for _ in range(3):
        assert (await gateway.ask(question())).status == 200
    await gateway.ask(get(b"/compat-auth/forward-auth/lane", SECRET_LINE, b"X-Forwarded-For: 10.1.2.3"))
    await gateway.ask(get(b"/compat-auth/live", AGENT, authorization=b"X-None: 1"))


async def test_each_way_counts_once_and_the_fast_ways_like_the_ordinary_ones(tmp_path: Path) -> None:
    for name in ("fast", "ordinary"):
        make_store(tmp_path / name)

    async with worlds(tmp_path, TRUSTED) as world:
        await use(world, world.fast)
        await use(world, world.ordinary)

    fast, ordinary = counted(tmp_path / "fast"), counted(tmp_path / "ordinary")
    alice = ("alice", "basic_auth")
    assert fast == ordinary
    assert fast == {
        (*alice, "none", "127.0.0.0/24", "GET /api/v2/", "granted"): (1, 0),
        (*alice, "curl", "10.1.2.0/24", "GET /api/v2/dags/{dag_id}", "granted"): (2, 0),
        (*alice, "curl", "10.1.2.0/24", "GET /api/v1/pools/{pool_name}", "granted"): (1, 1),
        (*alice, "curl", "10.1.2.0/24", "DELETE /api/v2/dags/{dag_id}", "granted"): (3, 0),
        (*alice, "unknown", "10.1.2.0/24", "lane", "granted"): (1, 0),
        ("", "", "curl", "", "GET /api/v2/", "refused"): (1, 1),
        ("", "upstream", "curl", "", "GET /api/v2/dags/{dag_id}", "granted"): (1, 0),
        ("", "upstream", "other", "", "GET /api/v2/", "refused"): (2, 2),
        ("", "upstream", "curl", "", "DELETE /api/v2/", "granted"): (1, 0),
    }


async def test_usage_that_is_off_counts_nothing(tmp_path: Path) -> None:
    for name in ("fast", "ordinary"):
        make_store(tmp_path / name)

    async with worlds(tmp_path, f"{TRUSTED}\n[usage]\nenabled = false\n") as world:
        await use(world, world.fast)

    assert counted(tmp_path / "fast") == {}


@pytest.mark.parametrize("secret", [b"wonderl", b"YWxpY2U6", b"the.upstreams.own", b"curl/8.5.0"])
async def test_no_secret_and_no_header_is_stored(secret: bytes, tmp_path: Path) -> None:
    for name in ("fast", "ordinary"):
        make_store(tmp_path / name)

    async with worlds(tmp_path, TRUSTED) as world:
        await use(world, world.fast)

    stored = b"".join(path.read_bytes() for path in (tmp_path / "fast").glob("store.db*"))
    assert b"10.1.2.0/24" in stored
    assert secret not in stored
    assert USAGE.name.encode() in stored
