"""The connection by which a task gets its token: its supervisor asks for it with the task's own execution token.

User code has no execution token: the supervisor, another process, keeps it. But a task may ask its supervisor for a
connection, and the supervisor then asks the API server, `GET /execution/connections/ID`. For one id we answer, with a
token for the public API alone. Everything else at `/execution/` is Airflow's.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable
from typing import Any, Protocol, TypeVar
from urllib.parse import urlsplit

from compat_auth import audit
from compat_auth.airflow.middleware import route_path
from compat_auth.config.tasks import AirflowTaskSettings
from compat_auth.credentials import Bearer, parse_authorization, single_authorization
from compat_auth.errors import BackendUnavailable, CompatAuthError, InvalidToken, NotPermitted
from compat_auth.http.asgi import ASGIApp, Receive, Scope, Send, respond
from compat_auth.tasks import TaskInstance, TaskRules, TaskSource, TaskToken
from compat_auth.tokens.revoked import RevokedTokens

T = TypeVar("T")
BACKEND = "airflow_task"
_JSON = b"application/json"
_NOT_KEPT = [(b"cache-control", b"no-store")]


class TokenMaker(TaskSource, Protocol):
    """The tasks of this Airflow, with a token for each."""

    def read_execution(self, token: str) -> Awaitable[TaskToken]:
        """Return the content of an execution token."""
        ...

    def make(self, instance: TaskInstance) -> str:
        """Return a token for a task that runs."""
        ...


class TaskConnection:
    """The ASGI middleware in front of everything: answers for one connection, and touches nothing else.

    Args:
        app: What is behind.
        tasks: See TokenMaker.
        settings: `[airflow_task]`.
        rules: Which task acts as which account.
        revoked: Knows the tokens that were revoked.
    """

    def __init__(
        self,
        app: ASGIApp,
        tasks: TokenMaker,
        settings: AirflowTaskSettings,
        rules: TaskRules,
        revoked: RevokedTokens,
    ) -> None:
        self._app = app
        self._revoked = revoked
        self._tasks = tasks
        self._rules = rules
        self._id = settings.connection_id
        self._url = settings.url.rstrip("/")
        self._path = f"/execution/connections/{self._id}"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer or pass on one ASGI connection."""
        token = self._token_in(scope)
        if token is None:
            await self._app(scope, receive, send)
            return
        try:
            verified = await self._tasks.read_execution(token)
        except InvalidToken:
            # Airflow refuses it in its own words.
            await self._app(scope, receive, send)
            return
        try:
            await self._require_not_revoked(token)
            instance, account, value = await asyncio.to_thread(self._make, verified)
        except BackendUnavailable as error:
            await self._refuse(scope, send, 503, "unavailable", error)
        except (InvalidToken, NotPermitted) as error:
            await self._refuse(scope, send, 403, "access_denied", error)
        else:
            self._record(scope, "issue", account, f"for the task {instance}")
            content = json.dumps(self._connection(scope, account, value)).encode()
            await respond(send, 200, content, content_type=_JSON, headers=_NOT_KEPT)

    def _token_in(self, scope: Scope) -> str | None:
        if scope["type"] != "http" or scope["method"] != "GET" or route_path(scope) != self._path:
            return None
        try:
            value = single_authorization([value for name, value in scope["headers"] if name == b"authorization"])
            credential = parse_authorization(value)
        except CompatAuthError:
            return None
        return credential.token if isinstance(credential, Bearer) else None

    async def _require_not_revoked(self, token: str) -> None:
        is_revoked, _ = await self._revoked.among([b"Bearer " + token.encode("ascii")], [])
        if is_revoked:
            raise InvalidToken("the task's token was revoked")

    def _make(self, token: TaskToken) -> tuple[TaskInstance, str, str]:
        instance, rule = self._rules.require(token, self._tasks)
        return instance, rule.account, self._tasks.make(instance)

    def _connection(self, scope: Scope, account: str, token: str) -> dict[str, Any]:
        url = self._url or _own_url(scope)
        return {
            "conn_id": self._id,
            "conn_type": "http",
            "host": url,
            "schema": urlsplit(url).scheme,
            "login": account,
            "password": token,
            "port": None,
            "extra": None,
        }

    async def _refuse(self, scope: Scope, send: Send, status: int, reason: str, error: CompatAuthError) -> None:
        self._record(scope, "unavailable" if status == 503 else "reject", "", str(error))
        detail = {"reason": reason, "message": f"compat_auth: connection {self._id}: {error}"}
        await respond(send, status, json.dumps({"detail": detail}).encode(), content_type=_JSON, headers=_NOT_KEPT)

    def _record(self, scope: Scope, result: str, username: str, reason: str) -> None:
        client = (scope.get("client") or ("",))[0]
        audit.record(audit.AuditEvent(result, BACKEND, username, reason, "GET", self._path, client))


def _own_url(scope: Scope) -> str:
    """Return the address at which the worker has reached us; it is the worker's own word, and goes to nobody else."""
    host = next((value for name, value in scope["headers"] if name == b"host"), b"").decode("latin-1")
    return f"{scope.get('scheme', 'http')}://{host}{scope.get('root_path', '')}"
