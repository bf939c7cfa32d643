"""A caller acts for a user inside Airflow: whose token the request goes on with, and that Airflow's own roles count."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import jwt
import pytest

from compat_auth.airflow.composition import compose
from support.airflow_stand_ins import Conf, SigningAuthManager, activate
from support.stand_ins import Behind, Sent, basic, call, http_scope

ROLES = {"op": "OP", "viv": "VIEWER", "boss": "ADMIN"}
FILE = """
auth_backends = ["basic_auth"]

[[do_as]]
callers = ["op"]
roles = ["Viewer", "VIEWER"]
"""


class SimpleAuthManager(SigningAuthManager):
    """Known by its name."""

    def get_users(self) -> list[Any]:
        return [SimpleNamespace(username=name, role=role) for name, role in ROLES.items()]


class Inside:
    """Airflow with the plugin around it."""

    def __init__(self, home: Path, more: str = "") -> None:
        self.behind = Behind()
        file = home / "compat_auth.toml"
        file.write_text(FILE + more)
        file.chmod(0o600)
        settings = f"[compat_auth]\nconfig = {file}"
        self.instance = compose(self.behind, Conf(settings, {}), {"AIRFLOW_HOME": str(home)})

    async def ask_as(self, user: str) -> Sent:
        headers = [(b"authorization", basic("op", "öp").encode()), (b"x-do-as", user.encode())]
        scope = http_scope(b"/api/v2/dags", headers)
        return await call(self.instance, {**scope, "root_path": "", "state": {}})

    @property
    def users_seen(self) -> list[str]:
        values = self.behind.values(b"authorization") if self.behind.scopes else []
        return [jwt.decode(value[7:], options={"verify_signature": False})["sub"] for value in values]


@pytest.fixture(autouse=True)
def manager(monkeypatch: pytest.MonkeyPatch) -> None:
    activate(monkeypatch, SimpleAuthManager())


@pytest.mark.parametrize(("user", "status"), [("viv", 200), ("boss", 403), ("op", 403), ("nobody", 403)])
async def test_airflow_gets_the_user_and_no_administrator(tmp_path: Path, user: str, status: int) -> None:
    inside = Inside(tmp_path)

    sent = await inside.ask_as(user)

    assert sent.status == status
    assert inside.users_seen == ([user] if status == 200 else [])


@pytest.mark.parametrize(("user", "status"), [("viv", 200), ("boss", 403)])
async def test_a_directory_that_tells_less_makes_nobody_harmless(tmp_path: Path, user: str, status: int) -> None:
    users = tmp_path / "users.toml"
    users.write_text("".join(f'[[user]]\nusername = "{name}"\nroles = ["Viewer"]\n' for name in ROLES))
    users.chmod(0o600)
    inside = Inside(tmp_path, f'[lookup]\ndirectories = ["mapping"]\n[mapping]\nfile = "{users}"\n')

    sent = await inside.ask_as(user)

    assert sent.status == status
    assert inside.users_seen == ([user] if status == 200 else [])
