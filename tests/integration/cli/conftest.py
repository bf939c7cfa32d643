"""A site to run commands on, which leave no entries in the log of the machine that tests them."""

from __future__ import annotations

from pathlib import Path

import pytest

from compat_auth.cli import context
from compat_auth.cli.users import departures


@pytest.fixture(autouse=True)
def no_system_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(context, "SYSTEM_LOG", str(tmp_path / "no system log"))


@pytest.fixture(autouse=True)
def waited(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Return for how many seconds a command would have waited."""
    waited: list[float] = []
    monkeypatch.setattr(departures, "sleep", waited.append)
    return waited


@pytest.fixture
def site(tmp_path: Path) -> str:
    """Return the configuration of a gateway with personal tokens, whose users are in `users` beside it."""
    path = tmp_path / "site.toml"
    path.write_text(
        f"""
        auth_backends = ["personal_token"]
        database_url = "sqlite:///{tmp_path / "store.db"}"
        [upstream]
        profile = "generic"
        [basic_auth]
        directories = ["htpasswd"]
        [htpasswd]
        file = "{tmp_path / "users"}"
        """,
        encoding="utf-8",
    )
    return str(path)
