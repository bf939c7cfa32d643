"""Tasks of Airflow behind a gateway: shared keys verify their tokens, and Airflow's API says their state."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, urlencode
from uuid import UUID

from cachetools import LRUCache, TTLCache
from flask import Flask

from compat_auth.authn.chain import Chain
from compat_auth.composition.tokens import upstream_keys
from compat_auth.concurrency.clock import unix_now
from compat_auth.config import Settings
from compat_auth.credentials import Absent
from compat_auth.crypto.strict_json import is_list, is_object
from compat_auth.errors import BackendUnavailable, CompatAuthError, ConfigError, InvalidToken
from compat_auth.identity import Identity, Token
from compat_auth.tasks import RUNNING, TASK_AUDIENCE, TaskInstance, TaskToken, audiences_of, set_task_source
from compat_auth.tokens.issuer import TokenIssuer
from compat_auth.tokens.jose.jwk import VerifyingKey
from compat_auth.tokens.jose.jwt import verify
from compat_auth.tokens.upstream_login import UpstreamLogin

BACKEND = "airflow_task"
# So long an answer about a task instance is believed.
_BELIEVED_S = 1.0
_ENTRIES = 10_000
_PAGE = 100
_PAGES = 20
_OK, _UNAUTHORIZED, _NOT_FOUND = 200, 401, 404
_INSTANCES = "/api/v2/dags/~/dagRuns/~/taskInstances"
# A task may run for days; Airflow renews its execution token long before that.
_MAX_LIFETIME_S = 86_400


@dataclass(frozen=True, slots=True)
class _Key:
    """Where Airflow's API has a task instance."""

    dag_id: str
    run_id: str
    task_id: str
    map_index: int

    @property
    def path(self) -> str:
        names = [quote(name, safe="") for name in (self.dag_id, self.run_id, self.task_id)]
        mapped = f"/{self.map_index}" if self.map_index >= 0 else ""
        return "/api/v2/dags/{}/dagRuns/{}/taskInstances/{}".format(*names) + mapped


@dataclass(slots=True)
class UpstreamTasks:
    """The tasks of the Airflow behind the gateway. Any thread may use it.

    Attributes:
        keys: Verify what Airflow signs.
        execution: `aud` of execution tokens.
        issuer: `iss` of them; None where the key alone says who signed.
        get: Asks Airflow's API, by path and query; returns status and body.
    """

    keys: Callable[[], Mapping[str, VerifyingKey]]
    execution: tuple[str, ...]
    issuer: str | None
    get: Callable[[str], tuple[int, bytes]]
    _places: LRUCache[str, _Key] = field(default_factory=lambda: LRUCache(_ENTRIES))
    _answers: TTLCache[str, TaskInstance | None] = field(
        default_factory=lambda: TTLCache(_ENTRIES, _BELIEVED_S, time.monotonic)
    )
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def audiences(self) -> frozenset[str]:
        """The execution API's audience, and that of the tokens that the plugin gives."""
        return frozenset((*self.execution, TASK_AUDIENCE))

    def read(self, token: str) -> TaskToken:
        """Return the content of a task's token; see `TaskSource.read`."""
        is_own = TASK_AUDIENCE in audiences_of(token)
        audience = (TASK_AUDIENCE,) if is_own else self.execution
        claims = verify(
            token,
            self.keys(),
            audience=audience,
            issuer=self.issuer,
            now=unix_now(),
            max_lifetime_s=_MAX_LIFETIME_S,
        )
        if not is_own and claims.get("scope", "execution") != "execution":
            raise InvalidToken("scope: not a running task's token")
        number = claims.get("try_number") if is_own else None
        if is_own and type(number) is not int:
            raise InvalidToken("try_number: missing")
        subject, token_id = claims.get("sub"), claims.get("jti")
        try:
            instance_id = str(UUID(subject if isinstance(subject, str) else ""))
        except ValueError:
            raise InvalidToken("sub: not the id of a task instance") from None
        return TaskToken(instance_id, int(claims["exp"]), token_id if isinstance(token_id, str) else "", number)

    def find(self, instance_id: str) -> TaskInstance | None:
        """Return the task instance, as Airflow knew it a second ago at most; see `TaskSource.find`."""
        with self._lock:
            if instance_id in self._answers:
                return self._answers[instance_id]
            place = self._places.get(instance_id)
        found = self._find_running(instance_id) if place is None else self._find_at(place, instance_id)
        with self._lock:
            self._answers[instance_id] = found
            if found is not None:
                self._places[instance_id] = _Key(found.dag_id, found.run_id, found.task_id, found.map_index)
        return found

    def _find_at(self, place: _Key, instance_id: str) -> TaskInstance | None:
        status, body = self.get(place.path)
        if status == _NOT_FOUND:
            return None
        found = _instance_of(self._content(status, body))
        # The next try has the same place and another id.
        return found if found.id == instance_id else None

    def _find_running(self, instance_id: str) -> TaskInstance | None:
        """Look through the tasks that run, the latest first: Airflow's API finds none by its id."""
        for page in range(_PAGES):
            query = {"state": RUNNING, "order_by": "-start_date", "limit": _PAGE, "offset": page * _PAGE}
            rows = self._content(*self.get(f"{_INSTANCES}?{urlencode(query)}")).get("task_instances")
            if not is_list(rows):
                raise BackendUnavailable("airflow_task: Airflow listed its running tasks in another form")
            for row in rows:
                if is_object(row) and row.get("id") == instance_id:
                    return _instance_of(row)
            if len(rows) < _PAGE:
                return None
        raise BackendUnavailable(f"airflow_task: more than {_PAGE * _PAGES} tasks run; this one was not found")

    @staticmethod
    def _content(status: int, body: bytes) -> Mapping[str, Any]:
        if status != _OK:
            raise BackendUnavailable(
                f"airflow_task: Airflow answered {status} about a task; may [airflow_task] state_username read tasks?"
            )
        try:
            content: object = json.loads(body)
        except ValueError:
            content = None
        if not is_object(content):
            raise BackendUnavailable("airflow_task: Airflow answered about a task with something other than JSON")
        return content


def add_task_source(settings: Settings, app: Flask, issuer: TokenIssuer) -> None:
    """Let the backend `airflow_task` of a gateway know Airflow's tasks; nothing where the chain has no such backend.

    Raises:
        ConfigError: There are no keys to verify tokens with, or nobody to ask Airflow as.
    """
    chain: Chain = app.extensions["compat_auth"].chain
    if all(backend.name != BACKEND for backend in chain.backends):
        return
    if settings.token.strategy == "exchange":
        raise ConfigError(
            "airflow_task: the gateway verifies tasks' tokens with the keys that it shares with Airflow; set [token] "
            "strategy to shared_secret or key_pair, or use the plugin"
        )
    rules = settings.airflow_task
    if not rules.state_username:
        raise ConfigError(
            "[airflow_task] state_username: missing; name a user of Airflow who may read task instances, such as a Viewer"
        )
    upstream = UpstreamLogin.from_settings(settings)
    asker = Identity(rules.state_username, BACKEND, subject=rules.state_username, role_account=True)

    def token(*, fresh: bool) -> Token:
        try:
            return issuer.obtain(asker, Absent(), fresh=fresh)
        except BackendUnavailable:
            raise
        except CompatAuthError as error:
            raise BackendUnavailable(f"[airflow_task] state_username: {error}") from None

    def get(path: str) -> tuple[int, bytes]:
        status, body = upstream.get(path, token(fresh=False).value)
        # It may have been revoked, or another key may sign now.
        return upstream.get(path, token(fresh=True).value) if status == _UNAUTHORIZED else (status, body)

    issuer_name = settings.token.issuer or None
    set_task_source(app, UpstreamTasks(upstream_keys(settings), tuple(rules.audience), issuer_name, get))


def _instance_of(row: Mapping[str, Any]) -> TaskInstance:
    version = row.get("dag_version")
    try:
        return TaskInstance(
            str(row["id"]),
            str(row["dag_id"]),
            str(row["task_id"]),
            str(row["dag_run_id"]),
            int(row["map_index"]),
            int(row["try_number"]),
            str(row.get("state") or ""),
            str(version.get("bundle_name") or "") if is_object(version) else "",
        )
    except (KeyError, TypeError, ValueError):
        raise BackendUnavailable("airflow_task: Airflow described a task in another form") from None
