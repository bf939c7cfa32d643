"""Reads who is logged in from the cookie `session` of Airflow 2's UI, or of Airflow 3's with FabAuthManager.

Users carry these cookies across an upgrade. Airflow stores sessions in its database (rows in Flask's tagged JSON until
2.x, in MessagePack since 3), or signs them into the cookie (`session_backend = securecookie`).
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, cast

from flask.json.tag import TaggedJSONSerializer
from itsdangerous import BadData, BadSignature, Signer, URLSafeTimedSerializer

from compat_auth.config import Settings
from compat_auth.directory import DirectoryUser
from compat_auth.errors import ConfigError
from compat_auth.users import shared_directory
from compat_auth_backends.directories.airflow_db import AirflowDatabaseDirectory

_MAX_COOKIE = 4096
_USER = "_user_id"
_TAGGED = TaggedJSONSerializer()


class AirflowSessions:
    """Airflow's sessions, by its secret key and its database. Any thread may use it.

    Args:
        secret_key: Airflow's.
        directory: Airflow's users and sessions.
        cookie_name: Name of Airflow's cookie.
        lifetime_s: How long a signed cookie is valid; a row has its own end.
        now: Clock, in UTC.
    """

    def __init__(
        self,
        secret_key: str,
        directory: AirflowDatabaseDirectory,
        *,
        cookie_name: str = "session",
        lifetime_s: int = 2592000,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self.cookie_name = cookie_name
        self._directory = directory
        self._lifetime_s = lifetime_s
        self._now = now
        # As flask-session and Flask make them; SHA-1 is theirs, and HMAC does not rest on its collisions.
        self._signer = Signer(secret_key, salt="flask-session", key_derivation="hmac")
        self._cookies = URLSafeTimedSerializer(
            secret_key, salt="cookie-session", serializer=_TAGGED, signer_kwargs={"key_derivation": "hmac"}
        )

    @classmethod
    def from_settings(cls, settings: Settings) -> AirflowSessions | None:
        """Return the sessions of `[airflow_session]`, or None if no key is set.

        Raises:
            ConfigError: Airflow's database is not configured, or msgpack is not installed.
        """
        section = settings.airflow_session
        secret_key = section.secret_key.get_secret_value()
        if not secret_key:
            return None
        if importlib.util.find_spec("msgpack") is None:
            raise ConfigError(
                "airflow_session.secret_key: Airflow 3's sessions need msgpack, which is not installed; "
                "install compat_auth with its extra 'airflow-session' (README: Install)"
            )
        if not settings.airflow_db.url.get_secret_value():
            raise ConfigError("airflow_session.secret_key: set, but the users are not known: set [airflow_db] url, too")
        return cls(
            secret_key,
            shared_directory(AirflowDatabaseDirectory, settings),
            cookie_name=section.cookie_name,
            lifetime_s=section.lifetime_s,
        )

    def find_user(self, values: list[str]) -> DirectoryUser | None:
        """Return the user, active or not, whom these cookies of one request log in; None for nobody.

        Raises:
            BackendUnavailable: Airflow's database could not be asked.
        """
        if len(values) != 1 or not 0 < len(values[0]) <= _MAX_COOKIE:
            # Two cookies of the name: which one Airflow would take is not for us to guess.
            return None
        content = self._in_database(values[0]) or self._in_cookie(values[0])
        found = content.get(_USER) if content is not None else None
        if type(found) is int:
            found = str(found)
        return self._directory.find_by_id(found) if isinstance(found, str) else None

    def _in_database(self, value: str) -> Mapping[str, Any] | None:
        try:
            session_id = self._signer.unsign(value.encode("utf-8", "replace")).decode("utf-8")
        except (BadSignature, UnicodeDecodeError):
            return None
        data = self._directory.find_session(session_id, self._now().astimezone(UTC).replace(tzinfo=None))
        return None if data is None else _decode(bytes(data))

    def _in_cookie(self, value: str) -> Mapping[str, Any] | None:
        try:
            return _mapping(self._cookies.loads(value, max_age=self._lifetime_s))
        except (BadData, ValueError):
            return None


def _decode(data: bytes) -> Mapping[str, Any] | None:
    for read in (_read_tagged_json, _read_message_pack):
        try:
            content = _mapping(read(data))
        except Exception:  # noqa: BLE001, S112  # neither parser says what it raises; whatever it is, it is no session
            continue
        if content is not None:
            return content
    return None


def _read_tagged_json(data: bytes) -> object:
    return _TAGGED.loads(data.decode("utf-8"))


def _read_message_pack(data: bytes) -> object:
    # Loaded only where it is used: an extra brings it.
    return cast("Any", importlib.import_module("msgpack")).unpackb(data)


def _mapping(content: object) -> Mapping[str, Any] | None:
    return cast("dict[str, Any]", content) if isinstance(content, dict) else None
