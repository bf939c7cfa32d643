"""The service of personal tokens in a world of its own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from compat_auth.personal_tokens.service import PersonalTokens
from support.token_world import World


@pytest.fixture
def world(tmp_path: Path) -> World:
    world = World(tmp_path)
    world.revocations.listen(world.heard.append)
    return world


@pytest.fixture
def tokens(world: World) -> Iterator[PersonalTokens]:
    service = world.service()
    yield service
    service.rows.database.close()
