"""Tasks of Airflow as callers: their tokens, their state, and the rules that name the account of each."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol

import flask

from compat_auth.config import Settings
from compat_auth.config.tasks import TaskRuleSettings
from compat_auth.crypto.strict_json import is_list
from compat_auth.errors import BackendUnavailable, InvalidToken, NotPermitted
from compat_auth.facts import answers_without_flask
from compat_auth.identity import Identity
from compat_auth.personal_tokens.owners import TokenOwners
from compat_auth.scopes import Scope, parse_scopes
from compat_auth.store.migration import open_store
from compat_auth.store.tables.role_accounts import RoleAccountRows
from compat_auth.tokens.jose.unverified_claims import read_payload

__all__ = [
    "RUNNING",
    "TASK_AUDIENCE",
    "TaskAccounts",
    "TaskInstance",
    "TaskRule",
    "TaskRules",
    "TaskSource",
    "TaskToken",
    "audiences_of",
    "set_task_source",
    "task_source_of",
]

TASK_AUDIENCE = "urn:compat-auth:task"
"""`aud` of the tokens that the plugin gives to tasks; nothing of Airflow's accepts it."""
RUNNING = "running"
_EXTENSION = "compat_auth.task_source"
# Whatever the list calls the backend: the pages of personal tokens know by it that no person asks.
_KIND = "airflow_task"


@dataclass(frozen=True, slots=True)
class TaskToken:
    """A task's token, verified.

    Attributes:
        instance_id: Id of the task instance.
        expires_at: In seconds since the epoch.
        token_id: `jti`, or "".
        try_number: The try that the token was made for; None: its id says so alone.
    """

    instance_id: str
    expires_at: int
    token_id: str = ""
    try_number: int | None = None


@dataclass(frozen=True, slots=True)
class TaskInstance:
    """A task instance, as Airflow knows it now.

    Attributes:
        id: Its id, a UUID; each try has its own.
        dag_id: Of its DAG.
        task_id: Of its task; in a task group `group.task`.
        run_id: Of its DAG run.
        map_index: -1 where the task is not mapped.
        try_number: From 1.
        state: Such as `running`; "" where it has none.
        bundle: Name of the bundle that its DAG comes from, or "".
    """

    id: str
    dag_id: str
    task_id: str
    run_id: str
    map_index: int
    try_number: int
    state: str
    bundle: str = ""

    def __str__(self) -> str:
        mapped = f"[{self.map_index}]" if self.map_index >= 0 else ""
        return f"{self.dag_id}/{self.run_id}/{self.task_id}{mapped} try {self.try_number}"


class TaskSource(Protocol):
    """A source that verifies tasks' tokens and knows task instances. Any thread may call."""

    @property
    def audiences(self) -> frozenset[str]:
        """Every `aud` that one of these tokens may have."""
        ...

    def read(self, token: str) -> TaskToken:
        """Return the content of a token.

        Raises:
            InvalidToken: It is not a good token of a task.
            BackendUnavailable: Nobody could be asked.
        """
        ...

    def find(self, instance_id: str) -> TaskInstance | None:
        """Return the task instance of this id; None where no current try has it.

        Raises:
            BackendUnavailable: Nobody could be asked.
        """
        ...


@dataclass(frozen=True, slots=True)
class TaskRule:
    """Which tasks act as which account.

    Attributes:
        dag: Matches whole DAG ids.
        task: Matches whole task ids.
        bundle: The bundle that the DAG must come from; "" is any.
        account: User name.
        scopes: What the task may do.
    """

    dag: re.Pattern[str]
    task: re.Pattern[str]
    bundle: str
    account: str
    scopes: tuple[Scope, ...]

    @classmethod
    def from_settings(cls, table: TaskRuleSettings) -> TaskRule:
        """Return the rule of a table."""
        return cls(
            _pattern(table.dag), _pattern(table.task), table.bundle, table.account, parse_scopes(tuple(table.scopes))
        )

    def covers(self, instance: TaskInstance) -> bool:
        """Return whether the rule is about this task."""
        return bool(
            self.dag.fullmatch(instance.dag_id)
            and self.task.fullmatch(instance.task_id)
            and (not self.bundle or self.bundle == instance.bundle)
        )


class TaskRules:
    """The rules of `[airflow_task]`, in order."""

    def __init__(self, rules: tuple[TaskRule, ...]) -> None:
        self._rules = rules

    @classmethod
    def from_settings(cls, settings: Settings) -> TaskRules:
        """Return the configured rules."""
        return cls(tuple(TaskRule.from_settings(table) for table in settings.airflow_task.rules))

    @property
    def accounts(self) -> tuple[str, ...]:
        """The account of each rule."""
        return tuple(rule.account for rule in self._rules)

    def require(self, token: TaskToken, source: TaskSource) -> tuple[TaskInstance, TaskRule]:
        """Return the task instance that a token is about, which runs now, and the first rule that covers it.

        Raises:
            InvalidToken: The task instance is over, or is not the try that the token was made for.
            NotPermitted: No rule covers the task.
            BackendUnavailable: Nobody could be asked.
        """
        instance = source.find(token.instance_id)
        if instance is None:
            raise InvalidToken("sub: no task instance has this id now")
        if instance.state != RUNNING:
            raise InvalidToken(f"the task instance {instance} is not running: {instance.state or 'it has no state'}")
        if token.try_number is not None and token.try_number != instance.try_number:
            raise InvalidToken(f"the task instance {instance} is not the try of the token")
        rule = next((rule for rule in self._rules if rule.covers(instance)), None)
        if rule is None:
            raise NotPermitted(
                f"no rule of [airflow_task] rules covers task {instance.task_id!r} of DAG {instance.dag_id!r}"
            )
        return instance, rule


class TaskAccounts:
    """The accounts that tasks act as. Any thread may use it.

    Args:
        owners: Look-up of active users.
        is_role: Whether a name is a role account's.
    """

    def __init__(self, owners: TokenOwners, is_role: Callable[[str], bool]) -> None:
        self._owners = owners
        self._is_role = is_role

    @classmethod
    def from_settings(cls, settings: Settings) -> TaskAccounts:
        """Return the accounts of the configured directories and of the store.

        Raises:
            ConfigError: A directory or the database's URL cannot work.
        """
        rows = RoleAccountRows(open_store(settings.database_url.get_secret_value()))
        return cls(TokenOwners.from_settings(settings), lambda name: any(row.username == name for row in rows.list()))

    def answers_without_flask(self) -> bool:
        """Return whether no directory reads Flask's request."""
        return answers_without_flask(self._owners)

    def find(self, username: str) -> Identity:
        """Return the active account of that name, without a backend.

        Raises:
            NoSuchUser: There is none, or it is disabled.
            BackendUnavailable: The store or a directory could not be asked.
        """
        return self._owners.find(username, is_role=self._is_role(username))

    def act(self, backend: str, token: TaskToken, instance: TaskInstance, rule: TaskRule) -> Identity:
        """Return the identity of a task: its rule's account, limited to the rule's scopes and the token's lifetime.

        Raises:
            NoSuchUser, BackendUnavailable: See `find`.
        """
        return replace(
            self.find(rule.account),
            backend=backend,
            subject=f"task {instance}",
            scopes=rule.scopes,
            expires_at=token.expires_at,
            credential_id=f"{_KIND}:{token.token_id or token.instance_id}",
        )


def audiences_of(token: str) -> frozenset[str]:
    """Return the `aud` that a JWT claims, not verified; empty where the text is no JWT."""
    claimed = (read_payload(token) or {}).get("aud")
    values = claimed if is_list(claimed) else [claimed]
    return frozenset(value for value in values if isinstance(value, str))


def set_task_source(app: flask.Flask, source: TaskSource) -> None:
    """Let the app's backends know the source that verifies tasks' tokens."""
    app.extensions[_EXTENSION] = source


def task_source_of(app: flask.Flask) -> TaskSource:
    """Return the source that verifies tasks' tokens for this app.

    Raises:
        BackendUnavailable: There is nothing.
    """
    source: TaskSource | None = app.extensions.get(_EXTENSION)
    if source is None:
        raise BackendUnavailable(
            "airflow_task: nothing here knows Airflow's tasks; it works in the plugin and the gateway"
        )
    return source


def _pattern(text: str) -> re.Pattern[str]:
    parts = re.split(r"(\*\*|\*)", text)
    words = {"**": ".*", "*": r"[^.]*"}
    return re.compile("".join(words.get(part, re.escape(part)) for part in parts), re.DOTALL)
