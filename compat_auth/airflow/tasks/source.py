"""The tasks of the Airflow in this process: it verifies their tokens with its own keys, and reads its own database.

The execution token is verified as the task execution API does it (`airflow.api_fastapi.execution_api`). The token that a
task gets here has the same signer and an audience of our own, so that neither API of Airflow accepts it.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import functools
import importlib
from collections.abc import Mapping
from typing import Any
from uuid import UUID

from jwt import PyJWTError
from sqlalchemy import Executable, bindparam, select
from sqlalchemy.exc import SQLAlchemyError

from compat_auth.errors import BackendUnavailable, ConfigError, InvalidToken
from compat_auth.tasks import TASK_AUDIENCE, TaskInstance, TaskToken, audiences_of

# Airflow fetches trusted_jwks_url if it is set.
_ANSWER_S = 10.0
_EXECUTION = "execution"
_TRY = "try_number"


class InProcessTasks:
    """The tasks of this Airflow. Any thread may use it, but for the methods that are async: they belong to Airflow's loop.

    Args:
        conf: Airflow's configuration.
        ttl_s: Lifetime of the tokens that tasks get, in seconds.

    Raises:
        ConfigError: An API of Airflow would accept the tokens that tasks get.
    """

    def __init__(self, conf: Any, ttl_s: int) -> None:
        self._conf = conf
        self._ttl_s = ttl_s
        self._loop: asyncio.AbstractEventLoop | None = None
        self._validators: dict[str, Any] = {}
        self._execution = _audiences(conf, "execution_api")
        for section in ("execution_api", "api_auth", "api"):
            if TASK_AUDIENCE in _audiences(conf, section):
                raise ConfigError(
                    f"[{section}] jwt_audience: {TASK_AUDIENCE} is the audience of tokens that compat_auth gives to "
                    "tasks; Airflow must not accept them; choose another"
                )

    @property
    def audiences(self) -> frozenset[str]:
        """The execution API's audience, and our own."""
        return frozenset((*self._execution, TASK_AUDIENCE))

    def open(self) -> None:
        """Remember Airflow's event loop; call this on that loop."""
        self._loop = asyncio.get_running_loop()

    def close(self) -> None:
        """Use the loop no more."""
        self._loop = None

    def read(self, token: str) -> TaskToken:
        """Return the content of a task's token; do not call this on Airflow's event loop. See `TaskSource.read`."""
        if self._loop is None:
            raise BackendUnavailable("airflow_task: the API server is starting or stopping")
        # On Airflow's own loop: a JWKS client belongs to one loop.
        verify = self.read_own if TASK_AUDIENCE in audiences_of(token) else self.read_execution
        answer = asyncio.run_coroutine_threadsafe(verify(token), self._loop)
        try:
            return answer.result(_ANSWER_S)
        except concurrent.futures.TimeoutError as exc:
            answer.cancel()
            raise BackendUnavailable("airflow_task: no answer about a task's token") from exc

    async def read_execution(self, token: str) -> TaskToken:
        """Return the content of an execution token.

        Raises:
            InvalidToken: It is not good, or is for less than a running task, such as a token that only starts one.
        """
        claims = await self._verify(token, self._execution)
        if claims.get("scope", _EXECUTION) != _EXECUTION:
            raise InvalidToken("scope: not a running task's token")
        return _token_of(claims, None)

    async def read_own(self, token: str) -> TaskToken:
        """Return the content of a token that a task got here.

        Raises:
            InvalidToken: It is not good.
        """
        claims = await self._verify(token, [TASK_AUDIENCE])
        try_number = claims.get(_TRY)
        if not isinstance(try_number, int) or isinstance(try_number, bool):
            raise InvalidToken(f"{_TRY}: missing")
        return _token_of(claims, try_number)

    def make(self, instance: TaskInstance) -> str:
        """Return a token for a task that runs; it names the task instance and the try, and nothing that it may do."""
        tokens = _tokens()
        generator = tokens.JWTGenerator(
            valid_for=self._ttl_s,
            audience=TASK_AUDIENCE,
            issuer=self._issuer(),
            **tokens.get_signing_args(make_secret_key_if_needed=False),
        )
        return str(generator.generate({"sub": instance.id, _TRY: instance.try_number}))

    def find(self, instance_id: str) -> TaskInstance | None:
        """Return the task instance from Airflow's database; see `TaskSource.find`."""
        model = importlib.import_module("airflow.models.taskinstance").TaskInstance
        version = importlib.import_module("airflow.models.dag_version").DagVersion
        key: Any = UUID(instance_id)
        # Before 3.2 the column holds text.
        wanted = key if model.id.type.python_type is UUID else str(key)
        try:
            with importlib.import_module("airflow.utils.session").create_session() as session:
                row = session.execute(_query(model, version), {"instance": wanted}).one_or_none()
        except SQLAlchemyError as exc:
            raise BackendUnavailable(
                f"airflow_task: Airflow's database cannot be asked ({type(exc).__name__})"
            ) from exc
        if row is None:
            return None
        dag_id, task_id, run_id, map_index, try_number, state, bundle = row
        # An enum of Airflow's, or text.
        state = "" if state is None else str(getattr(state, "value", state))
        return TaskInstance(str(key), dag_id, task_id, run_id, map_index, try_number, state, bundle or "")

    async def _verify(self, token: str, audience: list[str]) -> Mapping[str, Any]:
        try:
            claims: Mapping[str, Any] = await self._validator(audience).avalidated_claims(token)
        except (PyJWTError, ValueError) as exc:
            raise InvalidToken(f"Airflow's keys do not verify it ({type(exc).__name__})") from None
        return claims

    def _validator(self, audience: list[str]) -> Any:
        name = audience[0]
        if name not in self._validators:
            tokens = _tokens()
            issuer = self._issuer()
            self._validators[name] = tokens.JWTValidator(
                required_claims=frozenset(("aud", "exp", "iat", *(("iss",) if issuer else ()))),
                issuer=issuer,
                audience=audience,
                **tokens.get_sig_validation_args(make_secret_key_if_needed=False),
            )
        return self._validators[name]

    def _issuer(self) -> str | None:
        return self._conf.get("api_auth", "jwt_issuer", fallback=None) or None


def _tokens() -> Any:
    return importlib.import_module("airflow.api_fastapi.auth.tokens")


def _audiences(conf: Any, section: str) -> list[str]:
    written = str(conf.get(section, "jwt_audience", fallback="") or "")
    return [name.strip() for name in written.split(",") if name.strip()]


def _token_of(claims: Mapping[str, Any], try_number: int | None) -> TaskToken:
    subject, expires = claims.get("sub"), claims.get("exp")
    try:
        instance_id = str(UUID(subject if isinstance(subject, str) else ""))
    except ValueError:
        raise InvalidToken("sub: not the id of a task instance") from None
    if not isinstance(expires, (int, float)):
        raise InvalidToken("exp: missing")
    token_id = claims.get("jti")
    return TaskToken(instance_id, int(expires), token_id if isinstance(token_id, str) else "", try_number)


@functools.lru_cache(maxsize=1)
def _query(model: Any, version: Any) -> Executable:
    """Return the query for the task instance of the id `instance`; built once, and run at each request."""
    query = (
        select(
            model.dag_id,
            model.task_id,
            model.run_id,
            model.map_index,
            model.try_number,
            model.state,
            version.bundle_name,
        )
        .select_from(model)
        .outerjoin(version, version.id == model.dag_version_id)
        .where(model.id == bindparam("instance", type_=model.id.type))
    )
    # Since 3.4 the tries before the last one stay in the table.
    return query.where(model.working_set.is_(True)) if hasattr(model, "working_set") else query
