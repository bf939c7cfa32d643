"""A gateway with personal tokens, in this process, before a recording upstream."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import bcrypt

from compat_auth.app import Gateway
from compat_auth.authn.revocation_events import RevocationEvents
from compat_auth.config import Settings, parse_settings
from compat_auth.personal_tokens.request import NewToken, PersonalTokenRequest
from compat_auth.personal_tokens.service import PersonalTokens, no_upstream


def settings_with_tokens(folder: Path, upstream_port: int, **more: Any) -> Settings:
    """Return the settings; alice's password is "wonder", bob's is "builder"."""
    users = {"alice": b"wonder", "bob": b"builder"}
    lines = [f"{name}:{bcrypt.hashpw(password, bcrypt.gensalt(4)).decode()}\n" for name, password in users.items()]
    mapping = "".join(f'[[user]]\nusername = "{name}"\nroles = ["Admin"]\n' for name in users)
    for name, text in (("htpasswd", "".join(lines)), ("users.toml", mapping)):
        (folder / name).write_text(text)
        (folder / name).chmod(0o600)
    content: dict[str, Any] = {
        "auth_backends": ["personal_token", "basic_auth"],
        "database_url": f"sqlite:///{folder / 'store.db'}",
        "basic_auth": {"directories": ["htpasswd"]},
        "lookup": {"directories": ["mapping"]},
        "mapping": {"file": str(folder / "users.toml")},
        "htpasswd": {"file": str(folder / "htpasswd")},
        "upstream": {"url": f"http://127.0.0.1:{upstream_port}", "profile": "generic"},
        "token": {"strategy": "shared_secret", "secret": "t" * 64},
        **more,
    }
    return parse_settings(content, origin="test")


@contextlib.asynccontextmanager
async def opened(settings: Settings) -> AsyncGenerator[Gateway]:
    """Open the gateway and close it in the end."""
    gateway = Gateway(settings)
    await gateway._proxy.open()
    try:
        yield gateway
    finally:
        gateway._core.decider.close()
        await gateway._proxy.close()


def make_token(
    settings: Settings, *scopes: str, owner: str = "alice", name: str = "script", certificate: str = ""
) -> NewToken:
    """Return a new token, made as the command line does: in another process without a signal between the two."""
    tokens = PersonalTokens.from_settings(settings, RevocationEvents(), revoke_upstream=no_upstream)
    request = PersonalTokenRequest(name, scopes or ("all",), certificate=certificate)
    return tokens.create(owner, request, by=owner)
