"""Stand-ins for Airflow's task instances and for the signer of its tokens, in tests without Airflow."""

from __future__ import annotations

import sys
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any
from uuid import UUID, uuid4

import jwt
import pytest
from sqlalchemy import create_engine
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

SECRET = "s" * 64
EXECUTION = "urn:airflow.apache.org:task"


class Base(DeclarativeBase):
    pass


class DagVersion(Base):
    __tablename__ = "dag_version"
    id: Mapped[UUID] = mapped_column(primary_key=True)
    bundle_name: Mapped[str | None]


class TaskInstance(Base):
    __tablename__ = "task_instance"
    id: Mapped[UUID] = mapped_column(primary_key=True)
    dag_id: Mapped[str]
    task_id: Mapped[str]
    run_id: Mapped[str]
    map_index: Mapped[int]
    try_number: Mapped[int]
    state: Mapped[str | None]
    dag_version_id: Mapped[UUID | None]
    working_set: Mapped[bool | None]


class JWTGenerator:
    """Signs as Airflow's does, with the shared secret."""

    def __init__(self, *, valid_for: float, audience: str, issuer: str | None, secret_key: str) -> None:
        self.valid_for, self.audience, self.issuer, self.secret = valid_for, audience, issuer, secret_key

    def generate(self, extras: dict[str, Any]) -> str:
        return sign(self.audience, secret=self.secret, exp=int(time.time() + self.valid_for), **extras)


class JWTValidator:
    """Verifies as Airflow's does."""

    def __init__(
        self, *, required_claims: frozenset[str], issuer: str | None, audience: list[str], secret_key: str
    ) -> None:
        self.required, self.issuer, self.audience, self.secret = required_claims, issuer, audience, secret_key

    async def avalidated_claims(self, token: str) -> dict[str, Any]:
        claims: dict[str, Any] = jwt.decode(
            token,
            self.secret,
            algorithms=["HS512"],
            audience=self.audience,
            issuer=self.issuer,
            options={"require": list(self.required)},
        )
        return claims


def sign(audience: object, *, secret: str = SECRET, **claims: Any) -> str:
    """Return a JWT as Airflow signs one, but for what the claims change; None takes one away."""
    now = int(time.time())
    content = {"jti": uuid4().hex, "aud": audience, "iat": now, "nbf": now, "exp": now + 600} | claims
    return jwt.encode({name: value for name, value in content.items() if value is not None}, secret, algorithm="HS512")


class Tasks:
    """Airflow's database of task instances."""

    def __init__(self, file: Path) -> None:
        self.engine = create_engine(f"sqlite:///{file}")
        self.is_away = False
        Base.metadata.create_all(self.engine)

    def add(self, **changed: Any) -> str:
        """Add a running task instance of DAG `sales.daily`, and return its id."""
        bundle = changed.pop("bundle", "ours")
        values: dict[str, Any] = {
            "id": uuid4(),
            "dag_id": "sales.daily",
            "task_id": "push",
            "run_id": "manual__1",
            "map_index": -1,
            "try_number": 1,
            "state": "running",
            "working_set": True,
        }
        with self.create_session() as session:
            version = DagVersion(id=uuid4(), bundle_name=bundle)
            session.add(version)
            session.add(TaskInstance(**{**values, **changed, "dag_version_id": version.id}))
            session.commit()
        return str({**values, **changed}["id"])

    def change(self, instance_id: str, **changed: Any) -> None:
        """Change a task instance."""
        with self.create_session() as session:
            instance = session.get_one(TaskInstance, UUID(instance_id))
            for name, value in changed.items():
                setattr(instance, name, value)
            session.commit()

    @contextmanager
    def create_session(self) -> Generator[Session]:
        """Yield a session, as `airflow.utils.session` does."""
        if self.is_away:
            raise OperationalError("select", {}, Exception("away"))
        with Session(self.engine) as session:
            yield session


def install(monkeypatch: pytest.MonkeyPatch, tasks: Tasks) -> None:
    """Put the modules of Airflow in place that know tasks and their tokens."""
    contents: dict[str, dict[str, Any]] = {
        "airflow.models.taskinstance": {"TaskInstance": TaskInstance},
        "airflow.models.dag_version": {"DagVersion": DagVersion},
        "airflow.utils.session": {"create_session": tasks.create_session},
        "airflow.api_fastapi.auth.tokens": {
            "JWTGenerator": JWTGenerator,
            "JWTValidator": JWTValidator,
            "get_signing_args": lambda **_: {"secret_key": SECRET},
            "get_sig_validation_args": lambda **_: {"secret_key": SECRET},
        },
    }
    for name, content in contents.items():
        for parent in ("airflow.models", "airflow.utils", "airflow.api_fastapi.auth"):
            monkeypatch.setitem(sys.modules, parent, ModuleType(parent))
        module = ModuleType(name)
        vars(module).update(content)
        monkeypatch.setitem(sys.modules, name, module)
