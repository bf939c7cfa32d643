"""airflow_task, held to what every backend must do."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from contextlib import AbstractContextManager, contextmanager

import flask
import jwt
import pytest

from compat_auth.authn.users.lookup import UserLookup
from compat_auth.backend import Backend
from compat_auth.config.loading import parse_settings
from compat_auth.directory import DirectoryUser
from compat_auth.errors import BackendUnavailable, InvalidToken
from compat_auth.personal_tokens.owners import TokenOwners
from compat_auth.tasks import TaskAccounts, TaskInstance, TaskRules, TaskToken, set_task_source
from compat_auth.testing import BackendContract, Headers
from compat_auth_backends.tasks.airflow_task import AirflowTaskBackend
from support.airflow_task_stand_ins import EXECUTION

SECRET = "k" * 64
RUNNING, ENDED, UNCOVERED, OF_DISABLED = "1", "2", "3", "4"
RULES = [
    {"dag": "sales.daily", "account": "alice", "scopes": ["GET /"]},
    {"dag": "sales.gone", "account": "disabled", "scopes": ["trigger"]},
]


class Source:
    """Four task instances, and Airflow's key."""

    audiences = frozenset((EXECUTION,))

    def __init__(self) -> None:
        self.is_down = False

    def read(self, token: str) -> TaskToken:
        try:
            claims = jwt.decode(token, SECRET, algorithms=["HS256"], audience=EXECUTION)
        except jwt.InvalidTokenError as exc:
            raise InvalidToken("not one of Airflow's") from exc
        return TaskToken(str(claims["sub"]), 2_000_000_000, "id")

    def find(self, instance_id: str) -> TaskInstance | None:
        if self.is_down:
            raise BackendUnavailable("Airflow is away")
        found = {
            RUNNING: ("sales.daily", "running"),
            ENDED: ("sales.daily", "success"),
            UNCOVERED: ("hr.daily", "running"),
            OF_DISABLED: ("sales.gone", "running"),
        }.get(instance_id)
        return None if found is None else TaskInstance(instance_id, found[0], "push", "manual__1", -1, 1, found[1])


class Directory:
    name = "users"
    answers_without_flask = True

    def find(self, username: str) -> DirectoryUser | None:
        users = {"alice": DirectoryUser("alice"), "disabled": DirectoryUser("disabled", active=False)}
        return users.get(username)


def bearer(subject: str, secret: str = SECRET) -> Headers:
    text = jwt.encode({"sub": subject, "aud": EXECUTION, "exp": 2_000_000_000}, secret, "HS256")
    return {"Authorization": f"Bearer {text}"}


class TestAirflowTask(BackendContract, has_source=True):
    @pytest.fixture
    def backend(self) -> Backend:
        self.source = Source()
        settings = parse_settings({"airflow_task": {"rules": RULES}}, origin="test")
        accounts = TaskAccounts(TokenOwners(UserLookup((Directory(),))), lambda _name: True)
        return AirflowTaskBackend(TaskRules.from_settings(settings), accounts)

    def make_app(self) -> flask.Flask:
        app = super().make_app()
        set_task_source(app, self.source)
        return app

    def good(self) -> Headers:
        return bearer(RUNNING)

    def bad(self) -> Mapping[str, Headers]:
        return {
            "another key": bearer(RUNNING, "x" * 64),
            "a task that has ended": bearer(ENDED),
            "a task that no rule covers": bearer(UNCOVERED),
            "an account that is disabled": bearer(OF_DISABLED),
            "no task at all": bearer("5"),
        }

    def break_source(self) -> AbstractContextManager[None]:
        @contextmanager
        def down() -> Generator[None]:
            self.source.is_down = True
            yield
            self.source.is_down = False

        return down()
