"""A password that somebody else knows: once it is changed and revoked, nothing that was made with it goes on."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from compat_auth.authn.revocation_events import UNHEARD_S
from compat_auth.cli import commands
from compat_auth.cli.users import departures
from compat_auth.config import Settings
from support.security.token_gateway import opened
from support.stand_ins import basic, call, http_scope

OLD, NEW = "wonder", "a password that nobody knows"


def write_config(folder: Path, settings: Settings) -> Path:
    """Write what the command needs to find the gateway's users and store."""
    path = folder / "compat_auth.toml"
    path.write_text(
        f"""
        auth_backends = ["personal_token", "basic_auth"]
        database_url = "{settings.database_url.get_secret_value()}"
        [upstream]
        profile = "generic"
        [basic_auth]
        directories = ["htpasswd"]
        [htpasswd]
        file = "{folder / "htpasswd"}"
        """,
        encoding="utf-8",
    )
    return path


@pytest.mark.parametrize("command", [("set-password", "--password-stdin", "--revoke"), ("delete",)])
async def test_what_a_remembered_password_made_after_the_change_ends_as_well(
    tmp_path: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch, command: tuple[str, ...]
) -> None:
    loop, jwts, waited = asyncio.get_running_loop(), list[str](), list[float]()
    arguments = ["users", *command, "alice", "--file", str(tmp_path / "htpasswd")]
    arguments += ["--config", str(write_config(tmp_path, settings))]

    async with opened(settings) as gateway:

        async def steal() -> None:
            header = (b"authorization", basic("alice", OLD).encode())
            sent = await call(gateway, http_scope(b"/auth/token", [header], method="POST"))
            jwts.append(json.loads(sent.body)["access_token"])

        def meanwhile(seconds: float) -> None:
            waited.append(seconds)
            asyncio.run_coroutine_threadsafe(steal(), loop).result()

        await steal()
        monkeypatch.setattr(departures, "sleep", meanwhile)
        await asyncio.to_thread(CliRunner().invoke, commands, arguments, input=f"{NEW}\n", catch_exceptions=False)
        await asyncio.sleep(UNHEARD_S)
        headers = [(b"authorization", f"Bearer {jwt}".encode()) for jwt in jwts]
        statuses = [(await call(gateway, http_scope(b"/api/v2/dags", [header]))).status for header in headers]

    assert waited == [settings.basic_auth.cache_ttl_s + 1]
    assert statuses == [401, 401]
