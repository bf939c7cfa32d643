"""Two gateways before one upstream: with the fast paths and without them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest_asyncio

from support.fast_world import World, worlds


@pytest_asyncio.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    """Both gateways, which believe this machine."""
    async with worlds(tmp_path, 'trusted_proxies = ["127.0.0.1/32"]') as found:
        yield found


@pytest_asyncio.fixture
async def distrusting(tmp_path: Path) -> AsyncIterator[World]:
    """Both gateways, which believe nobody here."""
    async with worlds(tmp_path) as found:
        yield found
