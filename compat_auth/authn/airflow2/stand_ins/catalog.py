"""Which names of Airflow 2, Flask-AppBuilder and old Flask have a stand-in: one table.

A name is a module's dotted name and an attribute. `find` returns the module that a site's module gets for a dotted name:
the real one where it is installed and complete, one with stand-ins around or in place of it, or None. None of them is
in `sys.modules`.
"""

from __future__ import annotations

import importlib
import logging
import sys
import threading
from collections.abc import Callable, Mapping
from types import ModuleType, SimpleNamespace
from typing import Any, cast

import flask

from compat_auth.authn.airflow2.import_notes import probing
from compat_auth.authn.airflow2.stand_ins import auth_view
from compat_auth.authn.airflow2.stand_ins.app_builder import current_app_itself
from compat_auth.authn.airflow2.stand_ins.configuration import AirflowConfigException
from compat_auth.authn.airflow2.stand_ins.database import create_session, new_session, provide_session
from compat_auth.authn.airflow2.stand_ins.host import current_host
from compat_auth.authn.airflow2.stand_ins.logging_mixin import LoggingMixin
from compat_auth.authn.airflow2.stand_ins.security_manager import AUTH_TYPES, SecurityManager
from compat_auth.authn.airflow2.stand_ins.upstream_objects import BaseHook, Connection, Variable
from compat_auth.authn.airflow2.stand_ins.users import Role, User

ROOTS = frozenset(("airflow", "flask_appbuilder"))
"""Top-level packages whose names may have a stand-in."""


class _ConfOfHost:
    """`conf`, of whichever host is in charge."""

    def __getattr__(self, name: str) -> Any:
        return getattr(current_host().conf, name)


_TOP = "_compat_auth_request_ctx_stack_top"


class _TopOfRequests:
    """`flask._request_ctx_stack`, which Flask 2.3 dropped.

    A module may leave attributes on its top. They name nobody: flask-login reads its user from `flask.g` since 0.6.2,
    which is the version beside Airflow 2.11.
    """

    @property
    def top(self) -> Any:
        """The request at hand with attributes of the module's own; None outside a request."""
        if not flask.has_request_context():
            return None
        if _TOP not in flask.g:
            top = SimpleNamespace(app=current_app_itself(), request=flask.request, session=flask.session, g=flask.g)
            setattr(flask.g, _TOP, top)
        return flask.g.get(_TOP)


def _current_app() -> flask.Flask:
    return current_app_itself()


def _cached_app(*_: Any, **__: Any) -> flask.Flask:
    return current_app_itself()


def _get_auth_manager() -> Any:
    real = _real("airflow.api_fastapi.app")
    if real is not None:
        try:
            manager: object = real.get_auth_manager()
        except RuntimeError:
            return current_host().auth_manager
        # SimpleAuthManager has no security manager.
        if hasattr(type(manager), "security_manager"):
            return manager
    return current_host().auth_manager


def _fab_class(name: str, stand_in: type[Any]) -> type[Any]:
    """Return the class of FAB's tables where FAB is installed: they must not be defined twice."""
    real = _real("airflow.providers.fab.auth_manager.models") or _real("flask_appbuilder.security.sqla.models")
    return cast("type[Any]", getattr(real, name, stand_in))


def _fab_user() -> type[Any]:
    return _fab_class("User", User)


def _fab_role() -> type[Any]:
    return _fab_class("Role", Role)


def _value(value: Any) -> Callable[[], Any]:
    return lambda: value


def _conf_function(name: str) -> Callable[[], Any]:
    def ask(*args: Any, **kwargs: Any) -> Any:
        return getattr(current_host().conf, name)(*args, **kwargs)

    return _value(ask)


_CONF: Mapping[str, Callable[[], Any]] = {
    "conf": _value(_ConfOfHost()),
    "AirflowConfigException": _value(AirflowConfigException),
    **{name: _conf_function(name) for name in ("get", "getboolean", "getint", "getfloat", "getsection", "has_option")},
}
_USERS: Mapping[str, Callable[[], Any]] = {"User": _fab_user, "Role": _fab_role}
_SECURITY: Mapping[str, Callable[[], Any]] = {
    "SecurityManager": _value(SecurityManager),
    "BaseSecurityManager": _value(SecurityManager),
}
_SESSIONS: Mapping[str, Callable[[], Any]] = {
    "create_session": _value(create_session),
    "provide_session": _value(provide_session),
    "NEW_SESSION": _value(None),
}


def _auth_module(requires_authentication: Any, **names: Any) -> Mapping[str, Callable[[], Any]]:
    return {
        "CLIENT_AUTH": _value(None),
        "client_auth": _value(None),
        "init_app": _value(auth_view.init_app),
        "requires_authentication": _value(requires_authentication),
        **{name: _value(value) for name, value in names.items()},
    }


_BASIC = _auth_module(auth_view.basic_requires_authentication, auth_current_user=auth_view.auth_current_user)
_SESSION = _auth_module(auth_view.session_requires_authentication)
_DENY = _auth_module(auth_view.deny_requires_authentication)
_AUTH_MANAGER: Mapping[str, Callable[[], Any]] = {"get_auth_manager": _value(_get_auth_manager)}
STAND_INS: Mapping[str, Mapping[str, Callable[[], Any]]] = {
    "airflow.configuration": _CONF,
    **{
        f"{package}.{module}": names
        for package in (
            "airflow.api.auth.backend",
            "airflow.auth.managers.fab.api.auth.backend",
            "airflow.providers.fab.auth_manager.api.auth.backend",
        )
        for module, names in (("basic_auth", _BASIC), ("session", _SESSION), ("deny_all", _DENY))
    },
    # 1.10's; its tables of users are not there.
    "airflow.contrib.auth.backends.password_auth": _auth_module(auth_view.basic_requires_authentication),
    "airflow.exceptions": {
        "AirflowException": _value(type("AirflowException", (Exception,), {})),
        "AirflowConfigException": _value(AirflowConfigException),
        "AirflowNotFoundException": _value(type("AirflowNotFoundException", (LookupError,), {})),
        "RemovedInAirflow3Warning": _value(type("RemovedInAirflow3Warning", (DeprecationWarning,), {})),
    },
    "airflow.utils.airflow_flask_app": {
        "get_airflow_app": _value(_current_app),
        "AirflowApp": _value(flask.Flask),
    },
    "airflow.utils.log.logging_mixin": {"LoggingMixin": _value(LoggingMixin)},
    "airflow.utils.db": _SESSIONS,
    "airflow.utils.session": _SESSIONS,
    "airflow.settings": {"Session": _value(new_session)},
    "airflow.models": {"Variable": _value(Variable), "Connection": _value(Connection)},
    "airflow.models.variable": {"Variable": _value(Variable)},
    "airflow.models.connection": {"Connection": _value(Connection)},
    "airflow.hooks.base": {"BaseHook": _value(BaseHook)},
    "airflow.hooks.base_hook": {"BaseHook": _value(BaseHook)},
    "airflow.www.app": {"cached_app": _value(_cached_app), "create_app": _value(_current_app)},
    "airflow.www.security": {"AirflowSecurityManager": _value(SecurityManager), **_AUTH_MANAGER},
    "airflow.www.security_manager": {"AirflowSecurityManagerV2": _value(SecurityManager)},
    "airflow.www.extensions.init_auth_manager": _AUTH_MANAGER,
    "airflow.www.fab_security.manager": {
        **_SECURITY,
        **{f"AUTH_{name.upper()}": _value(number) for name, number in AUTH_TYPES.items()},
    },
    "airflow.www.fab_security.sqla.manager": _SECURITY,
    "airflow.www.fab_security.sqla.models": _USERS,
    "airflow.auth.managers.fab.models": _USERS,
    "airflow.auth.managers.fab.security_manager.override": {
        "FabAirflowSecurityManagerOverride": _value(SecurityManager)
    },
    "airflow.providers.fab.auth_manager.models": _USERS,
    "airflow.providers.fab.auth_manager.security_manager.override": {
        "FabAirflowSecurityManagerOverride": _value(SecurityManager)
    },
    "flask_appbuilder.const": {f"AUTH_{name.upper()}": _value(number) for name, number in AUTH_TYPES.items()},
    "flask_appbuilder.security.manager": {
        **_SECURITY,
        **{f"AUTH_{name.upper()}": _value(number) for name, number in AUTH_TYPES.items()},
    },
    "flask_appbuilder.security.sqla.manager": _SECURITY,
    "flask_appbuilder.security.sqla.models": _USERS,
}
"""Attributes that have a stand-in, by module."""

_OLD_FLASK: Mapping[str, Callable[[], Any]] = {
    "_request_ctx_stack": _value(_TopOfRequests()),
    "_app_ctx_stack": _value(_TopOfRequests()),
}

_lock = threading.RLock()
# With the real module that it was made around, or None.
_made: dict[str, tuple[ModuleType | None, ModuleType | None]] = {}


class _StandIn(ModuleType):
    """A module with stand-ins, around the real one where that is installed."""

    def __init__(self, name: str, real: ModuleType | None, names: Mapping[str, Callable[[], Any]]) -> None:
        super().__init__(name, f"Stand-ins for names of {name}.")
        self.__dict__["_real"] = real
        self.__dict__["_names"] = names
        # A package, so that `import name.part` may go on below it.
        self.__path__ = list(getattr(real, "__path__", []))
        if real is not None:
            self.__spec__ = real.__spec__
        else:
            self.__all__ = [*names]

    def __getattr__(self, name: str) -> Any:
        real: ModuleType | None = self.__dict__["_real"]
        if real is not None and hasattr(real, name):
            below = find(f"{self.__name__}.{name}") if isinstance(getattr(real, name), ModuleType) else None
            return getattr(real, name) if below is None else below
        names: Mapping[str, Callable[[], Any]] = self.__dict__["_names"]
        if name in names:
            return names[name]()
        below = None if name.startswith("__") else find(f"{self.__name__}.{name}")
        if below is not None:
            return below
        raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}", name=name, obj=self)


def find(name: str) -> ModuleType | None:
    """Return the module that a site's module gets for a dotted name of Airflow's, FAB's or Flask's; None: nothing stands in.

    Where the real module has all that has a stand-in, it is the real one.
    """
    if name != "flask" and name.partition(".")[0] not in ROOTS:
        return None
    with _lock:
        real, made = _made.get(name, (None, None))
        if name not in _made or real is not sys.modules.get(name):
            made = _make(name)
            _made[name] = (sys.modules.get(name), made)
        return made


def is_stand_in(module: ModuleType, name: str) -> bool:
    """Return whether a module that `find` returned has a stand-in for a name, not the real one."""
    if not isinstance(module, _StandIn):
        return False
    real: ModuleType | None = module.__dict__["_real"]
    return name in module.__dict__["_names"] and not (real is not None and hasattr(real, name))


def _make(name: str) -> ModuleType | None:
    if name == "flask":
        return _StandIn("flask", flask, _OLD_FLASK)
    names = STAND_INS.get(name, {})
    has_below = any(other.startswith(f"{name}.") for other in STAND_INS)
    real = _real(name)
    if not names and not has_below:
        return real
    return _StandIn(name, real, names)


def _real(name: str) -> ModuleType | None:
    """Return the installed module, or None; an installed one that cannot be imported says so in the log."""
    try:
        with probing():
            return importlib.import_module(name)
    except ModuleNotFoundError as exc:
        if exc.name is not None and (name == exc.name or name.startswith(f"{exc.name}.")):
            return None
        logging.getLogger("compat_auth.legacy").warning("%s is installed and lacks %s", name, exc.name)
        return None
    except Exception:  # noqa: BLE001  # whatever it is, the module gets it when it imports that name itself
        return None
