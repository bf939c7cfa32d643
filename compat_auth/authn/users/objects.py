"""Reads the caller's identity from a user object: flask-login's, FAB's, a mapping or a mere name. No I/O, no Flask.

Apps and Airflow 2 modules leave very different things in `current_user` and `g.user`; this is the only place
that reads them.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping
from typing import Any, cast

from compat_auth.identity import Identity

# The table of FAB's user model: only there is `id` the key that the upstream knows the user by.
_FAB_USER_TABLE = "ab_user"


def identity_of(user: object, *, backend: str) -> Identity | None:
    """Return the identity of a signed-in, active user; None for nobody, an anonymous or a disabled user.

    Args:
        user: flask-login's `current_user`, a FAB user, `g.user`, a mapping with `username`, or a user name.
        backend: Configured name of the backend that vouches.
    """
    user = _behind_proxy(user)
    if isinstance(user, str):
        return Identity(user, backend, subject=user) if _is_name(user) else None
    if user is None or _is_anonymous(user) or not _is_active(user) or not _answer(user, "is_authenticated", True):
        return None
    known = _read(user, "identity")
    if isinstance(known, Identity):
        return dataclasses.replace(known, backend=backend)
    username = _username(user)
    if username is None:
        return None
    return Identity(
        username,
        backend,
        subject=_login_id(user) or username,
        email=_text(user, "email"),
        roles=_loaded_names(user, "roles"),
        groups=_loaded_names(user, "groups"),
        upstream_id=_upstream_id(user),
    )


def is_disabled(user: object) -> bool:
    """Return whether this is a known user whose account is switched off."""
    user = _behind_proxy(user)
    if user is None or isinstance(user, str) or _is_anonymous(user):
        return False
    return not _is_active(user)


def _behind_proxy(user: object) -> object:
    # `current_user` is a proxy, and a proxy for None is not None.
    unwrap = cast("Callable[[], object] | None", getattr(type(user), "_get_current_object", None))
    return user if unwrap is None else cast("Any", user)._get_current_object()  # noqa: SLF001


def _read(user: object, name: str) -> object:
    if isinstance(user, Mapping):
        return cast("Mapping[str, object]", user).get(name)
    return cast("object", getattr(user, name, None))


def _answer(user: object, name: str, default: bool) -> bool:
    value = _read(user, name)
    if callable(value):  # methods until flask-login 0.3, properties since
        value = value()
    elif value is None and not _has(user, name):
        return default
    return bool(value)


def _has(user: object, name: str) -> bool:
    return name in cast("Mapping[str, object]", user) if isinstance(user, Mapping) else hasattr(user, name)


def _is_anonymous(user: object) -> bool:
    return _answer(user, "is_anonymous", False)


def _is_active(user: object) -> bool:
    # Both, because FAB's own flag is `active` and a NULL there means off.
    return _answer(user, "is_active", True) and _answer(user, "active", True)


def _is_name(text: str) -> bool:
    return bool(text) and text.isprintable()


def _text(user: object, name: str) -> str:
    value = _read(user, name)
    return value if isinstance(value, str) and _is_name(value) else ""


def _login_id(user: object) -> str:
    get_id = _read(user, "get_id")
    value = get_id() if callable(get_id) else _read(user, "id")
    return "" if value is None else str(value)


def _username(user: object) -> str | None:
    if _has(user, "username"):
        return _text(user, "username") or None
    # The smallest flask-login user has only an id. A number is a database key: it names nobody elsewhere.
    identifier = _login_id(user)
    return identifier if _is_name(identifier) and not identifier.isdigit() else None


def _upstream_id(user: object) -> str:
    # Another application's user number 1 must not become Airflow's user number 1.
    if getattr(type(user), "__tablename__", "") != _FAB_USER_TABLE:
        return ""
    identifier = _read(user, "id")
    return str(identifier) if isinstance(identifier, int) else ""


def _loaded_names(user: object, name: str) -> tuple[str, ...]:
    """Return the names in an attribute that a database may load when it is read; () where it can no longer be loaded.

    SQLAlchemy raises DetachedInstanceError where a module has closed the session that loaded the user. The name
    does not depend on it: Airflow knows the roles.
    """
    try:
        return _names(_read(user, name))
    except Exception:  # noqa: BLE001  # SQLAlchemy need not be there to be caught
        return ()


def _names(value: object) -> tuple[str, ...]:
    if isinstance(value, str) or not isinstance(value, Iterable):
        return ()
    found = (item if isinstance(item, str) else _text(item, "name") for item in cast("Iterable[object]", value))
    return tuple(sorted({name for name in found if name}))
