"""Airflow 2's contract for an auth module, made from a backend class.

Airflow 2 named a *module* in `[api] auth_backends`, with `init_app(app)` and `requires_authentication(function)`. Our
modules support that with two lines::

    CLIENT_AUTH = None
    init_app, requires_authentication = airflow2_contract("basic_auth", BasicAuthBackend)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import wraps
from typing import Any, cast

import flask

from compat_auth.authn.shared import one_per_app
from compat_auth.backend import Backend
from compat_auth.config import Settings, load_settings, parse_settings
from compat_auth.errors import ConfigError
from compat_auth.guard import View, accept_api_key
from compat_auth.http.header_values import shield_cookies
from compat_auth.http.headers import api_key_name

CONFIG_KEY = "COMPAT_AUTH"
_EXTENSION = "compat_auth_modules"
_SETTINGS = "compat_auth_settings"


def airflow2_contract(
    name: str, backend_class: type[Backend]
) -> tuple[Callable[[flask.Flask], None], Callable[[View], View]]:
    """Return `init_app` and `requires_authentication` for the module of a backend class.

    Args:
        name: The backend's name in the configuration.
        backend_class: Created once for each app, with `app_settings`.
    """

    def init_app(app: flask.Flask) -> None:
        """Prepare the backend for this Flask app; a second call has no effect.

        Raises:
            ConfigError: A setting is missing or wrong.
        """
        backends: dict[str, Backend] = one_per_app(app, _EXTENSION, dict[str, Backend])
        if name not in backends:
            backend = backend_class.from_settings(app_settings(app))
            backend.name = name
            backend.init_app(app)
            backends[name] = backend
            shield_cookies(app)
            accept_api_key(app, api_key_name(app_settings(app).personal_tokens.header))

    def requires_authentication(function: View) -> View:
        """Return the view, wrapped so that it runs only for a caller whom this backend accepts."""

        @wraps(function)
        def decorated(*args: Any, **kwargs: Any) -> Any:
            backend = cast("dict[str, Backend]", flask.current_app.extensions.get(_EXTENSION, {})).get(name)
            if backend is None:
                raise ConfigError(f"{name}: not ready in this app; call init_app(app) before the first request")
            return backend.requires_authentication(function)(*args, **kwargs)

        return decorated

    return init_app, requires_authentication


def app_settings(app: flask.Flask) -> Settings:
    """Return a Flask app's settings: `app.config["COMPAT_AUTH"]`, settings or a mapping; else the process's.

    The same object every time, unless what it is read from has changed: directories are shared by those who have it.

    Raises:
        ConfigError: A setting is wrong, or a file cannot be read.
    """
    read = _read_settings(app)
    known = one_per_app(app, _SETTINGS, lambda: read)
    if known != read:
        known = app.extensions[_SETTINGS] = read
    return known


def _read_settings(app: flask.Flask) -> Settings:
    given = cast("Mapping[str, object]", app.config).get(CONFIG_KEY)
    if given is None:
        return load_settings()
    if isinstance(given, Settings):
        return given
    if isinstance(given, Mapping):
        return parse_settings(cast("Mapping[str, Any]", given), origin=f"app.config[{CONFIG_KEY!r}]")
    raise ConfigError(f"app.config[{CONFIG_KEY!r}]: neither Settings nor a mapping; see compat_auth.config")
