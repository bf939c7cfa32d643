"""Where the peers' environments live, and what to say when one is not there."""

import os
from pathlib import Path

import pytest

from support.peers.our_requirements import our_requirements

HERE = Path(__file__).parent
INSTALL = "tests/support/peers/install"


def peers_folder() -> Path:
    """Return the folder that `tests/support/peers/install` fills: `$TEST_PEERS`, else one in the user's cache."""
    chosen = os.environ.get("TEST_PEERS")
    if chosen:
        return Path(chosen)
    cache = os.environ.get("XDG_CACHE_HOME")
    return (Path(cache) if cache else Path.home() / ".cache") / "compat-auth-peers"


def environment(name: str) -> Path:
    """Return the folder of a complete peer environment; a missing or outdated one fails the test.

    Args:
        name: As in `tests/support/peers/requirements/NAME.txt`.
    """
    folder = peers_folder() / name
    stamp = folder / ".complete"
    wanted = requirements(name).read_text() + (our_requirements() if name.endswith("-plugin") else "")
    if not stamp.is_file() or stamp.read_text() != wanted:
        pytest.fail(f"the peer {name} is not installed in {folder}; run {INSTALL}", pytrace=False)
    return folder


def requirements(name: str) -> Path:
    """Return the file that pins a peer."""
    return HERE / "requirements" / f"{name}.txt"


def axe_folder() -> Path:
    """Return the folder of axe-core; a missing or outdated one fails the test."""
    folder = peers_folder() / "axe"
    stamp = folder / ".complete"
    if not stamp.is_file() or stamp.read_text() != (HERE / "axe" / "package-lock.json").read_text():
        pytest.fail(f"the peer axe is not installed in {folder}; run {INSTALL}", pytrace=False)
    return folder / "node_modules" / "axe-core"
