"""Which task acts as which account: patterns, order, and what a configuration may not say."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import flask
import pytest

from compat_auth.authn.users.lookup import UserLookup
from compat_auth.backend import Absent, Accept, BackendUnavailable, Bearer, Reject, Skip
from compat_auth.config import Settings
from compat_auth.config.loading import parse_settings
from compat_auth.directory import DirectoryUser
from compat_auth.errors import ConfigError, InvalidToken
from compat_auth.outcome import Outcome
from compat_auth.personal_tokens.owners import TokenOwners
from compat_auth.tasks import (
    TaskAccounts,
    TaskInstance,
    TaskRules,
    TaskToken,
    audiences_of,
    set_task_source,
)
from compat_auth_backends.tasks.airflow_task import AirflowTaskBackend
from support.airflow_task_stand_ins import EXECUTION, sign

NUMBER = "01a22b8d-dbe4-76eb-ae60-5cbe4d9b5b91"
RULE = {"dag": "sales.*", "account": "bot", "scopes": ["trigger"]}


@dataclass
class Source:
    """One running task instance."""

    instance: TaskInstance = field(
        default_factory=lambda: TaskInstance(NUMBER, "sales.daily", "push", "manual__1", -1, 1, "running")
    )
    audiences: frozenset[str] = frozenset((EXECUTION,))

    def read(self, token: str) -> TaskToken:
        if not token.startswith("ey"):
            raise InvalidToken("not one")
        return TaskToken(NUMBER, 2_000_000_000, "id")

    def find(self, instance_id: str) -> TaskInstance | None:
        return self.instance if instance_id == NUMBER else None


class Directory:
    name = "users"

    def find(self, username: str) -> DirectoryUser | None:
        return DirectoryUser(username, active=username != "gone") if username in ("bot", "gone") else None


def settings(*rules: dict[str, Any]) -> Settings:
    return parse_settings({"airflow_task": {"rules": list(rules)}}, origin="test")


def make_backend(*rules: dict[str, Any]) -> AirflowTaskBackend:
    accounts = TaskAccounts(TokenOwners(UserLookup((Directory(),))), lambda name: name == "bot")
    return AirflowTaskBackend(TaskRules.from_settings(settings(*rules)), accounts)


def answer(source: Source | None, *rules: dict[str, Any]) -> Outcome:
    backend = make_backend(*rules)
    app = flask.Flask("tasks")
    if source is not None:
        set_task_source(app, source)
    with app.test_request_context():
        return backend.authenticate(Bearer(sign(EXECUTION, sub=NUMBER)))


def covers(dag: str, dag_id: str, task: str = "**", task_id: str = "push") -> bool:
    rules = TaskRules.from_settings(settings({**RULE, "dag": dag, "task": task, "bundle": "b"}))
    instance = TaskInstance(NUMBER, dag_id, task_id, "run", -1, 1, "running", "b")
    try:
        rules.require(TaskToken(NUMBER, 0), Source(instance))
    except Exception:  # noqa: BLE001  # any refusal is a no
        return False
    return True


@pytest.mark.parametrize(
    ("pattern", "text", "matches"),
    [
        ("daily", "daily", True),
        ("daily", "daily2", False),
        ("daily", "Daily", False),
        ("daily", "my.daily", False),
        ("sales.*", "sales.daily", True),
        ("sales.*", "sales.eu.daily", False),
        ("sales.**", "sales.eu.daily", True),
        ("sales*", "sales.daily", False),
        ("sales*", "salesforce", True),
        ("*.daily", "sales.daily", True),
        ("*.daily", "a.b.daily", False),
        ("sa-les_1.*", "sa-les_1.x", True),
        ("s.les", "sales", False),
        ("*", "daily", True),
        ("*", "a.b", False),
        ("**", "a.b", True),
        ("daily", "daily\n", False),
        ("daily*", "daily\nx", True),
    ],
)
def test_a_pattern_is_the_whole_id_and_an_asterisk_stops_at_a_dot(pattern: str, text: str, matches: bool) -> None:
    assert covers(pattern, text) is matches
    assert covers("x", "x", pattern, text) is matches


def test_the_first_rule_that_covers_the_task_decides() -> None:
    narrow = {"dag": "sales.*", "task": "push", "account": "bot", "scopes": ["GET /api/v2/dags"]}

    outcome = answer(Source(), narrow, RULE)

    assert isinstance(outcome, Accept)
    assert [str(scope) for scope in outcome.identity.scopes or ()] == ["GET /api/v2/dags"]


def test_an_accepted_task_is_its_account_limited_and_soon_asked_about_again() -> None:
    outcome = answer(Source(), RULE)

    assert isinstance(outcome, Accept)
    identity = outcome.identity
    assert (identity.username, identity.backend, identity.role_account) == ("bot", "airflow_task", True)
    assert (identity.expires_at, identity.credential_id) == (2_000_000_000, "airflow_task:id")
    assert identity.subject == "task sales.daily/manual__1/push try 1"
    assert outcome.reusable_s <= 1


@pytest.mark.parametrize("account", ["gone", "nobody"])
def test_an_account_that_is_disabled_or_unknown_is_refused(account: str) -> None:
    outcome = answer(Source(), {**RULE, "account": account})

    assert isinstance(outcome, Reject)
    assert outcome.status == 403


def test_a_token_of_somebody_else_is_left_to_the_next_backend() -> None:
    backend = make_backend(RULE)
    app = flask.Flask("tasks")
    set_task_source(app, Source())

    with app.test_request_context():
        for text in (sign("apache-airflow", sub="op"), "opaque", "a.b.c", sign(None), sign([1, None])):
            assert isinstance(backend.authenticate(Bearer(text)), Skip)
        assert isinstance(backend.authenticate(Absent()), Skip)


def test_where_nothing_knows_tasks_nobody_is_let_in() -> None:
    with pytest.raises(BackendUnavailable, match="nothing here knows"):
        answer(None, RULE)


def test_audiences_are_read_from_any_form_of_the_claim() -> None:
    assert audiences_of(sign(["a", "b", 1])) == {"a", "b"}
    assert audiences_of(sign("a")) == {"a"}
    assert audiences_of("x") == frozenset()


@pytest.mark.parametrize(
    ("changed", "complaint"),
    [
        ({"dag": "*"}, "every DAG of every author"),
        ({"dag": "**"}, "every DAG"),
        ({"dag": "*.*"}, "every DAG"),
        ({"dag": "sales.***"}, "three asterisks"),
        ({"dag": "sales/.*"}, "no pattern"),
        ({"dag": "sales daily"}, "no pattern"),
        ({"dag": ""}, "no pattern"),
        ({"task": "push|pull"}, "no pattern"),
        ({"scopes": ["all"]}, "limits nothing"),
        ({"scopes": ["trigger", "all"]}, "limits nothing"),
        ({"scopes": ["get /x"]}, "did you mean"),
        ({"scopes": []}, "at least 1"),
        ({"account": ""}, "at least 1"),
        ({"user": "x"}, "not a setting|unknown|no such|Extra"),
    ],
)
def test_a_rule_that_is_too_wide_or_makes_no_sense_is_refused_at_start(changed: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ConfigError, match=complaint):
        settings({**RULE, **changed})


def test_every_dag_of_a_bundle_can_be_meant() -> None:
    assert TaskRules.from_settings(settings({**RULE, "dag": "**", "bundle": "finance"}))


def test_the_backend_without_rules_says_what_to_add() -> None:
    with pytest.raises(ConfigError, match=r"\[airflow_task\] rules: empty; add one"):
        AirflowTaskBackend.from_settings(Settings())
