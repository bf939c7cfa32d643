"""Tasks of Airflow 3: a running task's token, as a Bearer or as the password of HTTP Basic.

The audience of a token, which its signature covers, shows that it is a task's. This backend decides about it before any
other is asked, and no other is asked afterwards. With Basic, the user name is the account that the task acts as.
"""

from __future__ import annotations

import weakref
from typing import ClassVar

import flask

from compat_auth.airflow2 import airflow2_contract
from compat_auth.backend import Accept, Backend, Basic, Bearer, Credential, CredentialKind, Outcome, Reject, Skip
from compat_auth.config import Settings
from compat_auth.errors import BackendUnavailable, ConfigError, InvalidToken, NoSuchUser, NotPermitted
from compat_auth.facts import answers_without_flask, request_facts
from compat_auth.tasks import TaskAccounts, TaskRules, audiences_of, task_source_of

CLIENT_AUTH = None
# So soon a task that is over is noticed.
MAX_REUSE_S = 1.0


class AirflowTaskBackend(Backend):
    """Vouches for the account that a rule names for a running task.

    Args:
        rules: Which task acts as which account.
        accounts: Where accounts are looked up.
        realm: Of the challenge.
    """

    name = "airflow_task"
    kinds: ClassVar[frozenset[CredentialKind]] = frozenset({Basic, Bearer})
    needs: ClassVar[tuple[str, ...]] = ("[airflow_task] rules",)
    decides_alone: ClassVar[bool] = True

    def __init__(self, rules: TaskRules, accounts: TaskAccounts, *, realm: str = "Airflow") -> None:
        self._rules = rules
        self._accounts = accounts
        self._realm = realm
        self._apps: weakref.WeakSet[flask.Flask] = weakref.WeakSet()

    @classmethod
    def from_settings(cls, settings: Settings) -> AirflowTaskBackend:
        """Return the backend with the rules of `[airflow_task]`.

        Raises:
            ConfigError: There are no rules, or the place cannot know tasks.
        """
        if not settings.airflow_task.rules:
            raise ConfigError(
                '[airflow_task] rules: empty; add one, such as rules = [{dag = "sales.*", account = "sales-tasks", '
                'scopes = ["trigger"]}]'
            )
        return cls(
            TaskRules.from_settings(settings), TaskAccounts.from_settings(settings), realm=settings.basic_auth.realm
        )

    def init_app(self, app: flask.Flask) -> None:
        """Learn the app, whose tasks' audiences tell a task's token."""
        self._apps.add(app)

    def authenticate(self, credential: Credential) -> Outcome:
        """Accept the account of a running task, reject any other task's token, skip what is none.

        Raises:
            BackendUnavailable: Airflow, the store or a directory could not be asked.
        """
        match credential:
            case Bearer(text):
                username = ""
            case Basic(username, text):
                pass
            case _:
                return Skip()
        source = task_source_of(request_facts().app)
        if not audiences_of(text) & source.audiences:
            return Skip()
        try:
            token = source.read(text)
            instance, rule = self._rules.require(token, source)
            if username not in ("", rule.account):
                return self._reject(f"the task {instance} acts as {rule.account!r}, not as the user who is named")
            identity = self._accounts.act(self.name, token, instance, rule)
        except InvalidToken as error:
            return self._reject(str(error))
        except (NotPermitted, NoSuchUser) as error:
            return Reject(f"airflow_task: {error}", status=403, vouched=True)
        return Accept(identity, reusable_s=MAX_REUSE_S)

    def answers_without_flask(self) -> bool:
        """Return whether no directory reads Flask's request."""
        return answers_without_flask(self._accounts)

    def may_claim(self, credential: Credential) -> bool:
        """Return whether the credential has the audience of a task's token."""
        if not isinstance(credential, Bearer | Basic) or not self._apps:
            return True
        text = credential.token if isinstance(credential, Bearer) else credential.password
        claimed = audiences_of(text)
        try:
            return any(claimed & task_source_of(app).audiences for app in self._apps)
        except BackendUnavailable:
            return True

    def _reject(self, reason: str) -> Reject:
        # RFC 6750 3.1
        return Reject(f"airflow_task: {reason}", challenges=(f'Bearer realm="{self._realm}", error="invalid_token"',))

    def probe(self) -> str:
        """Return how many rules there are, and as whom tasks act."""
        return f"{len(self._rules.accounts)} rules; tasks act as {', '.join(sorted(set(self._rules.accounts)))}"

    def challenges(self) -> tuple[str, ...]:
        """Return the invitation to a bearer token (RFC 6750 section 3)."""
        return (f'Bearer realm="{self._realm}"',)


init_app, requires_authentication = airflow2_contract("airflow_task", AirflowTaskBackend)
